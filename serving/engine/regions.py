"""Places on the globe as arithmetic: which boxes touch a box or a polygon, across 180 degrees too.

Longitudes are compared, never added to, so that boxes which share an edge touch exactly; -180 and
180 are the same meridian.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import QueryError
from featurizer.geography import on_the_globe
from featurizer.tiles import Bounds

Mask = NDArray[np.bool_]
Degrees = NDArray[np.float64]

_FARTHEST = 540.0  # longitudes: half a turn beyond the seam on either side


@dataclass(frozen=True, slots=True)
class Boxes:
    """(n,) bounds each, in degrees of EPSG:4326; west > east crosses 180."""

    west: Degrees
    south: Degrees
    east: Degrees
    north: Degrees

    def at(self, row: int) -> Bounds:
        return (
            float(self.west[row]),
            float(self.south[row]),
            float(self.east[row]),
            float(self.north[row]),
        )

    def __getitem__(self, chosen: Any) -> Boxes:
        return Boxes(self.west[chosen], self.south[chosen], self.east[chosen], self.north[chosen])

    def __len__(self) -> int:
        return len(self.west)


def checked(box: Bounds, name: str) -> Bounds:
    """The box with longitudes in -180..180; QueryError, naming ``name``, where it cannot be meant.

    Given longitudes may pass the seam by half a turn, as a map does that was dragged across it.
    """
    west, south, east, north = box
    if not all(np.isfinite(box)) or max(abs(west), abs(east)) > _FARTHEST:
        raise QueryError(f"{name} {box}: give longitudes in -540..540 and finite numbers")
    if not (-90 <= south <= 90 and -90 <= north <= 90):
        raise QueryError(f"{name} {box}: latitudes must be in -90..90")
    if south > north:
        raise QueryError(f"{name} {box}: south is above north: give west, south, east, north")
    # A line of no height has no area, which is all that ``on_the_globe`` would refuse.
    turned = on_the_globe((west, -90.0, east, 90.0))
    assert turned is not None
    return turned[0], south, turned[2], north


def stretches(west: float, east: float) -> list[tuple[float, float]]:
    """Longitudes from west to east as intervals within -180..180, the seam named on both sides."""
    if west > east:
        return [(west, 180.0), (-180.0, east)]
    found = [(west, east)]
    if west == -180.0:
        found.append((180.0, 180.0))
    if east == 180.0:
        found.append((-180.0, -180.0))
    return found


def touching(boxes: Boxes, box: Bounds) -> Mask:
    """(n,) whether each box and ``box`` share at least a point; False where a box is NaN."""
    west, south, east, north = box
    across = boxes.west > boxes.east
    found = np.zeros(len(boxes), np.bool_)
    for first, last in stretches(west, east):
        begins, ends = boxes.west <= last, boxes.east >= first
        found |= np.where(across, begins | ends, begins & ends)
    return np.asarray(found & (boxes.south <= north) & (boxes.north >= south), np.bool_)


class Area:
    """A GeoJSON Polygon or MultiPolygon, which boxes touch or do not.

    Longitudes may pass 180 as far as 540; a ring from 170 to -170 goes the long way round, as
    RFC 7946 (3.1.9) has it.  Edges are straight lines in degrees.
    """

    __slots__ = ("_shapes", "bounds")

    def __init__(self, geojson: str) -> None:
        import shapely

        shape = _polygon(geojson)
        west, south, east, north = shape.bounds
        self.bounds = checked((west, south, east, north), "polygon")
        self._shapes = [
            shapely.transform(shape, lambda points, by=turn: np.add(points, (by, 0.0)))
            for turn in (-720.0, -360.0, 0.0, 360.0, 720.0)
            if west + turn <= 180.0 and east + turn >= -180.0
        ]
        shapely.prepare(self._shapes)

    def touching(self, boxes: Boxes) -> Mask:
        """(n,) whether each box and the area share at least a point; False where a box is NaN."""
        found = touching(boxes, self.bounds)
        near = np.flatnonzero(found)
        found[near] = self._meets(boxes[near])
        return found

    def _meets(self, boxes: Boxes) -> Mask:
        across = boxes.west > boxes.east
        found = self._meets_flat(
            Boxes(boxes.west, boxes.south, np.where(across, 180.0, boxes.east), boxes.north)
        )
        rest = boxes[across]
        found[across] |= self._meets_flat(
            Boxes(np.full(len(rest), -180.0), rest.south, rest.east, rest.north)
        )
        return found

    def _meets_flat(self, boxes: Boxes) -> Mask:
        """The same for boxes that do not cross."""
        import shapely

        found = np.zeros(len(boxes), np.bool_)
        if not len(boxes):
            return found
        for shape in self._shapes:
            # Looking at a corner costs a fifth of making a box, and settles most.
            found |= shapely.intersects_xy(shape, boxes.west, boxes.south)
            left = np.flatnonzero(~found)
            rest = boxes[left]
            made = shapely.box(rest.west, rest.south, rest.east, rest.north)
            found[left] = shapely.intersects(shape, made)
        return found


def _polygon(geojson: str) -> Any:
    """The shapely geometry; QueryError where the text is no valid polygon."""
    import shapely

    remedy = 'give {"type": "Polygon", "coordinates": [[[lon, lat], ...]]} with closed rings'
    try:
        kind = json.loads(geojson)["type"]
        shape = shapely.from_geojson(geojson)
    except (ValueError, TypeError, KeyError, shapely.GEOSException) as error:
        raise QueryError(f"polygon: not a GeoJSON geometry: {remedy}") from error
    if shape is None or kind not in ("Polygon", "MultiPolygon"):
        raise QueryError(f"polygon: a GeoJSON {kind}, not a Polygon or MultiPolygon: {remedy}")
    if shape.is_empty:
        raise QueryError(f"polygon: without any point: {remedy}")
    if not shape.is_valid:
        reason = shapely.is_valid_reason(shape)
        raise QueryError(f"polygon: {reason}: draw rings that do not cross themselves or others")
    return shape
