"""A uniform sample over all shards -> an empty, trained IVF-PQ index, stored as a quantizer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from featurizer import shards, storage
from featurizer.errors import ContractError, IndexBuildError
from featurizer.manifest import IndexParameters, Inventory
from featurizer.sampling import sample_rows

FOLDER, TRAINED, MARKER = "quantizers", "trained.faiss", "quantizer.json"


@dataclass(frozen=True, slots=True)
class QuantizerRecord:
    """What ``quantizer.json`` says; written last, so it marks the quantizer complete."""

    name: str
    sha256: str
    featurizer: str
    dim: int
    index: IndexParameters


def folder(root: str, name: str) -> str:
    return storage.join(root, FOLDER, name)


def quantizer_name(inventory: Inventory, parameters: IndexParameters) -> str:
    """The same vectors and parameters give the same name."""
    names = [shard.name for shard in inventory.shards]
    text = json.dumps([names, inventory.featurizer, asdict(parameters)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def train(
    root: str, inventory: Inventory, dim: int, parameters: IndexParameters, progress: bool
) -> QuantizerRecord:
    """Trains unless a quantizer of these vectors and parameters is there; its record.

    Memory: the sample in float32 and one shard.  The same inputs give the same bytes.
    """
    name = quantizer_name(inventory, parameters)
    marker = storage.join(folder(root, name), MARKER)
    if storage.exists(marker):
        return read_record(root, name)
    sample = read_sample(root, inventory, parameters, progress)
    data = faiss.serialize_index(train_index(sample, parameters)).tobytes()
    storage.write_bytes(storage.join(folder(root, name), TRAINED), data)
    record = QuantizerRecord(name, storage.sha256(data), inventory.featurizer, dim, parameters)
    storage.write_bytes(marker, json.dumps(asdict(record), sort_keys=True, indent=1).encode())
    return record


def read_record(root: str, name: str) -> QuantizerRecord:
    place = storage.join(folder(root, name), MARKER)
    if not storage.exists(place):
        raise ContractError(f"{place}: is missing; train, or name another quantizer")
    try:
        fields: dict[str, Any] = json.loads(storage.read_bytes(place))
        fields["index"] = IndexParameters(**fields["index"])
        return QuantizerRecord(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise ContractError(
            f"{place}: not a quantizer's marker ({error}); remove its folder and train again"
        ) from error


def read_sample(
    root: str, inventory: Inventory, parameters: IndexParameters, progress: bool
) -> NDArray[np.float32]:
    """The training rows, (n, d) float32, in the order of their ids."""
    wanted = sample_rows(inventory.rows, parameters.training_rows, parameters.sample_seed)
    parts = []
    base = 0
    for shard in tqdm(inventory.shards, "sampling", unit="shard", disable=not progress):
        first, last = np.searchsorted(wanted, [base, base + shard.rows])
        if last > first:
            vectors = shards.read_vectors(root, shards.read_record(root, shard.name))
            parts.append(vectors[wanted[first:last] - base].astype(np.float32))
        base += shard.rows
    return np.concatenate(parts)


def train_index(sample: NDArray[np.float32], parameters: IndexParameters) -> Any:
    """An empty index of ``parameters.factory``, trained on (n, d) float32."""
    if len(sample) == 1:  # no code has fewer than two centroids, nor k-means fewer points
        sample = np.repeat(sample, 2, axis=0)
    try:
        index = faiss.index_factory(int(sample.shape[1]), parameters.factory, faiss.METRIC_L2)
        inner = faiss.downcast_index(faiss.extract_index_ivf(index))
        # FAISS advises a minimum of points a centroid on stderr; the choice is made, and small
        # archives are re-ranked from exact vectors anyway.
        inner.cp.min_points_per_centroid = 1
        inner.pq.cp.min_points_per_centroid = 1
        index.train(sample)
    except RuntimeError as error:
        raise IndexBuildError(
            f"{parameters.factory}: could not be trained on {sample.shape} vectors: {error}; "
            "choose other --nlist or --code-bytes"
        ) from error
    return index
