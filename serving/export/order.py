"""An export as it was asked for -> the file that answers it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from featurizer.errors import QueryError
from serving.engine.bases import Ids
from serving.engine.selection import ids_of
from serving.export.files import KINDS, evened, file_name, written
from serving.export.parts import RankedRows, of_hits, parts
from serving.failures import TooLargeError
from serving.query import answering

if TYPE_CHECKING:
    from serving.engine.search import SearchEngine
    from serving.engine.selection import Selection
    from serving.models.requests import ExportRequest
    from serving.query.question import Found
    from serving.service import Plan, SearchService

_BLOCK_BYTES = 1 << 16  # of a selection's bitmap, looked through at one time
_PIECE_BYTES = 64 << 10  # one thread's turn, and what a slow client is waited for


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that is made as its pieces are asked for.  ``pieces`` is to be closed in the end."""

    name: str
    media_type: str
    pieces: Generator[bytes, None, None]


def check(asked: ExportRequest, max_results: int) -> None:
    """TooLargeError for more rows than this server gives."""
    count, of = asked.limit, "limit"
    if asked.tile_ids is not None and len(asked.tile_ids) > max_results:
        count, of = len(asked.tile_ids), "tile_ids"
    if count > max_results:
        raise TooLargeError(
            f"{of}: {count:,} rows, but this server gives {max_results:,} in one file: export "
            "in several, by filters that share nothing"
        )


def exported(service: SearchService, asked: ExportRequest) -> ExportedFile:
    """The file; its first piece has been made, so that what cannot be meant has been said.

    Raises what a search raises: UnknownTileError, QueryError, ImageRefusedError and so on.
    """
    engine, kind = service.engine, KINDS[asked.format]
    what, ranked = _ranked(service, asked)
    rows = parts(engine, ranked, asked.labels or {}, kind.has_vectors)
    pieces = evened(written(asked.format, rows, engine, service.pictures), _PIECE_BYTES)
    archive = str(service.settings.root).rstrip("/").rsplit("/", 1)[-1]
    name = file_name(archive, engine.name, what, asked.format)
    return ExportedFile(name, kind.media_type, _begun(pieces))


def _begun(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """The same pieces, the first of them made now."""
    iterator = iter(pieces)
    first = next(iterator, b"")

    def all_of_them() -> Generator[bytes, None, None]:
        yield first
        yield from iterator

    return all_of_them()


def _ranked(service: SearchService, asked: ExportRequest) -> tuple[str, Iterable[RankedRows]]:
    """What is exported, in a word, and its rows in order."""
    if asked.tile_ids is not None:
        return "tiles", [RankedRows(_named(service.engine, asked.tile_ids))]
    if asked.search is not None:
        return "search", of_hits(_found(service.engine, service.plan(asked.search), asked.limit))
    selection = service.select(asked.filter)
    if selection is None:
        raise QueryError("nothing to export: give one of search, tile_ids and filter")
    return "filter", _selected(selection, asked.limit)


def _named(engine: SearchEngine, tile_ids: Sequence[str]) -> Ids:
    """The row of each id once, in the order of the ids; UnknownTileError for one that has none."""
    return np.asarray([engine.row_of(tile_id) for tile_id in dict.fromkeys(tile_ids)], np.int64)


def _selected(selection: Selection, limit: int) -> Iterator[RankedRows]:
    """The first rows selected, ascending; memory is that of a block, however many there are."""
    for start in range(0, len(selection.bits), _BLOCK_BYTES):
        rows = ids_of(selection.bits[start : start + _BLOCK_BYTES])[:limit] + 8 * start
        yield RankedRows(rows)
        limit -= len(rows)
        if not limit:
            return


def _found(engine: SearchEngine, plan: Plan, limit: int) -> Iterator[Found]:
    """The hits of the search, best first, as its pages have them."""
    return answering.everything(
        engine, plan.question, plan.effort, plan.within, plan.shape, limit, plan.min_score
    )
