"""Candidates out of the merged inverted file: of all rows, or of those that a filter leaves."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.engine.bases import Ids
from serving.engine.ranking import Floats
from serving.engine.selection import Bits, Selection


class InvertedIndex:
    """A merged index whose ids are the generation's row ids; tombstoned rows never come out."""

    def __init__(self, index: Any, rows: int, tombstones: Sequence[int]) -> None:
        self._index = index
        self._rows = rows
        self._transformed = isinstance(index, faiss.IndexPreTransform)
        self._ivf = faiss.downcast_index(faiss.extract_index_ivf(index))
        self.nlist = int(self._ivf.nlist)
        self._alive = _bitmap(rows, tombstones) if len(tombstones) else None
        self._occupied: WeakKeyDictionary[Selection, _Occupied] = WeakKeyDictionary()
        self._lock = threading.Lock()
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

    def candidates_within(
        self, queries: Floats, within: Selection, count: int, wanted: int, nprobe: int
    ) -> Ids:
        """(q, d) -> (q, count) selected row ids, nearest codes first, padded with -1.

        ``wanted`` of them at least, for which all of the index is read at need: the selection has
        so many.  Lists without any selected row are passed over, so that a filter which leaves a
        far corner of the vectors' space costs no more than one which leaves every tenth row.  Of
        the lists with some, ``nprobe / sqrt(share selected)`` are read: the fewer rows are left in
        each, the more lists the nearest ones lie in.
        """
        transformed = self._transform(queries)
        occupied = self._occupied_by(within)
        probes = math.ceil(nprobe * math.sqrt(self._rows / within.count))
        while True:
            probes = min(probes, self.nlist)
            lists, distances = self._lists_near(transformed, occupied, probes)
            ids = self._search_lists(transformed, lists, distances, count, within.bits)
            if probes == self.nlist or (ids[:, :wanted] >= 0).all():
                return ids
            probes *= 4

    def _transform(self, queries: Floats) -> Floats:
        if self._transformed:
            chain = self._index.chain
            for number in range(chain.size()):
                queries = faiss.downcast_VectorTransform(chain.at(number)).apply(queries)
        return queries

    def _occupied_by(self, within: Selection) -> _Occupied:
        with self._lock:
            found = self._occupied.get(within)
            if found is None:
                found = self._occupied[within] = _Occupied(self._ivf.invlists, within.bits)
            return found

    def _lists_near(self, queries: Floats, occupied: _Occupied, probes: int) -> tuple[Ids, Floats]:
        """(q, probes) nearest lists with selected rows, padded with -1, and their distances."""
        width = min(self.nlist, 4 * probes)
        while True:
            distances, lists = self._coarse(queries, width)
            useful = occupied.holds(lists)
            if width == self.nlist or (useful.sum(axis=1) >= probes).all():
                break
            width = self.nlist
        keep = np.argsort(~useful, axis=1, kind="stable")[:, :probes]
        kept = np.take_along_axis(useful, keep, 1)
        numbers = np.where(kept, np.take_along_axis(lists, keep, 1), -1)
        most = max(1, int(kept.sum(axis=1).max()))
        return numbers[:, :most], np.take_along_axis(distances, keep, 1)[:, :most]

    def _coarse(self, queries: Floats, width: int) -> tuple[Floats, Ids]:
        """(q, width) distances and numbers of the nearest lists; a graph is asked for few only."""
        quantizer = faiss.downcast_index(self._ivf.quantizer)
        if width == self.nlist and isinstance(quantizer, faiss.IndexHNSW):
            quantizer = faiss.downcast_index(quantizer.storage)
        distances, lists = quantizer.search(queries, width)
        return distances, lists

    def _search_lists(
        self, queries: Floats, lists: Ids, distances: Floats, count: int, bits: Bits
    ) -> Ids:
        lists = np.ascontiguousarray(lists, np.int64)
        coarse = np.ascontiguousarray(distances, np.float32)
        queries = np.ascontiguousarray(queries, np.float32)
        selector = faiss.IDSelectorBitmap(bits)
        parameters = faiss.SearchParametersIVF(nprobe=lists.shape[1], sel=selector)
        out = np.empty((len(queries), count), np.float32)
        ids = np.empty((len(queries), count), np.int64)
        arrays = (faiss.swig_ptr(array) for array in (lists, coarse, out, ids))
        # The wrapper of search_preassigned takes no parameters, and so no selector.
        self._ivf.search_preassigned_c(
            len(queries), faiss.swig_ptr(queries), count, *arrays, False, parameters
        )
        return ids


class _Occupied:
    """Which inverted lists hold selected rows; each list is looked into once, when asked for."""

    def __init__(self, lists: Any, bits: Bits) -> None:
        self._lists, self._bits = lists, bits
        self._known = np.zeros(lists.nlist, np.bool_)
        self._holds = np.zeros(lists.nlist, np.bool_)

    def holds(self, numbers: Ids) -> NDArray[np.bool_]:
        """For list numbers of any shape; False for -1."""
        asked = np.unique(numbers)
        for number in asked[(asked >= 0) & ~self._known[asked]].tolist():
            self._holds[number] = self._look(number)
            self._known[number] = True
        return np.asarray(self._holds[numbers] & (numbers >= 0), np.bool_)

    def _look(self, number: int) -> bool:
        size = self._lists.list_size(number)
        if not size:
            return False
        ids = faiss.rev_swig_ptr(self._lists.get_ids(number), size)
        for first in range(0, size, _LOOK_ROWS):
            part = ids[first : first + _LOOK_ROWS]
            if (self._bits[part >> 3] >> (part & 7).astype(np.uint8) & 1).any():
                return True
        return False


_LOOK_ROWS = 4096  # of a list at one time: where many rows are selected, the first show some


def _bitmap(rows: int, tombstones: Sequence[int]) -> Bits:
    """n / 8 bytes, bit i set where row i is still there."""
    alive = np.ones(rows, np.bool_)
    alive[np.asarray(tombstones, np.int64)] = False
    return np.packbits(alive, bitorder="little")
