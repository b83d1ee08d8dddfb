"""What a row is: tiles by row id and row ids by tile id, from mapped files, in bounded memory.

Each shard's ``rows.parquet`` is turned once into an Arrow file without geometry: Parquet has to be
decoded by the page, an Arrow file is mapped and read where it lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurizer import schema, storage
from featurizer.errors import ContractError
from featurizer.manifest import Generation, GenerationShard
from featurizer.tiles import Bounds, Window
from serving.engine import tile_ids
from serving.engine.bases import Bases, Ids
from serving.engine.built import built
from serving.engine.progress import cores, for_each
from serving.engine.sync import LocalFiles

_OPEN_MAPS = 128  # each holds a file handle
_BATCH_ROWS = 65_536
_KEPT = [name for name in schema.ROWS.names if name not in ("bbox", "geometry")]


@dataclass(frozen=True, slots=True)
class Tile:
    """One row of the archive, beside its vector; what is not known is None."""

    tile_id: str
    uri: str
    window: Window | None
    label: str | None
    taken: datetime | None
    bounds: Bounds | None
    valid_fraction: float | None
    etag: str


@dataclass(frozen=True, slots=True)
class _Mapped:
    bases: Bases
    batches: tuple[pa.RecordBatch, ...]


class Rows:
    """The rows of one generation."""

    def __init__(self, generation: Generation, arrow_files: list[Path]) -> None:
        self._bases = Bases(shard.rows for shard in generation.shards)
        self._files = arrow_files
        self._ids: tile_ids.TileIds | None = None  # an empty archive has none
        self._map = lru_cache(maxsize=_OPEN_MAPS)(self._open)

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
        arrow = [shared / f"{s.name}-{s.rows_file[:16]}.arrow" for s in generation.shards]
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
        rows._ids = tile_ids.TileIds(built(folder / "tile_ids", inputs, make))
        return rows

    def _open(self, shard: int) -> _Mapped:
        reader = pa.ipc.open_file(pa.memory_map(str(self._files[shard])))
        batches = tuple(reader.get_batch(i) for i in range(reader.num_record_batches))
        return _Mapped(Bases(batch.num_rows for batch in batches), batches)

    def tiles(self, row_ids: Ids) -> list[Tile]:
        """(m,) row ids, in any order and repeated or not -> their tiles in that order."""
        found: dict[int, Tile] = {}
        for shard, where, rows in self._bases.groups(row_ids):
            mapped = self._map(shard)
            for batch, inner, places in mapped.bases.groups(rows):
                taken = mapped.batches[batch].take(pa.array(places)).to_pydict()
                tiles = map(_tile, *(taken[name] for name in _KEPT))
                found.update(zip(where[inner].tolist(), tiles, strict=True))
        return [found[i] for i in range(len(row_ids))]

    def rows_of(self, tile_id: str) -> list[int]:
        """Ascending row ids of the tiles with this id; empty when there is none."""
        if self._ids is None:
            return []
        rows = self._ids.candidates(tile_id)
        tiles = zip(rows.tolist(), self.tiles(rows), strict=True)
        return [row for row, tile in tiles if tile.tile_id == tile_id]

    def _columns(self, name: str) -> Iterator[pa.Array]:
        for shard in range(len(self._files)):
            yield from (batch.column(name) for batch in self._open(shard).batches)

    def ids(self) -> Iterator[pa.StringArray]:
        """Tile ids of all rows in order, a batch at a time."""
        return self._columns("tile_id")

    def labels(self) -> Iterator[list[str | None]]:
        """Labels of all rows in order, a batch at a time."""
        for column in self._columns("label"):
            yield column.to_pylist()

    def close(self) -> None:
        self._map.cache_clear()


def _write_ids(rows: int, ids: tile_ids.Batches, folder: Path) -> None:
    tile_ids.write(folder, rows, ids)


def _tile(*values: Any) -> Tile:
    """The tile of one row's values, in the order of ``_KEPT``."""
    tile_id, uri, x, y, width, height, label, taken, *bounds, valid_fraction, etag = values
    west, south, east, north = bounds
    return Tile(
        tile_id=tile_id,
        uri=uri,
        window=None if x is None else Window(x, y, width, height),
        label=label,
        taken=None if taken is None else taken.astimezone(UTC),
        bounds=None if west is None else (west, south, east, north),
        valid_fraction=valid_fraction,
        etag=etag,
    )


def write_arrow(source: Path, rows: int, target: Path) -> None:
    """``rows.parquet`` as an Arrow file that can be mapped, whole or not at all.

    ContractError when the table is unreadable, or has another schema or number of rows.
    """
    remedy = "remove the shard's folder and run the same embed command again: it is remade alone"
    try:
        with pq.ParquetFile(source) as parquet:
            found = parquet.schema_arrow
            if not found.equals(schema.ROWS) or parquet.metadata.num_rows != rows:
                raise ContractError(
                    f"{source}: {parquet.metadata.num_rows} rows of {found.names}, but the "
                    f"manifest and this version say {rows} of {schema.ROWS.names}: {remedy}"
                )
            storage.write_with(str(target), partial(_copy, parquet))
    except pa.ArrowException as error:
        raise ContractError(f"{source}: not a readable table ({error}): {remedy}") from error


def _copy(parquet: pq.ParquetFile, file: IO[bytes]) -> None:
    kept = pa.schema([schema.ROWS.field(name) for name in _KEPT])
    with pa.ipc.new_file(file, kept) as writer:
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=_KEPT):
            writer.write_batch(batch.select(_KEPT))
