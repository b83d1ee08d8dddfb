"""A tile's picture as a browser shows it, cut from the source that was indexed.

Only sources that the index names are opened, never anything out of a request.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from featurizer import storage
from featurizer.errors import PixelError, StorageError
from featurizer.pixels import Rgb, Stretch
from featurizer.tiles import Window
from serving.service import SourceGoneError

if TYPE_CHECKING:
    from serving.engine.search import SearchEngine, Tile

ImageFormat = Literal["jpeg", "png"]
MAX_SIZE_PX = 4096
_JPEG_QUALITY = 88


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture."""

    data: bytes
    media_type: str


def tile_picture(
    engine: SearchEngine, row: int, tile: Tile, size_px: int | None, image_format: ImageFormat
) -> Picture:
    """The tile's pixels, its longer side at most ``size_px``; never enlarged.

    SourceGoneError when the source is missing or no longer holds the tile.
    """
    try:
        if tile.window is None:
            pixels = _whole(tile.uri)
        else:
            stretch = engine.stretch_of(row)
            pixels = _window(tile.uri, tile.window, stretch, engine.tiling_of(row))
    except (PixelError, StorageError) as error:
        raise SourceGoneError(
            f"{tile.uri} was indexed but can no longer be read ({error}): put it back, or index "
            "the archive again without it"
        ) from error
    return encode(pixels, size_px, image_format)


def _whole(uri: str) -> Rgb:
    from featurizer.decode import decode

    (decoded,) = decode([storage.read_bytes(uri)])
    if isinstance(decoded, PixelError):
        raise decoded
    return decoded.pixels


def _window(uri: str, window: Window, stretch: Stretch | None, tiling: Mapping[str, Any]) -> Rgb:
    from featurizer.rasters import RasterOptions, open_scene

    bands = tiling.get("bands")
    options = RasterOptions(
        bands=None if bands is None else tuple(bands), scale=tiling.get("scale", "auto")
    )
    with open_scene(uri, options, stretch) as scene:
        pixels, _ = scene.read(window)
    return pixels


def encode(pixels: Rgb, size_px: int | None, image_format: ImageFormat) -> Picture:
    """(h, w, 3) uint8 -> JPEG or PNG, scaled down with antialiasing where it is larger."""
    image = Image.fromarray(pixels)
    if size_px is not None and max(image.size) > size_px:
        scale = size_px / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    sink = io.BytesIO()
    if image_format == "png":
        image.save(sink, "PNG", compress_level=3)
    else:
        image.save(sink, "JPEG", quality=_JPEG_QUALITY)
    return Picture(sink.getvalue(), f"image/{image_format}")
