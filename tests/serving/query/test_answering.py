"""Pages, depths and strategies against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.errors import QueryError
from serving.query import answering
from serving.query.answering import answer, answer_plain, everything
from serving.query.examples import similarity
from serving.query.question import Effort, Page, Question, Shape
from tests.serving.query.brute import (
    NOTHING,
    BruteEngine,
    by_definition,
    by_tile,
    by_vector,
    pages,
    rows_of,
    selection,
    small_engine,
)

EXACT = Effort(exact=True)
ANY = Effort()


def same(found, other) -> None:
    np.testing.assert_array_equal(found.rows, other.rows)
    np.testing.assert_array_equal(found.distances, other.distances)
    np.testing.assert_array_equal(found.scores, other.scores)
    assert (found.folded, found.more) == (other.folded, other.more)


@st.composite
def searches(draw):
    """An engine that misses rows, a question of it, an effort, a selection or none."""
    metric = draw(st.sampled_from(["cosine", "euclidean"]))
    engine = small_engine(
        160,
        seed=draw(st.integers(0, 5)),
        metric=metric,
        missing=draw(st.sampled_from([0.0, 0.2, 0.6])),
        tombstones=draw(st.sampled_from([(), (0, 3, 50)])),
    )
    # Row 7 is the first example, and others than 0, 3 and 50 follow: none was removed.
    positive = [by_tile(engine, 7)]
    positive += [by_tile(engine, r, 0.7) for r in draw(st.sampled_from([[], [20], [20, 99]]))]
    negative = [by_tile(engine, r, 0.4) for r in draw(st.sampled_from([[], [31]]))]
    question = Question(
        tuple(positive),
        tuple(negative),
        draw(st.sampled_from(["mean", "best"])),
        0.5,
        draw(st.booleans()),
    )
    effort = Effort(draw(st.sampled_from([None, 1, 3])), draw(st.booleans()))
    alive = [row for row in range(160) if row not in engine.generation.tombstones]
    rows = draw(st.sampled_from([None, alive[::2], alive[3:20], [7], []]))
    return engine, question, effort, None if rows is None else selection(160, rows)


@settings(max_examples=150, deadline=None)
@given(searches(), st.integers(1, 60), st.sampled_from([None, 0.5, 0.9]))
def test_pages_are_one_order_without_gaps_or_repeats(search, k, min_score):
    engine, question, effort, within = search
    found = pages(engine, question, k, effort, within, min_score=min_score)
    rows = rows_of(found)
    assert len(set(rows)) == len(rows)
    assert all(len(page.rows) == k for page in found[:-1])
    assert len(found) == 1 or len(found[-1].rows)  # more was right

    deep = answer(engine, question, effort, within, NOTHING, Page(1000, 0, k, min_score))
    np.testing.assert_array_equal(deep.rows, rows)
    assert not deep.more
    scores = np.concatenate([page.scores for page in found])
    assert min_score is None or (scores >= np.float32(min_score)).all()
    if within is not None:
        assert within.holds(np.array(rows, np.int64)).all()
    if not question.include_examples:
        assert not {e.row for e in (*question.positive, *question.negative)} & set(rows)
    if min_score is None and effort.nprobe is None:  # whatever can be found is found
        able = np.arange(160) if within is None else within.ids()
        able = set(able.tolist()) - set(engine.generation.tombstones)
        if not question.include_examples:
            able -= {e.row for e in (*question.positive, *question.negative)}
        assert set(rows) == able


@settings(max_examples=80, deadline=None)
@given(searches(), st.integers(1, 60), st.integers(1, 200))
def test_an_export_has_the_order_of_pages_of_ten(search, limit, portion):
    engine, question, effort, within = search
    wanted = answer(engine, question, effort, within, NOTHING, Page(limit, 0, 10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answering, "_PORTION", portion)
        parts = list(everything(engine, question, effort, within, NOTHING, limit))
    assert rows_of(parts) == wanted.rows.tolist()
    assert all(0 < len(part.rows) <= portion for part in parts)
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [wanted.more] * bool(parts)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("include", [True, False])
def test_mean_order_is_brute_force(metric, include):
    engine = small_engine(metric=metric)
    one, two, other = by_tile(engine, 3), by_vector(np.ones(8), 2.5), by_tile(engine, 40)
    question = Question((one, two), (other,), "mean", 0.25, include)
    found = answer(engine, question, EXACT, None, NOTHING, Page(30))

    def unit(vector):
        return vector / np.linalg.norm(vector) if metric == "cosine" else vector

    mean = (unit(one.vector) + 2.5 * unit(two.vector)) / 3.5 - 0.25 * unit(other.vector)
    distances = by_definition(mean[None], engine.vectors(np.arange(300)), metric)[0]
    order = [row for row in np.argsort(distances) if include or row not in (3, 40)][:30]
    assert found.rows.tolist() == order
    np.testing.assert_allclose(found.distances, distances[order], rtol=1e-5, atol=1e-6)
    wanted = 1 - distances[order] if metric == "cosine" else 1 / (1 + distances[order])
    np.testing.assert_allclose(found.scores, wanted, rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_best_with_exact_is_the_brute_force_order(data):
    metric = data.draw(st.sampled_from(["cosine", "euclidean"]))
    engine = small_engine(400, metric=metric, missing=0.5, seed=data.draw(st.integers(0, 9)))
    weights = st.floats(0.05, 3)
    rows = data.draw(st.lists(st.integers(0, 399), min_size=2, max_size=7, unique=True))
    cut = data.draw(st.integers(1, len(rows)))
    question = Question(
        tuple(by_tile(engine, row, data.draw(weights)) for row in rows[:cut]),
        tuple(by_tile(engine, row, data.draw(weights)) for row in rows[cut:]),
        "best",
        include_examples=data.draw(st.booleans()),
    )
    within = data.draw(st.sampled_from([None, selection(400, range(0, 400, 3))]))
    k = data.draw(st.sampled_from([1, 5, 40, 390]))
    found = answer(engine, question, EXACT, within, NOTHING, Page(k))

    examples = [*question.positive, *question.negative]
    scores = similarity(
        by_definition(np.stack([e.vector for e in examples]), engine._vectors, metric), metric
    ) * np.array([[e.weight / max(e.weight for e in question.positive)] for e in examples])
    p, n = scores[:cut].max(axis=0), scores[cut:].max(axis=0, initial=-np.inf)
    p = p - np.maximum(0, n - p)
    order = np.lexsort((np.arange(400), -p.astype(np.float32)))
    allowed = np.ones(400, bool) if within is None else within.holds(np.arange(400))
    if question.include_examples and cut == 1 and allowed[rows[0]]:
        order = np.concatenate([[rows[0]], order[order != rows[0]]])
    if not question.include_examples:
        allowed[rows] = False
    order = order[allowed[order]][:k]
    np.testing.assert_allclose(found.scores, p[order], rtol=2e-6, atol=2e-6)
    swapped = found.rows != order  # scores that differ by rounding alone may change places
    np.testing.assert_allclose(p[found.rows[swapped]], p[order[swapped]], rtol=2e-6, atol=2e-6)
    assert found.more == (allowed.sum() > k)


def test_best_reads_no_further_than_the_proof_needs():
    engine = small_engine(300)
    question = Question((by_tile(engine, 1), by_tile(engine, 2)), (), "best")
    answer(engine, question, EXACT, None, NOTHING, Page(10))
    assert engine.asked == [11]


def test_best_goes_deeper_where_negatives_push_down_what_was_near():
    rng = np.random.default_rng(1)
    near = rng.normal(size=(200, 4)) * 0.01 + [1, 0, 0, 0]
    far = rng.normal(size=(800, 4)) * 0.3 + [0.6, 0.8, 0, 0]
    engine = BruteEngine(np.concatenate([near, far]).astype(np.float32))
    question = Question((by_tile(engine, 0),), (by_vector(np.array([1, -0.1, 0, 0]), 1.5),), "best")
    answer(engine, question, EXACT, None, NOTHING, Page(10))
    assert engine.asked[:3] == [11, 44, 176]


def test_a_plain_first_page_costs_one_search_of_k():
    engine = small_engine(missing=0.3)
    for question in (Question((by_tile(engine, 9),)), Question((by_vector(np.ones(8)),))):
        engine.asked.clear()
        found = answer(engine, question, ANY, None, NOTHING, Page(10))
        assert engine.asked == [10] and found.more


def test_a_shaped_or_bounded_page_costs_one_search_where_that_suffices():
    engine = small_engine()
    question = Question((by_tile(engine, 9),))
    found = answer(engine, question, ANY, None, NOTHING, Page(10, min_score=-1.0))
    assert engine.asked == [11] and found.more
    engine.asked.clear()
    found = answer(engine, question, ANY, None, Shape(duplicate_distance=0), Page(10))
    assert engine.asked == [41] and found.more


def test_min_score_finds_them_all_and_no_others():
    engine = small_engine(2000, missing=0.4)
    question = Question((by_tile(engine, 5),))
    distances = by_definition(question.positive[0].vector[None], engine._vectors, "cosine")[0]
    wanted = np.flatnonzero(1 - distances >= 0.8)
    assert 20 < len(wanted) < 500
    found = pages(engine, question, 50, EXACT, min_score=0.8)
    assert sorted(rows_of(found)) == wanted.tolist()
    parts = everything(engine, question, EXACT, None, NOTHING, 10_000, 0.8)
    assert sorted(rows_of(list(parts))) == wanted.tolist()


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_many_plain_questions_are_answered_as_one_by_one(data):
    metric = data.draw(st.sampled_from(["cosine", "euclidean"]))
    engine = small_engine(120, metric=metric, missing=data.draw(st.sampled_from([0.0, 0.5])))
    rows = data.draw(st.lists(st.integers(0, 119), min_size=1, max_size=5))
    questions = [Question((by_tile(engine, row),)) for row in rows]
    questions.append(Question((by_vector(np.ones(8)),), strategy="best"))
    effort = Effort(data.draw(st.sampled_from([None, 1, 5])), data.draw(st.booleans()))
    chosen = data.draw(st.sampled_from([None, range(60), [], [3]]))
    within = None if chosen is None else selection(120, chosen)
    k = data.draw(st.sampled_from([1, 7, 12, 60, 120, 500]))
    engine.asked.clear()
    found = answer_plain(engine, questions, k, effort, within)
    assert len(engine.asked) == (within is None or within.count > 0)
    for question, one in zip(questions, found, strict=True):
        same(one, answer(engine, question, effort, within, NOTHING, Page(k)))


def test_a_tile_is_its_own_first_hit_even_when_the_index_misses_it():
    engine = BruteEngine(np.ones((50, 4), np.float32))  # all equal: 49 may stand before it
    question = Question((by_tile(engine, 33),))
    for found in (
        answer(engine, question, ANY, None, NOTHING, Page(10)),
        answer_plain(engine, [question], 10, ANY)[0],
    ):
        assert found.rows.tolist() == [33, *range(9)] and found.distances[0] < 1e-6
    assert rows_of(pages(engine, question, 10)) == [33, *range(33), *range(34, 50)]


def test_a_lone_positive_tile_stands_first_before_what_negatives_leave():
    engine = small_engine()
    for strategy in ("mean", "best"):
        question = Question((by_tile(engine, 9),), (by_tile(engine, 21),), strategy)
        assert answer(engine, question, ANY, None, NOTHING, Page(5)).rows[0] == 9


def test_a_tile_that_the_filter_leaves_out_is_no_hit():
    engine = small_engine()
    within = selection(300, range(0, 300, 2))
    question = Question((by_tile(engine, 9),))
    found = answer(engine, question, ANY, within, NOTHING, Page(200))
    assert set(found.rows.tolist()) == set(range(0, 300, 2)) and not found.more
    assert 9 not in answer_plain(engine, [question], 10, ANY, within)[0].rows


def test_a_page_beyond_the_end_is_empty():
    engine = small_engine(30)
    found = answer(engine, Question((by_tile(engine, 9),)), ANY, None, NOTHING, Page(10, 100, 10))
    assert len(found.rows) == len(found.folded) == 0 and not found.more


def test_an_archive_without_rows_gives_nothing():
    engine = BruteEngine(np.ones((2, 4), np.float32), tombstones=(0, 1))
    question = Question((by_vector(np.ones(4)),))
    for found in (
        answer(engine, question, ANY, None, NOTHING, Page(10)),
        answer_plain(engine, [question], 10, ANY)[0],
    ):
        assert len(found.rows) == 0 and not found.more
    assert list(everything(engine, question, ANY, None, NOTHING, 10)) == []


def test_an_export_fails_before_it_begins():
    engine = small_engine()
    there, back = by_vector(np.ones(8)), by_vector(-np.ones(8))
    with pytest.raises(QueryError, match="cancel"):
        everything(engine, Question((there, back)), ANY, None, NOTHING, 10)


def test_only_plain_questions_are_answered_together():
    engine = small_engine()
    with pytest.raises(ValueError, match="plain"):
        answer_plain(engine, [Question((by_tile(engine, 1),), (by_tile(engine, 2),))], 5, ANY)
