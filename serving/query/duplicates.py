"""Which better hit a picture is nearly the same as, by distances between vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from featurizer.spec import Metric
from serving.query.question import Floats

Flags = NDArray[np.bool_]

# A product of float32 vectors tells a squared distance to about 1e-6 of their squared lengths.
# Pairs that it puts within this of the limit are measured again by their differences.
_DOUBT = 1e-4
_COMPARED = 8192  # hits at a time: 16 MB of products with a block of 512
_FARTHEST = 1e30  # squared: beyond it float32 overflows, and everything is nearly the same
_EXACT = 1e-12  # of squared lengths: what the same vector, normalised twice, may be from itself


class Duplicates:
    """The hits so far, compared with a block of rows at a time.

    Hits are numbered from 0 in the order in which they are kept.  Memory is that of their vectors
    as float32; time is that of a matrix product of all rows with all hits.
    """

    def __init__(self, distance: float, metric: Metric) -> None:
        # Of unit vectors |u - v|^2 = 2 (1 - cosine), so that one comparison serves both metrics.
        self._cosine = metric == "cosine"
        self._squared = min(2 * distance if self._cosine else distance * distance, _FARTHEST)
        self._hits = _Growing()  # of the blocks before
        self._block: Floats = np.empty((0, 0), np.float32)
        self._kept: dict[int, int] = {}  # place in the block -> hit
        self._before: list[int | None] = []
        self._inside: Flags = np.empty((0, 0), np.bool_)

    def load(self, vectors: Floats) -> None:
        """Turns to the next (b, d) rows; those of the block before that were kept are hits."""
        if self._kept:
            self._hits.extend(self._block[list(self._kept)])
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

    def keep(self, place: int) -> None:
        """Makes row ``place`` of the block the next hit."""
        self._kept[place] = self._hits.count + len(self._kept)

    def _comparable(self, vectors: Floats) -> Floats:
        if not self._cosine:
            return vectors
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        scaled = vectors / np.where(lengths > 0, lengths, 1)[:, None]
        return np.asarray(scaled, np.float32)

    def _doubtful(self, one: Floats, other: Floats) -> Flags:
        """(a, d), (b, d) -> (a, b) pairs that may be near; no near pair is missing.

        |a - b|^2 <= limit, with room for rounding, solved for ab - |b|^2 / 2: all but one
        comparison is then left to the matrix product.
        """
        room = np.float32(1 - _DOUBT)
        own = room * np.einsum("ad,ad->a", one, one) - np.float32(self._squared * (1 + _DOUBT))
        offsets = room / 2 * np.einsum("bd,bd->b", other, other)
        products = one @ other.T
        products -= offsets
        return np.asarray(products >= own[:, None] / 2)

    def _is_near(self, one: Floats, other: Floats) -> Flags:
        """(m, d), (m, d) -> (m,)."""
        first, second = one.astype(np.float64), other.astype(np.float64)
        squared = ((first - second) ** 2).sum(axis=1)
        lengths = (first**2).sum(axis=1)
        return np.asarray(squared <= self._squared * (1 + 1e-9) + _EXACT * lengths)

    def _firsts_before(self) -> list[int | None]:
        """For each row of the block the first hit, out of earlier blocks, that it is near to."""
        found: list[int | None] = [None] * len(self._block)
        rows_left = np.arange(len(self._block))
        for start, hits in self._hits.parts():
            if not len(rows_left):
                break
            flags = self._doubtful(self._block[rows_left], hits)
            doubtful = np.flatnonzero(flags.any(axis=1))
            while len(doubtful):
                nearest = flags[doubtful].argmax(axis=1)
                near = self._is_near(self._block[rows_left[doubtful]], hits[nearest])
                for row, hit in zip(rows_left[doubtful[near]], nearest[near], strict=True):
                    found[int(row)] = start + int(hit)
                doubtful, nearest = doubtful[~near], nearest[~near]
                flags[doubtful, nearest] = False
                doubtful = doubtful[flags[doubtful].any(axis=1)]
            rows_left = np.flatnonzero([hit is None for hit in found])
        return found


class _Growing:
    """(m, d) vectors, to which others are added."""

    def __init__(self) -> None:
        self.count = 0
        self._room: Floats = np.empty((0, 0), np.float32)

    def extend(self, vectors: Floats) -> None:
        end = self.count + len(vectors)
        if end > len(self._room):
            room = np.empty((max(end, 2 * len(self._room)), vectors.shape[1]), np.float32)
            if self.count:
                room[: self.count] = self._room[: self.count]
            self._room = room
        self._room[self.count : end] = vectors
        self.count = end

    def parts(self) -> Iterator[tuple[int, Floats]]:
        for start in range(0, self.count, _COMPARED):
            yield start, self._room[start : min(start + _COMPARED, self.count)]
