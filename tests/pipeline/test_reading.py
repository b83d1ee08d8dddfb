"""Inputs as batches: whole images in runs, rasters window by window, faults as rejects."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer import storage
from featurizer.errors import StorageError
from featurizer.rasters import SceneInfo
from featurizer.tiles import Window
from pipeline import reading
from pipeline.plan import Item, ShardPlan
from pipeline.reading import _bounds_within, read_batches
from pipeline.tiling import TilingOptions, tile_windows
from tests.pipeline.imagery import a_job, photo_folder, picture, plans_of, save, save_raster

TILING = TilingOptions(32, 16)


def colours(height, width, seed=0):
    return np.random.default_rng(seed).integers(1, 256, (3, height, width), np.uint8)


def batches_of(job):
    """All batches of a job of one shard, and what reading found."""
    (plan,) = plans_of(job)
    source = read_batches(plan, job)
    return list(source), source.found


def test_images_come_in_order_in_runs_of_a_batch(tmp_path):
    good = photo_folder(tmp_path, 20)
    batches, found = batches_of(a_job(tmp_path, "/none"))
    assert [len(batch) for batch in batches] == [8, 8, 4]
    read = [one for batch in batches for one in batch.images]
    assert [row.uri for row, _ in read] == sorted(good)
    for row, data in read:
        assert data == storage.read_bytes(row.uri)
        assert row.label in ("field", "water")
        assert row.window is None
    assert found.bytes_read == sum(len(data) for _, data in read)


def test_a_run_ends_at_the_byte_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_BATCH_BYTES", 1000)
    for i in range(6):
        save(tmp_path / f"{i}.png", bytes(400 if i < 5 else 5000))
    batches, _ = batches_of(a_job(tmp_path, "/none"))
    assert [len(batch) for batch in batches] == [2, 2, 1, 1]


def test_windows_are_numpy_slices_with_bounds_and_null_at_the_edges(tmp_path):
    values = colours(70, 90)
    uri = save_raster(tmp_path / "scene.tif", values)
    batches, found = batches_of(a_job(uri, "/none", tiling=TILING))
    tiles = [one for batch in batches for one in batch.tiles]
    padded = np.zeros((70 + 32, 90 + 32, 3), np.uint8)
    padded[:70, :90] = values.transpose(1, 2, 0)
    kept = []
    for window in tile_windows(90, 70, 32, 16):
        inside = min(32, 70 - window.y) * min(32, 90 - window.x)
        if inside / 32**2 >= 0.5:
            kept.append((window, inside / 32**2))
    assert [row.window for row, _ in tiles] == [window for window, _ in kept]
    for (row, pixels), (window, valid) in zip(tiles, kept, strict=True):
        x, y = window.x, window.y
        np.testing.assert_array_equal(pixels, padded[y : y + 32, x : x + 32])
        assert row.valid_fraction == valid
        west, south, east, north = row.bounds
        assert (west, north) == pytest.approx((10 + x / 100, 50 - y / 100))
        assert east == pytest.approx(10 + min(x + 32, 90) / 100)
        assert south == pytest.approx(50 - min(y + 32, 70) / 100)
    total = len(tile_windows(90, 70, 32, 16))
    assert found.dropped_null == total - len(kept)
    assert found.kept == {uri: len(kept)}
    assert all(len(batch) == 8 for batch in batches[:-1])


def test_windows_of_a_picture_placed_by_its_name_share_its_degrees(tmp_path):
    place = tmp_path / "2024-05-31_-10,175,10,-165.png"  # over the antimeridian
    save(place, picture(1, 64, 128))
    batches, _ = batches_of(a_job(place, "/none", tiling=TilingOptions(32, 32)))
    rows = [row for batch in batches for row, _ in batch.tiles]
    assert [row.bounds for row in rows] == [
        pytest.approx(bounds)
        for south, north in ((0, 10), (-10, 0))
        for bounds in (
            (175, south, 180, north),
            (180, south, -175, north),
            (-175, south, -170, north),
            (-170, south, -165, north),
        )
    ]
    assert {row.taken for row in rows} == {datetime(2024, 5, 31, tzinfo=UTC)}


latitudes = st.tuples(st.floats(-90, 89), st.floats(0.001, 1)).map(lambda p: (p[0], p[0] + p[1]))
longitudes = st.tuples(st.floats(-179.9, 179.9), st.floats(-179.9, 179.9)).filter(
    lambda p: abs(p[0] - p[1]) > 1e-3
)


@settings(max_examples=100, deadline=None)  # the machine may be busy
@given(longitudes, latitudes, st.integers(1, 500), st.integers(1, 500), st.data())
def test_bounds_within_bounds(wide, high, width, height, data):
    whole = (wide[0], high[0], wide[1], high[1])
    info = SceneInfo(width, height, (1,), "uint8", None, False, None)
    assert _bounds_within(whole, Window(0, 0, width, height), info) == pytest.approx(
        whole, abs=1e-8
    )
    assert _bounds_within(whole, Window(0, 0, width + 9, height + 9), info) == pytest.approx(
        whole, abs=1e-8
    )
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    west, south, east, north = _bounds_within(whole, Window(x, y, 1, 1), info)
    assert high[0] - 1e-8 <= south < north <= high[1] + 1e-8
    assert all(-180 <= edge <= 180 for edge in (west, east))
    assert west == 180 or wide[0] > wide[1] or west < east
    span = (wide[1] - wide[0]) % 360
    assert (west - wide[0]) % 360 == pytest.approx(span * x / width, abs=1e-6) or x == 0
    assert (east - west) % 360 == pytest.approx(span / width, abs=1e-6)


def test_windows_with_more_null_than_allowed_are_dropped_and_counted(tmp_path):
    values = colours(64, 64)
    values[:, :, 33:] = 0
    uri = save_raster(tmp_path / "scene.tif", values, nodata=0)
    tiling = {share: TilingOptions(32, 32, share) for share in (0.0, 0.5, 0.97, 1.0)}
    kept = {}
    for share, options in tiling.items():
        batches, found = batches_of(a_job(uri, "/none", tiling=options))
        kept[share] = sum(len(batch) for batch in batches)
        assert kept[share] + found.dropped_null == 4
    assert kept == {0.0: 2, 0.5: 2, 0.97: 4, 1.0: 4}


def test_a_raster_that_is_null_all_over_is_named_once(tmp_path):
    uri = save_raster(tmp_path / "scene.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    batches, found = batches_of(a_job(uri, "/none", tiling=TilingOptions(32, 32)))
    rejects = [reject for batch in batches for reject in batch.rejects]
    assert [(r.uri, r.stage, r.reason) for r in rejects] == [(uri, "tile", "null")]
    assert found.dropped_null == 4


def test_slices_of_a_raster_give_what_the_whole_gives(tmp_path):
    uri = save_raster(tmp_path / "scene.tif", colours(100, 130), tiled=True, blockxsize=64)
    whole = a_job(uri, "/none", tiling=TILING)
    cut = a_job(uri, "/none", tiling=TILING, shard_rows=7)
    parts = [one for plan in plans_of(cut) for b in read_batches(plan, cut) for one in b.tiles]
    expected = [one for batch in batches_of(whole)[0] for one in batch.tiles]
    assert [row for row, _ in parts] == [row for row, _ in expected]
    for (_, ours), (_, theirs) in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_batch_of_large_tiles_is_bounded_by_their_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_BATCH_BYTES", 3 * 32 * 32 * 3)
    uri = save_raster(tmp_path / "scene.tif", colours(64, 160))
    batches, _ = batches_of(a_job(uri, "/none", tiling=TilingOptions(32, 32)))
    assert [len(batch) for batch in batches] == [3, 3, 3, 1]


def test_a_small_raster_is_one_picture_with_a_place(tmp_path):
    values = colours(20, 30)
    uri = save_raster(tmp_path / "scene.tif", values)
    ((batch,), _) = batches_of(a_job(uri, "/none"))
    ((row, pixels),) = batch.tiles
    np.testing.assert_array_equal(pixels, values.transpose(1, 2, 0))
    assert row.window is None
    assert row.bounds == pytest.approx((10.0, 49.8, 10.3, 50.0))


def test_a_small_raster_that_is_mostly_null_is_rejected(tmp_path):
    values = colours(20, 30)
    values[:, :, 10:] = 0
    uri = save_raster(tmp_path / "scene.tif", values, nodata=0)
    ((batch,), _) = batches_of(a_job(uri, "/none"))
    assert [(r.uri, r.stage, r.reason) for r in batch.rejects] == [(uri, "tile", "null")]
    assert not batch.tiles


def test_a_stretch_is_recorded(tmp_path):
    values = (colours(64, 64).astype(np.uint16) + 1) * 40
    uri = save_raster(tmp_path / "deep.tif", values)
    _, found = batches_of(a_job(uri, "/none", tiling=TILING))
    low, high = found.stretches[uri].low, found.stretches[uri].high
    np.testing.assert_allclose(low, np.percentile(values.reshape(3, -1), 2, axis=1), rtol=0.02)
    np.testing.assert_allclose(high, np.percentile(values.reshape(3, -1), 98, axis=1), rtol=0.02)


def test_a_raster_that_ends_early_keeps_what_was_whole_and_rejects_the_rest_once(tmp_path):
    whole = colours(256, 64)
    uri = save_raster(tmp_path / "cut.tif", whole, compress="deflate", blockysize=16)
    job = a_job(uri, "/none", tiling=TilingOptions(32, 32))
    (plan,) = plans_of(job)
    data = storage.read_bytes(uri)
    save(tmp_path / "cut.tif", data[: len(data) * 6 // 10])
    source = read_batches(plan, job)
    batches = list(source)
    tiles = [one for batch in batches for one in batch.tiles]
    assert 4 <= len(tiles) < 16
    for row, pixels in tiles:
        x, y = row.window.x, row.window.y
        expected = whole[:, y : y + 32, x : x + 32].transpose(1, 2, 0)
        np.testing.assert_array_equal(pixels, expected)
    (reject,) = [one for batch in batches for one in batch.rejects]
    assert (reject.uri, reject.stage, reject.reason) == (uri, "tile", "corrupt")
    assert source.found.kept[uri] == len(tiles)


def test_what_is_missing_is_rejected_in_its_place(tmp_path):
    good = photo_folder(tmp_path, 9)
    raster = save_raster(tmp_path / "water/z.tif", colours(64, 64))
    job = a_job(tmp_path, "/none", tiling=TILING)
    (plan,) = plans_of(job)
    gone = sorted(good)[::3]
    for uri in (*gone, raster):
        storage.filesystem(uri)[0].rm(uri)
    batches = list(read_batches(plan, job))
    rejects = [one for batch in batches for one in batch.rejects]
    assert [(r.uri, r.reason) for r in rejects] == [(uri, "missing") for uri in (*gone, raster)]
    assert [len(batch) for batch in batches] == [5, 1, 0]


def test_a_file_too_large_to_hold_is_never_read(tmp_path):
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(2**40)  # of holes: it takes no space
    ((batch,), found) = batches_of(a_job(tmp_path, "/none"))
    assert [(r.stage, r.reason) for r in batch.rejects] == [("read", "too-large")]
    assert found.bytes_read == 0


def test_a_huge_raster_is_not_taken_for_one_picture(tmp_path):
    uri = save_raster(tmp_path / "a.tif", np.zeros((1, 8, 8), np.uint8))
    profile = {"sparse_ok": True, "tiled": True}
    with rasterio.open(
        uri,
        "w",
        driver="GTiff",
        count=1,
        height=30_000,
        width=30_000,
        dtype="uint8",
        crs="EPSG:4326",
        transform=rasterio.Affine(0.001, 0, 10, 0, -0.001, 50),
        **profile,
    ):
        pass
    ((batch,), _) = batches_of(a_job(uri, "/none", tile="never"))
    assert [(r.stage, r.reason) for r in batch.rejects] == [("tile", "too-large")]


def test_rasters_and_images_take_turns_in_the_order_of_the_plan(tmp_path):
    save(tmp_path / "a.png", picture(0))
    save(tmp_path / "c.png", picture(1))
    save_raster(tmp_path / "b.tif", colours(32, 32))
    batches, _ = batches_of(a_job(tmp_path, "/none"))
    rows = [row.uri[-5:] for b in batches for row, _ in (*b.images, *b.tiles)]
    assert rows == ["a.png", "b.tif", "c.png"]


def test_objects_in_memory_are_read_too():
    root = f"memory://{uuid.uuid4().hex}"
    for i in range(3):
        storage.write_bytes(f"{root}/{i}.png", bytes([i]))
    batches, _ = batches_of(a_job(root, "/none"))
    assert [data for _, data in batches[0].images] == [b"\0", b"\1", b"\2"]


def read_one(uri, **fields):
    item = Item(uri, 9, "e", **fields)
    return list(read_batches(ShardPlan("n", 0, (item,)), a_job("/in", "/out")))


@pytest.mark.parametrize("cause", [TimeoutError(), ConnectionResetError(104, "reset"), None])
def test_a_fault_that_may_pass_stops_the_shard_instead_of_becoming_a_reject(cause, monkeypatch):
    def busy(*_):
        error = StorageError("gs://b/a.png: could not read it")
        error.__cause__ = cause
        return [error]

    monkeypatch.setattr("featurizer.storage.read_many", busy)
    with pytest.raises(StorageError, match="could not read it"):
        read_one("gs://b/a.png")


class Answer(Exception):
    def __init__(self, status):
        self.status = status


@pytest.mark.parametrize(
    ("status", "reason"), [(403, "unreadable"), (410, "unreadable"), (429, None), (503, None)]
)
def test_only_an_answer_that_will_stay_becomes_a_reject(status, reason, monkeypatch):
    def answered(*_):
        error = StorageError("https://x/a.png: could not read it")
        error.__cause__ = Answer(status)
        return [error]

    monkeypatch.setattr("featurizer.storage.read_many", answered)
    if reason is None:
        with pytest.raises(StorageError):
            read_one("https://x/a.png")
    else:
        (batch,) = read_one("https://x/a.png")
        assert [reject.reason for reject in batch.rejects] == [reason]


def test_a_scene_is_a_window_of_its_own_size(tmp_path):
    uri = save_raster(tmp_path / "a.tif", colours(10, 12))
    (batch,) = read_one(uri, kind="scene")
    ((row, pixels),) = batch.tiles
    assert (row.window, pixels.shape) == (None, (10, 12, 3))
    large = save_raster(tmp_path / "b.tif", colours(200, 200))
    (batch,) = read_one(large, kind="windows", stop=1)
    assert [row.window for row, _ in batch.tiles] == [Window(0, 0, 256, 256)]
