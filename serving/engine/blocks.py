"""Rows as they lie in a mapped Arrow file, a block at a time: cells, and whole columns as views.

Each shard's ``rows.parquet`` is turned once into an Arrow file without geometry, its labels as
codes of the shard's own list: Parquet has to be decoded by the page, an Arrow file is read where
it lies.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurizer import schema, storage
from featurizer.errors import ContractError
from featurizer.tiles import Bounds, Window
from serving.engine.regions import Boxes, Mask

FORM = "2"  # of the Arrow files: a part of their names, so that no other form is misread
BLOCK_ROWS = 32_768
KEPT = [name for name in schema.ROWS.names if name not in ("bbox", "geometry")]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


class _Sparse:
    """Cells of a column of fixed width, some of them null."""

    __slots__ = ("_valid", "_values")

    def __init__(self, valid: pa.Buffer, values: memoryview) -> None:
        self._valid, self._values = memoryview(valid).cast("B"), values

    def __getitem__(self, row: int) -> Any:
        if not self._valid[row >> 3] >> (row & 7) & 1:
            return None
        return self._values[row]


class _Unknown:
    """Cells of a column that is null throughout."""

    __slots__ = ()

    def __getitem__(self, row: int) -> None:
        return None


def _numbers(column: pa.Array, code: Any) -> memoryview | _Sparse | _Unknown:
    """Cells of a column of fixed width: a plain view wherever there are no nulls among them."""
    valid, values = column.buffers()
    if column.null_count == len(column):
        return _Unknown()
    view = memoryview(values).cast("B").cast(code)
    return view if valid is None or not column.null_count else _Sparse(valid, view)


class _Texts:
    """Cells of a column of strings without nulls."""

    __slots__ = ("_data", "_ends")

    def __init__(self, column: pa.Array) -> None:
        _, offsets, data = column.buffers()
        self._ends = memoryview(offsets).cast("B").cast("i")
        self._data = memoryview(b"" if data is None else data)

    def __getitem__(self, row: int) -> str:
        ends = self._ends
        return str(self._data[ends[row] : ends[row + 1]], "utf-8")


class _Labels:
    """Cells of a column of codes, as the texts that they stand for."""

    __slots__ = ("_codes", "_texts")

    def __init__(self, column: pa.DictionaryArray) -> None:
        self._codes = _numbers(column.indices, "i")
        self._texts: list[str] = column.dictionary.to_pylist()

    def __getitem__(self, row: int) -> str | None:
        code = self._codes[row]
        return None if code is None else self._texts[code]


class Block:
    """One batch of an Arrow file; its columns begin at the first cell of their buffers."""

    __slots__ = ("_batch", "_cells", "rows")

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.rows: int = batch.num_rows
        self._batch = batch
        self._cells: tuple[Any, ...] | None = None

    def column(self, name: str) -> pa.Array:
        """The column as Arrow has it; ``label`` is a dictionary array."""
        return self._batch.column(name)

    def values(self, name: str) -> NDArray[Any]:
        """(rows,) the mapped numbers, of any value where unknown; codes of ``label``."""
        column = self.column(name)
        if name == "label":
            column = column.indices
        kind = np.int64 if name == "datetime" else column.type.to_pandas_dtype()
        return np.frombuffer(column.buffers()[1], kind, self.rows)

    def known(self, name: str) -> Mask:
        """(rows,) whether the column holds a value."""
        column = self.column(name)
        valid = column.buffers()[0]
        if valid is None or not column.null_count:
            return np.ones(self.rows, np.bool_)
        packed = np.frombuffer(valid, np.uint8)
        return np.unpackbits(packed, count=self.rows, bitorder="little").view(np.bool_)

    def boxes(self) -> Boxes:
        """(rows,) bounds, of any value where unknown: where ``known("west")`` is False."""
        return Boxes(*(self.values(name) for name in ("west", "south", "east", "north")))

    @property
    def labels(self) -> pa.StringArray:
        """The shard's labels, which codes number."""
        return self.column("label").dictionary

    def tile_id(self, row: int) -> str:
        return str((self._cells or self._open())[0][row])

    def tile(self, row: int) -> Tile:
        cells = self._cells or self._open()
        ids, uris, xs, ys, widths, heights, labels, times, wests, souths, easts, norths = cells[:12]
        tile_id, x, time, west = ids[row], xs[row], times[row], wests[row]
        return Tile(
            tile_id,
            tile_id if x is None else uris[row],  # the id of a whole image is its uri
            None if x is None else Window(x, ys[row], widths[row], heights[row]),
            labels[row],
            None if time is None else EPOCH + timedelta(microseconds=time),
            None if west is None else (west, souths[row], easts[row], norths[row]),
            cells[12][row],
            cells[13][row],
        )

    def _open(self) -> tuple[Any, ...]:
        # Threads that come here at one time make the same views twice, which harms nothing.
        self._cells = tuple(_cells(self.column(name), name) for name in KEPT)
        return self._cells


def _cells(column: pa.Array, name: str) -> memoryview | _Sparse | _Unknown | _Texts | _Labels:
    if name == "label":
        return _Labels(column)
    if pa.types.is_string(column.type):
        return _Texts(column)
    codes = {"datetime": "q", "valid_fraction": "f", **dict.fromkeys(KEPT[2:6], "i")}
    return _numbers(column, codes.get(name, "d"))


def read_blocks(path: Path) -> tuple[tuple[Block, ...], mmap.mmap]:
    """The blocks of a mapped Arrow file, in order, and the memory that they lie in."""
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    reader = pa.ipc.open_file(pa.py_buffer(memory))
    blocks = (Block(reader.get_batch(i)) for i in range(reader.num_record_batches))
    return tuple(blocks), memory


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
    labels = parquet.read(columns=["label"]).column("label").drop_null().unique()
    kept = pa.schema([_field(name) for name in KEPT])
    with pa.ipc.new_file(file, kept) as writer:
        for batch in parquet.iter_batches(batch_size=BLOCK_ROWS, columns=KEPT):
            if not batch.num_rows:
                continue
            columns = [
                _coded(batch.column(name), labels) if name == "label" else batch.column(name)
                for name in KEPT
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=kept))


def _field(name: str) -> pa.Field:
    field = schema.ROWS.field(name)
    if name != "label":
        return field
    return field.with_type(pa.dictionary(pa.int32(), pa.string()))


def _coded(column: pa.Array, labels: pa.StringArray) -> pa.DictionaryArray:
    codes = pc.index_in(column, value_set=labels)
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), labels)
