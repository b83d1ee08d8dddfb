"""Whether the process lives, whether it can answer, and what it searches."""

from __future__ import annotations

from fastapi import APIRouter, Request

from serving.errors import documented
from serving.failures import NotReadyError
from serving.models import ArchiveOut, StatusOut
from serving.routes.access import service_of

router = APIRouter()


@router.get("/healthz", tags=["health"], summary="The process lives")
async def healthz() -> StatusOut:
    return StatusOut(status="alive")


@router.get(
    "/readyz",
    tags=["health"],
    summary="The archive is loaded; 503 before",
    responses=documented(NotReadyError),
)
async def readyz(request: Request) -> StatusOut:
    service_of(request)
    return StatusOut(status="ready")


@router.get(
    "/v1/archive",
    tags=["archive"],
    summary="What this server searches: size, featurizer, index, limits, evaluation",
    responses=documented(NotReadyError),
)
async def archive(request: Request) -> ArchiveOut:
    return service_of(request).archive()
