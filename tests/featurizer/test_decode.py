"""Decoding against Pillow and numpy: every format, depth and mode, alone and in mixed batches."""

from __future__ import annotations

import functools
import io
import struct
import tarfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from featurizer.decode import Decoded, decode, device
from featurizer.errors import PixelError
from featurizer.pixels import apply_stretch, percentile_stretch

DATA = Path(__file__).parents[3] / "shared" / "data"
ORIENTATION = 274


@functools.cache
def scene(height: int = 121, width: int = 151) -> Image.Image:
    """A smooth picture in which every row, column and channel differs."""
    noise = np.random.default_rng(7).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@functools.cache
def scene_rgba() -> Image.Image:
    image = scene().convert("RGBA")
    alpha = np.random.default_rng(8).choice(np.array([0, 0, 90, 255], np.uint8), (121, 151))
    image.putalpha(Image.fromarray(alpha))
    return image


def encode(image: Image.Image, name: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def png(values: NDArray[Any], colour: int, extra: bytes = b"") -> bytes:
    """A PNG of (h, w, bands) uint8 or uint16, written by hand: Pillow writes no 16-bit colour."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    height, width = values.shape[:2]
    depth = 8 * values.dtype.itemsize
    big_endian = values.astype(values.dtype.newbyteorder(">"))
    rows = b"".join(b"\0" + row.tobytes() for row in big_endian)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    keyed = chunk(b"tRNS", extra) if extra else b""
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + keyed + body


def truth(data: bytes) -> NDArray[np.uint8]:
    """What Pillow shows, alpha dropped."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return np.asarray(image.convert(mode))[:, :, :3]


def one(data: bytes) -> Decoded:
    (result,) = decode([data])
    assert isinstance(result, Decoded), result
    return result


def reason(data: bytes) -> str:
    (result,) = decode([data])
    assert isinstance(result, PixelError), "it decoded"
    return result.reason


def animation(name: str) -> bytes:
    frames = [scene().rotate(angle) for angle in (0, 90, 180)]
    return encode(frames[0], name, save_all=True, append_images=frames[1:])


EIGHT_BIT: dict[str, Callable[[], bytes]] = {
    **{
        f"jpeg-{mode}": functools.partial(lambda m: encode(scene().convert(m), "JPEG"), mode)
        for mode in ("RGB", "L", "CMYK")
    },
    "jpeg-progressive": lambda: encode(scene(), "JPEG", progressive=True),
    "jpeg-444": lambda: encode(scene(), "JPEG", subsampling=0, quality=95),
    **{
        f"png-{mode}": functools.partial(lambda m: encode(scene_rgba().convert(m), "PNG"), mode)
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA")
    },
    "png-P-transparent": lambda: encode(scene().convert("P"), "PNG", transparency=3),
    "png-P-translucent": lambda: encode(
        scene().convert("P"), "PNG", transparency=bytes(range(0, 250, 5))
    ),
    "png-P-4-bit": lambda: encode(scene().quantize(13), "PNG", bits=4),
    "png-animated": lambda: animation("PNG"),
    **{
        f"tiff-{name}": functools.partial(lambda c: encode(scene(), "TIFF", compression=c), name)
        for name in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "zstd", "lzma")
    },
    **{
        f"tiff-{mode}": functools.partial(lambda m: encode(scene_rgba().convert(m), "TIFF"), mode)
        for mode in ("1", "L", "LA", "P", "RGBA", "CMYK")
    },
    "tiff-group4": lambda: encode(scene().convert("1"), "TIFF", compression="group4"),
    "tiff-big": lambda: encode(scene(), "TIFF", big_tiff=True),
    "tiff-pages": lambda: animation("TIFF"),
    "webp-lossless": lambda: encode(scene(), "WEBP", lossless=True),
    "webp-lossy": lambda: encode(scene(), "WEBP", quality=80),
    "webp-RGBA": lambda: encode(scene_rgba(), "WEBP", lossless=True, exact=True),
    "webp-animated": lambda: animation("WEBP"),
    **{
        f"bmp-{mode}": functools.partial(lambda m: encode(scene().convert(m), "BMP"), mode)
        for mode in ("1", "L", "P", "RGB", "RGBA")
    },
    "gif": lambda: encode(scene().convert("P"), "GIF"),
    "gif-animated": lambda: animation("GIF"),
    "avif": lambda: encode(scene(), "AVIF", quality=90),
    **{
        f"jp2-{mode}": functools.partial(
            lambda m: encode(scene_rgba().convert(m), "JPEG2000"), mode
        )
        for mode in ("L", "RGB", "RGBA")
    },
    "ppm": lambda: encode(scene(), "PPM"),
}


