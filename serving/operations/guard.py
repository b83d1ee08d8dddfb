"""Who may ask: host names, API keys, origins, scopes and rates, before any route is reached."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.failures import (
    ForbiddenError,
    MisdirectedError,
    RateLimitedError,
    UnauthorizedError,
)
from serving.operations import metrics
from serving.operations.keys import SCOPES, Keyring
from serving.operations.rates import Allowance, Rates, caller_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

COOKIE = "worldsift_key"
CALLER = "worldsift.caller"  # where the scope of a request holds its Caller
SESSION = "/v1/session"
_ADMIN = "/v1/admin/"
_PROBES = ("/healthz", "/readyz")
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; ``name`` is the key's, None without one.  ``by`` is how the key was presented."""

    name: str | None
    scopes: tuple[str, ...]
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What the guard holds to.

    ``loopback_only``: no keys and not for others, so that only names of this machine may be asked
    for: a page elsewhere whose name was made to point here (DNS rebinding) asks under its own.
    """

    keys: Keyring
    rates: Rates | None
    origins: frozenset[str]
    loopback_only: bool


class Guard:
    """ASGI middleware that answers what is not allowed and lets the rest through.

    Pages, their files and health need no key: they say nothing of the archive.
    """

    def __init__(
        self, app: ASGIApp, policy: Policy, respond: Callable[[Exception, str], Response]
    ) -> None:
        self._app, self._policy, self._respond = app, policy, respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        try:
            allowance = await self._check(scope, path)
        except (
            ForbiddenError,
            MisdirectedError,
            RateLimitedError,
            UnauthorizedError,
        ) as error:
            metrics.DENIED.labels(type(error).__name__.removesuffix("Error").lower()).inc()
            await self._respond(error, path)(scope, receive, send)
            return
        await self._app(scope, receive, send if allowance is None else _told(allowance, send))

    async def _check(self, scope: Scope, path: str) -> Allowance | None:
        headers = scope["headers"]
        if self._policy.loopback_only and path not in _PROBES:
            _require_loopback_name(headers)
        named = dict(headers)
        caller = scope[CALLER] = self._caller(scope, named)
        guarded = _is_guarded(path)
        if not guarded and path != SESSION:
            return None
        if scope["method"] not in _SAFE and caller.by != "header":
            self._require_own_origin(named)
        allowance = None
        if self._policy.rates is not None:
            identity = caller.name and f"key:{caller.name}"
            allowance = await self._policy.rates.take(identity or caller_of(_address(scope)))
        if guarded:
            _require_scope(caller, "admin" if path.startswith(_ADMIN) else "read", self._policy)
        return allowance

    def _caller(self, scope: Scope, headers: dict[bytes, bytes]) -> Caller:
        keys = self._policy.keys
        if not keys.required:
            return Caller(None, SCOPES if is_loopback(_address(scope)) else ("read",))
        presented, by = _presented(headers)
        key = keys.find(presented) if presented else None
        return Caller(None, ()) if key is None else Caller(key.name, key.scopes, by)

    def _require_own_origin(self, headers: dict[bytes, bytes]) -> None:
        """Refuses what another site's page sends with our visitor's cookie or from his machine."""
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or origin in self._policy.origins or "*" in self._policy.origins:
            return
        place = origin.partition("://")[2]
        if place and place == headers.get(b"host", b"").decode("latin-1"):
            return
        if not self._policy.keys.required and is_loopback(_host_of(place)):
            return
        raise ForbiddenError(
            f"a page of {origin[:200]} may not send this: list its origin in --cors-origins, or "
            "send a key as Authorization: Bearer KEY"
        )


def _is_guarded(path: str) -> bool:
    if path == SESSION:
        return False
    return path.startswith("/v1/") or path in ("/metrics", "/openapi.json")


def _require_scope(caller: Caller, scope: str, policy: Policy) -> None:
    if scope in caller.scopes:
        return
    if not policy.keys.required:
        raise ForbiddenError(
            "this is for callers on the server's own machine, or with an admin key"
        )
    if caller.name is None:
        raise UnauthorizedError(
            "this server asks for an API key that it knows: send it as Authorization: Bearer KEY "
            "or X-API-Key, or sign in on the page"
        )
    raise ForbiddenError(f"this needs a key of scope {scope}, and {caller.name!r} has not got it")


def _require_loopback_name(headers: list[tuple[bytes, bytes]]) -> None:
    for name in [value.decode("latin-1") for key, value in headers if key == b"host"] or [""]:
        if not is_loopback(_host_of(name)):
            raise MisdirectedError(
                f"the host {name[:200]!r} is not a name of this machine: ask localhost, or start "
                "the server with API keys or --allow-anonymous to serve under other names"
            )


@lru_cache(maxsize=1024)
def _host_of(authority: str) -> str:
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, by its form alone."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "127.0.0.1"  # a Unix socket has no address


def _presented(headers: dict[bytes, bytes]) -> tuple[str, str | None]:
    """The key of a request and where it stood."""
    kind, _, value = headers.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        return value.strip().decode("latin-1"), "header"
    if b"x-api-key" in headers:
        return headers[b"x-api-key"].strip().decode("latin-1"), "header"
    for part in headers.get(b"cookie", b"").split(b";"):
        name, _, value = part.strip().partition(b"=")
        if name == COOKIE.encode():
            return value.decode("latin-1"), "cookie"
    return "", None


def _told(allowance: Allowance, send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *allowance.headers()]
        await send(message)

    return told
