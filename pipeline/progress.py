"""Progress of a local job, told by its worker threads and processes, shown by its driver.

Datagrams on loopback: they work alike for threads and processes, cost microseconds, and one that
gets lost costs a tick of the bar and nothing else.  The totals that a job reports come from the
shards' markers, not from here.
"""

from __future__ import annotations

import socket
import struct
import threading
from types import TracebackType

from tqdm import tqdm

_MESSAGE = struct.Struct("!IIIQ")  # planned, done, rejected, bytes
_POLL_S = 0.2


class Teller:
    """Sends increments to the driver's port; without a port, says nothing."""

    def __init__(self, port: int | None) -> None:
        self._port = port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def tell(self, planned: int = 0, done: int = 0, rejected: int = 0, size: int = 0) -> None:
        if self._port is None:
            return
        try:
            message = _MESSAGE.pack(planned, done, rejected, size)
            self._socket.sendto(message, ("127.0.0.1", self._port))
        except OSError:
            return  # the driver has gone or its buffer is full: progress is a courtesy

    def close(self) -> None:
        self._socket.close()


class ProgressBar:
    """A bar on stderr that adds up what tellers say, until the block ends."""

    def __init__(self, what: str, unit: str, show: bool) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(_POLL_S)
        self.port: int = self._socket.getsockname()[1]
        self._bar = tqdm(desc=what, unit=unit, disable=not show, total=0, smoothing=0.1)
        self._rejected = self._bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> ProgressBar:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._bar.close()
        self._socket.close()

    def expect(self, planned: int) -> None:
        """Adds to the number that the bar counts up to."""
        self._bar.total = (self._bar.total or 0) + planned

    def _listen(self) -> None:
        while True:
            try:
                message = self._socket.recv(64)
            except TimeoutError:
                if self._ended.is_set():
                    return
                continue
            if len(message) == _MESSAGE.size:
                self._show(*_MESSAGE.unpack(message))

    def _show(self, planned: int, done: int, rejected: int, size: int) -> None:
        self._rejected += rejected
        self._bytes += size
        self.expect(planned)
        self._bar.set_postfix_str(
            f"{self._bytes / 1e6:.0f} MB read, {self._rejected} rejected", refresh=False
        )
        self._bar.update(done + rejected)
