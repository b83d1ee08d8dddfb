"""What the archive holds around a tile: its place at other times, and the tiles beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurizer.tiles import Bounds
from serving.engine.bases import Ids
from serving.engine.blocks import Block
from serving.engine.filters import DAY_US
from serving.engine.regions import Boxes, touching
from serving.engine.rows import Rows
from serving.engine.zones import from_source, near

_SAME_OVERLAP = 0.5  # share of the two boxes' union from which on they show the same place
_UNKNOWN = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class _Around:
    """Rows that touch the one in question, beside how they lie to it."""

    ids: Ids
    overlap: NDArray[np.float64]  # intersection over union
    gap: NDArray[np.float64]  # squared distance between the centres, in degrees or pixels
    times: NDArray[np.int64]  # microseconds; _UNKNOWN

    def __getitem__(self, chosen: NDArray[np.int64]) -> _Around:
        return _Around(self.ids[chosen], self.overlap[chosen], self.gap[chosen], self.times[chosen])


def around(rows: Rows, row: int, limit: int, removed: Ids) -> tuple[Ids, Ids]:
    """Up to ``limit`` rows of the same place at other times, and as many that are beside the row.

    The same place: at least half of the union of the bounds is common.  Those nearest in time are
    chosen and given in order of time, undated ones last.  Beside: bounds touch or overlap, the
    same day's first, then the nearest in time, then in place.  A row without bounds has the
    windows of its own source beside it, the nearest first.  IndexError for a row out of range.
    """
    block, at = rows.place(row)
    time = int(_times(block)[at])
    if block.known("west")[at]:
        parts = list(_by_place(rows, block, at))
    else:
        parts = list(_by_window(rows, block, at))
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    names = ("ids", "overlap", "gap", "times")
    found = _Around(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    found = found[np.flatnonzero((found.ids != row) & ~np.isin(found.ids, removed))]
    other = (found.times != time) | (time == _UNKNOWN)
    same = (found.overlap >= _SAME_OVERLAP) & other
    return _in_time(found[np.flatnonzero(same)], time, limit), _beside(
        found[np.flatnonzero(~same)], time, limit
    )


def _in_time(found: _Around, time: int, limit: int) -> Ids:
    nearest = np.lexsort((found.ids, _apart(found.times, time)))[:limit]
    kept = found[nearest]
    return kept.ids[np.lexsort((kept.ids, kept.times))]


def _beside(found: _Around, time: int, limit: int) -> Ids:
    apart = _apart(found.times, time)
    if time != _UNKNOWN:
        apart[(found.times != _UNKNOWN) & (found.times // DAY_US == time // DAY_US)] = 0
    return found.ids[np.lexsort((found.ids, found.gap, apart))[:limit]]


def _apart(times: NDArray[np.int64], time: int) -> NDArray[np.float64]:
    """(n,) microseconds between; infinite where either is unknown."""
    apart = np.abs(times.astype(np.float64) - float(time))
    apart[times == _UNKNOWN] = np.inf
    if time == _UNKNOWN:
        apart[:] = np.inf
    return apart


def _times(block: Block) -> NDArray[np.int64]:
    return np.where(block.known("datetime"), block.values("datetime"), _UNKNOWN)


def _by_place(rows: Rows, block: Block, at: int) -> Iterator[_Around]:
    box = block.boxes().at(at)
    for first, other in rows.blocks(near(rows.zones, box)):
        where = np.flatnonzero(touching(other.boxes(), box) & other.known("west"))
        if len(where):
            boxes = other.boxes()[where]
            overlap, gap = _overlap(boxes, box)
            yield _Around(first + where, overlap, gap, _times(other)[where])


def _overlap(boxes: Boxes, box: Bounds) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) intersection over union in degrees, and squared distance of the centres."""
    west, south, east, north = box
    width, height = (east - west) % 360.0 or 360.0 * (east > west), north - south
    widths = np.where(boxes.west > boxes.east, 360.0, 0.0) + boxes.east - boxes.west
    offset = (boxes.west - west + 180.0) % 360.0 - 180.0
    common = np.zeros(len(boxes))
    for turn in (-360.0, 0.0, 360.0):  # two wide boxes may meet at both of their ends
        begins, ends = np.maximum(offset + turn, 0.0), np.minimum(offset + turn + widths, width)
        common += np.maximum(ends - begins, 0.0)
    tall = np.minimum(boxes.north, north) - np.maximum(boxes.south, south)
    shared = common * np.maximum(tall, 0.0)
    union = widths * (boxes.north - boxes.south) + width * height - shared
    across = (offset + (widths - width) / 2 + 180.0) % 360.0 - 180.0
    along = (boxes.south + boxes.north - south - north) / 2
    return np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0), across**2 + along**2


def _by_window(rows: Rows, block: Block, at: int) -> Iterator[_Around]:
    """Windows of the same source that touch the row's own; none of a whole image."""
    if not block.known("x")[at]:
        return
    uri = block.tile(at).uri
    x, y, width, height = (int(block.values(name)[at]) for name in ("x", "y", "width", "height"))
    for first, other in rows.blocks(from_source(rows.zones, uri)):
        own = pc.equal(other.column("uri"), uri).to_numpy(zero_copy_only=False)
        where = np.flatnonzero(own & other.known("x"))
        xs, ys, widths, heights = (
            other.values(name)[where].astype(np.int64) for name in ("x", "y", "width", "height")
        )
        touch = (xs <= x + width) & (xs + widths >= x) & (ys <= y + height) & (ys + heights >= y)
        across, along = xs - x + (widths - width) / 2, ys - y + (heights - height) / 2
        gap = (across**2 + along**2)[touch]
        where = where[touch]
        yield _Around(first + where, np.zeros(len(where)), gap, _times(other)[where])
