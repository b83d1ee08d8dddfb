"""Natural land: mountains, dunes, forest, salt flats."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pipeline.synthetic.noise import (
    cells,
    fractal,
    grain,
    hillshade,
    positions,
    ridged,
    rotated,
    step,
    unit,
)
from pipeline.synthetic.paint import Picture, blend, flat, ramp, shade, strokes, tinted
from pipeline.synthetic.paths import wander
from pipeline.synthetic.seasons import Season, withered

_ROCK = (
    ((58, 74, 44), (88, 88, 62), (122, 108, 88), (138, 126, 112)),  # temperate: green valleys
    ((92, 72, 54), (126, 98, 74), (150, 122, 96), (164, 144, 122)),  # arid: brown throughout
    ((44, 58, 42), (74, 76, 66), (98, 96, 92), (118, 116, 116)),  # northern: dark and grey
)
_SAND = (
    ((168, 104, 56), (206, 140, 80), (232, 176, 116)),  # Namib
    ((186, 148, 100), (214, 180, 132), (234, 208, 166)),  # Sahara
    ((176, 156, 124), (204, 188, 160), (226, 214, 192)),  # Taklamakan
)
_LEAVES = (
    ((18, 44, 20), (34, 68, 30), (58, 92, 42)),  # tropical
    ((20, 38, 28), (32, 54, 36), (50, 74, 48)),  # conifers
    ((30, 52, 20), (58, 80, 30), (92, 104, 44)),  # broadleaf
)


def mountains(rng: Generator, size_px: int, season: Season) -> Picture:
    """Ridges and valleys under a low sun, snow above a ragged line that falls in winter."""
    crests = ridged(rng, size_px, rng.uniform(1.6, 3.0))
    height = unit(crests + 0.07 * fractal(rng, size_px, 3.4, 1.0))
    rough = fractal(rng, size_px, 2.4, 6)
    azimuth = rng.uniform(0.2, 1.4)
    light = hillshade(height + 0.006 * rough, azimuth, steepness=0.13)
    palette = tinted(rng, _ROCK[rng.integers(len(_ROCK))], 5)
    picture = ramp(height * 1.3 - 0.1 + 0.05 * rough, palette)
    line = rng.uniform(0.44, 0.7) + 0.24 * (season.warmth - 0.5)
    snow = step(line, line + 0.12, height + 0.05 * rough + 0.08 * (light - 1))
    picture = blend(picture, (238, 242, 248), snow)
    return shade(picture, 0.28 + 0.74 * light)


def dunes(rng: Generator, size_px: int, season: Season) -> Picture:
    """Sand in rows or crescents: long windward slopes, short dark slip faces; dust in spring."""
    angle, rows = rng.uniform(0, 2 * np.pi), rng.uniform(7, 17)
    across, _ = rotated(size_px, angle)
    wave = rng.uniform(0.25, 0.75)
    bend = fractal(rng, size_px, 3.6, rng.uniform(1.5, 4))
    wobble = grain(rng, size_px, rows * 0.5)
    phase = across * np.float32(rows) + np.float32(wave) * bend + np.float32(0.22) * wobble
    saw = phase - np.floor(phase)
    crest = rng.uniform(0.62, 0.8)
    profile = np.where(saw < crest, saw / crest, (1 - saw) / (1 - crest)).astype(np.float32)
    swell = unit(fractal(rng, size_px, 3.0, 1.5))
    height = profile * (0.55 + 0.45 * swell)
    ripple = grain(rng, size_px, size_px / 7, 5, angle + np.pi / 2)
    light = hillshade(height + 0.012 * ripple, angle, steepness=0.2 / rows)
    palette = tinted(rng, _SAND[rng.integers(len(_SAND))])
    picture = shade(ramp(0.2 + 0.5 * swell + 0.3 * profile, palette), 0.42 + 0.58 * light)
    dust = rng.uniform(0.0, 0.45) * season.near(0.3) ** 2
    veil = step(-1.2, 1.6, bend) * np.float32(dust)
    return blend(picture, palette[-1], veil)


def forest(rng: Generator, size_px: int, season: Season) -> Picture:
    """Crowns as a dark green grain, stands of other ages, at times a track or a clearing.

    Clearings dry out in the dry season, and some are then veiled by smoke.
    """
    crowns = rng.uniform(26, 46)
    canopy = grain(rng, size_px, crowns) + 0.5 * grain(rng, size_px, crowns * 1.9)
    stands = fractal(rng, size_px, 2.6, 2)
    light = hillshade(canopy * np.float32(0.011), rng.uniform(0, 2 * np.pi), steepness=1.0)
    palette = tinted(rng, _LEAVES[rng.integers(len(_LEAVES))], 4)
    tone = 0.42 + 0.14 * canopy + 0.16 * stands
    picture = shade(ramp(tone, palette), 0.35 + 0.65 * light)
    soil = (138, 116, 84)
    if rng.random() < 0.5:
        edge = rng.uniform(1.5, 2.2)
        bare = step(edge, edge + 0.25, fractal(rng, size_px, 2.8, 3))
        meadow = blend(flat(size_px, (112, 124, 66)), soil, unit(stands))
        picture = blend(picture, meadow, bare)
    if rng.random() < 0.45:
        track = wander(rng, rng.uniform(0, 2 * np.pi), bend=0.7)
        picture = blend(picture, soil, strokes(size_px, [(track, 0.007)]) * np.float32(0.8))
    picture = withered(picture, (112, 104, 58), 0.35 * season.near(0.0))
    smoke = rng.uniform(-0.3, 0.5)
    if smoke > 0:
        plume = step(-0.6, 1.8, fractal(rng, size_px, 3.4, 1.5))
        picture = blend(picture, (172, 178, 186), plume * np.float32(smoke * season.near(0.1)))
    return picture


def salt_flat(rng: Generator, size_px: int, season: Season) -> Picture:
    """A white crust of faint polygons inside a brown shore, under brine in the wet season."""
    x, y = positions(size_px)
    count = rng.uniform(9, 16)
    jog = fractal(rng, size_px, 2.6, 4) * np.float32(0.12)
    first, second, _ = cells(rng, x * np.float32(count) + jog, y * np.float32(count) + jog)
    rims = 1 - step(0.0, 0.16, second - first)
    stain = unit(fractal(rng, size_px, 2.8, 1.5))
    crust = tinted(rng, ((236, 232, 222), (226, 216, 200), (206, 190, 170)), 5)
    picture = shade(ramp(stain * stain, crust), 1 - 0.1 * rims)
    brine = ((176, 196, 196), (206, 160, 148), (150, 186, 190))[rng.integers(3)]
    shallow = 0.9 - 1.5 * (season.warmth - 0.5)
    wet = step(shallow, shallow + 1.2, fractal(rng, size_px, 3.4, 1.5))
    picture = blend(picture, brine, wet * np.float32(0.75))
    along, _ = rotated(size_px, rng.uniform(0, 2 * np.pi))
    edge = along + 0.09 * fractal(rng, size_px, 3.0, 2)
    start = rng.uniform(0.12, 0.5)
    gullies = ramp(ridged(rng, size_px, 4, 2.6), ((112, 88, 66), (150, 122, 94), (182, 158, 130)))
    mud = step(start - 0.09, start, edge)
    picture = blend(picture, (190, 170, 144), mud * np.float32(0.8))
    return blend(picture, gullies, step(start, start + 0.03, edge))
