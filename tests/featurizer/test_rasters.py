"""Rasters of every kind, read in windows, against numpy slices of what was written."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.warp import transform_bounds

from featurizer.errors import PixelError, StorageError, UsageError
from featurizer.geography import box_of, inside, on_the_globe
from featurizer.pixels import Stretch, apply_stretch, percentile_stretch
from featurizer.rasters import RasterOptions, open_scene, open_scene_bytes, scene_info
from featurizer.tiles import Window

DATA = Path(__file__).parents[2] / "../shared/data"
PLAIN = RasterOptions()
real_files = pytest.mark.skipif(
    not (DATA / "geotiff").is_dir(), reason=f"no real rasters at {DATA}/geotiff"
)


def north_up(west, north, dx, dy):
    # rasterio's own from_origin multiplies in a way that affine 3 warns of
    return rasterio.Affine(dx, 0, west, 0, -dy, north)


def noise(shape, dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0.2, 0.1, shape).astype(dtype)
    span = np.iinfo(dtype)
    return rng.integers(span.min, span.max, shape, dtype, endpoint=True)


def write(path, bands, colours=None, mask=None, colormap=None, **profile):
    """(bands, h, w) as a GeoTIFF, in EPSG:32618 where the profile does not say otherwise."""
    count, height, width = bands.shape
    profile = {
        "driver": "GTiff",
        "dtype": bands.dtype,
        "crs": "EPSG:32618",
        "transform": north_up(300_000, 5_000_000, 10, 10),
        **profile,
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", count=count, height=height, width=width, **profile) as file,
    ):
        if colours:
            file.colorinterp = [getattr(ColorInterp, name) for name in colours]
        file.write(bands)
        if mask is not None:
            file.write_mask(mask)
        if colormap:
            file.write_colormap(1, colormap)
    return str(path)


def read_all(uri, options=PLAIN, stretch=None):
    with open_scene(uri, options, stretch) as scene:
        info = scene.info
        return (*scene.read(Window(0, 0, info.width, info.height)), info)


def image(bands):
    return bands.transpose(1, 2, 0)


# ---- which pixels -------------------------------------------------------------------------------

LAYOUTS = [
    {},
    {"interleave": "pixel", "compress": "lzw"},
    {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"},
    {"tiled": True, "blockxsize": 16, "blockysize": 16, "interleave": "pixel"},
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_window_is_the_numpy_slice_padded_with_null(tmp_path, layout):
    bands = noise((3, 61, 83))
    uri = write(tmp_path / "a.tif", bands, **layout)
    padded = np.pad(image(bands), ((100, 100), (100, 100), (0, 0)))
    inner = np.pad(np.ones((61, 83), bool), 100)
    windows = [(0, 0, 83, 61), (5, 7, 20, 30), (70, 50, 40, 40), (-9, -4, 30, 30), (83, 0, 9, 9)]
    with open_scene(uri, PLAIN) as scene:
        for x, y, width, height in windows:
            rgb, valid = scene.read(Window(x, y, width, height))
            where = slice(y + 100, y + 100 + height), slice(x + 100, x + 100 + width)
            assert (rgb == padded[where]).all()
            assert (valid == inner[where]).all()
            assert rgb.dtype == np.uint8
            assert valid.dtype == np.bool_


@given(
    st.tuples(*[st.integers(-40, 60)] * 2, *[st.integers(1, 60)] * 2),
    st.integers(1, 50),
    st.integers(1, 50),
)
def test_the_inside_of_a_window_holds_the_shared_pixels(numbers, width, height):
    window = Window(*numbers)
    xs = set(range(window.x, window.x + window.width)) & set(range(width))
    ys = set(range(window.y, window.y + window.height)) & set(range(height))
    found = inside(window, width, height)
    assert (found is None) == (not xs or not ys)
    if found is not None:
        assert found == Window(min(xs), min(ys), len(xs), len(ys))


# ---- which bands, and how they become 8 bits ----------------------------------------------------


def test_one_band_is_grey(tmp_path):
    bands = noise((1, 20, 30))
    rgb, valid, info = read_all(write(tmp_path / "a.tif", bands))
    assert (rgb == bands[0][:, :, None]).all()
    assert valid.all()
    assert (info.bands, info.dtype, info.stretch) == ((1,), "uint8", None)


@pytest.mark.parametrize("bands", [(5,), (6, 1, 3)])
def test_chosen_bands(tmp_path, bands):
    written = noise((6, 20, 30))
    rgb, _, info = read_all(write(tmp_path / "a.tif", written), RasterOptions(bands=bands))
    assert (rgb == image(written[[b - 1 for b in bands]])).all()
    assert info.bands == bands


def test_without_a_choice_the_first_three_bands(tmp_path):
    assert read_all(write(tmp_path / "a.tif", noise((6, 9, 9)), photometric="minisblack"))[
        2
    ].bands == (1, 2, 3)
    assert read_all(write(tmp_path / "b.tif", noise((2, 9, 9))))[2].bands == (1,)


def test_bands_marked_red_green_and_blue_come_first(tmp_path):
    colours = ["blue", "green", "red", "undefined"]
    uri = write(tmp_path / "a.tif", noise((4, 9, 9)), colours, photometric="minisblack")
    assert read_all(uri)[2].bands == (3, 2, 1)


def test_a_band_that_is_not_there(tmp_path):
    uri = write(tmp_path / "a.tif", noise((3, 9, 9)))
    with pytest.raises(PixelError, match=r"bands \(4, 1, 2\) of a raster with 3") as caught:
        open_scene(uri, RasterOptions(bands=(4, 1, 2)))
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_deep_values_are_stretched_between_their_percentiles(tmp_path, dtype):
    bands = noise((3, 40, 50), dtype)
    rgb, _, info = read_all(write(tmp_path / "a.tif", bands))
    wanted = percentile_stretch(image(bands))
    assert info.stretch == wanted
    assert (rgb == apply_stretch(image(bands), wanted)).all()


def test_a_stretch_of_a_large_scene_is_of_a_sample_and_repeats(tmp_path):
    bands = noise((1, 1500, 1600), "uint16")
    uri = write(tmp_path / "a.tif", bands)
    first, second = (open_scene(uri, PLAIN) for _ in range(2))
    with first, second:
        assert first.info == second.info
        low, high = np.percentile(bands, (2, 98))
        assert first.info.stretch.low[0] == pytest.approx(low, rel=0.05)
        assert first.info.stretch.high[0] == pytest.approx(high, rel=0.05)


def test_a_given_stretch_and_a_fixed_scale(tmp_path):
    bands = noise((3, 20, 30), "uint16")
    uri = write(tmp_path / "a.tif", bands)
    stretch = Stretch((0.0, 10.0, 20.0), (1000.0, 30_000.0, 65_000.0))
    rgb, _, info = read_all(uri, stretch=stretch)
    assert info.stretch == stretch
    assert (rgb == apply_stretch(image(bands), stretch)).all()
    assert read_all(uri, RasterOptions(scale=(0.0, 3000.0)))[2].stretch == Stretch(
        (0.0,) * 3, (3000.0,) * 3
    )
    with pytest.raises(PixelError, match="a stretch of 1 bands for 3"):
        open_scene(uri, PLAIN, Stretch((0.0,), (1.0,)))


def test_scale_none_takes_eight_bits_only(tmp_path):
    none = RasterOptions(scale="none")
    bands = noise((3, 20, 30))
    assert (read_all(write(tmp_path / "a.tif", bands), none)[0] == image(bands)).all()
    with pytest.raises(PixelError, match="uint16 values with scale none") as caught:
        open_scene(write(tmp_path / "b.tif", noise((3, 9, 9), "uint16")), none)
    assert caught.value.reason == "unsupported"


def test_complex_values_are_refused(tmp_path):
    uri = write(tmp_path / "a.tif", np.ones((1, 9, 9), np.complex64))
    with pytest.raises(PixelError, match="complex64") as caught:
        open_scene(uri, PLAIN)
    assert caught.value.reason == "unsupported"


def test_few_bits_fill_the_range(tmp_path):
    bands = noise((1, 9, 16)) % 16
    rgb, _, _ = read_all(write(tmp_path / "a.tif", bands, nbits=4))
    assert (rgb[:, :, 0] == bands[0] * 17).all()


def test_min_is_white_comes_out_right_way_round(tmp_path):
    bands = noise((1, 9, 16))
    uri = write(tmp_path / "a.tif", bands, photometric="miniswhite")
    assert (read_all(uri)[0][:, :, 0] == 255 - bands[0]).all()


def test_palette(tmp_path):
    bands = noise((1, 30, 40)) % 4
    colormap = {0: (9, 8, 7, 255), 1: (255, 0, 0, 255), 2: (0, 255, 1, 255), 3: (5, 5, 250, 255)}
    uri = write(tmp_path / "a.tif", bands, colormap=colormap)
    table = np.array([colormap[i][:3] for i in range(4)], np.uint8)
    rgb, valid, info = read_all(uri)
    assert (rgb == table[bands[0]]).all()
    assert valid.all()
    assert info.stretch is None


@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_cmyk_is_as_pillow_shows_it(tmp_path, name):
    ink = np.kron(noise((6, 8, 4)), np.ones((16, 16, 1), np.uint8))
    picture = Image.frombytes("CMYK", (128, 96), ink.tobytes())
    picture.save(tmp_path / name)
    with Image.open(tmp_path / name) as saved:
        wanted = np.asarray(saved.convert("RGB")).astype(int)
    rgb, valid, _ = read_all(str(tmp_path / name))
    assert np.abs(rgb - wanted).max() <= (1 if name == "a.tif" else 8)
    assert valid.all()


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "P", "1"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_pictures_are_as_pillow_shows_them(tmp_path, mode, suffix):
    picture = Image.fromarray(np.kron(noise((10, 12, 3)), np.ones((3, 3, 1), np.uint8)))
    path = tmp_path / f"a.{suffix}"
    picture.convert(mode).save(path)
    with Image.open(path) as saved:
        wanted = np.asarray(saved.convert("RGB"))
    rgb, valid, _ = read_all(str(path))
    assert (rgb == wanted).all()
    assert valid.all()


@pytest.mark.parametrize("bad", [{"bands": (1, 2)}, {"bands": (0,)}, {"bands": ()}])
def test_bands_that_cannot_be_meant(bad):
    with pytest.raises(UsageError, match="one or three"):
        RasterOptions(**bad)


@pytest.mark.parametrize("scale", ["full", (3.0, 1.0), (1.0, 1.0), (0.0, math.nan)])
def test_scales_that_cannot_be_meant(scale):
    with pytest.raises(UsageError, match="give"):
        RasterOptions(scale=scale)


# ---- null ---------------------------------------------------------------------------------------


def test_nodata_in_all_bands_is_null(tmp_path):
    bands = noise((3, 20, 30)) | 1
    bands[:, :5] = 0
    bands[0, 10] = 0  # in one band only: a colour without red
    rgb, valid, _ = read_all(write(tmp_path / "a.tif", bands, nodata=0))
    assert (valid == (bands != 0).any(axis=0)).all()
    assert (rgb == image(bands)).all()


def test_nodata_of_a_float_is_compared_in_its_own_type(tmp_path):
    bands = noise((1, 20, 30), "float32")
    bands[0, 3] = np.float32(0.1)
    _, valid, _ = read_all(write(tmp_path / "a.tif", bands, nodata=0.1))
    assert not valid[3].any()
    assert np.delete(valid, 3, axis=0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_null_and_black(tmp_path, value):
    bands = noise((1, 20, 30), "float32")
    bands[0, :, :7] = value
    rgb, valid, info = read_all(write(tmp_path / "a.tif", bands))
    assert (valid == np.isfinite(bands[0])).all()
    assert not rgb[:, :7].any()
    assert info.stretch == percentile_stretch(image(bands[:, :, 7:]))


def test_alpha_zero_is_null_and_black(tmp_path):
    bands = noise((4, 20, 30)) | 1
    bands[3] = noise((20, 30), seed=3) % 3
    colours = ["red", "green", "blue", "alpha"]
    rgb, valid, _ = read_all(write(tmp_path / "a.tif", bands, colours))
    assert (valid == (bands[3] > 0)).all()
    assert (rgb == image(bands[:3]) * valid[:, :, None]).all()


def test_a_mask_band_is_obeyed(tmp_path):
    bands, mask = noise((3, 20, 30)) | 1, noise((20, 30), seed=5) > 99
    rgb, valid, _ = read_all(write(tmp_path / "a.tif", bands, mask=mask))
    assert (valid == mask).all()
    assert (rgb == image(bands) * mask[:, :, None]).all()


def test_the_transparent_colour_of_a_palette_is_null(tmp_path):
    index = (noise((20, 30)) % 3).astype(np.uint8)
    picture = Image.fromarray(index).convert("P")
    picture.putpalette([9, 9, 9, 1, 2, 3, 200, 100, 50])
    picture.putdata(index.ravel().tolist())
    picture.save(tmp_path / "a.png", transparency=1)
    _, valid, _ = read_all(str(tmp_path / "a.png"))
    assert (valid == (index != 1)).all()


# ---- where --------------------------------------------------------------------------------------


def bounds_of(uri, window):
    with open_scene(uri, PLAIN) as scene:
        return scene.bounds(window)


def test_bounds_in_degrees_are_the_arithmetic(tmp_path):
    place = {"crs": "EPSG:4326", "transform": north_up(10, 50, 0.25, 0.5)}
    uri = write(tmp_path / "a.tif", noise((1, 40, 60)), **place)
    assert bounds_of(uri, Window(4, 8, 8, 2)) == pytest.approx((11, 45, 13, 46))
    assert bounds_of(uri, Window(56, 36, 100, 100)) == pytest.approx((24, 30, 25, 32))
    assert bounds_of(uri, Window(60, 0, 5, 5)) is None


def test_bounds_of_a_projection_hold_every_point_of_the_window(tmp_path):
    place = {"crs": "EPSG:3413", "transform": north_up(-500_000, -600_000, 5000, 5000)}
    uri = write(tmp_path / "a.tif", noise((1, 64, 64)), **place)
    west, south, east, north = bounds_of(uri, Window(8, 8, 32, 32))
    edge = np.linspace(8, 40, 50)
    xs, ys = np.meshgrid(-500_000 + 5000 * edge, -600_000 - 5000 * edge)
    lon, lat = rasterio.warp.transform("EPSG:3413", "EPSG:4326", xs.ravel(), ys.ravel())
    found = (min(lon), min(lat), max(lon), max(lat))
    assert (west, south, east, north) == pytest.approx(found, abs=0.02)


def test_bounds_across_the_antimeridian(tmp_path):
    place = {"crs": "EPSG:4326", "transform": north_up(170, 10, 1, 1)}
    uri = write(tmp_path / "a.tif", noise((1, 20, 30)), **place)
    assert bounds_of(uri, Window(0, 0, 20, 20)) == (170, -10, -170, 10)
    assert bounds_of(uri, Window(15, 0, 10, 10)) == (-175, 0, -165, 10)


def test_bounds_of_a_rotated_raster_come_from_four_corners(tmp_path):
    angle = math.radians(30)
    c, s = 0.1 * math.cos(angle), 0.1 * math.sin(angle)
    place = {"crs": "EPSG:4326", "transform": rasterio.Affine(c, s, 5, s, -c, 45)}
    uri = write(tmp_path / "a.tif", noise((1, 30, 20)), **place)
    corners = [(5 + c * x + s * y, 45 + s * x - c * y) for x in (2, 12) for y in (3, 13)]
    lon, lat = zip(*corners, strict=True)
    wanted = (min(lon), min(lat), max(lon), max(lat))
    assert bounds_of(uri, Window(2, 3, 10, 10)) == pytest.approx(wanted)


@pytest.mark.parametrize("pixel", [1e12, 1e30])
def test_coordinates_that_are_not_on_earth_end_at_once(tmp_path, pixel):
    place = {"crs": "EPSG:3857", "transform": north_up(0, 0, pixel, pixel)}
    uri = write(tmp_path / "a.tif", noise((1, 9, 9)), **place)
    assert bounds_of(uri, Window(0, 0, 9, 9)) is None


def test_without_a_way_to_degrees_there_are_no_bounds(tmp_path, capfd):
    site = write(tmp_path / "a.tif", noise((1, 9, 9)), crs='LOCAL_CS["x",UNIT["metre",1]]')
    nowhere = str(tmp_path / "b.png")
    Image.fromarray(noise((9, 9))).save(nowhere)
    for uri in (site, nowhere):
        assert not scene_info(uri, PLAIN).georeferenced
        assert bounds_of(uri, Window(0, 0, 9, 9)) is None
    assert capfd.readouterr().err == ""


@given(st.floats(-720, 720), st.floats(0.001, 400), st.floats(-120, 100), st.floats(0.001, 90))
def test_boxes_on_the_globe_keep_their_width(west, width, south, height):
    found = on_the_globe((west, south, west + width, south + height))
    if found is None:
        assert south >= 90 or south + height <= -90
        return
    w, s, e, n = found
    assert -180 <= w <= 180
    assert -180 <= e <= 180
    assert -90 <= s < n <= 90
    turned = (e - w) % 360.0
    assert min(width, 360.0) == pytest.approx(turned, abs=1e-6) or turned in (0.0, 360.0)


def test_a_box_is_the_extent_of_its_corners():
    assert box_of(Window(1, 2, 3, 4), (2, 0, 10, 0, -1, 50)) == (12, 44, 18, 48)


# ---- where from ---------------------------------------------------------------------------------


@pytest.fixture
def remote(tmp_path):
    """A URL of a raster in memory, and the local path of the same."""
    bands = noise((3, 300, 400))
    local = write(tmp_path / "a.tif", bands, tiled=True, blockxsize=64, blockysize=64)
    store = fsspec.filesystem("memory")
    store.pipe("/rasters/a.tif", Path(local).read_bytes())
    yield "memory://rasters/a.tif", local
    store.rm("/rasters", recursive=True)


def test_a_url_gives_the_pixels_of_the_file(remote):
    url, local = remote
    ours, theirs = read_all(url), read_all(local)
    assert (ours[0] == theirs[0]).all()
    assert ours[2] == theirs[2] == scene_info(url, PLAIN)
    data = Path(local).read_bytes()
    with open_scene_bytes(data, "a.tif", PLAIN) as scene:
        assert (scene.read(Window(0, 0, 400, 300))[0] == theirs[0]).all()


def test_scenes_of_one_url_in_many_threads_and_closed_in_another(remote):
    url, local = remote
    wanted, _, _ = read_all(local)
    faults: list[BaseException] = []

    def work():
        try:
            for _ in range(5):
                assert (read_all(url)[0] == wanted).all()
        except BaseException as error:  # noqa: BLE001
            faults.append(error)

    scene = open_scene(url, PLAIN)
    threads = [threading.Thread(target=work) for _ in range(4)]
    threads.append(threading.Thread(target=scene.close))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_url_that_fails_while_reading_is_a_fault_of_storage(remote, monkeypatch):
    url, _ = remote
    monkeypatch.setattr("featurizer.ranges.RANGE_BYTES", 4096)
    with open_scene(url, PLAIN) as scene:

        def broken(*_, **__):
            raise PermissionError("token expired")

        monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", broken)
        with pytest.raises(StorageError, match="permission denied"):
            scene.read(Window(0, 0, 400, 300))


def test_only_the_ranges_that_are_needed_are_fetched(remote, monkeypatch):
    url, _ = remote
    monkeypatch.setattr("featurizer.ranges.RANGE_BYTES", 4096)
    store = type(fsspec.filesystem("memory"))
    fetched = []
    fetch = store.cat_file

    def counted(self, path, start=None, end=None, **kwargs):
        fetched.append(end - start)
        return fetch(self, path, start=start, end=end, **kwargs)

    monkeypatch.setattr(store, "cat_file", counted)
    with open_scene(url, PLAIN) as scene:
        scene.read(Window(130, 130, 20, 20))
    assert 0 < sum(fetched) < 40_000 < 300 * 400 * 3


# ---- faults -------------------------------------------------------------------------------------


def reason_of(data: bytes) -> str:
    with pytest.raises(PixelError) as caught, open_scene_bytes(data, "it", PLAIN) as scene:
        scene.read(Window(0, 0, scene.info.width, scene.info.height))
    assert "/vsi" not in caught.value.detail
    assert caught.value.detail.startswith("it: ")
    return caught.value.reason


def test_files_that_are_not_rasters():
    assert reason_of(b"") == "empty"
    assert reason_of(b"hello, world") == "unknown-format"
    assert reason_of(b"II*\0" + bytes(100)) == "corrupt"
    vrt = b'<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>'
    assert reason_of(vrt) == "unknown-format"


@pytest.mark.parametrize("uri", ["/no/such/file.tif", "memory://none/such.tif"])
def test_files_that_are_not_there(uri):
    with pytest.raises(PixelError) as caught:
        open_scene(uri, PLAIN)
    assert caught.value.reason == "missing"


@pytest.mark.parametrize("kind", ["tif", "jpg", "png"])
def test_a_truncated_file_is_corrupt(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(noise((200, 300, 3))).save(path, **({"quality": 90} if kind == "jpg" else {}))
    data = path.read_bytes()
    assert reason_of(data[: len(data) * 6 // 10]) == "corrupt"


def test_headers_that_ask_for_too_much_are_refused(tmp_path):
    size = {"width": 2**21, "height": 2**20, "count": 1, "dtype": "uint8", "driver": "GTiff"}
    place = {"crs": "EPSG:4326", "transform": north_up(0, 0, 1e-5, 1e-5)}
    sparse = {"tiled": True, "blockxsize": 16384, "blockysize": 16384, "sparse_ok": True}
    with rasterio.open(tmp_path / "a.tif", "w", **size, **place, **sparse, bigtiff="yes"):
        pass
    with pytest.raises(PixelError, match=r"2097152 x 1048576") as caught:
        open_scene(str(tmp_path / "a.tif"), PLAIN)
    assert caught.value.reason == "too-large"


_OPEN_ALL = """
import sys, warnings
from pathlib import Path
from featurizer.errors import PixelError
from featurizer.rasters import RasterOptions, open_scene_bytes
from featurizer.tiles import Window
warnings.simplefilter("error")
good = 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        with open_scene_bytes(path.read_bytes(), path.name, RasterOptions()) as scene:
            width, height = scene.info.width, scene.info.height
            scene.read(Window(0, 0, min(width, 4096), min(height, 4096)))
            good += 1
    except PixelError as error:
        print(path.name, error.reason, error.detail)
