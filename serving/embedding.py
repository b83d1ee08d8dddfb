"""Uploaded pictures: from a file to what the model takes, and what it gave to a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from featurizer.errors import PixelError
from featurizer.formats import probe, sniff
from featurizer.pixels import Rgb
from serving.failures import ImageRefusedError
from serving.operations.metrics import stage
from serving.query import embedding_text
from serving.query.question import Vector

if TYPE_CHECKING:
    from featurizer.bands import RasterOptions
    from featurizer.decode import DecodeLimits
    from featurizer.embed import Featurizer
    from featurizer.spec import FeaturizerSpec

_RASTERS = ("tiff", "jp2")  # others hold colours, of which an archive's bands say nothing


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """A picture's file as a client sent it, and what it weighs as an example."""

    name: str
    data: bytes
    weight: float = 1.0


def prepared(
    upload: Upload, featurizer: Featurizer, limits: DecodeLimits, options: RasterOptions | None
) -> Any:
    """The picture as ``featurizer.preprocess`` gives it; ImageRefusedError without pixels.

    At the model's size at once, since it may wait for the model in any number.  ``options``: how
    the archive's rasters were read, where that is not the default.
    """
    with stage("decode"):
        try:
            pixels = _decoded(upload, limits, options)
        except PixelError as error:
            raise ImageRefusedError(upload.name, error.reason, error.detail) from error
        return featurizer.preprocess([pixels])


def checked(upload: Upload, vector: Vector, spec: FeaturizerSpec) -> Vector:
    """The picture's vector out of the model's; ImageRefusedError where it gave none.

    Rounded as its text is, so that a search by the text goes on exactly where the one by the
    picture stopped.
    """
    if not np.isfinite(vector).all():
        raise ImageRefusedError(upload.name, "no-vector", "the model sees nothing in it")
    text = embedding_text.to_text(vector, spec.fingerprint)
    return embedding_text.from_text(text, spec)


def _decoded(upload: Upload, limits: DecodeLimits, options: RasterOptions | None) -> Rgb:
    from featurizer.decode import decode

    if options is not None and sniff(upload.data) in _RASTERS:
        try:
            return _as_indexed(upload, limits, options)
        except PixelError as error:
            if error.reason != "unsupported":  # it has not the archive's bands: shown as it is
                raise
    (found,) = decode([upload.data], limits)
    if isinstance(found, PixelError):
        raise found
    return found.pixels


def _as_indexed(upload: Upload, limits: DecodeLimits, options: RasterOptions) -> Rgb:
    """The whole raster by the bands and scale that made the archive."""
    from featurizer.rasters import open_scene_bytes
    from featurizer.tiles import Window

    if len(upload.data) > limits.max_bytes:
        raise PixelError("too-large", f"{len(upload.data)} bytes, more than {limits.max_bytes}")
    header = probe(upload.data)  # opening already looks at pixels, to find the stretch
    _check_size(header.width, header.height, limits)
    with open_scene_bytes(upload.data, upload.name, options) as scene:
        _check_size(scene.info.width, scene.info.height, limits)
        pixels, _ = scene.read(Window(0, 0, scene.info.width, scene.info.height))
    return pixels


def _check_size(width: int, height: int, limits: DecodeLimits) -> None:
    if width * height > limits.max_pixels:
        raise PixelError("too-large", f"{width} x {height} pixels, more than {limits.max_pixels}")
