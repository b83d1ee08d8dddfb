"""The verbs of ``python -m featurizer``: one JSON line each on stdout, the rest on stderr."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from featurizer import storage
from featurizer.errors import (
    EmbeddingError,
    PixelError,
    SourceError,
    StorageError,
    UsageError,
    WorldsiftError,
)
from featurizer.options import add_network, add_output, featurizer_options

if TYPE_CHECKING:
    from featurizer.embed import Featurizer

_CHUNK = 64


def main(argv: list[str] | None = None) -> int:
    """0 when done, 1 with one line on stderr for what the user can mend, 2 for usage."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", force=True)
    # What GDAL grumbles about a file stands in rejects.parquet when it matters.
    logging.getLogger("rasterio").setLevel(logging.ERROR)
    args = parser().parse_args(argv)
    try:
        verb = {"embed": _embed, "describe": _describe, "fit-projection": _fit}[args.verb]
        for record in verb(args):
            print(json.dumps(record), flush=True)
    except WorldsiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m featurizer",
        description="Pictures to vectors: what a featurizer is, and a few vectors by hand.",
        allow_abbrev=False,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name,
            help=text,
            description=text,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )

    describe = verb("describe", "Print a featurizer's spec and fingerprint.")
    embed = verb("embed", "Print the vector of each picture, one JSON line a picture.")
    for made in (describe, embed):
        add_output(add_network(made))
    embed.add_argument("images", nargs="+", help="paths or URLs")
    fit = verb("fit-projection", "Fit a PCA projection on a sample of pictures.")
    add_network(fit)
    fit.add_argument("source", help="folder or URL with pictures")
    fit.add_argument("--dim", type=int, required=True, help="dimensions to keep")
    fit.add_argument("--sample", type=int, default=4000, help="pictures to fit on")
    fit.add_argument("--output", required=True, help="file to write (.safetensors)")
    return top


def _featurizer(args: argparse.Namespace) -> Featurizer:
    from featurizer.embed import make_featurizer

    return make_featurizer(featurizer_options(args), args.device)


def _describe(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    featurizer = _featurizer(args)
    yield {
        "fingerprint": featurizer.spec.fingerprint,
        "device": str(featurizer.device),
        "dtype": str(featurizer.dtype).removeprefix("torch."),
        **featurizer.spec.to_json(),
    }


def _embed(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    import numpy as np

    from featurizer.decode import decode

    featurizer = _featurizer(args)
    for start in range(0, len(args.images), _CHUNK):
        uris = [storage.normalise(uri) for uri in args.images[start : start + _CHUNK]]
        for uri, data in zip(uris, storage.read_many(uris), strict=True):
            if isinstance(data, StorageError):
                raise data
            (found,) = decode([data])
            if isinstance(found, PixelError):
                raise SourceError(f"{uri}: {found.reason}: {found.detail}")
            vector = featurizer.embed([found.pixels])[0]
            if not np.isfinite(vector).all():
                raise EmbeddingError(f"{uri}: {args.backbone} gives no usable vector for it")
            yield {"uri": uri, "vector": vector.tolist()}


def _fit(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Fitted on raw features, as it is applied, of the pictures whose uri hashes lowest."""
    import numpy as np
    from tqdm import tqdm

    from featurizer.decode import decode
    from featurizer.projection import fit_pca

    if min(args.dim, args.sample) < 1:
        raise UsageError(f"--dim {args.dim} --sample {args.sample}: both are at least 1")
    source = storage.normalise(args.source)
    uris = sorted((entry.uri for entry in storage.walk(source)), key=_hash)[: args.sample]
    featurizer = _featurizer(args)
    parts = []
    for start in tqdm(range(0, len(uris), _CHUNK), "embedding", unit="batch", leave=False):
        read = storage.read_many(uris[start : start + _CHUNK])
        found = decode([data for data in read if isinstance(data, bytes)])
        pixels = [one.pixels for one in found if not isinstance(one, PixelError)]
        parts.append(featurizer.embed(pixels))
    if not parts or not (features := np.concatenate(parts)).size:
        raise SourceError(f"{source}: no picture here could be decoded")
    features = features[np.isfinite(features).all(axis=1)]
    projection = fit_pca(features, args.dim)
    kept = float(projection.apply(features).var(axis=0).sum() / features.var(axis=0).sum())
    storage.write_bytes(storage.normalise(args.output), projection.to_bytes())
    yield {
        "verb": "fit-projection",
        "output": args.output,
        "pictures": len(features),
        "from": features.shape[1],
        "to": args.dim,
        "variance_kept": round(kept, 4),
    }


def _hash(uri: str) -> bytes:
    return hashlib.sha256(uri.encode()).digest()
