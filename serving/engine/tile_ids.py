"""Tile id -> row ids, on disk: sorted 64-bit hashes of the ids and the rows they belong to.

The strings of billions of rows fit no memory, and their hashes need not: a look-up is a binary
search in a mapped file, and the caller compares strings, as two ids may share a hash.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.engine.bases import Ids
from serving.engine.resident import Resident

Hashes = NDArray[np.uint64]
Batches = Callable[[], Iterator[pa.StringArray]]

_HASHES, _ROWS = "hashes.npy", "rows.npy"
_RESIDENT_BYTES = 128 << 20  # of both files: beyond, pages are given back
_BUCKET_ROWS = 1 << 20  # rows sorted in memory at one time
_LOW_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)

# The constants of splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators".
_GAMMA, _MIX_1, _MIX_2 = (
    np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_FACTOR_1, _FACTOR_2, _ALL_BITS = int(_MIX_1), int(_MIX_2), (1 << 64) - 1


def _mix(values: Hashes) -> Hashes:
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def hash_strings(strings: pa.StringArray) -> Hashes:
    """(m,) 64-bit hashes of the UTF-8 bytes, which are taken in eight at a time for all strings.

    Not proof against an adversary: equal hashes cost time, never a wrong answer.
    """
    count = len(strings)
    _, offsets_buffer, data = strings.buffers()
    if not count:
        return np.empty(0, np.uint64)
    places = np.frombuffer(offsets_buffer, np.int32)[strings.offset :][: count + 1]
    starts, lengths = places[:-1].astype(np.int64), np.diff(places).astype(np.int64)
    size = int(places[-1])
    padded = np.zeros(size + 8, np.uint8)
    if size:
        padded[:size] = np.frombuffer(data, np.uint8, size)
    # Each byte as the start of a little-endian word of eight.
    words = np.ndarray((size + 1,), "<u8", buffer=padded.data, strides=(1,))
    hashes = _mix(lengths.astype(np.uint64) + _GAMMA)
    alive = np.arange(count)
    for done in range(0, int(lengths.max()), 8):
        alive = alive[lengths[alive] > done]
        left = np.minimum(lengths[alive] - done, 8)
        word = words[starts[alive] + done] & _LOW_BYTES[left]
        hashes[alive] = _mix((hashes[alive] ^ word) + _GAMMA)
    return hashes


def hash_text(text: str) -> int:
    """What ``hash_strings`` gives for one string, at a tenth of what an array of one costs."""
    data = text.encode()
    value = _mixed(len(data) + int(_GAMMA))
    for first in range(0, len(data), 8):
        word = int.from_bytes(data[first : first + 8], "little")
        value = _mixed((value ^ word) + int(_GAMMA))
    return value


def _mixed(value: int) -> int:
    """``_mix`` of the lowest 64 bits."""
    value &= _ALL_BITS
    value = (value ^ (value >> 30)) * _FACTOR_1 & _ALL_BITS
    value = (value ^ (value >> 27)) * _FACTOR_2 & _ALL_BITS
    return value ^ (value >> 31)


class TileIds:
    """The look-up of one generation, mapped from a folder that ``write`` filled."""

    def __init__(self, folder: Path) -> None:
        hashes, rows = _mapped(folder / _HASHES), _mapped(folder / _ROWS)
        self._hashes, self._rows = np.asarray(hashes), np.asarray(rows)
        bases: tuple[Any, ...] = (hashes.base, rows.base)
        self._memories = [base for base in bases if isinstance(base, mmap.mmap)]
        large = hashes.nbytes + rows.nbytes > _RESIDENT_BYTES
        self._resident = Resident() if large else None

    def candidates(self, tile_id: str) -> Ids:
        """Row ids, ascending, of every tile whose id has this hash."""
        wanted = np.uint64(hash_text(tile_id))
        first = int(np.searchsorted(self._hashes, wanted, side="left"))
        end = first
        while end < len(self._hashes) and self._hashes[end] == wanted:
            end += 1
        found = np.sort(self._rows[first:end])
        if self._resident is not None:
            self._resident.note(self._memories)
        return found


def _mapped(path: Path) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def write(folder: Path, rows: int, batches: Batches, bucket_rows: int = _BUCKET_ROWS) -> None:
    """Fills ``folder`` with the sorted hashes of ``batches()``: all ids, in the order of rows.

    ``batches`` is read twice.  The first time counts how many hashes begin with the same bits,
    the second puts each at its bucket's place, where it is then sorted: memory is that of one
    batch and of one bucket of about ``bucket_rows``.
    """
    bits = max(0, (rows // bucket_rows).bit_length())
    counts = np.zeros(1 << bits, np.int64)
    for strings in batches():
        counts += np.bincount(_bucket(hash_strings(strings), bits), minlength=1 << bits)
    hashes = np.lib.format.open_memmap(folder / _HASHES, "w+", np.uint64, (rows,))
    places = np.lib.format.open_memmap(folder / _ROWS, "w+", np.int64, (rows,))
    edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    _scatter(batches(), bits, edges[:-1].copy(), hashes, places)
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        order = np.argsort(hashes[first:end], kind="stable")
        hashes[first:end] = hashes[first:end][order]
        places[first:end] = places[first:end][order]
    hashes.flush()
    places.flush()


def _bucket(hashes: Hashes, bits: int) -> Ids:
    if not bits:
        return np.zeros(len(hashes), np.int64)
    return (hashes >> np.uint64(64 - bits)).astype(np.int64)


def _scatter(
    batches: Iterator[pa.StringArray], bits: int, next_free: Ids, hashes: Hashes, places: Ids
) -> None:
    """Puts each hash, and its row, at the next free place of its bucket."""
    row = 0
    for strings in batches:
        here = hash_strings(strings)
        bucket = _bucket(here, bits)
        order = np.argsort(bucket, kind="stable")
        counts = np.bincount(bucket, minlength=len(next_free))
        before = np.cumsum(counts) - counts
        ordered = bucket[order]
        target = next_free[ordered] + np.arange(len(order)) - before[ordered]
        hashes[target] = here[order]
        places[target] = row + order
        next_free += counts
        row += len(here)
