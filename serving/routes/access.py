"""How routes reach the loaded archive, and leave the event loop for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from serving.failures import NotReadyError
from serving.service import SearchService
from serving.settings import Settings

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Access:
    """What the app holds while it runs; ``service`` is None until the archive is loaded.

    Searches compute and pictures mostly wait for storage, so each has its own cap on threads: a
    page of slow pictures does not keep searches waiting.
    """

    settings: Settings
    service: SearchService | None = None
    failed: bool = False
    computing: anyio.CapacityLimiter = field(init=False)
    reading: anyio.CapacityLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.computing = anyio.CapacityLimiter(self.settings.query_threads)
        self.reading = anyio.CapacityLimiter(2 * self.settings.query_threads)


def access_of(request: Request) -> Access:
    access = request.app.state.access
    if not isinstance(access, Access):
        raise TypeError(f"app.state.access is {access!r}")
    return access


def service_of(request: Request) -> SearchService:
    """The loaded archive; NotReadyError before it is there."""
    access = access_of(request)
    if access.failed:
        raise NotReadyError("the archive could not be loaded: the server's log says why")
    if access.service is None:
        raise NotReadyError("the archive is being loaded: ask again in a moment")
    return access.service


async def compute(request: Request, work: Callable[[], Answer]) -> Answer:
    """``work()`` in a thread, at most ``query_threads`` of them at a time."""
    return await anyio.to_thread.run_sync(work, limiter=access_of(request).computing)


async def read(request: Request, work: Callable[[], Answer]) -> Answer:
    """``work()`` in a thread of those that may wait for storage."""
    return await anyio.to_thread.run_sync(work, limiter=access_of(request).reading)