@functools.cache
def sample(name: str) -> bytes:
    return EIGHT_BIT[name]()


TURNABLE = {"JPEG": {}, "PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("name", EIGHT_BIT)
def test_eight_bit_pixels_are_pillows(name: str) -> None:
    data = sample(name)
    result = one(data)
    np.testing.assert_array_equal(result.pixels, truth(data))
    assert result.pixels.dtype == np.uint8
    assert result.pixels.flags.c_contiguous
    assert result.stretch is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", TURNABLE)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_exif_orientation_is_applied(name: str, orientation: int, mode: str) -> None:
    if name == "JPEG" and mode == "RGBA":
        mode = "L"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(scene_rgba().convert(mode), name, exif=exif, **TURNABLE[name])
    np.testing.assert_array_equal(one(data).pixels, truth(data))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(scene_rgba(), "PNG"), id="png-rgba"),
        pytest.param(encode(scene_rgba().convert("LA"), "PNG"), id="png-la"),
        pytest.param(encode(scene().quantize(20), "PNG", transparency=3), id="png-p"),
        pytest.param(encode(scene().convert("L"), "PNG", transparency=90), id="png-l-keyed"),
        pytest.param(encode(scene_rgba(), "WEBP", lossless=True, exact=True), id="webp"),
        pytest.param(encode(scene_rgba(), "WEBP", quality=70), id="webp-lossy"),
        pytest.param(encode(scene_rgba(), "TIFF"), id="tiff"),
        pytest.param(encode(scene().quantize(20), "GIF", transparency=3), id="gif"),
    ],
)
def test_valid_fraction_is_the_share_of_alpha_above_0(data: bytes) -> None:
    alpha = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[:, :, 3]
    assert 0.0 < (alpha != 0).mean() < 1.0
    assert one(data).valid_fraction == pytest.approx((alpha != 0).mean(), abs=1e-12)


@pytest.mark.parametrize("name", ["jpeg-RGB", "png-RGB", "png-L", "tiff-raw", "webp-lossy"])
def test_without_alpha_valid_fraction_is_none(name: str) -> None:
    assert one(sample(name)).valid_fraction is None


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    bands=st.sampled_from([1, 3]),
    bits=st.integers(1, 16),
)
def test_16_bit_png_is_stretched_at_full_depth(
    seed: int, shape: tuple[int, int], bands: int, bits: int
) -> None:
    values = np.random.default_rng(seed).integers(0, 2**bits, (*shape, bands), dtype=np.uint16)
    result = one(png(values, colour=0 if bands == 1 else 2))
    stretch = percentile_stretch(values)
    expected = apply_stretch(values, stretch)
    assert result.stretch == stretch
    np.testing.assert_array_equal(result.pixels, np.broadcast_to(expected, (*shape, 3)))


def test_16_bit_rgba_png_is_stretched_over_its_valid_pixels() -> None:
    values = np.random.default_rng(1).integers(0, 5000, (20, 30, 4), dtype=np.uint16)
    values[:, :10] = (65535, 65535, 65535, 0)
    result = one(png(values, colour=6))
    stretch = percentile_stretch(values[:, :, :3], values[:, :, 3] != 0)
    assert result.stretch == stretch
    assert max(stretch.high) < 5000
    np.testing.assert_array_equal(result.pixels, apply_stretch(values[:, :, :3], stretch))
    assert result.valid_fraction == pytest.approx((values[:, :, 3] != 0).mean())


@pytest.mark.parametrize("kind", ["uint16", "int32", "float32"])
def test_deep_tiff_is_stretched(kind: str) -> None:
    values = (np.asarray(scene().convert("L")).astype(np.float64) * 13 + 5).astype(kind)
    result = one(encode(Image.fromarray(values), "TIFF"))
    stretch = percentile_stretch(values[:, :, None])
    assert result.stretch is not None
    np.testing.assert_allclose(result.stretch.low, stretch.low * len(result.stretch.low))
    np.testing.assert_allclose(result.stretch.high, stretch.high * len(result.stretch.high))
    expected = apply_stretch(values[:, :, None], stretch)
    np.testing.assert_array_equal(result.pixels, np.repeat(expected, 3, axis=2))


