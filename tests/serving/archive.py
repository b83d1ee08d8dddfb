"""Small archives, written as the contract says, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from featurizer import manifest, shards, storage
from featurizer.manifest import Generation, GenerationShard, IndexParameters
from featurizer.schema import Row
from featurizer.shards import ShardContent, ShardRecord
from featurizer.spec import FeaturizerSpec, Metric
from featurizer.tiles import tile_id

QUANTIZER = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Archive:
    """A published archive and what is in it: the oracle of every search."""

    root: str
    name: str
    generation: Generation
    vectors: NDArray[np.float16]  # (n, d), in the order of row ids
    rows: list[Row]

    @property
    def tile_ids(self) -> list[str]:
        return [tile_id(row.uri, row.window) for row in self.rows]


def spec(dim: int, metric: Metric = "cosine") -> FeaturizerSpec:
    return FeaturizerSpec(
        backbone="terra128",
        layer="embedding",
        weights_sha256="0" * 64,
        input_px=64,
        resize="stretch",
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        dim=dim,
        metric=metric,
    )


def clustered(rows: int, dim: int, seed: int = 0, clusters: int = 12) -> NDArray[np.float32]:
    """(rows, dim) unit vectors around a few centres; row i is of cluster ``i % clusters``."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dim))
    vectors = centres[np.arange(rows) % clusters] + 0.5 * rng.normal(size=(rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def plain_rows(count: int, clusters: int = 12) -> list[Row]:
    return [
        Row(
            uri=f"/imagery/class{i % clusters}/picture{i}.jpg",
            etag=f"e{i}",
            label=f"class{i % clusters}",
        )
        for i in range(count)
    ]


def trained_index(vectors: NDArray[np.float32], factory: str) -> faiss.Index:
    """An empty index of this FAISS factory string, trained on the vectors."""
    data = _trained(vectors.tobytes(), vectors.shape[1], factory)
    return faiss.deserialize_index(np.frombuffer(data, np.uint8))


@lru_cache(maxsize=16)
def _trained(data: bytes, dim: int, factory: str) -> bytes:
    vectors = np.frombuffer(data, np.float32).reshape(-1, dim)
    index = faiss.index_factory(dim, factory)
    ivf = faiss.downcast_index(faiss.extract_index_ivf(index))
    ivf.cp.min_points_per_centroid = 1
    if isinstance(ivf, faiss.IndexIVFPQ):
        ivf.pq.cp.min_points_per_centroid = 1
    index.train(vectors)
    return faiss.serialize_index(index).tobytes()


def code_bytes(trained: bytes, vectors: NDArray[np.float16]) -> bytes:
    """The inverted lists of these vectors alone, ids 0..n-1, as a code file holds them."""
    index = faiss.deserialize_index(np.frombuffer(trained, np.uint8))
    if len(vectors):
        index.add(vectors.astype(np.float32))
    writer = faiss.VectorIOWriter()
    faiss.write_InvertedLists(faiss.extract_index_ivf(index).invlists, writer)
    return faiss.vector_to_array(writer.data).tobytes()


def write_shard(
    root: str,
    name: str,
    vectors: NDArray[np.float16],
    rows: Sequence[Row],
    stretches: dict[str, object],
) -> ShardRecord:
    tiled = {row.uri for row in rows if row.window is not None}
    inputs = [
        {
            "uri": uri,
            "etag": "e",
            "size": 1,
            "kind": "windows" if uri in tiled else "image",
            "stretch": stretches.get(uri),
        }
        for uri in dict.fromkeys(row.uri for row in rows)
    ]
    record = ShardRecord(
        name=name,
        rows=len(rows),
        dim=vectors.shape[1],
        featurizer=spec(vectors.shape[1]).fingerprint,
        files={},
        inputs=inputs,
        rejects={},
        dropped_null=0,
        source_bytes=len(rows),
        tiling={"tile_px": 256, "stride_px": 128, "max_null": 0.5, "bands": None, "scale": "auto"},
    )
    return shards.write(root, record, ShardContent(vectors, list(rows), []))


def build_archive(
    root: Path | str,
    vectors: NDArray[np.float32],
    rows: Sequence[Row] | None = None,
    counts: Sequence[int] | None = None,
    factory: str = "IVF16,PQ8x4",
    metric: Metric = "cosine",
    **options: object,
) -> Archive:
    """Writes and publishes an archive of these vectors, cut into shards of ``counts`` rows.

    ``options``: ``tombstones``, ``training_rows``, ``nprobe``, ``rerank_factor``, ``stretches``
    (uri -> {"low": [...], "high": [...]}), ``featurizer`` (a FeaturizerSpec of the vectors' width).
    """
    place = str(root)
    rows = list(rows) if rows is not None else plain_rows(len(vectors))
    counts = list(counts) if counts is not None else [len(rows)]
    stored = vectors.astype(np.float16)
    trained = faiss.serialize_index(trained_index(vectors, factory)).tobytes()
    storage.write_bytes(storage.join(place, "quantizers", QUANTIZER, "trained.faiss"), trained)
    members, start = [], 0
    for number, count in enumerate(counts):
        here = slice(start, start + count)
        name = f"shard{number:04d}"
        record = write_shard(
            place, name, stored[here], rows[here], dict(options.get("stretches", {}))
        )
        codes = code_bytes(trained, stored[here])
        storage.write_bytes(
            storage.join(place, "quantizers", QUANTIZER, "codes", f"{name}.faiss"), codes
        )
        members.append(
            GenerationShard(
                name=name,
                rows=count,
                vectors=record.files[shards.VECTORS].sha256,
                rows_file=record.files[shards.ROWS].sha256,
                codes=storage.sha256(codes),
            )
        )
        start += count
    ivf = faiss.extract_index_ivf(faiss.deserialize_index(np.frombuffer(trained, np.uint8)))
    generation = Generation(
        inventory="000001-000000000000",
        quantizer=QUANTIZER,
        quantizer_sha256=storage.sha256(trained),
        featurizer=options.get("featurizer") or spec(vectors.shape[1], metric),
        index=IndexParameters(
            factory=factory,
            nlist=ivf.nlist,
            nprobe=int(options.get("nprobe", 8)),
            rerank_factor=int(options.get("rerank_factor", 10)),
            training_rows=int(options.get("training_rows", len(vectors))),
            sample_seed=0,
        ),
        shards=tuple(members),
        tombstones=tuple(options.get("tombstones", ())),
    )
    name = manifest.write_generation(place, generation)
    manifest.set_current(place, name)
    return Archive(place, name, generation, stored, rows)


def republish(archive: Archive, **changes: object) -> Archive:
    """The archive with another generation published, which differs by these fields."""
    generation = replace(archive.generation, **changes)
    name = manifest.write_generation(archive.root, generation)
    manifest.set_current(archive.root, name)
    return replace(archive, name=name, generation=generation)
