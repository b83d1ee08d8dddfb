"""Windows, the boxes that they cover, and such boxes as GeoJSON has them: arithmetic alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from featurizer.tiles import Bounds, Window


def inside(window: Window, width: int, height: int) -> Window | None:
    """The part of a window that lies in a raster of this size; None for no part."""
    left, top = max(window.x, 0), max(window.y, 0)
    right, bottom = min(window.x + window.width, width), min(window.y + window.height, height)
    if left >= right or top >= bottom:
        return None
    return Window(left, top, right - left, bottom - top)


def box_of(window: Window, transform: Sequence[float]) -> Bounds:
    """(left, bottom, right, top) of the window's four corners, in the transform's system.

    ``transform`` begins a, b, c, d, e, f of x' = ax + by + c, y' = dx + ey + f; rotation is right.
    """
    a, b, c, d, e, f = transform[:6]
    columns, rows = (window.x, window.x + window.width), (window.y, window.y + window.height)
    xs = [a * x + b * y + c for x in columns for y in rows]
    ys = [d * x + e * y + f for x in columns for y in rows]
    return min(xs), min(ys), max(xs), max(ys)


def on_the_globe(box: Bounds) -> Bounds | None:
    """A box of any degrees with longitudes in [-180, 180], latitudes in [-90, 90].

    West greater than east, which is how GeoJSON (RFC 7946, 5.2) crosses the antimeridian, stays
    and arises.  None for no area or for values that are not finite.
    """
    west, south, east, north = box
    south, north = max(-90.0, south), min(90.0, north)
    if not all(map(math.isfinite, box)) or south >= north:
        return None
    if east - west >= 360.0:
        return -180.0, south, 180.0, north
    return _wrapped(west), south, _wrapped(east), north


def _wrapped(longitude: float) -> float:
    if -180.0 <= longitude <= 180.0:
        return longitude  # untouched, to the last bit
    return (longitude + 180.0) % 360.0 - 180.0
