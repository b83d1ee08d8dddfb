"""A Parquet or CSV list of uris, with optional columns of metadata."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from featurizer import storage
from featurizer.errors import SourceError, StorageError
from featurizer.tiles import Bounds, place_of_name
from pipeline.plan import Item

SUFFIXES = frozenset({"csv", "parquet"})
_BOUNDS = ("west", "south", "east", "north")
_LOOKUPS = 32
_CHUNK = 1024


def list_table(uri: str) -> Iterator[Item]:
    """One item a row, in the table's order.

    ``uri`` is required; a relative one is taken from the table's own folder.  ``label``,
    ``datetime`` (ISO 8601, UTC where no zone is said), ``west, south, east, north`` (degrees) and
    ``etag`` with ``size`` are used where they stand; every other column is passed over.
    SourceError for an unreadable table, a missing column, or a value that means nothing.
    A uri that leads nowhere still becomes an item: it is rejected, with its reason, when read.
    """
    table = _read(uri)
    if "uri" not in table.column_names:
        raise SourceError(f"{uri}: has no column `uri` (columns: {', '.join(table.column_names)})")
    base = uri.rsplit("/", 1)[0]
    with ThreadPoolExecutor(_LOOKUPS) as pool:
        for start in range(0, table.num_rows, _CHUNK):
            records = table.slice(start, _CHUNK).to_pylist()
            numbered = enumerate(records, start=start + 1)
            yield from pool.map(
                lambda pair: _item(pair[1], base, f"{uri}, row {pair[0]}"), numbered
            )


def _read(uri: str) -> pa.Table:
    data = io.BytesIO(storage.read_bytes(uri))
    try:
        if uri.lower().endswith(".csv"):
            # Numbers as text where they are names: a label 007 must stay 007.
            text = {name: pa.string() for name in ("uri", "label", "datetime", "etag")}
            options = pyarrow.csv.ConvertOptions(
                column_types=text, strings_can_be_null=True, null_values=[""]
            )
            return pyarrow.csv.read_csv(data, convert_options=options)
        return pq.read_table(data)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{uri}: not a readable table: {error}") from error


def _item(record: dict[str, Any], base: str, place: str) -> Item:
    uri = record["uri"]
    if not uri:
        raise SourceError(f"{place}: uri is empty")
    if "://" not in uri and not uri.startswith("/"):
        uri = storage.join(base, uri)
    size, etag = record.get("size"), record.get("etag")
    if size is None or etag is None:
        try:
            entry = storage.stat(uri)
            size, etag = entry.size, entry.etag
        except StorageError:
            size, etag = 0, "missing"
    named = place_of_name(uri)
    label = record.get("label")
    return Item(
        uri=uri,
        size=int(size),
        etag=str(etag),
        label=None if label is None else str(label),
        taken=_taken(record.get("datetime"), place) or named.taken,
        bounds=_bounds(record, place) or named.bounds,
    )


def _taken(value: Any, place: str) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise SourceError(f"{place}: datetime {value!r} is not ISO 8601") from error
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise SourceError(f"{place}: datetime {value!r} is not a time")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _bounds(record: dict[str, Any], place: str) -> Bounds | None:
    values = [record.get(name) for name in _BOUNDS]
    if all(value is None for value in values):
        return None
    try:
        west, south, east, north = (float(value) for value in values)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise SourceError(f"{place}: west, south, east, north must be four numbers") from error
    if not (-90 <= south <= north <= 90 and -180 <= west <= 180 and -180 <= east <= 180):
        raise SourceError(f"{place}: {values} is not west, south, east, north in degrees")
    return west, south, east, north
