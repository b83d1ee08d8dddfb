"""Tiles, filters and efforts between the engine and the wire: arithmetic on text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizer.tiles import Bounds, Window
from serving.conversion import (
    dumps,
    effort_of,
    filter_of,
    shape_of,
    tile_dict,
    tile_url,
    worldview_url,
)
from serving.engine.search import Tile
from serving.models.answers import TileOut
from serving.models.requests import FilterIn, How, Season, ShapeIn
from serving.query.question import Effort, Shape


def tile(
    bounds: Bounds | None = None, taken: datetime | None = None, name: str = "/a/b.tif"
) -> Tile:
    return Tile(name, name, None, None, taken, bounds, None, "etag")


@given(st.text())
def test_a_tiles_url_is_its_id_percent_encoded(name: str) -> None:
    try:
        expected = f"/v1/tiles/{quote(name, safe='')}"
    except UnicodeEncodeError:  # lone surrogates: no id has them
        return
    assert tile_url(name) == expected


@given(st.text(alphabet="aZ09/#,: ._-~%é+?&=@"))
def test_what_ids_are_full_of_comes_back(name: str) -> None:
    assert unquote(tile_url(name).removeprefix("/v1/tiles/")) == name
    assert "/" not in tile_url(name).removeprefix("/v1/tiles/")


class TestWorldview:
    DAY = datetime(2021, 7, 14, 23, 59, tzinfo=UTC)

    def view(self, bounds: Bounds) -> list[float]:
        url = worldview_url(tile(bounds, self.DAY))
        assert url is not None and url.startswith("https://worldview.earthdata.nasa.gov/?")
        query = parse_qs(urlsplit(url).query)
        assert query["t"] == ["2021-07-14"] and set(query) == {"v", "t"}
        return [float(number) for number in query["v"][0].split(",")]

    def test_half_as_much_on_each_side(self) -> None:
        assert self.view((129.5, -13.25, 130.0, -12.75)) == [129.25, -13.5, 130.25, -12.5]

    def test_across_the_antimeridian_east_goes_on(self) -> None:
        assert self.view((179.0, 60.0, -179.0, 61.0)) == [178.0, 59.5, 182.0, 61.5]

    def test_poles_bound_it_and_small_tiles_get_a_margin(self) -> None:
        assert self.view((0.0, -90.0, 10.0, 90.0)) == [-5.0, -90.0, 15.0, 90.0]
        assert self.view((10.0, 50.0, 10.01, 50.01)) == pytest.approx([9.95, 49.95, 10.06, 50.06])

    @given(
        st.floats(-180, 180),
        st.floats(1e-6, 359),
        st.floats(-90, 89),
        st.floats(1e-6, 1),
    )
    def test_the_tile_is_inside(self, west: float, wide: float, south: float, high: float) -> None:
        east, north = west + wide, min(south + high, 90.0)
        shown = self.view((west, south, east - 360 if east > 180 else east, north))
        assert shown[0] <= west + 1e-4 and shown[2] >= east - 1e-4
        assert -90 <= shown[1] <= south + 1e-4 and north - 1e-4 <= shown[3] <= 90

    def test_none_where_place_or_day_is_unknown(self) -> None:
        assert worldview_url(tile((0.0, 0.0, 1.0, 1.0), None)) is None
        assert worldview_url(tile(None, self.DAY)) is None


def test_a_tiles_fields_are_those_of_the_model() -> None:
    taken = datetime(2021, 7, 14, 1, 2, 3, 450_000, tzinfo=UTC)
    full = Tile(
        "/a#1,2,3,4", "/a", Window(1, 2, 3, 4), "ice", taken, (1.0, 2.0, 3.0, 4.0), 1 / 3, "e"
    )
    for one in (full, tile()):
        data = dumps(tile_dict(one))
        model = TileOut.model_validate_json(data, strict=True)
        assert (model.tile_id, model.datetime, model.bounds) == (one.tile_id, one.taken, one.bounds)
        assert dumps(model.model_dump(mode="json")) == data
    assert tile_dict(full)["valid_fraction"] == 0.3333


class TestFilter:
    def test_fields(self) -> None:
        asked = FilterIn(
            start=datetime(2021, 1, 1),
            end=datetime(2022, 1, 1, tzinfo=timezone(timedelta(hours=5))),
            season=Season(start="12-01", end="02-29"),
            bbox=(1, 2, 3, 4),
            polygon={"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
            labels=["a", None, "a"],
            uri_prefix="gs://",
            min_valid_fraction=0.5,
        )
        made = filter_of(asked)
        assert made.season == ((12, 1), (2, 29)) and made.labels == ("a", None)
        assert made.bbox == (1, 2, 3, 4) and made.uri_prefix == "gs://"
        assert made.polygon is not None and "coordinates" in made.polygon
        assert hash(made) == hash(filter_of(asked)) and made == filter_of(asked)

    def test_the_order_of_a_polygons_keys_does_not_matter(self) -> None:
        ring = [[[0, 0], [1, 0], [1, 1], [0, 0]]]
        one = filter_of(FilterIn(polygon={"type": "Polygon", "coordinates": ring}))
        assert one == filter_of(FilterIn(polygon={"coordinates": ring, "type": "Polygon"}))


@pytest.mark.parametrize(
    ("asked", "effort"),
    [
        (How(), Effort(None)),
        (How(quality="fast"), Effort(8)),
        (How(quality="high"), Effort(128)),
        (How(quality="high", nprobe=3), Effort(3)),
        (How(exact=True), Effort(None, True)),
    ],
)
def test_quality_is_cells_to_visit(asked: How, effort: Effort) -> None:
    assert effort_of(asked, 32) == effort


def test_fast_visits_one_cell_at_least() -> None:
    assert effort_of(How(quality="fast"), 3) == Effort(1)


def test_shapes() -> None:
    assert shape_of(None) == Shape() and shape_of(None).is_plain
    asked = ShapeIn(max_overlap=0.5, overlap_by="place", duplicate_distance=0.1, diversity=0.2)
    assert shape_of(asked) == Shape(0.5, "place", 0.1, 0.2)
