"""From parsed arguments to an embed job, its featurizer saved where workers find it."""

from __future__ import annotations

from typing import Any

from featurizer.options import featurizer_options
from featurizer.stored import save_featurizer
from pipeline.config import EmbedJob
from pipeline.options import Command
from pipeline.plan import plan_shards
from pipeline.sources import list_items


def job_of(command: Command) -> EmbedJob:
    """The job; its featurizer is built once here, which also tells that its weights fit."""
    from featurizer.embed import make_featurizer

    args = command.args
    _job(command, "unknown")  # numbers out of range fail before anything is written
    next(list_items(command.source))  # an empty or missing source fails before anything is written
    featurizer = make_featurizer(featurizer_options(args), args.device)
    save_featurizer(args.root, featurizer)
    return _job(command, featurizer.spec.fingerprint)


def _job(command: Command, fingerprint: str) -> EmbedJob:
    from pipeline.runner import cores

    args = command.args
    return EmbedJob(
        source=command.source,
        root=args.root,
        featurizer=fingerprint,
        shard_rows=args.shard_rows,
        batch=args.batch,
        threads=max(1, cores() // args.workers) if args.threads is None else args.threads,
        device=args.device,
        max_reject_share=args.max_reject_share,
    )


def dry_run(command: Command) -> dict[str, Any]:
    """What the source holds and how it would be divided, from listing and headers alone."""
    job = _job(command, "unknown")
    kinds = {"image": 0, "scene": 0, "windows": 0}
    size = shards = rows = 0
    for plan in plan_shards(list_items(job.source), job.shard_rows, job.settings):
        shards += 1
        for item in plan.items:
            kinds[item.kind] += item.rows
            rows += item.rows
            size += item.size if item.start == 0 else 0
    return {
        "verb": "embed",
        "dry_run": True,
        "source": job.source.uri,
        "images": kinds["image"] + kinds["scene"],
        "windows": kinds["windows"],
        "rows_at_most": rows,
        "shards": shards,
        "source_bytes": size,
    }
