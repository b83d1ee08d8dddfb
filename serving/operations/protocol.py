"""HTTP/1.1 as uvicorn speaks it, with the bounds on a connection that it leaves out.

uvicorn times neither a connection whose request never becomes whole nor a body that goes on after
its answer nor an answer that nobody takes, and bounds no headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import sys
import termios
from typing import Any

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.operations import metrics
from serving.operations.edge import SECURITY_HEADERS

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 << 10  # request line and headers together
LIMITS = "worldsift.limits"  # in the lifespan's state: seconds for a head, for an unread body


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose head is late or too long, or whose body outlasts its answer, and
    those of clients that do not take their answer.

    How late is late stands in the state that the application's lifespan gives, under ``LIMITS``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_s, self._rest_s = self.app_state[LIMITS]
        self._in_head = True  # no request is whole so far, or a further one has begun
        self._head_bytes = 0
        self._too_long = False
        self._timer: asyncio.TimerHandle | None = None
        self._timed: str | None = None  # what the timer is for
        self._outflow: asyncio.TimerHandle | None = None  # of an answer that is not being taken

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_timer("head", self._head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_timer(None, 0)
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES + len(data):  # several pieces, still no end
                self._refuse_head()
                return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._set_timer("head", self._head_s)
        elif self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._set_timer("rest", self._rest_s)
        elif self._timer is not None:
            self._set_timer(None, 0)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._too_long = True
            raise HttpParserError("the head is too long")
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        # Of a request that was answered before it was whole, uvicorn does not note the end.
        self.cycle.more_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_outflow()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_outflow()

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()
        if self.cycle is not None and self.cycle.response_complete:
            self._watch_outflow()  # of one that goes on, the rest is not all there yet

    def _watch_outflow(self) -> None:
        """An answer waits here until the client has taken it, which may be never."""
        if self.transport.get_write_buffer_size() and self._outflow is None:
            left = self._not_taken()
            self._outflow = self.loop.call_later(self._rest_s, self._look_at_outflow, left)

    def _look_at_outflow(self, before: int) -> None:
        self._outflow = None
        if self._not_taken() < before:
            self._watch_outflow()
            return
        metrics.TIMEOUTS.labels("write").inc()
        logger.info("a connection was cut: nothing of its answer was taken for %g s", self._rest_s)
        self.transport.abort()

    def _not_taken(self) -> int:
        """Bytes that the client has not got: ours, and the kernel's, who takes more from us only
        once it has got rid of a third of what it holds."""
        sent = bytearray(4)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, sent)
        return self.transport.get_write_buffer_size() + int.from_bytes(sent, sys.byteorder)

    def _stop_watching(self) -> None:
        if self._outflow is not None:
            self._outflow.cancel()
            self._outflow = None

    def _refuse_head(self) -> None:
        self._too_long = True
        self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, or a head beyond bounds, as a problem, and closes."""
        status, slug, title = "400 Bad Request", "bad-http", "Not a valid HTTP request"
        detail = "send a well-formed HTTP/1.1 request"
        if self._too_long:
            status, slug = "431 Request Header Fields Too Large", "long-head"
            title = "The request line and headers are too long"
            detail = f"keep them below {MAX_HEAD_BYTES} bytes: send long queries as POST"
        body = (
            f'{{"type":"urn:worldsift:problem:{slug}","title":"{title}",'
            f'"status":{status[:3]},"detail":"{detail}"}}'
        ).encode()
        lines = [f"HTTP/1.1 {status}".encode(), b"content-type: application/problem+json"]
        lines += [b"content-length: %d" % len(body), b"cache-control: no-store"]
        lines += [name + b": " + value for name, value in SECURITY_HEADERS]
        lines += [b"connection: close", b"", body]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def _set_timer(self, purpose: str | None, seconds: float) -> None:
        """One clock for one purpose: bytes that trickle in do not set it back."""
        if purpose is not None and self._timed == purpose:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timed = purpose
        self._timer = None if purpose is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if not self.transport.is_closing():
            metrics.TIMEOUTS.labels(self._timed or "head").inc()
            logger.info("a connection was closed: its %s took too long", self._timed)
            self.transport.close()
