"""The files of an export against what other readers make of them."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder

from featurizer import schema
from featurizer.tiles import Bounds, Window, tile_id
from serving.engine.rows import Tile
from serving.export.csv_file import COLUMNS, csv_file, csv_lines, guarded
from serving.export.files import evened, file_name
from serving.export.geojson_file import geojson_file, geometry
from serving.export.names import FileNames, Folders
from serving.export.parquet_file import parquet_file
from serving.export.parts import Part
from serving.export.pictures import PictureFile, Unreadable, read_ahead
from serving.export.zip_file import MemberSink, zip_file
from tests.serving.gallery import encoded, texture

FACTS = {"generation": "000001-abc", "featurizer": "f" * 20, "metric": "cosine"}
DIM = 8
ODD_LABELS = ["coast", "=SUM(A1)", 'a "quoted", label', "two\nlines", "-12.5", "@home", "ö/ü", None]


def make_tiles(count: int) -> list[Tile]:
    return [make_tile(i) for i in range(count)]


def make_tile(i: int) -> Tile:
    window = None if i % 3 == 0 else Window(256 * i, 0, 256, 256)
    uri = f"gs://bucket/{i // 4}/scene {i // 4}.tif"
    west = (i * 17.3) % 360 - 180
    bounds: Bounds = (west, -10.5, west + 1 if west < 179 else -179.5, -9.5)
    return Tile(
        tile_id=tile_id(uri, window),
        uri=uri,
        window=window,
        label=ODD_LABELS[i % len(ODD_LABELS)],
        taken=None if i % 5 == 0 else datetime(2021, 7, 1 + i % 28, 12, 30, tzinfo=UTC),
        bounds=None if i % 7 == 0 else bounds,
        valid_fraction=None if i % 2 else 0.25,
        etag=f"e{i}",
    )


def make_parts(tiles: list[Tile], size: int, searched: bool = True) -> list[Part]:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(tiles), DIM)).astype(np.float16).astype(np.float32)
    distances = np.linspace(0, 1.5, len(tiles), dtype=np.float32)
    parts = []
    for first in range(0, len(tiles), size):
        here = slice(first, first + size)
        parts.append(
            Part(
                rows=np.arange(len(tiles))[here][::-1].copy(),
                tiles=tiles[here],
                ranks=range(first + 1, first + 1 + len(tiles[here])),
                scores=1 - distances[here] if searched else None,
                distances=distances[here] if searched else None,
                vectors=vectors[here],
            )
        )
    return parts


# ---- CSV ----------------------------------------------------------------------------------------


def test_csv_has_every_fact_of_every_row() -> None:
    tiles = make_tiles(30)
    text = b"".join(csv_file(make_parts(tiles, 7))).decode()
    assert "\r\n" in text
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == list(COLUMNS)
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert [int(row["rank"]) for row in found] == list(range(1, 31))
    for row, tile in zip(found, tiles, strict=True):
        assert row["tile_id"] == tile.tile_id
        assert row["uri"] == tile.uri
        assert row["label"].removeprefix("'") == (tile.label or "")
        window = [row[name] for name in ("x", "y", "width", "height")]
        assert window == (["", "", "", ""] if tile.window is None else [*_texts(tile.window)])
        place = [row[name] for name in ("west", "south", "east", "north")]
        assert place == ([""] * 4 if tile.bounds is None else [repr(b) for b in tile.bounds])
        taken = "" if tile.taken is None else tile.taken.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert row["datetime"] == taken
        assert row["valid_fraction"] == ("" if tile.valid_fraction is None else "0.25")
    assert float(found[-1]["distance"]) == pytest.approx(1.5)
    assert float(found[-1]["score"]) == pytest.approx(-0.5)


def _texts(window: Window) -> list[str]:
    return [str(v) for v in (window.x, window.y, window.width, window.height)]


def test_csv_without_rows_or_figures() -> None:
    (line,) = b"".join(csv_file([])).decode().splitlines()
    assert line.split(",") == list(COLUMNS)
    text = b"".join(csv_file(make_parts(make_tiles(1), 1, searched=False))).decode()
    assert text.splitlines()[1].startswith("1,,,")


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1"]
)
def test_formulas_are_guarded(text: str) -> None:
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-12.5", "+3", "-1e-5", "coast", "", "a=b", "'=1", "-.5"])
def test_numbers_and_plain_texts_are_not_touched(text: str) -> None:
    assert guarded(text) == text


@given(st.lists(st.lists(st.text(), min_size=2, max_size=4), min_size=1))
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back_out_of_csv(rows: list[list[str]]) -> None:
    """The csv module's reader is the oracle; a NUL it cannot read on this version of Python."""
    rows = [[cell.replace("\0", "") for cell in row] for row in rows]
    text = csv_lines(rows).decode(errors="surrogatepass")
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows


