"""A tile's picture as a browser shows it, cut from the source that was indexed.

Only sources that the index names are opened, never anything out of a request.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from featurizer import storage
from featurizer.errors import PixelError, StorageError
from featurizer.pixels import Rgb, Stretch
from featurizer.tiles import Window
from serving.failures import SourceGoneError

if TYPE_CHECKING:
    from featurizer.bands import RasterOptions
    from featurizer.rasters import Scene
    from serving.engine.search import SearchEngine, Tile

ImageFormat = Literal["jpeg", "png"]
MAX_SIZE_PX = 4096
_JPEG_QUALITY = 88
_SCENES_KEPT = 8
_SHARDS_LOOKED_AT = 16  # each costs a request where storage is remote


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture."""

    data: bytes
    media_type: str


class Pictures:
    """Pictures of an archive's tiles.  Safe to share between threads."""

    def __init__(self, engine: SearchEngine) -> None:
        self._engine = engine
        self._scenes = Scenes()

    def of(self, row: int, tile: Tile, size_px: int | None, image_format: ImageFormat) -> Picture:
        """The tile's pixels, its longer side at most ``size_px``; never enlarged.

        SourceGoneError when the source is missing or no longer holds the tile.
        """
        try:
            pixels = self._pixels(row, tile)
        except (PixelError, StorageError) as error:
            raise SourceGoneError(
                f"{tile.uri} was indexed but can no longer be read ({error}): put it back, or "
                "index the archive again without it"
            ) from error
        return encode(pixels, size_px, image_format)

    def _pixels(self, row: int, tile: Tile) -> Rgb:
        """Read as it was for the index: windows, and rasters with bands chosen, by the raster
        reader; all else by the image decoder."""
        if not self._engine.is_raster(row):
            return _whole(tile.uri)
        options = raster_options(self._engine.tiling_of(row))
        return self._cut(tile, options, self._engine.stretch_of(row))

    def _cut(self, tile: Tile, options: RasterOptions, stretch: Stretch | None) -> Rgb:
        from featurizer.rasters import open_scene

        key = (tile.uri, tile.etag, options, stretch)
        with self._scenes.lent(key, lambda: open_scene(tile.uri, options, stretch)) as scene:
            pixels, _ = scene.read(tile.window or Window(0, 0, scene.info.width, scene.info.height))
        return pixels

    def close(self) -> None:
        self._scenes.close()


def raster_options(tiling: Mapping[str, Any]) -> RasterOptions:
    """How rasters were read that were tiled so."""
    from featurizer.bands import RasterOptions

    bands, scale = tiling.get("bands"), tiling.get("scale", "auto")
    return RasterOptions(
        bands=None if bands is None else tuple(bands),
        scale=tuple(scale) if isinstance(scale, list) else scale,
    )


def shared_raster_options(engine: SearchEngine) -> RasterOptions | None:
    """How the archive's rasters were read; None where that is the default, or not one way.

    Of many shards some are asked, evenly spread: a command embeds all with the same options.
    """
    from featurizer.bands import RasterOptions

    firsts, start = [], 0
    for shard in engine.generation.shards:
        if shard.rows:
            firsts.append(start)
        start += shard.rows
    step = math.ceil(len(firsts) / _SHARDS_LOOKED_AT) or 1
    found = {raster_options(engine.tiling_of(row)) for row in firsts[::step]}
    return found.pop() if len(found) == 1 and found != {RasterOptions()} else None


class Scenes:
    """Open rasters, each lent to one thread at a time; those last used stay open.

    A page asks for many windows of one raster, and a JPEG of 8192 x 4096 that stays open gives a
    window in a third of the time: rows decoded for one are there for the next.
    """

    def __init__(self, kept: int = _SCENES_KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._idle: list[tuple[Any, Scene]] = []  # the last used at the end

    @contextmanager
    def lent(self, key: Any, opener: Callable[[], Scene]) -> Iterator[Scene]:
        """A scene opened under this key that no other thread has; a new one if there is none.

        It is closed, not kept, when what is done with it raises.
        """
        scene = self._take(key) or opener()
        try:
            yield scene
        except BaseException:
            scene.close()
            raise
        self._give_back(key, scene)

    def _take(self, key: Any) -> Scene | None:
        with self._lock:
            for place in reversed(range(len(self._idle))):
                if self._idle[place][0] == key:
                    return self._idle.pop(place)[1]
        return None

    def _give_back(self, key: Any, scene: Scene) -> None:
        with self._lock:
            self._idle.append((key, scene))
            surplus = self._idle.pop(0)[1] if len(self._idle) > self._kept else None
        if surplus is not None:
            surplus.close()

    def close(self) -> None:
        """Closes what is not lent."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, scene in idle:
            scene.close()


def _whole(uri: str) -> Rgb:
    from featurizer.decode import decode

    (decoded,) = decode([storage.read_bytes(uri)])
    if isinstance(decoded, PixelError):
        raise decoded
    return decoded.pixels


def encode(pixels: Rgb, size_px: int | None, image_format: ImageFormat) -> Picture:
    """(h, w, 3) uint8 -> JPEG or PNG, scaled down with antialiasing where it is larger."""
    image = Image.fromarray(pixels)
    if size_px is not None and max(image.size) > size_px:
        scale = size_px / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    sink = io.BytesIO()
    if image_format == "png":
        image.save(sink, "PNG", compress_level=3)
    else:
        image.save(sink, "JPEG", quality=_JPEG_QUALITY)
    return Picture(sink.getvalue(), f"image/{image_format}")
