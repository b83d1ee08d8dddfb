"""Answers: pages of a search, many plain searches at once, and everything for an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from serving.query.engine_port import Engine, held, matching
from serving.query.examples import similarity, stacked
from serving.query.question import Effort, Example, Found, Page, Question, Shape
from serving.query.ranked import NOTHING, Part, Ranked, joined
from serving.query.shaping import Folding, Pool, diverse, pool_size
from serving.query.tiers import Depths, ranked_parts

if TYPE_CHECKING:
    from serving.engine.selection import Selection

READ_AT_MOST = 100_000  # rows of the order that shaping looks through for more hits
EXPORT_FIRST_K = 10  # the first page of a client that does not say k: an export has its order
_PORTION = 1000  # rows of an export at a time
_SPARE = 4


@dataclass(frozen=True, slots=True)
class _Order:
    """The shaped order of a search, read as far as it is asked for."""

    parts: Iterator[Part]
    folded_into: Callable[[int], tuple[int, ...]] | None = None

    def found(self, ranked: Ranked, more: bool) -> Found:
        nothing: tuple[tuple[int, ...], ...] = ((),) * len(ranked)
        into = self.folded_into
        folded = nothing if into is None else tuple(map(into, ranked.rows.tolist()))
        return Found(ranked.rows, ranked.distances, ranked.scores, folded, more)


def answer(
    engine: Engine,
    question: Question,
    effort: Effort,
    within: Selection | None,
    shape: Shape,
    page: Page,
) -> Found:
    """One page of the search's order; empty where the order ends before it.

    A page computed anywhere, at any time, of the same generation is the same, and no row is on
    two pages.  A first page without shape and ``min_score`` costs one search.  Rows that are
    folded into a hit are those that had to be looked at for the page.  Shaping looks through
    ``READ_AT_MOST`` rows, and the order ends there.  QueryError for
    examples that cancel out or do not fit the archive.
    """
    end = page.offset + page.k
    order = _order(engine, question, effort, within, shape, page)
    taken: list[Ranked] = []
    count, more = 0, False
    for part in order.parts:
        taken.append(part.ranked)
        count += len(part.ranked)
        more = count > end or (count == end and part.more)
        if more:
            break
    return order.found(joined(taken).take(slice(page.offset, end)), more)


def everything(
    engine: Engine,
    question: Question,
    effort: Effort,
    within: Selection | None,
    shape: Shape,
    limit: int,
    min_score: float | None = None,
) -> Iterator[Found]:
    """The first ``limit`` rows, 1000 or fewer at a time, in the order of pages of 10.

    The first search is done, and errors come, before this returns.  ``more`` of the last part says
    whether rows beyond ``limit`` were left out.  What is folded into a hit is what had been looked
    at by the time its part was given out.
    """
    page = Page(limit, 0, EXPORT_FIRST_K, min_score)
    order = _order(engine, question, effort, within, shape, page)
    begun = list(islice(order.parts, 1))
    return _portioned(replace(order, parts=chain(begun, order.parts)), limit)


def _portioned(order: _Order, left: int) -> Iterator[Found]:
    waiting: Ranked | None = None
    for ranked, certain in _portions(order.parts):
        if waiting is not None:
            yield order.found(waiting, True)
        if not left:
            return
        waiting = ranked.take(slice(0, left))
        left -= len(waiting)
        if not left and (certain or len(ranked) > len(waiting)):
            yield order.found(waiting, True)
            return
    if waiting is not None:
        yield order.found(waiting, False)


def _portions(parts: Iterator[Part]) -> Iterator[tuple[Ranked, bool]]:
    """Pieces of the parts, none empty, and whether it is certain that others come after each."""
    for part in parts:
        for first in range(0, len(part.ranked), _PORTION):
            last = first + _PORTION >= len(part.ranked)
            yield part.ranked.take(slice(first, first + _PORTION)), part.more or not last


def _order(
    engine: Engine,
    question: Question,
    effort: Effort,
    within: Selection | None,
    shape: Shape,
    page: Page,
) -> _Order:
    first_k = page.first_k or page.k
    if shape.is_plain:
        depths = Depths(first_k, peek=_peeks(effort) or page.min_score is not None)
        return _Order(ranked_parts(engine, question, effort, within, depths, page.min_score))
    pool = Pool(pool_size(first_k), shape.diversity, question.own_row) if shape.diversity else None
    # Some rows will be folded: one search to a greater depth is less than two.
    depths = Depths(
        max(pool.size if pool else 0, _SPARE * first_k), peek=True, deepest=READ_AT_MOST
    )
    parts = ranked_parts(engine, question, effort, within, depths, page.min_score)
    folding = Folding(engine, shape)
    parts = folding.hits_of(parts)
    if pool is not None:
        parts = diverse(parts, engine, pool)
    return _Order(parts, folding.folded_into)


def _peeks(effort: Effort) -> bool:
    """Whether a search may end before all that match: only one more row tells that there is one."""
    return effort.nprobe is not None


def answer_plain(
    engine: Engine,
    questions: Sequence[Question],
    k: int,
    effort: Effort,
    within: Selection | None = None,
) -> list[Found]:
    """The first page of k of each question, by one search for all.

    The same as ``answer`` of each, without shape and ``min_score``; ValueError for a question that
    is not plain.
    """
    if not questions or not all(question.is_plain for question in questions):
        raise ValueError("give one plain question or more")
    total = matching(engine, within)
    if not total:
        return [Found(NOTHING.rows, NOTHING.distances, NOTHING.scores, (), False)] * len(questions)
    examples = [question.positive[0] for question in questions]
    asked = min(k + _peeks(effort), total)
    queries = stacked(examples)
    distances, rows = engine.search(queries, asked, effort.nprobe, effort.exact, within)
    scores = similarity(distances, engine.generation.featurizer.metric)
    counts = np.count_nonzero(rows >= 0, axis=1).tolist()
    first = rows[:, 0].tolist()
    unfolded = ((),) * k
    answers = []
    for i, (example, count) in enumerate(zip(examples, counts, strict=True)):
        ranked = Ranked(rows[i, :count], distances[i, :count], scores[i, :count])
        if example.row is not None and example.row != first[i]:
            ranked = _own_first(engine, ranked, example, within)
        size = len(ranked.rows)
        more = size > k or (asked < total and count == asked and size < total)
        answers.append(
            Found(
                ranked.rows[:k],
                ranked.distances[:k],
                ranked.scores[:k],
                unfolded[:size],
                more,
            )
        )
    return answers


def _own_first(
    engine: Engine, ranked: Ranked, example: Example, within: Selection | None
) -> Ranked:
    """The rows with the example's own before all others, where it can be found at all."""
    assert example.row is not None
    own = np.array([example.row], np.int64)
    if not len(held(within, own)):
        return ranked
    others = ranked.rows != example.row
    if others.all():
        distances = engine.distances(example.vector[None], own)[0]
        first = Ranked(own, distances, similarity(distances, engine.generation.featurizer.metric))
    else:
        first = ranked.take(~others)
    return joined([first, ranked.take(others)])
