"""The search page and the files that it loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

WEB = Path(__file__).parent.parent / "web"
router = APIRouter(include_in_schema=False)
# A page of one version must not run with scripts of another: browsers ask each time (ETag).
_FRESH = {"Cache-Control": "no-cache"}


@router.api_route("/", methods=["GET", "HEAD"])
async def index() -> FileResponse:
    return FileResponse(WEB / "index.html", headers=_FRESH)


@router.api_route("/favicon.ico", methods=["GET", "HEAD"])
async def favicon() -> FileResponse:
    return FileResponse(WEB / "favicon.svg", headers=_FRESH)


class FreshFiles(StaticFiles):
    """The page's own files, which browsers keep but ask about each time."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_FRESH)
        return response
