"""What a filter leaves, against its words taken one row at a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.errors import QueryError
from featurizer.schema import Row
from serving.engine import filters
from serving.engine.filters import Criteria, Filter, days_of_year
from serving.engine.regions import Area, Boxes, touching
from serving.engine.selection import select
from serving.engine.zones import may_match
from tests.serving.places import (
    LABELS,
    opened_rows,
    passes,
    placed_rows,
    touch,
    touches_polygon,
)

NONE_REMOVED = np.empty(0, np.int64)
COUNTS = [133, 0, 1, 166]

longitudes = st.integers(-180, 180).map(float)
latitudes = st.integers(-90, 90).map(float)
boxes = st.builds(
    lambda west, east, south, north: (west, min(south, north), east, max(south, north)),
    longitudes,
    longitudes,
    latitudes,
    latitudes,
)
days = st.dates(datetime(2020, 1, 1).date(), datetime(2020, 12, 31).date()).map(
    lambda day: (day.month, day.day)
)
moments = st.datetimes(datetime(2018, 6, 1), datetime(2024, 6, 1), timezones=st.just(UTC))


def polygon_text(west: float, south: float, points: list[tuple[int, int]]) -> str | None:
    """A star-shaped ring around the mean of the points, whose corners are whole degrees."""
    ring = sorted(set(points), key=lambda p: (np.arctan2(p[1] - 10.5, p[0] - 20.5), p))
    corners = [[west + x, max(-90.0, min(90.0, south + y))] for x, y in ring]
    text = json.dumps({"type": "Polygon", "coordinates": [[*corners, corners[0]]]})
    try:
        Area(text)
    except QueryError:
        return None  # too thin, or folded at a pole: no polygon
    return text


polygons = st.builds(
    polygon_text,
    st.integers(-360, 320).map(float),
    st.integers(-90, 70).map(float),
    st.lists(st.tuples(st.integers(0, 41), st.integers(0, 21)), min_size=4, max_size=8),
).filter(lambda text: text is not None)


@st.composite
def asked(draw: st.DrawFn) -> Filter:
    """A filter of one to three facts."""
    times = sorted(draw(st.lists(moments, min_size=2, max_size=2, unique=True)))
    choices = {
        "start": st.just(times[0]),
        "end": st.just(times[1]),
        "season": st.tuples(days, days),
        "bbox": boxes,
        "polygon": polygons,
        "labels": st.lists(st.sampled_from([*LABELS, "other", None]), min_size=1).map(tuple),
        "uri_prefix": st.sampled_from(
            [
                "gs://bucket/2020/",
                "gs://bucket/2021/scene5",
                "gs://",
                "s3://",
                "gs://bucket/2022/scene199.tif#",
            ]
        ),
        "min_valid_fraction": st.integers(0, 10).map(lambda tenths: tenths / 10),
    }
    names = draw(st.lists(st.sampled_from(sorted(choices)), min_size=1, max_size=3, unique=True))
    return Filter(**{name: draw(choices[name]) for name in names})


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    rows = placed_rows(300)
    return SimpleNamespace(
        rows=rows, opened=opened_rows(tmp_path_factory.mktemp("placed"), rows, COUNTS)
    )


@settings(max_examples=300, deadline=None)
@given(asked())
def test_selected_are_the_rows_that_pass(placed, wanted):
    found = select(placed.opened, wanted, NONE_REMOVED)
    assert found.ids().tolist() == [i for i, row in enumerate(placed.rows) if passes(row, wanted)]
    assert found.count == len(found.ids())


@settings(max_examples=300, deadline=None)
@given(st.lists(boxes, min_size=1, max_size=20), boxes)
def test_boxes_touch_where_shapely_says(tiles, box):
    found = touching(Boxes(*np.array(tiles).T), filters.checked(box, "bbox"))
    assert found.tolist() == [touch(tile, box) for tile in tiles]


@settings(max_examples=300, deadline=None)
@given(st.lists(boxes, min_size=1, max_size=20), polygons)
def test_boxes_touch_a_polygon_where_shapely_says(tiles, text):
    found = Area(text).touching(Boxes(*np.array(tiles).T))
    assert found.tolist() == [touches_polygon(tile, text) for tile in tiles]


@pytest.mark.parametrize(
    ("tile", "box", "meets"),
    [
        ((170, 0, 180, 10), (-180, 0, -170, 10), True),  # the seam is one meridian
        ((170, 0, -170, 10), (-175, 5, -160, 6), True),
        ((170, 0, -170, 10), (165, 0, 169, 10), False),
        ((170, 0, -170, 10), (160, 0, -160, 10), True),
        ((-170, 0, -160, 10), (170, 0, -170, 10), True),  # an edge
        ((-169, 0, -160, 10), (170, 0, -170, 10), False),
        ((-175, 0, -174, 10), (170, 0, 190, 10), True),  # a map dragged past 180
        ((175, 0, 176, 10), (-190, 0, -170, 10), True),
        ((0, 0, 1, 1), (-540, -90, 540, 90), True),
        ((0, 0, 10, 10), (10, 10, 20, 20), True),  # a corner
        ((0, 0, 10, 10), (5, 5, 5, 5), True),  # a point
    ],
)
def test_boxes_at_the_seam(tile, box, meets):
    tiles = Boxes(*np.array([tile], np.float64).T)
    assert touching(tiles, filters.checked(tuple(map(float, box)), "bbox")).tolist() == [meets]


def test_a_polygon_in_two_parts_with_a_hole_over_the_seam():
    hole = [[176, 2], [176, 8], [184, 8], [184, 2], [176, 2]]
    ring = [[170, 0], [190, 0], [190, 10], [170, 10], [170, 0]]
    area = Area(
        json.dumps(
            {
                "type": "MultiPolygon",
                "coordinates": [[ring, hole], [[[0, 0], [5, 0], [0, 5], [0, 0]]]],
            }
        )
    )
    tiles = [
        (171, 1, 172, 2),
        (-179, 4, -178, 5),  # in the hole
        (179, 4, -179, 5),  # in the hole, across
        (-175, 4, -174, 5),
        (1, 1, 2, 2),
        (4, 4, 5, 5),
    ]
    found = area.touching(Boxes(*np.array(tiles, np.float64).T))
    assert found.tolist() == [True, False, False, True, True, False]


@given(st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), min_size=1))
def test_days_of_the_year_are_those_of_the_calendar(times):
    epoch = datetime(1970, 1, 1)
    stored = np.array([(time - epoch) // timedelta(microseconds=1) for time in times], np.int64)
    assert days_of_year(stored).tolist() == [100 * time.month + time.day for time in times]


def test_the_twenty_ninth_of_february(tmp_path):
    dates = [(2020, 2, 28), (2020, 2, 29), (2020, 3, 1), (2021, 2, 28), (2021, 12, 31)]
    rows = [
        Row(uri=f"{i}", etag="e", taken=datetime(*day, 23, 59, 59, tzinfo=UTC))
        for i, day in enumerate(dates)
    ]
    opened = opened_rows(tmp_path, rows, [5])

    def ids(first: tuple[int, int], last: tuple[int, int]) -> list[int]:
        return select(opened, Filter(season=(first, last)), NONE_REMOVED).ids().tolist()

    assert ids((2, 29), (2, 29)) == [1]
    assert ids((12, 1), (2, 28)) == [0, 3, 4]
    assert ids((12, 1), (2, 29)) == [0, 1, 3, 4]
    assert ids((3, 1), (2, 29)) == [0, 1, 2, 3, 4]


def test_a_time_without_a_zone_is_utc_and_another_zone_is_turned_to_it(tmp_path):
    rows = [Row(uri=f"{i}", etag="e", taken=datetime(2021, 5, 1, i, tzinfo=UTC)) for i in range(12)]
    opened = opened_rows(tmp_path, rows, [12])
    east = timezone(timedelta(hours=2))
    for start in (datetime(2021, 5, 1, 6), datetime(2021, 5, 1, 8, tzinfo=east)):
        found = select(opened, Filter(start=start), NONE_REMOVED)
        assert found.ids().tolist() == list(range(6, 12))


@pytest.mark.parametrize(
    ("wanted", "most"),
    [
        (Filter(start=datetime(2020, 3, 1, tzinfo=UTC), end=datetime(2020, 4, 1, tzinfo=UTC)), 3),
        (Filter(uri_prefix="gs://bucket/2021/scene80"), 3),
        (Filter(labels=("nowhere",)), 0),
        (Filter(uri_prefix="s3://"), 0),
        (Filter(season=((2, 1), (2, 2)), end=datetime(2020, 1, 1, tzinfo=UTC)), 2),
    ],
)
def test_blocks_that_cannot_match_are_not_read(placed, wanted, most):
    read = may_match(placed.opened.zones, Criteria.of(wanted))
    assert len(read) == 9 + 1 + 11
    assert read.sum() <= most


def polygon(*ring: tuple[float, float], kind: str = "Polygon") -> str:
    return json.dumps({"type": kind, "coordinates": [[list(point) for point in ring]]})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"start": datetime(2021, 1, 2), "end": datetime(2021, 1, 1)}, "not before end"),
        ({"start": datetime(2021, 1, 1), "end": datetime(2021, 1, 1, tzinfo=UTC)}, "not before"),
        ({"season": ((2, 30), (3, 1))}, "02-30"),
        ({"season": ((1, 1), (13, 1))}, "13-01"),
        ({"bbox": (0.0, 10.0, 1.0, 0.0)}, "south is above north"),
        ({"bbox": (0.0, -91.0, 1.0, 0.0)}, "latitudes"),
        ({"bbox": (float("nan"), 0.0, 1.0, 1.0)}, "finite"),
        ({"bbox": (0.0, 0.0, 600.0, 1.0)}, "longitudes"),
        ({"labels": ()}, "empty list"),
        ({"labels": ("\ud800",)}, "half of a character"),
        ({"uri_prefix": "\udfff"}, "half of a character"),
        ({"min_valid_fraction": 1.5}, r"0\.\.1"),
        ({"min_valid_fraction": float("nan")}, r"0\.\.1"),
        ({"polygon": "no json"}, "not a GeoJSON"),
        ({"polygon": "[]"}, "not a GeoJSON"),
        ({"polygon": '{"type": "Polygon"}'}, "not a GeoJSON"),
        ({"polygon": '{"type": "Polygon", "coordinates": "x"}'}, "not a GeoJSON"),
        ({"polygon": '{"type": "Polygon", "coordinates": []}'}, "without any point"),
        ({"polygon": '{"type": "Point", "coordinates": [1, 2]}'}, "a GeoJSON Point"),
        ({"polygon": polygon((0, 0), (1, 1))}, "not a GeoJSON"),
        ({"polygon": polygon((0, 0), (1, 1), (1, 0), (0, 1), (0, 0))}, "Self-intersection"),
        ({"polygon": polygon((0, 0), (1, 0), (0, 95), (0, 0))}, "latitudes"),
        ({"polygon": polygon((0, 0), (999, 0), (0, 9), (0, 0))}, "longitudes"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, says):
    with pytest.raises(QueryError, match=says):
        Filter(**options)
