"""Which inputs are rasters to be cut into tiles, and which are single pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice, repeat

from featurizer.bands import RasterOptions
from featurizer.errors import PixelError, StorageError
from featurizer.rasters import SceneInfo
from pipeline.config import SourceOptions
from pipeline.faults import is_final
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
            # What need not be opened does not pass through the pool, which costs more than listing.
            candidates = [item for item in chunk if _may_be_raster(item, options)]
            found = pool.map(_classified, candidates, repeat(options))
            opened = dict(zip(candidates, found, strict=True))
            yield from (opened.get(item, item) for item in chunk) if opened else chunk


def _may_be_raster(item: Item, options: SourceOptions) -> bool:
    return (
        suffix(item.uri) in RASTER_SUFFIXES
        or options.raster != RasterOptions()  # bands or scale, which only a raster reader knows
        or options.tile == "always"
        or (options.tile == "auto" and item.size >= LARGE_BYTES)
    )


def _classified(item: Item, options: SourceOptions) -> Item:
    raster = suffix(item.uri) in RASTER_SUFFIXES
    chosen = options.raster != RasterOptions()
    try:
        info = inspect(item.uri, options.raster)
    except PixelError:
        return item
    except StorageError as error:
        if not is_final(error):  # or a raster would pass for a picture for good
            raise
        return item
    if _is_large(info, raster, options):
        tiling = options.tiling
        windows = tile_windows(info.width, info.height, tiling.tile_px, tiling.stride_px)
        return replace(item, kind="windows", label=None, stop=len(windows))
    if chosen or (raster and _tells_more(info)):
        return replace(item, kind="scene")
    return item


def _is_large(info: SceneInfo, raster: bool, options: SourceOptions) -> bool:
    longer = max(info.width, info.height)
    if options.tile == "never":
        return False
    if raster or options.tile == "always":
        return longer > options.tiling.tile_px
    return longer > LARGE_PX


def _tells_more(info: SceneInfo) -> bool:
    """Whether the raster reader tells more of a small picture than the image decoder would."""
    return info.georeferenced or info.dtype != "uint8" or len(info.bands) not in (1, 3)
