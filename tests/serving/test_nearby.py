"""What lies around a tile, against shapely one tile at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import shapely

from featurizer.schema import Row
from featurizer.tiles import Bounds, Window
from serving.engine.search import SearchEngine
from tests.serving.archive import build_archive, clustered
from tests.serving.places import placed_rows, touch

EVERYTHING = 10_000


def opened(folder, rows, counts=None, **options) -> SearchEngine:
    archive = build_archive(
        folder / "root", clustered(len(rows), 8), rows, counts, "IVF1,PQ4x2", **options
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.engine.blocks.BLOCK_ROWS", 16)
        return SearchEngine.open(archive.root, folder / "cache")


def unrolled(bounds: Bounds, turn: int = 0) -> shapely.Geometry:
    west, south, east, north = bounds
    return shapely.box(west + turn, south, east + 360 * (west > east) + turn, north)


def overlap(first: Bounds, second: Bounds) -> float:
    mine, union = unrolled(first), unrolled(first).area + unrolled(second).area
    common = sum(mine.intersection(unrolled(second, turn)).area for turn in (-360, 0, 360))
    return common / (union - common)


def ids(answer) -> tuple[list[int], list[int]]:
    return answer[0].tolist(), answer[1].tolist()


def grid(west: float) -> list[Row]:
    """Five by four tiles of a degree, over each six days, from this longitude eastwards."""
    rows = []
    for day in range(6):
        for y in range(4):
            for x in range(5):
                left, right = (west + x + 180) % 360 - 180, (west + x + 181) % 360 - 180
                rows.append(
                    Row(
                        uri=f"day{day}.tif",
                        etag="e",
                        window=Window(64 * x, 64 * y, 64, 64),
                        taken=datetime(2021, 7, 1 + day, 3, tzinfo=UTC) + timedelta(minutes=x),
                        bounds=(left, 10.0 - y, right, 11.0 - y),
                    )
                )
    return rows


@pytest.mark.parametrize("west", [20.0, 177.5, -180.0, 175.0])
def test_other_days_and_the_tiles_around(tmp_path, west):
    engine = opened(tmp_path, grid(west), [45, 75])
    row = 3 * 20 + 1 * 5 + 2  # of the fourth day, inside
    same, beside = ids(engine.nearby(row, 8))
    assert same == [day * 20 + 7 for day in (0, 1, 2, 4, 5)]
    around = [60 + 5 * (1 + dy) + 2 + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    assert sorted(beside) == sorted(set(around) - {row})
    assert sorted(beside[:4]) == sorted([row - 5, row - 1, row + 1, row + 5])  # corners later
    assert len(ids(engine.nearby(row, EVERYTHING))[1]) == 6 * 8
    assert ids(engine.nearby(row, 2))[0] == [2 * 20 + 7, 4 * 20 + 7]  # the nearest in time
    assert ids(engine.nearby(60, 8))[1][:3] == [61, 65, 66]  # in a corner, beside then below


def test_tiles_of_any_size_are_where_shapely_says(tmp_path):
    rows = placed_rows(250, seed=8)
    engine = opened(tmp_path, rows, [100, 150], tombstones=(3, 30))
    for row in range(0, 250, 7):
        mine = rows[row]
        if mine.bounds is None:
            continue
        near = [
            i
            for i, other in enumerate(rows)
            if i not in (row, 3, 30) and other.bounds and touch(mine.bounds, other.bounds)
        ]
        place = [i for i in near if overlap(mine.bounds, rows[i].bounds) >= 0.5]
        same = [i for i in place if mine.taken is None or rows[i].taken != mine.taken]
        found = ids(engine.nearby(row, EVERYTHING))
        assert sorted(found[0]) == same
        assert sorted(found[1]) == sorted(set(near) - set(same))
        late = datetime(9999, 1, 1, tzinfo=UTC)
        assert found[0] == sorted(same, key=lambda i: (rows[i].taken or late, i))


def test_without_bounds_the_windows_beside_it(tmp_path):
    rows = [
        Row(uri=uri, etag="e", window=Window(128 * x, 128 * y, 256, 256))
        for uri in ("a.tif", "b.tif")
        for y in range(6)
        for x in range(6)
    ]
    engine = opened(tmp_path, [*rows, Row(uri="a.tif", etag="e")], [30, 43])
    row = 36 + 6 * 2 + 2
    same, beside = ids(engine.nearby(row, EVERYTHING))
    assert same == []
    around = {36 + 6 * y + x for y in range(5) for x in range(5)} - {row}
    assert set(beside) == around
    assert set(beside[:4]) == {row - 1, row + 1, row - 6, row + 6}
    assert ids(engine.nearby(72, 10)) == ([], [])  # a whole image has nothing beside it


def test_two_pictures_of_one_moment_are_beside_each_other(tmp_path):
    moment = datetime(2021, 7, 1, tzinfo=UTC)
    places = [(0.0, 0.0, 10.0, 10.0), (1.0, 0.0, 11.0, 10.0), (2.0, 0.0, 12.0, 10.0)]
    times = [moment, moment, moment + timedelta(days=1)]
    rows = [
        Row(uri=f"{i}", etag="e", taken=time, bounds=place)
        for i, (time, place) in enumerate(zip(times, places, strict=True))
    ]
    undated = Row(uri="u", etag="e", bounds=places[0])
    engine = opened(tmp_path, [*rows, undated])
    assert ids(engine.nearby(0, 9)) == ([2, 3], [1])
    assert ids(engine.nearby(3, 9)) == ([0, 1, 2], [])


def test_a_row_out_of_range(tmp_path):
    engine = opened(tmp_path, placed_rows(20))
    with pytest.raises(IndexError):
        engine.nearby(20, 5)