# ---- GeoJSON ------------------------------------------------------------------------------------


def test_geojson_is_read_by_geopandas(tmp_path: Path) -> None:
    tiles = make_tiles(30)
    data = b"".join(geojson_file(make_parts(tiles, 7)))
    file = tmp_path / "export.geojson"
    file.write_bytes(data)
    frame = geopandas.read_file(file)
    assert frame["tile_id"].tolist() == [tile.tile_id for tile in tiles]
    assert frame["rank"].tolist() == list(range(1, 31))
    assert [g is None for g in frame.geometry] == [tile.bounds is None for tile in tiles]
    collection = json.loads(data)
    for feature, tile in zip(collection["features"], tiles, strict=True):
        assert feature["id"] == tile.tile_id
        assert feature["properties"]["label"] == tile.label
        if tile.bounds is None:
            assert feature["geometry"] is None
            assert "bbox" not in feature
        else:
            assert tuple(feature["bbox"]) == tile.bounds


def test_geojson_without_rows() -> None:
    assert json.loads(b"".join(geojson_file([]))) == {"type": "FeatureCollection", "features": []}


degrees = st.floats(-180, 180, allow_nan=False)


@given(degrees, degrees, st.floats(-89, 0), st.floats(0.5, 89))
@settings(max_examples=200, deadline=None)
def test_geometries_are_those_of_the_archive(
    west: float, east: float, south: float, north: float
) -> None:
    """``rows.parquet`` has the same shapes, by shapely; rings are counterclockwise."""
    bounds = (west, south, east, north)
    found = geometry(bounds)
    expected = shapely.from_wkb(schema.footprint(bounds))
    if found is None:
        assert expected.is_empty
        return
    shape = shapely.geometry.shape(found)
    assert shape.equals(expected)
    for part in getattr(shape, "geoms", [shape]):
        assert part.area == 0 or part.exterior.is_ccw


def test_the_antimeridian_cuts_a_tile_in_two() -> None:
    found = geometry((179.0, 60.0, -178.0, 61.0))
    assert found is not None
    assert found["type"] == "MultiPolygon"
    shape = shapely.geometry.shape(found)
    assert shape.area == pytest.approx(3.0)
    assert shape.bounds == (-180.0, 60.0, 180.0, 61.0)


# ---- Parquet ------------------------------------------------------------------------------------


def test_geoparquet_is_read_by_geopandas(tmp_path: Path) -> None:
    tiles = make_tiles(40)
    file = tmp_path / "export.parquet"
    file.write_bytes(b"".join(parquet_file(make_parts(tiles, 7), FACTS)))
    frame = geopandas.read_parquet(file)
    assert frame.crs == "OGC:CRS84"
    assert frame["tile_id"].tolist() == [tile.tile_id for tile in tiles]
    assert frame["rank"].tolist() == list(range(1, 41))
    assert frame["distance"].tolist() == np.linspace(0, 1.5, 40, dtype=np.float32).tolist()
    for shape, tile in zip(frame.geometry, tiles, strict=True):
        expected = None if tile.bounds is None else shapely.from_wkb(schema.footprint(tile.bounds))
        assert shape == expected
    arrow = pq.read_schema(file)
    assert arrow.names[: len(schema.ROWS.names)] == schema.ROWS.names
    assert [arrow.field(n).type for n in schema.ROWS.names] == schema.ROWS.types
    assert json.loads(arrow.metadata[b"worldsift"]) == FACTS


def test_parquet_has_the_vectors(tmp_path: Path) -> None:
    parts = make_parts(make_tiles(40), 7)
    table = pq.read_table(io.BytesIO(b"".join(parquet_file(parts, FACTS, DIM))))
    vectors = np.stack(table["vector"].to_numpy(zero_copy_only=False))
    np.testing.assert_array_equal(vectors, np.concatenate([part.vectors for part in parts]))
    assert table.schema.field("vector").type.list_size == DIM


