"""Tile ids and geolocated names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from featurizer.errors import QueryError
from featurizer.tiles import Place, Window, parse_tile_id, place_of_name, tile_id

COUNT = st.integers(0, 2**31 - 1)
WINDOWS = st.builds(Window, COUNT, COUNT, COUNT, COUNT)
URIS = st.text(st.sampled_from("ab/#,.0123 é\n"), min_size=1) | st.text(min_size=1)


@given(URIS, WINDOWS)
@example("gs://b/a#1,2,3,4.tif", Window(0, 0, 1, 1))
@example("a#1,2,3,4", Window(5, 6, 7, 8))
def test_a_window_comes_back(uri: str, window: Window) -> None:
    assert parse_tile_id(tile_id(uri, window)) == (uri, window)


@given(URIS)
def test_what_parses_is_written_the_same(text: str) -> None:
    uri, window = parse_tile_id(text)
    assert tile_id(uri, window) == text


@pytest.mark.parametrize(
    "uri",
    [
        "a.jpg",
        "a#b.jpg",
        "#1,2,3,4",  # nothing before it: it is the uri
        "a#1,2,3",
        "a#1,2,3,4,5",
        "a#-1,2,3,4",
        "a#01,2,3,4",
        "a#١,2,3,4",
        "a#1,2,3," + "9" * 5_000,  # more digits than int() takes
    ],
)
def test_other_endings_belong_to_the_uri(uri: str) -> None:
    assert parse_tile_id(uri) == (uri, None)


def test_the_format_that_users_keep() -> None:
    assert tile_id("gs://b/scene.tif", Window(128, 0, 256, 256)) == "gs://b/scene.tif#128,0,256,256"
    assert tile_id("gs://b/a.jpg") == "gs://b/a.jpg"


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(QueryError, match="empty tile id"):
        parse_tile_id("")


DEGREES = st.integers(-1_800_000, 1_800_000).map(lambda n: n / 10_000)
DATES = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31))


@given(DATES, DEGREES, DEGREES, DEGREES, DEGREES)
def test_date_and_bounds_of_a_name(
    taken: datetime, a: float, b: float, west: float, east: float
) -> None:
    south, north = sorted((a / 2, b / 2))
    name = f"gs://b/{taken:%Y-%m-%d}_{south:.5f},{west:.5f},{north:.5f},{east:.5f}.jpeg"
    found = place_of_name(name)
    if south == north or west == east:
        assert found == Place()
        return
    assert found.taken == datetime(taken.year, taken.month, taken.day, tzinfo=UTC)
    assert found.bounds == pytest.approx((west, south, east, north))


def test_a_name_that_crosses_the_antimeridian() -> None:
    assert place_of_name("2020-02-29_-20,175.5,-10.25,-178.jpg") == Place(
        datetime(2020, 2, 29, tzinfo=UTC), (175.5, -20.0, -178.0, -10.25)
    )


@pytest.mark.parametrize(
    "name",
    [
        "Forest_1.jpg",
        "2020-02-30_0,0,1,1.jpg",  # no such day
        "2020-02-20_0,0,91,1.jpg",
        "2020-02-20_1,0,0,1.jpg",  # south above north
        "2020-02-20_0,0,1,181.jpg",
        "2020-02-20_0,0,1.jpg",
        "2020-02-20_0,0,1,1",
        "2020-02-20_0,0,1,1.jpg/other.jpg",
        "x2020-02-20_0,0,1,1.jpg",
        "2020-02-20_nan,0,1,1.jpg",
        "",
    ],
)
def test_other_names_tell_nothing(name: str) -> None:
    assert place_of_name(name) == Place()
