"""Windows of any raster -> 8-bit RGB, a mask of what was measured, and where on Earth it lies.

Files come from anybody.  So the driver is chosen here by the first bytes (a VRT, which may name
any other file or address, is never opened), headers are checked before pixels are asked for,
sidecar files are not looked for, and whatever GDAL says comes out as a ``PixelError``.
"""

from __future__ import annotations

import contextvars
import math
import uuid
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import fsspec
import numpy as np
import rasterio
from fsspec.caching import BlockCache
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.warp import transform_bounds

from featurizer.errors import PixelError, StorageError, UsageError
from featurizer.pixels import (
    Mask,
    Rgb,
    Stretch,
    apply_stretch,
    as_rgb,
    cmyk_as_rgb,
    palette_as_rgba,
    percentile_stretch,
)
from featurizer.tiles import Bounds, Window

MAX_PIXELS = 2**40  # width * height
MAX_BLOCK_BYTES = 2**30  # one compressed block must be decoded whole
STRETCH_PIXELS = 2**20  # at most about so many are looked at for the percentiles
RANGE_BYTES = 2**21  # one request to object storage; so many of them are kept:
RANGES_KEPT = 32
MAX_COORDINATE = 1e9  # PROJ turns 1e15 "metres" round the Earth one turn at a time: for hours

