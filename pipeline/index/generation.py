"""Inventory + quantizer + codes -> a generation; checks of all of it; publishing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from featurizer import manifest, shards, storage
from featurizer.errors import ContractError, GenerationError, WorldsiftError
from featurizer.manifest import Generation, GenerationShard, Inventory
from featurizer.stored import read_spec
from pipeline.index.encode import codes_path, load_quantizer, read_codes
from pipeline.index.train import QuantizerRecord


def write_generation(
    root: str, inventory_name: str, quantizer: QuantizerRecord, codes: Mapping[str, str]
) -> str:
    """Writes the manifest of this inventory under this quantizer; its name.

    ``codes``: sha256 of each shard's code file.  When the newest generation is the same in all
    but its parent, that one is meant, and nothing is written.
    """
    inventory = manifest.read_inventory(root, inventory_name)
    made = Generation(
        inventory=inventory_name,
        quantizer=quantizer.name,
        quantizer_sha256=quantizer.sha256,
        featurizer=read_spec(root, inventory.featurizer),
        index=quantizer.index,
        shards=tuple(_described(root, inventory, codes)),
    )
    existing = storage.names(storage.join(root, manifest.GENERATIONS))
    if existing:
        name = manifest.latest_generation(root)
        latest = manifest.read_generation(root, name)
        if replace(latest, parent=None) == made:
            return name
        _check_unchanged(root, latest, made)
    published = storage.exists(storage.join(root, manifest.CURRENT))
    parent = manifest.current_generation(root) if published else None
    return manifest.write_generation(root, replace(made, parent=parent))


def _check_unchanged(root: str, old: Generation, new: Generation) -> None:
    """ContractError when a code file that both hold is another than it was: it was damaged."""
    if old.quantizer != new.quantizer:
        return
    before = {shard.name: shard.codes for shard in old.shards}
    for shard in new.shards:
        if before.get(shard.name, shard.codes) != shard.codes:
            raise ContractError(_other_codes(codes_path(root, new.quantizer, shard.name)))


def _other_codes(place: str) -> str:
    return f"{place}: its sha256 is not the one in the manifest; remove it and encode again"


def _described(
    root: str, inventory: Inventory, codes: Mapping[str, str]
) -> Iterator[GenerationShard]:
    for shard in inventory.shards:
        record = shards.read_record(root, shard.name)
        yield GenerationShard(
            name=shard.name,
            rows=shard.rows,
            vectors=record.files[shards.VECTORS].sha256,
            rows_file=record.files[shards.ROWS].sha256,
            codes=codes[shard.name],
        )


def faults(root: str, generation: Generation) -> Iterator[str]:
    """What is wrong with the generation's files, one line each; none when all is well.

    Reads every byte: vectors, rows, codes and quantizer against the manifest, and the vectors
    themselves (finite; of unit length where the metric is cosine).
    """
    try:
        trained = load_quantizer(root, generation.quantizer)
        if trained.record.sha256 != generation.quantizer_sha256:
            yield f"quantizer {generation.quantizer}: not the one that the manifest names"
    except WorldsiftError as error:
        yield str(error)
    for shard in generation.shards:
        try:
            yield from _shard_faults(root, generation, shard)
        except WorldsiftError as error:
            yield str(error)


def _shard_faults(root: str, generation: Generation, shard: GenerationShard) -> Iterator[str]:
    record = shards.read_record(root, shard.name)
    place = shards.directory(root, shard.name)
    if record.files[shards.VECTORS].sha256 != shard.vectors:
        yield f"{place}/{shards.VECTORS}: the marker and the manifest disagree"
    if record.files[shards.ROWS].sha256 != shard.rows_file:
        yield f"{place}/{shards.ROWS}: the marker and the manifest disagree"
    if record.featurizer != generation.featurizer.fingerprint:
        yield f"{place}: of featurizer {record.featurizer}"
    vectors = shards.read_vectors(root, record).astype(np.float32)
    shards.read_rows(root, record)
    shards.read_rejects(root, record)
    if not np.isfinite(vectors).all():
        yield f"{place}/{shards.VECTORS}: holds values that are not finite"
    if generation.featurizer.metric == "cosine":
        off = np.abs(np.linalg.norm(vectors, axis=1) - 1.0).max(initial=0.0)
        if off > 1e-2:
            yield f"{place}/{shards.VECTORS}: a vector's length is off 1 by {off:.3f}"
    codes = read_codes(root, generation.quantizer, shard.name)
    if storage.sha256(codes) != shard.codes:
        yield _other_codes(codes_path(root, generation.quantizer, shard.name))


def publish(root: str, name: str, min_recall: float | None) -> Generation:
    """Makes ``name`` the served generation, after checking it.

    GenerationError, with CURRENT untouched, when a file is not what the manifest says, or when
    ``min_recall`` is asked for and the evaluation is missing or below it.
    """
    generation = manifest.read_generation(root, name)
    if min_recall is not None:
        _check_recall(root, name, min_recall)
    wrong = list(faults(root, generation))
    if wrong:
        more = f" (and {len(wrong) - 1} more: `python -m pipeline verify {root}`)"
        raise GenerationError(
            f"generation {name} is not published: {wrong[0]}{more if len(wrong) > 1 else ''}"
        )
    if not _is_current(root, name):
        manifest.set_current(root, name)
    return generation


def _is_current(root: str, name: str) -> bool:
    place = storage.join(root, manifest.CURRENT)
    return (
        storage.exists(place)
        and storage.read_bytes(place).decode("utf-8", "replace") == f"{name}\n"
    )


def _check_recall(root: str, name: str, least: float) -> None:
    place = manifest.evaluation_path(root, name)
    if not storage.exists(place):
        raise GenerationError(
            f"{place}: missing, so --min-recall cannot be checked: run "
            f"`python -m serving evaluate {root}` first"
        )
    try:
        recall = json.loads(storage.read_bytes(place))["recall_at_10"]
        enough = recall is not None and float(recall) >= least
    except (ValueError, TypeError, KeyError) as error:
        raise GenerationError(
            f"{place}: holds no recall_at_10 ({type(error).__name__}: {error}): run "
            f"`python -m serving evaluate {root}` again"
        ) from error
    if not enough:
        raise GenerationError(
            f"generation {name}: recall@10 is {recall}, below --min-recall {least}: raise "
            "--nprobe or --code-bytes in train, or accept less"
        )
