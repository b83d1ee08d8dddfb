"""Values of any depth and band count -> 8-bit RGB, as arithmetic on arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import PixelError

Rgb = NDArray[np.uint8]  # (h, w, 3)
Mask = NDArray[np.bool_]  # (h, w), True where the pixel holds a measurement


@dataclass(frozen=True, slots=True)
class Stretch:
    """Linear map of each band's [low, high] to [0, 255], in the source's own units."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.low or len(self.low) != len(self.high):
            raise ValueError(f"a stretch needs one low and one high a band: {self}")


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
        sample = plane[keep]
        a, b = (0.0, 1.0) if not sample.size else map(float, np.percentile(sample, percentiles))
        low.append(a)
        high.append(b if b > a else a + 1.0)
    return Stretch(tuple(low), tuple(high))


def apply_stretch(values: NDArray[Any], stretch: Stretch) -> NDArray[np.uint8]:
    """(h, w, bands) of any real dtype -> the same shape in uint8; NaN becomes 0, ends are clipped."""
    if values.shape[2] != len(stretch.low):
        raise PixelError(
            "unsupported", f"{values.shape[2]} bands, but the stretch has {len(stretch.low)}"
        )
    low = np.asarray(stretch.low, np.float32)
    span = np.asarray(stretch.high, np.float32) - low
    scaled = np.clip((values.astype(np.float32) - low) * (np.float32(255.0) / span), 0.0, 255.0)
    return np.rint(np.nan_to_num(scaled, nan=0.0)).astype(np.uint8)


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
