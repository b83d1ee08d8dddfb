"""What is cut into tiles, what is one picture, and what only a raster reader can read."""

from __future__ import annotations

import numpy as np
import pytest

from featurizer.bands import RasterOptions
from featurizer.errors import StorageError
from pipeline.config import SourceOptions
from pipeline.sources import list_items, scenes
from pipeline.tiling import TilingOptions, tile_windows
from tests.pipeline.imagery import encoded, picture, save, save_raster


def bands(height, width, count=3, dtype="uint8"):
    rng = np.random.default_rng(height * width)
    return rng.integers(1, 200, (count, height, width)).astype(dtype)


def kinds(source, **options):
    """Name -> (kind, rows) of each input."""
    options = {"tiling": TilingOptions(64, 32), **options}
    found = list_items(SourceOptions(str(source), **options))
    return {item.uri.rsplit("/", 1)[1]: (item.kind, item.rows) for item in found}


WINDOWS = len(tile_windows(200, 100, 64, 32))


@pytest.fixture
def mixed(tmp_path):
    save_raster(tmp_path / "large.tif", bands(100, 200))
    save_raster(tmp_path / "small.tif", bands(64, 64))
    save_raster(tmp_path / "small-plain.tif", bands(64, 64), placed=False)
    save_raster(tmp_path / "small-deep.tif", bands(64, 64, dtype="uint16"), placed=False)
    save(tmp_path / "corrupt.tif", b"II*\0 and no more")
    save(tmp_path / "empty.tif", b"")
    save(tmp_path / "photo.png", picture(1, 300, 200))
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (500, 2100, 3), np.uint8)
    save(tmp_path / "big.jpg", encoded(noise, "JPEG", quality=90))
    flat = np.full((500, 2100, 3), 9, np.uint8)
    save(tmp_path / "big-flat.jpg", encoded(flat, "JPEG"))
    return tmp_path


UNREADABLE = {"corrupt.tif": ("image", 1), "empty.tif": ("image", 1)}
SMALL = {
    "small.tif": ("scene", 1),
    "small-plain.tif": ("image", 1),
    "small-deep.tif": ("scene", 1),
}


def test_auto_cuts_rasters_and_very_large_pictures(mixed):
    assert kinds(mixed) == {
        **UNREADABLE,
        **SMALL,
        "large.tif": ("windows", WINDOWS),
        "photo.png": ("image", 1),
        "big.jpg": ("windows", len(tile_windows(2100, 500, 64, 32))),
        "big-flat.jpg": ("image", 1),  # too few bytes to be looked at
    }


def test_always_cuts_whatever_is_larger_than_a_tile(mixed):
    assert kinds(mixed, tile="always") == {
        **UNREADABLE,
        **SMALL,
        "large.tif": ("windows", WINDOWS),
        "photo.png": ("windows", len(tile_windows(200, 300, 64, 32))),
        "big.jpg": ("windows", len(tile_windows(2100, 500, 64, 32))),
        "big-flat.jpg": ("windows", len(tile_windows(2100, 500, 64, 32))),
    }


def test_never_cuts_nothing(mixed):
    found = kinds(mixed, tile="never")
    assert found == {
        **UNREADABLE,
        **SMALL,
        "large.tif": ("scene", 1),
        "photo.png": ("image", 1),
        "big.jpg": ("image", 1),
        "big-flat.jpg": ("image", 1),
    }


def test_a_raster_named_alone_is_cut(mixed):
    assert kinds(mixed / "photo.png")["photo.png"][0] == "windows"
    assert kinds(mixed / "photo.png", tile="never") == {"photo.png": ("image", 1)}
    assert kinds(mixed / "small.tif") == {"small.tif": ("scene", 1)}


@pytest.mark.parametrize("raster", [RasterOptions(bands=(3, 2, 1)), RasterOptions(scale=(0, 9))])
def test_bands_and_scale_go_to_the_raster_reader_whatever_the_format(tmp_path, raster):
    deep = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48)
    save(tmp_path / "deep.png", encoded(deep))
    save(tmp_path / "plain.png", picture(1))
    save(tmp_path / "plain.jpg", encoded(picture(2), "JPEG"))
    save_raster(tmp_path / "plain.tif", bands(48, 48), placed=False)
    # a grey picture has no band 3: the image decoder shows it, as it is
    grey = ("image", 1) if raster.bands else ("scene", 1)
    scene = ("scene", 1)
    assert kinds(tmp_path, raster=raster) == {
        "deep.png": grey,
        "plain.jpg": scene,
        "plain.png": scene,
        "plain.tif": scene,
    }


def test_five_bands_need_a_reader(tmp_path):
    save_raster(tmp_path / "five.tif", bands(40, 40, 5), placed=False)
    chosen = RasterOptions(bands=(5, 1, 2))
    assert kinds(tmp_path, raster=chosen)["five.tif"][0] == "scene"


def test_order_holds_over_more_than_one_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "_CHUNK", 4)
    for i in range(10):
        save_raster(tmp_path / f"{i}.tif", bands(70 + i, 64))
    assert list(kinds(tmp_path)) == [f"{i}.tif" for i in range(10)]


def test_a_label_is_for_whole_pictures(tmp_path):
    save_raster(tmp_path / "class/large.tif", bands(100, 200))
    save_raster(tmp_path / "class/small.tif", bands(60, 60))
    source = SourceOptions(str(tmp_path), tiling=TilingOptions(64, 64))
    assert [item.label for item in list_items(source)] == [None, "class"]


def test_a_fault_that_may_pass_makes_no_picture_of_a_raster(tmp_path, monkeypatch):
    save_raster(tmp_path / "a.tif", bands(100, 200))

    def busy(uri, options):
        error = StorageError(f"{uri}: busy")
        error.__cause__ = TimeoutError()
        raise error

    monkeypatch.setattr(scenes, "inspect", busy)
    with pytest.raises(StorageError, match="busy"):
        kinds(tmp_path)
