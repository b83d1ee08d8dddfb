"""The ASGI application: ``create_app(settings)`` builds it, importing this module does nothing."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from featurizer.errors import WorldsiftError
from serving import errors
from serving.models import Problem, SearchRequest
from serving.routes import health, pages, search, tiles
from serving.routes.access import Access
from serving.service import SearchService
from serving.settings import Settings

logger = logging.getLogger(__name__)

_DESCRIPTION = (
    "Finds, in an archive of imagery, the pictures that look like the ones you show it. Errors are "
    "application/problem+json (RFC 9457)."
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob: data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

Loader = Callable[[Settings], SearchService]


def create_app(
    settings: Settings,
    on_failure: Callable[[Exception], None] | None = None,
    load: Loader = SearchService.open,
) -> FastAPI:
    """The service over ``settings.root``.

    The port answers at once and ``/readyz`` says 503 until the archive is loaded in a thread.
    When that fails, ``on_failure`` is called with the reason (a server then stops); without it
    the reason is logged and ``/readyz`` stays at 503.
    """
    access = Access(settings)
    app = FastAPI(
        title="Worldsift",
        description=_DESCRIPTION,
        version="1",
        docs_url=None,  # these pages load scripts from elsewhere, which our policy refuses
        redoc_url=None,
        lifespan=_lifespan(access, load, on_failure or _log_failure),
    )
    app.state.access = access
    errors.install(app)
    for module in (search, tiles, health, pages):
        app.include_router(module.router)
    app.mount("/static", pages.FreshFiles(directory=pages.WEB), name="static")
    app.add_middleware(SecurityHeaders)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _lifespan(
    access: Access, load: Loader, on_failure: Callable[[Exception], None]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    async def fill() -> None:
        try:
            # Abandoned when the server stops meanwhile: what it writes is complete or absent.
            access.service = await anyio.to_thread.run_sync(
                lambda: load(access.settings), abandon_on_cancel=True
            )
        except Exception as error:  # noqa: BLE001 - the edge: the server's owner must hear of it
            access.failed = True
            on_failure(error)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fill)
            yield
            tasks.cancel_scope.cancel()
        if access.service is not None:
            access.service.close()

    return lifespan


def _log_failure(error: Exception) -> None:
    if isinstance(error, WorldsiftError):
        logger.error("the archive could not be loaded: %s", error)
    else:
        logger.error("the archive could not be loaded", exc_info=error)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The schema with the models that routes only refer to."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        for model in (Problem, SearchRequest):
            components[model.__name__] = model.model_json_schema(
                ref_template="#/components/schemas/{model}"
            )
        app.openapi_schema = schema
    return app.openapi_schema


class SecurityHeaders:
    """ASGI middleware that sends the security headers with every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, secured if scope["type"] == "http" else send)
