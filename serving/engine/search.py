"""A generation opened for search: approximate answers re-ranked exactly, and what a row is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from featurizer import manifest, storage
from featurizer.errors import QueryError, UnknownTileError
from featurizer.manifest import Generation
from featurizer.pixels import Stretch
from serving.engine import facets, merge, nearby, selection, sync
from serving.engine.bases import Bases, Ids
from serving.engine.facets import Facets
from serving.engine.filters import Filter
from serving.engine.inverted import InvertedIndex
from serving.engine.markers import Markers
from serving.engine.ranking import Floats, distances_to, nearest, normalised
from serving.engine.rows import Rows, Tile
from serving.engine.selection import Selection, Selections
from serving.engine.vectors import Vectors

__all__ = ["Facets", "Filter", "SearchEngine", "Selection", "Tile"]

_SCRATCH_BYTES = 64 << 20  # of exact vectors held as float32 at one time
_FEWEST_CANDIDATES = 200  # codes alone order a crowd of near neighbours badly; 0.1 ms
_FEW_ROWS = 10_000  # selected rows up to which a comparison with each is the quicker way
_SELECTION_BYTES = 128 << 20  # of bitmaps kept for the filters asked last
_EXACT_MARGIN = 32  # rows beyond k that a scan keeps: it rounds otherwise than the re-ranking


@dataclass(frozen=True, slots=True)
class _Effort:
    nprobe: int | None
    exact: bool
    within: Selection | None


@dataclass(frozen=True, slots=True)
class _Parts:
    index: InvertedIndex
    vectors: Vectors
    rows: Rows
    markers: Markers


class SearchEngine:
    """One generation, checked and mapped.  Any number of threads may ask at the same time."""

    def __init__(self, name: str, generation: Generation, parts: _Parts) -> None:
        self.name = name
        self.generation = generation
        self._index, self._vectors = parts.index, parts.vectors
        self._rows, self._markers = parts.rows, parts.markers
        self._bases = Bases(shard.rows for shard in generation.shards)
        self._removed: Ids = np.unique(np.asarray(generation.tombstones, np.int64))
        self._alive = generation.rows - len(self._removed)
        self._cosine = generation.featurizer.metric == "cosine"
        self._selections = Selections(self._select, _SELECTION_BYTES)

    @classmethod
    def open(
        cls, root: str, cache_dir: Path, generation: str | None = None, progress: bool = False
    ) -> SearchEngine:
        """The engine of ``generation``, or of the published one.

        Fetches (of a remote root), verifies and merges what the cache does not hold yet; with
        ``progress``, bars on stderr.  GenerationError when nothing is published, ContractError
        when a file is not what the manifest says, StorageError when one cannot be read.
        """
        root = storage.normalise(root)
        name = manifest.current_generation(root) if generation is None else generation
        record = manifest.read_generation(root, name)
        cache_dir = cache_dir.expanduser().absolute()
        with sync.locked(cache_dir):
            files = sync.local_files(root, name, record, cache_dir, progress)
            folder = cache_dir / "generations" / name
            index = merge.merged_index(record, files, folder, progress)
            rows = Rows.open(record, files, cache_dir / "rows", folder, progress)
        parts = _Parts(
            index=InvertedIndex(index, record.rows, record.tombstones),
            vectors=Vectors(record, files),
            rows=rows,
            markers=Markers(root, record),
        )
        return cls(name, record, parts)

    def select(self, wanted: Filter) -> Selection:
        """The rows that pass the filter; kept for the next time, within bounded memory."""
        return self._selections.of(wanted)

    def _select(self, wanted: Filter) -> Selection:
        return selection.select(self._rows, wanted, self._removed)

    def search(
        self,
        queries: Floats,
        k: int,
        nprobe: int | None = None,
        exact: bool = False,
        within: Selection | None = None,
    ) -> tuple[Floats, Ids]:
        """(q, d) queries -> (q, k) distances, ascending, and (q, k) row ids.

        Distances are exact (1 - cosine, or Euclidean), whichever way the rows were found; ties
        are in the order of row ids.  Where fewer than k rows exist, ids are -1 and distances inf.
        Only rows of ``within`` are found, and k of them wherever it has as many.  Without it or
        ``nprobe``, too, more of the index is read until k rows are found.  ``exact`` compares
        with every vector.  QueryError for a wrong shape, for values that are not finite, for a
        zero vector under cosine distance and for k or nprobe below one.
        """
        prepared = self._prepare(queries, k, nprobe)
        if within is not None and within.count == self._alive:
            within = None
        row_bytes = prepared.shape[1] * prepared.itemsize
        step = max(1, _SCRATCH_BYTES // (self._candidates(k) * row_bytes))
        parts = [
            self._search(prepared[i : i + step], k, _Effort(nprobe, exact, within))
            for i in range(0, len(prepared), step)
        ]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _candidates(self, k: int) -> int:
        return max(k * self.generation.index.rerank_factor, _FEWEST_CANDIDATES, k)

    def _prepare(self, queries: Floats, k: int, nprobe: int | None) -> Floats:
        dim = self.generation.featurizer.dim
        if k < 1 or (nprobe is not None and nprobe < 1):
            raise QueryError(f"k and nprobe must be at least 1: k={k}, nprobe={nprobe}")
        prepared = np.ascontiguousarray(queries, np.float32)
        if prepared.ndim != 2 or prepared.shape[1] != dim:
            raise QueryError(
                f"queries of shape {prepared.shape}, but this archive's vectors have {dim} "
                f"dimensions: send (number of queries, {dim})"
            )
        if not np.isfinite(prepared).all():
            raise QueryError("a query vector holds NaN or infinity: send finite numbers")
        return normalised(prepared) if self._cosine else prepared

    def _search(self, queries: Floats, k: int, effort: _Effort) -> tuple[Floats, Ids]:
        matching = self._alive if effort.within is None else effort.within.count
        if not matching:
            nothing = np.full((len(queries), k), -1, np.int64)
            return np.full((len(queries), k), np.inf, np.float32), nothing
        ids = self._found(queries, min(k, matching), effort)
        return nearest(*self._measured(queries, ids), k)

    def _found(self, queries: Floats, wanted: int, effort: _Effort) -> Ids:
        """(q, c) rows among which the ``wanted`` nearest are looked for, -1 for none."""
        within = effort.within
        if within is not None and (effort.exact or within.count <= _FEW_ROWS):
            margin = wanted + _EXACT_MARGIN
            return self._vectors.scan_rows(queries, margin, self._cosine, within.ids())
        if effort.exact:
            margin = wanted + _EXACT_MARGIN
            return self._vectors.scan(queries, margin, self._cosine, self._removed)
        probes = effort.nprobe or self.generation.index.nprobe
        if within is not None:
            count = min(self._candidates(wanted), within.count)
            return self._index.candidates_within(queries, within, count, wanted, probes)
        candidates = min(self._candidates(wanted), self._alive)
        ids = self._index.candidates(queries, candidates, probes)
        while effort.nprobe is None and probes < self._index.nlist and _short(ids, wanted):
            probes *= 4
            ids = self._index.candidates(queries, candidates, probes)
        return ids

    def _measured(self, queries: Floats, ids: Ids) -> tuple[Floats, Ids]:
        """(q, c) exact distances of (q, c) row ids; inf where an id is -1."""
        measured = np.full(ids.shape, np.inf, np.float32)
        width = max(1, _SCRATCH_BYTES // queries.nbytes)
        for first in range(0, ids.shape[1], width):
            part = ids[:, first : first + width]
            found = part >= 0
            if not found.any():
                continue
            vectors = self._vectors.gather(np.where(found, part, part.max()).ravel())
            distances = distances_to(queries, vectors.reshape(*part.shape, -1), self._cosine)
            measured[:, first : first + width] = np.where(found, distances, np.inf)
        return measured, ids

    def distances(self, queries: Floats, row_ids: Sequence[int] | Ids) -> Floats:
        """(q, d), (m,) -> (q, m) distances as ``search`` gives them, of these rows alone.

        IndexError for an id out of range; QueryError as in ``search``.
        """
        prepared, rows = self._prepare(queries, 1, None), np.asarray(row_ids, np.int64)
        out = np.empty((len(prepared), len(rows)), np.float32)
        step = max(1, _SCRATCH_BYTES // (4 * prepared.shape[1]))
        for first in range(0, len(rows), step):
            vectors = self._vectors.gather(rows[first : first + step])[None]
            for number in range(len(prepared)):
                query = prepared[number : number + 1]
                out[number, first : first + step] = distances_to(query, vectors, self._cosine)[0]
        return out

    def all_distances(self, queries: Floats) -> Floats:
        """(q, d) -> (q, n) distances to every row in order, inf for removed ones; 4 qn bytes."""
        prepared = self._prepare(queries, 1, None)
        return self._vectors.all_distances(prepared, self._cosine, self._removed)

    def vectors(self, row_ids: Sequence[int] | Ids) -> Floats:
        """(m,) row ids -> (m, d) exact vectors as float32; IndexError for an unknown id."""
        return self._vectors.gather(np.asarray(row_ids, np.int64))

    def tiles(self, row_ids: Sequence[int] | Ids) -> list[Tile]:
        """What is known of each row, in the order of the ids; IndexError for an id out of range."""
        return self._rows.tiles(np.asarray(row_ids, np.int64))

    def facets(self, within: Selection | None, max_labels: int) -> Facets:
        """Counts of what the selected rows are, or all rows; those of all are kept."""
        if within is None or within.count == self._alive:
            return self._all_facets.short(max_labels)
        return facets.count(self._rows, within).short(max_labels)

    @cached_property
    def _all_facets(self) -> Facets:
        return facets.count(self._rows, self.select(Filter()))

    def nearby(self, row: int, limit: int) -> tuple[Ids, Ids]:
        """Rows of the same place at other times, in order of time; and rows beside this one.

        ``limit`` of each at most: the nearest in time; the same day's first, then the nearest.
        """
        return nearby.around(self._rows, row, limit, self._removed)

    def row_of(self, tile_id: str) -> int:
        """The row of a tile; UnknownTileError when none has this id or it was removed."""
        alive = [row for row in self._rows.rows_of(tile_id) if not self._is_removed(row)]
        if not alive:
            raise UnknownTileError(
                f"no tile {tile_id!r} in generation {self.name}: take ids from a search's answer"
            )
        return alive[0]

    def _is_removed(self, row: int) -> bool:
        place = int(np.searchsorted(self._removed, row))
        return place < len(self._removed) and int(self._removed[place]) == row

    def sample(self, size: int, seed: int = 0) -> Ids:
        """``min(size, rows)`` distinct row ids, uniform, in random order; the same for a seed."""
        rng = np.random.default_rng(seed)
        chosen = rng.choice(self._alive, size=min(size, self._alive), replace=False)
        return skip(np.asarray(chosen, np.int64), self._removed)

    def labels(self) -> Iterator[list[str | None]]:
        """Labels of all rows in order, one list a part: evaluation reads them all."""
        return self._rows.labels()

    def stretch_of(self, row_id: int) -> Stretch | None:
        """The stretch that made the row's raster 8-bit; None where none was needed."""
        shard, _ = self._locate(row_id)
        return self._markers.stretch(shard, self.tiles([row_id])[0].uri)

    def is_raster(self, row_id: int) -> bool:
        """Whether the row's pixels came through the raster reader, not the image decoder."""
        shard, _ = self._locate(row_id)
        return self._markers.is_raster(shard, self.tiles([row_id])[0].uri)

    def tiling_of(self, row_id: int) -> dict[str, Any]:
        """How the row's scene was tiled and read: ``tile_px``, ``bands``, ``scale`` and so on."""
        return self._markers.tiling(self._locate(row_id)[0])

    def _locate(self, row_id: int) -> tuple[int, int]:
        parts, rows = self._bases.locate(np.asarray([row_id], np.int64))
        return int(parts[0]), int(rows[0])

    def close(self) -> None:
        """Lets go of the mapped files; a search under way keeps those that it holds."""
        self._vectors.close()
        self._rows.close()


def _short(ids: Ids, wanted: int) -> bool:
    return bool((ids[:, :wanted] < 0).any())


def skip(positions: Ids, excluded: Ids) -> Ids:
    """The row ids at these positions of 0, 1, 2, ... without ``excluded`` (sorted, distinct)."""
    gaps = excluded - np.arange(len(excluded))
    return positions + np.searchsorted(gaps, positions, side="right")
