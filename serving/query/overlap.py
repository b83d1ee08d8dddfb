"""Which better hit a tile overlaps: in pixels of its source, or on Earth."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, cast

from featurizer.tiles import Bounds, Window

if TYPE_CHECKING:
    from serving.engine.rows import Tile

Box = tuple[float, float, float, float]  # left, bottom, right, top
Boxes = tuple[Box, ...]  # disjoint: a tile across the antimeridian is two
_Place = tuple[str | None, Window | Bounds | None]  # source picture, or None for Earth; where there

_WHOLE: Boxes = ((-1e12, -1e12, 1e12, 1e12),)  # a whole image, of a size that is not known
_ROUNDING = 1e-9  # of shares: half of a tile is not more than half of it


def boxes_in_source(window: Window | None) -> Boxes:
    """A window as a box of pixels; a whole image holds every window of it."""
    if window is None:
        return _WHOLE
    return ((window.x, window.y, window.x + window.width, window.y + window.height),)


def boxes_on_earth(bounds: Bounds) -> Boxes:
    """Bounds in Lambert's cylindrical equal-area projection: areas are true, boxes stay boxes.

    x is in degrees of longitude, y = sin(latitude) in units of as many degrees.
    """
    west, south, east, north = bounds
    bottom, top = (math.degrees(math.sin(math.radians(value))) for value in (south, north))
    if west <= east:
        return ((west, bottom, east, top),)
    return ((west, bottom, 180.0, top), (-180.0, bottom, east, top))


def share(one: Boxes, other: Boxes) -> float:
    """What both cover over what the smaller one covers, 0..1; 0 where that has no area."""
    smaller = min(_area(one), _area(other))
    if smaller <= 0:
        return 0.0
    both = sum(
        max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        for a in one
        for b in other
    )
    return both / smaller


def _area(boxes: Boxes) -> float:
    return sum((right - left) * (top - bottom) for left, bottom, right, top in boxes)


class Overlaps:
    """The hits so far, numbered from 0 in the order in which they are kept, found by place.

    A look costs about as many comparisons as there are hits around the tile: each box lies in the
    cells, of about its own size, that it touches.
    """

    def __init__(self, max_share: float, by: Literal["window", "place"]) -> None:
        self._most, self._by = max_share + _ROUNDING, by
        self._hits: list[Boxes] = []
        # Hits only become more, so a first one stays the first: dates over one place ask once.
        self._known: dict[_Place, int] = {}
        # Source picture, or None for Earth -> power of two -> cell of that size -> hits in it.
        self._cells: defaultdict[str | None, dict[int, defaultdict[tuple[int, int], list[int]]]]
        self._cells = defaultdict(dict)

    def _place(self, tile: Tile) -> _Place:
        if self._by == "window":
            return tile.uri, tile.window
        return None, tile.bounds

    def _boxes(self, place: _Place) -> Boxes:
        if self._by == "window":
            return boxes_in_source(cast("Window | None", place[1]))
        return () if place[1] is None else boxes_on_earth(cast("Bounds", place[1]))

    def first(self, tile: Tile) -> int | None:
        """The least number of a hit that shares more than ``max_share`` with this tile."""
        place = self._place(tile)
        known = self._known.get(place)
        if known is not None:
            return known
        boxes = self._boxes(place)
        near = {
            hit
            for cells in self._cells.get(place[0], {}).items()
            for box in boxes
            for hit in _around(box, *cells)
        }
        overlapping = (hit for hit in near if share(boxes, self._hits[hit]) > self._most)
        found = min(overlapping, default=None)
        if found is not None:
            self._known[place] = found
        return found

    def keep(self, tile: Tile) -> None:
        """Makes the tile the next hit."""
        source, _ = place = self._place(tile)
        boxes = self._boxes(place)
        hit = len(self._hits)
        self._hits.append(boxes)
        for box in boxes:
            size = max(box[2] - box[0], box[3] - box[1])
            power = math.frexp(size)[1]  # 2 ** power >= size: the box touches few cells
            cells = self._cells[source].setdefault(power, defaultdict(list))
            for cell in _cells_of(box, power):
                cells[cell].append(hit)


def _span(low: float, high: float, power: int) -> range:
    return range(math.floor(math.ldexp(low, -power)), math.floor(math.ldexp(high, -power)) + 1)


def _cells_of(box: Box, power: int) -> Iterator[tuple[int, int]]:
    rows = _span(box[1], box[3], power)
    return ((x, y) for x in _span(box[0], box[2], power) for y in rows)


def _around(box: Box, power: int, cells: dict[tuple[int, int], list[int]]) -> Iterator[int]:
    """Hits in the cells that the box touches, some more than once."""
    touched = len(_span(box[0], box[2], power)) * len(_span(box[1], box[3], power))
    if touched > len(cells):  # a scene over small windows
        for hits in cells.values():
            yield from hits
        return
    for cell in _cells_of(box, power):
        yield from cells.get(cell, ())
