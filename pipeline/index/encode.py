"""A shard's vectors -> its IVF-PQ codes, as bare inverted lists with local ids 0..n-1.

The lists alone are stored: the centroids stand once in ``trained.faiss``, not in every code file
(at 65,536 lists of 128 dimensions they would be 33 MB a shard).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from featurizer import shards, storage
from featurizer.errors import ContractError, StorageError
from pipeline.index.train import TRAINED, QuantizerRecord, folder, read_record


@dataclass(frozen=True, slots=True, weakref_slot=True)
class TrainedQuantizer:
    """A trained, empty FAISS index and its record; weakly referenceable, so Beam can share it."""

    record: QuantizerRecord
    index: Any


def load_quantizer(root: str, name: str) -> TrainedQuantizer:
    """ContractError when the trained index is not the one that its marker describes."""
    record = read_record(root, name)
    place = storage.join(folder(root, name), TRAINED)
    remedy = f"remove {folder(root, name)} and run train and encode again"
    data = _read(place, remedy)
    if storage.sha256(data) != record.sha256:
        raise ContractError(f"{place}: its sha256 is not the one in its marker: {remedy}")
    index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
    if index.d != record.dim or index.ntotal:
        raise ContractError(f"{place}: {index.d} dimensions and {index.ntotal} rows")
    return TrainedQuantizer(record, index)


def _read(place: str, remedy: str) -> bytes:
    try:
        return storage.read_bytes(place)
    except StorageError as error:
        if not storage.is_missing(error):
            raise
        raise ContractError(f"{place}: is missing: {remedy}") from error


def read_codes(root: str, quantizer: str, shard: str) -> bytes:
    """The shard's code file; ContractError when it is missing."""
    return _read(codes_path(root, quantizer, shard), "encode again")


def codes_path(root: str, quantizer: str, shard: str) -> str:
    return storage.join(folder(root, quantizer), "codes", f"{shard}.faiss")


def encode_shard(root: str, trained: TrainedQuantizer, shard: str) -> tuple[int, str]:
    """Writes the shard's code file unless it is there; its rows and the file's sha256.

    ContractError when the file that is there does not hold the shard's rows, or when the shard is
    of another featurizer than the quantizer.
    """
    place = codes_path(root, trained.record.name, shard)
    record = shards.read_record(root, shard)
    if storage.exists(place):
        data = storage.read_bytes(place)
        _check_codes(place, data, trained, record.rows)
        return record.rows, storage.sha256(data)
    if record.featurizer != trained.record.featurizer:
        raise ContractError(
            f"shard {shard} is of featurizer {record.featurizer}, but the quantizer "
            f"{trained.record.name} of {trained.record.featurizer}: train on this inventory"
        )
    index = faiss.clone_index(trained.index)
    index.add(shards.read_vectors(root, record).astype(np.float32))
    writer = faiss.VectorIOWriter()
    faiss.write_InvertedLists(faiss.extract_index_ivf(index).invlists, writer)
    data = faiss.vector_to_array(writer.data).tobytes()
    storage.write_bytes(place, data)
    return record.rows, storage.sha256(data)


def _check_codes(place: str, data: bytes, trained: TrainedQuantizer, rows: int) -> None:
    """ContractError unless these are inverted lists of the quantizer's form with ``rows`` ids."""
    reader = faiss.VectorIOReader()
    faiss.copy_array_to_vector(np.frombuffer(data, np.uint8), reader.data)
    wanted = faiss.extract_index_ivf(trained.index).invlists
    try:
        lists = faiss.read_InvertedLists(reader)
        found = (lists.nlist, lists.code_size, lists.compute_ntotal())
    except RuntimeError:  # FAISS's reason quotes its own source, with newlines
        found = None
    if found != (wanted.nlist, wanted.code_size, rows):
        raise ContractError(
            f"{place}: does not hold the {rows} codes of its shard (truncated?): remove it and "
            "encode again"
        )
