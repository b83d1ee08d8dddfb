"""What a search's order becomes: overlapping and nearly equal tiles folded, then diversified.

Every step is greedy, from the best row on, so that how deep an order is read does not change what
was read before: pages stay pages of one order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from serving import deadline
from serving.query.diversity import diversified
from serving.query.duplicates import Duplicates
from serving.query.engine_port import Engine
from serving.query.overlap import Overlaps
from serving.query.question import Shape
from serving.query.ranked import Part, Ranked, joined

_BLOCK = 512  # rows compared at a time
_LEAST_POOL, _LARGEST_POOL = 1000, 4096  # rows that diversity chooses from; 64 MB for the pairs


def pool_size(first_k: int) -> int:
    """How many rows, the best ones, are put in a diverse order."""
    return min(max(_LEAST_POOL, 4 * first_k), _LARGEST_POOL)


class Folding:
    """Leaves out rows that are too close to a better hit, and remembers which hit that is."""

    def __init__(self, engine: Engine, shape: Shape) -> None:
        self._engine = engine
        self._overlaps = (
            None if shape.max_overlap is None else Overlaps(shape.max_overlap, shape.overlap_by)
        )
        metric = engine.generation.featurizer.metric
        self._duplicates = (
            None
            if shape.duplicate_distance is None
            else Duplicates(shape.duplicate_distance, metric)
        )
        self._hits: list[int] = []
        self._folded: dict[int, list[int]] = {}

    def folded_into(self, row: int) -> tuple[int, ...]:
        """The rows, among those seen so far, that this hit stands for; best first."""
        return tuple(self._folded.get(row, ()))

    def hits_of(self, parts: Iterable[Part]) -> Iterator[Part]:
        """The parts without the rows that are folded, in blocks as they are asked for."""
        for part in parts:
            for first in range(0, len(part.ranked), _BLOCK):
                deadline.check()
                yield Part(self._unfolded(part.ranked.take(slice(first, first + _BLOCK))))

    def _unfolded(self, block: Ranked) -> Ranked:
        tiles = self._engine.tiles(block.rows) if self._overlaps else [None] * len(block)
        if self._duplicates:
            self._duplicates.load(self._engine.vectors(block.rows))
        kept = []
        for place, (row, tile) in enumerate(zip(block.rows.tolist(), tiles, strict=True)):
            closest = [
                None if self._overlaps is None or tile is None else self._overlaps.first(tile),
                None if self._duplicates is None else self._duplicates.first(place),
            ]
            into = min((hit for hit in closest if hit is not None), default=None)
            if into is not None:
                self._folded.setdefault(self._hits[into], []).append(row)
                continue
            kept.append(place)
            if self._overlaps is not None and tile is not None:
                self._overlaps.keep(tile)
            if self._duplicates is not None:
                self._duplicates.keep(place)
            self._hits.append(row)
        return block.take(np.array(kept, np.int64))


@dataclass(frozen=True, slots=True)
class Pool:
    """The best ``size`` rows are put in a diverse order; ``own`` is the row that asks, if any."""

    size: int
    diversity: float
    own: int | None


def diverse(parts: Iterator[Part], engine: Engine, pool: Pool) -> Iterator[Part]:
    """The pool's rows in a diverse order, in one part; those after them as they come."""
    taken: list[Ranked] = []
    for part in parts:
        taken.append(part.ranked)
        if sum(map(len, taken)) >= pool.size:
            break
    best = joined(taken)
    if len(best):
        chosen = best.take(slice(0, pool.size))
        order = diversified(
            engine.vectors(chosen.rows),
            chosen.scores,
            pool.diversity,
            engine.generation.featurizer.metric,
            own_first=int(chosen.rows[0]) == pool.own,
        )
        yield Part(chosen.take(order))
        yield Part(best.take(slice(pool.size, None)))
    yield from (Part(part.ranked) for part in parts)
