"""The command line of the training: its options, and what they may not be."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from featurizer.errors import UsageError
from featurizer.training.loop import Recipe

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
    """The command line as a Config.

    argparse exits with 2 where it does not parse; UsageError where a value cannot be meant.
    """
    parser = argparse.ArgumentParser(
        prog="python -m featurizer.training.terra128",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_files(parser)
    _add_recipe(parser, Recipe())
    _add_manner(parser)
    given = vars(parser.parse_args(argv))
    chosen = {f.name: given.pop(f.name) for f in fields(Recipe) if f.name in given}
    return _checked(Config(data=tuple(given.pop("data")), recipe=Recipe(**chosen), **given))


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        required=True,
        metavar="FOLDER",
        help="folder of class folders; give it again for each further one",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="where the weights go (safetensors, float16, about 10 MB); replaced in one rename;"
        " FILE.checkpoint holds the state after each epoch until then",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        metavar="FILE",
        help="state dict of torchvision's mobilenet_v2 whose features the network also learns to"
        " tell, for the sake of imagery unlike the folders' (default: none)",
    )


def _add_recipe(parser: argparse.ArgumentParser, default: Recipe) -> None:
    """Options whose name, type and default are those of a field of the recipe."""
    texts = {
        "epochs": "how many times as many images are seen as there are",
        "seed": "decides first weights, batches and views",
        "batch": "images per step",
        "learning_rate": "of AdamW, at its peak",
        "teacher_weight": "of the teacher's loss beside the classes'",
    }
    for name, text in texts.items():
        value = getattr(default, name)
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=type(value),
            default=value,
            help=text + " (default %(default)s)",
        )


def _add_manner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto takes a GPU where there is one (default %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        help="of torch on the CPU (default: its own choice); on a busy machine fewer are faster",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from FILE.checkpoint if there is one; other --epochs are allowed",
    )
    parser.add_argument(
        "--measure-only",
        action="store_true",
        help="train nothing: measure the weights at --out on the folders' held-out quarters",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="read the folders, say what would be trained, write nothing",
    )


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
