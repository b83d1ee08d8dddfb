"""RankedRows rows with all that a file says of them, a bounded part at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from serving.engine.bases import Ids
from serving.engine.ranking import Floats

if TYPE_CHECKING:
    from serving.engine.search import SearchEngine, Tile
    from serving.query.question import Found

_PART_ROWS = 1_000  # about 1 MB of records


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of one export that follow each other; all fields are of equal length."""

    rows: Ids  # (m,)
    tiles: list[Tile]
    ranks: range  # 1 is the first row of the file
    scores: Floats | None = None  # (m,); None where nothing was searched
    distances: Floats | None = None  # (m,)
    vectors: Floats | None = None  # (m, d)


@dataclass(frozen=True, slots=True)
class RankedRows:
    """(m,) rows and, where they were searched for, their figures."""

    rows: Ids
    scores: Floats | None = None
    distances: Floats | None = None

    def cut(self, first: int, end: int) -> RankedRows:
        here = slice(first, end)
        return RankedRows(
            self.rows[here],
            None if self.scores is None else self.scores[here],
            None if self.distances is None else self.distances[here],
        )


def of_hits(found: Iterable[Found]) -> Iterator[RankedRows]:
    """The rows of a search's answers, in their order."""
    for page in found:
        yield RankedRows(page.rows, page.scores, page.distances)


def parts(
    engine: SearchEngine, ranked: Iterable[RankedRows], labels: Mapping[str, str], vectors: bool
) -> Iterator[Part]:
    """The rows as parts of 1,000 or fewer; memory is that of one part, whatever is ranked.

    ``labels`` (by tile id) stand in for the archive's; ``vectors`` says whether to read them.
    """
    rank = 1
    for piece in _cut(ranked):
        tiles = engine.tiles(piece.rows)
        if labels:
            tiles = [_labelled(tile, labels) for tile in tiles]
        yield Part(
            piece.rows,
            tiles,
            range(rank, rank + len(tiles)),
            piece.scores,
            piece.distances,
            engine.vectors(piece.rows) if vectors else None,
        )
        rank += len(tiles)


def _cut(ranked: Iterable[RankedRows]) -> Iterator[RankedRows]:
    for piece in ranked:
        edges = [*range(0, len(piece.rows), _PART_ROWS), len(piece.rows)]
        for first, end in itertools.pairwise(edges):
            yield piece.cut(first, end)


def _labelled(tile: Tile, labels: Mapping[str, str]) -> Tile:
    label = labels.get(tile.tile_id)
    return tile if label is None else replace(tile, label=label)
