"""Exact vectors of a generation: the shards' own files, mapped one by one as they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import ContractError
from featurizer.manifest import Generation
from serving.engine.bases import Bases, Ids
from serving.engine.ranking import Floats, best, closeness, distance_of
from serving.engine.sync import LocalFiles

_OPEN_MAPS = 256  # each holds a file handle, of which a process commonly has 1,024
_BLOCK_BYTES = 32 << 20  # of float32 vectors, and of scores, in one step of a scan


class Vectors:
    """(n, d) float16 on disk, read as float32 by row id; memory is that of the answer."""

    def __init__(
        self, generation: Generation, files: LocalFiles, open_maps: int = _OPEN_MAPS
    ) -> None:
        self._shards, self._files = generation.shards, files
        self._dim = generation.featurizer.dim
        self._bases = Bases(shard.rows for shard in generation.shards)
        self._map = lru_cache(maxsize=open_maps)(self._open)

    def _open(self, shard: int) -> NDArray[np.float16]:
        record = self._shards[shard]
        path = self._files.vectors(record.name)
        try:
            mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError) as error:
            raise ContractError(
                f"{path}: not a .npy array that can be mapped ({error}): embed the shard again"
            ) from error
        if mapped.dtype != np.float16 or mapped.shape != (record.rows, self._dim):
            raise ContractError(
                f"{path}: {mapped.dtype} {mapped.shape}, but the manifest says float16 "
                f"{(record.rows, self._dim)}: embed the shard again"
            )
        return mapped.view(np.ndarray)  # indexing a memmap costs several times that of an array

    def gather(self, row_ids: Ids) -> Floats:
        """(m,) row ids, in any order and repeated or not -> (m, d) float32."""
        out = np.empty((len(row_ids), self._dim), np.float32)
        for shard, where, rows in self._bases.groups(row_ids):
            out[where] = self._map(shard)[rows]
        return out

    def blocks(self, rows: int) -> Iterator[tuple[int, Floats]]:
        """All vectors in order, ``rows`` or fewer at a time: first row id, (b, d) float32."""
        for shard, start in enumerate(self._bases.starts.tolist()):
            count = self._shards[shard].rows
            if not count:
                continue
            mapped = self._open(shard)  # a scan would push what searches use out of the cache
            for first in range(0, count, rows):
                yield start + first, mapped[first : first + rows].astype(np.float32)

    def _scored(
        self, queries: Floats, cosine: bool, removed: Ids
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(q, b) closeness of each block, removed rows at minus infinity."""
        rows = max(1, _BLOCK_BYTES // (4 * max(self._dim, len(queries))))
        for start, block in self.blocks(rows):
            scores = closeness(queries, block, cosine)
            first, end = np.searchsorted(removed, [start, start + len(block)])
            scores[:, removed[first:end] - start] = -np.inf
            yield start, scores

    def scan(self, queries: Floats, count: int, cosine: bool, removed: Ids) -> Ids:
        """(q, d) -> (q, up to ``count``) ids of the nearest rows in no order, -1 for removed ones.

        Reads every vector; memory is bounded by the block and by q * count.
        """
        top = np.empty((len(queries), 0), np.float32)
        ids = np.empty((len(queries), 0), np.int64)
        for start, scores in self._scored(queries, cosine, removed):
            block = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
            near, here = best(scores, block, count)
            top, ids = best(np.hstack([top, near]), np.hstack([ids, here]), count)
        return np.where(np.isneginf(top), -1, ids)

    def all_distances(self, queries: Floats, cosine: bool, removed: Ids) -> Floats:
        """(q, d) -> (q, n) distances to every row in order, inf for removed ones."""
        out = np.empty((len(queries), self._bases.total), np.float32)
        for start, scores in self._scored(queries, cosine, removed):
            out[:, start : start + scores.shape[1]] = distance_of(scores, cosine)
        return out

    def close(self) -> None:
        self._map.cache_clear()
