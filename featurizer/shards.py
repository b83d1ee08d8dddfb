"""A shard on storage: vectors, the rows they belong to, what was rejected, and the marker.

The marker ``shard.json`` is written last; a shard without it does not exist.  Every reader goes
through the marker and checks shape, dtype and checksum before a byte is used.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurizer import schema, storage
from featurizer.errors import ContractError, StorageError

FORMAT = 1
VECTORS, ROWS, REJECTS, MARKER = "vectors.npy", "rows.parquet", "rejects.parquet", "shard.json"
_REPAIR = "remove the shard's folder and run the same embed command again: it is remade alone"


@dataclass(frozen=True, slots=True)
class FileRecord:
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """What ``shard.json`` says.

    ``inputs`` names each object with etag and size and, for a raster, the stretch that made it
    8-bit; ``rejects`` counts by reason; ``dropped_null`` counts windows left out for being null.
    """

    name: str
    rows: int
    dim: int
    featurizer: str
    files: dict[str, FileRecord]
    inputs: list[dict[str, Any]]
    rejects: dict[str, int]
    dropped_null: int
    source_bytes: int
    tiling: dict[str, Any]

    @property
    def reject_count(self) -> int:
        return sum(self.rejects.values())

    def to_json(self) -> bytes:
        files = {name: asdict(record) for name, record in self.files.items()}
        fields = {"format": FORMAT, **_shallow(self), "files": files}
        return json.dumps(fields, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, place: str) -> ShardRecord:
        try:
            record = json.loads(data)
            version = record.pop("format")
            if version != FORMAT:
                raise ContractError(
                    f"{place}: format {version}, but this version reads {FORMAT}: embed again"
                )
            files = {name: FileRecord(**value) for name, value in record.pop("files").items()}
            made = cls(**record, files=files)
            made._check()
            return made
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ContractError(f"{place}: not a shard's marker ({error}); {_REPAIR}") from error

    def _check(self) -> None:
        absent = {VECTORS, ROWS, REJECTS} - self.files.keys()
        if absent:
            raise ValueError(f"no checksum of {', '.join(sorted(absent))}")
        if not (type(self.rows) is type(self.dim) is int and self.rows >= 0 < self.dim):
            raise ValueError(f"{self.rows!r} rows of {self.dim!r} dimensions")


@dataclass(frozen=True, slots=True)
class ShardContent:
    """What one shard holds; ``vectors`` (n, d) float16, row i described by ``rows[i]``."""

    vectors: NDArray[np.float16]
    rows: list[schema.Row]
    rejects: list[schema.Reject]


def directory(root: str, name: str) -> str:
    return storage.join(root, "shards", name)


def complete(root: str, name: str) -> bool:
    return storage.exists(storage.join(directory(root, name), MARKER))


def encode_vectors(vectors: NDArray[np.float16]) -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.ascontiguousarray(vectors), allow_pickle=False)
    return sink.getvalue()


def write(root: str, record: ShardRecord, content: ShardContent) -> ShardRecord:
    """Writes the shard, its marker last; returns the record with its files' checksums."""
    folder = directory(root, record.name)
    files = {
        VECTORS: encode_vectors(content.vectors),
        ROWS: schema.encode_table(schema.rows_table(content.rows)),
        REJECTS: schema.encode_table(schema.rejects_table(content.rejects)),
    }
    sums = {name: FileRecord(storage.sha256(data), len(data)) for name, data in files.items()}
    for name, data in files.items():
        storage.write_bytes(storage.join(folder, name), data)
    done = ShardRecord(**{**_shallow(record), "files": sums})
    storage.write_bytes(storage.join(folder, MARKER), done.to_json())
    return done


def _shallow(record: ShardRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ShardRecord.__slots__}


def read_record(root: str, name: str) -> ShardRecord:
    """The marker of a complete shard; ContractError when it is unreadable or names another."""
    place = storage.join(directory(root, name), MARKER)
    record = ShardRecord.from_json(_read(place), place)
    if record.name != name:
        raise ContractError(f"{place}: says it is shard {record.name}, not {name}; {_REPAIR}")
    return record


def _read(place: str) -> bytes:
    try:
        return storage.read_bytes(place)
    except StorageError as error:
        if not storage.is_missing(error):
            raise
        raise ContractError(f"{place}: is missing; {_REPAIR}") from error


def read_file(root: str, record: ShardRecord, file: str) -> bytes:
    """One of the shard's files, its size and checksum compared with the marker's.

    ContractError when it is missing or another; StorageError when it could not be read.
    """
    place = storage.join(directory(root, record.name), file)
    data = _read(place)
    check_bytes(place, record.files[file], len(data), storage.sha256(data))
    return data


def check_bytes(place: str, expected: FileRecord, size: int, sha256: str) -> None:
    if size != expected.size:
        raise ContractError(
            f"{place}: {size} bytes, but its marker says {expected.size} (truncated?); {_REPAIR}"
        )
    if sha256 != expected.sha256:
        raise ContractError(
            f"{place}: sha256 {sha256[:12]}…, but its marker says {expected.sha256[:12]}…; "
            f"{_REPAIR}"
        )


def read_vectors(root: str, record: ShardRecord) -> NDArray[np.float16]:
    """(n, d) float16, checked against the marker."""
    data = read_file(root, record, VECTORS)
    place = storage.join(directory(root, record.name), VECTORS)
    try:
        # Not np.load, which would also open an .npz.
        vectors = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise ContractError(f"{place}: not a .npy array ({error}); {_REPAIR}") from error
    return check_vectors(vectors, record, place)


def check_vectors(vectors: NDArray[Any], record: ShardRecord, place: str) -> NDArray[np.float16]:
    if vectors.dtype != np.float16 or vectors.shape != (record.rows, record.dim):
        raise ContractError(
            f"{place}: {vectors.dtype} {vectors.shape}, but its marker says float16 "
            f"{(record.rows, record.dim)}; {_REPAIR}"
        )
    return vectors


def read_rows(root: str, record: ShardRecord) -> pa.Table:
    """The rows' table, checked: checksum, schema, and one row a vector."""
    place = storage.join(directory(root, record.name), ROWS)
    table = schema.decode_table(read_file(root, record, ROWS), schema.ROWS, place)
    if table.num_rows != record.rows:
        raise ContractError(f"{place}: {table.num_rows} rows for {record.rows} vectors; {_REPAIR}")
    return table


def read_rejects(root: str, record: ShardRecord) -> pa.Table:
    place = storage.join(directory(root, record.name), REJECTS)
    return schema.decode_table(read_file(root, record, REJECTS), schema.REJECTS, place)
