"""Command-line arguments -> records.  Nothing is read, listed or loaded here."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import get_args

from featurizer.bands import RasterOptions
from featurizer.options import add_network, add_output
from pipeline.config import LabelRule, RunnerOptions, SourceOptions, TileMode
from pipeline.index.parameters import IndexOptions
from pipeline.tiling import TilingOptions

DESCRIPTION = "An archive of imagery becomes a searchable index, on Apache Beam."
EPILOG = """\
examples:
  python -m pipeline index photos/ archive/                 all steps in one go
  python -m pipeline embed gs://bucket/scenes gs://bucket/archive --tile always --bands 4,3,2
  python -m pipeline embed list.csv archive/ --backbone resnet50 --weights resnet50.pth --workers 4
  python -m pipeline embed photos/ archive/ -- --runner=FlinkRunner --flink_master=host:8081

What is finished is never done twice: after an interruption, run the same command again.
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A verb and its parsed arguments; Beam's own flags apart."""

    verb: str
    args: argparse.Namespace
    beam_flags: tuple[str, ...]

    @property
    def runner(self) -> RunnerOptions:
        return RunnerOptions(
            workers=self.args.workers,
            beam_flags=self.beam_flags,
            progress=not self.args.no_progress,
        )

    @property
    def source(self) -> SourceOptions:
        args = self.args
        return SourceOptions(
            uri=args.source,
            tile=args.tile,
            labels=args.labels,
            tiling=TilingOptions(args.tile_px, args.stride_px, args.max_null),
            raster=RasterOptions(bands=args.bands, scale=args.scale),
        )

    @property
    def index(self) -> IndexOptions:
        args = self.args
        return IndexOptions(args.nlist, args.code_bytes, args.nprobe, args.training_rows)


def parse(argv: list[str]) -> Command:
    """The command that ``argv`` means; what stands after a bare ``--`` is Beam's."""
    beam_flags: list[str] = []
    if "--" in argv:
        cut = argv.index("--")
        argv, beam_flags = argv[:cut], argv[cut + 1 :]
    args = _parser().parse_args(argv)
    return Command(args.verb, args, tuple(beam_flags))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )
        made.add_argument("--no-progress", action="store_true", help="no progress bars on stderr")
        return made

    embed = verb("embed", "read SOURCE, write its vectors as shards under ROOT")
    index = verb("index", "embed, train, encode and publish in one go")
    for made in (embed, index):
        made.add_argument("source", help="folder, raster, or .csv/.parquet list; path or URL")
        _add_root(made)
        _add_source(made)
        add_output(add_network(made))
        _add_embed(made)
    train = verb("train", "train the quantizer of the newest inventory on a sample of its vectors")
    encode = verb("encode", "write the codes of each shard, and the generation's manifest")
    publish = verb("publish", "check a generation's files and make it the one that is served")
    verify = verb("verify", "check every file of a generation against its checksums")
    for made in (train, encode, publish, verify):
        _add_root(made)
    for made in (train, index):
        _add_index(made)
    encode.add_argument("--quantizer", help="default: the one trained on the newest inventory")
    for made in (publish, verify):
        made.add_argument("--generation", help="default: the newest")
    publish.add_argument("--min-recall", type=float, help="refuse below this evaluated recall@10")
    for made in (embed, index, encode):
        made.add_argument("--workers", type=int, default=1, help="processes on this machine")
    return parser


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", help="where the archive's index is kept; path or URL")


def _add_source(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("imagery")
    group.add_argument(
        "--tile",
        choices=get_args(TileMode),
        default="auto",
        help="cut large pictures into tiles; auto: GeoTIFF and JPEG 2000 larger than one tile, "
        "other formats from 2,048 px on (photographs: use never)",
    )
    group.add_argument("--tile-px", type=int, default=256, help="side of a tile")
    group.add_argument("--stride-px", type=int, default=128, help="from one tile to the next")
    group.add_argument("--max-null", type=float, default=0.5, help="drop tiles with more null")
    group.add_argument(
        "--bands", type=_bands, help="1-based bands to show as red,green,blue, e.g. 4,3,2"
    )
    group.add_argument(
        "--scale",
        type=_scale,
        default="auto",
        help="auto: percentiles 2 and 98 of each band, for 16-bit and float; none; or LOW,HIGH",
    )
    group.add_argument(
        "--labels",
        choices=get_args(LabelRule),
        default="parent",
        help="which folder names a picture's class",
    )


def _add_embed(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("job")
    group.add_argument("--shard-rows", type=int, default=4096, help="most tiles in one shard")
    group.add_argument("--batch", type=int, default=64, help="tiles that go through together")
    group.add_argument("--threads", type=int, help="a process; default: cores / workers")
    group.add_argument(
        "--max-reject-share", type=float, default=0.1, help="fail when more inputs are unusable"
    )
    group.add_argument("--dry-run", action="store_true", help="list and plan, write nothing")


def _add_index(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("index", "defaults are chosen from rows and dimensions")
    group.add_argument("--nlist", type=int, help="inverted lists")
    group.add_argument("--code-bytes", type=int, help="bytes a vector's code; divides its length")
    group.add_argument("--nprobe", type=int, help="lists that a query looks into")
    group.add_argument("--training-rows", type=int, help="vectors that train the quantizer")


def _bands(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if len(parts) not in (1, 3) or not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text!r}: give one band or three, counted from 1, e.g. 4,3,2"
        )
    return tuple(int(part) for part in parts)


def _scale(text: str) -> str | tuple[float, float]:
    if text in ("auto", "none"):
        return text
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give auto, none, or two numbers, e.g. 0,3000 (negative: --scale=-20,30)"
        ) from error
    if not low < high:
        raise argparse.ArgumentTypeError(f"{text!r}: the lower number comes first")
    return low, high
