"""The verbs of ``python -m pipeline``: one JSON line each on stdout, the rest on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from featurizer import manifest, storage
from featurizer.errors import GenerationError, WorldsiftError
from pipeline.options import Command, parse


def main(argv: list[str] | None = None) -> int:
    """0 when done, 1 with one line on stderr for what the user can mend, 2 for usage."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", force=True)
    # What GDAL grumbles about a file stands in rejects.parquet when it matters.
    logging.getLogger("rasterio").setLevel(logging.ERROR)
    # Beam's workers log each failure with every frame, and then raise it: said once, below.
    for name in ("common", "portability", "worker"):
        logging.getLogger(f"apache_beam.runners.{name}").setLevel(logging.CRITICAL + 1)
    command = parse(sys.argv[1:] if argv is None else argv)
    try:
        command.args.root = storage.normalise(command.args.root)
        for record in _VERBS[command.verb](command):
            print(json.dumps(record), flush=True)
    except WorldsiftError as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command continues where this stopped", file=sys.stderr)
        return 130
    return 0


def _embed(command: Command) -> list[dict[str, Any]]:
    from pipeline import jobs
    from pipeline.embedding import dry_run, job_of
    from pipeline.runner import beam_options

    command.args.source = storage.normalise(command.args.source)
    if command.args.dry_run:
        return [dry_run(command)]
    beam_options(command.runner)  # a misspelt flag fails before anything is written
    return [jobs.run_embed(job_of(command), command.runner).to_json()]


def _train(command: Command) -> list[dict[str, Any]]:
    from pipeline import jobs

    begin = time.perf_counter()
    record = jobs.run_train(command.args.root, command.index, not command.args.no_progress)
    return [
        {
            "verb": "train",
            "quantizer": record.name,
            "factory": record.index.factory,
            "nprobe": record.index.nprobe,
            "training_rows": record.index.training_rows,
            "seconds": round(time.perf_counter() - begin, 2),
        }
    ]


def _encode(command: Command) -> list[dict[str, Any]]:
    from pipeline import jobs

    begin = time.perf_counter()
    quantizer = getattr(command.args, "quantizer", None)
    name = jobs.run_encode(command.args.root, quantizer, command.runner)
    generation = manifest.read_generation(command.args.root, name)
    return [
        {
            "verb": "encode",
            "generation": name,
            "quantizer": generation.quantizer,
            "rows": generation.rows,
            "shards": len(generation.shards),
            "seconds": round(time.perf_counter() - begin, 2),
        }
    ]


def _publish(command: Command) -> list[dict[str, Any]]:
    from pipeline.index.generation import publish

    root = command.args.root
    name = getattr(command.args, "generation", None) or manifest.latest_generation(root)
    generation = publish(root, name, getattr(command.args, "min_recall", None))
    return [{"verb": "publish", "generation": name, "rows": generation.rows, "root": root}]


def _verify(command: Command) -> list[dict[str, Any]]:
    from pipeline.index.generation import faults

    root = command.args.root
    name = command.args.generation or manifest.latest_generation(root)
    generation = manifest.read_generation(root, name)
    wrong = list(faults(root, generation))
    for fault in wrong:
        print(f"fault: {fault}", file=sys.stderr)
    if wrong:
        raise GenerationError(f"generation {name}: {len(wrong)} faults, listed above")
    shards = len(generation.shards)
    return [{"verb": "verify", "generation": name, "rows": generation.rows, "shards": shards}]


def _index(command: Command) -> list[dict[str, Any]]:
    if command.args.dry_run:
        return _embed(command)
    done = []
    for step in (_embed, _train, _encode, _publish):
        done += step(command)
        print(json.dumps(done[-1]), file=sys.stderr)
    embed, train, encode, publish = done
    return [{**publish, "verb": "index", "embed": embed, "train": train, "encode": encode}]


_VERBS = {
    "embed": _embed,
    "train": _train,
    "encode": _encode,
    "publish": _publish,
    "verify": _verify,
    "index": _index,
}
