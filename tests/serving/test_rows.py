"""Tiles by row id and row ids by tile id."""

from __future__ import annotations

import mmap
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizer.errors import ContractError
from featurizer.schema import Row
from featurizer.tiles import Window, tile_id
from serving.engine import tile_ids
from serving.engine.blocks import Tile, write_arrow
from serving.engine.resident import Resident
from serving.engine.rows import Rows
from serving.engine.sync import LocalFiles
from tests.serving.archive import Archive, build_archive, clustered

MASK = (1 << 64) - 1


def some_rows(count: int) -> list[Row]:
    """Rows with and without each thing that may be unknown, and names that no file system likes."""
    return [
        Row(
            uri=f"gs://bucket/scènes #{i // 4},\n.tif",
            etag=f"etag{i}",
            window=Window(128 * i, -0, 256, 256) if i % 2 else None,
            label=None if i % 3 else f"class {i % 5}",
            taken=datetime(2020, 1, 1 + i % 28, 12, 30, i % 60, 250_000, UTC) if i % 4 else None,
            bounds=(179.5, -1.0 * (i % 80), -179.5, 1.0) if i % 5 else None,
            valid_fraction=0.5 if i % 7 else None,
        )
        for i in range(count)
    ]


def as_tile(row: Row) -> Tile:
    return Tile(
        tile_id=tile_id(row.uri, row.window),
        uri=row.uri,
        window=row.window,
        label=row.label,
        taken=row.taken,
        bounds=row.bounds,
        valid_fraction=row.valid_fraction,
        etag=row.etag,
    )


def opened(archive: Archive, cache: Path) -> Rows:
    files = LocalFiles(Path(archive.root), archive.generation.quantizer)
    return Rows.open(archive.generation, files, cache / "rows", cache / archive.name)


@pytest.fixture
def archive(tmp_path):
    return build_archive(
        tmp_path / "root", clustered(90, 8), some_rows(90), [50, 0, 1, 39], "IVF4,PQ4x4"
    )


def test_tiles_come_back_as_they_were_written(archive, tmp_path):
    rows = opened(archive, tmp_path)
    ids = np.random.default_rng(0).integers(0, 90, 200)
    assert rows.tiles(ids) == [as_tile(archive.rows[i]) for i in ids]
    assert rows.tiles(np.empty(0, np.int64)) == []
    assert rows.tiles(np.array([89]))[0].taken.tzinfo is UTC


