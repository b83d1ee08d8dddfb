"""Cutting rasters into tiles of one size: which windows, and their pixels read about once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from featurizer.errors import UsageError
from featurizer.pixels import Mask, Rgb
from featurizer.rasters import RasterOptions, Scene, SceneInfo, scene_info
from featurizer.tiles import Bounds, Window

STRIP_BYTES = 256 * 2**20  # of rows that are kept for the windows below
CHUNK_PIXELS = 2**21  # of one read: a few blocks, whose raw values are in memory at a time
MAX_AHEAD_ROWS = 1024  # higher blocks are not waited for; GDAL keeps the one that it decoded last


@dataclass(frozen=True, slots=True)
class TilingOptions:
    """Size and distance of tiles, and the share of null above which one is dropped."""

    tile_px: int = 256
    stride_px: int = 128
    max_null: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.tile_px <= 8192:
            raise UsageError(f"tile size {self.tile_px}: give 1 to 8192 pixels (--tile-px)")
        if not 1 <= self.stride_px <= self.tile_px:
            raise UsageError(
                f"stride {self.stride_px} with tiles of {self.tile_px}: give 1 to {self.tile_px} "
                "pixels (--stride-px), or pixels between the tiles would be lost"
            )
        if not 0.0 <= self.max_null <= 1.0:
            raise UsageError(f"null share {self.max_null}: give a number from 0 to 1 (--max-null)")


class Tile(NamedTuple):
    """One window and what is in it."""

    window: Window
    pixels: Rgb  # (window.height, window.width, 3) uint8, its own memory
    valid_fraction: float  # of the whole window, what lies outside the raster being null
    bounds: Bounds | None


def window_starts(length_px: int, tile_px: int, stride_px: int) -> list[int]:
    """``i * stride`` for ceil((length - tile) / stride) + 1 tiles, at least one.

    With a stride of at most the tile's size they cover every pixel, each tile holds at least
    one, and only the last may pass the end.
    """
    count = max(0, math.ceil((length_px - tile_px) / stride_px)) + 1
    return [i * stride_px for i in range(count)]


def tile_windows(width: int, height: int, tile_px: int, stride_px: int) -> list[Window]:
    """All windows of a raster, row by row from the top left, each ``tile_px`` square."""
    columns = window_starts(width, tile_px, stride_px)
    return [
        Window(x, y, tile_px, tile_px)
        for y in window_starts(height, tile_px, stride_px)
        for x in columns
    ]


def inspect(uri: str, options: RasterOptions) -> SceneInfo:
    """What a raster's header says, with no pixel read.  PixelError, StorageError as opening."""
    return scene_info(uri, options)


def iter_tiles(scene: Scene, windows: Sequence[Window]) -> Iterator[Tile]:
    """The windows' tiles in the order given, which should be row by row.

    Overlapping rows are read once and kept, so each block of the file is decoded about once;
    memory stays under ``STRIP_BYTES`` and a few reads whatever the raster's size.  Rasters too
    wide for that are read window row by window row in panels.  PixelError and StorageError come
    at the first window that the fault concerns.
    """
    if not windows:
        return
    left = min(window.x for window in windows)
    right = max(window.x + window.width for window in windows)
    tallest = max(window.height for window in windows)
    width_limit = STRIP_BYTES // (4 * (tallest + _ahead(scene)))
    strip = _Strip(scene, left, right) if right - left <= width_limit else None
    for (top, height), row in groupby(windows, key=lambda window: (window.y, window.height)):
        for panel in _panels(list(row), width_limit):
            part = strip or _Strip(scene, panel[0].x, max(w.x + w.width for w in panel))
            part.cover(top, top + height)
            for window in panel:
                yield Tile(window, *part.cut(window), scene.bounds(window))


def _panels(row: list[Window], width_limit: int) -> Iterator[list[Window]]:
    """A row of windows, cut where it would span more than ``width_limit`` columns."""
    start = 0
    for end, window in enumerate(row):
        if end > start and window.x + window.width - row[start].x > width_limit:
            yield row[start:end]
            start = end
    yield row[start:]


def _ahead(scene: Scene) -> int:
    """Rows that are read together, so that no block is decoded for a part of it."""
    rows = scene.block_shape[0]
    return rows if rows <= MAX_AHEAD_ROWS else 1


class _Strip:
    """Rows [top, bottom) of a scene's columns [left, right), moved down as windows need them."""

    def __init__(self, scene: Scene, left: int, right: int) -> None:
        self._scene, self._left, self._right = scene, left, right
        self._top = self._bottom = 0
        self._pixels: Rgb = np.empty((0, right - left, 3), np.uint8)
        self._valid: Mask = np.empty((0, right - left), np.bool_)

    def cover(self, top: int, bottom: int) -> None:
        """Hold at least rows [top, bottom); those already held are not read again."""
        if not self._top <= top <= self._bottom:
            self._top = self._bottom = top
        ahead = _ahead(self._scene)
        wanted = max(bottom, min(-(-bottom // ahead) * ahead, self._scene.info.height))
        kept = self._bottom - top
        if len(self._pixels) < wanted - top:
            self._grow(wanted - top)
        if self._bottom < bottom:
            first = top - self._top
            self._pixels[:kept] = self._pixels[first : first + kept]
            self._valid[:kept] = self._valid[first : first + kept]
            self._top = top
            self._fill(wanted)

    def cut(self, window: Window) -> tuple[Rgb, float]:
        """A copy of the window's pixels, and its valid fraction; ``cover`` has read its rows."""
        rows = slice(window.y - self._top, window.y - self._top + window.height)
        columns = slice(window.x - self._left, window.x - self._left + window.width)
        valid = np.count_nonzero(self._valid[rows, columns])
        return self._pixels[rows, columns].copy(), valid / (window.width * window.height)

    def _grow(self, rows: int) -> None:
        pixels, valid = self._pixels, self._valid
        self._pixels = np.empty((rows, *pixels.shape[1:]), np.uint8)
        self._valid = np.empty((rows, *valid.shape[1:]), np.bool_)
        self._pixels[: len(pixels)], self._valid[: len(valid)] = pixels, valid

    def _fill(self, bottom: int) -> None:
        for chunk in self._chunks(bottom):
            rows = slice(chunk.y - self._top, chunk.y - self._top + chunk.height)
            columns = slice(chunk.x - self._left, chunk.x - self._left + chunk.width)
            self._pixels[rows, columns], self._valid[rows, columns] = self._scene.read(chunk)
        self._bottom = bottom

    def _chunks(self, bottom: int) -> Iterator[Window]:
        """Rows [self._bottom, bottom) in reads of about CHUNK_PIXELS, along the file's blocks."""
        block_rows, block_columns = self._scene.block_shape
        rows, columns = bottom - self._bottom, self._right - self._left
        if block_columns >= self._scene.info.width:  # strips: whole rows, several blocks at once
            rows = max(CHUNK_PIXELS // columns // block_rows, 1) * block_rows
        else:
            rows = min(block_rows, MAX_AHEAD_ROWS)
            columns = max(CHUNK_PIXELS // rows // block_columns, 1) * block_columns
        for y in _cuts(self._bottom, bottom, rows):
            for x in _cuts(self._left, self._right, columns):
                yield Window(x[0], y[0], x[1] - x[0], y[1] - y[0])


def _cuts(start: int, end: int, step: int) -> list[tuple[int, int]]:
    """[start, end) cut at the multiples of ``step``."""
    edges = [start, *range(start - start % step + step, end, step), end]
    return [(a, b) for a, b in pairwise(edges) if a < b]
