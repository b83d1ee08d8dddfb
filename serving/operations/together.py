"""What many requests ask for at the same time and one call answers: searches, embeddings."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving.operations import metrics
from serving.query.question import Effort, Found, Question

if TYPE_CHECKING:
    from featurizer.embed import Featurizer
    from serving.operations.recall import RecallSampler
    from serving.service import SearchService


@dataclass(frozen=True, slots=True, eq=False)
class PlainSearch:
    """The neighbours of one vector; ``finish`` makes the answer of them, in the same thread.

    ``question`` is called there too, since it may have to read files, and more than once.
    """

    service: SearchService
    question: Callable[[], Question]
    k: int
    finish: Callable[[Found], Any]
    effort: Effort = field(default_factory=Effort)

    @property
    def key(self) -> Hashable:
        """Searches of one generation, k and effort go together: alone each finds the same rows."""
        return id(self.service), self.k, self.effort


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Pictures to be embedded, those of one request.

    ``pixels`` gives each as ``featurizer.preprocess`` does; it may have to decode them first.
    """

    featurizer: Featurizer
    pixels: Callable[[], Sequence[Any]]


def answer_together(searches: list[PlainSearch], recall: RecallSampler) -> list[Any]:
    """What each search's ``finish`` made of its rows, or the exception that it raised."""
    answers: list[Any] = [None] * len(searches)
    questions: dict[int, Question] = {}
    for place, search in enumerate(searches):
        try:
            questions[place] = search.question()
        except Exception as error:  # noqa: BLE001 - the answer to this search alone
            answers[place] = error
    if questions:
        found = _found(searches[0], list(questions.values()))
        for place, rows in zip(questions, found, strict=True):
            answers[place] = _finished(searches[place], rows)
        first = next(iter(questions))
        recall.offer(searches[first], found[0])
    return answers


def _found(like: PlainSearch, questions: list[Question]) -> list[Found]:
    from serving.query.answering import answer_plain

    started = time.perf_counter()
    found = answer_plain(like.service.engine, questions, like.k, like.effort)
    metrics.observe_stage("search", time.perf_counter() - started)
    return found


def _finished(search: PlainSearch, found: Found) -> Any:
    try:
        return search.finish(found)
    except Exception as error:  # noqa: BLE001 - the answer to this search, not to its neighbours
        return error


def embed_together(requests: list[Pictures]) -> list[NDArray[np.float32] | Exception]:
    """(n, d) vectors of each request's n pictures, all out of one pass of the model.

    In place of vectors, what ``pixels`` raised.
    """
    answers: list[Any] = []
    for request in requests:
        try:
            answers.append(list(request.pixels()))
        except Exception as error:  # noqa: BLE001 - the answer to this request alone
            answers.append(error)
    started = time.perf_counter()
    ready = [pixels for pixels in answers if isinstance(pixels, list)]
    vectors = requests[0].featurizer.forward_together([one for pixels in ready for one in pixels])
    metrics.observe_stage("embed", time.perf_counter() - started)
    ends = np.cumsum([len(pixels) for pixels in ready])[:-1]
    parts = iter(np.split(vectors, ends))
    return [next(parts) if isinstance(answer, list) else answer for answer in answers]
