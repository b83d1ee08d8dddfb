"""Where and when the demo's imagery is seen, and that the season shows in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from featurizer.tiles import place_of_name
from pipeline.synthetic.archive import ArchiveParameters, plan_shots
from pipeline.synthetic.landscapes import RECIPES, generator
from pipeline.synthetic.paint import seen_from_orbit
from pipeline.synthetic.places import REGIONS, SIDE_DEG, visits
from pipeline.synthetic.seasons import Season, season_of


def test_every_class_has_a_region() -> None:
    assert set(REGIONS) == set(RECIPES)


@pytest.mark.parametrize("name", REGIONS)
def test_visits_parse_lie_in_the_region_and_never_share_a_name(name: str) -> None:
    west, south, east, north = REGIONS[name]
    found = visits(name, 900, seed=5)
    assert len({v.name for v in found}) == 900
    for visit in found:
        place = place_of_name(visit.name)
        assert place.taken is not None
        assert place.bounds is not None
        w, s, e, n = place.bounds
        assert south <= s < n <= north
        assert (w - west) % 360 + (e - w) % 360 <= (east - west) % 360
        assert (e - w) % 360 == n - s == SIDE_DEG


@pytest.mark.parametrize("name", REGIONS)
def test_a_place_is_seen_in_all_years_and_all_parts_of_its_year(name: str) -> None:
    by_place: dict[object, list[datetime]] = {}
    for visit in visits(name, 108, seed=0):
        place = place_of_name(visit.name)
        assert place.taken is not None
        by_place.setdefault(place.bounds, []).append(place.taken)
    assert len(by_place) == 18
    for dates in by_place.values():
        assert len(dates) == 6
        assert {d.year for d in dates} == {2019, 2020, 2021, 2022, 2023}
        days = sorted(d.timetuple().tm_yday for d in dates)
        assert max(np.diff(days)) <= 121
        if name not in {"cyclone", "sea_ice"}:
            assert days[-1] - days[0] > 240


def test_every_year_has_pictures_of_every_month() -> None:
    taken = [place_of_name(v.name).taken for name in REGIONS for v in visits(name, 108, seed=0)]
    months = {(d.year, d.month) for d in taken if d is not None}
    assert months == {(year, month) for year in range(2019, 2024) for month in range(1, 13)}


@pytest.mark.parametrize("name", REGIONS)
def test_places_lie_side_by_side(name: str) -> None:
    """However few there are, no place is apart from the others."""
    cells = [place_of_name(v.name).bounds for v in visits(name, 36, seed=0)]
    corners = {(w, s) for w, s, _, _ in filter(None, cells)}
    assert len(corners) == 6
    reached, fresh = set(), {min(corners)}
    while fresh:
        reached |= fresh
        fresh = {
            (w, s)
            for w, s in corners - reached
            for (v, t) in reached
            if abs((w - v + 180) % 360 - 180) <= SIDE_DEG and abs(s - t) <= SIDE_DEG
        }
    assert reached == corners


def test_one_place_lies_across_the_antimeridian() -> None:
    bounds = [place_of_name(v.name).bounds for v in visits("atoll", 6, seed=0)]
    assert all(b is not None and b[0] > b[2] for b in bounds), bounds


def test_seasons_follow_the_sun() -> None:
    north = [season_of(date(2021, month, 15), 50.0).warmth for month in range(1, 13)]
    south = [season_of(date(2021, month, 15), -20.0).warmth for month in range(1, 13)]
    assert north.index(max(north)) == 6  # July
    assert south.index(max(south)) == 0
    assert north[0] < 0.01
    assert all(abs(a + b - 1) < 1e-9 for a, b in zip(north, south, strict=True))


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_nearness_to_a_phase_is_a_cosine_of_the_circle(phase: float, other: float) -> None:
    expected = max(0.0, float(np.cos(2 * np.pi * (phase - other))))
    assert Season(phase).near(other) == pytest.approx(expected, abs=1e-9)


def _white(picture: NDArray[np.uint8]) -> float:
    return float((picture.min(axis=2) > 190).mean())


def _green(picture: NDArray[np.uint8]) -> float:
    wide = picture.astype(int)
    return float((wide[:, :, 1] - wide[:, :, [0, 2]].max(axis=2)).mean())


def _dark(picture: NDArray[np.uint8]) -> float:
    return float((picture.max(axis=2) < 80).mean())


@pytest.mark.parametrize(
    ("name", "measure", "more", "less"),
    [
        ("mountains", _white, 0.0, 0.5),  # snow
        ("street_grid", _white, 0.0, 0.5),
        ("canyon", _white, 0.0, 0.5),
        ("coast", _green, 0.4, 0.9),  # rains
        ("farmland", _green, 0.25, 0.75),  # sprouting, ploughed
        ("pivot_fields", _green, 0.5, 0.0),
        ("sea_ice", _dark, 0.5, 0.1),  # open water
        ("ocean", _green, 0.3, 0.8),  # bloom
        ("salt_flat", lambda p: -p.mean(), 0.5, 0.0),  # brine on the crust
        ("river", _green, 0.5, 0.0),
    ],
)
def test_the_season_shows(
    name: str, measure: Callable[[NDArray[np.uint8]], float], more: float, less: float
) -> None:
    """Over eight places; the same ground and the same light, at two times of the year."""

    def mean(phase: float) -> float:
        views = [
            seen_from_orbit(
                generator(1, "light", i), RECIPES[name](generator(1, name, i), 96, Season(phase))
            )
            for i in range(8)
        ]
        return float(np.mean([measure(v) for v in views]))

    assert mean(more) > mean(less) + 1e-3


@pytest.mark.parametrize("name", RECIPES)
def test_every_season_draws_the_same_numbers(name: str) -> None:
    """So that the ground stays the same: what is drawn next must not depend on the season."""
    following = set()
    for phase in (0.0, 0.3, 0.5, 0.9):
        rng = generator(2, name, 0)
        RECIPES[name](rng, 64, Season(phase))
        following.add(float(rng.random()))
    assert len(following) == 1


def test_dates_of_one_place_show_the_same_ground() -> None:
    shots = [s for s in plan_shots(ArchiveParameters(14)) if s.class_name == "coast"]
    dated = [s for s in shots if place_of_name(s.path).taken]
    assert len(dated) == 12
    assert len({s.ground for s in dated}) == 2
    assert len({s.day for s in dated}) == 12
    assert len({s.path for s in shots}) == 14


def test_every_storm_is_another() -> None:
    shots = [s for s in plan_shots(ArchiveParameters(14)) if s.class_name == "cyclone"]
    assert len({s.ground for s in shots}) == 14
