"""How many rows there are of each kind: by label, by month, and where they lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from featurizer.tiles import Bounds
from serving.engine.blocks import EPOCH, Block
from serving.engine.filters import Microseconds, months_since_1970
from serving.engine.regions import Boxes, Mask
from serving.engine.rows import Rows
from serving.engine.selection import Selection, occupied, taken


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts of ``matching`` rows; unknowns are counted as such."""

    matching: int
    labels: list[tuple[str, int]]  # the most frequent first, equals in the order of the alphabet
    unlabelled: int
    months: list[tuple[str, int]]  # ("2021-07", n) in order of time, none of zero
    undated: int
    first: datetime | None
    last: datetime | None
    bounds: Bounds | None  # around all placed rows; all longitudes where any crosses 180
    unplaced: int

    def short(self, max_labels: int) -> Facets:
        """With the most frequent labels only."""
        return replace(self, labels=self.labels[:max_labels])


def count(rows: Rows, within: Selection) -> Facets:
    """The facets of the selected rows; blocks without any are not read."""
    tally = _Tally()
    for first, block in rows.blocks(occupied(rows.zones, within)):
        tally.add(block, taken(within.bits, first, block.rows))
    return tally.facets(within.count)


@dataclass(slots=True)
class _Tally:
    labels: Counter[str] = field(default_factory=Counter)
    months: Counter[int] = field(default_factory=Counter)  # since January 1970
    placed: int = 0
    first: int | None = None  # microseconds
    last: int | None = None
    bounds: Bounds | None = None

    def add(self, block: Block, chosen: Mask) -> None:
        codes = block.values("label")[chosen & block.known("label")]
        counts = np.bincount(codes)
        used = np.flatnonzero(counts)
        names = block.labels.take(pa.array(used)).to_pylist()
        self.labels.update(dict(zip(names, counts[used].tolist(), strict=True)))
        self._add_times(block.values("datetime")[chosen & block.known("datetime")])
        self._add_boxes(block.boxes()[chosen & block.known("west")])

    def _add_times(self, times: Microseconds) -> None:
        if not len(times):
            return
        first, last = int(times.min()), int(times.max())
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        months = months_since_1970(times)
        least = int(months.min())
        counts = np.bincount(months - least)
        used = np.flatnonzero(counts)
        self.months.update(dict(zip((used + least).tolist(), counts[used].tolist(), strict=True)))

    def _add_boxes(self, boxes: Boxes) -> None:
        self.placed += len(boxes)
        if not len(boxes):
            return
        across = bool((boxes.west > boxes.east).any())
        west = -180.0 if across else float(boxes.west.min())
        east = 180.0 if across else float(boxes.east.max())
        south, north = float(boxes.south.min()), float(boxes.north.max())
        if self.bounds is not None:
            west, south = min(west, self.bounds[0]), min(south, self.bounds[1])
            east, north = max(east, self.bounds[2]), max(north, self.bounds[3])
        self.bounds = west, south, east, north

    def facets(self, matching: int) -> Facets:
        return Facets(
            matching=matching,
            labels=sorted(self.labels.items(), key=lambda item: (-item[1], item[0])),
            unlabelled=matching - self.labels.total(),
            months=[(str(np.datetime64(m, "M")), n) for m, n in sorted(self.months.items())],
            undated=matching - self.months.total(),
            first=None if self.first is None else EPOCH + timedelta(microseconds=self.first),
            last=None if self.last is None else EPOCH + timedelta(microseconds=self.last),
            bounds=self.bounds,
            unplaced=matching - self.placed,
        )
