"""Cutting into tiles: which windows, and the same pixels as reading each window alone."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featurizer.errors import PixelError, UsageError
from featurizer.rasters import RasterOptions, Scene, open_scene
from featurizer.tiles import Window
from pipeline import tiling
from pipeline.tiling import TilingOptions, inspect, iter_tiles, tile_windows, window_starts

PLAIN = RasterOptions()


def write(path, bands, **profile):
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "dtype": bands.dtype, "crs": "EPSG:32618", **profile}
    profile |= {"transform": north_up(300_000, 5_000_000, 10, 10)}
    with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as file:
        file.write(bands)
    return str(path)


def north_up(west, north, dx, dy):
    # rasterio's own from_origin multiplies in a way that affine 3 warns of
    return rasterio.Affine(dx, 0, west, 0, -dy, north)


def noise(shape, dtype="uint8", seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype)


# ---- windows ------------------------------------------------------------------------------------

sizes = st.integers(1, 64).flatmap(lambda tile: st.tuples(st.just(tile), st.integers(1, tile)))


@given(st.integers(1, 500), sizes)
def test_starts_cover_every_pixel_with_no_tile_to_spare(length, size):
    tile, stride = size
    starts = window_starts(length, tile, stride)
    assert len(starts) == max(math.ceil((length - tile) / stride) + 1, 1)
    assert starts == [i * stride for i in range(len(starts))]
    covered = set().union(*(range(start, start + tile) for start in starts))
    assert set(range(length)) <= covered
    assert starts[-1] < length
    assert len(starts) == 1 or starts[-2] + tile < length


@given(st.integers(1, 200), st.integers(1, 200), sizes)
def test_windows_run_row_by_row_and_are_whole_tiles(width, height, size):
    windows = tile_windows(width, height, *size)
    assert windows == sorted(windows, key=lambda w: (w.y, w.x))
    assert len(set(windows)) == len(windows)
    assert {(w.width, w.height) for w in windows} == {(size[0], size[0])}
    columns, rows = (window_starts(length, *size) for length in (width, height))
    assert {(w.x, w.y) for w in windows} == {(x, y) for x in columns for y in rows}


@pytest.mark.parametrize(
    ("bad", "remedy"),
    [
        ({"tile_px": 0}, "--tile-px"),
        ({"stride_px": 257}, "--stride-px"),
        ({"stride_px": 0}, "--stride-px"),
        ({"max_null": 1.5}, "--max-null"),
    ],
)
def test_options_that_cannot_be_meant(bad, remedy):
    with pytest.raises(UsageError, match=remedy):
        TilingOptions(**bad)


# ---- tiles --------------------------------------------------------------------------------------

LAYOUTS = {
    "tiled": {"tiled": True, "blockxsize": 64, "blockysize": 48, "compress": "deflate"},
    "striped": {"compress": "lzw", "interleave": "pixel"},
    "one strip": {"blockysize": 211, "compress": "deflate"},
    "wide tiles": {"tiled": True, "blockxsize": 512, "blockysize": 16},
}


def same_tiles(scene, windows):
    """Each tile equals its window read alone, in order and kind; returns how many there were."""
    tiles = list(iter_tiles(scene, windows))
    assert [tile.window for tile in tiles] == list(windows)
    for window, pixels, fraction, bounds in tiles:
        rgb, valid = scene.read(window)
        assert (pixels == rgb).all()
        assert fraction == valid.mean()
        assert bounds == scene.bounds(window)
    return len(tiles)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunk_pixels", [1, 5000, 2**21])
def test_tiles_equal_windows_read_alone(tmp_path, monkeypatch, layout, chunk_pixels):
    monkeypatch.setattr(tiling, "CHUNK_PIXELS", chunk_pixels)
    bands = noise((3, 211, 307))
    bands[:, 90:150, 20:200] = 0
    uri = write(tmp_path / "a.tif", bands, nodata=0, **LAYOUTS[layout])
    windows = tile_windows(307, 211, 40, 20)
    with open_scene(uri, PLAIN) as scene:
        assert same_tiles(scene, windows) == len(windows)
        assert same_tiles(scene, windows[37:101]) == 64  # a shard's part: rows begin and end within
        assert same_tiles(scene, windows[5::7])
        assert same_tiles(scene, windows[::-13])
        assert same_tiles(scene, [Window(0, 0, 307, 211)])
        assert list(iter_tiles(scene, [])) == []


def test_rasters_too_wide_for_a_strip_are_read_in_panels(tmp_path, monkeypatch):
    monkeypatch.setattr(tiling, "STRIP_BYTES", 4 * 100 * (40 + 48))
    uri = write(tmp_path / "a.tif", noise((3, 211, 307)), **LAYOUTS["tiled"])
    with open_scene(uri, PLAIN) as scene:
        assert same_tiles(scene, tile_windows(307, 211, 40, 20))
        assert same_tiles(scene, tile_windows(307, 211, 128, 128))  # each wider than a panel


def test_deep_values_and_parts_outside(tmp_path):
    uri = write(tmp_path / "a.tif", noise((5, 70, 90), "uint16"), **LAYOUTS["tiled"])
    with open_scene(uri, RasterOptions(bands=(5, 3, 1))) as scene:
        assert same_tiles(scene, tile_windows(90, 70, 64, 32))
        last = list(iter_tiles(scene, tile_windows(90, 70, 64, 64)))[-1]
        assert last.valid_fraction == (90 - 64) * (70 - 64) / 64**2


@pytest.mark.parametrize("layout", ["tiled", "striped"])
def test_each_pixel_is_read_once(tmp_path, monkeypatch, layout):
    uri = write(tmp_path / "a.tif", noise((3, 480, 640)), **LAYOUTS[layout])
    pixels, inside = [], np.zeros((480, 640), int)
    read = Scene.read

    def counted(self, window):
        pixels.append(window.width * window.height)
        inside[window.y : window.y + window.height, window.x : window.x + window.width] += 1
        return read(self, window)

    monkeypatch.setattr(Scene, "read", counted)
    monkeypatch.setattr(tiling, "CHUNK_PIXELS", 20_000)
    with open_scene(uri, PLAIN) as scene:
        tiles = list(iter_tiles(scene, tile_windows(640, 480, 64, 32)))
    assert len(tiles) == 19 * 14
    assert (inside == 1).all()
    assert sum(pixels) == 480 * 640


def test_tiles_do_not_share_memory(tmp_path):
    uri = write(tmp_path / "a.tif", noise((3, 128, 128)))
    with open_scene(uri, PLAIN) as scene:
        first, second, *_ = iter_tiles(scene, tile_windows(128, 128, 64, 32))
        kept = second.pixels.copy()
        first.pixels[:] = 0
        assert (second.pixels == kept).all()


def test_a_fault_comes_after_the_tiles_above_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tiling, "CHUNK_PIXELS", 10_000)
    Image.fromarray(noise((512, 256, 3))).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) * 3 // 4])
    found = []
    with open_scene(str(tmp_path / "a.png"), PLAIN) as scene, pytest.raises(PixelError) as caught:
        for tile in iter_tiles(scene, tile_windows(256, 512, 64, 64)):
            found.append(tile.window)
    assert caught.value.reason == "corrupt"
    assert len(found) >= 4 * 4


def test_inspecting_reads_no_pixel(tmp_path, monkeypatch):
    uri = write(tmp_path / "a.tif", noise((4, 70, 90), "uint16"))
    monkeypatch.setattr(Scene, "_values", None)
    info = inspect(uri, PLAIN)
    assert (info.width, info.height, info.dtype, info.stretch) == (90, 70, "uint16", None)
    assert info.crs == "EPSG:32618"
    assert info.georeferenced


_PEAK = """
import resource, sys
from featurizer.rasters import RasterOptions, open_scene
from pipeline.tiling import iter_tiles, tile_windows
with open_scene(sys.argv[1], RasterOptions()) as scene:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    windows = tile_windows(scene.info.width, scene.info.height, 256, 256)
    for tile in iter_tiles(scene, windows):
        pass
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("layout", [{"tiled": True, "compress": "deflate"}, {"compress": "lzw"}])
def test_memory_does_not_grow_with_the_raster(tmp_path, layout):
    plane = np.broadcast_to(np.arange(4096, dtype=np.uint8), (3, 1, 4096))
    peaks = []
    for height in (2048, 16_384):
        uri = write(tmp_path / f"{height}.tif", np.repeat(plane, height, axis=1), **layout)
        run = subprocess.run(
            [sys.executable, "-c", _PEAK, uri],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        peaks.append(int(run.stdout))
    # 200 MB of pixels in the larger; GDAL's own cache may fill to 128 MiB in either
    assert peaks[1] < peaks[0] + 140, peaks
    assert peaks[1] < 200, peaks
