"""Live recall: what is sampled and what the mean is of, against exact search."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from serving.engine.search import SearchEngine
from serving.evaluation import recall
from serving.operations.live import Live
from serving.operations.recall import KEPT, RecallSampler
from serving.operations.together import PlainSearch
from serving.query.question import Effort, Example, Found, Question
from tests.serving.archive import build_archive, clustered
from tests.serving.server import wait_for


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recall")
    archive = build_archive(folder / "root", clustered(400, 16), factory="IVF16,PQ4x4", nprobe=1)
    return SearchEngine.open(archive.root, folder / "cache")


@pytest.fixture
def live(engine):
    live = Live(lambda: None)
    live.swap(SimpleNamespace(engine=engine, close=lambda: None))
    return live


def asked(live: Live, vector, effort: Effort | None = None) -> PlainSearch:
    question = Question((Example("vector", vector),))
    return PlainSearch(live.service, lambda: question, 10, lambda found: None, effort or Effort())


def offer(sampler: RecallSampler, live: Live, vector, distances, effort=None) -> None:
    rows = np.arange(len(distances))
    found = Found(rows, distances, 1 - distances, ((),) * len(rows), False)
    sampler.offer(asked(live, vector, effort), found)


def sampled(sampler: RecallSampler) -> None:
    sample, sampler._recent, sampler._wanted = sampler._recent, None, True
    if sample is not None:
        sampler._compare(sample)


def test_the_mean_is_of_the_answers_that_were_given(engine, live):
    sampler = RecallSampler(live, 30)
    expected = []
    vectors = clustered(30, 16, seed=5)
    for vector in vectors:
        distances, _ = engine.search(vector[None], 10, nprobe=1)
        exact, _ = engine.search(vector[None], 10, exact=True)
        offer(sampler, live, vector, distances[0])
        sampled(sampler)
        expected.append(recall(distances, exact))
    figures = sampler.figures(engine.name)
    assert figures.samples == 30
    assert figures.recall_at_10 == pytest.approx(np.mean(expected))
    assert figures.recall_at_10 < 1  # one list of sixteen does not hold them all
    assert sampler.figures("another") is None


def test_one_answer_is_kept_until_it_was_compared_and_only_usual_ones(engine, live):
    sampler = RecallSampler(live, 30)
    vector = clustered(1, 16)[0]
    distances = engine.search(vector[None], 10, exact=True)[0][0]
    offer(sampler, live, vector, distances, Effort(nprobe=1))
    offer(sampler, live, vector, distances, Effort(exact=True))
    assert sampler._recent is None
    offer(sampler, live, vector, distances)
    kept = sampler._recent
    offer(sampler, live, vector, distances)
    assert sampler._recent is kept
    sampled(sampler)
    assert sampler.figures(engine.name).recall_at_10 == 1


def test_answers_of_a_generation_that_is_gone_count_no_more(engine, live):
    sampler = RecallSampler(live, 30)
    vector = clustered(1, 16)[0]
    offer(sampler, live, vector, engine.search(vector[None], 10)[0][0])
    live.swap(None)
    sampled(sampler)
    assert sampler.figures(engine.name) is None
    assert RecallSampler(live, 0)._wanted is False


def test_it_runs_by_itself_and_forgets_the_old(engine, live):
    sampler = RecallSampler(live, 0.01)
    sampler.start()
    vector = clustered(1, 16)[0]
    distances = engine.search(vector[None], 10, exact=True)[0][0]

    def enough() -> bool:
        offer(sampler, live, vector, distances)
        figures = sampler.figures(engine.name)
        return figures is not None and figures.samples >= 5

    wait_for(enough, "nothing was compared")
    sampler.stop()
    assert sampler._figures.maxlen == KEPT
