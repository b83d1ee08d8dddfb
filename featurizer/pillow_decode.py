"""Pixels by Pillow: formats that nvImageCodec lacks or gets wrong, and a second try at the rest."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from featurizer.errors import PixelError
from featurizer.pixels import Mask

# Named, because Pillow's full list holds plugins that start other programs (EPS).
_PLUGINS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

# What Pillow's plugins let out on damaged bytes: they index, unpack and divide by what they read.
# A warning is among them where the process turns warnings into errors.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def decode_pillow(data: bytes, max_pixels: int) -> tuple[NDArray[Any], Mask | None]:
    """The first frame, turned as its EXIF orientation says, and where its alpha is not 0.

    Values are (h, w, 3) uint8, or (h, w, 1) of the file's own depth where that is more than 8
    bits.  Alpha is dropped, not blended; the mask is None where there is no alpha.  The size is
    checked before any pixel is decoded.  PixelError: ``unknown-format``, ``too-large``,
    ``unsupported``, ``corrupt``.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_PLUGINS) as image:
            if image.width * image.height > max_pixels:
                raise PixelError("too-large", f"{image.width} x {image.height} pixels")
            return _values(ImageOps.exif_transpose(image))
    except _BOMBS as error:
        raise PixelError("too-large", str(error)) from error
    except UnidentifiedImageError as error:
        raise PixelError("unknown-format", "Pillow knows no such image") from error
    except _DAMAGE as error:
        raise PixelError(_reason(error), f"{type(error).__name__}: {error}") from error


def _values(image: Image.Image) -> tuple[NDArray[Any], Mask | None]:
    if image.mode == "F" or image.mode.startswith("I"):
        return np.asarray(image)[:, :, None], None
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return np.ascontiguousarray(rgba[:, :, :3]), rgba[:, :, 3] != 0
    return np.asarray(image.convert("RGB")), None


def _reason(error: BaseException) -> str:
    text = str(error).lower()
    known_but_not_done = ("unsupported", "not supported", "unknown compression")
    return "unsupported" if any(word in text for word in known_but_not_done) else "corrupt"
