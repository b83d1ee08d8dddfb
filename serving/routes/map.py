"""``GET /v1/map``: a sample of the archive on a plane, near beside near."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from featurizer.errors import StorageError
from serving.conversion import dumps
from serving.embedding_map.computing import Projection, Underway
from serving.embedding_map.maps import EmbeddingMaps
from serving.errors import common, documented
from serving.models.answers import MapOut
from serving.routes.access import access_of, lease, read
from serving.service import SearchService

router = APIRouter(prefix="/v1", tags=["map"])
_RETRY_AFTER_S = "2"


def _maps_of(request: Request) -> EmbeddingMaps:
    state, settings = request.app.state, access_of(request).settings
    if not hasattr(state, "embedding_maps"):
        state.embedding_maps = EmbeddingMaps(settings.cache_dir, settings.map_sample)
    maps = state.embedding_maps
    if not isinstance(maps, EmbeddingMaps):
        raise TypeError(f"app.state.embedding_maps is {maps!r}")
    return maps


@router.get(
    "/map",
    summary="A sample of the archive on a plane: what looks alike lies near",
    response_model=MapOut,
    responses={
        **common(),
        **documented(StorageError),
        202: {
            "description": "It is being computed: ask again.",
            "model": MapOut,
            "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
        },
        304: {"description": "The map that the client holds (If-None-Match) is the one."},
    },
)
async def embedding_map(request: Request) -> Response:
    """Computed once for each generation, when it is first asked for."""
    maps = _maps_of(request)
    held = request.headers.get("if-none-match", "")
    with lease(request) as service:
        return await read(request, lambda: _answer(maps, service, held))


def _answer(maps: EmbeddingMaps, service: SearchService, held: str) -> Response:
    found = maps.of(service.engine)
    name = service.engine.name
    if isinstance(found, Projection):
        headers = {"ETag": f'"{name}-{len(found.rows)}-{found.method}"'}
        headers["Cache-Control"] = "private, no-cache"
        if headers["ETag"] in held:
            return Response(status_code=304, headers=headers)
        return Response(_columns(found, service), headers=headers, media_type="application/json")
    headers = {"Cache-Control": "no-store"}
    if isinstance(found, Underway):
        out = MapOut(
            status="computing", generation=name, stage=found.stage, progress=found.progress
        )
        status, headers["Retry-After"] = 202, _RETRY_AFTER_S
    else:
        out, status = MapOut(status="failed", generation=name), 200
    return Response(out.model_dump_json(), status, headers, media_type="application/json")


def _columns(found: Projection, service: SearchService) -> bytes:
    """The fields of ``MapOut`` as JSON: about 70 bytes a point beside its tile id."""
    tiles = service.engine.tiles(found.rows)
    x, y = found.places.astype(float).round(4).T.tolist()
    return dumps(
        {
            "status": "ready",
            "generation": found.generation,
            "method": found.method,
            "stage": None,
            "progress": 1.0,
            "x": x,
            "y": y,
            "tile_ids": [tile.tile_id for tile in tiles],
            "labels": [tile.label for tile in tiles],
        }
    )