@pytest.mark.parametrize("dim", [None, DIM])
def test_parquet_without_rows(dim: int | None) -> None:
    table = pq.read_table(io.BytesIO(b"".join(parquet_file([], FACTS, dim))))
    assert table.num_rows == 0
    assert ("vector" in table.column_names) == (dim is not None)


def test_parquet_row_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.export.parquet_file._GROUP_ROWS", 20)
    data = b"".join(parquet_file(make_parts(make_tiles(95), 10), FACTS))
    groups = pq.ParquetFile(io.BytesIO(data)).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [20] * 4 + [15]


# ---- ZIP ----------------------------------------------------------------------------------------


def picture(row: int, tile: Tile) -> PictureFile | Unreadable:
    """Every eleventh source is gone; of the others every second one is a JPEG."""
    if row % 11 == 5:
        return Unreadable(f"=cmd: {tile.uri} is gone")
    if row % 2:
        return PictureFile(encoded(texture(row, 16), "JPEG"), "jpg")
    return PictureFile(encoded(texture(row, 16)), "png")


def unzipped(data: bytes, folder: Path) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
        return archive.namelist()


def table_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_a_zip_is_an_image_folder(tmp_path: Path) -> None:
    tiles = make_tiles(40)
    parts = make_parts(tiles, 7)
    names = unzipped(b"".join(zip_file(parts, picture)), tmp_path)
    dataset = ImageFolder(str(tmp_path))
    labels = {tile.label for tile in tiles}
    assert len(dataset.classes) == len(labels)
    assert {"coast", "unlabelled", "-12.5"[1:] + "-" + _hash12("-12.5")} <= set(dataset.classes)
    rows: list[int] = np.concatenate([part.rows for part in parts]).tolist()
    listed = table_of(tmp_path / "tiles.csv")
    assert [int(line["rank"]) for line in listed] == list(range(1, 41))
    assert len({line["file"] for line in listed if line["file"]}) == len(dataset)
    for line, row, tile in zip(listed, rows, tiles, strict=True):
        found = picture(row, tile)
        if isinstance(found, Unreadable):
            assert line["file"] == ""
        else:
            assert (tmp_path / line["file"]).read_bytes() == found.data
    missing = table_of(tmp_path / "unreadable.csv")
    gone = [tile.tile_id for tile, row in zip(tiles, rows, strict=True) if row % 11 == 5]
    assert sorted(line["tile_id"] for line in missing) == sorted(gone)
    assert all(line["reason"].startswith("'=cmd: ") for line in missing)
    assert len(dataset) == len(names) - 2 == 40 - len(missing)


def _hash12(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_one_label_is_one_folder_whatever_it_is() -> None:
    folders = Folders()
    labels = ["a/b", "a_b", "A_B", "..", ".", "", "con", "Forest", "forest", "unlabelled", None]
    labels += ["x" * 300, "x" * 301, "日本", "a\0b", "C:\\temp", "../../etc/passwd", "-rf"]
    found = [folders.of(label) for label in labels]
    assert len({name.casefold() for name in found}) == len(labels)
    assert found == [folders.of(label) for label in labels]
    assert folders.of(None) == "unlabelled"
    assert folders.of("Forest") == "Forest"
    assert folders.of("日本") == "日本"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True))
@settings(max_examples=300, deadline=None)
def test_no_label_leads_out_or_into_another(labels: list[str]) -> None:
    folders = Folders()
    found = [folders.of(label) for label in labels]
    assert len({name.casefold() for name in found}) == len(labels)
    for name in found:
        _assert_safe(name)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
@settings(max_examples=300, deadline=None)
def test_every_row_has_a_safe_name_of_its_own(ids: list[str]) -> None:
    names = FileNames()
    found = [names.of(one) for one in ids]
    assert len({name.casefold() for name in found}) == len(ids)
    for name in found:
        _assert_safe(name)


