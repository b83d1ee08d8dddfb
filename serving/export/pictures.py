"""The file of each tile's picture, several read ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from featurizer import storage
from featurizer.errors import PixelError, StorageError
from featurizer.formats import sniff
from serving.failures import SourceGoneError

if TYPE_CHECKING:
    from serving.engine.search import SearchEngine, Tile
    from serving.thumbnails import Pictures

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# What browsers show and readers of ImageFolders open; GIF and AVIF they do not.
_COPIED = {"jpeg": "jpg", "png": "png", "webp": "webp"}
_READERS = 4  # remote sources wait far longer than they compute
_AHEAD = 8  # pictures in memory at one time


@dataclass(frozen=True, slots=True)
class PictureFile:
    """An image file; ``extension`` without its dot."""

    data: bytes
    extension: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why there is no picture, as it may be told."""

    reason: str


Read = Callable[[int, "Tile"], PictureFile | Unreadable]


class PictureFiles:
    """Pictures of tiles as files: the source itself where it is one picture, else PNG.

    A window has no file of its own, and TIFF, JPEG 2000 and so on are not shown by browsers. PNG,
    because a dataset is to hold the pixels that were found, with no artefacts of another codec.
    """

    def __init__(self, engine: SearchEngine, pictures: Pictures) -> None:
        self._engine, self._pictures = engine, pictures

    def read(self, row: int, tile: Tile) -> PictureFile | Unreadable:
        """The picture's file; a source that cannot be read is an answer, not an error."""
        try:
            if tile.window is None and not self._engine.is_raster(row):
                data = storage.read_bytes(tile.uri)
                kind = sniff(data)
                if kind in _COPIED:
                    return PictureFile(data, _COPIED[kind])
            return PictureFile(self._pictures.of(row, tile, None, "png").data, "png")
        except (SourceGoneError, StorageError, PixelError) as error:
            return Unreadable(str(error))


def read_ahead(
    work: Callable[[Item], Answer], items: Iterable[Item], ahead: int = _AHEAD
) -> Generator[Answer, None, None]:
    """``work`` of each item in order, ``ahead`` of them under way in a few threads.

    When it is closed, what has not begun is dropped and what has is waited for.
    """
    waiting: deque[Future[Answer]] = deque()
    pool = ThreadPoolExecutor(_READERS, "export")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
