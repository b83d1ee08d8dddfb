"""The best rows for a question, to a depth: by the mean of the examples, or by the best of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from serving import deadline
from serving.engine.bases import Ids
from serving.query.engine_port import Engine, matching, matching_rows
from serving.query.examples import best_scores, mean_of, relative_weights, similarity, stacked
from serving.query.question import Effort, Floats, Question
from serving.query.ranked import NOTHING, Ranked, joined

if TYPE_CHECKING:
    from serving.engine.selection import Selection

_DEEPER = 4  # the depth of a search over that of the one before it, until the order is proven
# An approximate answer is not worth reading an archive for: the order stays that of the rows seen.
_DEEPEST = 64  # candidates over rows asked for
_MOST_CANDIDATES = 100_000  # of one example, where no more rows are asked for
_MEASURED_AT_ONCE = 32_768  # rows


class Source(Protocol):
    """Ranks the rows of an archive for one question."""

    def top(self, depth: int) -> Ranked:
        """The best ``depth`` rows; fewer when no others can be found."""

    def measure(self, rows: Ids) -> Ranked:
        """Exact figures of these rows, in their order."""


def source_of(
    engine: Engine, question: Question, effort: Effort, within: Selection | None
) -> Source:
    """The source for the question's strategy; QueryError for examples that cannot be joined.

    A lone positive example means the same either way, and the mean costs one search.
    """
    lone = len(question.positive) == 1 and not question.negative
    if question.strategy == "mean" or lone:
        return _Mean(engine, question, effort, within)
    return _Best(engine, question, effort, within)


class _Mean:
    def __init__(
        self, engine: Engine, question: Question, effort: Effort, within: Selection | None
    ) -> None:
        self._engine, self._effort, self._within = engine, effort, within
        self._metric = engine.generation.featurizer.metric
        self._query = mean_of(question, self._metric)[None]  # (1, d)

    def top(self, depth: int) -> Ranked:
        distances, rows = self._engine.search(
            self._query, depth, self._effort.nprobe, self._effort.exact, self._within
        )
        found = rows[0] >= 0
        return self._ranked(rows[0][found], distances[0][found])

    def measure(self, rows: Ids) -> Ranked:
        return self._ranked(rows, self._engine.distances(self._query, rows)[0])

    def _ranked(self, rows: Ids, distances: Floats) -> Ranked:
        return Ranked(rows, distances, similarity(distances, self._metric))


class _Best:
    """Candidates are the neighbours of each positive example, ordered by their exact scores.

    The search ends by the threshold of Fagin, Lotem and Naor (2003, "Optimal aggregation
    algorithms for middleware", the threshold algorithm): a row in none of the lists is at most as
    like a positive as the last of that one's list, and negatives only take away; so nothing unseen
    comes before a row whose score is above the greatest weighted last similarity.  Deviation: the
    lists are read by the depth, not in parallel a row at a time.
    """

    def __init__(
        self, engine: Engine, question: Question, effort: Effort, within: Selection | None
    ) -> None:
        self._engine, self._question = engine, question
        self._effort, self._within = effort, within
        self._metric = engine.generation.featurizer.metric
        self._examples = stacked([*question.positive, *question.negative])
        self._positives = self._examples[: len(question.positive)]

    def top(self, depth: int) -> Ranked:
        total = matching(self._engine, self._within)
        candidates = depth + 1  # with the last alone, its list could never be shown to be enough
        while candidates * len(self._positives) < total:
            deadline.check()
            distances, rows = self._engine.search(
                self._positives, candidates, self._effort.nprobe, self._effort.exact, self._within
            )
            ranked = self._best_of(np.unique(rows[rows >= 0]), depth)
            unseen = self._best_unseen(distances)
            proven = len(ranked) == depth and float(ranked.scores[-1]) > unseen
            if proven or np.isneginf(unseen):
                return ranked
            enough = candidates > min(_DEEPEST * depth, _MOST_CANDIDATES)
            if enough and not self._effort.exact:
                return ranked
            candidates *= _DEEPER
        return self._best_of(matching_rows(self._engine, self._within), depth)

    def _best_unseen(self, distances: Floats) -> float:
        """The score that no row outside the lists exceeds; minus infinity where none is outside.

        A list that ends early holds all that its search can reach.
        """
        last = distances[:, -1]  # inf: ended
        weights = relative_weights(self._question)[: len(last)]
        reach = np.where(np.isinf(last), -np.inf, weights * similarity(last, self._metric))
        return float(reach.max())

    def _best_of(self, rows: Ids, depth: int) -> Ranked:
        """The best ``depth`` of these rows in order of (score, id); 16 bytes of memory a row."""
        if not len(rows):
            return NOTHING
        ranked = joined(list(self._measured(rows)))
        if len(ranked) > depth:
            lowest = np.partition(ranked.scores, len(ranked) - depth)[len(ranked) - depth]
            ranked = ranked.take(ranked.scores >= lowest)
        return ranked.take(np.lexsort((ranked.rows, -ranked.scores))[:depth])

    def measure(self, rows: Ids) -> Ranked:
        return joined(list(self._measured(rows)))

    def _measured(self, rows: Ids) -> Iterator[Ranked]:
        for first in range(0, len(rows), _MEASURED_AT_ONCE):
            deadline.check()
            part = rows[first : first + _MEASURED_AT_ONCE]
            distances = self._engine.distances(self._examples, part)
            yield Ranked(part, *best_scores(distances, self._question, self._metric))
