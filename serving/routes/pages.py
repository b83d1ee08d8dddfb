"""The pages of the web UI and the files that they load, as built into ``serving/web/dist``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

DIST = Path(__file__).parent.parent / "web" / "dist"
ASSETS = DIST / "assets"
router = APIRouter(include_in_schema=False)
# Pages name their scripts by hash, so only they must be asked for each time (ETag).
_FRESH = {"Cache-Control": "no-cache"}
_FOR_GOOD = {"Cache-Control": "public, max-age=31536000, immutable"}
_NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Worldsift: the page is not built</title>
<h1>The page is not built</h1>
<p>The search page is made by Node out of <code>serving/web</code>: run <code>make web</code>, then
load this page again. The <a href="/openapi.json">HTTP API</a> works without it.</p>
</html>
"""


@router.api_route("/", methods=["GET", "HEAD"])
async def search_page() -> Response:
    return _page("index.html")


@router.api_route("/map", methods=["GET", "HEAD"])
async def map_page() -> Response:
    return _page("map.html")


def _page(name: str) -> Response:
    file = DIST / name
    if not file.is_file():
        return HTMLResponse(_NOT_BUILT, 503, {"Cache-Control": "no-store"})
    return FileResponse(file, headers=_FRESH)


@router.api_route("/favicon.ico", methods=["GET", "HEAD"])
async def favicon() -> Response:
    """The picture that the pages name themselves, for what asks without reading them."""
    found = next(ASSETS.glob("favicon*.svg"), None)
    if found is None:
        raise HTTPException(404)
    return FileResponse(found, headers=_FRESH)


class Assets(StaticFiles):
    """What the pages load: names change with the content, so browsers may keep all of it."""

    def __init__(self) -> None:
        super().__init__(directory=ASSETS, check_dir=False)

    async def check_config(self) -> None:
        """Asked before files are; what is not built is not found, which is no fault of ours."""
        if not ASSETS.is_dir():
            raise HTTPException(404)
        await super().check_config()

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_FOR_GOOD)
        return response


def mounts() -> list[tuple[str, ASGIApp]]:
    """What the app serves whole below a path."""
    return [("/assets", Assets())]
