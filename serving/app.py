"""The ASGI application: ``create_app(settings)`` builds it, importing this module does nothing."""

from __future__ import annotations

import gc
import importlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from featurizer.errors import UsageError, WorldsiftError
from serving import errors
from serving.models import answers, requests
from serving.operations import logs, metrics
from serving.operations.bounds import Bounds
from serving.operations.edge import Edge
from serving.operations.guard import Guard, Policy, is_loopback
from serving.operations.keys import Keyring
from serving.operations.protocol import LIMITS
from serving.operations.rates import Rates
from serving.operations.request_id import HEADER
from serving.operations.server import on_end
from serving.operations.takeover import Opener, Takeover
from serving.routes import (
    admin,
    embed,
    export,
    facets,
    health,
    map,
    pages,
    search,
    session,
    stats,
    tiles,
)
from serving.routes.access import Access
from serving.service import SearchService
from serving.settings import Settings, origins_of

if TYPE_CHECKING:
    from featurizer.embed import Featurizer

logger = logging.getLogger(__name__)

_DESCRIPTION = (
    "Finds, in an archive of imagery, the pictures that look like the ones you show it. Errors are "
    "application/problem+json (RFC 9457). Where the server asks for a key, send it as "
    "`Authorization: Bearer KEY` or `X-API-Key`."
)
_ROUTES = (search, embed, facets, export, tiles, map, stats, session, admin, health, pages)
_YOUNG_OBJECTS = 10_000  # before a round: an answer of ten hits makes some hundreds
_TOLD = (HEADER, "Retry-After", "ETag", "Content-Disposition")  # to pages of other origins
_RATES = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


def open_service(
    settings: Settings, featurizer: Featurizer | None, generation: str
) -> SearchService:
    """A generation, opened and ready; ``featurizer`` is used again where it fits."""
    return SearchService.open(settings, featurizer, generation)


def create_app(
    settings: Settings,
    on_failure: Callable[[Exception], None] | None = None,
    on_ready: Callable[[], None] | None = None,
    load: Opener = open_service,
    patient: bool = False,
) -> FastAPI:
    """The service over ``settings.root``.

    The port answers at once and ``/readyz`` says 503 until the archive is loaded in a thread;
    then ``on_ready`` is called there.  When it cannot be loaded, ``on_failure`` is called with
    the reason (a server then stops); without it the reason is logged, and what is published is
    tried again as often as CURRENT is looked at.  ``patient`` takes no connection before the first
    try has ended: one of several workers leaves them to those that can answer.  UsageError for
    settings that cannot be meant.
    """
    policy = policy_of(settings)
    access = Access(settings, policy.keys)
    access.takeover = Takeover(settings, access.live, load)
    app = _App(
        title="Worldsift",
        description=_DESCRIPTION,
        version="1",
        docs_url=None,  # these pages load scripts from elsewhere, which our policy refuses
        redoc_url=None,
        middleware=_middleware(settings, policy),
        lifespan=_lifespan(access, on_failure, on_ready, patient),
    )
    app.state.access = access
    errors.install(app)
    for module in _ROUTES:
        app.include_router(module.router)
    app.mount("/assets", pages.Assets(), name="assets")
    return app


def app_from_environment() -> FastAPI:
    """The application of a worker process, whose settings stand in its environment."""
    settings = Settings()
    logs.configure(settings.log_format)
    return create_app(settings, patient=True)


def policy_of(settings: Settings) -> Policy:
    """Who may ask; UsageError where that would be everyone and nobody has said so."""
    keys = Keyring(settings.api_keys_file, settings.api_keys)
    local = is_loopback(settings.host)
    if not (local or keys.required or settings.allow_anonymous):
        raise UsageError(
            f"--host {settings.host} lets other machines in, and no API keys are set: make one "
            "with `python -m serving key new NAME --file keys.json` and start with "
            "--api-keys-file keys.json, or say --allow-anonymous"
        )
    return Policy(
        keys=keys,
        rates=Rates(settings.rate_limit) if settings.rate_limit else None,
        origins=frozenset(origins_of(settings.cors_origins)),
        loopback_only=local and not keys.required and not settings.allow_anonymous,
    )


class _App(FastAPI):
    """FastAPI inside our outermost layer: its own answers to unforeseen errors pass it too."""

    def build_middleware_stack(self) -> ASGIApp:
        settings: Settings = self.state.access.settings
        return Edge(super().build_middleware_stack(), settings.access_log)

    def openapi(self) -> dict[str, Any]:
        """The schema, with the models that routes only refer to and the ways to send a key."""
        if self.openapi_schema is None:
            schema = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
            )
            components = schema.setdefault("components", {})
            components["schemas"] = {**_models(), **components.get("schemas", {})}
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            schema["security"] = [{}, {"bearer": []}, {"header": []}]
            self.openapi_schema = schema
        return self.openapi_schema


def _models() -> dict[str, Any]:
    """JSON schemas of every request and answer by name."""
    found = [
        (kind, mode)
        for module, mode in ((requests, "validation"), (answers, "serialization"))
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel
    ]
    _, schema = models_json_schema(
        [(kind, "validation" if mode == "validation" else "serialization") for kind, mode in found],
        ref_template="#/components/schemas/{model}",
    )
    models: dict[str, Any] = schema["$defs"]
    return models


def _middleware(settings: Settings, policy: Policy) -> list[Middleware]:
    stack = [
        Middleware(Guard, policy=policy, respond=errors.response_to),
        Middleware(Bounds, settings=settings, respond=errors.response_to),
    ]
    if policy.origins:  # outside the guard: pages are to read its refusals, and ask before all
        cors = Middleware(
            CORSMiddleware,
            allow_origins=sorted(policy.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", HEADER],
            expose_headers=[*_TOLD, *_RATES],
            max_age=600,
        )
        stack.insert(0, cors)
    return stack


def settle_libraries() -> None:
    """Imports what a search needs and takes it out of the garbage collector's rounds.

    With torch's million objects among them each round would hold up all requests.
    """
    for module in ("featurizer.embed", "serving.engine.search"):
        importlib.import_module(module)

    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)


def _lifespan(
    access: Access,
    on_failure: Callable[[Exception], None] | None,
    on_ready: Callable[[], None] | None,
    patient: bool,
) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    takeover = access.takeover
    assert takeover is not None

    def load() -> None:
        try:
            settle_libraries()
            takeover.load()
        except Exception as error:  # noqa: BLE001 - the edge: the server's owner must hear of it
            access.live.failed = True
            (on_failure or _log_failure)(error)
        else:
            if on_ready is not None:
                on_ready()
        takeover.start()

    def announce() -> None:
        access.draining = True

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        settings = access.settings
        metrics.forget_dead_workers()
        undo = on_end(announce, settings.notice_s)
        access.recall.start()
        async with anyio.create_task_group() as tasks:
            if patient:
                await anyio.to_thread.run_sync(load)
            else:
                # Abandoned when the server stops meanwhile: what it writes is complete or absent.
                tasks.start_soon(lambda: anyio.to_thread.run_sync(load, abandon_on_cancel=True))
            yield {LIMITS: (settings.header_timeout_s, settings.body_timeout_s)}
            access.draining = True
            tasks.cancel_scope.cancel()
        access.close()
        if (maps := getattr(app.state, "embedding_maps", None)) is not None:
            maps.close()
        undo()

    return lifespan


def _log_failure(error: Exception) -> None:
    if isinstance(error, WorldsiftError):
        logger.error("the archive could not be loaded: %s", error)
    else:
        logger.error("the archive could not be loaded", exc_info=error)
