"""Parts as one GeoJSON FeatureCollection (RFC 7946), written feature by feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import orjson

from featurizer.tiles import Bounds
from serving.export.csv_file import rounded, utc_text
from serving.export.parts import Part

if TYPE_CHECKING:
    from serving.engine.search import Tile


def geojson_file(parts: Iterable[Part]) -> Iterator[bytes]:
    """The file in pieces; tiles whose place is unknown are features without a geometry."""
    yield b'{"type":"FeatureCollection","features":['
    before = b"\n"
    for part in parts:
        lines = b",\n".join(orjson.dumps(feature) for feature in features(part))
        if lines:
            yield before + lines
            before = b",\n"
    yield b"\n]}\n"


def features(part: Part) -> Iterator[dict[str, Any]]:
    """One feature a row."""
    scores, distances = rounded(part.scores, part), rounded(part.distances, part)
    for rank, score, distance, tile in zip(part.ranks, scores, distances, part.tiles, strict=True):
        feature: dict[str, Any] = {"type": "Feature", "id": tile.tile_id}
        if tile.bounds is not None:
            feature["bbox"] = tile.bounds
        feature["geometry"] = None if tile.bounds is None else geometry(tile.bounds)
        feature["properties"] = {
            "rank": rank,
            "score": score,
            "distance": distance,
            **_facts(tile),
        }
        yield feature


def _facts(tile: Tile) -> dict[str, Any]:
    window, fraction = tile.window, tile.valid_fraction
    return {
        "tile_id": tile.tile_id,
        "uri": tile.uri,
        "x": window.x if window else None,
        "y": window.y if window else None,
        "width": window.width if window else None,
        "height": window.height if window else None,
        "label": tile.label,
        "datetime": None if tile.taken is None else utc_text(tile.taken),
        "valid_fraction": None if fraction is None else round(fraction, 4),
        "etag": tile.etag,
    }


def geometry(bounds: Bounds) -> dict[str, Any] | None:
    """The box as a Polygon; cut in two at 180 degrees where it crosses (RFC 7946, 3.1.9).

    None for a box of no width that lies on the antimeridian from both sides.
    """
    west, south, east, north = bounds
    if west <= east:
        return {"type": "Polygon", "coordinates": [_ring(west, south, east, north)]}
    halves = ((west, 180.0), (-180.0, east))
    rings = [[_ring(w, south, e, north)] for w, e in halves if w < e]
    return {"type": "MultiPolygon", "coordinates": rings} if rings else None


def _ring(west: float, south: float, east: float, north: float) -> list[tuple[float, float]]:
    """Counterclockwise and closed, as RFC 7946 (3.1.6) has outer rings."""
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]
