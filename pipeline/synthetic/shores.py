"""Where land meets water: coasts, rivers, deltas, atolls."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pipeline.synthetic.noise import (
    fractal,
    grain,
    hillshade,
    positions,
    rotated,
    step,
)
from pipeline.synthetic.paint import (
    Picture,
    blend,
    ramp,
    shade,
    soft_strokes,
    stripes,
    strokes,
    tinted,
)
from pipeline.synthetic.paths import branches, inside_of_bends, meander
from pipeline.synthetic.seasons import Season, snowed, withered

_LAND = (
    ((116, 124, 74), (74, 98, 50), (56, 80, 42), (92, 96, 66)),  # temperate
    ((196, 172, 130), (176, 144, 104), (154, 124, 92), (134, 112, 92)),  # arid
    ((96, 122, 60), (44, 84, 38), (30, 66, 32), (60, 80, 50)),  # tropical
)
_SEA = (
    ((10, 26, 58), (14, 44, 84), (26, 84, 118), (96, 164, 164)),
    ((8, 32, 52), (16, 56, 76), (44, 96, 104), (128, 152, 136)),
    ((6, 30, 72), (8, 62, 118), (22, 124, 164), (120, 206, 200)),
)


def coast(rng: Generator, size_px: int, season: Season) -> Picture:
    """A shoreline with shelf, surf, beach and relief inland, green after rain."""
    along, _ = rotated(size_px, rng.uniform(0, 2 * np.pi))
    relief = fractal(rng, size_px, rng.uniform(2.7, 3.2), 1.5)
    height = (
        along * np.float32(3.4) + relief * np.float32(0.42) - np.float32(rng.uniform(-0.4, 0.4))
    )
    kind = int(rng.integers(len(_LAND)))
    hills = fractal(rng, size_px, 2.6, 3)
    light = hillshade(hills * np.float32(0.02) * step(0, 0.6, height), rng.uniform(0.2, 1.4), 0.55)
    texture = 0.3 * height + 0.08 * fractal(rng, size_px, 1.8, 12) + 0.12 * hills
    land = shade(ramp(texture + 0.1, tinted(rng, _LAND[kind], 6)), 0.25 + 0.75 * light)
    land = withered(land, (158, 138, 92), 0.65 * season.near(0.9))
    swell = grain(rng, size_px, 40, 4, rng.uniform(0, np.pi))
    sea = ramp(np.exp(height * 2.6 / rng.uniform(0.6, 1.6)), tinted(rng, _SEA[kind], 5))
    sea = shade(sea, 1 + 0.025 * swell)
    picture = blend(sea, land, step(-0.01, 0.02, height))
    beach = step(-0.01, 0.01, height) * (1 - step(0.05, 0.05 + rng.uniform(0.02, 0.09), height))
    picture = blend(picture, (226, 208, 170), beach)
    breaking = step(-0.09, -0.03, height) * (1 - step(-0.02, 0.01, height))
    foam = breaking * step(-0.6, 0.6, grain(rng, size_px, 18))
    return blend(picture, (240, 244, 244), foam * np.float32(rng.uniform(0.3, 0.9)))


def river(rng: Generator, size_px: int, season: Season) -> Picture:
    """A meandering river in its floodplain, with abandoned loops, and sand bars at low water."""
    angle, bends = rng.uniform(0, 2 * np.pi), rng.uniform(3.0, 6.5)
    course = meander(rng, angle, rng.uniform(1.1, 1.7), bends)
    width = rng.uniform(0.022, 0.05)
    kind = int(rng.integers(len(_LAND)))
    relief = fractal(rng, size_px, 2.6, 2)
    tone = 0.45 + 0.14 * relief + 0.06 * fractal(rng, size_px, 1.8, 12)
    light = hillshade(relief * np.float32(0.02), rng.uniform(0.2, 1.4), 0.5)
    picture = shade(ramp(tone, tinted(rng, _LAND[kind], 6)), 0.3 + 0.7 * light)
    water = strokes(size_px, [(course, width * (0.6 + 0.8 * season.warmth))])
    plain = soft_strokes(size_px, [(course, width * 7)], 0.035)
    lush = ((84, 112, 52), (104, 116, 62), (48, 92, 42))[kind]
    picture = blend(picture, lush, plain * (0.62 + 0.1 * relief))
    scars = [(meander(rng, angle, rng.uniform(1.4, 1.8), bends), width * 0.6) for _ in range(2)]
    old = strokes(size_px, scars) * step(0.35, 0.8, plain) * step(0.2, 1.0, relief)
    picture = withered(picture, (150, 134, 84), 0.6 * season.near(0.0))
    picture = blend(picture, (56, 84, 62), old * np.float32(0.8))
    bars = strokes(size_px, [(inside_of_bends(course, width * 0.75), width * 1.1)])
    picture = blend(picture, (208, 192, 154), bars * np.float32(0.9))
    silt = ((44, 66, 72), (122, 112, 82), (150, 124, 88), (38, 78, 92))[rng.integers(4)]
    return blend(picture, silt, water)


def delta(rng: Generator, size_px: int, season: Season) -> Picture:
    """Channels that fork through marsh towards a sea clouded by silt; full in the wet season."""
    angle = rng.uniform(0, 2 * np.pi)
    along, across = rotated(size_px, angle)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    width = rng.uniform(0.035, 0.06)
    channels = branches(rng, (-0.52 * c, -0.52 * s), angle, width)
    stem = np.array([[-0.9 * c, -0.9 * s], [-0.52 * c, -0.52 * s]])
    level = 0.6 + 0.8 * season.warmth
    water = strokes(size_px, [(p, w * level) for p, w in [(stem, width), *channels]])
    reach = 0.34 - 0.9 * across * across + 0.045 * fractal(rng, size_px, 2.8, 3)
    banks = soft_strokes(size_px, [(p, w * 2.2) for p, w in channels], 0.012)
    sea = step(-0.02, 0.02, along - reach - 0.05 * banks)
    marsh = 0.45 + 0.2 * fractal(rng, size_px, 2.2, 3)
    greens = tinted(rng, ((58, 72, 50), (84, 98, 60), (116, 120, 80), (150, 142, 106)), 6)
    picture = ramp(marsh, greens)
    picture = blend(picture, (50, 86, 44), banks * np.float32(0.7))
    picture = withered(picture, (148, 134, 88), 0.5 * season.near(0.1))
    pools = 0.85 - 0.6 * (season.warmth - 0.5)
    ponds = step(pools, pools + 0.3, fractal(rng, size_px, 2.5, 9))
    picture = blend(picture, (38, 62, 68), ponds * np.float32(0.85))
    silt = ((132, 122, 92), (110, 118, 98), (84, 108, 106))[rng.integers(3)]
    plume = np.exp(-np.maximum(along - reach, 0) * rng.uniform(5, 11) / level)
    plume = plume * (0.75 + 0.2 * fractal(rng, size_px, 3.2, 3))
    offing = blend(ramp(plume * 0, ((22, 58, 82),)), silt, np.clip(plume, 0, 1))
    return blend(blend(picture, offing, sea), silt, water * (1 - sea))


def atoll(rng: Generator, size_px: int, _season: Season) -> Picture:
    """Reef rings round turquoise lagoons in deep blue, sand islets on the rims."""
    x, y = positions(size_px)
    deep = tinted(rng, ((4, 22, 62), (6, 40, 92)), 4)
    picture = ramp(0.5 + 0.2 * fractal(rng, size_px, 2.6, 2), deep)
    picture = shade(picture, 1 + 0.03 * grain(rng, size_px, 40, 4, rng.uniform(0, np.pi)))
    lump, fine = fractal(rng, size_px, 3.2, 3), fractal(rng, size_px, 2.4, 8)
    for index in range(1 + int(rng.random() < 0.35)):
        radius = rng.uniform(0.2, 0.34) if index == 0 else rng.uniform(0.07, 0.12)
        far = 0.0 if index == 0 else 0.4
        turn, squash = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.0)
        cx, cy = far * np.cos(turn) + rng.normal(0, 0.05), far * np.sin(turn) + rng.normal(0, 0.05)
        u = (x - np.float32(cx)) * np.float32(np.cos(turn)) + (y - np.float32(cy)) * np.sin(turn)
        v = (y - np.float32(cy)) * np.float32(np.cos(turn)) - (x - np.float32(cx)) * np.sin(turn)
        distance = np.hypot(u, v / np.float32(squash)) / radius
        edge = np.asarray(distance - 1 + 0.12 * lump + 0.05 * fine, np.float32)
        lagoon = ramp(0.5 + 0.3 * lump, ((18, 112, 150), (44, 162, 178), (112, 206, 200)))
        picture = blend(picture, lagoon, 1 - step(-0.05, 0.12, edge))
        rim = np.exp(-((edge / 0.11) ** 2)).astype(np.float32)
        reef = ramp(0.5 + 0.25 * fine, ((72, 150, 142), (142, 178, 150), (196, 202, 168)))
        picture = blend(picture, reef, rim)
        islet = np.asarray(rim * step(0.3, 0.9, lump + 0.3 * fine), np.float32)
        picture = blend(picture, (226, 214, 176), step(0.35, 0.5, islet))
        picture = blend(picture, (52, 92, 44), step(0.6, 0.75, islet))
        surf = step(0.08, 0.12, edge) * (1 - step(0.13, 0.2, edge)) * step(-0.2, 0.6, fine)
        picture = blend(picture, (236, 244, 246), surf * np.float32(0.8))
    return picture


def canyon(rng: Generator, size_px: int, season: Season) -> Picture:
    """Red tableland cut by branching dry valleys with banded walls, snow on top in winter."""
    main = np.abs(fractal(rng, size_px, 3.3, rng.uniform(1.0, 2.0)))
    side = np.abs(fractal(rng, size_px, 3.0, 4))
    depth = main * (0.45 + 0.6 * side) + 0.12 * side
    table = step(0.0, 1.0, np.asarray(depth, np.float32))
    rough = fractal(rng, size_px, 2.2, 4)
    bands = stripes(table * np.float32(rng.uniform(4, 6)))
    light = hillshade(table + 0.02 * bands + 0.006 * rough, rng.uniform(0.2, 1.4), steepness=0.1)
    reds = tinted(rng, ((104, 62, 46), (150, 92, 66), (186, 128, 94), (204, 158, 122)), 6)
    tone = 0.12 + 0.62 * table + 0.09 * bands * (1 - table) + 0.07 * rough
    cold = rng.uniform(0.1, 0.6) * max(0.0, 1 - 4 * season.warmth)
    picture = snowed(ramp(tone, reds), 1.4 * table - 0.7 + 0.5 * rough, cold)
    return shade(picture, 0.3 + 0.7 * light)
