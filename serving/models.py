"""What goes over the wire: requests, answers and problems, as pydantic models with examples."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from featurizer.tiles import Bounds, Window

if TYPE_CHECKING:
    from serving.engine.search import Tile

TILE_EXAMPLE = "gs://imagery/2021/scene.tif#512,256,256,256"
_IMAGE_EXAMPLE = (
    "/v1/tiles/gs%3A%2F%2Fimagery%2F2021%2Fscene.tif%23512%2C256%2C256%2C256/image?v=5f0c9a11d2e4"
)
_TILE_FIELDS: dict[str, Any] = {
    "tile_id": TILE_EXAMPLE,
    "uri": "gs://imagery/2021/scene.tif",
    "window": {"x": 512, "y": 256, "width": 256, "height": 256},
    "bounds": [129.5, -13.25, 130.0, -12.75],
    "datetime": "2021-07-14T00:00:00Z",
    "label": "coast",
    "valid_fraction": 0.98,
    "image_url": _IMAGE_EXAMPLE,
}


def tile_url(tile_id: str) -> str:
    """The path of a tile's metadata; the id is one percent-encoded segment."""
    return f"/v1/tiles/{quote(tile_id, safe='')}"


def image_version(tile: Tile) -> str:
    """A short name of the source's state when it was indexed."""
    return hashlib.sha256(tile.etag.encode()).hexdigest()[:12]


def image_url(tile: Tile) -> str:
    """The path of a tile's picture; ``v`` changes with the source, so that it may be kept long."""
    return f"{tile_url(tile.tile_id)}/image?v={image_version(tile)}"


class WindowOut(BaseModel):
    """A rectangle of source pixels."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def of(cls, window: Window) -> WindowOut:
        return cls(x=window.x, y=window.y, width=window.width, height=window.height)


class TileOut(BaseModel):
    """One tile of the archive; null where a fact is unknown."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TILE_FIELDS]})

    tile_id: str
    uri: str
    window: WindowOut | None = Field(description="Pixels of the source; null for a whole image.")
    bounds: Bounds | None = Field(
        description="west, south, east, north in EPSG:4326 degrees; west > east across 180°."
    )
    datetime: dt.datetime | None = Field(description="When the picture was taken, UTC.")
    label: str | None
    valid_fraction: float | None = Field(description="Share of pixels that hold a measurement.")
    image_url: str

    @classmethod
    def of(cls, tile: Tile) -> TileOut:
        return cls(**tile_fields(tile))


def tile_fields(tile: Tile) -> dict[str, Any]:
    """The fields that ``TileOut`` and ``Hit`` share."""
    return {
        "tile_id": tile.tile_id,
        "uri": tile.uri,
        "window": None if tile.window is None else WindowOut.of(tile.window),
        "bounds": tile.bounds,
        "datetime": tile.taken,
        "label": tile.label,
        "valid_fraction": None if tile.valid_fraction is None else round(tile.valid_fraction, 4),
        "image_url": image_url(tile),
    }


class TilesOut(BaseModel):
    """Some tiles of the archive."""

    tiles: list[TileOut]


class Hit(TileOut):
    """One neighbour of a query, the nearest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"rank": 1, "distance": 0.0831, "score": 0.9169, **_TILE_FIELDS}]
        }
    )

    rank: int = Field(description="1 is the nearest.")
    distance: float = Field(description="In the archive's metric; 0 is the same picture.")
    score: float = Field(
        description="Cosine similarity (1 - distance), or 1 / (1 + distance) where the metric is "
        "euclidean: 1 is the same picture."
    )


class QueryOut(BaseModel):
    """Which query a result answers: an uploaded file, a tile, or the n-th vector."""

    kind: Literal["image", "tile", "vector"]
    name: str | None = Field(None, description="The uploaded file's name, or the vector's index.")
    tile_id: str | None = None


class ResultOut(BaseModel):
    """The neighbours of one query."""

    query: QueryOut
    hits: list[Hit]


class SearchResponse(BaseModel):
    """One result for each query, in the order asked: images, or tiles and then vectors."""

    generation: str = Field(examples=["000003-5f0c9a11d2e4"])
    metric: Literal["cosine", "euclidean"]
    took_ms: float = Field(description="Decoding, embedding and search.", examples=[21.4])
    results: list[ResultOut]


class SearchOptions(BaseModel):
    """How to search."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(10, ge=1, description="How many neighbours to return.")
    nprobe: int | None = Field(
        None, ge=1, description="Cells of the index to visit; null: the archive's own default."
    )
    exact: bool = Field(False, description="Compare with every vector instead of asking the index.")


class SearchRequest(SearchOptions):
    """Queries by tiles of the archive and by vectors of its featurizer; at least one of either."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"tile_ids": [TILE_EXAMPLE], "k": 10, "nprobe": None, "exact": False}]
        }
    )

    tile_ids: list[str] = Field(default_factory=list)
    vectors: list[list[float]] = Field(
        default_factory=list, description="Each as long as the archive's vectors, and finite."
    )


class FeaturizerOut(BaseModel):
    """What made the archive's vectors."""

    backbone: str
    layer: str
    dim: int
    metric: Literal["cosine", "euclidean"]
    input_px: int
    fingerprint: str


class IndexOut(BaseModel):
    """How the archive is indexed, and what a search does by default."""

    factory: str
    nlist: int
    nprobe: int
    rerank_factor: int


class LimitsOut(BaseModel):
    """What this server takes."""

    max_upload_bytes: int
    max_upload_pixels: int
    max_images: int
    max_k: int


class ArchiveOut(BaseModel):
    """What this server searches."""

    name: str
    generation: str
    rows: int
    shards: int
    featurizer: FeaturizerOut
    index: IndexOut
    limits: LimitsOut
    evaluation: dict[str, Any] | None = Field(
        description="What `python -m serving evaluate` measured; null where it has not been run."
    )


class StatusOut(BaseModel):
    """Whether the process lives, or the archive is loaded."""

    status: str = Field(examples=["ready"])


class Problem(BaseModel):
    """An error as RFC 9457 has it; ``errors`` names the fields that are wrong, where that is so."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
