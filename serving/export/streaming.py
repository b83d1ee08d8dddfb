"""A file that is sent while it is made: at the client's pace, and never whole when it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import anyio.to_thread
from anyio import CancelScope, CapacityLimiter
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.failures import BrokenTransferError


class StreamedFile(Response):
    """An answer of pieces that a blocking iterator makes, each in a thread of ``threads``.

    The next piece is made when the client has taken the one before, so that a slow client costs
    no memory.  When the client goes away, the piece under way is the last.  When a piece fails,
    BrokenTransferError leaves the application before the last chunk of the body is sent: the
    server then closes the connection, and no client of HTTP/1.1 or later takes the file for whole.

    ``close`` is called once, in a thread, when no piece is being made any more, however it ends.
    """

    def __init__(
        self,
        pieces: Iterator[bytes],
        close: Callable[[], None],
        threads: CapacityLimiter,
        headers: dict[str, str],
    ) -> None:
        self._pieces, self._close, self._threads = pieces, close, threads
        self.status_code, self.background, self.body = 200, None, b""
        self.init_headers(headers)
        del self.headers["content-length"]  # nobody knows it before the end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                failure = await self._stream(send)
                tasks.cancel_scope.cancel()
        finally:
            with CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._close, limiter=self._threads)
        if failure is not None:  # here, since the task group would wrap it
            raise failure

    async def _stream(self, send: Send) -> Exception | None:
        """Sends all pieces; what kept the file from being whole, if anything did."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while piece := await self._next():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:  # noqa: BLE001 - raised again once the file is closed
            return error
        return None

    async def _next(self) -> bytes:
        """The next piece; nothing at the end."""
        try:
            return await anyio.to_thread.run_sync(next, self._pieces, b"", limiter=self._threads)
        except Exception as error:
            raise BrokenTransferError(f"a file was broken off: {error}") from error


async def _until_gone(receive: Receive, scope: CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
