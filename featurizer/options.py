"""The command-line options that name a featurizer, the same wherever one is asked for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from featurizer import storage
from featurizer.projection import Projection
from featurizer.spec import METRICS, RESIZE_RULES

if TYPE_CHECKING:
    from featurizer.embed import FeaturizerOptions


def add_network(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Options that choose the network and where it runs."""
    group = parser.add_argument_group("featurizer")
    group.add_argument(
        "--backbone", default="terra128", help="terra128, a torchvision model, or exported (.pt2)"
    )
    group.add_argument("--weights", help="file (state dict, safetensors, .pt2), or random:SEED")
    group.add_argument("--layer", default="penultimate", help="or a node name of the network")
    group.add_argument("--input-px", type=int, help="side the network sees; default: its own")
    group.add_argument("--resize", choices=RESIZE_RULES, default="stretch", help="or centre crop")
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if any"
    )
    return group


def add_output(group: argparse._ArgumentGroup) -> None:
    """Options that say what becomes of the network's features."""
    group.add_argument("--metric", choices=METRICS, default="cosine", help="euclidean: raw output")
    group.add_argument("--projection", help="file of `python -m featurizer fit-projection`")


def featurizer_options(args: argparse.Namespace) -> FeaturizerOptions:
    """What the arguments mean, the projection read; raw features where there is no ``metric``."""
    from featurizer.backbones import BackboneRequest
    from featurizer.embed import FeaturizerOptions

    projection = None
    if (given := getattr(args, "projection", None)) is not None:
        place = storage.normalise(given)
        projection = Projection.from_bytes(storage.read_bytes(place), place)
    return FeaturizerOptions(
        backbone=BackboneRequest(args.backbone, args.weights, args.layer, args.input_px),
        resize=args.resize,
        metric=getattr(args, "metric", "euclidean"),
        projection=projection,
    )
