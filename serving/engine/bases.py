"""Row ids as arithmetic: which part of a sequence of parts an id falls in, and where there."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Bases:
    """Parts of given row counts laid end to end; ids are 0..total-1, and parts may be empty."""

    __slots__ = ("starts", "total")

    def __init__(self, counts: Iterable[int]) -> None:
        ends = np.cumsum(np.fromiter(counts, np.int64), dtype=np.int64)
        self.starts: Ids = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
        self.total = int(ends[-1]) if len(ends) else 0

    def locate(self, row_ids: Ids) -> tuple[Ids, Ids]:
        """(m,) ids -> (m,) parts and (m,) rows in them; IndexError for an id out of range."""
        if row_ids.size and (int(row_ids.min()) < 0 or int(row_ids.max()) >= self.total):
            raise IndexError(f"row ids must be in 0..{self.total - 1}: {row_ids}")
        # Empty parts share their start with the part after them; the last of equals is not empty.
        parts = np.searchsorted(self.starts, row_ids, side="right") - 1
        return parts, row_ids - self.starts[parts]

    def groups(self, row_ids: Ids) -> Iterator[tuple[int, Ids, Ids]]:
        """For each part that holds some of the ids: part, positions in ``row_ids``, rows in it."""
        if not row_ids.size:
            return
        parts, rows = self.locate(row_ids)
        order = np.argsort(parts, kind="stable")
        ordered = parts[order]
        edges = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(order)]
        for first, end in itertools.pairwise(edges):
            where = order[first:end]
            yield int(ordered[first]), where, rows[where]

    def stretches(self, row_ids: Ids) -> Iterator[tuple[int, slice, Ids]]:
        """``groups`` of ids that ascend: part, where in ``row_ids`` they stand, rows in it."""
        if not row_ids.size:
            return
        parts, rows = self.locate(row_ids)
        edges = [0, *(np.flatnonzero(parts[1:] != parts[:-1]) + 1).tolist(), len(parts)]
        for first, end in itertools.pairwise(edges):
            yield int(parts[first]), slice(first, end), rows[first:end]
