"""Columns of ``rows.parquet`` (GeoParquet 1.1) and ``rejects.parquet``, and records to tables."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurizer.errors import ContractError
from featurizer.tiles import Bounds, Window, tile_id

_BBOX = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])

# https://geoparquet.org/releases/v1.1.0: geometry in OGC:CRS84 (longitude, latitude), which is the
# default when no crs is named; the bbox column lets readers skip row groups.
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": ["Polygon", "MultiPolygon"],
            "covering": {"bbox": {key: ["bbox", key] for key in ("xmin", "ymin", "xmax", "ymax")}},
        }
    },
}

ROWS = pa.schema(
    [
        pa.field("tile_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        *(pa.field(name, pa.int32()) for name in ("x", "y", "width", "height")),
        pa.field("label", pa.string()),
        pa.field("datetime", pa.timestamp("us", tz="UTC")),
        *(pa.field(name, pa.float64()) for name in ("west", "south", "east", "north")),
        pa.field("bbox", _BBOX),
        pa.field("geometry", pa.binary()),
        pa.field("valid_fraction", pa.float32()),
        pa.field("etag", pa.string(), nullable=False),
    ],
    metadata={"geo": json.dumps(_GEO, sort_keys=True)},
)

REJECTS = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        *(pa.field(name, pa.int32()) for name in ("x", "y", "width", "height")),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one embedded tile, beside its vector."""

    uri: str
    etag: str
    window: Window | None = None
    label: str | None = None
    taken: datetime | None = None
    bounds: Bounds | None = None
    valid_fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """What could not be embedded: ``stage`` is read, decode, tile or embed; ``reason`` a slug."""

    uri: str
    stage: str
    reason: str
    detail: str
    window: Window | None = None


def _window_columns(windows: Sequence[Window | None]) -> dict[str, list[int | None]]:
    return {
        name: [None if window is None else getattr(window, name) for window in windows]
        for name in ("x", "y", "width", "height")
    }


def footprint(bounds: Bounds) -> bytes:
    """The box as WKB; one that crosses the antimeridian (west > east) is cut in two there."""
    import shapely

    west, south, east, north = bounds
    if west <= east:
        return bytes(shapely.to_wkb(shapely.box(west, south, east, north)))
    halves = [(west, south, 180.0, north), (-180.0, south, east, north)]
    boxes = [shapely.box(*half) for half in halves if half[0] < half[2]]  # none without width
    return bytes(shapely.to_wkb(shapely.MultiPolygon(boxes)))


def rows_table(rows: Sequence[Row]) -> pa.Table:
    bounds = [row.bounds for row in rows]
    columns: dict[str, list[Any]] = {
        "tile_id": [tile_id(row.uri, row.window) for row in rows],
        "uri": [row.uri for row in rows],
        **_window_columns([row.window for row in rows]),
        "label": [row.label for row in rows],
        "datetime": [row.taken for row in rows],
        "bbox": [b and dict(zip(("xmin", "ymin", "xmax", "ymax"), b, strict=True)) for b in bounds],
        "geometry": [b and footprint(b) for b in bounds],
        "valid_fraction": [row.valid_fraction for row in rows],
        "etag": [row.etag for row in rows],
    }
    for position, name in enumerate(("west", "south", "east", "north")):
        columns[name] = [b and b[position] for b in bounds]
    return pa.Table.from_pydict({name: columns[name] for name in ROWS.names}, schema=ROWS)


def rejects_table(rejects: Sequence[Reject]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "uri": [reject.uri for reject in rejects],
        **_window_columns([reject.window for reject in rejects]),
        **{
            name: [getattr(reject, name) for reject in rejects]
            for name in ("stage", "reason", "detail")
        },
    }
    return pa.Table.from_pydict(columns, schema=REJECTS)


def encode_table(table: pa.Table) -> bytes:
    """The table as Parquet bytes; the same table gives the same bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=65_536)
    return sink.getvalue()


def decode_table(data: bytes, schema: pa.Schema, name: str) -> pa.Table:
    """The table of these bytes; ContractError, naming ``name``, when it has another schema."""
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise ContractError(
            f"{name}: not a readable Parquet file ({error}); embed again"
        ) from error
    if not table.schema.equals(schema):
        raise ContractError(
            f"{name}: has columns {table.schema.names} with other types or order than "
            f"{schema.names}; it was written by another version: embed again"
        )
    return table
