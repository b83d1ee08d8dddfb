"""Archives of synthetic vectors at any size, for what needs no pixels: the index and the server."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from featurizer import manifest, shards, storage
from featurizer.backbones import BackboneRequest
from featurizer.embed import FeaturizerOptions, make_featurizer
from featurizer.manifest import Inventory, InventoryShard
from featurizer.schema import Row
from featurizer.shards import ShardContent, ShardRecord
from featurizer.stored import save_featurizer
from pipeline.config import RunnerOptions
from pipeline.index.generation import publish
from pipeline.index.parameters import IndexOptions
from pipeline.jobs import run_encode, run_train

SHARD_ROWS = 4096  # as `pipeline embed` makes them
DIM = 128
_INNER_DIM, _CENTRES = 48, 2000
_LABELS = 100
_START = datetime(2015, 1, 1, tzinfo=UTC)


def write_synthetic(root: str, rows: int, seed: int = 0) -> None:
    """Shards and inventory of unit vectors around 2,000 centres in 48 of 128 dimensions.

    Rows are dated, placed and labelled; the archive holds terra128, so that a server starts on it.
    """
    featurizer = make_featurizer(FeaturizerOptions(BackboneRequest()), "cpu")
    save_featurizer(root, featurizer)
    fingerprint = featurizer.spec.fingerprint
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(_CENTRES, _INNER_DIM)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0][:_INNER_DIM].astype(np.float32)
    members = []
    for number, start in enumerate(range(0, rows, SHARD_ROWS)):
        count = min(SHARD_ROWS, rows - start)
        of = rng.integers(0, _CENTRES, count)
        near = centres[of] + 0.6 * rng.normal(size=(count, _INNER_DIM)).astype(np.float32)
        vectors = near @ turn + 0.02 * rng.normal(size=(count, DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        described = _rows(start, of, rng)
        record = _write(root, number, vectors.astype(np.float16), described, fingerprint)
        members.append(InventoryShard(record.name, count, storage.sha256(record.to_json())))
        print(f"\r{start + count:,} of {rows:,} rows written", end="", file=sys.stderr)
    print(file=sys.stderr)
    made = Inventory("synthetic", fingerprint, tuple(members), {}, 0, rows)
    manifest.write_inventory(root, made)


def _write(
    root: str, number: int, vectors: NDArray[np.float16], rows: list[Row], fingerprint: str
) -> ShardRecord:
    record = ShardRecord(
        name=f"s{number:05d}",
        rows=len(rows),
        dim=DIM,
        featurizer=fingerprint,
        files={},
        inputs=[],
        rejects={},
        dropped_null=0,
        source_bytes=len(rows),
        tiling={"tile_px": 256, "stride_px": 128, "max_null": 0.5, "bands": None, "scale": "auto"},
    )
    return shards.write(root, record, ShardContent(vectors, rows, []))


def _rows(start: int, centres: NDArray[np.int64], rng: np.random.Generator) -> list[Row]:
    west = rng.uniform(-180, 179, len(centres)).round(2).tolist()
    south = rng.uniform(-80, 79, len(centres)).round(2).tolist()
    return [
        Row(
            uri=f"gs://synthetic/{(start + i) // 1000:07d}/{start + i:010d}.jpg",
            etag=f"{start + i}",
            label=f"class{centre % _LABELS:02d}",
            taken=_START + timedelta(hours=(start + i) // 100),
            bounds=(west[i], south[i], west[i] + 0.5, south[i] + 0.5),
            valid_fraction=1.0,
        )
        for i, centre in enumerate(centres.tolist())
    ]


def build_index(root: str, options: IndexOptions) -> None:
    """Trains, encodes and publishes, with what the commands choose unless told otherwise."""
    begin = time.perf_counter()
    quantizer = run_train(root, options, progress=False)
    trained = time.perf_counter() - begin
    name = run_encode(root, quantizer.name, RunnerOptions(progress=False))
    publish(root, name, None)
    took = time.perf_counter() - begin - trained
    print(f"train {trained:.1f} s, encode and publish {took:.1f} s")