def test_16_bit_grey_with_alpha_is_stretched_over_its_valid_pixels() -> None:
    values = np.random.default_rng(2).integers(0, 3000, (20, 30, 2), dtype=np.uint16)
    values[:, :10] = (65535, 0)
    values[:, 10:, 1] = 65535
    result = one(png(values, colour=4))
    assert result.valid_fraction == pytest.approx(2 / 3)
    assert result.stretch is not None
    expected = apply_stretch(values[:, 10:, :1], percentile_stretch(values[:, 10:, :1]))
    np.testing.assert_array_equal(result.pixels[:, 10:], np.repeat(expected, 3, axis=2))


@pytest.mark.parametrize("boxed", [True, False])
def test_16_bit_jpeg_2000_is_stretched(boxed: bool) -> None:
    values = np.asarray(scene().convert("L")).astype(np.uint16) * 13 + 5
    result = one(encode(Image.fromarray(values), "JPEG2000", no_jp2=not boxed))
    stretch = percentile_stretch(values[:, :, None])
    assert result.stretch == stretch
    expected = apply_stretch(values[:, :, None], stretch)
    np.testing.assert_array_equal(result.pixels, np.repeat(expected, 3, axis=2))


def test_float_tiff_with_holes_tells_how_much_is_valid() -> None:
    values = np.asarray(scene().convert("F")).copy()
    values[:40] = np.nan
    result = one(encode(Image.fromarray(values), "TIFF"))
    assert result.valid_fraction == pytest.approx(81 / 121)
    assert not result.pixels[:40].any()


def test_no_images_are_no_results() -> None:
    assert decode([]) == []


def test_device_is_one_of_two() -> None:
    assert device() in ("cpu", "gpu")


def bad_bytes() -> dict[bytes, str]:
    names = ("jpeg-RGB", "png-RGB", "tiff-raw", "webp-lossy", "jp2-RGB", "bmp-RGB", "gif")
    halves = [sample(name)[: len(sample(name)) // 2] for name in names]
    return {
        b"": "empty",
        b"\0": "unknown-format",
        b"not an image at all": "unknown-format",
        np.random.default_rng(3).bytes(5000): "unknown-format",
        **dict.fromkeys(halves, "corrupt"),
    }


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_bad_image_never_costs_its_neighbours(data: st.DataObject) -> None:
    bad = bad_bytes()
    names = data.draw(st.lists(st.sampled_from(sorted(EIGHT_BIT)), min_size=1, max_size=12))
    good = [sample(name) for name in names]
    batch = data.draw(st.permutations([*good, *bad]))
    results = decode(batch)
    assert len(results) == len(batch)
    for encoded, result in zip(batch, results, strict=True):
        if encoded in bad:
            assert isinstance(result, PixelError)
            assert result.reason == bad[encoded]
        else:
            assert isinstance(result, Decoded)
            np.testing.assert_array_equal(result.pixels, one(encoded).pixels)


def test_threads_each_get_their_own_pixels() -> None:
    names = sorted(EIGHT_BIT)
    expected = {name: truth(sample(name)) for name in names}
    failures: list[str] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(25):
            chosen = [names[i] for i in rng.integers(len(names), size=8)]
            batch = [sample(name) for name in chosen]
            for name, result in zip(chosen, decode([*batch, b"x"])[:-1], strict=True):
                if not np.array_equal(getattr(result, "pixels", None), expected[name]):
                    failures.append(name)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_real_jpegs_are_pillows() -> None:
    archive = DATA / "eurosat_rgb.tar"
    if not archive.exists():
        pytest.skip(f"no {archive}")
    images: list[bytes] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.name.endswith(".jpg") else None
            if stream is not None:
                images.append(stream.read())
            if len(images) == 64:
                break
    for data, result in zip(images, decode(images), strict=True):
        assert isinstance(result, Decoded)
        np.testing.assert_array_equal(result.pixels, truth(data))
