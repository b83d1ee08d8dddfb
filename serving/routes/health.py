"""Whether the process lives, whether it can answer, and what it has counted."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.errors import common, documented
from serving.failures import NotReadyError
from serving.models.answers import StatusOut
from serving.operations import metrics
from serving.routes.access import access_of, read

router = APIRouter()
_METRICS_EXAMPLE = "# TYPE worldsift_rows gauge\nworldsift_rows 1000000.0\n"


@router.get("/healthz", tags=["health"], summary="The process lives")
async def healthz() -> StatusOut:
    return StatusOut(status="alive")


@router.get(
    "/readyz",
    tags=["health"],
    summary="The archive is loaded; 503 before, and once the server is to end",
    responses=documented(NotReadyError),
)
async def readyz(request: Request) -> StatusOut:
    access = access_of(request)
    if access.draining:
        raise NotReadyError("the server is about to end: ask another one")
    access.live.require()
    return StatusOut(status="ready")


@router.get(
    "/metrics",
    tags=["health"],
    summary="Counters and times for Prometheus; needs a key of scope read where keys are asked for",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus's text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _METRICS_EXAMPLE}},
        },
        **common(),
    },
)
async def counted(request: Request) -> Response:
    access = access_of(request)
    for queue in access.queues:
        metrics.QUEUE_LENGTH.labels(queue.name).set(queue.waiting)
    return Response(await read(request, metrics.render), media_type=metrics.CONTENT_TYPE)
