"""The time of the year at a place, and what it does to plants and bare ground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

import numpy as np

from pipeline.synthetic.noise import Plane, step
from pipeline.synthetic.paint import Colour, Picture, blend

_MIDWINTER_DAY = 15  # of January in the north; half a year later in the south
_DAYS = 365.25

_SNOW: Colour = (236, 240, 246)


@dataclass(frozen=True, slots=True)
class Season:
    """A time of the year: ``phase`` in [0, 1), 0 in midwinter, 0.25 in spring, 0.5 in midsummer.

    In the tropics midsummer is the middle of the wet season.
    """

    phase: float

    @property
    def warmth(self) -> float:
        """0 in midwinter, 1 in midsummer, 0.5 between."""
        return 0.5 - 0.5 * math.cos(2 * math.pi * self.phase)

    def near(self, phase: float) -> float:
        """1 at that time of the year, 0 from a quarter of a year before and after on."""
        apart = abs((self.phase - phase + 0.5) % 1 - 0.5)
        return max(0.0, math.cos(2 * math.pi * apart))


MEAN = Season(0.25)  # of pictures without a date: neither winter nor summer


def season_of(taken: date, latitude: float) -> Season:
    """The season of a day at a latitude in degrees, negative in the south."""
    day = taken.timetuple().tm_yday - _MIDWINTER_DAY
    return Season((day / _DAYS + (0.5 if latitude < 0 else 0.0)) % 1)


def greenness(picture: Picture) -> Plane:
    """0 where a pixel is not green, 1 where green leads red and blue by 20 grey levels."""
    lead = picture[:, :, 1] - np.maximum(picture[:, :, 0], picture[:, :, 2])
    plane: Plane = np.clip((lead + 4) * np.float32(1 / 24), 0, 1)
    return plane


def withered(picture: Picture, colour: Colour, share: float) -> Picture:
    """The picture with its green turned towards ``colour`` at equal brightness."""
    if share <= 0:
        return picture
    brightness = picture.mean(axis=2, keepdims=True) / np.float32(np.mean(colour))
    dry = np.asarray(colour, np.float32) * brightness
    return blend(picture, np.clip(dry, 0, 255), greenness(picture) * np.float32(share))


def snowed(picture: Picture, lie: Plane, depth: float) -> Picture:
    """The picture under thin snow: none at depth 0, all but the barest at 1.

    ``lie`` is noise of zero mean and unit deviation, high where snow stays longest.
    """
    if depth <= 0:
        return picture
    cover = step(1.6 - 2.6 * depth, 2.6 - 2.6 * depth, lie)
    return blend(picture, _SNOW, cover * np.float32(0.85))
