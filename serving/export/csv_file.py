"""Parts as comma-separated values (RFC 4180): UTF-8, one header, lines that end in CR LF.

Spreadsheets run a cell that begins like a formula, and labels and uris are anybody's text: such a
cell gets an apostrophe before it, as the OWASP page on CSV injection advises.  Numbers stay as
they are, also those that stand in a text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from serving.export.parts import Part

if TYPE_CHECKING:
    from serving.engine.search import Tile

Cell = str | int | float | None

COLUMNS = (
    *("rank", "score", "distance", "tile_id", "uri", "x", "y", "width", "height", "label"),
    *("datetime", "west", "south", "east", "north", "valid_fraction", "etag"),
)
# Full-width forms too: some spreadsheets take them for the ASCII ones.
_FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_NOWHERE = (None, None, None, None)


def csv_file(parts: Iterable[Part]) -> Iterator[bytes]:
    """The file in pieces, one a part; the header alone when there are no parts."""
    yield csv_lines([COLUMNS])
    for part in parts:
        yield csv_lines(records(part))


def csv_lines(rows: Iterable[Iterable[Cell]]) -> bytes:
    """Records as lines; what is None is an empty cell."""
    sink = io.StringIO(newline="")
    csv.writer(sink).writerows(rows)
    return sink.getvalue().encode()


def records(part: Part) -> Iterator[list[Cell]]:
    """The cells of each row in the order of ``COLUMNS``."""
    for rank, score, distance, tile in zip(
        part.ranks,
        rounded(part.scores, part),
        rounded(part.distances, part),
        part.tiles,
        strict=True,
    ):
        yield [rank, score, distance, *_cells(tile)]


def rounded(values: Iterable[float] | None, part: Part) -> list[float | None]:
    """Figures to 6 decimals, as the search gives them; None for each row where there are none."""
    if values is None:
        return [None] * len(part.ranks)
    return [round(float(value), 6) for value in values]


def _cells(tile: Tile) -> list[Cell]:
    window, fraction = tile.window, tile.valid_fraction
    return [
        guarded(tile.tile_id),
        guarded(tile.uri),
        *((window.x, window.y, window.width, window.height) if window else _NOWHERE),
        None if tile.label is None else guarded(tile.label),
        None if tile.taken is None else utc_text(tile.taken),
        *(tile.bounds or _NOWHERE),
        None if fraction is None else round(fraction, 4),
        guarded(tile.etag),
    ]


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet computes."""
    if text[:1] in _FORMULA_STARTS and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def utc_text(moment: datetime) -> str:
    """ISO 8601 with a Z; ``moment`` is in UTC."""
    return moment.isoformat().replace("+00:00", "Z")
