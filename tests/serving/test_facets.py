"""Counts of what rows are, against counting them one by one."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from featurizer.schema import Row
from serving.engine.filters import Filter
from serving.engine.search import Facets, SearchEngine
from tests.serving.archive import build_archive, clustered
from tests.serving.places import passes, placed_rows

ROWS = 400
REMOVED = (0, 5, 17, 399)


def counted(rows: list[Row]) -> Facets:
    labels = Counter(row.label for row in rows if row.label is not None)
    times = sorted(row.taken for row in rows if row.taken is not None)
    boxes = [row.bounds for row in rows if row.bounds is not None]
    across = any(west > east for west, _, east, _ in boxes)
    sides = list(zip(*boxes, strict=True))
    return Facets(
        matching=len(rows),
        labels=sorted(labels.items(), key=lambda item: (-item[1], item[0])),
        unlabelled=sum(row.label is None for row in rows),
        months=sorted(Counter(f"{time:%Y-%m}" for time in times).items()),
        undated=sum(row.taken is None for row in rows),
        first=times[0] if times else None,
        last=times[-1] if times else None,
        bounds=(
            -180.0 if across else min(sides[0]),
            min(sides[1]),
            180.0 if across else max(sides[2]),
            max(sides[3]),
        )
        if boxes
        else None,
        unplaced=sum(row.bounds is None for row in rows),
    )


@pytest.fixture(scope="module")
def rows():
    return placed_rows(ROWS, seed=3)


@pytest.fixture(scope="module")
def engine(rows, tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    archive = build_archive(
        root, clustered(ROWS, 8), rows, [150, 0, 250], "IVF4,PQ4x4", tombstones=REMOVED
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.engine.blocks.BLOCK_ROWS", 32)
        return SearchEngine.open(archive.root, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(labels=("coast",)),
        Filter(labels=(None,)),
        Filter(bbox=(-60.0, -40.0, 60.0, 40.0)),
        Filter(bbox=(-179.0, 80.0, -178.0, 81.0), min_valid_fraction=1.0),
        Filter(start=datetime(2020, 5, 1, tzinfo=UTC), end=datetime(2021, 5, 1, tzinfo=UTC)),
        Filter(uri_prefix="nothing"),
    ],
    ids=str,
)
def test_facets_are_what_counting_gives(rows, engine, wanted):
    left = [row for i, row in enumerate(rows) if i not in REMOVED and passes(row, wanted)]
    assert engine.facets(engine.select(wanted), 100) == counted(left)


def test_the_whole_archive_is_counted_once(rows, engine, monkeypatch):
    left = [row for i, row in enumerate(rows) if i not in REMOVED]
    assert engine.facets(None, 100) == counted(left)
    monkeypatch.setattr("serving.engine.facets.count", None)
    assert engine.facets(None, 100).matching == len(left)
    assert engine.facets(engine.select(Filter()), 2).labels == counted(left).labels[:2]


def test_dates_before_1970_and_boxes_that_do_not_cross(tmp_path):
    rows = [
        Row(uri="a", etag="e", taken=datetime(1957, 10, 4, 19, 28, tzinfo=UTC)),
        Row(uri="b", etag="e", taken=datetime(1969, 12, 31, 23, 59, tzinfo=UTC), label="ü"),
        Row(uri="c", etag="e", bounds=(-10.0, 0.0, 5.0, 2.5)),
        Row(uri="d", etag="e", bounds=(100.0, -3.0, 101.0, 1.0)),
    ]
    archive = build_archive(tmp_path / "root", clustered(4, 8), rows, [4], "IVF1,PQ4x2")
    found = SearchEngine.open(archive.root, tmp_path / "cache").facets(None, 5)
    assert found == counted(rows)
    assert found.months == [("1957-10", 1), ("1969-12", 1)]
    assert found.bounds == (-10.0, -3.0, 101.0, 2.5)


def test_an_archive_without_rows(tmp_path):
    archive = build_archive(
        tmp_path / "root", clustered(40, 8), factory="IVF2,PQ4x4", tombstones=tuple(range(40))
    )
    engine = SearchEngine.open(archive.root, tmp_path / "cache")
    assert engine.facets(None, 5) == counted([])
    assert engine.select(Filter()).ids().tolist() == []
