"""What people make of land: irrigated circles, streets, fields."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from pipeline.synthetic.noise import Plane, fractal, grain, rotated, step
from pipeline.synthetic.paint import Colour, Picture, blend, ramp, shade, stripes, strokes, tinted
from pipeline.synthetic.paths import wander
from pipeline.synthetic.seasons import Season, snowed, withered

_CROPS: tuple[Colour, ...] = (
    (58, 108, 40), (84, 130, 52), (112, 142, 66), (150, 152, 84), (186, 168, 104),
    (204, 184, 128), (140, 108, 76), (112, 84, 60), (70, 96, 50), (168, 140, 92),
)  # fmt: skip
_ROOFS: tuple[Colour, ...] = (
    (168, 164, 160), (200, 196, 190), (132, 128, 126),
    (158, 104, 82), (176, 122, 96), (222, 220, 214),
)  # fmt: skip


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _table(rng: Generator, colours: tuple[Colour, ...], side: int, spread: float) -> Picture:
    """(side, side, 3): a colour of the palette for each square of a plan, none quite the same."""
    picked = np.asarray(colours, np.float32)[rng.integers(len(colours), size=(side, side))]
    jitter = rng.normal(0, spread, (side, side, 1)).astype(np.float32)
    plan: Picture = picked + jitter
    return plan


def pivot_fields(rng: Generator, size_px: int, season: Season) -> Picture:
    """Circles watered by centre pivots, in a square survey grid on dry land; bare in winter."""
    pitch = rng.uniform(3.2, 6.5)
    u, v = rotated(size_px, rng.normal(0, 0.12) if rng.random() < 0.7 else rng.uniform(0, np.pi))
    u, v = u * np.float32(pitch) + np.float32(rng.random()), v * np.float32(pitch)
    column, row = np.floor(u), np.floor(v)
    du, dv = u - column - 0.5, v - row - 0.5
    column, row = column.astype(np.int64) % 16, row.astype(np.int64) % 16
    crops = _table(rng, _CROPS, 16, 9)[row, column]
    dry = ((196, 170, 128), (178, 158, 118), (160, 152, 104), (206, 186, 150))[rng.integers(4)]
    ground = 0.5 + 0.15 * fractal(rng, size_px, 2.5, 2) + 0.06 * grain(rng, size_px, 30)
    base = np.asarray(dry)
    picture = ramp(ground, (tuple(base - 34), dry, tuple(base + 26)))
    road = 1 - step(0.012, 0.024, 0.5 - np.maximum(np.abs(du), np.abs(dv)))
    picture = blend(picture, (214, 200, 172), road * np.float32(0.7))
    radius = np.hypot(du, dv).astype(np.float32)
    # Many circles hold two crops: a half-plane through the middle, of a direction of its own.
    tilt = rng.uniform(0, 2 * np.pi, (16, 16)).astype(np.float32)[row, column]
    split = rng.random((16, 16))[row, column] < 0.35
    side = (du * np.cos(tilt) + dv * np.sin(tilt) > 0) & split
    crops = np.where(side[:, :, None], _table(rng, _CROPS, 16, 9)[row, column], crops)
    rings = stripes(radius * np.float32(rng.uniform(24, 34)))
    crops = shade(crops, 1 + 0.035 * rings + 0.03 * fractal(rng, size_px, 2.2, 4))
    crops = withered(crops, (158, 132, 96), 0.9 * (1 - season.warmth) ** 2)
    watered = (rng.random((16, 16)) < rng.uniform(0.72, 0.95)).astype(np.float32)[row, column]
    blur = 1.2 * pitch / size_px
    return blend(picture, crops, (1 - step(0.46 - blur, 0.46 + blur, radius)) * watered)


def street_grid(rng: Generator, size_px: int, season: Season) -> Picture:
    """City blocks: lots with roofs and shadows, trees, streets, avenues, parks.

    Trees and lawns are brown from autumn to spring, under snow in midwinter.
    """
    blocks, shape = rng.uniform(3.6, 6.5), np.float32(rng.choice((1.0, 0.5, 0.65)))
    lots = int(rng.integers(3, 6))
    u, v = rotated(size_px, rng.uniform(0, np.pi))
    u, v = (u + 1) * np.float32(blocks), (v + 1) * np.float32(blocks) / shape
    column, row = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    bu, bv = u - column, v - row
    lu, lv = bu * np.float32(lots), bv * np.float32(2)
    lot_column, lot_row = np.floor(lu).astype(np.int64), np.floor(lv).astype(np.int64)
    fu, fv = lu - lot_column - np.float32(0.5), lv - lot_row - np.float32(0.5)
    across, down = (column * lots + lot_column) % 64, (row * 2 + lot_row) % 64
    trees = grain(rng, size_px, 34)
    yards = ramp(0.5 + 0.25 * trees, ((46, 62, 38), (86, 96, 64), (142, 138, 118)))
    density = rng.uniform(0.7, 0.97)
    built = (rng.random((64, 64)) < density).astype(np.float32)[down, across]
    deep = rng.uniform(0.22, 0.44, (2, 64, 64)).astype(np.float32)[:, down, across]
    blur = np.float32(1.0 * blocks * lots / size_px)
    wide, high = deep
    roof = np.clip((wide - np.abs(fu)) / blur, 0, 1)
    roof = roof * np.clip((high - np.abs(fv)) / blur, 0, 1)
    cast = np.clip((wide - np.abs(fu - 0.1)) / blur, 0, 1)
    cast = cast * np.clip((high - np.abs(fv - 0.1)) / blur, 0, 1)
    picture = shade(yards, 1 - 0.5 * cast * built)
    warm = tuple(tinted(rng, _ROOFS[: int(rng.integers(3, 7))], 8))
    picture = blend(picture, _table(rng, warm, 64, 10)[down, across], roof * built)
    park = (rng.random((64, 64)) < 0.06).astype(np.float32)[row % 64, column % 64]
    picture = blend(picture, ramp(0.5 + 0.3 * trees, ((40, 66, 34), (98, 120, 62))), park)
    picture = withered(picture, (116, 98, 74), 0.6 * (1 - season.warmth))
    cold = rng.uniform(0.2, 0.7) * max(0.0, 1 - 4 * season.warmth)
    picture = snowed(picture, 0.7 - 0.8 * trees, cold)
    edge = np.minimum(np.minimum(bu, 1 - bu), np.minimum(bv, 1 - bv) * shape)
    broad = np.where((column % 4 == 0) & (bu < 0.5) | (column % 4 == 3) & (bu > 0.5), 0.05, 0.0)
    street = 1 - step(-0.02, 0.02, edge - np.float32(0.055) - broad.astype(np.float32))
    asphalt = ((104, 104, 106), (128, 126, 122), (88, 88, 92))[rng.integers(3)]
    picture = blend(picture, asphalt, street)
    if rng.random() < 0.4:
        avenue = strokes(size_px, [(wander(rng, rng.uniform(0, np.pi), 0.25), 0.028)])
        picture = blend(picture, (142, 140, 136), avenue)
    return picture


def _parcels(rng: Generator, reach: float, smallest: float) -> list[Box]:
    """Rectangles that tile a square by cuts across the longer side."""
    whole: list[Box] = [(-reach, -reach, reach, reach)]
    parcels: list[Box] = []
    while whole:
        left, top, right, bottom = whole.pop()
        wide, high = right - left, bottom - top
        longer = max(wide, high)
        if longer < smallest or (longer < 2.2 * smallest and rng.random() < 0.35):
            parcels.append((left, top, right, bottom))
            continue
        cut = rng.uniform(0.35, 0.65)
        if wide * rng.uniform(0.75, 1.3) > high:
            middle = left + cut * wide
            whole += [(left, top, middle, bottom), (middle, top, right, bottom)]
        else:
            middle = top + cut * high
            whole += [(left, top, right, middle), (left, middle, right, bottom)]
    return parcels


def _parcel_map(rng: Generator, size_px: int, angle: float, smallest: float) -> tuple[Plane, Plane]:
    """Each pixel's parcel number, and coverage of the hedges and lanes between parcels."""
    c, s = np.cos(angle), np.sin(angle)
    numbers = Image.new("F", (size_px, size_px))
    fill, hedges = ImageDraw.Draw(numbers), []
    for number, (left, top, right, bottom) in enumerate(_parcels(rng, 0.8, smallest)):
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        corners += rng.normal(0, 0.004, (4, 2))
        turned = np.stack(
            [corners[:, 0] * c - corners[:, 1] * s, corners[:, 0] * s + corners[:, 1] * c], axis=1
        )
        fill.polygon([(float(x), float(y)) for x, y in (turned + 0.5) * size_px], fill=number)
        hedges.append((np.concatenate([turned, turned[:1]]), 0.006))
    return np.asarray(numbers), strokes(size_px, hedges)


