"""Water and air far from land: open ocean, sea ice, cyclones."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pipeline.synthetic.noise import (
    Plane,
    cells,
    fractal,
    grain,
    positions,
    sample,
    step,
    unit,
    warped,
)
from pipeline.synthetic.paint import Picture, blend, flat, ramp, shade, tinted
from pipeline.synthetic.seasons import Season


def ocean(rng: Generator, size_px: int, season: Season) -> Picture:
    """Deep water with a plankton bloom drawn out by eddies, greatest in spring."""
    bloom = fractal(rng, size_px, 2.4, 3)
    for _ in range(3):  # each turn folds what the one before drew out
        stream = fractal(rng, size_px, 4.2, rng.uniform(2, 4))
        dy, dx = np.gradient(stream)
        strength = np.float32(rng.uniform(0.004, 0.010) * size_px)
        turn_x, turn_y = np.asarray(-dy * strength), np.asarray(dx * strength)
        bloom = warped(bloom, turn_x, turn_y)
    start = rng.uniform(-0.9, 0.5) + 0.9 * (1 - season.near(0.3))
    share = step(start, start + 2.2, bloom)
    greens = ((40, 132, 136), (84, 168, 150), (72, 128, 84))[rng.integers(3)]
    blues = tinted(rng, ((6, 24, 54), (10, 44, 84)), 5)
    picture = ramp(unit(fractal(rng, size_px, 3.0, 1.5)), blues)
    picture = blend(picture, greens, share * np.float32(rng.uniform(0.45, 0.95)))
    swell = grain(rng, size_px, 45, 3, rng.uniform(0, np.pi))
    return shade(picture, 1 + 0.03 * swell)


def sea_ice(rng: Generator, size_px: int, season: Season) -> Picture:
    """White floes of two sizes, dark leads between them, thin grey ice in some.

    Leads freeze over in winter; in summer they widen and more floes break up.
    """
    x, y = positions(size_px)
    bend_x, bend_y = fractal(rng, size_px, 2.6, 3), fractal(rng, size_px, 2.6, 3)
    count, tilt = rng.uniform(3.0, 6.0), np.float32(rng.uniform(0.6, 1.4))
    u, v = (x * tilt) * np.float32(count) + 0.1 * bend_x, y * np.float32(count) + 0.1 * bend_y
    first, second, owner = cells(rng, u, v)
    melt = season.warmth
    gap = rng.uniform(0.03, 0.14) * (0.4 + 1.2 * melt)
    lead = 1 - step(gap * 0.55, gap, second - first + 0.03 * bend_x)
    small_first, small_second, small = cells(rng, u * 3, v * 3)
    share = rng.uniform(0.1, 0.5) * (0.4 + 1.2 * melt)
    broken = (rng.random(4096, dtype=np.float32) < share)[owner]
    shards = (1 - step(0.06, 0.16, small_second - small_first)) * broken
    age = rng.random(4096, dtype=np.float32)[np.where(broken, small, owner)]
    ridges = fractal(rng, size_px, 2.2, 5)
    thin = (age < rng.uniform(0.06, 0.22)).astype(np.float32)
    ice = shade(ramp(0.25 + 0.6 * age, ((206, 218, 230), (240, 244, 248))), 1 + 0.03 * ridges)
    ice = blend(ice, (122, 140, 158), thin * np.float32(0.8))
    water = flat(size_px, tinted(rng, ((10, 22, 40),), 4)[0])
    frozen = np.full_like(lead, 0.75 * max(0.0, 1 - 2.5 * melt))
    return blend(ice, blend(water, (150, 166, 182), frozen), np.maximum(lead, shards))


def _spiral(rng: Generator, size_px: int, radius: Plane, angle: Plane, winding: float) -> Plane:
    """Noise drawn out along logarithmic spirals; the texture is periodic, so no seam shows."""
    side = 256
    texture = fractal(rng, side, 2.7, 3)
    turn = (angle + np.float32(winding) * np.log(radius + 0.02)) / np.float32(2 * np.pi)
    rings = np.log(radius + np.float32(0.04)) * np.float32(side * 0.33)
    arms = sample(texture, rings, turn * np.float32(side * rng.integers(1, 3)))
    return arms


def cyclone(rng: Generator, size_px: int, _season: Season) -> Picture:
    """A cloud vortex over the ocean: eye, dense wall, feathered spiral arms."""
    x, y = positions(size_px)
    cx, cy = (np.float32(v) for v in rng.normal(0, 0.05, 2))
    turn, squash = rng.uniform(0, np.pi), np.float32(rng.uniform(0.8, 1.0))
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = (x - cx) * c + (y - cy) * s, ((y - cy) * c - (x - cx) * s) / squash
    size = rng.uniform(0.3, 0.44)
    radius = np.hypot(u, v).astype(np.float32) / np.float32(size)
    angle = np.arctan2(v, u).astype(np.float32)
    winding = rng.uniform(2.6, 4.2) * (1 if rng.random() < 0.5 else -1)
    wisps = _spiral(rng, size_px, radius, angle, winding)
    arms = np.cos(
        np.float32(rng.integers(2, 4)) * (angle + np.float32(winding) * np.log(radius + 0.05))
    )
    cover = 1.35 - 1.25 * radius + 0.42 * arms * step(0.15, 0.7, radius) + 0.3 * wisps
    cloud = step(0.0, 0.75, cover)
    puffs = step(0.9, 3.0, fractal(rng, size_px, 2.4, 5) + 0.4 * wisps)
    cloud = np.maximum(cloud, puffs * np.float32(0.8))
    eye = rng.uniform(0.035, 0.08)
    cloud = cloud * step(eye * 0.6, eye * 1.3, radius)
    sea = flat(size_px, tinted(rng, ((12, 36, 70),), 5)[0])
    tops = ramp(
        0.6 + 0.16 * wisps + 0.1 * arms, ((176, 186, 198), (226, 231, 236), (252, 252, 253))
    )
    return blend(sea, tops, np.clip(cloud, 0, 1))
