"""Which inputs are rasters to be cut into tiles, and which are single pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

from featurizer.bands import RasterOptions
from featurizer.errors import PixelError, StorageError
from featurizer.rasters import SceneInfo
from pipeline.config import SourceOptions
from pipeline.plan import Item
from pipeline.sources.folder import suffix
from pipeline.tiling import inspect, tile_windows

RASTER_SUFFIXES = frozenset({"tif", "tiff", "jp2", "j2k"})
# In `auto`, a picture of another format is a raster too when its longer side passes this ...
LARGE_PX = 2048
# ... which no picture of fewer bytes is worth opening for: so millions of small ones are not.
LARGE_BYTES = 256 * 1024

_OPENED_AT_ONCE = 16
_CHUNK = 256


def tiled(items: Iterable[Item], options: SourceOptions) -> Iterator[Item]:
    """The same inputs, those that are rasters marked and given their number of windows.

    Headers are read 16 at a time, of candidates only.  What no raster reader can open stays an
    image: the decoder then says what is wrong with it.
    """
    rest = iter(items)
    with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
        while chunk := list(islice(rest, _CHUNK)):
            yield from pool.map(lambda item: _classified(item, options), chunk)


def _classified(item: Item, options: SourceOptions) -> Item:
    raster = suffix(item.uri) in RASTER_SUFFIXES
    if not raster and (
        options.tile == "never" or (options.tile == "auto" and item.size < LARGE_BYTES)
    ):
        return item
    try:
        info = inspect(item.uri, options.raster)
    except (PixelError, StorageError):
        return item
    if _is_large(info, raster, options):
        tiling = options.tiling
        windows = tile_windows(info.width, info.height, tiling.tile_px, tiling.stride_px)
        return replace(item, kind="windows", label=None, stop=len(windows))
    return replace(item, kind="scene") if raster and _needs_reader(info, options.raster) else item


def _is_large(info: SceneInfo, raster: bool, options: SourceOptions) -> bool:
    longer = max(info.width, info.height)
    if options.tile == "never":
        return False
    if raster or options.tile == "always":
        return longer > options.tiling.tile_px
    return longer > LARGE_PX


def _needs_reader(info: SceneInfo, raster: RasterOptions) -> bool:
    """Whether the raster reader tells more of a small picture than the image decoder would."""
    chosen = raster != RasterOptions()
    return info.georeferenced or chosen or info.dtype != "uint8" or len(info.bands) not in (1, 3)
