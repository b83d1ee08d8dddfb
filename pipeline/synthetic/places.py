"""Where on Earth each class lies, and the file names that tell date and place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from pipeline.synthetic.landscapes import generator

SIDE_DEG = 1.125  # of a dated picture
DATES_PER_PLACE = 3
_FIRST_DATE = date(2021, 1, 9)

REGIONS: dict[str, tuple[float, float, float, float]] = {  # west, south, east, north
    "atoll": (-150.0, -20.0, -138.0, -14.0),  # Tuamotu
    "canyon": (-114.0, 34.0, -106.0, 40.0),  # Colorado Plateau
    "coast": (122.0, -17.0, 136.0, -11.0),  # northern Australia
    "cyclone": (125.0, 10.0, 150.0, 28.0),  # western Pacific
    "delta": (86.0, 19.0, 93.0, 24.0),  # Ganges
    "dunes": (0.0, 18.0, 14.0, 28.0),  # Sahara
    "farmland": (-1.0, 44.0, 12.0, 52.0),  # western Europe
    "forest": (-68.0, -8.0, -54.0, 2.0),  # Amazon
    "mountains": (78.0, 28.0, 95.0, 36.0),  # Himalaya
    "ocean": (-45.0, 35.0, -20.0, 48.0),  # North Atlantic
    "pivot_fields": (-103.0, 35.0, -96.0, 42.0),  # High Plains
    "river": (-76.0, -12.0, -66.0, -4.0),  # Ucayali and Juruá
    "salt_flat": (-70.0, -24.0, -65.0, -18.0),  # Altiplano
    "sea_ice": (-160.0, 72.0, -130.0, 82.0),  # Beaufort Sea
    "street_grid": (-90.0, 38.0, -78.0, 44.0),  # Great Lakes
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One date at one place of a class; ``place`` names the ground, ``number`` the pass over it."""

    place: int
    number: int
    name: str


def visits(class_name: str, count: int, seed: int) -> list[Visit]:
    """The first ``count`` dated pictures of a class: three dates a place, no name twice.

    Once all places of the region are used, they are visited again on later dates.
    """
    west, south, east, north = REGIONS[class_name]
    columns, rows = int((east - west) // SIDE_DEG), int((north - south) // SIDE_DEG)
    order = generator(seed, class_name, 5).permutation(columns * rows)
    found = []
    for index in range(count):
        turn, place = divmod(index // DATES_PER_PLACE, len(order))
        cell = int(order[place])
        number = index % DATES_PER_PLACE + DATES_PER_PLACE * turn
        row, column = divmod(cell, columns)
        left, bottom = west + column * SIDE_DEG, south + row * SIDE_DEG
        taken = _FIRST_DATE + timedelta(days=61 * number + cell % 50)
        name = (
            f"{taken.isoformat()}_{bottom:.4f},{left:.4f},"
            f"{bottom + SIDE_DEG:.4f},{left + SIDE_DEG:.4f}.jpg"
        )
        found.append(Visit(cell, number, name))
    return found
