"""The same logic over a real index on disk, and against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from featurizer.schema import Row
from featurizer.tiles import Window
from serving.engine.filters import Filter
from serving.engine.search import SearchEngine
from serving.query.answering import answer, answer_plain, everything
from serving.query.question import Effort, Page, Question, Shape
from tests.serving.archive import build_archive, clustered
from tests.serving.query.brute import BruteEngine, Place, by_tile, by_vector, pages, rows_of

COUNT, DIM, REMOVED = 1500, 16, (0, 700, 701)
EXACT = Effort(exact=True)


def tiles() -> list[Row]:
    """Five scenes of 300 windows, half of each shared with the next one; two labels."""
    return [
        Row(
            uri=f"/scene{i // 300}.tif",
            etag="e",
            window=Window(i % 300 * 32, 0, 64, 64),
            label="even" if i % 2 == 0 else "odd",
        )
        for i in range(COUNT)
    ]


@pytest.fixture(scope="module", params=["cosine", "euclidean"])
def engines(request, tmp_path_factory):
    """A real engine, and the oracle of the same vectors."""
    metric = request.param
    vectors = clustered(COUNT, DIM) * (1 if metric == "cosine" else 4)
    archive = build_archive(
        tmp_path_factory.mktemp("archive"),
        vectors,
        tiles(),
        counts=[500, 0, 1000],
        metric=metric,
        tombstones=REMOVED,
        nprobe=4,
    )
    places = [Place(row.uri, row.window) for row in tiles()]
    oracle = BruteEngine(vectors, metric, tombstones=REMOVED, places=places)
    real = SearchEngine.open(archive.root, tmp_path_factory.mktemp("cache"))
    yield real, oracle
    real.close()


def questions(engine):
    one, two, three = by_tile(engine, 9), by_tile(engine, 22, 0.5), by_vector(np.ones(DIM), 0.8)
    for strategy in ("mean", "best"):
        yield Question((one,), strategy=strategy)
        yield Question((one,), (two,), strategy, include_examples=False)
        yield Question((one, two, three), (by_tile(engine, 40, 0.3),), strategy)


def test_exact_pages_are_those_of_brute_force(engines):
    real, oracle = engines
    within = real.select(Filter(labels=("even",)))
    for question in questions(oracle):
        for chosen in (None, within):
            found = rows_of(pages(real, question, 400, EXACT, chosen))
            wanted = pages(oracle, question, 400, EXACT, chosen)
            scores = dict(
                zip(rows_of(wanted), np.concatenate([p.scores for p in wanted]), strict=True)
            )
            assert set(found) == set(scores)  # and the order is the same but for rounding
            off = [scores[row] for row in found]
            np.testing.assert_allclose(off, list(scores.values()), rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("effort", [Effort(), Effort(nprobe=2)])
def test_index_pages_are_one_order(engines, effort):
    real, oracle = engines
    for question in questions(oracle):
        found = pages(real, question, 70, effort)
        rows = rows_of(found)
        assert len(set(rows)) == len(rows) and not set(rows) & set(REMOVED)
        deep = answer(real, question, effort, None, Shape(), Page(5000, 0, 70))
        assert deep.rows.tolist() == rows
        if effort.nprobe is None:
            without = 0 if question.include_examples else 2
            assert len(rows) == COUNT - len(REMOVED) - without


def test_plain_questions_together_are_as_alone(engines):
    real, oracle = engines
    many = [Question((by_tile(oracle, row),)) for row in range(1, 33)]
    for question, found in zip(many, answer_plain(real, many, 10, Effort()), strict=True):
        alone = answer(real, question, Effort(), None, Shape(), Page(10))
        assert found.rows[0] == question.positive[0].row
        np.testing.assert_array_equal(found.rows, alone.rows)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)
        assert found.more and alone.more


def test_shapes_of_real_tiles(engines):
    real, oracle = engines
    shape = Shape(max_overlap=0.4, duplicate_distance=0.001, diversity=0.3)
    question = Question((by_tile(oracle, 9),))
    parts = list(everything(real, question, EXACT, None, shape, 2000))
    hits = rows_of(parts)
    scenes = [(row // 300, row % 300) for row in hits]
    assert len(set(scenes)) == len(hits) > 300
    assert not any((scene, column + 1) in set(scenes) for scene, column in scenes)
    assert hits[0] == 9 and not parts[-1].more
    wanted = list(everything(oracle, question, EXACT, None, shape, 2000))
    assert set(hits) == set(rows_of(wanted))
