"""The limit that a search service is held against: FAISS alone, in memory, called in a loop."""

from __future__ import annotations

import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from featurizer.sampling import sample_rows
from pipeline.index.parameters import IndexOptions
from serving.engine.search import SearchEngine
from tests.benchmarks.vectors import DIM, build_index, write_synthetic

K, CANDIDATES = 10, 200  # as many as the engine re-ranks for ten


class RawIndex:
    """An archive's codes and exact vectors as one FAISS index, and its engine for the rest."""

    def __init__(self, engine: SearchEngine, base: Any) -> None:
        self.engine, self.base = engine, base
        index, rows = engine.generation.index, engine.generation.rows
        self.description = f"{rows:,} rows, {index.factory}, nprobe {index.nprobe}"
        faiss.extract_index_ivf(base).nprobe = index.nprobe

    @staticmethod
    def archive(place: Path, rows: int) -> str:
        """The root of a new synthetic archive, indexed and published."""
        write_synthetic(str(place), rows)
        build_index(str(place), IndexOptions(nlist=None, code_bytes=None))
        return str(place)

    @classmethod
    def of(cls, root: str, cache: Path) -> RawIndex:
        """The generation that ``root`` publishes."""
        engine = SearchEngine.open(root, cache, progress=True)
        merged = next(cache.glob("generations/*/index/index.faiss"))
        flags = faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR
        return cls(engine, _in_memory(faiss.read_index(str(merged), flags)))

    def _queries(self, count: int) -> NDArray[np.int64]:
        rows = sample_rows(self.engine.generation.rows, count, 1)
        return np.random.default_rng(0).permutation(rows)

    def vectors(self, count: int) -> NDArray[np.float32]:
        """(count, d) vectors of rows drawn at random."""
        return self.engine.vectors(self._queries(count))

    def tile_ids(self, count: int) -> list[str]:
        return [tile.tile_id for tile in self.engine.tiles(self._queries(count))]

    @cached_property
    def _refined(self) -> Any:
        """The codes, refined from float16 vectors that are all held in memory."""
        rows = self.engine.generation.rows
        kind = faiss.ScalarQuantizer.QT_fp16
        exact = faiss.IndexScalarQuantizer(DIM, kind, faiss.METRIC_L2)
        exact.train(self.vectors(1000))
        for first in range(0, rows, 100_000):
            exact.add(self.engine.vectors(np.arange(first, min(first + 100_000, rows))))
        refined = faiss.IndexRefine(self.base, exact)
        refined.k_factor = CANDIDATES / K
        return refined

    def rate(self, threads: int, seconds: float) -> tuple[float, float, float]:
        """Searches a second of so many threads, each one query at a time; median and p99 in ms."""
        index, queries = self._refined, self.vectors(2000)
        times: list[float] = []
        end = time.perf_counter() + seconds

        def loop(first: int) -> None:
            faiss.omp_set_num_threads(1)
            own, position = [], first
            while (begin := time.perf_counter()) < end:
                index.search(queries[position % len(queries)][None], K)
                own.append((time.perf_counter() - begin) * 1000)
                position += threads
            times.extend(own)

        workers = [threading.Thread(target=loop, args=(first,)) for first in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        middle, late = np.percentile(times, [50, 99])
        return len(times) / seconds, float(middle), float(late)


def _in_memory(base: Any) -> Any:
    """The index with its lists copied out of the merged file."""
    ivf = faiss.extract_index_ivf(base)
    lists = faiss.ArrayInvertedLists(ivf.nlist, ivf.code_size)
    for number in range(ivf.nlist):
        size = ivf.invlists.list_size(number)
        if size:
            ids, codes = ivf.invlists.get_ids(number), ivf.invlists.get_codes(number)
            lists.add_entries(number, size, ids, codes)
    ivf.replace_invlists(lists, False)
    lists.this.disown()  # the index owns them from here on
    ivf.own_invlists = True
    return base
