"""Encoded images -> RGB pixels, each image on its own: a bad one never costs its neighbours.

nvImageCodec decodes what it decodes right (JPEG, PNG, WebP, plain 8-bit TIFF), Pillow and GDAL
the rest, as ``featurizer.formats`` says.  This module is the only door to ``nvidia.*``.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import PixelError
from featurizer.formats import Header, Route, probe
from featurizer.pillow_decode import decode_pillow
from featurizer.pixels import Mask, Rgb, Stretch, apply_stretch, as_rgb, percentile_stretch
from featurizer.spec import ResizeRule


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one image may claim; checked before anything is allocated for its pixels."""

    max_pixels: int = 100_000_000
    max_bytes: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Decoded:
    """One image.  ``stretch`` is None for 8-bit sources, which are shown as they are.

    ``valid_fraction`` is the share of pixels whose alpha or mask is not 0; None where the image
    says nothing about it.
    """

    pixels: Rgb  # (h, w, 3) uint8
    stretch: Stretch | None = None
    valid_fraction: float | None = None


DEFAULT_LIMITS = DecodeLimits()
_CODEC_ROUTES: tuple[Route, ...] = ("rgb", "rgba", "deep")


def decode(
    images: Sequence[bytes], limits: DecodeLimits = DEFAULT_LIMITS
) -> list[Decoded | PixelError]:
    """Pixels or the reason why not, for each image, in the order given.

    Never raises for bad bytes.  Grey, palette, CMYK, alpha and 1-bit come out as RGB (alpha is
    dropped, not blended), EXIF orientation is applied, of several frames or pages the first is
    taken.  16-bit and float values are stretched from their 2nd to their 98th percentile, image
    by image.  An image that ends early is refused (``corrupt``).  Not seen: damage that leaves
    the stream decodable, such as flipped bits in JPEG data and fax lines.  Safe in any number of
    threads, each of which has a decoder of its own; the work is done outside the GIL.
    """
    results: dict[int, Decoded | PixelError] = {}
    headers: dict[int, Header] = {}
    for i, data in enumerate(images):
        try:
            headers[i] = _admit(data, limits)
        except PixelError as error:
            results[i] = error
    for route in _CODEC_ROUTES:
        chosen = [i for i, header in headers.items() if header.route == route]
        decoded = _decode_codec([images[i] for i in chosen], route, limits)
        results |= {i: one for i, one in zip(chosen, decoded, strict=True) if one is not None}
    for i, header in headers.items():
        if i not in results:
            results[i] = _decode_single(images[i], header, limits)
    return [results[i] for i in range(len(images))]


