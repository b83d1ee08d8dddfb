"""What clients are told: tiles, hits, facets, the state of the server, problems."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from featurizer.tiles import Bounds
from serving.models.examples import EMBEDDED, FACETS, HIT, SEARCH, STATS, TILE


def _example(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class WindowOut(BaseModel):
    """A rectangle of source pixels."""

    x: int
    y: int
    width: int
    height: int


class TileOut(BaseModel):
    """One tile of the archive; null where a fact is unknown."""

    model_config = _example(TILE)

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

    model_config = _example({"tiles": [TILE]})

    tiles: list[TileOut]


class NearbyOut(BaseModel):
    """What the archive holds around a tile."""

    model_config = _example({"tile": TILE, "same_place": [], "adjacent": [TILE]})

    tile: TileOut
    same_place: list[TileOut] = Field(description="Other dates over it, in order of time.")
    adjacent: list[TileOut] = Field(description="Tiles beside it: same source, or same day.")


class Hit(TileOut):
    """One tile found, the best first."""

    model_config = _example(HIT)

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
        None,
        description="Of all but tiles: send it in place of the file or the vector from now on. "
        "Null for a vector beyond what 16 bits hold.",
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

    model_config = _example(SEARCH)

    generation: str = Field(examples=["000003-5f0c9a11d2e4"])
    metric: Literal["cosine", "euclidean"]
    took_ms: float = Field(description="Decoding, embedding and search.", examples=[21.4])
    query: QueryOut
    matching: int | None = Field(description="Tiles that pass the filter; null without one.")
    hits: list[Hit]
    cursor: str | None = Field(description="For the next page; null on the last.")


class BatchResponse(BaseModel):
    """The answers in the order of the searches."""

    model_config = _example({"results": [SEARCH]})

    results: list[SearchResponse]


class EmbeddingOut(BaseModel):
    """One uploaded picture as the archive's featurizer sees it."""

    name: str
    vector: list[float]
    embedding: str = Field(description="The same as text, for `embedding` of an example.")


class EmbedResponse(BaseModel):
    """The vectors of uploaded pictures, in their order."""

    model_config = _example(EMBEDDED)

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

    model_config = _example(FACETS)

    generation: str
    matching: int
    labels: list[LabelCount] = Field(description="The most frequent first.")
    unlabelled: int
    months: list[MonthCount] = Field(description="In order of time; months without tiles left out.")
    undated: int
    first: dt.datetime | None
    last: dt.datetime | None
    bounds: Bounds | None = Field(
        description="Around all placed tiles; all longitudes where any tile crosses 180°."
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

    model_config = _example(STATS)

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
    """A 2-D projection of a sample of the archive, columns of equal length; or how far it is.

    Pictures are found by tile id: /v1/tiles/{tile_id}/image?size=256.
    """

    model_config = _example(
        {
            "status": "ready",
            "generation": "000003-5f0c9a11d2e4",
            "method": "umap",
            "stage": None,
            "progress": 1.0,
            "x": [-0.4213],
            "y": [0.9907],
            "tile_ids": [TILE["tile_id"]],
            "labels": ["coast"],
        }
    )

    status: Literal["ready", "computing", "failed"] = Field(
        description="computing: ask again after Retry-After. failed: the server's log says why; "
        "it is tried again when it is asked for after five minutes."
    )
    generation: str
    method: Literal["umap", "pca"] | None = Field(
        None, description="pca for a few tiles, and where UMAP cannot be computed."
    )
    stage: str | None = Field(None, description="What is being done, while computing.")
    progress: float = Field(0.0, ge=0, le=1, description="Share of the work that is done.")
    x: list[float] = Field(default_factory=list, description="In -1..1.")
    y: list[float] = Field(default_factory=list, description="In -1..1, to the scale of x.")
    tile_ids: list[str] = Field(default_factory=list)
    labels: list[str | None] = Field(default_factory=list)


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
