"""What clients ask: examples to search by, filters, shapes of the answer, exports."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from featurizer.tiles import Bounds

_GREATEST = 2**31 - 1  # of whole numbers: what the index counts with
TILE_EXAMPLE = "gs://imagery/2021/scene.tif#512,256,256,256"
MonthDay = Annotated[str, Field(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]


def _instant(value: Any) -> Any:
    """A moment out of ISO 8601 text, a day alone being its first; not of a number of seconds."""
    if isinstance(value, dt.datetime) or value is None:
        return value
    try:
        if not isinstance(value, str):
            raise ValueError(f"{type(value).__name__} is not text")
        return dt.datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("give ISO 8601 text, such as 2021-07-14T00:00:00Z") from error


Numbers = Annotated[list[float], Field(fail_fast=True)]  # of a million wrong ones the first will do
Instant = Annotated[dt.datetime, BeforeValidator(_instant)]
Quality = Literal["fast", "balanced", "high"]
ExportFormat = Literal["csv", "geojson", "geoparquet", "parquet", "zip"]


class Strict(BaseModel):
    """A request: unknown fields are refused, so that a misspelt one is heard of."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ExampleIn(Strict):
    """One picture to search by, given in exactly one of four ways."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"tile_id": TILE_EXAMPLE, "weight": 1.0}]}
    )

    tile_id: str | None = Field(None, description="A tile of this archive.")
    vector: Numbers | None = Field(
        None, description="As long as the archive's vectors, and finite."
    )
    embedding: str | None = Field(
        None,
        description="The text that /v1/embed or an earlier search gave for an uploaded picture: "
        "it keeps the upload through refinements, and in a shared link.",
    )
    image: str | None = Field(None, description="The picture's file, in base64.")
    weight: float = Field(1.0, gt=0, le=1000, description="Against the other examples.")

    @model_validator(mode="after")
    def _exactly_one(self) -> ExampleIn:
        given = [self.tile_id, self.vector, self.embedding, self.image]
        if sum(item is not None for item in given) != 1:
            raise ValueError("give exactly one of tile_id, vector, embedding and image")
        return self


Examples = Annotated[list[ExampleIn], Field(fail_fast=True)]


class Season(Strict):
    """Days of the year, every year; from December to February when ``start`` is after ``end``."""

    start: MonthDay = Field(description="Month and day, inclusive.", examples=["12-01"])
    end: MonthDay = Field(description="Month and day, inclusive.", examples=["02-28"])


class FilterIn(Strict):
    """Which tiles may be found; all that is given must hold.  What is unknown does not match."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "start": "2021-06-01T00:00:00Z",
                    "end": "2021-09-01T00:00:00Z",
                    "bbox": [110, -45, 155, -10],
                    "labels": ["coast"],
                }
            ]
        }
    )

    start: Instant | None = Field(None, description="Taken at or after; UTC without an offset.")
    end: Instant | None = Field(None, description="Taken before; UTC without an offset.")
    season: Season | None = None
    bbox: Bounds | None = Field(
        None,
        description="west, south, east, north in degrees; west > east crosses 180°. Tiles whose "
        "bounds touch it match.",
    )
    polygon: dict[str, Any] | None = Field(
        None,
        description="A GeoJSON Polygon or MultiPolygon; longitudes may pass 180. Tiles whose "
        "bounds touch it match.",
        examples=[
            {
                "type": "Polygon",
                "coordinates": [[[110, -45], [155, -45], [130, -10], [110, -45]]],
            }
        ],
    )
    labels: Annotated[list[str | None], Field(fail_fast=True)] | None = Field(
        None, min_length=1, max_length=1000, description="Any of these; null: without a label."
    )
    uri_prefix: str | None = Field(None, min_length=1, description="How the source's uri begins.")
    min_valid_fraction: float | None = Field(
        None, ge=0, le=1, description="Least share of pixels that hold a measurement."
    )


