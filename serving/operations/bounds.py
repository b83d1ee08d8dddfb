"""How much and how slowly: bounds on a request's body and on the time of its answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.failures import BusyError, OverdueError, SlowBodyError, TooLargeError
from serving.operations import metrics

if TYPE_CHECKING:
    from starlette.responses import Response

    from serving.settings import Settings

logger = logging.getLogger(__name__)

_ENVELOPE_BYTES = 1 << 20  # a form's part headers and its field `query` around the images
_SLOWEST_BYTES_S = 500  # on average, once the time of one silence has passed
_SLOWEST_TAKER_BYTES_S = 16_384  # the same of an answer's parts, where it is the client that waits
_RETRY_AFTER_S = 5  # where the bodies of others fill the memory
_LINGER_S, _LINGER_BYTES = 2.0, 16 << 20
_UNTIMED = frozenset(("/v1/admin/reload",))  # fetches and merges a generation: minutes


class Bounds:
    """ASGI middleware: too much body is 413, of all requests together 503; late ones 408 and 504.

    408 is for a body that stops arriving, 504 for an answer.  Its time counts to its first byte;
    after that a client that takes nothing for ``body_timeout_s``, or next to nothing on average,
    is cut off.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, respond: Callable[[Exception, str], Response]
    ) -> None:
        self._app, self._settings, self._respond = app, settings, respond
        self._form_bytes = settings.max_upload_bytes * settings.max_images + _ENVELOPE_BYTES
        self._held = _Held(max(settings.max_bodies_bytes, self._form_bytes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope)
        exchange = _Exchange(scope, receive, send, self._settings, limit, self._held)
        limit_s = None if scope["path"] in _UNTIMED else self._settings.request_timeout_s
        try:
            exchange.require_announced()
            async with asyncio.timeout(limit_s) as clock:
                exchange.clock = clock
                await self._app(scope, exchange.receive, exchange.send)
        except (TooLargeError, SlowBodyError, BusyError) as error:
            if exchange.refusal is not error:
                raise
        except TimeoutError:
            if not exchange.timed_out():
                raise
            exchange.late()
        finally:
            exchange.let_go()
        if exchange.refusal is not None and not exchange.started:
            response = self._respond(exchange.refusal, scope["path"])
            await exchange.refuse(response)

    def _limit(self, scope: Scope) -> int:
        kind = next((v for k, v in scope["headers"] if k == b"content-type"), b"")
        form = kind.lower().startswith(b"multipart/form-data")
        return self._form_bytes if form else self._settings.max_json_bytes


@dataclass(slots=True)
class _Held:
    """Bytes of all bodies that are in memory or on their way there."""

    most: int
    now: int = 0


class _Exchange:
    """One request and its answer, measured."""

    __slots__ = (
        "_began",
        "_given",
        "_held",
        "_limit",
        "_pending",
        "_receive",
        "_scope",
        "_seen",
        "_send",
        "_silence_s",
        "_stalled",
        "_timeout_s",
        "_waited_s",
        "clock",
        "refusal",
        "started",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        settings: Settings,
        limit: int,
        held: _Held,
    ) -> None:
        self._held, self._given, self._waited_s = held, 0, 0.0
        self._scope, self._receive, self._send, self._limit = scope, receive, send, limit
        self._silence_s = settings.body_timeout_s
        self._timeout_s = settings.request_timeout_s
        self._began, self._seen, self._pending = 0.0, 0, True
        self._stalled = False
        self.clock: asyncio.Timeout | None = None
        self.refusal: Exception | None = None
        self.started = False

    def require_announced(self) -> None:
        """TooLargeError where the request says itself that it is too large."""
        for key, value in self._scope["headers"]:
            if key == b"content-length" and value.isdigit() and int(value) > self._limit:
                raise self._too_large()

    def _too_large(self) -> TooLargeError:
        self.refusal = TooLargeError(
            f"the body is more than {self._limit:,} bytes: send fewer or smaller images, or "
            "images as multipart/form-data"
        )
        return self.refusal

    async def receive(self) -> Message:
        """The next part of the body; TooLargeError or SlowBodyError ends the request."""
        if not self._pending:
            return await self._receive()
        began = self._began = self._began or time.monotonic()
        try:
            async with asyncio.timeout(self._silence_s):
                message = await self._receive()
        except TimeoutError as error:
            raise self._slow(f"nothing of the body came for {self._silence_s:g} s") from error
        if message["type"] != "http.request":
            return message
        size = len(message.get("body", b""))
        self._seen += size
        self._held.now += size
        self._pending = message.get("more_body", False)
        if self._held.now > self._held.most:
            metrics.BUSY.labels("body").inc()
            self.refusal = BusyError(_RETRY_AFTER_S)
            raise self.refusal
        if self._seen > self._limit:
            raise self._too_large()
        spent = time.monotonic() - began
        if self._pending and spent > self._silence_s and self._seen < _SLOWEST_BYTES_S * spent:
            raise self._slow(f"the body came at less than {_SLOWEST_BYTES_S} bytes a second")
        if self.clock is not None and self.clock.when() is not None:
            # The time to send it is the client's; the answer's begins with the last of it.
            self.clock.reschedule(asyncio.get_running_loop().time() + self._timeout_s)
        return message

    def let_go(self) -> None:
        """The request has ended, and with it its body."""
        self._held.now -= self._seen
        self._seen = 0

    def _slow(self, what: str) -> SlowBodyError:
        metrics.TIMEOUTS.labels("body").inc()
        self.refusal = SlowBodyError(f"{what}: send it without pauses")
        return self.refusal

    async def send(self, message: Message) -> None:
        if self.refusal is not None and not self.started:
            return  # what the route makes of it says less than the refusal itself
        if message["type"] == "http.response.start":
            self.started = True
            if self.clock is not None:
                self.clock.reschedule(None)
        elif message.get("more_body", False):
            await self._send_part(message)
            return
        await self._send(message)

    async def _send_part(self, message: Message) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._silence_s):
                await self._send(message)
            # Only what the client keeps us waiting for counts, not what takes us time to make.
            self._waited_s += time.monotonic() - began
            self._given += len(message.get("body", b""))
            if self._waited_s > self._silence_s and (
                self._given < _SLOWEST_TAKER_BYTES_S * self._waited_s
            ):
                raise TimeoutError
        except TimeoutError:
            self._stalled = True
            raise

    def timed_out(self) -> bool:
        """Whether it was one of our clocks that ended the request."""
        return self._stalled or (self.clock is not None and self.clock.expired())

    def late(self) -> None:
        if self._stalled:
            # Without its end the answer is broken off, and the client sees that it is.
            metrics.TIMEOUTS.labels("write").inc()
            logger.warning(
                "an answer was broken off: its client took nothing for %g s, or less than %d bytes "
                "a second",
                self._silence_s,
                _SLOWEST_TAKER_BYTES_S,
            )
            return
        metrics.TIMEOUTS.labels("request").inc()
        self.refusal = OverdueError(self._timeout_s)

    async def refuse(self, response: Response) -> None:
        """Sends the problem and ends the connection where the body has not been read."""
        if isinstance(self.refusal, OverdueError):
            await response(self._scope, self._receive, self._send)
            return
        response.headers["connection"] = "close"
        start = {"type": "http.response.start", "status": response.status_code}
        await self._send({**start, "headers": response.raw_headers})
        body = {"type": "http.response.body", "body": response.body}
        await self._send({**body, "more_body": True})
        if isinstance(self.refusal, TooLargeError | BusyError):
            await self._linger()
        await self._send({"type": "http.response.body", "body": b""})

    async def _linger(self) -> None:
        """Reads on for a moment: a client cut off while it sends would not see the answer."""
        seen = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while seen < _LINGER_BYTES:
                    message = await self._receive()
                    seen += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