def _assert_safe(name: str) -> None:
    assert name
    assert not set(name) & set('/\\:*?"<>|\0\n\r\t')
    assert not name.startswith((".", " ", "-"))
    assert not name.endswith((".", " "))
    assert len(name.encode()) <= 160
    stem = name.split(".", maxsplit=1)[0].lower()
    assert stem not in {"con", "prn", "aux", "nul", "com1", "lpt9"}


def test_a_tile_has_the_same_name_in_every_export() -> None:
    uri = "gs://b/../../etc/scene 7.tif#0,256,128,64"
    once, again = FileNames(), FileNames()
    again.of("something else")
    assert once.of(uri) == again.of(uri)
    assert once.of("s#1,2,3,4").startswith("s_1_2_3_4_")
    assert again.of(uri) == f"{once.of('new') and FileNames().of(uri)}-2"


def test_members_are_whole_before_they_leave() -> None:
    """Sizes stand in the local headers: a reader needs no directory at the end."""
    data = b"".join(zip_file(make_parts(make_tiles(6), 3), picture))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            assert not info.flag_bits & 0x08
            header = data[info.header_offset : info.header_offset + 30]
            assert int.from_bytes(header[18:22], "little") == info.compress_size
            assert int.from_bytes(header[14:18], "little") == info.CRC
            assert info.external_attr >> 16 == 0o644


def test_the_same_rows_give_the_same_zip() -> None:
    parts = make_parts(make_tiles(12), 5)
    assert b"".join(zip_file(parts, picture)) == b"".join(zip_file(parts, picture))


def test_a_zip_of_more_members_than_16_bits_count() -> None:
    tile = replace(make_tile(1), bounds=None, label=None)
    count = 66_000

    def parts() -> Iterator[Part]:
        for first in range(0, count, 6000):
            tiles = [replace(tile, tile_id=f"t{first + i}", uri="t") for i in range(6000)]
            yield Part(np.arange(first, first + 6000), tiles, range(first + 1, first + 6001))

    data = b"".join(zip_file(parts(), lambda row, _: PictureFile(b"%d" % row, "png")))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == count + 2
        assert archive.read(archive.namelist()[65_600]) == b"65600"


def test_a_sink_lets_nobody_change_what_has_left() -> None:
    with MemberSink() as sink:
        sink.write(b"abcdef")
        sink.seek(2)
        sink.write(b"XY")
        assert b"".join(sink.take()) == b"abXYef"
        assert sink.tell() == 6
        sink.write(b"gh")
        with pytest.raises(OSError, match="6 bytes are gone"):
            sink.seek(5)
        assert b"".join(sink.take()) == b"gh"


def test_a_zip_given_up_leaves_nothing_open() -> None:
    pieces = zip_file(make_parts(make_tiles(40), 7), picture)
    assert next(pieces).startswith(b"PK")
    pieces.close()  # type: ignore[attr-defined]
    assert list(pieces) == []


def test_a_fault_of_a_picture_breaks_the_zip() -> None:
    def broken(row: int, tile: Tile) -> PictureFile:
        raise MemoryError

    with pytest.raises(MemoryError):
        b"".join(zip_file(make_parts(make_tiles(4), 2), broken))


# ---- pieces -------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=50)), st.integers(1, 20))
@settings(deadline=None)
def test_evened_pieces_are_the_same_bytes(pieces: list[bytes], size: int) -> None:
    found = list(evened(pieces, size))
    assert b"".join(found) == b"".join(pieces)
    assert all(len(piece) == size for piece in found[:-1])
    assert all(found)


def test_reading_ahead_keeps_the_order_and_its_bound() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            asked.append(i)
            yield i

    found = read_ahead(lambda i: i * i, items(), ahead=5)
    assert next(found) == 0
    assert len(asked) == 5
    assert [0, *found] == [i * i for i in range(50)]


def test_file_names_are_plain() -> None:
    assert file_name("demo", "000003-5f0c", "search", "csv") == "demo-000003-5f0c-search.csv"
    assert file_name('a"b\r\nc/..', "g", "tiles", "parquet") == "a_b_c_..-g-tiles-vectors.parquet"


def test_pictures_are_pixels(tmp_path: Path) -> None:
    names = unzipped(b"".join(zip_file(make_parts(make_tiles(3), 3), picture)), tmp_path)
    for name in names:
        if not name.endswith(".csv"):
            with Image.open(tmp_path / name) as image:
                assert image.size == (16, 16)
