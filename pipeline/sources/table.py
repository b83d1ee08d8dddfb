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
from pipeline.faults import is_final
from pipeline.plan import Item

SUFFIXES = frozenset({"csv", "parquet"})
_BOUNDS = ("west", "south", "east", "north")
_TEXT = ("uri", "label", "datetime", "etag")
_LOOKUPS = 32
_CHUNK = 1024


def list_table(uri: str) -> Iterator[Item]:
    """One item a row, in the table's order.

    ``uri`` is required; a relative one is taken from the table's own folder.  ``label``,
    ``datetime`` (ISO 8601, UTC where no zone is said), ``west, south, east, north`` (degrees) and
    ``etag`` with ``size`` are used where they stand; every other column is passed over.
    SourceError for an unreadable table, a missing column, a uri that stands there twice, or a
    value that means nothing.  A uri that leads nowhere still becomes an item: it is rejected, with
    its reason, when read.
    """
    table = _used(_read(uri), uri)
    base = storage.normalise(uri).rsplit("/", 1)[0]
    _check_unique(table.column("uri"), base, uri)
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
            options = pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(_TEXT, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            )
            return pyarrow.csv.read_csv(data, convert_options=options)
        return pq.read_table(data)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{uri}: not a readable table: {error}") from error


def _used(table: pa.Table, uri: str) -> pa.Table:
    """The columns that mean something here; SourceError without ``uri``, or with two of a name."""
    names = table.column_names
    if "uri" not in names:
        raise SourceError(f"{uri}: has no column `uri` (columns: {', '.join(names)})")
    used = [name for name in (*_TEXT, *_BOUNDS, "size") if name in names]
    twice = [name for name in used if names.count(name) > 1]
    if twice:
        raise SourceError(f"{uri}: has more than one column `{twice[0]}`: rename all but one")
    table = table.select(used)
    position = table.schema.get_field_index("datetime")
    if position >= 0 and pa.types.is_timestamp(table.schema.field(position).type):
        kind = pa.timestamp("us", table.schema.field(position).type.tz)
        # Python's times have microseconds; what is finer is dropped.
        table = table.set_column(
            position, "datetime", table.column(position).cast(kind, safe=False)
        )
    return table


def _check_unique(uris: pa.ChunkedArray, base: str, place: str) -> None:
    seen: dict[str, int] = {}
    for row, value in enumerate(uris.to_pylist(), start=1):
        uri = _absolute(value, base, f"{place}, row {row}")
        first = seen.setdefault(uri, row)
        if first != row:
            raise SourceError(
                f"{place}, rows {first} and {row}: the same uri {uri}, but it names one picture in "
                "the archive: remove one of the two"
            )


def _absolute(uri: object, base: str, place: str) -> str:
    if not isinstance(uri, str) or not uri:
        raise SourceError(f"{place}: uri is {uri!r}: give the path or URL of a picture")
    if "://" not in uri and not uri.startswith("/"):
        uri = storage.join(base, uri)
    try:
        storage.filesystem(uri)
    except StorageError as error:
        raise SourceError(f"{place}: {error}") from error
    return uri


def _item(record: dict[str, Any], base: str, place: str) -> Item:
    uri = _absolute(record["uri"], base, place)
    size, etag = record.get("size"), record.get("etag")
    if size is None or etag is None:
        try:
            entry = storage.stat(uri)
            size, etag = entry.size, entry.etag
        except StorageError as error:
            if not is_final(error):
                raise
            size, etag = 0, "missing"
    named = place_of_name(uri)
    label = record.get("label")
    return Item(
        uri=uri,
        size=_size(size, place),
        etag=str(etag),
        label=None if label is None else str(label),
        taken=_taken(record.get("datetime"), place) or named.taken,
        bounds=_bounds(record, place) or named.bounds,
    )


def _size(value: Any, place: str) -> int:
    try:
        size = int(value)
    except (ValueError, OverflowError) as error:
        raise SourceError(f"{place}: size {value!r} is not a number of bytes") from error
    if size < 0:
        raise SourceError(f"{place}: size {value!r} is not a number of bytes")
    return size


def _taken(value: Any, place: str) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise SourceError(
                f"{place}: datetime {value!r} is not ISO 8601, as 2024-05-31T10:30:00Z"
            ) from error
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise SourceError(f"{place}: datetime {value!r} is not a time")
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:
        raise SourceError(f"{place}: datetime {value} is outside the years 1 to 9999") from error


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
