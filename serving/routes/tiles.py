"""Tiles of the archive: a sample, one tile's record, one tile's picture."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from featurizer.errors import StorageError, UnknownTileError
from serving.errors import documented
from serving.failures import NotReadyError, SourceGoneError
from serving.models import TileOut, TilesOut, image_version
from serving.routes.access import read, service_of
from serving.service import SearchService
from serving.thumbnails import MAX_SIZE_PX, ImageFormat

router = APIRouter(prefix="/v1/tiles", tags=["tiles"])
_KEEP = "private, max-age=31536000, immutable"


class PictureQuery(BaseModel):
    """How a picture is wanted."""

    model_config = ConfigDict(extra="forbid")

    size: int | None = Field(
        None, ge=8, le=MAX_SIZE_PX, description="Bound of the longer side; absent: as stored."
    )
    format: ImageFormat = Field("jpeg", description="jpeg is small, png is exact.")
    v: str | None = Field(
        None, description="The version out of image_url: with it the answer may be kept."
    )


@router.get(
    "",
    summary="Tiles drawn at random, to begin with",
    responses=documented(RequestValidationError, NotReadyError),
)
async def sample(
    request: Request,
    sample: Annotated[int, Query(ge=1, le=200, description="How many.")] = 24,
    seed: Annotated[int, Query(ge=0, description="The same seed draws the same tiles.")] = 0,
) -> TilesOut:
    service = service_of(request)
    return TilesOut(tiles=await read(request, lambda: service.sample(sample, seed)))


@router.get(
    "/{tile_id:path}/image",
    summary="A tile's picture, cut from its source",
    response_class=Response,
    responses={
        200: {
            "description": "The picture.",
            "content": {
                "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
                "image/png": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        304: {"description": "The picture that the client holds (If-None-Match) is the one."},
        **documented(
            UnknownTileError, SourceGoneError, RequestValidationError, StorageError, NotReadyError
        ),
    },
)
async def tile_image(
    request: Request, tile_id: str, wanted: Annotated[PictureQuery, Query()]
) -> Response:
    service = service_of(request)
    if not _asks_for_picture(request):
        record = await read(request, lambda: service.tile(f"{tile_id}/image")[1])
        return Response(TileOut.of(record).model_dump_json(), media_type="application/json")
    held = request.headers.get("if-none-match", "")
    return await read(request, lambda: _picture(service, tile_id, wanted, held))


def _asks_for_picture(request: Request) -> bool:
    """False when "/image" is the end of the id itself: then its slash came percent-encoded."""
    raw = request.scope.get("raw_path") or b"/image"
    return bytes(raw).endswith(b"/image")


def _picture(service: SearchService, tile_id: str, wanted: PictureQuery, held: str) -> Response:
    row, tile = service.tile(tile_id)
    version = image_version(tile)
    headers = {
        "ETag": f'"{version}-{wanted.size or "full"}-{wanted.format}"',
        # Only a URL that names the version may be kept without asking again.
        "Cache-Control": _KEEP if wanted.v == version else "private, no-cache",
    }
    if headers["ETag"] in held:
        return Response(status_code=304, headers=headers)
    picture = service.pictures.of(row, tile, wanted.size, wanted.format)
    return Response(picture.data, headers=headers, media_type=picture.media_type)


@router.get(
    "/{tile_id:path}",
    summary="What is known of a tile",
    responses=documented(UnknownTileError, RequestValidationError, NotReadyError),
)
async def tile(request: Request, tile_id: str) -> TileOut:
    """``tile_id`` is percent-encoded as one segment: ``/`` is ``%2F``, ``#`` is ``%23``."""
    service = service_of(request)
    return await read(request, lambda: TileOut.of(service.tile(tile_id)[1]))
