"""Windows of any raster -> 8-bit RGB, a mask of what was measured, and where on Earth it lies.

Files come from anybody.  So the driver is chosen here by the first bytes (a VRT, which may name
any other file or address, is never opened), headers are checked before pixels are asked for,
sidecar files are not looked for, and whatever GDAL says comes out as a ``PixelError``.
"""

from __future__ import annotations

import contextvars
import math
import re
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.warp import transform_bounds
from rasterio.windows import Window as RasterioWindow

from featurizer import storage
from featurizer.bands import (
    BandFacts,
    RasterOptions,
    SceneInfo,
    colours_of,
    found_stretch,
    given_stretch,
    layout_of,
    measured,
)
from featurizer.errors import PixelError, StorageError
from featurizer.formats import sniff
from featurizer.geography import box_of, inside, on_the_globe
from featurizer.pixels import Mask, Rgb, Stretch
from featurizer.ranges import RangedObject
from featurizer.tiles import Bounds, Window

__all__ = ["RasterOptions", "Scene", "SceneInfo", "open_scene", "open_scene_bytes", "scene_info"]

MAX_PIXELS = 2**40  # width * height
MAX_BLOCK_BYTES = 2**30  # a compressed block is decoded whole
STRETCH_PIXELS = 2**20  # about so many at most are looked at for the percentiles
MAX_COORDINATE = 1e9  # PROJ turns 1e15 "metres" round the Earth turn by turn, for seconds to years

_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_CACHEMAX": 128 * 2**20,  # of the process: strips are read once, so more buys nothing
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,  # else what a broken file lacks comes back grey
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",  # it takes a truncated PNG for whole, with no error at all
}
_DRIVERS = {"tiff": "GTiff", "jpeg": "JPEG", "png": "PNG", "jp2": "JP2OpenJPEG", "bmp": "BMP"}
_DRIVERS |= {"webp": "WEBP"}
_SNIFFED_BYTES = 64
_VIRTUAL = re.compile(r"'?/vsi[^\s',]+'?")
_WGS84 = CRS.from_epsg(4326)
# The last four: what rasterio raises for types, texts and sizes that it does not expect.
_GDAL_ERRORS = (RasterioError, CPLE_BaseError, LookupError, ValueError, ArithmeticError)


