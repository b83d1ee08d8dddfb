"""One shard, from its inputs to its files: read, decode, embed, write.

Reading runs ahead in the calling thread while a few worker threads decode and embed; torch,
nvImageCodec and GDAL let go of the interpreter's lock.  Batch boundaries depend on the inputs
alone, so that a retry writes the same bytes.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from featurizer import shards
from featurizer.decode import decode
from featurizer.errors import PixelError
from featurizer.formats import probe
from featurizer.pixels import Rgb, Stretch
from featurizer.schema import Reject, Row
from featurizer.spec import FeaturizerSpec
from pipeline.config import EmbedJob
from pipeline.plan import ShardPlan
from pipeline.reading import Batch, Found, read_batches

# Of pixels decoded at a time: bounds what stands in memory at full size, in each thread.
_DECODE_BYTES = 32 * 1024 * 1024


class Embedder(Protocol):
    """What is needed of a ``featurizer.embed.Featurizer``."""

    @property
    def spec(self) -> FeaturizerSpec: ...

    def embed_batch(self, chunks: Iterable[list[Rgb]]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class BatchDone:
    """What one batch became, and what progress and metrics want to know of it."""

    vectors: NDArray[np.float16]  # (n, d)
    rows: list[Row]
    rejects: list[Reject]
    stretches: dict[str, Stretch]
    source_bytes: int
    seconds: float


@dataclass(slots=True)
class _Gathered:
    vectors: list[NDArray[np.float16]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    stretches: dict[str, Stretch] = field(default_factory=dict)

    def add(self, done: BatchDone) -> None:
        self.vectors.append(done.vectors)
        self.rows.extend(done.rows)
        self.rejects.extend(done.rejects)
        self.stretches.update(done.stretches)


def embed_shard(
    plan: ShardPlan,
    job: EmbedJob,
    featurizer: Embedder,
    pool: ThreadPoolExecutor,
    tell: Callable[[BatchDone], None],
) -> shards.ShardRecord:
    """Embeds and writes the shard; returns its record.  ``tell`` hears of each batch, in order.

    Memory: ``threads + 2`` batches of encoded bytes and resized pixels, and the shard's vectors.
    """
    source = read_batches(plan, job)
    gathered = _Gathered()
    for done in _overlapped(source, featurizer, pool, job.threads + 2):
        gathered.add(done)
        tell(done)
    dim = featurizer.spec.dim
    content = shards.ShardContent(
        vectors=np.concatenate([np.empty((0, dim), np.float16), *gathered.vectors]),
        rows=gathered.rows,
        rejects=gathered.rejects,
    )
    record = shards.ShardRecord(
        name=plan.name,
        rows=len(content.rows),
        dim=dim,
        featurizer=job.featurizer,
        files={},
        inputs=_inputs(plan, source.found, gathered.stretches),
        rejects=dict(sorted(Counter(r.reason for r in content.rejects).items())),
        dropped_null=source.found.dropped_null,
        source_bytes=source.found.bytes_read,
        tiling=job.tiling_record,
    )
    return shards.write(job.root, record, content)


def _overlapped(
    batches: Iterator[Batch], featurizer: Embedder, pool: ThreadPoolExecutor, ahead: int
) -> Iterator[BatchDone]:
    """Results in the order of the batches, with at most ``ahead`` of them under way."""
    waiting: deque[Future[BatchDone]] = deque()
    for batch in batches:
        waiting.append(pool.submit(_embed, batch, featurizer))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _embed(batch: Batch, featurizer: Embedder) -> BatchDone:
    begin = time.perf_counter()
    rows: list[Row] = []
    rejects = list(batch.rejects)
    vectors = featurizer.embed_batch(_pixels(batch, rows, rejects))
    good = np.asarray(np.isfinite(vectors).all(axis=1))
    for index in np.flatnonzero(~good):
        row = rows[index]
        detail = "the model gave no usable vector (NaN, infinite or of no length)"
        rejects.append(Reject(row.uri, "embed", "no-vector", detail, row.window))
    return BatchDone(
        vectors=vectors[good].astype(np.float16),
        rows=[row for row, ok in zip(rows, good, strict=True) if ok],
        rejects=rejects,
        stretches=batch.stretches,
        source_bytes=batch.source_bytes,
        seconds=time.perf_counter() - begin,
    )


def _pixels(batch: Batch, rows: list[Row], rejects: list[Reject]) -> Iterator[list[Rgb]]:
    """Pictures in chunks, ``rows`` filled alongside; what does not decode goes to ``rejects``."""
    if batch.tiles:
        rows.extend(row for row, _ in batch.tiles)
        yield [pixels for _, pixels in batch.tiles]
    chunk: list[tuple[Row, bytes]] = []
    size = 0
    for row, data in batch.images:
        decoded = _decoded_bytes(data)
        if chunk and size + decoded > _DECODE_BYTES:
            yield _decoded(chunk, batch, rows, rejects)
            chunk, size = [], 0
        chunk.append((row, data))
        size += decoded
    if chunk:
        yield _decoded(chunk, batch, rows, rejects)


def _decoded_bytes(data: bytes) -> int:
    """What its pixels will take, by the header; where that hides the size, ten times the file's."""
    try:
        header = probe(data)
    except PixelError:
        return 0  # it will not be decoded
    return 3 * header.width * header.height or 10 * len(data)


def _decoded(
    chunk: list[tuple[Row, bytes]], batch: Batch, rows: list[Row], rejects: list[Reject]
) -> list[Rgb]:
    pixels: list[Rgb] = []
    found = decode([data for _, data in chunk])
    for (row, _), outcome in zip(chunk, found, strict=True):
        if isinstance(outcome, PixelError):
            rejects.append(Reject(row.uri, "decode", outcome.reason, outcome.detail, row.window))
        else:
            rows.append(replace(row, valid_fraction=outcome.valid_fraction))
            pixels.append(outcome.pixels)
            if outcome.stretch is not None:
                batch.stretches[row.uri] = outcome.stretch
    return pixels


def _inputs(plan: ShardPlan, found: Found, of_images: dict[str, Stretch]) -> list[dict[str, Any]]:
    """What the marker says of each input: enough to tell whether it changed and to cut it again."""
    stretches = {**found.stretches, **of_images}
    records = []
    for item in plan.items:
        record: dict[str, Any] = {
            "uri": item.uri,
            "size": item.size,
            "etag": item.etag,
            "kind": item.kind,
        }
        if item.kind == "windows":
            record |= {"windows": [item.start, item.stop], "kept": found.kept[item.uri]}
        stretch = stretches.get(item.uri)
        if stretch is not None:
            record["stretch"] = asdict(stretch)
        records.append(record)
    return records
