"""Mapped files that are read here and there, without all of them becoming resident.

A page that is touched brings its neighbours into the process: sixteen pages for each that was read.
So some thousand small reads make a file resident throughout, wherever it is large.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable

_READS_BETWEEN = 16


class Resident:
    """Gives the pages of what was read back to the system, every so many reads.

    They stay in the system's cache, from where the next read has them in a microsecond.
    """

    __slots__ = ("_between", "_reads", "_touched")

    def __init__(self, reads_between: int = _READS_BETWEEN) -> None:
        self._between, self._reads = reads_between, 0
        self._touched: set[mmap.mmap] = set()

    def note(self, memories: Iterable[mmap.mmap]) -> None:
        """To be called after each read, with the memories that it touched."""
        self._touched.update(memories)
        self._reads += 1
        if self._reads < self._between:
            return
        touched, self._touched, self._reads = self._touched, set(), 0
        for memory in list(touched):  # other threads may still be adding to it
            memory.madvise(mmap.MADV_DONTNEED)