class ShapeIn(Strict):
    """What to make of the ranked rows."""

    max_overlap: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Tiles that share more than this of the smaller one's area with a better hit "
        "are folded into it.",
    )
    overlap_by: Literal["window", "place"] = Field(
        "window", description="window: of the same source picture. place: on Earth, whatever date."
    )
    duplicate_distance: float | None = Field(
        None, ge=0, description="Tiles as near as this to a better hit are folded into it."
    )
    diversity: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Maximal marginal relevance: 0 ranks by likeness alone, 1 by difference from "
        "the hits before alone.",
    )


class How(Strict):
    """How to search, whatever by."""

    strategy: Literal["mean", "best"] = Field(
        "mean",
        description="mean: near to the weighted mean of the positives, less `negative_weight` "
        "times that of the negatives (Rocchio). best: like any one positive; what is more like a "
        "negative loses the difference.",
    )
    negative_weight: float = Field(0.5, ge=0, le=10, description="Of the negatives, for `mean`.")
    min_score: float | None = Field(None, description="Only tiles with at least this score.")
    include_examples: bool = Field(
        True, description="Whether tiles that are examples may be hits: each is its own first hit."
    )
    quality: Quality = Field("balanced", description="How much of the index to read.")
    nprobe: int | None = Field(
        None, ge=1, le=_GREATEST, description="Cells of the index to visit, instead of `quality`."
    )
    exact: bool = Field(False, description="Compare with every vector instead of asking the index.")


class Ask(How):
    """Examples, and how to search by them."""

    positive: Examples = Field(min_length=1, description="Pictures to be like.")
    negative: Examples = Field(default_factory=list, description="Pictures to be unlike.")
    filter: FilterIn | None = None
    shape: ShapeIn | None = None


class Paging(Strict):
    """Which hits of a search."""

    k: int = Field(10, ge=1, le=_GREATEST, description="Hits on a page.")
    cursor: str | None = Field(
        None, description="Out of the answer before: the page after it, of the same search."
    )


class SearchRequest(Paging, Ask):
    """One search, a page at a time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "positive": [{"tile_id": TILE_EXAMPLE}],
                    "k": 10,
                    "filter": {"bbox": [110, -45, 155, -10]},
                }
            ]
        }
    )


class FormSearch(SearchRequest):
    """The field ``query`` of a form: its files are examples too, so it need not name any."""

    positive: Examples = Field(default_factory=list)


class FormFields(Paging, How):
    """What may stand in a form by itself; it goes before what ``query`` says."""


class BatchRequest(Strict):
    """Several searches in one call."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "searches": [
                        {"positive": [{"tile_id": TILE_EXAMPLE}], "k": 3},
                        {"positive": [{"tile_id": TILE_EXAMPLE}], "strategy": "best", "k": 3},
                    ]
                }
            ]
        }
    )

    searches: Annotated[list[SearchRequest], Field(fail_fast=True)] = Field(min_length=1)


class FacetsRequest(Strict):
    """What to count."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"filter": {"labels": ["coast"]}, "max_labels": 20}]}
    )

    filter: FilterIn | None = None
    max_labels: int = Field(100, ge=1, le=10_000, description="The most frequent ones only.")


class ExportRequest(Strict):
    """What to write, and how: give exactly one of ``search``, ``tile_ids`` and ``filter``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "format": "csv",
                    "limit": 1000,
                    "search": {"positive": [{"tile_id": TILE_EXAMPLE}]},
                }
            ]
        }
    )

    format: ExportFormat = Field(
        description="csv, geojson, geoparquet; parquet: with vectors; zip: pictures as an "
        "ImageFolder with a table."
    )
    search: Ask | None = Field(None, description="The hits of a search, best first.")
    tile_ids: Annotated[list[str], Field(fail_fast=True)] | None = Field(
        None, min_length=1, description="These tiles, in this order."
    )
    filter: FilterIn | None = Field(None, description="Every tile that matches.")
    limit: int = Field(
        10_000, ge=1, le=_GREATEST, description="Rows of a search or filter at most."
    )
    labels: dict[str, str] | None = Field(
        None, description="Labels of your own by tile id, in place of the archive's."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> ExportRequest:
        if sum(item is not None for item in (self.search, self.tile_ids, self.filter)) != 1:
            raise ValueError("give exactly one of search, tile_ids and filter")
        return self
