"""Exact vectors of a generation: the shards' own files, opened one by one as they are needed.

A small archive's are mapped.  Those of a big one are read row by row: a mapped page brings its
neighbours into the process, so that a few hundred searches would make all vectors resident.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import ContractError, StorageError
from featurizer.manifest import Generation
from serving import deadline
from serving.engine.bases import Bases, Ids
from serving.engine.handles import most_open
from serving.engine.ranking import Floats, best, closeness, distance_of
from serving.engine.sync import LocalFiles

_MAPPED_BYTES = 512 << 20  # of all vectors; above, reading took 0.2 ms for 200 rows of 200 shards
_BLOCK_BYTES = 32 << 20  # of float32 vectors, and of scores, in one step of a scan


class _Mapped:
    """Rows of one mapped file."""

    __slots__ = ("_rows",)

    def __init__(self, rows: NDArray[np.float16]) -> None:
        self._rows = rows

    def take(self, rows: Ids, out: NDArray[np.float16]) -> None:
        # Without clip, which has nothing to clip here, take makes a copy before it writes.
        self._rows.take(rows, axis=0, out=out, mode="clip")


class _Opened:
    """Rows of one file that is read where they lie."""

    __slots__ = ("_file", "_offset", "_row_bytes")

    def __init__(self, path: Path, offset: int, dim: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._offset, self._row_bytes = offset, 2 * dim
        # Around a row that is not in memory, the kernel would read what nobody asked for.
        os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)

    def take(self, rows: Ids, out: NDArray[np.float16]) -> None:
        handle, size = self._file.fileno(), self._row_bytes
        places = (self._offset + size * rows).tolist()
        data = b"".join([os.pread(handle, size, place) for place in places])
        if len(data) != out.nbytes:
            raise StorageError(f"{self._file.name}: cut short since the start: restore the file")
        out[:] = np.frombuffer(data, np.float16).reshape(out.shape)

    def __del__(self) -> None:
        self._file.close()  # with the last search that reads from it, not before


class Vectors:
    """(n, d) float16 on disk, read as float32 by row id; memory is that of the answer."""

    def __init__(
        self,
        generation: Generation,
        files: LocalFiles,
        open_files: int | None = None,
        mapped_bytes: int = _MAPPED_BYTES,
    ) -> None:
        self._shards, self._files = generation.shards, files
        self._dim = generation.featurizer.dim
        self._bases = Bases(shard.rows for shard in generation.shards)
        mapped = 2 * self._dim * self._bases.total <= mapped_bytes
        opener: Callable[[int], _Mapped | _Opened] = self._mapped if mapped else self._opened
        self._taker = lru_cache(maxsize=open_files or most_open())(opener)
        self._offsets: dict[int, int] = {}  # of the first row, in files that were looked into

    def _mapped(self, shard: int) -> _Mapped:
        return _Mapped(self._open(shard).view(np.ndarray))  # a memmap costs several times that

    def _opened(self, shard: int) -> _Opened:
        offset = self._offsets.get(shard)
        if offset is None:
            offset = self._offsets[shard] = int(self._open(shard).offset)
        return _Opened(self._files.vectors(self._shards[shard].name), offset, self._dim)

    def _open(self, shard: int) -> np.memmap[Any, np.dtype[np.float16]]:
        record = self._shards[shard]
        path = self._files.vectors(record.name)
        try:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError) as error:
            raise ContractError(
                f"{path}: not a .npy array that can be mapped ({error}): embed the shard again"
            ) from error
        shape = (record.rows, self._dim)
        if mapped.dtype != np.float16 or mapped.shape != shape or not mapped.flags.c_contiguous:
            raise ContractError(
                f"{path}: {mapped.dtype} {mapped.shape}, but the manifest says float16 {shape}, "
                "row after row: embed the shard again"
            )
        assert isinstance(mapped, np.memmap)
        return mapped

    def gather(self, row_ids: Ids) -> Floats:
        """(m,) row ids, in any order and repeated or not -> (m, d) float32.

        Quickest where they ascend: rows are read in the order in which they lie.
        """
        order = None
        if (row_ids[1:] < row_ids[:-1]).any():
            order = np.argsort(row_ids)
            row_ids = row_ids[order]
        found = np.empty((len(row_ids), self._dim), np.float16)
        for shard, where, rows in self._bases.stretches(row_ids):
            self._taker(shard).take(rows, found[where])
        if order is None:
            return found.astype(np.float32)
        out = np.empty(found.shape, np.float32)
        out[order] = found
        return out

    def blocks(self, rows: int) -> Iterator[tuple[int, Floats]]:
        """All vectors in order, ``rows`` or fewer at a time: first row id, (b, d) float32."""
        for shard, start in enumerate(self._bases.starts.tolist()):
            count = self._shards[shard].rows
            if not count:
                continue
            # Not kept: a scan would push what searches use out of the cache.
            mapped = self._open(shard).view(np.ndarray)
            for first in range(0, count, rows):
                yield start + first, mapped[first : first + rows].astype(np.float32)

    def _scored(
        self, queries: Floats, cosine: bool, removed: Ids
    ) -> Iterator[tuple[Ids, NDArray[np.float32]]]:
        """(b,) ids and (q, b) closeness of each block, removed rows at minus infinity."""
        for start, block in self.blocks(self._step(queries)):
            deadline.check()
            scores = closeness(queries, block, cosine)
            first, end = np.searchsorted(removed, [start, start + len(block)])
            scores[:, removed[first:end] - start] = -np.inf
            yield np.arange(start, start + len(block)), scores

    def _step(self, queries: Floats) -> int:
        return max(1, _BLOCK_BYTES // (4 * max(self._dim, len(queries))))

    def scan(self, queries: Floats, count: int, cosine: bool, removed: Ids) -> Ids:
        """(q, d) -> (q, up to ``count``) ids of the nearest rows in no order, -1 for removed ones.

        Reads every vector; memory is bounded by the block and by q * count.
        """
        return _best_of(self._scored(queries, cosine, removed), len(queries), count)

    def scan_rows(self, queries: Floats, count: int, cosine: bool, row_ids: Ids) -> Ids:
        """The same among ``row_ids`` alone, which ascend; no other vector is read."""
        step = self._step(queries)
        parts = (row_ids[first : first + step] for first in range(0, len(row_ids), step))
        scored = ((part, closeness(queries, self.gather(part), cosine)) for part in parts)
        return _best_of(scored, len(queries), count)

    def all_distances(self, queries: Floats, cosine: bool, removed: Ids) -> Floats:
        """(q, d) -> (q, n) distances to every row in order, inf for removed ones."""
        out = np.empty((len(queries), self._bases.total), np.float32)
        for ids, scores in self._scored(queries, cosine, removed):
            out[:, ids[0] : ids[-1] + 1] = distance_of(scores, cosine)
        return out

    def close(self) -> None:
        self._taker.cache_clear()


def _best_of(scored: Iterable[tuple[Ids, NDArray[np.float32]]], queries: int, count: int) -> Ids:
    """(q, up to ``count``) ids of the highest scores of all blocks, -1 at minus infinity."""
    top, ids = np.empty((queries, 0), np.float32), np.empty((queries, 0), np.int64)
    for block, scores in scored:
        near, here = best(scores, np.broadcast_to(block, scores.shape), count)
        top, ids = best(np.hstack([top, near]), np.hstack([ids, here]), count)
    return np.where(np.isneginf(top), -1, ids)