def test_large_files_are_let_go_of_between_reads(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.engine.rows._RESIDENT_BYTES", 0)
    monkeypatch.setattr("serving.engine.tile_ids._RESIDENT_BYTES", 0)
    rows = opened(archive, tmp_path)
    for _ in range(200):
        assert rows.tiles(np.array([3, 89])) == [as_tile(archive.rows[i]) for i in (3, 89)]
        assert 50 in rows.rows_of(archive.tile_ids[50])


def test_given_back_pages_are_resident_no_more(tmp_path):
    place = tmp_path / "file"
    place.write_bytes(bytes(64 << 20))
    with place.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        resident = Resident(reads_between=2)
        assert not any(memory[::4096])
        touched = file_pages()
        resident.note([memory])
        assert file_pages() > touched - 1000
        resident.note([memory])
        assert file_pages() < touched - 15_000  # of 16,384
        assert not any(memory[::4096])


def file_pages() -> int:
    """Pages of files that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[2])


def test_a_shard_of_several_batches(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.engine.blocks.BLOCK_ROWS", 7)
    rows = opened(archive, tmp_path)
    assert rows.tiles(np.arange(89, -1, -1)) == [as_tile(row) for row in archive.rows[::-1]]
    assert [label for part in rows.labels() for label in part] == [r.label for r in archive.rows]


def test_every_tile_id_is_found_and_no_other(archive, tmp_path):
    rows = opened(archive, tmp_path)
    first: dict[str, list[int]] = {}
    for row, name in enumerate(archive.tile_ids):
        first.setdefault(name, []).append(row)
    assert all(rows.rows_of(name) == found for name, found in first.items())
    assert any(len(found) > 1 for found in first.values())
    for unknown in ("", "x", "\ud800", archive.tile_ids[1] + " ", archive.tile_ids[1][:-1], "\0"):
        assert rows.rows_of(unknown) == []


def test_ids_of_one_hash_are_told_apart_by_their_text(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(
        tile_ids, "hash_strings", lambda strings: np.full(len(strings), 5, np.uint64)
    )
    monkeypatch.setattr(tile_ids, "hash_text", lambda text: 5)
    rows = opened(archive, tmp_path)
    assert rows.rows_of(archive.tile_ids[77]) == [77]
    assert rows.rows_of("unknown") == []


def reference_hash(text: str) -> int:
    """The hash by its definition, one string and one word at a time."""

    def mix(value: int) -> int:
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
        value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
        return value ^ value >> 31

    data, gamma = text.encode(), 0x9E3779B97F4A7C15
    state = mix(len(data) + gamma & MASK)
    for at in range(0, len(data), 8):
        state = mix((state ^ int.from_bytes(data[at : at + 8], "little")) + gamma & MASK)
    return state


@given(st.lists(st.text(max_size=30), max_size=20), st.integers(0, 3))
def test_hashes_are_those_of_the_definition(texts, skipped):
    strings = pa.array(texts, pa.string()).slice(skipped)
    assert tile_ids.hash_strings(strings).tolist() == [reference_hash(t) for t in texts[skipped:]]
    assert [tile_ids.hash_text(text) for text in texts] == [reference_hash(text) for text in texts]


@pytest.mark.parametrize("bucket_rows", [1, 3, 64, 10_000])
def test_the_lookup_does_not_depend_on_how_much_is_sorted_at_once(tmp_path, bucket_rows):
    texts = [f"tile{i % 400}" for i in range(500)]
    batches = [pa.array(texts[i : i + 130], pa.string()) for i in range(0, 500, 130)]
    tile_ids.write(tmp_path, 500, lambda: iter(batches), bucket_rows)
    lookup = tile_ids.TileIds(tmp_path)
    for i, text in enumerate(texts[:400]):
        assert lookup.candidates(text).tolist() == ([i, i + 400] if i < 100 else [i])
    assert lookup.candidates("tile400").tolist() == []
    hashes = np.load(tmp_path / "hashes.npy")
    assert (hashes[:-1] <= hashes[1:]).all()


def test_an_id_out_of_range_is_refused(archive, tmp_path):
    rows = opened(archive, tmp_path)
    for wrong in (-1, 90):
        with pytest.raises(IndexError, match=r"0\.\.89"):
            rows.tiles(np.array([0, wrong]))


@pytest.mark.parametrize("mapped_bytes", [1, 1 << 20])
def test_blocks_are_all_rows_or_those_of_the_zones_wanted(
    archive, tmp_path, monkeypatch, mapped_bytes
):
    monkeypatch.setattr("serving.engine.blocks.BLOCK_ROWS", 20)
    monkeypatch.setattr("serving.engine.rows._MAPPED_BYTES", mapped_bytes)
    rows = opened(archive, tmp_path)
    assert [(first, block.rows) for first, block in rows.blocks()] == [
        (0, 20),
        (20, 20),
        (40, 10),
        (50, 1),
        (51, 20),
        (71, 19),
    ]
    wanted = np.array([False, True, False, True, False, True])
    for first, block in rows.blocks(wanted):
        tiles = [block.tile(row) for row in range(block.rows)]
        assert tiles == [as_tile(row) for row in archive.rows[first : first + block.rows]]
        known = [row.taken is not None for row in archive.rows[first : first + block.rows]]
        assert block.known("datetime").tolist() == known
    assert [first for first, _ in rows.blocks(wanted)] == [20, 50, 71]


def test_a_second_start_converts_nothing(archive, tmp_path):
    opened(archive, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".arrow", ".npy")]
    before = {path: path.stat().st_mtime_ns for path in files}
    opened(archive, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in files} == before


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b"PAR1 nothing"), "not a readable table"),
        (lambda path: pq.write_table(pq.read_table(path).slice(1), path), "49 rows of"),
        (lambda path: pq.write_table(pq.read_table(path).drop(["etag"]), path), "50 rows of"),
    ],
    ids=["garbage", "rows", "schema"],
)
def test_a_table_of_another_kind_is_refused(archive, tmp_path, spoil, says):
    path = tmp_path / "root" / "shards" / "shard0000" / "rows.parquet"
    spoil(path)
    with pytest.raises(ContractError, match=says) as caught:
        write_arrow(path, 50, tmp_path / "out.arrow")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "out.arrow").exists()
