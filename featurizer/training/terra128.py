"""Trains Terra128 on labelled overhead imagery: ``python -m featurizer.training.terra128``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featurizer.errors import StorageError, UsageError, WorldsiftError
from featurizer.terra import DIM, INPUT_PX, Terra128
from featurizer.training.augment import resized
from featurizer.training.folders import LabelledFolder, read_folder
from featurizer.training.loop import Recipe, Targets, new_training, normalised, train
from featurizer.training.ranking import retrieval
from featurizer.training.snapshots import (
    load_weights,
    read_checkpoint,
    restore,
    save_checkpoint,
    save_weights,
)
from featurizer.training.teacher import teacher_targets

DESCRIPTION = """\
Train the bundled featurizer's network, Terra128, on folders of labelled overhead images.

Each --data FOLDER holds class folders of images: FOLDER/<class>/<file>. A quarter of each folder,
chosen by a hash of "<folder name>/<class>/<file>", is never trained on; retrieval inside it is
measured at the end. The result goes to stdout as one line of JSON, progress to stderr.
"""
EPILOG = """\
examples:
  the bundled weights
    python -m featurizer.training.terra128 --data eurosat_rgb --data ucmerced_jpeg \\
        --teacher mobilenet_v2_features.pth --out terra128.safetensors
  continue after an interruption: the same command with --resume
  measure existing weights on other imagery, without training
    python -m featurizer.training.terra128 --data aid --out terra128.safetensors --measure-only
"""


@dataclass(frozen=True, slots=True)
class Config:
    """One invocation."""

    data: tuple[Path, ...]
    out: Path
    teacher: Path | None = None
    device: str = "auto"
    threads: int | None = None
    resume: bool = False
    measure_only: bool = False
    dry_run: bool = False
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def checkpoint(self) -> Path:
        """Where the state after each epoch lies until the weights are written."""
        return self.out.with_name(self.out.name + ".checkpoint")


def parse(argv: Sequence[str] | None) -> Config:
    """The command line as a Config; argparse exits with 2 where it does not parse."""
    default = Recipe()
    parser = argparse.ArgumentParser(
        prog="python -m featurizer.training.terra128",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", type=Path, action="append", required=True, metavar="FOLDER",
        help="folder of class folders; give it again for each further one")  # fmt: skip
    add("--out", type=Path, required=True, metavar="FILE",
        help="where the weights go (safetensors, float16, about 10 MB); replaced in one rename;"
        " FILE.checkpoint holds the state after each epoch until then")  # fmt: skip
    add("--epochs", type=int, default=default.epochs,
        help="how many times as many images are seen as there are (default %(default)s)")  # fmt: skip
    add("--seed", type=int, default=default.seed,
        help="decides first weights, batches and views (default %(default)s)")  # fmt: skip
    add("--batch", type=int, default=default.batch,
        help="images per step (default %(default)s)")  # fmt: skip
    add("--learning-rate", type=float, default=default.learning_rate,
        help="of AdamW, at its peak (default %(default)s)")  # fmt: skip
    add("--teacher", type=Path, metavar="FILE",
        help="state dict of torchvision's mobilenet_v2 whose features the network also learns to"
        " tell; helps on imagery unlike the folders' (default: none)")  # fmt: skip
    add("--teacher-weight", type=float, default=default.teacher_weight,
        help="of the teacher's loss beside the classes' (default %(default)s)")  # fmt: skip
    add("--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="auto takes a GPU where there is one (default %(default)s)")  # fmt: skip
    add("--threads", type=int, help="of torch on the CPU (default: its own choice)")
    add("--resume", action="store_true",
        help="continue from FILE.checkpoint if there is one; other --epochs are allowed")  # fmt: skip
    add("--measure-only", action="store_true",
        help="train nothing: measure the weights at --out on the folders' held-out quarters")  # fmt: skip
    add("--dry-run", action="store_true",
        help="read the folders, say what would be trained, write nothing")  # fmt: skip
    given = vars(parser.parse_args(argv))
    chosen = {f.name: given.pop(f.name) for f in fields(Recipe) if f.name in given}
    config = Config(data=tuple(given.pop("data")), recipe=Recipe(**chosen), **given)
    return _checked(config)


def _checked(config: Config) -> Config:
    """The same; UsageError where a value cannot be meant."""
    recipe = config.recipe
    for option, value, least in (
        ("--epochs", recipe.epochs, 1),
        ("--seed", recipe.seed, 0),
        ("--batch", recipe.batch, 2),
        ("--threads", 1 if config.threads is None else config.threads, 1),
    ):
        if value < least:
            raise UsageError(f"{option} is {value}, but must be at least {least}")
    if not recipe.learning_rate > 0:
        raise UsageError(f"--learning-rate is {recipe.learning_rate}, but must be above 0")
    if not recipe.teacher_weight >= 0:
        raise UsageError(f"--teacher-weight is {recipe.teacher_weight}, but must not be below 0")
    names = [path.resolve().name for path in config.data]
    if len(set(names)) < len(names):
        raise UsageError(
            f"two --data folders share a name ({', '.join(names)}), and the split goes by it;"
            " rename one"
        )
    return config


def _device(choice: str) -> torch.device:
    if choice == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but torch finds no GPU; leave it at auto")
    wanted = choice if choice != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


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
    network = network.to(device, memory_format=torch.channels_last).eval()
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
