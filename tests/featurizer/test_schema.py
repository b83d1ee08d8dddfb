"""rows.parquet and rejects.parquet, read back by other people's readers."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from featurizer.errors import ContractError
from featurizer.schema import (
    REJECTS,
    ROWS,
    Reject,
    Row,
    decode_table,
    encode_table,
    footprint,
    rejects_table,
    rows_table,
)
from featurizer.tiles import Window

TAKEN = datetime(2021, 6, 1, 12, 30, tzinfo=UTC)


def some_rows() -> list[Row]:
    return [
        Row("gs://b/a.jpg", "e1", label="Forest"),
        Row(
            "gs://b/s.tif", "e2", Window(128, 0, 256, 256), None, TAKEN, (10.0, 45.0, 11.0, 46.0), 1
        ),
        Row("gs://b/d.tif", "e3", taken=None, bounds=(175.0, -20.0, -178.0, -10.0)),
        Row("gs://b/é.jpg", "e4", valid_fraction=0.25),
    ]


def written(tmp_path: object) -> str:
    path = f"{tmp_path}/rows.parquet"
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(encode_table(rows_table(some_rows())))
    return path


class TestGeoParquet:
    def test_geopandas_reads_it(self, tmp_path: object) -> None:
        frame = geopandas.read_parquet(written(tmp_path))
        assert list(frame["tile_id"]) == [
            "gs://b/a.jpg",
            "gs://b/s.tif#128,0,256,256",
            "gs://b/d.tif",
            "gs://b/é.jpg",
        ]
        assert frame.crs.equals("OGC:CRS84")
        assert [None if g is None else g.geom_type for g in frame.geometry] == [
            None,
            "Polygon",
            "MultiPolygon",
            None,
        ]
        assert frame.geometry[1].bounds == (10.0, 45.0, 11.0, 46.0)
        assert frame["datetime"][1] == pd.Timestamp(TAKEN)
        assert frame["label"][0] == "Forest"
        assert pd.isna(frame["label"][1])
        assert pd.isna(frame["x"][0])

    def test_the_antimeridian_is_cut_and_the_bbox_is_geojsons(self, tmp_path: object) -> None:
        frame = geopandas.read_parquet(written(tmp_path))
        crossing = frame.geometry[2]
        assert crossing.is_valid
        assert crossing.area == pytest.approx((5 + 2) * 10)
        assert crossing.contains(shapely.Point(-179, -15))
        assert not crossing.contains(shapely.Point(0, -15))
        table = pq.read_table(written(tmp_path))
        assert table["bbox"][2].as_py() == {"xmin": 175, "ymin": -20, "xmax": -178, "ymax": -10}
        assert (table["west"][2].as_py(), table["east"][2].as_py()) == (175.0, -178.0)
        assert table["bbox"][0].as_py() is None

    def test_reading_within_a_box_skips_rows(self, tmp_path: object) -> None:
        frame = geopandas.read_parquet(written(tmp_path), bbox=(10.5, 45.5, 10.6, 45.6))
        assert list(frame["uri"]) == ["gs://b/s.tif"]

    def test_all_rows_without_a_place(self) -> None:
        data = encode_table(rows_table([Row("a", "1"), Row("b", "2")]))
        frame = geopandas.read_parquet(io.BytesIO(data))
        assert frame.geometry.isna().all()


DEGREES = st.floats(-180, 180).map(lambda value: round(value, 6))


@given(DEGREES, DEGREES, DEGREES, DEGREES)
def test_footprints_are_valid_and_as_wide_as_the_bounds(
    west: float, east: float, a: float, b: float
) -> None:
    south, north = sorted((a / 2, b / 2))
    assume(north - south > 1e-3)
    width = (east - west) % 360 if west > east else east - west
    assume(width > 1e-3)
    shape = shapely.from_wkb(footprint((west, south, east, north)))
    assert shape.is_valid
    assert shape.area == pytest.approx(width * (north - south))


@pytest.mark.parametrize("bounds", [(180.0, 0.0, -170.0, 5.0), (170.0, 0.0, -180.0, 5.0)])
def test_an_edge_on_the_antimeridian_makes_no_empty_half(
    bounds: tuple[float, float, float, float],
) -> None:
    shape = shapely.from_wkb(footprint(bounds))
    assert shape.is_valid
    assert len(shape.geoms) == 1


class TestTables:
    def test_the_same_rows_give_the_same_bytes(self) -> None:
        assert encode_table(rows_table(some_rows())) == encode_table(rows_table(some_rows()))

    @pytest.mark.parametrize("count", [0, 4])
    def test_rows_round_trip(self, count: int) -> None:
        table = rows_table(some_rows()[:count])
        back = decode_table(encode_table(table), ROWS, "rows")
        assert back.equals(table)
        assert back.num_rows == count

    def test_rejects_round_trip(self) -> None:
        rejects = [
            Reject("a.jpg", "decode", "corrupt", "ends early"),
            Reject("s.tif", "embed", "not-finite", "NaN", Window(0, 128, 256, 256)),
        ]
        back = decode_table(encode_table(rejects_table(rejects)), REJECTS, "rejects")
        assert back.to_pylist() == [
            {"uri": "a.jpg", "x": None, "y": None, "width": None, "height": None}
            | {"stage": "decode", "reason": "corrupt", "detail": "ends early"},
            {"uri": "s.tif", "x": 0, "y": 128, "width": 256, "height": 256}
            | {"stage": "embed", "reason": "not-finite", "detail": "NaN"},
        ]
        assert decode_table(encode_table(rejects_table([])), REJECTS, "r").num_rows == 0

    def test_times_are_kept_in_utc(self) -> None:
        cest = timezone(timedelta(hours=2))
        row = Row("a", "e", taken=datetime(2021, 6, 1, 14, 30, tzinfo=cest))
        assert rows_table([row])["datetime"][0].as_py() == TAKEN

    def test_more_rows_than_a_row_group(self) -> None:
        rows = [Row(f"{i:07d}.jpg", "e") for i in range(70_000)]
        data = encode_table(rows_table(rows))
        assert pq.ParquetFile(io.BytesIO(data)).num_row_groups == 2
        assert decode_table(data, ROWS, "rows")["uri"].to_pylist() == [row.uri for row in rows]


class TestRefusals:
    def test_another_schema(self) -> None:
        data = encode_table(rejects_table([]))
        with pytest.raises(ContractError, match=r"place/rows: has columns .*uri.*embed again"):
            decode_table(data, ROWS, "place/rows")

    def test_another_type(self) -> None:
        table = rows_table(some_rows())
        position = table.schema.get_field_index("west")
        narrow = table.set_column(position, "west", table["west"].cast(pa.float32()))
        with pytest.raises(ContractError, match="other types or order"):
            decode_table(encode_table(narrow), ROWS, "rows")

    def test_bytes_that_are_no_parquet(self) -> None:
        whole = encode_table(rows_table(some_rows()))
        noise = np.random.default_rng(0).bytes(500)
        for data in (b"", b"PAR1", noise, whole[:-5], whole[: len(whole) // 2]):
            with pytest.raises(ContractError, match="not a readable Parquet file"):
                decode_table(data, ROWS, "rows")
