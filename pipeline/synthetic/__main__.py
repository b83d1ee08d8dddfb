"""``python -m pipeline.synthetic ROOT``: make the demo's archive; one JSON line on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from featurizer.errors import WorldsiftError
from pipeline.synthetic.archive import ArchiveParameters, write_archive


def parse(argv: Sequence[str]) -> tuple[Path, ArchiveParameters, bool]:
    """The root, what to make, and whether to show progress.  UsageError for values out of range."""
    default = ArchiveParameters()
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.synthetic",
        description="Make a small archive of procedural, satellite-like imagery.",
        allow_abbrev=False,
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder for images/ and scenes/")
    parser.add_argument(
        "--images-per-class", type=int, default=default.images_per_class, metavar="N"
    )
    parser.add_argument("--size-px", type=int, default=default.size_px, metavar="P")
    parser.add_argument("--seed", type=int, default=default.seed, metavar="S")
    parser.add_argument(
        "--mosaic-px", type=int, nargs=2, default=default.mosaic_px, metavar=("WIDTH", "HEIGHT")
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args(argv)
    width, height = args.mosaic_px
    parameters = ArchiveParameters(
        args.images_per_class, args.size_px, args.seed, (int(width), int(height))
    )
    return args.root, parameters, not args.quiet


def main(argv: Sequence[str]) -> int:
    """The exit status: 0 when the archive is there, 1 with one line on stderr when it is not."""
    try:
        root, parameters, progress = parse(argv)
        summary = write_archive(
            root,
            parameters.images_per_class,
            parameters.size_px,
            parameters.seed,
            progress,
            parameters.mosaic_px,
        )
    except WorldsiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(summary)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