def _through_the_year(crops: Picture, order: Plane, season: Season) -> Picture:
    """The fields as the year colours them: sprouting green, ripe, ploughed, under snow.

    ``order`` in [0, 1] is how late a field is: each is up to a sixth of a year behind the first.
    """
    stages: tuple[tuple[float, Colour], ...] = (
        (0.25, (92, 132, 58)), (0.48, (206, 184, 118)), (0.72, (128, 112, 82)),
    )  # fmt: skip
    late = np.float32(1 / 6) * (order - np.float32(0.5))
    for phase, colour in stages:
        apart = np.abs((np.float32(season.phase - phase + 0.5) - late) % 1 - np.float32(0.5))
        share = np.clip(1 - apart * np.float32(5), 0, 1) * np.float32(0.5)
        crops = blend(crops, colour, share)
    return crops


def farmland(rng: Generator, size_px: int, season: Season) -> Picture:
    """A patchwork of ploughed, green and ripe fields with hedges and woods, each with its rows."""
    angle = rng.uniform(0, np.pi)
    numbers, hedges = _parcel_map(rng, size_px, angle, rng.uniform(0.13, 0.26))
    number = numbers.astype(np.int64)
    count = int(number.max()) + 1
    sown = rng.permutation(len(_CROPS))[: int(rng.integers(5, 9))]
    crops = tuple(_CROPS[int(i)] for i in sown)
    picture = _table(rng, crops, 64, 8).reshape(-1, 3)[number % 4096]
    picture = _through_the_year(picture, rng.random(count, dtype=np.float32)[number], season)
    u, v = rotated(size_px, angle)
    lengthwise = (rng.random(count) < 0.5)[number]
    rows = stripes(np.where(lengthwise, u, v) * np.float32(rng.uniform(50, 75)))
    depth = rng.uniform(0.0, 0.07, count).astype(np.float32)[number]
    soil = fractal(rng, size_px, 2.4, 3)
    picture = shade(picture, 1 + depth * rows + 0.04 * soil)
    cold = rng.uniform(-0.2, 0.7) * max(0.0, 1 - 6 * season.warmth)
    picture = snowed(picture, soil, cold)
    wood = (rng.random(count) < rng.uniform(0.03, 0.14)).astype(np.float32)[number]
    crowns = ramp(0.5 + 0.22 * grain(rng, size_px, 40), ((26, 46, 24), (58, 82, 42)))
    picture = blend(picture, crowns, wood)
    line = ((46, 66, 34), (190, 176, 142))[int(rng.random() < 0.35)]
    picture = blend(picture, line, hedges * np.float32(rng.uniform(0.55, 0.9)))
    if rng.random() < 0.5:
        lane = strokes(size_px, [(wander(rng, rng.uniform(0, np.pi), 0.3), 0.009)])
        picture = blend(picture, (188, 184, 174), lane)
    return picture
