"""Beam wiring: sources, shards, code files.  The work itself is in plain modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from featurizer import manifest, shards, storage
from featurizer.embed import Featurizer, use_one_torch_thread
from featurizer.stored import load_featurizer
from pipeline.config import EmbedJob
from pipeline.embed_shard import BatchDone, embed_shard
from pipeline.index.encode import encode_shard, load_quantizer
from pipeline.index.generation import write_generation
from pipeline.index.train import QuantizerRecord
from pipeline.inventory import ShardDone, inventory_of
from pipeline.plan import ShardPlan, plan_shards
from pipeline.progress import Teller
from pipeline.sources import list_items

# The names that Beam's RunInference uses, so that dashboards made for it show this job too.
_NAMESPACE = "worldsift"


@dataclass(eq=False)  # not frozen: Beam writes into its transforms
class PlanShards(beam.PTransform):  # type: ignore[misc]
    """Lists the source and yields encoded ``ShardPlan`` records: all that is ever shuffled."""

    job: EmbedJob

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        return (
            pipeline
            | "Source" >> beam.Create([self.job.source.uri])
            | "ListAndPlan" >> beam.ParDo(_PlanShards(self.job))
            | "SpreadShards" >> beam.Reshuffle()
        )


class _PlanShards(beam.DoFn):  # type: ignore[misc]
    def __init__(self, job: EmbedJob) -> None:
        self._job = job

    def process(self, uri: str) -> Iterator[bytes]:
        teller = Teller(self._job.progress_port)
        items = list_items(self._job.source)
        for plan in plan_shards(items, self._job.shard_rows, self._job.settings):
            teller.tell(planned=plan.rows)
            yield plan.encode()
        teller.close()


@dataclass(eq=False)  # not frozen: Beam writes into its transforms
class EmbedShards(beam.PTransform):  # type: ignore[misc]
    """Makes each planned shard unless it is complete; yields a ``ShardDone`` for each."""

    job: EmbedJob

    def expand(self, plans: beam.PCollection) -> beam.PCollection:
        return plans | "EmbedShard" >> beam.ParDo(_EmbedShard(self.job, Shared()))


@dataclass(frozen=True, slots=True, weakref_slot=True)
class _Computing:
    """The model and the threads that run it: one of each in a process, for all its shards."""

    featurizer: Featurizer
    pool: ThreadPoolExecutor  # its threads end with it

    @classmethod
    def of(cls, job: EmbedJob) -> _Computing:
        return cls(
            load_featurizer(job.root, job.featurizer, job.device),
            ThreadPoolExecutor(job.threads, "embed", initializer=use_one_torch_thread),
        )


class _EmbedShard(beam.DoFn):  # type: ignore[misc]
    def __init__(self, job: EmbedJob, shared: Shared) -> None:
        self._job, self._shared = job, shared
        self._images = Metrics.counter(_NAMESPACE, "images")
        self._inferences = Metrics.counter(_NAMESPACE, "num_inferences")
        self._bytes = Metrics.counter(_NAMESPACE, "source_bytes")
        self._sizes = Metrics.distribution(_NAMESPACE, "inference_request_batch_size")
        self._latency = Metrics.distribution(_NAMESPACE, "inference_batch_latency_micro_secs")

    def setup(self) -> None:
        self._teller = Teller(self._job.progress_port)

    def _computing(self) -> _Computing:
        """Made once a process, at its first incomplete shard: a finished job loads nothing."""
        shared: _Computing = self._shared.acquire(
            lambda: _Computing.of(self._job), tag=self._job.featurizer
        )
        return shared

    def teardown(self) -> None:
        self._teller.close()

    def process(self, encoded: bytes) -> Iterator[ShardDone]:
        plan = ShardPlan.decode(encoded)
        if shards.complete(self._job.root, plan.name):
            record = shards.read_record(self._job.root, plan.name)
            self._teller.tell(done=record.rows, rejected=record.reject_count)
        else:
            shared = self._computing()
            record = embed_shard(plan, self._job, shared.featurizer, shared.pool, self._count)
        # Null windows, and those of a raster that was rejected as one, were planned for too.
        self._teller.tell(done=plan.rows - record.rows - record.reject_count)
        marker = storage.sha256(record.to_json())
        yield ShardDone(
            plan.index,
            record.name,
            record.rows,
            marker,
            record.rejects,
            record.dropped_null,
            record.source_bytes,
        )

    def _count(self, done: BatchDone) -> None:
        rows, rejected = len(done.rows), len(done.rejects)
        self._images.inc(rows)
        self._inferences.inc(rows)
        self._bytes.inc(done.source_bytes)
        self._sizes.update(rows)
        self._latency.update(int(done.seconds * 1e6))
        for reject in done.rejects:
            Metrics.counter(_NAMESPACE, f"rejects_{reject.stage}_{reject.reason}").inc()
        self._teller.tell(done=rows, rejected=rejected, size=done.source_bytes)


@dataclass(eq=False)  # not frozen: Beam writes into its transforms
class WriteInventory(beam.PTransform):  # type: ignore[misc]
    """Gathers the shards' records into the inventory; fails above the allowed reject share."""

    job: EmbedJob

    def expand(self, done: beam.PCollection) -> beam.PCollection:
        return (
            done
            | "GatherShards" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "WriteInventory" >> beam.Map(_write_inventory, self.job)
        )


def _write_inventory(done: Iterable[ShardDone], job: EmbedJob) -> str:
    return manifest.write_inventory(job.root, inventory_of(done, job))


@dataclass(eq=False)  # not frozen: Beam writes into its transforms
class EncodeShards(beam.PTransform):  # type: ignore[misc]
    """Shard names -> (name, sha256 of its code file), each made under the quantizer if missing."""

    root: str
    quantizer: str
    progress_port: int | None = None

    def expand(self, names: beam.PCollection) -> beam.PCollection:
        return (
            names
            | "SpreadNames" >> beam.Reshuffle()
            | "EncodeShard"
            >> beam.ParDo(_EncodeShard(self.root, self.quantizer, self.progress_port, Shared()))
        )


class _EncodeShard(beam.DoFn):  # type: ignore[misc]
    def __init__(self, root: str, quantizer: str, port: int | None, shared: Shared) -> None:
        self._root, self._quantizer, self._port, self._shared = root, quantizer, port, shared

    def setup(self) -> None:
        root, name = self._root, self._quantizer
        # Only read from, never added to: each shard is encoded by a clone of its inverted lists.
        self._trained = self._shared.acquire(lambda: load_quantizer(root, name), tag=name)
        self._teller = Teller(self._port)

    def teardown(self) -> None:
        self._teller.close()

    def process(self, shard: str) -> Iterator[tuple[str, str]]:
        rows, sha256 = encode_shard(self._root, self._trained, shard)
        Metrics.counter(_NAMESPACE, "rows_encoded").inc(rows)
        self._teller.tell(done=rows)
        yield shard, sha256


@dataclass(eq=False)  # not frozen: Beam writes into its transforms
class WriteGeneration(beam.PTransform):  # type: ignore[misc]
    """Gathers the code files' checksums and writes the manifest; yields the generation's name."""

    root: str
    inventory: str
    quantizer: QuantizerRecord

    def expand(self, codes: beam.PCollection) -> beam.PCollection:
        return (
            codes
            | "GatherCodes" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "WriteGeneration"
            >> beam.Map(_write_generation, self.root, self.inventory, self.quantizer)
        )


def _write_generation(
    codes: Iterable[tuple[str, str]], root: str, inventory: str, quantizer: QuantizerRecord
) -> str:
    return write_generation(root, inventory, quantizer, dict(codes))
