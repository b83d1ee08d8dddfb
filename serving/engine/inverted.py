"""Candidates out of the merged inverted file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import faiss
import numpy as np

from serving.engine.bases import Ids
from serving.engine.ranking import Floats


class InvertedIndex:
    """A merged index whose ids are the generation's row ids; tombstoned rows never come out."""

    def __init__(self, index: Any, rows: int, tombstones: Sequence[int]) -> None:
        self._index = index
        self._transformed = isinstance(index, faiss.IndexPreTransform)
        self.nlist = int(faiss.downcast_index(faiss.extract_index_ivf(index)).nlist)
        self._alive = _bitmap(rows, tombstones) if len(tombstones) else None
        # Making parameters costs as much as a small search; they are only read while searching.
        self._parameters = lru_cache(maxsize=64)(self._make_parameters)

    def candidates(self, queries: Floats, count: int, nprobe: int) -> Ids:
        """(q, d) -> (q, count) row ids, nearest codes first, padded with -1."""
        parameters = self._parameters(min(nprobe, self.nlist))
        _, ids = self._index.search(queries, count, params=parameters)
        return np.asarray(ids, np.int64)

    def _make_parameters(self, nprobe: int) -> Any:
        options: dict[str, Any] = {"nprobe": nprobe}
        if self._alive is not None:
            options["sel"] = faiss.IDSelectorBitmap(self._alive)
        parameters = faiss.SearchParametersIVF(**options)
        if self._transformed:
            return faiss.SearchParametersPreTransform(index_params=parameters)
        return parameters


def _bitmap(rows: int, tombstones: Sequence[int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """n / 8 bytes, bit i set where row i is still there."""
    alive = np.ones(rows, np.bool_)
    alive[np.asarray(tombstones, np.int64)] = False
    return np.packbits(alive, bitorder="little")
