"""Parts as GeoParquet 1.1: the columns of an archive's ``rows.parquet``, rank, score, distance.

With vectors, they stand in a last column, a fixed-size list of float32: not of float16, as they
are stored, which several readers of Parquet do not know.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from featurizer import schema
from featurizer.schema import Row
from serving.export.parts import Part

if TYPE_CHECKING:
    from serving.engine.search import Tile

_GROUP_ROWS = 16_384
_GROUP_BYTES = 8 << 20  # of vectors in one row group, which is held until it is written
_FIGURES = (
    pa.field("rank", pa.int64(), nullable=False),
    pa.field("score", pa.float32()),
    pa.field("distance", pa.float32()),
)


class Sink(io.RawIOBase):
    """A file that can only be written; what is in it is taken out as it grows."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._written += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._written

    def take(self) -> bytes:
        """All that was written since it was last asked."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def parquet_file(
    parts: Iterable[Part], facts: dict[str, str], dim: int | None = None
) -> Iterator[bytes]:
    """The file in pieces, one a row group; with vectors of ``dim`` numbers where it is given.

    ``facts`` stand under ``worldsift`` in the file's metadata.
    """
    arrow = file_schema(facts, dim)
    sink = Sink()
    writer = pq.ParquetWriter(sink, arrow, compression="zstd")
    try:
        for table in _row_groups(parts, arrow, dim):
            writer.write_table(table, row_group_size=table.num_rows)
            yield sink.take()
    finally:  # a file that was given up gets its footer too, but nobody gets to see it
        writer.close()
    yield sink.take()


def file_schema(facts: dict[str, str], dim: int | None) -> pa.Schema:
    """The columns of ``rows.parquet``, the figures, and the vectors where ``dim`` is given."""
    fields = [*schema.ROWS, *_FIGURES]
    if dim is not None:
        element = pa.field("element", pa.float32(), nullable=False)
        fields.append(pa.field("vector", pa.list_(element, dim), nullable=False))
    return pa.schema(fields, {**schema.ROWS.metadata, b"worldsift": json.dumps(facts).encode()})


def _row_groups(parts: Iterable[Part], arrow: pa.Schema, dim: int | None) -> Iterator[pa.Table]:
    most = _GROUP_ROWS if dim is None else max(1, min(_GROUP_ROWS, _GROUP_BYTES // (4 * dim)))
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(_table(part, arrow))
        if sum(table.num_rows for table in waiting) >= most:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _table(part: Part, arrow: pa.Schema) -> pa.Table:
    table = schema.rows_table([_row(tile) for tile in part.tiles])
    columns = [*table.columns, pa.array(part.ranks, pa.int64())]
    for values in (part.scores, part.distances):
        count = table.num_rows
        columns.append(pa.nulls(count, pa.float32()) if values is None else pa.array(values))
    if "vector" in arrow.names and part.vectors is not None:
        flat = pa.array(np.ascontiguousarray(part.vectors, np.float32).ravel())
        columns.append(pa.FixedSizeListArray.from_arrays(flat, type=arrow.field("vector").type))
    return pa.Table.from_arrays(columns, schema=arrow)


def _row(tile: Tile) -> Row:
    return Row(
        uri=tile.uri,
        etag=tile.etag,
        window=tile.window,
        label=tile.label,
        taken=tile.taken,
        bounds=tile.bounds,
        valid_fraction=tile.valid_fraction,
    )
