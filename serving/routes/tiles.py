"""Tiles of the archive: a sample, one tile's record, its picture, and what lies around it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from featurizer.errors import StorageError, UnknownTileError
from serving.conversion import dumps, image_version, tile_dict
from serving.errors import common, documented
from serving.failures import SourceGoneError
from serving.models.answers import NearbyOut, TileOut, TilesOut
from serving.models.requests import TILE_EXAMPLE
from serving.routes.access import compute, lease, read
from serving.routes.bodies import json_response
from serving.service import SearchService
from serving.thumbnails import MAX_SIZE_PX, ImageFormat

router = APIRouter(prefix="/v1/tiles", tags=["tiles"])
_KEEP = "private, max-age=31536000, immutable"
_LARGEST_SEED = 2**53 - 1  # which JavaScript's numbers hold, too


TileId = Annotated[
    str,
    Path(
        min_length=1,
        description="Percent-encoded as one segment: `/` is `%2F`, `#` is `%23`.",
        examples=[TILE_EXAMPLE],
    ),
]


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
    response_model=TilesOut,
    responses={**common(), **documented(RequestValidationError)},
)
async def sample(
    request: Request,
    sample: Annotated[int, Query(ge=1, le=200, description="How many.")] = 24,
    seed: Annotated[
        int, Query(ge=0, le=_LARGEST_SEED, description="The same seed draws the same tiles.")
    ] = 0,
) -> Response:
    with lease(request) as service:
        return json_response(await read(request, lambda: dumps(service.sample(sample, seed))))


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
        **common(),
        **documented(UnknownTileError, SourceGoneError, RequestValidationError, StorageError),
    },
)
async def tile_image(
    request: Request, tile_id: TileId, wanted: Annotated[PictureQuery, Query()]
) -> Response:
    with lease(request) as service:
        if not _ends_in(request, "/image"):
            return await _record(request, service, f"{tile_id}/image")
        held = request.headers.get("if-none-match", "")
        return await read(request, lambda: _picture(service, tile_id, wanted, held))


@router.get(
    "/{tile_id:path}/nearby",
    summary="Other dates over the same place, and the tiles beside it",
    response_model=NearbyOut,
    responses={**common(), **documented(UnknownTileError, RequestValidationError)},
)
async def nearby(
    request: Request,
    tile_id: TileId,
    limit: Annotated[int, Query(ge=1, le=200, description="How many of either, at most.")] = 24,
) -> Response:
    with lease(request) as service:
        if not _ends_in(request, "/nearby"):
            return await _record(request, service, f"{tile_id}/nearby")
        return json_response(await compute(request, lambda: dumps(service.nearby(tile_id, limit))))


def _ends_in(request: Request, ending: str) -> bool:
    """False when this is the end of the id itself: then its slash came percent-encoded."""
    raw = request.scope.get("raw_path") or ending.encode()
    return bytes(raw).endswith(ending.encode())


async def _record(request: Request, service: SearchService, tile_id: str) -> Response:
    return json_response(await read(request, lambda: dumps(tile_dict(service.tile(tile_id)[1]))))


def _picture(service: SearchService, tile_id: TileId, wanted: PictureQuery, held: str) -> Response:
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
    response_model=TileOut,
    responses={**common(), **documented(UnknownTileError, RequestValidationError)},
)
async def tile(request: Request, tile_id: TileId) -> Response:
    """With the URLs of its picture, and of its place and day in NASA Worldview."""
    with lease(request) as service:
        return await _record(request, service, tile_id)
