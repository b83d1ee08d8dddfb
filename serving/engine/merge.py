"""The code files of a generation's shards, merged into one inverted file on disk."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from featurizer import storage
from featurizer.errors import ContractError, StorageError
from featurizer.manifest import Generation
from serving.engine.built import built
from serving.engine.sync import LocalFiles

_FOLDER, _INDEX, _CODES = "index", "index.faiss", "merged.ivfdata"
_MAPS_AT_ONCE = 1_000  # far below the kernel's 65,530 mappings a process
_DIRECTORY_BYTES = 256 << 20  # FAISS keeps 24 bytes a list for every mapped file in memory


def merged_index(
    generation: Generation, files: LocalFiles, folder: Path, progress: bool = False
) -> Any:
    """The FAISS index of the whole generation, its codes mapped from ``folder/index``.

    Made once and found again; while it is made, code files are mapped, never loaded, so memory
    stays bounded.  ContractError when codes are not those of this quantizer or do not fit their
    shard, StorageError when the disk has no room.
    """
    trained = _trained(generation, files)
    if not generation.rows:
        return trained
    inputs = storage.sha256(
        json.dumps(
            [generation.quantizer_sha256, [[s.codes, s.rows] for s in generation.shards]]
        ).encode()
    )
    make = partial(_merge, generation, files, trained, progress)
    made = built(folder / _FOLDER, inputs, make)
    # IO_FLAG_MMAP crashes at the first search of an index that was merged on disk.
    flags = faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR
    try:
        index = faiss.read_index(str(made / _INDEX), flags)
    except RuntimeError as error:
        raise ContractError(
            f"{made}: not a readable merged index ({_first_line(error)}): remove the folder and "
            "start again: it is made anew"
        ) from error
    # The default starts up to 32 threads in every search only to read lists ahead.
    lists = faiss.downcast_InvertedLists(faiss.extract_index_ivf(index).invlists)
    lists.prefetch_nthread = 0
    return index


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _trained(generation: Generation, files: LocalFiles) -> Any:
    """The empty index that knows centroids and codebooks."""
    place = files.trained()
    try:
        index = faiss.read_index(str(place))
    except RuntimeError as error:
        raise ContractError(f"{place}: not a FAISS index ({_first_line(error)})") from error
    ivf = faiss.try_extract_index_ivf(index)
    dim = generation.featurizer.dim
    if ivf is None or not index.is_trained or index.ntotal or index.d != dim:
        raise ContractError(
            f"{place}: must be an empty, trained inverted file of {dim} dimensions, but it is "
            f"{type(index).__name__} of {index.d} with {index.ntotal} rows: train again"
        )
    return index


def _merge(
    generation: Generation, files: LocalFiles, index: Any, progress: bool, part: Path
) -> None:
    ivf = faiss.extract_index_ivf(index)
    group = max(2, min(_MAPS_AT_ONCE, _DIRECTORY_BYTES // (24 * ivf.nlist)))
    shards = [shard for shard in generation.shards if shard.rows]
    needed = generation.rows * (ivf.code_size + 8) * (2 if len(shards) > group else 1)
    free = shutil.disk_usage(part).free
    if free < needed:  # a full disk under a mapped file ends the process, not the call
        raise StorageError(
            f"{part.parent}: merging needs {needed:,} bytes, but {free:,} are free: free some "
            "space or give another --cache-dir"
        )
    shape = CodesShape(ivf.nlist, ivf.code_size)
    codes = [(files.codes(shard.name), shard.rows) for shard in shards]
    if progress:
        print(f"merging {generation.rows:,} codes of {len(codes):,} shards", file=sys.stderr)
    merged = merge_codes(codes, shape, part / _CODES, group)
    ivf.replace_invlists(merged, False)
    ivf.ntotal = index.ntotal = generation.rows
    faiss.write_index(index, str(part / _INDEX))


@dataclass(frozen=True, slots=True)
class CodesShape:
    """Lists and bytes a code: the same in every code file of one quantizer."""

    nlist: int
    code_size: int


def merge_codes(
    files: Sequence[tuple[Path, int]], shape: CodesShape, target: Path, group: int
) -> Any:
    """One on-disk inverted file of these code files, in order, ids shifted by the rows before.

    ``files`` names each with the rows that it must hold.  At most ``group`` (2 or more) are mapped
    at one time: of more, parts are merged first, through files beside ``target`` that are gone
    at the end.
    """
    if len(files) <= group:
        lists = [_mapped(path, rows, shape) for path, rows in files]
        return _merge_lists(lists, shape, target)
    step = group
    while step * group < len(files):
        step *= group
    pieces, counts = [], []
    for first in range(0, len(files), step):
        piece = target.with_name(f"{target.name}.{first}")
        part = files[first : first + step]
        merged = merge_codes(part, shape, piece, group)
        _write_lists(merged, _directory_of(piece))
        pieces.append(piece)
        counts.append(sum(rows for _, rows in part))
    flags = faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR
    lists = [
        _checked(_read_lists(_directory_of(piece), flags), rows, shape, piece)
        for piece, rows in zip(pieces, counts, strict=True)
    ]
    result = _merge_lists(lists, shape, target)
    for piece in pieces:
        piece.unlink()
        _directory_of(piece).unlink()
    return result


def _directory_of(piece: Path) -> Path:
    return piece.with_name(f"{piece.name}.lists")


def _merge_lists(lists: Sequence[Any], shape: CodesShape, target: Path) -> Any:
    pointers = faiss.InvertedListsPtrVector()
    for each in lists:
        pointers.push_back(each)
    out = faiss.OnDiskInvertedLists(shape.nlist, shape.code_size, str(target))
    out.merge_from_multiple(pointers.data(), pointers.size(), False)
    _shift_ids(out, lists)
    return out


def _shift_ids(merged: Any, parts: Sequence[Any]) -> None:
    """Adds to each id the number of rows in the parts before its own.

    FAISS has an option for this, but shifts a part by the totals of parts 1 to its own instead of
    0 to the one before (1.15.1): right only where all parts have the same number of rows.
    """
    nlist = range(merged.nlist)
    sizes = np.array([[part.list_size(number) for number in nlist] for part in parts], np.int64)
    totals = sizes.sum(axis=1)
    bases = np.cumsum(totals) - totals
    for number in np.flatnonzero(sizes.any(axis=0)).tolist():
        ids = faiss.rev_swig_ptr(merged.get_ids(number), merged.list_size(number))
        ids += np.repeat(bases, sizes[:, number])  # in place: the mapped file itself


def _mapped(path: Path, rows: int, shape: CodesShape) -> Any:
    try:
        lists = _read_lists(path, faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        raise ContractError(
            f"{path}: not a file of inverted lists ({_first_line(error)}): encode again"
        ) from error
    return _checked(lists, rows, shape, path)


def _checked(lists: Any, rows: int, shape: CodesShape, path: Path) -> Any:
    found = (lists.nlist, lists.code_size, lists.compute_ntotal())
    if found != (shape.nlist, shape.code_size, rows):
        raise ContractError(
            f"{path}: {found[2]} rows in {found[0]} lists of {found[1]}-byte codes, but the "
            f"manifest and the quantizer say {rows} in {shape.nlist} of {shape.code_size}: "
            "encode again"
        )
    return lists


def _read_lists(path: Path, flags: int) -> Any:
    reader = faiss.FileIOReader(str(path))
    return faiss.downcast_InvertedLists(faiss.read_InvertedLists(reader, flags))


def _write_lists(lists: Any, path: Path) -> None:
    writer = faiss.FileIOWriter(str(path))
    faiss.write_InvertedLists(lists, writer)
    del writer  # FAISS flushes and closes with the object
