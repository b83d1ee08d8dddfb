"""Values of any depth and band count -> 8-bit RGB, as arithmetic on arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import PixelError

Rgb = NDArray[np.uint8]  # (h, w, 3)
Mask = NDArray[np.bool_]  # (h, w), True where the pixel holds a measurement


@dataclass(frozen=True, slots=True)
class Stretch:
    """Linear map of each band's [low, high] to [0, 255], in the source's own units.

    A low above its high turns the band's light and dark around (min-is-white files).
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.low or len(self.low) != len(self.high):
            raise ValueError(f"a stretch needs one low and one high a band: {self}")
        if not all(map(math.isfinite, (*self.low, *self.high))):
            raise ValueError(f"the ends of a stretch are finite numbers: {self}")
        if any(low == high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"the ends of a stretch differ: {self}")


def percentile_stretch(
    values: NDArray[Any], valid: Mask | None = None, percentiles: tuple[float, float] = (2.0, 98.0)
) -> Stretch:
    """The stretch that maps these percentiles of each band's valid, finite values to 0 and 255.

    ``values`` is (h, w, bands) of any real dtype.  A band without a valid value, or with one
    value only, gets a stretch of width one from that value, so that it comes out black.
    """
    low, high = [], []
    for band in range(values.shape[2]):
        plane = values[:, :, band]
        keep = np.isfinite(plane) if plane.dtype.kind == "f" else np.ones(plane.shape, bool)
        if valid is not None:
            keep &= valid
        # float64: float32 loses counts above 2**24 and overflows between two far ends
        sample = plane[keep].astype(np.float64)
        a, b = (0.0, 0.0) if not sample.size else map(float, np.percentile(sample, percentiles))
        low.append(a)
        # beyond 2**53 a step of one no longer changes the number
        high.append(b if b > a else max(a + 1.0, math.nextafter(a, math.inf)))
    return Stretch(tuple(low), tuple(high))


def apply_stretch(values: NDArray[Any], stretch: Stretch) -> NDArray[np.uint8]:
    """(h, w, bands) of any real dtype -> the same shape in uint8; NaN becomes 0, ends are clipped.

    Integers of 16 bits and less go through a table of the same map: the same result, faster.
    """
    if values.shape[2] != len(stretch.low):
        raise PixelError(
            "unsupported", f"{values.shape[2]} bands, but the stretch has {len(stretch.low)}"
        )
    if values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
        return _stretched(values, stretch)
    span = np.iinfo(values.dtype)
    every = np.arange(span.min, span.max + 1, dtype=np.int64)
    table = _stretched(np.repeat(every[:, None, None], len(stretch.low), axis=2), stretch)
    index = values if span.min == 0 else values.astype(np.int32) - span.min
    planes = [table[:, 0, band][index[:, :, band]] for band in range(values.shape[2])]
    return np.stack(planes, axis=2)


def _stretched(values: NDArray[Any], stretch: Stretch) -> NDArray[np.uint8]:
    low = np.asarray(stretch.low, np.float64)
    # infinite and huge values are clipped below, or were NaN and become 0: no warning is due
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values.astype(np.float64)
        scaled -= low
        scaled /= np.asarray(stretch.high, np.float64) - low
        scaled *= 255.0
    np.clip(scaled, 0.0, 255.0, out=scaled)
    np.nan_to_num(scaled, copy=False, nan=0.0)
    return np.rint(scaled, out=scaled).astype(np.uint8)


def as_rgb(values: NDArray[np.uint8]) -> Rgb:
    """(h, w) or (h, w, bands) -> (h, w, 3): grey is repeated, grey + alpha and RGBA lose alpha.

    More than four bands are refused: which three to show is the user's choice (``--bands``).
    """
    if values.ndim == 2:
        values = values[:, :, None]
    bands = values.shape[2]
    if bands in (1, 2):
        return np.repeat(values[:, :, :1], 3, axis=2)
    if bands in (3, 4):
        return np.ascontiguousarray(values[:, :, :3])
    raise PixelError("unsupported", f"{bands} bands: name the three to use with --bands R,G,B")


def cmyk_as_rgb(values: NDArray[np.uint8]) -> Rgb:
    """(h, w, 4) cyan, magenta, yellow, black, 255 = full ink -> (h, w, 3), as (255-c)(255-k)/255.

    The formula without an ink profile, the same as GDAL's for CMYK JPEG.
    """
    paper = 255 - values.astype(np.uint16)
    return ((paper[:, :, :3] * paper[:, :, 3:] + 127) // 255).astype(np.uint8)


def palette_as_rgba(index: NDArray[Any], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w) of colour numbers and an (n, 4) palette -> (h, w, 4); no such colour: transparent."""
    known = index < len(palette)
    rgba = palette[np.where(known, index, 0)]
    rgba[~known] = 0
    return rgba
