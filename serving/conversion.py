"""Between the records that the engine speaks and what goes over the wire.

Answers are plain dictionaries, written with ``dumps``: to make models of ten thousand hits costs
more than to find them.  A test holds that what is written is what the models say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np
import orjson

from featurizer.errors import QueryError
from featurizer.tiles import Bounds
from serving.failures import TooLargeError
from serving.query import embedding_text
from serving.query.question import Effort, Example, Question, Shape

if TYPE_CHECKING:
    from featurizer.spec import FeaturizerSpec
    from serving.engine.facets import Facets
    from serving.engine.filters import Filter
    from serving.engine.search import Tile
    from serving.models.requests import FilterIn, How, ShapeIn
    from serving.query.question import Found

THUMBNAIL_PX = 256
_VIEW = "https://worldview.earthdata.nasa.gov/?v=%.8g,%.8g,%.8g,%.8g&t=%s"
_LEAST_MARGIN_DEG = 0.05  # nearer than this Worldview has nothing sharper to show
_MAX_POLYGON_BYTES = 1 << 20
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")
# What ids are full of; a text that holds anything else goes the general way, which costs 4 us.
_COMMON = (("/", "%2F"), ("#", "%23"), (",", "%2C"), (":", "%3A"), (" ", "%20"))


def dumps(answer: Any) -> bytes:
    """JSON, times in UTC with a Z, numpy arrays as lists."""
    return orjson.dumps(answer, option=_OPTIONS)


# ---- tiles --------------------------------------------------------------------------------------


def tile_url(tile_id: str) -> str:
    """The path of a tile's record; the id is one percent-encoded segment."""
    text = tile_id
    if "%" not in text:
        for character, code in _COMMON:
            text = text.replace(character, code)
        if _PLAIN.fullmatch(text.replace("%", "")):
            return f"/v1/tiles/{text}"
    return f"/v1/tiles/{quote(tile_id, safe='')}"


@lru_cache(maxsize=1 << 14)
def _version(etag: str) -> str:
    return hashlib.sha256(etag.encode()).hexdigest()[:12]


def image_version(tile: Tile) -> str:
    """A short name of the source's state when it was indexed."""
    return _version(tile.etag)


def image_url(tile: Tile) -> str:
    """The path of a tile's picture; ``v`` changes with the source, so that it may be kept long."""
    return f"{tile_url(tile.tile_id)}/image?v={_version(tile.etag)}"


def thumbnail_url(tile: Tile) -> str:
    """The path of the picture at ``THUMBNAIL_PX`` or less."""
    return f"{image_url(tile)}&size={THUMBNAIL_PX}"


def worldview_url(tile: Tile) -> str | None:
    """The tile's place, with as much again around it, and day in NASA Worldview.

    None where either is unknown.  Worldview takes longitudes beyond 180 across the antimeridian.
    """
    if tile.bounds is None or tile.taken is None:
        return None
    west, south, east, north = tile.bounds
    if west > east:
        east += 360.0
    wide = max((east - west) / 2, _LEAST_MARGIN_DEG)
    high = max((north - south) / 2, _LEAST_MARGIN_DEG)
    low, top = max(south - high, -90.0), min(north + high, 90.0)
    taken = tile.taken
    day = f"{taken.year:04d}-{taken.month:02d}-{taken.day:02d}"
    return _VIEW % (west - wide, low, east + wide, top, day)  # at half of what an f-string costs


def tile_dict(tile: Tile) -> dict[str, Any]:
    """The fields of ``TileOut``, for ``dumps``."""
    window, picture = tile.window, image_url(tile)
    return {
        "tile_id": tile.tile_id,
        "uri": tile.uri,
        "window": None
        if window is None
        else {"x": window.x, "y": window.y, "width": window.width, "height": window.height},
        "bounds": tile.bounds,
        "datetime": tile.taken,
        "label": tile.label,
        "valid_fraction": None if tile.valid_fraction is None else round(tile.valid_fraction, 4),
        "image_url": picture,
        "thumbnail_url": f"{picture}&size={THUMBNAIL_PX}",
        "worldview_url": worldview_url(tile),
    }


# ---- questions ----------------------------------------------------------------------------------


