"""Where on Earth and when each class is seen, and the file names that tell date and place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from pipeline.synthetic.landscapes import generator
from pipeline.synthetic.seasons import Season, season_of

SIDE_DEG = 1.125  # of a dated picture
DATES_PER_PLACE = 6
_FIRST_YEAR, _YEARS = 2019, 5
_STRIDE_DAYS = 23  # between a place's turns; shares no factor with any class's days a date

# west, south, east, north; west > east crosses the antimeridian.
REGIONS: dict[str, tuple[float, float, float, float]] = {
    "atoll": (174.4375, -21.0, -174.4375, -13.0),  # Fiji and Tonga: one column lies across 180
    "canyon": (-114.0, 34.0, -106.0, 40.0),  # Colorado Plateau
    "coast": (121.0, -19.0, 128.0, -12.0),  # Kimberley
    "cyclone": (125.0, 10.0, 150.0, 28.0),  # western Pacific
    "delta": (86.0, 19.0, 93.0, 24.0),  # Ganges
    "dunes": (0.0, 18.0, 14.0, 28.0),  # Sahara
    "farmland": (-1.0, 44.0, 12.0, 52.0),  # western Europe
    "forest": (-65.0, -8.0, -54.0, -1.0),  # Amazon
    "mountains": (78.0, 28.0, 95.0, 36.0),  # Himalaya
    "ocean": (-45.0, 35.0, -20.0, 48.0),  # North Atlantic
    "pivot_fields": (-103.0, 35.0, -96.0, 42.0),  # High Plains
    "river": (-76.0, -12.0, -66.0, -4.0),  # Ucayali and Juruá
    "salt_flat": (-70.0, -24.0, -65.0, -18.0),  # Altiplano
    "sea_ice": (-160.0, 72.0, -130.0, 82.0),  # Beaufort Sea
    "street_grid": (-90.0, 38.0, -78.0, 44.0),  # Great Lakes
}

# First and last day of the year on which a class is seen, where not all year round.
_DAYS: dict[str, tuple[int, int]] = {
    "cyclone": (180, 330),  # the season of typhoons
    "sea_ice": (70, 274),  # when there is light
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One date at one place of a class; ``place`` names the ground, ``number`` the pass over it."""

    place: int
    number: int
    season: Season
    name: str


def visits(class_name: str, count: int, seed: int) -> list[Visit]:
    """The first ``count`` dated pictures of a class: six dates a place, no name twice.

    Places lie side by side round the middle of the region.  A place's dates are of all parts of the
    year and of all years from 2019 to 2023.  Once all places are used, they are visited again.
    """
    cells, found = _cells(class_name), []
    jitter = generator(seed, class_name, 5).integers(1000, size=len(cells))
    for index in range(count):
        turn, place = divmod(index // DATES_PER_PLACE, len(cells))
        number = index % DATES_PER_PLACE + DATES_PER_PLACE * turn
        left, bottom = cells[place]
        taken = _taken(class_name, number, int(jitter[place]))
        name = (
            f"{taken.isoformat()}_{bottom:.4f},{_longitude(left):.4f},"
            f"{bottom + SIDE_DEG:.4f},{_longitude(left + SIDE_DEG):.4f}.jpg"
        )
        found.append(Visit(place, number, season_of(taken, bottom), name))
    return found


def _longitude(degrees: float) -> float:
    """The same meridian in [-180, 180)."""
    return (degrees + 180) % 360 - 180


def _cells(class_name: str) -> list[tuple[float, float]]:
    """West and south of each place of the region's grid, the nearest to its middle first.

    West is not brought back into [-180, 180).
    """
    west, south, east, north = REGIONS[class_name]
    columns, rows = int((east - west) % 360 // SIDE_DEG), int((north - south) // SIDE_DEG)

    def rank(cell: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        across, down = 2 * cell[0] - columns + 1, 2 * cell[1] - rows + 1
        return max(abs(across), abs(down)), cell

    order = sorted(((column, row) for column in range(columns) for row in range(rows)), key=rank)
    return [(west + column * SIDE_DEG, south + row * SIDE_DEG) for column, row in order]


def _taken(class_name: str, number: int, jitter: int) -> date:
    """The date of a place's pass ``number``: unique among the place's passes.

    ``jitter`` in [0, 1000) is the place's own: which year is seen in which part, and which days.
    """
    first, last = _DAYS.get(class_name, (0, 365))
    turn, index = divmod(number, DATES_PER_PLACE)
    width = (last - first) // DATES_PER_PLACE
    part = (index * (DATES_PER_PLACE - 1)) % DATES_PER_PLACE  # of the days of the year
    day = first + part * width + (jitter + turn * _STRIDE_DAYS) % width
    year = _FIRST_YEAR + (index + jitter // 200) % _YEARS + _YEARS * (turn // width)
    return date(year, 1, 1) + timedelta(days=day)
