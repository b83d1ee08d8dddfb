"""Runs the Beam jobs and says what came of them.  Parsing is elsewhere; so is the work."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam

from featurizer import manifest, shards, storage
from featurizer.errors import UsageError
from featurizer.manifest import Inventory
from featurizer.stored import read_spec
from pipeline import transforms
from pipeline.config import EmbedJob, RunnerOptions
from pipeline.index.parameters import IndexOptions, choose
from pipeline.index.train import FOLDER as QUANTIZERS
from pipeline.index.train import QuantizerRecord, quantizer_name, read_record, train
from pipeline.progress import ProgressBar
from pipeline.runner import counter, run


@dataclass(frozen=True, slots=True)
class EmbedSummary:
    """One embed run: what the archive is now, and what this run added to it."""

    inventory: str
    content: Inventory
    embedded: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        content = self.content
        return {
            "verb": "embed",
            "inventory": self.inventory,
            "featurizer": content.featurizer,
            "shards": len(content.shards),
            "rows": content.rows,
            "embedded_now": self.embedded,
            "rejected": sum(content.rejects.values()),
            "rejects": content.rejects,
            "dropped_null": content.dropped_null,
            "source_bytes": content.source_bytes,
            "seconds": round(self.seconds, 2),
            "images_per_s": round(self.embedded / self.seconds, 1),
            "bytes_per_s": round(_share(self, content) * content.source_bytes / self.seconds),
        }


def _share(summary: EmbedSummary, content: Inventory) -> float:
    return summary.embedded / max(1, content.rows)


def run_embed(job: EmbedJob, runner: RunnerOptions) -> EmbedSummary:
    """Source -> shards and inventory; the featurizer must be saved under the root already."""
    begin = time.perf_counter()
    with ProgressBar("embedding", " img", runner.progress) as bar:
        told = replace(job, progress_port=bar.port)

        def build(pipeline: beam.Pipeline) -> None:
            plans = pipeline | transforms.PlanShards(told)
            plans | transforms.EmbedShards(told) | transforms.WriteInventory(told)

        result = run(build, runner)
    name = manifest.latest_inventory(job.root)
    content = manifest.read_inventory(job.root, name)
    return EmbedSummary(name, content, counter(result, "images"), time.perf_counter() - begin)


def run_train(root: str, options: IndexOptions, progress: bool) -> QuantizerRecord:
    """A quantizer for the newest inventory."""
    inventory = manifest.read_inventory(root, manifest.latest_inventory(root))
    dim = shards.read_record(root, inventory.shards[0].name).dim
    parameters = choose(inventory.rows, dim, options)
    return train(root, inventory, dim, parameters, progress)


def find_quantizer(root: str, inventory: Inventory, name: str | None) -> QuantizerRecord:
    """The quantizer called ``name``, or the one trained on this inventory."""
    if name is not None:
        return read_record(root, name)
    found = []
    for candidate in storage.names(storage.join(root, QUANTIZERS)):
        if storage.exists(storage.join(root, QUANTIZERS, candidate, "quantizer.json")):
            record = read_record(root, candidate)
            if candidate == quantizer_name(inventory, record.index):
                found.append(record)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"{root}: no quantizer was trained on the newest inventory: run `python -m pipeline "
            f"train {root}`, or name an older one with --quantizer"
        )
    names = ", ".join(record.name for record in found)
    raise UsageError(f"{root}: several quantizers fit ({names}): name one with --quantizer")


def run_encode(root: str, quantizer: str | None, runner: RunnerOptions) -> str:
    """Codes of every shard of the newest inventory, and the manifest; the generation's name."""
    inventory_name = manifest.latest_inventory(root)
    inventory = manifest.read_inventory(root, inventory_name)
    record = find_quantizer(root, inventory, quantizer)
    read_spec(root, inventory.featurizer)  # fail before the work, not after it
    names = [shard.name for shard in inventory.shards]
    with ProgressBar("encoding", " rows", runner.progress) as bar:
        bar.expect(inventory.rows)

        def build(pipeline: beam.Pipeline) -> None:
            codes = pipeline | "Shards" >> beam.Create(names)
            codes = codes | transforms.EncodeShards(root, record.name, bar.port)
            codes | transforms.WriteGeneration(root, inventory_name, record)

        run(build, runner)
    return manifest.latest_generation(root)
