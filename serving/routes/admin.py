"""What needs the scope admin: taking a published generation over at once."""

from __future__ import annotations

from fastapi import APIRouter, Request

from featurizer.errors import StorageError
from serving.errors import common, documented
from serving.failures import NotReadyError, ReloadRefusedError
from serving.models.answers import ReloadOut
from serving.routes.access import access_of, outside

router = APIRouter(prefix="/v1/admin", tags=["admin"])


@router.post(
    "/reload",
    summary="Serve what is published now; needs the scope admin",
    responses={**common(), **documented(ReloadRefusedError, StorageError)},
)
async def reload(request: Request) -> ReloadOut:
    """Answers once the generation that CURRENT names serves, however long that takes.

    Other workers of this server follow within a second or so.  A generation that was refused
    before is tried again.
    """
    access = access_of(request)
    access.live.require()
    if access.takeover is None:
        raise NotReadyError("this server follows no archive")
    changed = await outside(request, access.takeover.reload)
    return ReloadOut(generation=access.live.require().engine.name, changed=changed)
