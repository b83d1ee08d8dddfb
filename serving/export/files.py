"""Every kind of file that rows can be written as."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.export.csv_file import csv_file
from serving.export.geojson_file import geojson_file
from serving.export.parquet_file import parquet_file
from serving.export.pictures import PictureFiles
from serving.export.zip_file import zip_file

if TYPE_CHECKING:
    from serving.engine.search import SearchEngine
    from serving.export.parts import Part
    from serving.models.requests import ExportFormat
    from serving.thumbnails import Pictures

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a format is called; ``ending`` is that of its file's name."""

    media_type: str
    ending: str
    has_vectors: bool = False


KINDS: dict[ExportFormat, Kind] = {
    "csv": Kind("text/csv; charset=utf-8; header=present", ".csv"),
    "geojson": Kind("application/geo+json", ".geojson"),
    "geoparquet": Kind("application/vnd.apache.parquet", ".parquet"),
    "parquet": Kind("application/vnd.apache.parquet", "-vectors.parquet", has_vectors=True),
    "zip": Kind("application/zip", ".zip"),
}


def written(
    kind: ExportFormat, parts: Iterable[Part], engine: SearchEngine, pictures: Pictures
) -> Iterator[bytes]:
    """The file in pieces, made as they are asked for; what fails in between raises."""
    if kind == "csv":
        return csv_file(parts)
    if kind == "geojson":
        return geojson_file(parts)
    if kind == "zip":
        return zip_file(parts, PictureFiles(engine, pictures).read)
    spec = engine.generation.featurizer
    facts = {
        "generation": engine.name,
        "featurizer": spec.fingerprint,
        "metric": spec.metric,
    }
    return parquet_file(parts, facts, spec.dim if KINDS[kind].has_vectors else None)


def file_name(archive: str, generation: str, what: str, kind: ExportFormat) -> str:
    """A name in plain ASCII, such as ``demo-000003-5f0c9a11d2e4-search.csv``."""
    stem = _NOT_IN_NAMES.sub("_", f"{archive}-{generation}-{what}").strip("._-")
    return f"{stem}{KINDS[kind].ending}"


def evened(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of ``size``, the last one smaller; memory of the largest piece."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        whole = len(waiting) - len(waiting) % size
        for first in range(0, whole, size):
            yield bytes(waiting[first : first + size])
        del waiting[:whole]
    if waiting:
        yield bytes(waiting)
