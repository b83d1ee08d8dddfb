"""A load of HTTP requests from many clients, at as little cost as Python allows.

One thread, one selector, prepared bytes: about 30 us a request, so that on a small machine the
server is measured and not its clients.  Run it in a process of its own (``python -m
tests.benchmarks.load``, a JSON line of parameters on stdin): it prints one JSON line.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle

_RECEIVE = 1 << 16


@dataclass(frozen=True, slots=True)
class Load:
    """What came back within the time: answers a second, latencies in milliseconds, CPU share."""

    per_s: float
    median_ms: float
    p99_ms: float
    answers: int
    failed: int
    client_cpu: float  # seconds of processor time a second


def post(path: str, body: bytes, content_type: str) -> bytes:
    """The bytes of a request on a connection that is kept."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def measure(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """The load in another process, so that clients and server share no interpreter."""
    given = {
        "port": port,
        "clients": clients,
        "seconds": seconds,
        "requests": [b64encode(request).decode() for request in requests],
    }
    command = [sys.executable, "-m", "tests.benchmarks.load"]
    done = subprocess.run(
        command, input=json.dumps(given).encode(), stdout=subprocess.PIPE, check=True
    )
    return Load(**json.loads(done.stdout))


class _Client:
    """One connection with one request under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.sent = 0.0
        self.closes = False
        self._answer = b""
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> None:
        self._answer = b""
        self.sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool | None:
        """None while the answer is not whole; then whether it is a 200."""
        data = self.socket.recv(_RECEIVE)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._answer[:end].lower()
        place = head.index(b"content-length:") + len(b"content-length:")
        length = int(head[place:].split(b"\r\n", 1)[0])
        if len(self._answer) < end + 4 + length:
            return None
        self.closes = b"connection: close" in head or head.startswith(b"http/1.0")
        return head.split(b" ", 2)[1] == b"200"


def _run(port: int, requests: Iterator[bytes], clients: int, seconds: float) -> Load:
    selector = selectors.DefaultSelector()
    for _ in range(clients):
        client = _Client(port)
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.ask(next(requests))
    times, failed = [], 0
    begin, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() < begin + seconds:
        for key, _ in selector.select(1.0):
            client = key.data
            good = client.receive()
            if good is None:
                continue
            times.append((time.perf_counter() - client.sent) * 1000)
            failed += not good
            if client.closes:  # servers that keep no connection pay for a new one, as users do
                selector.unregister(client.socket)
                client.socket.close()
                client.connect()
                selector.register(client.socket, selectors.EVENT_READ, client)
            client.ask(next(requests))
    took = time.perf_counter() - begin
    spent = time.process_time() - cpu
    times.sort()
    return Load(
        per_s=len(times) / took,
        median_ms=times[len(times) // 2],
        p99_ms=times[len(times) * 99 // 100],
        answers=len(times),
        failed=failed,
        client_cpu=spent / took,
    )


def main() -> None:
    given = json.loads(sys.stdin.buffer.read())
    requests = cycle([b64decode(request) for request in given["requests"]])
    load = _run(given["port"], requests, given["clients"], given["seconds"])
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
