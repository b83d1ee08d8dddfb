"""``GET /v1/stats``: what this server searches, and how well it does."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request

from serving.errors import common
from serving.models.answers import LiveRecallOut, RefusedOut, StatsOut
from serving.operations.guard import CALLER, Caller
from serving.routes.access import access_of, lease
from serving.statistics import stats_of

_LOGGED = "the server's log says why, and admins are told"
router = APIRouter(prefix="/v1", tags=["archive"])


@router.get(
    "/stats",
    summary="Size, generation, featurizer, index, limits, evaluation and live recall",
    responses=common(),
)
async def stats(request: Request) -> StatsOut:
    access = access_of(request)
    with lease(request) as service:
        recall = access.recall.figures(service.engine.name)
        refused = None if access.takeover is None else access.takeover.refused
        caller = cast(Caller, request.scope[CALLER])
        # It names files and folders of the server.
        reason = refused.reason if refused and "admin" in caller.scopes else _LOGGED
        return stats_of(
            service,
            None
            if recall is None
            else LiveRecallOut(
                recall_at_10=recall.recall_at_10, samples=recall.samples, last=recall.last
            ),
            None
            if refused is None
            else RefusedOut(generation=refused.generation, reason=reason, at=refused.at),
        )
