"""Random fields out of which landscapes are made: arithmetic on float32 planes, no colour.

Every plane is (size_px, size_px).  Lengths are fractions of the picture's side and frequencies are
cycles per side, so that one recipe gives the same picture at any size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Plane = NDArray[np.float32]  # (size, size)


@lru_cache(maxsize=8)
def _frequencies(size_px: int) -> tuple[Plane, Plane]:
    """(size, 1) and (1, size // 2 + 1): cycles per side down and across, in ``rfft2``'s order."""
    down = np.fft.fftfreq(size_px, 1 / size_px).astype(np.float32)[:, None]
    across = np.fft.rfftfreq(size_px, 1 / size_px).astype(np.float32)[None, :]
    return down, across


@lru_cache(maxsize=8)
def positions(size_px: int) -> tuple[Plane, Plane]:
    """x (to the right) and y (down) of every pixel's centre, in [-0.5, 0.5]."""
    axis = ((np.arange(size_px, dtype=np.float32) + 0.5) / size_px - 0.5).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y


def rotated(size_px: int, angle: float) -> tuple[Plane, Plane]:
    """The positions in axes turned by ``angle`` radians."""
    x, y = positions(size_px)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def _field(rng: Generator, size_px: int, amplitude: Plane) -> Plane:
    """Gaussian noise of this amplitude spectrum, zero mean and unit deviation, periodic."""
    shape = (size_px, 2 * (size_px // 2 + 1))
    spectrum = rng.standard_normal(shape, dtype=np.float32).view(np.complex64)
    spectrum *= amplitude
    spectrum[0, 0] = 0
    plane: Plane = np.fft.irfft2(spectrum, s=(size_px, size_px)).astype(np.float32, copy=False)
    deviation = float(plane.std())
    plane *= np.float32(1.0 / deviation if deviation > 0 else 0.0)
    return plane


def fractal(rng: Generator, size_px: int, beta: float, low: float = 1.0) -> Plane:
    """Noise of amplitude frequency ** -beta above ``low`` cycles: 2 rough, 3 land, 4 smooth."""
    down, across = _frequencies(size_px)
    amplitude = (down * down + across * across + np.float32(low * low)) ** np.float32(-beta / 2)
    return _field(rng, size_px, amplitude)


def grain(
    rng: Generator, size_px: int, cycles: float, stretch: float = 1.0, angle: float = 0.0
) -> Plane:
    """Noise around one frequency: blobs of 1 / cycles, ``stretch`` times longer along ``angle``.

    A log-normal pass band of width 0.4; frequencies above Nyquist are simply absent.
    """
    down, across = _frequencies(size_px)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = (across * c + down * s) * np.float32(stretch)
    athwart = down * c - across * s
    ratio = np.log(np.maximum(np.sqrt(along * along + athwart * athwart), 1e-3) / cycles)
    return _field(rng, size_px, np.exp(ratio * ratio * np.float32(-1 / 0.32)).astype(np.float32))


def ridged(rng: Generator, size_px: int, low: float, beta: float = 3.0) -> Plane:
    """Branching crests in [0, 1]: 1 - |noise|, sharp where fractal noise changes its sign.

    The crest of Musgrave's ridged multifractal ("Texturing and Modeling", chapter 16), but of one
    field with all octaves in it, so that side ridges leave the main one as drainage makes them.
    """
    crest = np.exp(-np.abs(fractal(rng, size_px, beta, low)))
    side = np.exp(-np.abs(fractal(rng, size_px, beta - 0.2, low * 2.5)))
    return unit(crest * (0.7 + 0.5 * side) + 0.06 * fractal(rng, size_px, 2.6, low * 4))


def step(low: float, high: float, values: Plane) -> Plane:
    """0 below ``low``, 1 above ``high`` (or the reverse where low > high), smooth between."""
    t: Plane = np.clip((values - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    smooth: Plane = t * t * (3 - 2 * t)
    return smooth


def unit(plane: Plane) -> Plane:
    """The plane scaled to [0, 1]; a constant plane becomes zeros."""
    low, high = float(plane.min()), float(plane.max())
    return (plane - np.float32(low)) * np.float32(1 / (high - low) if high > low else 0.0)


def hillshade(height: Plane, azimuth: float, steepness: float) -> Plane:
    """Lambert's light on a height field, 1 for level ground: height in sides of the picture."""
    size_px = len(height)
    scale = np.float32(steepness * size_px * 0.5)
    dx, dy = np.zeros_like(height), np.zeros_like(height)
    np.subtract(height[:, 2:], height[:, :-2], out=dx[:, 1:-1])
    np.subtract(height[2:], height[:-2], out=dy[1:-1])
    dx[:, 0], dx[:, -1], dy[0], dy[-1] = dx[:, 1], dx[:, -2], dy[1], dy[-2]
    dx, dy = dx * scale, dy * scale
    lit = (1 + dx * np.float32(np.cos(azimuth)) + dy * np.float32(np.sin(azimuth))) / np.sqrt(
        1 + dx * dx + dy * dy
    )
    return np.clip(lit, 0, 2)


def sample(texture: NDArray[np.float32], row: Plane, column: Plane) -> Plane:
    """A periodic texture read at fractional pixel positions, bilinearly."""
    height, width = texture.shape
    top, left = np.floor(row), np.floor(column)
    fy, fx = row - top, column - left
    y0, x0 = top.astype(np.int32) % height, left.astype(np.int32) % width
    y1, x1 = (y0 + 1) % height, (x0 + 1) % width
    upper = texture[y0, x0] * (1 - fx) + texture[y0, x1] * fx
    lower = texture[y1, x0] * (1 - fx) + texture[y1, x1] * fx
    plane: Plane = upper * (1 - fy) + lower * fy
    return plane


def warped(texture: Plane, dx: Plane, dy: Plane) -> Plane:
    """The texture with every pixel fetched from (dx, dy) sides away."""
    size_px = len(texture)
    x, y = positions(size_px)
    scale = np.float32(size_px)
    return sample(texture, (y + dy + 0.5) * scale - 0.5, (x + dx + 0.5) * scale - 0.5)


def cells(rng: Generator, x: Plane, y: Plane) -> tuple[Plane, Plane, NDArray[np.intp]]:
    """Worley's cellular pattern over a unit grid with one jittered point a square.

    Gives the distances to the nearest and second nearest points, and the nearest one's number
    (0..4095, repeating every 64 squares).  Cost: nine passes over the plane.
    """
    points = rng.random((2, 64 * 64), dtype=np.float32)
    column, row = np.floor(x), np.floor(y)
    u, v = x - column, y - row
    first = np.full(x.shape, 9, np.float32)
    second, owner = first.copy(), np.zeros(x.shape, np.intp)
    for down in (-1, 0, 1):
        up = (row.astype(np.intp) + down) % 64 * 64
        for across in (-1, 0, 1):
            number = up + (column.astype(np.intp) + across) % 64
            dx = points[0].take(number) - (u - np.float32(across))
            dy = points[1].take(number) - (v - np.float32(down))
            square = dx * dx + dy * dy
            np.minimum(second, np.maximum(first, square), out=second)
            np.copyto(owner, number, where=square < first)
            np.minimum(first, square, out=first)
    return np.sqrt(first), np.sqrt(second), owner