_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_CACHEMAX": 128 * 2**20,  # a process: rows are read once, so more buys nothing
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,  # else what is missing comes back grey
    "GDAL_NUM_THREADS": 1,  # the callers' threads are the parallelism
}
_SIGNATURES = (
    (b"II*\0", "GTiff"),
    (b"MM\0*", "GTiff"),
    (b"II+\0", "GTiff"),
    (b"MM\0+", "GTiff"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
    (b"BM", "BMP"),
)
_CMYK = (ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black)
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
# LookupError, ValueError and so on: what rasterio raises for types and texts it does not expect
_REFUSALS = (RasterioError, CPLE_BaseError, LookupError, ValueError, ArithmeticError, MemoryError)


@dataclass(frozen=True, slots=True)
class RasterOptions:
    """What of the user's options changes pixels.  UsageError for values that cannot be meant.

    ``bands``: one or three, 1-based; None: those marked red, green and blue, else the first three
    that are not alpha, else the first.  ``scale``: "auto" leaves 8 bits as they are and stretches
    all else from its 2nd to its 98th percentile, by scene and band; (low, high) fixes the ends
    for all bands; "none" takes 8-bit data only.
    """

    bands: tuple[int, ...] | None = None
    scale: Literal["auto", "none"] | tuple[float, float] = "auto"

    def __post_init__(self) -> None:
        if self.bands is not None and (len(self.bands) not in (1, 3) or min(self.bands) < 1):
            raise UsageError(f"bands {self.bands}: give one or three band numbers from 1, as 4,3,2")
        if isinstance(self.scale, str):
            if self.scale not in ("auto", "none"):
                raise UsageError(f"scale {self.scale!r}: give auto, none or LOW,HIGH")
        elif not (all(map(math.isfinite, self.scale)) and self.scale[0] != self.scale[1]):
            raise UsageError(f"scale {self.scale}: give two different finite numbers, as 0,3000")


@dataclass(frozen=True, slots=True)
class SceneInfo:
    """What a header says, and what was chosen by it; ``crs`` as EPSG:n or WKT."""

    width: int
    height: int
    bands: tuple[int, ...]
    dtype: str
    crs: str | None
    georeferenced: bool
    stretch: Stretch | None


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which bands are colour, and what in them is null."""

    bands: tuple[int, ...]
    nodata: tuple[float | None, ...]
    alpha: int | None
    masked: bool  # a mask band beside the data
    palette: NDArray[np.uint8] | None  # (n, 4)
    cmyk: bool
    low_bits: Stretch | None  # of 8-bit data that fill fewer bits, or have white as zero
    min_is_white: bool


class Scene:
    """One open raster.  For one thread at a time; close it, or use it in a ``with``."""

    def __init__(self, name: str, source: _Source, options: RasterOptions) -> None:
        self._name, self._source, self._dataset = name, source, source.dataset
        with self._gdal():
            _check_size(name, self._dataset)
            self._layout = _layout_of(name, self._dataset, options)
            self.info = _info_of(self._dataset, self._layout)
            self.block_shape: tuple[int, int] = self._dataset.block_shapes[0]  # (rows, columns)

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the file; twice does no harm."""
        self._source.close()

    def read(self, window: Window) -> tuple[Rgb, Mask]:
        """(h, w, 3) uint8 and (h, w) bool, True where measured.

        Null is black: outside of the raster, nodata in all chosen bands, the mask band, alpha 0,
        NaN or infinite in all chosen bands.  PixelError ``corrupt`` where the file breaks off.
        """
        rgb = np.zeros((window.height, window.width, 3), np.uint8)
        valid = np.zeros((window.height, window.width), np.bool_)
        inner = self._inside(window)
        if inner is None:
            return rgb, valid
        values, measured = self._values(inner, (inner.height, inner.width))
        rows = slice(inner.y - window.y, inner.y - window.y + inner.height)
        columns = slice(inner.x - window.x, inner.x - window.x + inner.width)
        colours = self._colours(values)
        if not measured.all():
            colours[~measured] = 0
        rgb[rows, columns], valid[rows, columns] = colours, measured
        return rgb, valid

    def bounds(self, window: Window) -> Bounds | None:
        """(west, south, east, north) in EPSG:4326 of the part of the window inside the raster.

        West is greater than east where it crosses the antimeridian.  None without georeference,
        and where the projection has no place for these coordinates.
        """
        inner = self._inside(window)
        if inner is None or not self.info.georeferenced:
            return None
        columns, rows = (inner.x, inner.x + inner.width), (inner.y, inner.y + inner.height)
        corners = [self._dataset.transform @ (x, y) for x in columns for y in rows]
        xs, ys = zip(*corners, strict=True)
        return _geographic(self._dataset.crs, (min(xs), min(ys), max(xs), max(ys)))

    def stretch_by(self, options: RasterOptions, given: Stretch | None) -> None:
        """Fix the map to 8 bits: the given one, else by the options; reads at most once."""
        self.info = SceneInfo(
            self.info.width,
            self.info.height,
            self.info.bands,
            self.info.dtype,
            self.info.crs,
            self.info.georeferenced,
            self._stretch(options, given),
        )

    def _stretch(self, options: RasterOptions, given: Stretch | None) -> Stretch | None:
        layout, info = self._layout, self.info
        if layout.palette is not None:
            return None
        if given is not None:
            return given
        if isinstance(options.scale, tuple):
            low, high = options.scale
            return Stretch((low,) * len(layout.bands), (high,) * len(layout.bands))
        if info.dtype == "uint8":
            return layout.low_bits if options.scale == "auto" else None
        if options.scale == "none":
            raise PixelError(
                "unsupported",
                f"{self._name}: {info.dtype} with scale none: use --scale auto or LOW,HIGH",
            )
        step = max(1.0, math.sqrt(info.width * info.height / STRETCH_PIXELS))
        shape = math.ceil(info.height / step), math.ceil(info.width / step)
        found = percentile_stretch(*self._values(Window(0, 0, info.width, info.height), shape))
        return Stretch(found.high, found.low) if layout.min_is_white else found

    def _values(self, inner: Window, shape: tuple[int, int]) -> tuple[NDArray[Any], Mask]:
        """The chosen bands (h, w, bands) as they are in the file, and what of them is measured."""
        layout, count = self._layout, len(self._layout.bands)
        where = rasterio.windows.Window(inner.x, inner.y, inner.width, inner.height)
        indexes = [*layout.bands, *([layout.alpha] if layout.alpha else [])]
        with self._gdal():
            data = self._dataset.read(indexes, window=where, out_shape=(len(indexes), *shape))
            valid = _measured(data[:count], layout.nodata)
            if layout.masked:
                valid &= self._dataset.read_masks(layout.bands[0], window=where, out_shape=shape) > 0
        if layout.alpha:
            valid &= data[count] > 0
        if layout.palette is not None:
            valid &= palette_as_rgba(data[0], layout.palette)[:, :, 3] > 0
        return data[:count].transpose(1, 2, 0), valid

    def _colours(self, values: NDArray[Any]) -> Rgb:
        if self._layout.palette is not None:
            return as_rgb(palette_as_rgba(values[:, :, 0], self._layout.palette))
        stretch = self.info.stretch
        colours = values if stretch is None else apply_stretch(values, stretch)
        return cmyk_as_rgb(colours) if self._layout.cmyk else as_rgb(colours)

    def _inside(self, window: Window) -> Window | None:
        left, top = max(window.x, 0), max(window.y, 0)
        right = min(window.x + window.width, self.info.width)
        bottom = min(window.y + window.height, self.info.height)
        return Window(left, top, right - left, bottom - top) if left < right and top < bottom else None