class Scene:
    """One open raster.  For one thread at a time; close it, or use it in a ``with``."""

    def __init__(self, opened: _Opened, options: RasterOptions) -> None:
        self._opened, self._dataset = opened, opened.dataset
        with opened.gdal():
            _check_sizes(opened)
            self._layout = layout_of(_facts_of(opened.dataset), options)
            self.info = _info_of(opened.dataset, self._layout.bands)
            self.block_shape: tuple[int, int] = opened.dataset.block_shapes[0]  # (rows, columns)

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the file; twice does no harm."""
        self._opened.close()

    def fix_stretch(self, options: RasterOptions, given: Stretch | None) -> None:
        """Settle the map to 8 bits: the given one, else by the options.

        Percentiles are of a decimated read, from overviews where the file has them; without, the
        whole raster is gone through once.  The same file gives the same stretch.
        """
        stretch = given_stretch(self._layout, options, given)
        if stretch == "percentiles":
            width, height = self.info.width, self.info.height
            step = max(1.0, math.sqrt(width * height / STRETCH_PIXELS))
            shape = math.ceil(height / step), math.ceil(width / step)
            stretch = found_stretch(self._layout, *self._values(Window(0, 0, width, height), shape))
        self.info = replace(self.info, stretch=None if stretch == "none" else stretch)

    def read(self, window: Window) -> tuple[Rgb, Mask]:
        """(h, w, 3) uint8 and (h, w) bool, True where measured; what is not is black.

        Null is what lies outside the raster, has the nodata value, NaN or infinity in all chosen
        bands, is masked out or has alpha 0.  PixelError ``corrupt`` where the file is damaged,
        StorageError where it can no longer be fetched.
        """
        inner = inside(window, self.info.width, self.info.height)
        if inner is None:
            return _nothing(window)
        values, known = self._values(inner, (inner.height, inner.width))
        colours = colours_of(self._layout, values, self.info.stretch)
        if not known.all():
            colours *= known[:, :, None]
        if inner == window:
            return colours, known
        rgb, valid = _nothing(window)
        rows = slice(inner.y - window.y, inner.y - window.y + inner.height)
        columns = slice(inner.x - window.x, inner.x - window.x + inner.width)
        rgb[rows, columns], valid[rows, columns] = colours, known
        return rgb, valid

    def bounds(self, window: Window) -> Bounds | None:
        """(west, south, east, north) in EPSG:4326 of the part of the window inside the raster.

        West is greater than east where it crosses the antimeridian.  None without georeference,
        and where the projection has no place for these coordinates.
        """
        inner = inside(window, self.info.width, self.info.height)
        if inner is None or not self.info.georeferenced:
            return None
        return _geographic(self._dataset.crs, box_of(inner, self._dataset.transform))

    def _values(self, inner: Window, shape: tuple[int, int]) -> tuple[NDArray[Any], Mask]:
        """(h, w, bands) as in the file, and (h, w) of what is measured, resampled to ``shape``."""
        layout = self._layout
        where = RasterioWindow(inner.x, inner.y, inner.width, inner.height)
        indexes = layout.indexes
        with self._opened.gdal():
            planes = self._dataset.read(indexes, window=where, out_shape=(len(indexes), *shape))
            valid = measured(layout, planes)
            if layout.facts.masked:
                band = layout.bands[0]
                valid &= self._dataset.read_masks(band, window=where, out_shape=shape) > 0
        return planes[: len(layout.bands)].transpose(1, 2, 0), valid


def _nothing(window: Window) -> tuple[Rgb, Mask]:
    shape = window.height, window.width
    return np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.bool_)


# ---- opening ------------------------------------------------------------------------------------


def open_scene(uri: str, options: RasterOptions, stretch: Stretch | None = None) -> Scene:
    """The raster at a local path or URL; of a URL only the ranges that are needed are fetched.

    A given stretch is used, as that of an index for a thumbnail.  PixelError ``missing``,
    ``empty``, ``unknown-format``, ``unsupported``, ``too-large`` or ``corrupt``; StorageError
    when storage fails.
    """
    return _scene(_open_uri(uri), options, stretch)


def open_scene_bytes(
    data: bytes, name: str, options: RasterOptions, stretch: Stretch | None = None
) -> Scene:
    """The raster in these bytes; ``name`` is for messages.  PixelError as ``open_scene``."""
    return _scene(_open_bytes(data, name), options, stretch)


def scene_info(uri: str, options: RasterOptions) -> SceneInfo:
    """What the header says, with no pixel read: ``stretch`` is None.  Errors as ``open_scene``."""
    opened = _open_uri(uri)
    try:
        return Scene(opened, options).info
    finally:
        opened.close()


def _scene(opened: _Opened, options: RasterOptions, stretch: Stretch | None) -> Scene:
    with ExitStack() as on_error:
        on_error.callback(opened.close)
        scene = Scene(opened, options)
        scene.fix_stretch(options, stretch)
        on_error.pop_all()
    return scene


class _Opened:
    """A rasterio dataset, what must be freed with it, and the faults of its storage."""

    def __init__(
        self, name: str, head: bytes, source: Any, faults: Sequence[Exception] = (), **how: Any
    ) -> None:
        self.name, self._source, self._faults = name, source, faults
        driver = _driver_of(name, head)
        # rasterio keeps open files in context variables: in another thread they are not found.
        self._context = contextvars.copy_context()
        _silence_not_georeferenced()
        with self.gdal():
            self.dataset = self._context.run(lambda: rasterio.open(source, driver=driver, **how))

    def close(self) -> None:
        self._context.run(self.dataset.close)
        if isinstance(self._source, rasterio.MemoryFile):
            self._source.close()

    @contextmanager
    def gdal(self) -> Iterator[None]:
        """Settings for what is done inside, and PixelError or StorageError for what fails."""
        try:
            with rasterio.Env(**_GDAL):
                yield
        except (*_GDAL_ERRORS, MemoryError) as error:
            if not self._faults:
                reason = "too-large" if isinstance(error, MemoryError) else "corrupt"
                text = " ".join(str(error.__cause__ or error).split())
                # GDAL's own names differ in each run; what is stored of an error must not
                raise PixelError(reason, f"{self.name}: {_VIRTUAL.sub('it', text)}") from error
        if self._faults:
            raise StorageError(str(self._faults[0])) from self._faults[0]


def _open_uri(uri: str) -> _Opened:
    if storage.is_local(uri):
        path = Path(storage.normalise(uri))
        try:
            with path.open("rb") as file:
                head = file.read(_SNIFFED_BYTES)
        except FileNotFoundError as error:
            raise PixelError("missing", f"{uri}: no such file") from error
        except OSError as error:
            raise StorageError(f"{uri}: could not read it: {error}") from error
        return _Opened(uri, head, path)  # a Path: its text is not searched for URL schemes
    if not storage.exists(uri):
        raise PixelError("missing", f"{uri}: no such object")
    remote = RangedObject(uri)
    # A name of its own: rasterio finds openers by folder, and the first close would end all.
    alias = f"/{uuid.uuid4().hex}/scene"

    def opener(path: str, mode: str = "rb", **_: object) -> Any:
        if path != alias:
            raise FileNotFoundError(path)
        return remote.open()

    head = remote.range(0, _SNIFFED_BYTES)
    return _Opened(uri, head, alias, remote.faults, opener=opener)


def _open_bytes(data: bytes, name: str) -> _Opened:
    head = data[:_SNIFFED_BYTES]
    _driver_of(name, head)  # rasterio takes no bytes for bytes to be written
    return _Opened(name, head, rasterio.MemoryFile(data, filename="scene"))


def _driver_of(name: str, head: bytes) -> str:
    if not head:
        raise PixelError("empty", f"{name}: no bytes")
    driver = _DRIVERS.get(sniff(head) or "")
    if driver is None:
        raise PixelError("unknown-format", f"{name}: its first bytes are those of no known raster")
    return driver


def _silence_not_georeferenced() -> None:
    # For good rather than for a moment: `catch_warnings` is not safe among threads.
    if ("ignore", None, NotGeoreferencedWarning, None, 0) not in warnings.filters:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)


# ---- what a header says -------------------------------------------------------------------------


def _facts_of(dataset: Any) -> BandFacts:
    flags = {flag for band in dataset.mask_flag_enums for flag in band}
    structure = {**dataset.tags(ns="IMAGE_STRUCTURE"), **dataset.tags(1, ns="IMAGE_STRUCTURE")}
    palette = None
    if dataset.colorinterp[0] == ColorInterp.palette:
        entries = dataset.colormap(1)
        palette = np.zeros((max(entries) + 1, 4), np.uint8)
        palette[list(entries)] = list(entries.values())
    return BandFacts(
        dtype=str(dataset.dtypes[0]),
        colours=tuple(colour.name for colour in dataset.colorinterp),
        nodata=tuple(dataset.nodatavals),
        masked=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        palette=palette,
        bits=int(structure["NBITS"]) if "NBITS" in structure else None,
        min_is_white=structure.get("MINISWHITE") == "YES",
    )


def _info_of(dataset: Any, bands: tuple[int, ...]) -> SceneInfo:
    at = dataset.transform
    placed = dataset.crs is not None and not at.is_identity and math.isfinite(at.determinant)
    georeferenced = placed and at.determinant != 0.0 and _on_earth(dataset.crs)
    crs = None
    if dataset.crs is not None:
        code = dataset.crs.to_epsg()
        crs = f"EPSG:{code}" if code else str(dataset.crs.to_wkt())
    width, height, dtype = dataset.width, dataset.height, str(dataset.dtypes[0])
    return SceneInfo(width, height, bands, dtype, crs, georeferenced, None)


def _check_sizes(opened: _Opened) -> None:
    dataset = opened.dataset
    if dataset.width * dataset.height > MAX_PIXELS:
        size = f"{dataset.width} x {dataset.height} pixels"
        raise PixelError("too-large", f"{opened.name}: {size}, more than 2**40")
    rows, columns = dataset.block_shapes[0]
    together = dataset.count if dataset.interleaving == Interleaving.pixel else 1
    block = rows * columns * together * np.dtype(dataset.dtypes[0]).itemsize
    if block > MAX_BLOCK_BYTES:
        raise PixelError(
            "too-large", f"{opened.name}: blocks of {block} bytes: rewrite it in tiles, as a COG"
        )


# ---- where on Earth -----------------------------------------------------------------------------


def _on_earth(crs: Any) -> bool:
    """Whether the system has a way to EPSG:4326: that of a building site or of Mars has none."""
    try:
        transform_bounds(crs, _WGS84, 0.0, 0.0, 1.0, 1.0)
    except _GDAL_ERRORS:
        return False
    return True


def _geographic(crs: Any, box: Bounds) -> Bounds | None:
    """The box (left, bottom, right, top) of ``crs`` in EPSG:4326, its edges cut into 21 parts."""
    if not all(abs(edge) < MAX_COORDINATE for edge in box):  # false for NaN too
        return None
    if crs == _WGS84:
        return on_the_globe(box)
    try:  # outside `rasterio.Env`, which costs as much again and sets nothing that matters here
        return on_the_globe(transform_bounds(crs, _WGS84, *box, densify_pts=21))
    except _GDAL_ERRORS:
        return None
