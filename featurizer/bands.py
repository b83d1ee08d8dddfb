"""What a raster's header means: which bands are colours, how values become RGB and a mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import PixelError, UsageError
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

_RGB = ("red", "green", "blue")
_CMYK = ("cyan", "magenta", "yellow", "black")


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
        elif not (all(map(math.isfinite, self.scale)) and self.scale[0] < self.scale[1]):
            raise UsageError(f"scale {self.scale}: give two numbers, the lower first, as 0,3000")


@dataclass(frozen=True, slots=True)
class SceneInfo:
    """What a header says, and what was chosen by it; ``crs`` as ``EPSG:n`` or WKT."""

    width: int
    height: int
    bands: tuple[int, ...]
    dtype: str
    crs: str | None
    georeferenced: bool
    stretch: Stretch | None


@dataclass(frozen=True, slots=True)
class BandFacts:
    """What a header says of the bands, in their order; ``colours`` as GDAL names them."""

    dtype: str
    colours: tuple[str, ...]
    nodata: tuple[float | None, ...]
    masked: bool  # a mask band beside the data
    palette: NDArray[np.uint8] | None  # (n, 4) of the first band
    bits: int | None  # where fewer are used than the dtype has
    min_is_white: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """What is read of each pixel, and what it means."""

    facts: BandFacts
    bands: tuple[int, ...]  # 1-based
    alpha: int | None
    palette: NDArray[np.uint8] | None
    cmyk: bool

    @property
    def indexes(self) -> list[int]:
        """The bands to read: the colours, then alpha if there is one."""
        return [*self.bands, *([self.alpha] if self.alpha else [])]


def layout_of(facts: BandFacts, options: RasterOptions) -> Layout:
    """The bands chosen by the options and the header; PixelError ``unsupported`` if impossible."""
    if facts.dtype.startswith("complex"):
        raise PixelError("unsupported", f"{facts.dtype} values have no colour: convert the file")
    colours = facts.colours
    alpha = colours.index("alpha") + 1 if "alpha" in colours else None
    if options.bands is not None and max(options.bands) > len(colours):
        raise PixelError(
            "unsupported", f"bands {options.bands} of a raster with {len(colours)}: choose others"
        )
    palette = facts.palette if options.bands in (None, (1,)) else None
    cmyk = options.bands is None and colours[:4] == _CMYK
    bands = options.bands or (1, 2, 3, 4)
    if options.bands is None and not cmyk:
        bands = (1,) if palette is not None else _default_bands(colours, alpha)
    return Layout(facts, bands, alpha, palette, cmyk)


def _default_bands(colours: tuple[str, ...], alpha: int | None) -> tuple[int, ...]:
    if all(colours.count(name) == 1 for name in _RGB):
        return tuple(colours.index(name) + 1 for name in _RGB)
    shown = [band for band in range(1, len(colours) + 1) if band != alpha] or [1]
    return tuple(shown[:3]) if len(shown) >= 3 else (shown[0],)


def given_stretch(
    layout: Layout, options: RasterOptions, given: Stretch | None
) -> Stretch | Literal["none", "percentiles"]:
    """The map to 8 bits as far as it is known without reading a pixel.

    PixelError ``unsupported`` for ``scale="none"`` on anything but 8 bits, and for a given
    stretch of another number of bands.
    """
    facts = layout.facts
    if layout.palette is not None:
        return "none"
    if given is not None:
        if len(given.low) != len(layout.bands):
            raise PixelError(
                "unsupported", f"a stretch of {len(given.low)} bands for {len(layout.bands)}"
            )
        return given
    if isinstance(options.scale, tuple):
        return _for_all(options.scale, layout)
    if facts.dtype == "uint8":
        high = 255 if facts.bits is None else 2**facts.bits - 1
        if options.scale == "none" or (high == 255 and not facts.min_is_white):
            return "none"
        return _for_all((0, high), layout)
    if options.scale == "none":
        raise PixelError(
            "unsupported", f"{facts.dtype} values with scale none: use scale auto or LOW,HIGH"
        )
    return "percentiles"


def _for_all(ends: tuple[float, float], layout: Layout) -> Stretch:
    low, high = reversed(ends) if layout.facts.min_is_white else ends
    return Stretch((float(low),) * len(layout.bands), (float(high),) * len(layout.bands))


def found_stretch(layout: Layout, values: NDArray[Any], valid: Mask) -> Stretch:
    """The 2-98 percentile stretch of a sample of the scene, turned around where white is zero."""
    found = percentile_stretch(values, valid)
    return Stretch(found.high, found.low) if layout.facts.min_is_white else found


def measured(layout: Layout, planes: NDArray[Any]) -> Mask:
    """(h, w), True where any chosen band holds a finite value that is not nodata, and alpha > 0.

    ``planes`` is (bands, h, w) in the order of ``layout.indexes``.
    """
    count = len(layout.bands)
    checked = [
        _holds(plane, layout.facts.nodata[band - 1])
        for plane, band in zip(planes[:count], layout.bands, strict=True)
    ]
    valid: Mask = np.zeros(planes.shape[1:], np.bool_)
    for one in checked:
        valid |= one
    if layout.alpha:
        valid &= planes[count] > 0
    if layout.palette is not None:
        valid &= palette_as_rgba(planes[0], layout.palette)[:, :, 3] > 0
    return valid


def _holds(plane: NDArray[Any], nodata: float | None) -> Mask | np.bool_:
    holds: Mask | np.bool_ = np.isfinite(plane) if plane.dtype.kind == "f" else np.True_
    if nodata is None or math.isnan(nodata):
        return holds
    # in the file's own type: a float32 nodata such as 0.1 is another number in float64
    null = np.float32(nodata) if plane.dtype == np.float32 else nodata
    other: Mask = plane != null
    return other & holds


def colours_of(layout: Layout, values: NDArray[Any], stretch: Stretch | None) -> Rgb:
    """(h, w, bands) as in the file -> (h, w, 3); a fresh array."""
    if layout.palette is not None:
        return as_rgb(palette_as_rgba(values[:, :, 0], layout.palette))
    eight_bits = values if stretch is None else apply_stretch(values, stretch)
    return cmyk_as_rgb(eight_bits) if layout.cmyk else as_rgb(eight_bits)
