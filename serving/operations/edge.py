"""The outermost layer: request ids, security headers, the access log, times, the last errors."""

from __future__ import annotations

import logging
import time
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.operations import metrics
from serving.operations.guard import CALLER
from serving.operations.request_id import HEADER, chosen, request_id

logger = logging.getLogger("serving.requests")
access_logger = logging.getLogger("serving.access")

GIBS = "https://gibs.earthdata.nasa.gov"  # the map's imagery
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    f"img-src 'self' blob: data: {GIBS}",
    f"connect-src 'self' {GIBS}",
    "worker-src 'self' blob:",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)
SECURITY_HEADERS = (
    (b"content-security-policy", "; ".join(_POLICY).encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_ID = HEADER.lower().encode()
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Edge:
    """ASGI middleware around everything, the framework's own error page included."""

    def __init__(self, app: ASGIApp, access_log: bool) -> None:
        self._app, self._access_log = app, access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        name = chosen(next((v for k, v in scope["headers"] if k == _ID), None))
        request_id.set(name)  # of this request's own task
        answer = _Answer(send, name.encode())
        metrics.IN_FLIGHT.inc()
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            if not answer.complete:  # the server cuts the connection, and logs why
                raise
            logger.exception("%s %s failed", scope["method"], scope["path"])
        finally:
            metrics.IN_FLIGHT.dec()
            self._count(scope, answer.status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        metrics.observe_request(_template(scope), method, status, seconds)
        if self._access_log:
            caller = scope.get(CALLER)
            client = scope.get("client")
            access_logger.info(
                "%s %s %d",
                scope["method"],
                quote(scope["path"], safe="/:@!$&'()*+,;=~"),  # a line break would forge a line
                status,
                extra={
                    "ms": round(seconds * 1000, 2),
                    "client": client[0] if client else None,
                    "key": caller.name if caller else None,
                },
            )


def _template(scope: Scope) -> str:
    """The route's path as it was declared; one name for all that no route was found for."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "") or "(none)") if route is not None else "(none)"


class _Answer:
    """An answer on its way: its status, and whether its end has been sent."""

    __slots__ = ("_id", "_send", "complete", "status")

    def __init__(self, send: Send, name: bytes) -> None:
        self._send, self._id = send, name
        self.status, self.complete = 500, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"] = list(message.get("headers", ()))
            present = {key for key, _ in headers}
            headers.append((_ID, self._id))
            headers += [pair for pair in SECURITY_HEADERS if pair[0] not in present]
        elif message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)
        await self._send(message)
