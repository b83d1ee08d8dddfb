"""One order for all pages of a search, read only as deep as a page needs.

A search to a greater depth may find rows that a shallower one missed, and would put them before
rows that have been shown.  So the depths are fixed (first, 10 first, 100 first, ...), and the order
is what the first search found, then what the second found in addition, and so on.  Whoever computes
a page, of whichever process, gets the same order: nothing is kept between pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from serving import deadline
from serving.engine.bases import Ids
from serving.query.engine_port import Engine, held, matching
from serving.query.question import Effort, Question
from serving.query.ranked import NOTHING, Part, Ranked, joined
from serving.query.sources import Source, source_of

if TYPE_CHECKING:
    from serving.engine.selection import Selection

_DEEPER = 10


@dataclass(frozen=True, slots=True)
class Depths:
    """How deep to search.

    ``first`` rows are wanted of the first search.  ``peek`` asks every search for one more, which
    tells whether there is another without a deeper search.  ``deepest`` rows are read at most.
    """

    first: int
    peek: bool = False
    deepest: int | None = None


def ranked_parts(
    engine: Engine,
    question: Question,
    effort: Effort,
    within: Selection | None,
    depths: Depths,
    min_score: float | None = None,
) -> Iterator[Part]:
    """The order of a search in parts, one a depth, each searched for when it is asked for.

    Ends when every row that can be found is in, when ``deepest`` is reached, or when a search's
    last row is below ``min_score``; rows below it are left out.
    """
    source = source_of(engine, question, effort, within)
    first, without = _placed(question, within)
    tiers = _tiers(source, first, without, matching(engine, within), depths)
    return _parts(tiers, min_score)


@dataclass(frozen=True, slots=True, eq=False)
class _Tier:
    """What one search gave in addition; ``lowest`` is the score of the last row that it found."""

    fresh: Ranked
    lowest: float
    more: bool


def _tiers(
    source: Source, first: int | None, without: Ids, total: int, depths: Depths
) -> Iterator[_Tier]:
    limit = total if depths.deepest is None else min(total, depths.deepest)
    left = total - len(without)
    seen = without  # sorted
    depth, asked, ended = depths.first, 0, False
    while left > 0 and asked < limit and not ended:
        asked = min(depth + depths.peek + len(without), limit)
        deadline.check()
        found = source.top(asked)
        fresh = found.take(_outside(found.rows, seen))
        if first is not None:
            fresh, first = _put_first(fresh, first, source), None
        seen = np.sort(np.concatenate([seen, fresh.rows]))
        left -= len(fresh)
        ended = len(found) < asked
        lowest = float(found.scores[-1]) if len(found) else -np.inf
        # Who asks for one more does so because a full answer does not promise that others follow.
        certain = left > 0 and asked < limit and not ended and not depths.peek
        yield _Tier(fresh, lowest, certain)
        depth *= _DEEPER


def _parts(tiers: Iterator[_Tier], min_score: float | None) -> Iterator[Part]:
    for tier in tiers:
        if min_score is None:
            yield Part(tier.fresh, tier.more)
            continue
        yield Part(tier.fresh.take(tier.fresh.scores >= np.float32(min_score)))
        if tier.lowest < np.float32(min_score):
            return


def _placed(question: Question, within: Selection | None) -> tuple[int | None, Ids]:
    """The row that is its own first hit, and the rows that may not be hits (sorted)."""
    if question.include_examples:
        own = question.own_row
        able = own is not None and len(held(within, np.array([own], np.int64)))
        return own if able else None, NOTHING.rows
    rows = [e.row for e in (*question.positive, *question.negative) if e.row is not None]
    return None, held(within, np.unique(np.array(rows, np.int64)))


def _outside(rows: Ids, seen: Ids) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(m,) which rows are not among ``seen``, which is sorted."""
    if not len(seen):
        return np.ones(len(rows), np.bool_)
    places = np.minimum(np.searchsorted(seen, rows), len(seen) - 1)
    return np.asarray(seen[places] != rows)


def _put_first(ranked: Ranked, row: int, source: Source) -> Ranked:
    """The rows with ``row`` before all others, be it that the index missed it."""
    own = ranked.rows == row
    first = ranked.take(own) if own.any() else source.measure(np.array([row], np.int64))
    return joined([first, ranked.take(~own)])