@functools.cache
def device() -> Literal["cpu", "gpu"]:
    """Where ``decode`` works here.  Asks the driver itself: CUDA libraries raise without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "cpu"
    count = ctypes.c_int(0)
    ready = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return "gpu" if ready and count.value > 0 else "cpu"


def _admit(data: bytes, limits: DecodeLimits) -> Header:
    """The header, or PixelError ``empty``, ``too-large`` or ``unknown-format``."""
    if not data:
        raise PixelError("empty", "no bytes")
    if len(data) > limits.max_bytes:
        raise PixelError("too-large", f"{len(data)} bytes, more than {limits.max_bytes}")
    header = probe(data)
    _check_size(header.width, header.height, limits)
    return header


def _check_size(width: int, height: int, limits: DecodeLimits) -> None:
    if width * height > limits.max_pixels:
        raise PixelError("too-large", f"{width} x {height} pixels, more than {limits.max_pixels}")


def _decoded(values: NDArray[Any], valid: Mask | None) -> Decoded:
    """One to three bands of any depth -> 8 bits, stretched where they were deeper."""
    fraction = None if valid is None else float(valid.mean())
    if values.dtype == np.uint8:
        return Decoded(as_rgb(values), None, fraction)
    stretch = percentile_stretch(values, valid)
    return Decoded(as_rgb(apply_stretch(values, stretch)), stretch, fraction)


# ---- one image, by Pillow or GDAL ---------------------------------------------------------------


def _decode_single(data: bytes, header: Header, limits: DecodeLimits) -> Decoded | PixelError:
    """For routes without nvImageCodec, and the one second try at what nvImageCodec refused."""
    try:
        if header.route in ("raster", "deep"):
            return _decode_raster(data, limits)
        return _decoded(*decode_pillow(data, limits.max_pixels))
    except PixelError as error:
        if error.reason != "unknown-format" or header.route == "raster":
            return error
        if header.format == "tiff":  # of a layout that Pillow has no mode for
            return _decode_single(data, replace(header, route="raster"), limits)
        return PixelError("corrupt", f"{header.format} with a header that cannot be read")


def _decode_raster(data: bytes, limits: DecodeLimits) -> Decoded:
    from featurizer.rasters import RasterOptions, open_scene_bytes
    from featurizer.tiles import Window

    with open_scene_bytes(data, "image", RasterOptions()) as scene:
        width, height = scene.info.width, scene.info.height
        _check_size(width, height, limits)
        pixels, valid = scene.read(Window(0, 0, width, height))
        return Decoded(pixels, scene.info.stretch, float(valid.mean()))


# ---- many images, by nvImageCodec ---------------------------------------------------------------


@functools.cache
def _nvimgcodec() -> Any:
    # Both are read once, at loading; without them each bad image writes a paragraph to stderr.
    os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", "0")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    from nvidia import nvimgcodec

    return nvimgcodec


_thread = threading.local()


def _decoder() -> Any:
    """This thread's own decoder: one that is shared between threads crashes the process."""
    if not hasattr(_thread, "decoder"):
        codec = _nvimgcodec()
        if device() == "gpu":
            _thread.decoder = codec.Decoder(max_num_cpu_threads=1)
        else:
            _thread.decoder = codec.Decoder(
                device_id=codec.NVIMGCODEC_DEVICE_CPU_ONLY,
                max_num_cpu_threads=1,  # more bring nothing; callers add threads instead
                backends=[codec.Backend(codec.BackendKind.CPU_ONLY)],
            )
    return _thread.decoder


@functools.cache
def _params(route: Route) -> Any:
    codec = _nvimgcodec()
    if route == "deep":
        return codec.DecodeParams(color_spec=codec.ColorSpec.UNCHANGED, allow_any_depth=True)
    layout = codec.SampleFormat.I_RGBA if route == "rgba" else codec.SampleFormat.I_RGB
    return codec.DecodeParams(color_spec=codec.ColorSpec.SRGB, sample_format=layout)


def _code_stream(data: bytes) -> Any | None:
    """The parsed header; None where it does not parse.

    Given as an array: bytes that do not parse would next be tried as the name of a file.
    """
    try:
        stream = _nvimgcodec().CodeStream(np.frombuffer(data, np.uint8))
        return stream if stream.width and stream.height else None
    except (RuntimeError, TypeError, ValueError):
        return None


def _decode_codec(
    images: Sequence[bytes], route: Route, limits: DecodeLimits
) -> list[Decoded | PixelError | None]:
    """None where nvImageCodec gives no pixels."""
    results: list[Decoded | PixelError | None] = [None] * len(images)
    streams: dict[int, Any] = {}
    for i, data in enumerate(images):
        stream = _code_stream(data)
        if stream is None:
            continue
        try:
            _check_size(stream.width, stream.height, limits)
            streams[i] = stream
        except PixelError as error:
            results[i] = error
    if streams:
        made = _decoder().decode(list(streams.values()), params=_params(route))
        for i, image in zip(streams, made, strict=True):
            if image is not None:
                results[i] = _from_codec(np.asarray(image.cpu()))
    return results


def _from_codec(values: NDArray[Any]) -> Decoded:
    """(h, w, 1, 3 or 4 bands) as decoded, alpha last where there are four."""
    if values.shape[2] < 4:
        return _decoded(values, None)
    return _decoded(np.ascontiguousarray(values[:, :, :3]), values[:, :, 3] != 0)


