"""Which better hit a picture is nearly the same as, by distances between vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featurizer.spec import Metric
from serving.query.question import Floats

Flags = NDArray[np.bool_]

# A product of float32 vectors tells a squared distance to about 1e-6 of their squared lengths.
# Pairs that it puts within this of the limit are measured again by their differences.
_DOUBT = 1e-4
_EXACT = 1e-12  # of squared lengths: what the same vector, normalised twice, may be from itself


class Duplicates:
    """The hits so far, compared with a block of rows at a time.

    Memory is that of the hits' vectors as float32; time is that of a matrix product of all rows
    with all hits.
    """

    def __init__(self, distance: float, metric: Metric) -> None:
        # Of unit vectors |u - v|^2 = 2 (1 - cosine), so that one comparison serves both metrics.
        self._cosine = metric == "cosine"
        self._squared = 2 * distance if self._cosine else distance**2
        self._vectors: list[Floats] = []  # of the hits out of each block
        self._numbers: list[NDArray[np.int64]] = []
        self._block: Floats = np.empty((0, 0), np.float32)
        self._kept: dict[int, int] = {}  # place in the block -> hit
        self._before: list[int | None] = []
        self._inside: Flags = np.empty((0, 0), np.bool_)

    def load(self, vectors: Floats) -> None:
        """Turns to the next (b, d) rows; those of the block before that were kept are hits."""
        if self._kept:
            self._vectors.append(self._block[list(self._kept)])
            self._numbers.append(np.array(list(self._kept.values()), np.int64))
        self._block, self._kept = self._comparable(vectors), {}
        self._before = self._firsts_before()
        self._inside = np.tril(self._doubtful(self._block, self._block), -1)

    def first(self, place: int) -> int | None:
        """The least number of a hit that row ``place`` of the block is nearly the same as."""
        if self._before[place] is not None:
            return self._before[place]
        for earlier in np.flatnonzero(self._inside[place]).tolist():
            if earlier in self._kept:
                pair = self._block[[place]], self._block[[earlier]]
                if self._is_near(*pair)[0]:
                    return self._kept[earlier]
        return None

    def keep(self, place: int, hit: int) -> None:
        """Makes row ``place`` of the block a hit of this number."""
        self._kept[place] = hit

    def _comparable(self, vectors: Floats) -> Floats:
        if not self._cosine:
            return vectors
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        scaled = vectors / np.where(lengths > 0, lengths, 1)[:, None]
        return np.asarray(scaled, np.float32)

    def _doubtful(self, one: Floats, other: Floats) -> Flags:
        """(a, d), (b, d) -> (a, b) pairs that may be near; no near pair is missing."""
        lengths = np.add.outer(np.einsum("ad,ad->a", one, one), np.einsum("bd,bd->b", other, other))
        squared = lengths - 2 * (one @ other.T)
        return np.asarray(squared <= self._squared * (1 + _DOUBT) + _DOUBT * lengths)

    def _is_near(self, one: Floats, other: Floats) -> Flags:
        """(m, d), (m, d) -> (m,)."""
        first, second = one.astype(np.float64), other.astype(np.float64)
        squared = ((first - second) ** 2).sum(axis=1)
        lengths = (first**2).sum(axis=1)
        return np.asarray(squared <= self._squared * (1 + 1e-9) + _EXACT * lengths)

    def _firsts_before(self) -> list[int | None]:
        """For each row of the block the first hit, out of earlier blocks, that it is near to."""
        found: list[int | None] = [None] * len(self._block)
        open_rows = np.arange(len(self._block))
        for vectors, numbers in zip(self._vectors, self._numbers, strict=True):
            flags = self._doubtful(self._block[open_rows], vectors)
            rows = np.flatnonzero(flags.any(axis=1))
            while len(rows):
                hits = flags[rows].argmax(axis=1)
                near = self._is_near(self._block[open_rows[rows]], vectors[hits])
                for row, hit in zip(open_rows[rows[near]].tolist(), hits[near], strict=True):
                    found[row] = int(numbers[hit])
                rows, hits = rows[~near], hits[~near]
                flags[rows, hits] = False
                rows = rows[flags[rows].any(axis=1)]
            open_rows = np.array(
                [row for row in open_rows.tolist() if found[row] is None], np.int64
            )
        return found