def filter_of(asked: FilterIn) -> Filter:
    """The engine's filter; QueryError for what cannot be meant.  Parses polygons: milliseconds."""
    from serving.engine.filters import Filter

    season = asked.season
    return Filter(
        start=asked.start,
        end=asked.end,
        season=None if season is None else (_month_day(season.start), _month_day(season.end)),
        bbox=asked.bbox,
        polygon=None if asked.polygon is None else _geometry(asked.polygon),
        labels=None if asked.labels is None else tuple(dict.fromkeys(asked.labels)),
        uri_prefix=asked.uri_prefix,
        min_valid_fraction=asked.min_valid_fraction,
    )


def _month_day(text: str) -> tuple[int, int]:
    month, day = text.split("-")
    return int(month), int(day)


def _geometry(polygon: dict[str, Any]) -> str:
    try:
        text = orjson.dumps(polygon, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:  # whole numbers of more than 64 bits
        raise QueryError(f"polygon: not GeoJSON ({error}): give degrees as numbers") from error
    if len(text) > _MAX_POLYGON_BYTES:
        raise TooLargeError(
            f"polygon: {len(text):,} bytes, more than {_MAX_POLYGON_BYTES:,}: simplify its outline"
        )
    return text.decode()


def shape_of(asked: ShapeIn | None) -> Shape:
    if asked is None:
        return Shape()
    return Shape(
        max_overlap=asked.max_overlap,
        overlap_by=asked.overlap_by,
        duplicate_distance=asked.duplicate_distance,
        diversity=asked.diversity,
    )


def effort_of(asked: How, nprobe: int) -> Effort:
    """``quality`` as cells to visit: a quarter of the archive's own ``nprobe``, it, or four times.

    What was asked for in cells goes before it.
    """
    if asked.nprobe is not None:
        return Effort(asked.nprobe, asked.exact)
    chosen: dict[Literal["fast", "balanced", "high"], int | None] = {
        "fast": max(1, nprobe // 4),
        "balanced": None,
        "high": 4 * nprobe,
    }
    return Effort(chosen[asked.quality], asked.exact)


# ---- answers ------------------------------------------------------------------------------------


def query_dict(question: Question, spec: FeaturizerSpec) -> dict[str, Any]:
    """The fields of ``QueryOut``."""
    return {
        "strategy": question.strategy,
        "negative_weight": question.negative_weight,
        "positive": [_example_dict(one, spec) for one in question.positive],
        "negative": [_example_dict(one, spec) for one in question.negative],
    }


def _example_dict(example: Example, spec: FeaturizerSpec) -> dict[str, Any]:
    return {
        "kind": example.kind,
        "name": example.name,
        "tile_id": example.tile_id,
        "embedding": None if example.kind == "tile" else _text(example, spec),
        "weight": example.weight,
    }


def _text(example: Example, spec: FeaturizerSpec) -> str | None:
    """The example's embedding as text; None for a raw vector that float16 cannot hold."""
    vector = example.vector
    if example.kind == "vector":
        if spec.metric == "cosine":  # of any length: of length 1 it means the same
            vector = vector / np.linalg.norm(vector.astype(np.float64))
        elif np.abs(vector).max() > np.finfo(np.float16).max:
            return None
    return embedding_text.to_text(vector, spec.fingerprint)


def hit_dicts(
    found: Found, tiles: Sequence[Tile], folded: Sequence[Sequence[str]], offset: int
) -> list[dict[str, Any]]:
    """The fields of each ``Hit``: ``tiles`` of the rows found, tile ids ``folded`` into each."""
    hits = []
    figures = zip(found.distances.tolist(), found.scores.tolist(), tiles, folded, strict=True)
    for rank, (distance, score, tile, beneath) in enumerate(figures, start=offset + 1):
        hit = tile_dict(tile)
        hit["rank"] = rank
        hit["distance"] = round(distance, 6)
        hit["score"] = round(score, 6)
        hit["folded"] = beneath
        hits.append(hit)
    return hits


def facets_dict(facets: Facets, generation: str) -> dict[str, Any]:
    """The fields of ``FacetsOut``."""
    bounds: Bounds | None = facets.bounds
    return {
        "generation": generation,
        "matching": facets.matching,
        "labels": [{"label": label, "count": count} for label, count in facets.labels],
        "unlabelled": facets.unlabelled,
        "months": [{"month": month, "count": count} for month, count in facets.months],
        "undated": facets.undated,
        "first": facets.first,
        "last": facets.last,
        "bounds": bounds,
        "unplaced": facets.unplaced,
    }
