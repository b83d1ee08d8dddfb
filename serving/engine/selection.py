"""Sets of rows as bitmaps: what a filter leaves, kept for the searches that follow."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving import deadline
from serving.engine.bases import Ids
from serving.engine.filters import Criteria, Filter, matching
from serving.engine.regions import Mask
from serving.engine.rows import Rows
from serving.engine.zones import Zones, may_match
from serving.failures import OverdueError

Bits = NDArray[np.uint8]

_STEP = 1 << 17  # bytes unpacked at one time
_FEW = 1 << 18  # ids kept as they are, 2 MiB, so that a search need not look for them again


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Selection:
    """Rows of one generation; those that were removed are never among them."""

    bits: Bits  # (ceil(n / 8),), the lowest bit first
    count: int
    _few: list[Ids] = field(default_factory=list, repr=False)

    def ids(self) -> Ids:
        """(count,) row ids, ascending."""
        if self._few:
            return self._few[0]
        found = ids_of(self.bits)
        if self.count <= _FEW:
            found.flags.writeable = False
            self._few.append(found)
        return found

    def holds(self, ids: Ids) -> NDArray[np.bool_]:
        """For row ids of any shape, whether each is selected; False for -1."""
        if not self.bits.size:
            return np.zeros(ids.shape, np.bool_)
        return np.asarray((self.bits[ids >> 3] >> (ids & 7) & 1 != 0) & (ids >= 0), np.bool_)

    @property
    def nbytes(self) -> int:
        """Memory that it may hold."""
        return self.bits.nbytes + (8 * self.count if self.count <= _FEW else 0)


def ids_of(bits: Bits) -> Ids:
    """Positions of the bits that are set, ascending; memory is that of the answer."""
    where = np.flatnonzero(bits)
    inner = np.flatnonzero(np.unpackbits(bits[where], bitorder="little"))
    return np.asarray((where[inner >> 3] << 3) + (inner & 7), np.int64)


def put(bits: Bits, first: int, mask: NDArray[np.bool_]) -> None:
    """Sets the bits from position ``first`` on where the mask is true."""
    lead = first & 7
    if lead:
        mask = np.concatenate([np.zeros(lead, np.bool_), mask])
    packed = np.packbits(mask, bitorder="little")
    start = first >> 3
    bits[start : start + len(packed)] |= packed


def taken(bits: Bits, first: int, count: int) -> NDArray[np.bool_]:
    """The bits of ``count`` positions from ``first`` on, as ``put`` set them."""
    lead = first & 7
    part = bits[first >> 3 : (first + count + 7) >> 3]
    return np.unpackbits(part, count=lead + count, bitorder="little")[lead:].view(np.bool_)


def select(rows: Rows, wanted: Filter, removed: Ids) -> Selection:
    """The rows that pass the filter and are not removed, a block in memory at a time."""
    bits = np.zeros((rows.total + 7) // 8, np.uint8)
    if wanted == Filter():
        bits[:] = 0xFF
        bits[-1:] >>= -rows.total & 7
    else:
        asked = Criteria.of(wanted)
        for first, block in rows.blocks(may_match(rows.zones, asked)):
            deadline.check()
            put(bits, first, matching(block, asked))
    np.bitwise_and.at(bits, removed >> 3, ~(np.uint8(1) << (removed & 7).astype(np.uint8)))
    bits.flags.writeable = False
    return Selection(bits, count_of(bits))


def occupied(zones: Zones, within: Selection) -> Mask:
    """(z,) False only for blocks of rows without any that is selected."""
    if not len(zones):
        return np.zeros(0, np.bool_)
    ends = np.cumsum(zones["rows"])
    starts = ends - zones["rows"]
    found = np.bitwise_or.reduceat(within.bits, starts >> 3) | within.bits[ends - 1 >> 3]
    return np.asarray(found != 0, np.bool_)


def count_of(bits: Bits) -> int:
    """How many bits are set."""
    return sum(
        int(np.count_nonzero(np.unpackbits(bits[first : first + _STEP])))
        for first in range(0, bits.size, _STEP)
    )


class Selections:
    """The selections last asked for, by filter, up to so many bytes and one at least."""

    def __init__(self, make: Callable[[Filter], Selection], most_bytes: int) -> None:
        self._make, self._most = make, most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Filter, Future[Selection]] = OrderedDict()

    def of(self, wanted: Filter) -> Selection:
        """The filter's selection; threads that ask for one at the same time share the work.

        Where the one that does it runs out of its time, the next one begins anew.
        """
        with self._lock:
            future = self._kept.get(wanted)
            mine = future is None
            if future is None:
                future = self._kept[wanted] = Future()
            else:
                self._kept.move_to_end(wanted)
        if mine:
            try:
                future.set_result(self._make(wanted))
            except BaseException as error:
                with self._lock:
                    self._kept.pop(wanted, None)
                future.set_exception(error)
                raise
            self._shrink()
        try:
            return future.result()
        except OverdueError:
            deadline.check()  # it was another's time that was up, if not ours
            return self.of(wanted)

    def _shrink(self) -> None:
        with self._lock:
            done = [(key, item.result()) for key, item in self._kept.items() if item.done()]
            total = sum(key.nbytes + selection.nbytes for key, selection in done)
            for key, selection in done[:-1]:
                if total <= self._most:
                    return
                del self._kept[key]
                total -= key.nbytes + selection.nbytes
