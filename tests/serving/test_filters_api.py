"""Filters and facets over HTTP, against plain Python over all rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from shapely.geometry import Polygon, box

from featurizer.schema import Row
from featurizer.tiles import Bounds
from tests.serving.atlas import ROWS, Atlas, served_atlas
from tests.serving.problems import problem_of


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    with served_atlas(tmp_path_factory.mktemp("atlas")) as made:
        yield made


def boxes(bounds: Bounds) -> list[Polygon]:
    """On the plane from -180 to 180, cut in two where they cross the edge."""
    west, south, east, north = bounds
    if west <= east:
        return [box(west, south, east, north)]
    return [box(west, south, 180, north), box(-180, south, east, north)]


def touches(bounds: Bounds | None, area: list[Polygon]) -> bool:
    if bounds is None:
        return False
    return any(one.intersects(other) for one in boxes(bounds) for other in area)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


TRIANGLE = [[100, -60], [170, -60], [140, 40], [100, -60]]
ACROSS = [[150, -50], [230, -50], [230, 50], [150, 50], [150, -50]]
ACROSS_CUT = [box(150, -50, 180, 50), box(-180, -50, -130, 50)]
CASES: list[tuple[str, dict[str, Any], Callable[[Row], bool]]] = [
    ("label", {"labels": ["ice"]}, lambda r: r.label == "ice"),
    ("labels", {"labels": ["ice", None]}, lambda r: r.label in ("ice", None)),
    (
        "time",
        {"start": "2020-02-01T00:00:00Z", "end": "2021-05-05T12:00:00Z"},
        lambda r: r.taken is not None and at("2020-02-01") <= r.taken < at("2021-05-05T12:00"),
    ),
    ("day", {"start": "2022-06-01"}, lambda r: r.taken is not None and r.taken >= at("2022-06-01")),
    (
        "offset",
        {"end": "2019-06-01T00:00:00+05:00"},
        lambda r: r.taken is not None and r.taken < at("2019-05-31T19:00"),
    ),
    (
        "season",
        {"season": {"start": "06-01", "end": "08-31"}},
        lambda r: r.taken is not None and (6, 1) <= (r.taken.month, r.taken.day) <= (8, 31),
    ),
    (
        "winter",
        {"season": {"start": "12-01", "end": "02-28"}},
        lambda r: r.taken is not None and not (2, 29) <= (r.taken.month, r.taken.day) <= (11, 30),
    ),
    ("bbox", {"bbox": [100, -45, 155, 10]}, lambda r: touches(r.bounds, [box(100, -45, 155, 10)])),
    (
        "bbox across 180",
        {"bbox": [160, -30, -150, 30]},
        lambda r: touches(r.bounds, [box(160, -30, 180, 30), box(-180, -30, -150, 30)]),
    ),
    (
        "polygon",
        {"polygon": {"type": "Polygon", "coordinates": [TRIANGLE]}},
        lambda r: touches(r.bounds, [Polygon(TRIANGLE)]),
    ),
    (
        "polygon across 180",
        {"polygon": {"type": "MultiPolygon", "coordinates": [[ACROSS]]}},
        lambda r: touches(r.bounds, ACROSS_CUT),
    ),
    ("uri", {"uri_prefix": "/imagery/south/"}, lambda r: "/south/" in r.uri),
    (
        "valid",
        {"min_valid_fraction": 0.75},
        lambda r: r.valid_fraction is not None and r.valid_fraction >= 0.75,
    ),
    (
        "all at once",
        {"labels": ["coast", "ice"], "start": "2020-01-01", "bbox": [-90, -80, 90, 80]},
        lambda r: (
            r.label in ("coast", "ice")
            and r.taken is not None
            and r.taken >= at("2020-01-01")
            and touches(r.bounds, [box(-90, -80, 90, 80)])
        ),
    ),
    ("nothing", {"uri_prefix": "gs://elsewhere/"}, lambda _: False),
]


@pytest.mark.parametrize(
    ("wanted", "holds"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
class TestEachFilter:
    def test_hits_are_the_best_of_what_matches(
        self, atlas: Atlas, wanted: dict[str, Any], holds: Callable[[Row], bool]
    ) -> None:
        expected = [row for row in atlas.ranked(atlas.units[7]) if holds(atlas.rows[row])]
        answer = atlas.search(positive=[7], filter=wanted, k=20, exact=True)
        found = [atlas.ids.index(hit["tile_id"]) for hit in answer["hits"]]
        # Rows whose similarities agree to float32 may change places.
        assert atlas.units[found] @ atlas.units[7] == pytest.approx(
            atlas.units[expected[:20]] @ atlas.units[7], abs=1e-5
        )
        assert all(holds(atlas.rows[row]) for row in found)
        assert answer["matching"] == len(expected)

    def test_all_that_match_can_be_had_without_exact(
        self, atlas: Atlas, wanted: dict[str, Any], holds: Callable[[Row], bool]
    ) -> None:
        expected = {row for row in range(ROWS) if holds(atlas.rows[row])}
        assert set(atlas.found(positive=[3], filter=wanted, k=1000)) == expected

    def test_facets_count_them(
        self, atlas: Atlas, wanted: dict[str, Any], holds: Callable[[Row], bool]
    ) -> None:
        rows = [row for row in atlas.rows if holds(row)]
        said = atlas.client.post("/v1/facets", json={"filter": wanted}).json()
        assert said["matching"] == len(rows)
        labels = Counter(row.label for row in rows if row.label is not None)
        assert {one["label"]: one["count"] for one in said["labels"]} == labels
        assert said["unlabelled"] == sum(row.label is None for row in rows)
        months = Counter(f"{row.taken:%Y-%m}" for row in rows if row.taken is not None)
        assert [(one["month"], one["count"]) for one in said["months"]] == sorted(months.items())
        assert said["undated"] == sum(row.taken is None for row in rows)
        assert said["unplaced"] == sum(row.bounds is None for row in rows)
        times = sorted(row.taken for row in rows if row.taken is not None)
        shown = [None if said[end] is None else at(said[end][:-1]) for end in ("first", "last")]
        assert shown == ([times[0], times[-1]] if times else [None, None])


def test_facets_of_everything_and_the_most_frequent_labels(atlas: Atlas) -> None:
    said = atlas.client.post("/v1/facets", json={"max_labels": 2}).json()
    counts = Counter(row.label for row in atlas.rows if row.label is not None)
    assert said["matching"] == ROWS and said["generation"] == atlas.archive.name
    assert [one["count"] for one in said["labels"]] == [n for _, n in counts.most_common(2)]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"start": "2021-02-01", "end": "2021-01-01"}, "bad-query"),
    ({"start": "yesterday"}, "bad-request"),
    ({"start": 20210101}, "bad-request"),
    ({"season": {"start": "13-01", "end": "01-01"}}, "bad-request"),
    ({"season": {"start": "02-30", "end": "03-01"}}, "bad-query"),
    ({"bbox": [0, 10, 20, -10]}, "bad-query"),
    ({"bbox": [0, 10, 20]}, "bad-request"),
    ({"bbox": [0, 10, 20, "x"]}, "bad-request"),
    ({"polygon": {"type": "Point", "coordinates": [0, 0]}}, "bad-query"),
    ({"polygon": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}, "bad-query"),
    ({"polygon": {"type": "Polygon", "coordinates": 10**30}}, "bad-query"),
    ({"polygon": {}}, "bad-query"),
    ({"labels": []}, "bad-request"),
    ({"labels": [1]}, "bad-request"),
    ({"uri_prefix": ""}, "bad-request"),
    ({"min_valid_fraction": 1.5}, "bad-request"),
    ({"colour": "red"}, "bad-request"),
]


@pytest.mark.parametrize(("wanted", "slug"), REFUSED)
def test_what_cannot_be_meant_is_refused(atlas: Atlas, wanted: dict[str, Any], slug: str) -> None:
    body = {"positive": [{"tile_id": atlas.ids[0]}], "filter": wanted}
    problem_of(atlas.client.post("/v1/search", json=body), 422, slug)
    problem_of(atlas.client.post("/v1/facets", json={"filter": wanted}), 422, slug)


def test_an_endless_polygon_is_refused(atlas: Atlas) -> None:
    ring = [[n / 1e4, (n * 7 % 1000) / 1e3] for n in range(100_000)]
    wanted = {"polygon": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}}
    answer = atlas.client.post("/v1/facets", json={"filter": wanted})
    assert "simplify" in problem_of(answer, 413, "too-large")["detail"]
