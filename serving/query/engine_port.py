"""What a search asks of the engine: the part of ``SearchEngine`` that ranking and shaping use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from serving.engine.bases import Ids
from serving.query.question import Floats

if TYPE_CHECKING:
    from featurizer.manifest import Generation
    from serving.engine.rows import Tile
    from serving.engine.selection import Selection


class Engine(Protocol):
    """A generation opened for search, asked from any thread."""

    @property
    def generation(self) -> Generation: ...

    def search(
        self,
        queries: Floats,
        k: int,
        nprobe: int | None = None,
        exact: bool = False,
        within: Selection | None = None,
    ) -> tuple[Floats, Ids]:
        """(q, d) -> (q, k) distances and row ids in order of (distance, id); padded inf and -1.

        Without ``nprobe``, never fewer than k rows where k match.
        """

    def distances(self, queries: Floats, rows: Ids, /) -> Floats:
        """(q, d), (m,) row ids -> (q, m) exact distances."""

    def vectors(self, row_ids: Ids, /) -> Floats:
        """(m,) row ids -> (m, d) stored vectors."""

    def tiles(self, row_ids: Ids, /) -> list[Tile]:
        """(m,) row ids -> what is known of each."""


# Summing thousands of shards at every search would cost more than the search of one.
_ALIVE: WeakKeyDictionary[Engine, int] = WeakKeyDictionary()


def matching(engine: Engine, within: Selection | None) -> int:
    """How many rows can be found at all."""
    if within is not None:
        return within.count
    count = _ALIVE.get(engine)
    if count is None:
        generation = engine.generation
        count = _ALIVE[engine] = generation.rows - len(set(generation.tombstones))
    return count


def matching_rows(engine: Engine, within: Selection | None) -> Ids:
    """Ascending ids of all rows that can be found; 8 bytes each."""
    if within is not None:
        return within.ids()
    alive = np.ones(engine.generation.rows, np.bool_)
    alive[np.asarray(engine.generation.tombstones, np.int64)] = False
    return np.flatnonzero(alive)


def held(within: Selection | None, rows: Ids) -> Ids:
    """Those of these living rows that can be found."""
    return rows if within is None else rows[within.holds(rows)]