# ---- preprocessing for a GPU, by DALI -----------------------------------------------------------


def resize_plan(
    height: int, width: int, size_px: int, rule: ResizeRule
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Size (h, w) to resize to, and where to crop it to ``size_px`` (0: top left, 1: bottom right).

    Rounds as ``featurizer.embed.resize`` does, so that both keep the same pixels.
    """
    if rule == "stretch":
        return (size_px, size_px), (0.0, 0.0)
    scale = size_px / min(height, width)
    high, wide = (max(size_px, round(side * scale)) for side in (height, width))
    top, left = ((side - size_px) // 2 / max(side - size_px, 1) for side in (high, wide))
    return (high, wide), (top, left)


class DaliResize:
    """RGB images of any sizes -> one batch, (n, 3, size_px, size_px), (x / 255 - mean) / std.

    Antialiased triangular resize, as torch's on uint8 up to rounding: ``stretch`` takes
    both sides to ``size_px``; ``crop`` takes the shorter side there and keeps the centre.  On a
    GPU what comes back is DALI's own tensor, which ``torch.from_dlpack`` takes without a copy;
    with ``device_id=None`` it is a numpy array.  float16 with ``half``, else float32.  Batches
    of any length up to ``max_batch``.  One instance per thread.
    """

    def __init__(
        self,
        size_px: int,
        rule: ResizeRule,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        device_id: int | None,
        max_batch: int,
        half: bool,
    ) -> None:
        self._size_px = size_px
        self._rule: ResizeRule = rule
        self._max_batch = max_batch
        self._on_gpu = device_id is not None
        self._pipeline = _dali_pipeline(size_px, (mean, std), device_id, max_batch, half)

    def __call__(self, images: Sequence[Rgb]) -> Any:
        """The batch, in the order given; ValueError for no image or more than ``max_batch``."""
        if not 0 < len(images) <= self._max_batch:
            raise ValueError(f"{len(images)} images for a batch of 1 to {self._max_batch}")
        plans = [
            resize_plan(one.shape[0], one.shape[1], self._size_px, self._rule) for one in images
        ]
        columns = {
            "images": [np.ascontiguousarray(one) for one in images],
            "sizes": [np.array(size, np.float32) for size, _ in plans],
            "crop_y": [np.float32(y) for _, (y, _) in plans],
            "crop_x": [np.float32(x) for _, (_, x) in plans],
        }
        for name, column in columns.items():
            self._pipeline.feed_input(name, column)
        batch = self._pipeline.run()[0].as_tensor()
        return batch if self._on_gpu else np.array(batch)


def _dali_pipeline(
    size_px: int,
    norm: tuple[tuple[float, ...], tuple[float, ...]],
    device_id: int | None,
    max_batch: int,
    half: bool,
) -> Any:
    from nvidia.dali import Pipeline, fn, types

    pipeline = Pipeline(max_batch, num_threads=1, device_id=device_id, prefetch_queue_depth=1)
    with pipeline:
        pixels = fn.external_source(name="images", layout="HWC")
        if device_id is not None:
            pixels = pixels.gpu()
        resized = fn.resize(
            pixels,
            size=fn.external_source(name="sizes"),
            interp_type=types.INTERP_LINEAR,
            antialias=True,
        )
        mean, std = ([255.0 * value for value in row] for row in norm)
        batch = fn.crop_mirror_normalize(
            resized,
            crop=(size_px, size_px),
            crop_pos_y=fn.external_source(name="crop_y"),
            crop_pos_x=fn.external_source(name="crop_x"),
            rounding="round",
            dtype=types.FLOAT16 if half else types.FLOAT,
            output_layout="CHW",
            mean=mean,
            std=std,
        )
        pipeline.set_outputs(batch)
    pipeline.build()
    return pipeline
