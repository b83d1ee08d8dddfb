"""Trains Terra128 on labelled overhead imagery: ``python -m featurizer.training.terra128``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from featurizer.errors import StorageError, UsageError, WorldsiftError
from featurizer.terra import DIM, INPUT_PX, Terra128
from featurizer.training.augment import resized
from featurizer.training.cli import Config, parse
from featurizer.training.folders import LabelledFolder, read_folder
from featurizer.training.loop import Targets, new_training, normalised, train
from featurizer.training.ranking import retrieval
from featurizer.training.snapshots import (
    load_weights,
    read_checkpoint,
    restore,
    save_checkpoint,
    save_weights,
)
from featurizer.training.teacher import teacher_targets


def _device(choice: str) -> torch.device:
    if choice == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but torch finds no GPU; leave it at auto")
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
        if choice == "cpu":
            print("NO GPU FOUND: this runs on the CPU", file=sys.stderr)
    return torch.device(choice)


def run(config: Config) -> dict[str, Any]:
    """Trains as configured; the result as the JSON line says it."""
    if not config.out.parent.is_dir():
        raise StorageError(f"{config.out.parent}: no such folder for --out; make it first")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = _device(config.device)
    folders = [read_folder(path) for path in config.data]
    if config.dry_run:
        return {"dry_run": True, "training": {f.name: _counts(f) for f in folders}}
    seconds = 0.0
    if not config.measure_only:
        seconds = _train(config, folders, device)
    network = load_weights(config.out)  # what is measured is what was written, float16 and all
    return {
        "architecture": "terra128",
        "out": str(config.out),
        "params": sum(p.numel() for p in network.parameters()),
        "seconds": round(seconds, 1),
        "held_out": {folder.name: _measured(network, folder, device) for folder in folders},
    }


def _counts(folder: LabelledFolder) -> dict[str, int]:
    held = int(folder.held.sum())
    return {"classes": len(folder.classes), "train": len(folder.held) - held, "held_out": held}


def _train(config: Config, folders: Sequence[LabelledFolder], device: torch.device) -> float:
    """Trains and writes the weights; the seconds that the epochs took, resumed ones included."""
    settings = _settings(config, folders)
    state = None
    if config.resume and config.checkpoint.exists():
        state = read_checkpoint(config.checkpoint, settings)
    targets: Targets = [torch.zeros(len(f.labels), 0) for f in folders]
    if state is not None:
        targets = state["targets"]
    elif config.teacher is not None:
        targets = teacher_targets(folders, config.teacher, device)
    training = new_training(folders, targets, config.recipe, device)
    if state is not None:
        restore(training, state)
    train(
        training,
        folders,
        config.recipe,
        device,
        after_epoch=lambda now: save_checkpoint(config.checkpoint, now, settings),
    )
    metadata = {
        "architecture": "terra128",
        "dim": str(DIM),
        "input_px": str(INPUT_PX),
        "training_data": ", ".join(f.name for f in folders),
        "recipe": json.dumps(asdict(config.recipe)),
        "seed": str(config.recipe.seed),
    }
    save_weights(config.out, training.network, metadata)
    config.checkpoint.unlink(missing_ok=True)
    return training.seconds


def _settings(config: Config, folders: Sequence[LabelledFolder]) -> dict[str, Any]:
    """All that must be the same for a checkpoint to be continued, as plain values."""
    settings = {key: repr(value) for key, value in asdict(config.recipe).items()}
    settings["data"] = repr([(f.name, _counts(f)) for f in folders])
    settings["teacher"] = repr(config.teacher.name if config.teacher else None)
    return settings


@torch.inference_mode()
def _measured(
    network: Terra128, folder: LabelledFolder, device: torch.device
) -> dict[str, float | int]:
    """Retrieval inside the held-out quarter, whole images at INPUT_PX."""
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    rows = folder.rows(held=True)
    parts: list[Tensor] = []
    for start in range(0, len(rows), 128):
        pixels = resized(folder.batch(rows[start : start + 128]), INPUT_PX)
        with torch.autocast(device.type, torch.bfloat16):
            parts.append(network(normalised(pixels, device)).float())
    found = retrieval(torch.cat(parts), folder.labels[torch.from_numpy(rows)].to(device))
    return {
        "images": len(rows),
        "mAP": round(found.mean_average_precision, 4),
        "P@10": round(found.precision_at_10, 4),
        "1-NN": round(found.nearest_same_class, 4),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; 0, or 1 after one line about what is wrong."""
    try:
        print(json.dumps(run(parse(argv))), flush=True)
    except WorldsiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