print("good", good)
"""


@pytest.mark.skipif(not (DATA / "corrupt").is_dir(), reason=f"no corrupt files at {DATA}/corrupt")
def test_broken_files_give_pixels_or_reasons_the_same_each_time():
    root = Path(__file__).parents[2]
    runs = [
        subprocess.run(
            [sys.executable, "-c", _OPEN_ALL, str(DATA / "corrupt")],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr[-2000:]
    assert runs[0].stdout == runs[1].stdout
    assert int(runs[0].stdout.split()[-1]) >= 100


# ---- real files ---------------------------------------------------------------------------------


@real_files
def test_every_real_raster_opens_but_the_corrupt_one():
    for path in sorted((DATA / "geotiff").iterdir()):
        if path.name == "corrupt.tif":
            with pytest.raises(PixelError):
                read_all(str(path))
            continue
        with open_scene(str(path), PLAIN) as scene:
            window = Window(0, 0, min(scene.info.width, 1024), min(scene.info.height, 1024))
            rgb, valid = scene.read(window)
            assert rgb.shape[:2] == valid.shape == (window.height, window.width)
            assert not rgb[~valid].any()


@real_files
@pytest.mark.parametrize("name", ["RGBA.byte.tif", "rgb_lzw.tif", "sentinel2_TCI_epsg32634.tif"])
def test_real_pixels_masks_and_bounds_are_rasterios(name):
    path = str(DATA / "geotiff" / name)
    rgb, valid, info = read_all(path)
    with rasterio.open(path) as dataset:
        mask = dataset.dataset_mask() > 0
        assert (valid == mask).all()
        assert (rgb == image(dataset.read([1, 2, 3])) * mask[:, :, None]).all()
        assert info.crs == f"EPSG:{dataset.crs.to_epsg()}"
        wanted = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
    assert bounds_of(path, Window(0, 0, info.width, info.height)) == pytest.approx(wanted)


@real_files
def test_a_real_scene_across_the_dateline():
    path = str(DATA / "geotiff" / "cog_dateline.tif")
    west, south, east, north = bounds_of(path, Window(0, 0, 2325, 2355))
    assert 177 < west < 180
    assert -180 < east < -178
    assert 50 < south < north < 53


@real_files
def test_thirteen_bands_and_floats_with_null():
    path = str(DATA / "geotiff" / "eurosat_13band_uint16.tif")
    with rasterio.open(path) as dataset:
        values = image(dataset.read([4, 3, 2]))
    rgb, _, info = read_all(path, RasterOptions(bands=(4, 3, 2)))
    assert (rgb == apply_stretch(values, info.stretch)).all()
    path = str(DATA / "geotiff" / "cog_nodata_nan.tif")
    with rasterio.open(path) as dataset:
        plane, nodata = dataset.read(1), dataset.nodata
    _, valid, _ = read_all(path)
    assert (valid == (np.isfinite(plane) & (plane != nodata))).all()
