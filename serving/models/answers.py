"""What clients are told: tiles, hits, facets, the state of the server, problems."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from featurizer.tiles import Bounds
from serving.models.requests import TILE_EXAMPLE

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
    "thumbnail_url": f"{_IMAGE_EXAMPLE}&size=256",
    "worldview_url": "https://worldview.earthdata.nasa.gov/?v=129.25,-13.5,130.25,-12.5&t=2021-07-14",
}


class WindowOut(BaseModel):
    """A rectangle of source pixels."""

    x: int
    y: int
    width: int
    height: int


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
    image_url: str = Field(description="The picture as stored; relative to this server.")
    thumbnail_url: str = Field(description="The picture at 256 px or less.")
    worldview_url: str | None = Field(description="The place and day in NASA Worldview.")


class TilesOut(BaseModel):
    """Some tiles of the archive."""

    tiles: list[TileOut]


class NearbyOut(BaseModel):
    """What the archive holds around a tile."""

    tile: TileOut
    same_place: list[TileOut] = Field(description="Other dates over it, in order of time.")
    adjacent: list[TileOut] = Field(description="Tiles beside it: same source, or same day.")


class Hit(TileOut):
    """One tile found, the best first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"rank": 1, "distance": 0.0831, "score": 0.9169, "folded": [], **_TILE_FIELDS}
            ]
        }
    )

    rank: int = Field(description="1 is the best of the whole search.")
    distance: float = Field(
        description="In the archive's metric: to the mean of the examples, or to the nearest "
        "positive one; 0 is the same picture."
    )
    score: float = Field(
        description="What hits are ranked by. Cosine similarity, or 1 / (1 + distance) where the "
        "metric is euclidean: 1 is the same picture."
    )
    folded: list[str] = Field(description="Ids of tiles that `shape` folded into this one.")


class ExampleOut(BaseModel):
    """An example as it was understood."""

    kind: Literal["image", "tile", "vector", "embedding"]
    name: str | None = Field(None, description="The uploaded file's name.")
    tile_id: str | None = None
    embedding: str | None = Field(
        None, description="Of an uploaded picture: send it in place of the file from now on."
    )
    weight: float


class QueryOut(BaseModel):
    """The examples of a search and how they were joined."""

    strategy: Literal["mean", "best"]
    negative_weight: float
    positive: list[ExampleOut]
    negative: list[ExampleOut]


class SearchResponse(BaseModel):
    """One page of hits."""

    generation: str = Field(examples=["000003-5f0c9a11d2e4"])
    metric: Literal["cosine", "euclidean"]
    took_ms: float = Field(description="Decoding, embedding and search.", examples=[21.4])
    query: QueryOut
    matching: int | None = Field(description="Tiles that pass the filter; null without one.")
    hits: list[Hit]
    cursor: str | None = Field(description="For the next page; null on the last.")


class BatchResponse(BaseModel):
    """The answers in the order of the searches."""

    results: list[SearchResponse]


class EmbeddingOut(BaseModel):
    """One uploaded picture as the archive's featurizer sees it."""

    name: str
    vector: list[float]
    embedding: str = Field(description="The same as text, for `embedding` of an example.")


class EmbedResponse(BaseModel):
    """The vectors of uploaded pictures, in their order."""

    featurizer: str = Field(description="Fingerprint of what made them.")
    dim: int
    embeddings: list[EmbeddingOut]


class LabelCount(BaseModel):
    label: str
    count: int


class MonthCount(BaseModel):
    month: str = Field(examples=["2021-07"])
    count: int


class FacetsOut(BaseModel):
    """How many tiles a filter leaves, and what they are."""

    generation: str
    matching: int
    labels: list[LabelCount] = Field(description="The most frequent first.")
    unlabelled: int
    months: list[MonthCount] = Field(description="In order of time; months without tiles left out.")
    undated: int
    first: dt.datetime | None
    last: dt.datetime | None
    bounds: Bounds | None = Field(
        description="Around all placed tiles; the whole circle of longitudes where any crosses 180°."
    )
    unplaced: int


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
    max_examples: int
    max_k: int
    max_results: int
    max_batch: int


class LiveRecallOut(BaseModel):
    """Recall of answered queries against exact search, sampled in the background."""

    recall_at_10: float
    samples: int
    last: dt.datetime


class RefusedOut(BaseModel):
    """A published generation that was not taken over."""

    generation: str
    reason: str
    at: dt.datetime


class StatsOut(BaseModel):
    """What this server searches, and how it does."""

    name: str
    generation: str
    loaded: dt.datetime
    rows: int
    shards: int
    removed: int
    featurizer: FeaturizerOut
    index: IndexOut
    limits: LimitsOut
    evaluation: dict[str, Any] | None = Field(
        description="What `python -m serving evaluate` measured; null where it has not been run."
    )
    live_recall: LiveRecallOut | None
    refused: RefusedOut | None


class MapOut(BaseModel):
    """A 2-D projection of a sample of the archive, columns of equal length; or how far it is."""

    status: Literal["ready", "computing", "failed"]
    generation: str
    method: Literal["umap", "pca"] | None = None
    x: list[float] = Field(default_factory=list, description="Scaled to -1..1.")
    y: list[float] = Field(default_factory=list)
    tiles: list[TileOut] = Field(default_factory=list)


class ReloadOut(BaseModel):
    """What serves now."""

    generation: str
    changed: bool


class SessionIn(BaseModel):
    """An API key, to be kept in a cookie that scripts cannot read."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"key": "ws_..."}]})

    key: str = Field(max_length=200)


class SessionOut(BaseModel):
    """Whether this server asks for a key, and what the caller may do."""

    required: bool
    scopes: list[Literal["read", "admin"]]


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
