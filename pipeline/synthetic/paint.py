"""From planes to pictures: palettes, strokes, and what air and sensor do to a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from pipeline.synthetic.noise import Plane, fractal, step

Picture = NDArray[np.float32]  # (size, size, 3), 0..255 but not yet clipped
Rgb = NDArray[np.uint8]  # (size, size, 3)
Colour = tuple[float, float, float]
Points = NDArray[np.float64]  # (n, 2) x, y in [-0.5, 0.5]


def ramp(values: Plane, colours: Sequence[Colour]) -> Picture:
    """The palette's colour at each value in [0, 1]; colours are evenly spaced along it."""
    stops = np.linspace(0, 255, len(colours))
    table = np.stack(
        [np.interp(np.arange(256), stops, band) for band in np.asarray(colours).T], axis=1
    ).astype(np.float32)
    picture: Picture = table[np.clip(values * 255, 0, 255).astype(np.uint8)]
    return picture


def flat(size_px: int, colour: Colour) -> Picture:
    """A picture of one colour."""
    return np.broadcast_to(np.asarray(colour, np.float32), (size_px, size_px, 3)).copy()


def blend(under: Picture, over: Picture | Colour, share: Plane) -> Picture:
    """``under`` where share is 0, ``over`` where it is 1."""
    picture: Picture = under + (np.asarray(over, np.float32) - under) * share[:, :, None]
    return picture


def shade(picture: Picture, light: Plane) -> Picture:
    """The picture multiplied by a plane around 1."""
    picture *= light[:, :, None]
    return picture


def tinted(rng: Generator, colours: Sequence[Colour], spread: float = 8.0) -> list[Colour]:
    """The same palette, lighter or darker by a few grey levels and a little off in hue."""
    moved = np.asarray(colours) + rng.normal(0, spread) + rng.normal(0, spread * 0.35, 3)
    return [(float(r), float(g), float(b)) for r, g, b in moved]


def strokes(size_px: int, lines: Sequence[tuple[Points, float]], oversample: int = 2) -> Plane:
    """Coverage in [0, 1] of polylines with round joints, each of a width as a share of the side."""
    side = size_px * oversample
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    for points, width in lines:
        pixels = (points + 0.5) * side
        wide = max(1, round(width * side))
        draw.line(pixels.ravel().tolist(), fill=255, width=wide)
        if wide > 3:  # Pillow's own round joints leave hairs across bends of short segments
            radius = (wide - 1) / 2
            for box in np.hstack([pixels - radius, pixels + radius]).tolist():
                draw.ellipse(box, fill=255)
    return np.asarray(canvas.reduce(oversample), np.float32) / np.float32(255)


def soft_strokes(size_px: int, lines: Sequence[tuple[Points, float]], blur: float) -> Plane:
    """Strokes under a Gaussian of ``blur`` sides; drawn at a quarter of the size, being smooth."""
    small = max(8, size_px // 4)
    canvas = Image.fromarray((strokes(small, lines, 1) * 255).astype(np.uint8))
    canvas = canvas.filter(ImageFilter.GaussianBlur(blur * small))
    grown = canvas.resize((size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(grown, np.float32) / np.float32(255)


def stripes(values: Plane) -> Plane:
    """A cosine of period 1 in [-1, 1]."""
    wave: Plane = np.cos(values * np.float32(2 * np.pi))
    return wave


def with_clouds(rng: Generator, picture: Picture, cover: float) -> Picture:
    """The picture under scattered fair-weather clouds with their shadows; cover in [0, 1]."""
    size_px = len(picture)
    field = fractal(rng, size_px, 2.7, low=4)
    edge = float(np.quantile(field[::4, ::4], 1 - cover))
    cloud = step(edge - 0.1, edge + 1.3, field)
    shift = max(1, size_px // 40)
    shadow = np.roll(cloud, (shift, shift), (0, 1))
    picture = shade(picture, 1 - 0.4 * shadow)
    return blend(picture, (247, 248, 250), np.clip(cloud * 1.4, 0, 0.97))


def seen_from_orbit(rng: Generator, picture: Picture) -> Rgb:
    """Clipped 8-bit pixels after one day's light: brightness, contrast, haze and sensor noise."""
    brightness, contrast = rng.normal(1.0, 0.05), rng.normal(1.0, 0.06)
    haze = float(np.clip(rng.exponential(0.04), 0, 0.16))
    middle = float(picture.mean())
    gain = np.float32(brightness * contrast * (1 - haze))
    lift = np.asarray((186, 200, 218), np.float32) * np.float32(haze)
    offset = np.float32(middle * brightness * (1 - contrast) * (1 - haze)) + lift
    noise = rng.standard_normal(picture.shape[:2], dtype=np.float32) * np.float32(1.6)
    out = picture * gain + offset
    out += noise[:, :, None]
    return np.clip(out, 0, 255).astype(np.uint8)
