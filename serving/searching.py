"""Searches answered: pages of one, several in one call, and plain ones among those of others.

Answers are the fields of ``SearchResponse``, for ``conversion.dumps``.  Everything here blocks and
belongs in a worker thread, but for ``check``, ``is_plain`` and ``plain``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from featurizer.errors import QueryError
from serving import deadline, paging
from serving.asking import Asked, check_limits
from serving.conversion import dumps, hit_dicts, query_dict, shape_of
from serving.failures import TooLargeError
from serving.operations.metrics import stage
from serving.operations.together import PlainSearch
from serving.query.question import Page

if TYPE_CHECKING:
    from serving.engine.search import SearchEngine, Tile
    from serving.models.requests import SearchRequest
    from serving.query.question import Effort, Found, Question, Vector
    from serving.service import SearchService
    from serving.settings import Settings

Json = dict[str, Any]


def check(searches: Sequence[Asked[SearchRequest]], settings: Settings) -> None:
    """QueryError or TooLargeError where one call asks for more than this server gives."""
    if len(searches) > settings.max_batch:
        raise TooLargeError(
            f"{len(searches)} searches, but this server takes {settings.max_batch} in one "
            "call: ask in several"
        )
    check_limits(searches, settings)
    most = max(asked.ask.k for asked in searches)
    if most > settings.max_k:
        raise QueryError(
            f"k is {most:,}, but this server gives at most {settings.max_k:,} hits a page: "
            "ask for the rest by `cursor`"
        )
    together = sum(asked.ask.k for asked in searches)
    if together > max(settings.max_results, settings.max_k):
        raise QueryError(
            f"{together:,} hits in one call, but this server gives at most "
            f"{settings.max_results:,}: ask for fewer, or in several calls"
        )


def search(
    service: SearchService,
    asked: Asked[SearchRequest],
    vectors: Sequence[Vector],
    started: float,
) -> Json:
    """One page of a search; ``vectors``: of its uploads.

    ``started`` (``time.perf_counter``) is when work on it began.
    """
    from serving.query.answering import answer

    plan = service.understood(asked, vectors)
    digest = paging.digest_of(asked.ask, plan.question, plan.effort)
    page = paging.page_of(asked.ask, digest, service.engine.name, service.settings)
    with stage("search"):
        found = answer(service.engine, plan.question, plan.effort, plan.within, plan.shape, page)
    answered = _answer(service, plan.question, found, page.offset, started)
    answered["matching"] = None if plan.within is None else plan.within.count
    answered["cursor"] = paging.next_cursor(
        page, found, digest, service.engine.name, service.settings.max_results
    )
    return answered


def _plain_answer(
    service: SearchService,
    request: SearchRequest,
    question: Question,
    found: Found,
    started: float,
) -> Json:
    """What ``search`` would say, of the rows that ``answer_plain`` found for this question."""
    answered = _answer(service, question, found, 0, started)
    answered["matching"] = answered["cursor"] = None
    if found.more:
        digest = paging.digest_of(request, question, service.effort(request))
        name, most = service.engine.name, service.settings.max_results
        page = Page(min(request.k, most))
        answered["cursor"] = paging.next_cursor(page, found, digest, name, most)
    return answered


def _answer(
    service: SearchService, question: Question, found: Found, offset: int, started: float
) -> Json:
    with stage("rows"):
        hits = hit_dicts(found, *_tiles_of(service.engine, found), offset)
    spec = service.featurizer.spec
    return {
        "generation": service.engine.name,
        "metric": spec.metric,
        "took_ms": round((time.perf_counter() - started) * 1000, 2),
        "query": query_dict(question, spec),
        "hits": hits,
    }


def _tiles_of(engine: SearchEngine, found: Found) -> tuple[list[Tile], list[list[str]]]:
    """The tiles of the rows found, and the ids of those that were folded into each."""
    beneath = [row for rows in found.folded for row in rows]
    if not beneath:
        return engine.tiles(found.rows), [[] for _ in found.rows]
    count = len(found.rows)
    tiles = engine.tiles([*found.rows.tolist(), *beneath])
    names = iter([tile.tile_id for tile in tiles[count:]])
    return tiles[:count], [[next(names) for _ in rows] for rows in found.folded]


# ---- several together ---------------------------------------------------------------------------


def search_all(
    service: SearchService,
    searches: Sequence[Asked[SearchRequest]],
    vectors: Sequence[Sequence[Vector]],
    started: float,
) -> list[Json]:
    """``search`` of each, plain ones of equal k and effort by one search of the index.

    Errors begin with the place of the search that they are of.
    """
    from serving.query.answering import answer_plain

    answers: dict[int, Json] = {}
    questions: dict[int, Question] = {}
    plain: dict[tuple[int, Effort], list[int]] = {}
    for place, asked in enumerate(searches):
        deadline.check()
        with _at(place):
            if is_plain(asked):
                key = min(asked.ask.k, service.settings.max_results), service.effort(asked.ask)
                questions[place] = service.question(asked, vectors[place])
                plain.setdefault(key, []).append(place)
            else:
                answers[place] = search(service, asked, vectors[place], started)
    for (k, effort), places in plain.items():
        deadline.check()
        with stage("search"):
            found = answer_plain(service.engine, [questions[i] for i in places], k, effort)
        for i, rows in zip(places, found, strict=True):
            answers[i] = _plain_answer(service, searches[i].ask, questions[i], rows, started)
    return [answers[place] for place in range(len(searches))]


@contextmanager
def _at(place: int) -> Iterator[None]:
    try:
        yield
    except QueryError as error:
        raise type(error)(f"searches[{place}]: {error}") from error


def plain(
    service: SearchService,
    asked: Asked[SearchRequest],
    vectors: Sequence[Vector],
    started: float,
) -> PlainSearch:
    """A search for which ``is_plain`` holds, to be answered with others; JSON comes of it."""
    task = _Plain(service, asked, vectors, started)
    k = min(asked.ask.k, service.settings.max_results)
    return PlainSearch(service, task.question, k, task.finish, service.effort(asked.ask))


class _Plain:
    """One search among those that are answered together."""

    __slots__ = ("_asked", "_question", "_service", "_started", "_vectors")

    def __init__(
        self,
        service: SearchService,
        asked: Asked[SearchRequest],
        vectors: Sequence[Vector],
        started: float,
    ) -> None:
        self._service, self._asked = service, asked
        self._vectors, self._started = vectors, started
        self._question: Question | None = None

    def question(self) -> Question:
        """Looked up where the search is computed, not on the event loop: it may have to read."""
        if self._question is None:
            self._question = self._service.question(self._asked, self._vectors)
        return self._question

    def finish(self, found: Found) -> bytes:
        request, question = self._asked.ask, self.question()
        answered = _plain_answer(self._service, request, question, found, self._started)
        with stage("write"):
            return dumps(answered)


def is_plain(asked: Asked[SearchRequest]) -> bool:
    """Whether the search is a first page of one vector's neighbours, which many can ask together.

    Without looking anything up: what the answer holds is the same either way.
    """
    ask = asked.ask
    return (
        len(asked.positive) == 1
        and not asked.negative
        and ask.include_examples
        and ask.filter is None
        and ask.cursor is None
        and ask.min_score is None
        and (ask.shape is None or shape_of(ask.shape).is_plain)
    )
