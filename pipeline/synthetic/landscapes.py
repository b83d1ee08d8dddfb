"""The classes of procedural landscapes, and one picture of a class on a given day.

A recipe depends on its generator, size and season alone, and draws the same numbers in every
season: a place seen on several dates is the same ground at other times of the year and under other
weather.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from pipeline.synthetic import ocean, settled, shores, terrain
from pipeline.synthetic.paint import Picture, Rgb, seen_from_orbit, with_clouds
from pipeline.synthetic.seasons import MEAN, Season

Recipe = Callable[[Generator, int, Season], Picture]
Landscape = Callable[[Generator, int], Rgb]

RECIPES: dict[str, Recipe] = {
    "atoll": shores.atoll,
    "canyon": shores.canyon,
    "coast": shores.coast,
    "cyclone": ocean.cyclone,
    "delta": shores.delta,
    "dunes": terrain.dunes,
    "farmland": settled.farmland,
    "forest": terrain.forest,
    "mountains": terrain.mountains,
    "ocean": ocean.ocean,
    "pivot_fields": settled.pivot_fields,
    "river": shores.river,
    "salt_flat": terrain.salt_flat,
    "sea_ice": ocean.sea_ice,
    "street_grid": settled.street_grid,
}

# Of views under scattered cloud, in midwinter and in midsummer (tropics: dry and wet season).
_CLOUDY: dict[str, tuple[float, float]] = {
    "atoll": (0.2, 0.35),
    "canyon": (0.15, 0.1),
    "coast": (0.05, 0.4),
    "cyclone": (0.0, 0.0),  # brings its own
    "delta": (0.05, 0.45),
    "dunes": (0.03, 0.0),
    "farmland": (0.35, 0.15),
    "forest": (0.15, 0.45),
    "mountains": (0.1, 0.3),
    "ocean": (0.3, 0.15),
    "pivot_fields": (0.15, 0.1),
    "river": (0.1, 0.45),
    "salt_flat": (0.0, 0.2),
    "sea_ice": (0.05, 0.2),
    "street_grid": (0.25, 0.15),
}


def generator(seed: int, name: str, *numbers: int) -> Generator:
    """The generator of one thing of one class: independent of all others and of the order."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *numbers])


def view(name: str, ground: Generator, day: Generator, size_px: int, season: Season = MEAN) -> Rgb:
    """(size, size, 3) uint8: the place that ``ground`` makes under the light that ``day`` makes."""
    picture = RECIPES[name](ground, size_px, season)
    dry, wet = _CLOUDY[name]
    if day.random() < dry + (wet - dry) * season.warmth:
        picture = with_clouds(day, picture, day.uniform(0.02, 0.14))
    return seen_from_orbit(day, picture)


def _landscape(name: str) -> Landscape:
    def paint(rng: Generator, size_px: int) -> Rgb:
        return view(name, rng, rng, size_px)

    paint.__doc__ = RECIPES[name].__doc__
    return paint


LANDSCAPES: dict[str, Landscape] = {name: _landscape(name) for name in RECIPES}
