"""The classes of procedural landscapes, and one picture of a class on a given day.

A recipe depends on its generator and size alone, so a place seen on several dates is the same
recipe from the same seed under other weather.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from pipeline.synthetic import ocean, settled, shores, terrain
from pipeline.synthetic.paint import Picture, Rgb, seen_from_orbit, with_clouds

Recipe = Callable[[Generator, int], Picture]
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


def generator(seed: int, name: str, *numbers: int) -> Generator:
    """The generator of one thing of one class: independent of all others and of the order."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *numbers])


def view(name: str, ground: Generator, day: Generator, size_px: int) -> Rgb:
    """(size, size, 3) uint8: the place that ``ground`` makes under the light that ``day`` makes.

    One view in six is under scattered cloud; a cyclone brings its own.
    """
    picture = RECIPES[name](ground, size_px)
    if name != "cyclone" and day.random() < 1 / 6:
        picture = with_clouds(day, picture, day.uniform(0.02, 0.14))
    return seen_from_orbit(day, picture)


def _landscape(name: str) -> Landscape:
    def paint(rng: Generator, size_px: int) -> Rgb:
        return view(name, rng, rng, size_px)

    paint.__doc__ = RECIPES[name].__doc__
    return paint


LANDSCAPES: dict[str, Landscape] = {name: _landscape(name) for name in RECIPES}
