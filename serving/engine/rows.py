"""What a row is: tiles by row id and row ids by tile id, from mapped files, in bounded memory."""

from __future__ import annotations

import json
import mmap
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa

from featurizer import storage
from featurizer.manifest import Generation, GenerationShard
from serving.engine import tile_ids
from serving.engine.bases import Bases, Ids
from serving.engine.blocks import FORM, Block, Tile, read_blocks, write_arrow
from serving.engine.built import built
from serving.engine.handles import most_open
from serving.engine.progress import cores, for_each
from serving.engine.regions import Mask
from serving.engine.resident import Resident
from serving.engine.sync import LocalFiles
from serving.engine.zones import ZONE, Zones, zone_of

__all__ = ["Rows", "Tile"]

_MAPPED_BYTES = 512 << 20  # of Arrow files kept open
_RESIDENT_BYTES = 384 << 20  # of all of them: beyond, pages are given back, at 0.1 ms for ten tiles
_IDS, _ZONES, _ZONES_FILE = "tile_ids", "zones", "zones.npy"


class Rows:
    """The rows of one generation; ``zones`` has the statistics of all blocks, in order."""

    def __init__(self, generation: Generation, arrow_files: list[Path]) -> None:
        self.zones: Zones = np.empty(0, ZONE)
        self._bases = Bases(shard.rows for shard in generation.shards)
        self.total = self._bases.total
        self._starts: list[int] = self._bases.starts.tolist()
        self._files = arrow_files
        self._ids: tile_ids.TileIds | None = None  # an empty archive has none
        self._kept = _most_kept(arrow_files)
        self._blocks = lru_cache(maxsize=self._kept)(self._keep)
        self._memory: WeakValueDictionary[int, mmap.mmap] = WeakValueDictionary()
        self._resident = Resident() if _size(arrow_files) > _RESIDENT_BYTES else None
        self._index_zones()

    @classmethod
    def open(
        cls,
        generation: Generation,
        files: LocalFiles,
        shared: Path,
        folder: Path,
        progress: bool = False,
    ) -> Rows:
        """The rows, converted where ``shared`` (of all generations) and ``folder`` lack them.

        ContractError, naming the file, when a table has another schema or number of rows.
        """
        arrow = [shared / f"{s.name}-{s.rows_file[:16]}.{FORM}.arrow" for s in generation.shards]
        todo = [
            (shard, target)
            for shard, target in zip(generation.shards, arrow, strict=True)
            if not target.exists()
        ]

        def convert(item: tuple[GenerationShard, Path]) -> None:
            shard, target = item
            write_arrow(files.rows(shard.name), shard.rows, target)

        for_each(todo, convert, min(8, cores()), "reading rows", progress)
        rows = cls(generation, arrow)
        if not generation.rows:
            return rows
        make = partial(_write_ids, generation.rows, rows.ids)
        inputs = storage.sha256(json.dumps([s.rows_file for s in generation.shards]).encode())
        rows._ids = tile_ids.TileIds(built(folder / _IDS, inputs, make))
        made = built(folder / _ZONES, f"{FORM} {ZONE.descr} {inputs}", rows._write_zones)
        rows.zones = np.load(made / _ZONES_FILE, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        rows._index_zones()
        return rows

    def _index_zones(self) -> None:
        self._zone_starts = Bases(self.zones["rows"]).starts
        self._zones_before = np.searchsorted(self._zone_starts, self._bases.starts)

    def _write_zones(self, folder: Path) -> None:
        zones = [zone_of(block) for shard in range(len(self._files)) for block in self._open(shard)]
        np.save(folder / _ZONES_FILE, np.concatenate(zones))

    def _open(self, shard: int) -> tuple[Block, ...]:
        return read_blocks(self._files[shard])[0]

    def _keep(self, shard: int) -> tuple[Block, ...]:
        blocks, memory = read_blocks(self._files[shard])
        self._memory[shard] = memory
        return blocks

    def tiles(self, row_ids: Ids) -> list[Tile]:
        """(m,) row ids, in any order and repeated or not -> their tiles in that order."""
        found = [block.tile(row) for block, row in self._places(row_ids)]
        if self._resident is not None:
            shards = self._bases.locate(row_ids)[0].tolist()
            self._resident.note(filter(None, map(self._memory.get, shards)))
        return found

    def place(self, row_id: int) -> tuple[Block, int]:
        """The block of a row and its row there; IndexError for an id out of range."""
        return next(self._places(np.asarray([row_id], np.int64)))

    def _places(self, row_ids: Ids) -> Iterator[tuple[Block, int]]:
        """Of each row id, its block and its row there; IndexError for an id out of range."""
        total, starts = self.total, self._starts
        for row_id in row_ids.tolist():
            if not 0 <= row_id < total:
                raise IndexError(f"row ids must be in 0..{total - 1}: {row_id}")
            shard = bisect_right(starts, row_id) - 1
            row = row_id - starts[shard]
            for block in self._blocks(shard):
                if row < block.rows:
                    yield block, row
                    break
                row -= block.rows

    def rows_of(self, tile_id: str) -> list[int]:
        """Ascending row ids of the tiles with this id; empty when there is none."""
        try:
            tile_id.encode()
        except UnicodeEncodeError:
            return []  # half of a character, which no file holds
        if self._ids is None:
            return []
        rows = self._ids.candidates(tile_id)
        places = zip(rows.tolist(), self._places(rows), strict=True)
        return [row_id for row_id, (block, row) in places if block.tile_id(row) == tile_id]

    def blocks(self, wanted: Mask | None = None) -> Iterator[tuple[int, Block]]:
        """The blocks, or those of the zones wanted, in order: first row id and block."""
        chosen = np.arange(len(self.zones)) if wanted is None else np.flatnonzero(wanted)
        # Of a bigger archive, a scan would push what searches use out of the cache.
        read = self._blocks if len(self._files) <= self._kept else self._open
        shard, blocks = -1, tuple[Block, ...]()
        for zone in chosen.tolist():
            start = int(self._zone_starts[zone])
            here = bisect_right(self._starts, start) - 1
            if here != shard:
                shard, blocks = here, read(here)
            yield start, blocks[zone - int(self._zones_before[shard])]

    def ids(self) -> Iterator[pa.StringArray]:
        """Tile ids of all rows in order, a batch at a time."""
        for shard in range(len(self._files)):
            yield from (block.column("tile_id") for block in self._open(shard))

    def labels(self) -> Iterator[list[str | None]]:
        """Labels of all rows in order, a batch at a time."""
        for shard in range(len(self._files)):
            yield from (block.column("label").to_pylist() for block in self._open(shard))

    def close(self) -> None:
        self._blocks.cache_clear()


def _size(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _most_kept(files: list[Path]) -> int:
    """How many of these files to keep mapped."""
    size = _size(files) / max(1, len(files))
    return max(1, min(most_open(), int(_MAPPED_BYTES / max(1.0, size))))


def _write_ids(rows: int, ids: tile_ids.Batches, folder: Path) -> None:
    tile_ids.write(folder, rows, ids)
