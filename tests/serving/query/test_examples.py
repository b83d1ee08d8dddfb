"""Examples joined, against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizer.errors import QueryError
from serving.query.examples import best_scores, mean_of, similarity, stacked
from serving.query.question import Question
from tests.serving.query.brute import by_definition, by_vector

WEIGHTS = st.floats(0.01, 100)


@st.composite
def questions(draw, strategy="best"):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    positive = draw(st.lists(WEIGHTS, min_size=1, max_size=4))
    negative = draw(st.lists(WEIGHTS, max_size=4))

    def examples(weights):
        return tuple(by_vector(rng.normal(size=6) * rng.uniform(0.5, 3), w) for w in weights)

    return Question(
        examples(positive), examples(negative), strategy, draw(st.floats(0, 3, width=16))
    )


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@given(question=questions("mean"))
def test_the_mean_is_rocchio(metric, question):
    def mean(examples):
        total, weights = np.zeros(6), 0.0
        for example in examples:
            vector = example.vector.astype(np.float64)
            if metric == "cosine":
                vector = vector / np.sqrt((vector**2).sum())
            total, weights = total + example.weight * vector, weights + example.weight
        return total / weights

    wanted = mean(question.positive)
    if question.negative:
        wanted = wanted - question.negative_weight * mean(question.negative)
    elif len(question.positive) == 1:
        wanted = question.positive[0].vector
    np.testing.assert_allclose(mean_of(question, metric), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@given(question=questions(), seed=st.integers(0, 1000))
def test_the_best_is_the_formula(metric, question, seed):
    rows = np.random.default_rng(seed).normal(size=(5, 6)).astype(np.float32)
    every = stacked([*question.positive, *question.negative])
    distances = by_definition(every, rows, metric)
    nearest, scores = best_scores(distances, question, metric)
    greatest = max(example.weight for example in question.positive)

    def alike(example, row):
        distance = float(by_definition(example.vector[None], row[None], metric)[0, 0])
        score = 1 - distance if metric == "cosine" else 1 / (1 + distance)
        return distance, example.weight / greatest * score

    for i, row in enumerate(rows):
        p = max(alike(example, row)[1] for example in question.positive)
        n = max((alike(example, row)[1] for example in question.negative), default=-np.inf)
        assert scores[i] == pytest.approx(p - max(0, n - p), rel=1e-4, abs=1e-4)
        assert nearest[i] == pytest.approx(
            min(alike(example, row)[0] for example in question.positive), rel=1e-5, abs=1e-6
        )


def test_opposed_examples_have_no_mean_under_cosine_but_one_under_euclidean_distance():
    there, back = by_vector(np.array([1.0, 0, 0])), by_vector(np.array([-2.0, 0, 0]))
    with pytest.raises(QueryError, match="cancel each other out"):
        mean_of(Question((there, back)), "cosine")
    np.testing.assert_allclose(mean_of(Question((there, back)), "euclidean"), [-0.5, 0, 0])
    with pytest.raises(QueryError, match="cancel each other out"):
        mean_of(Question((there,), (there,), negative_weight=1.0), "cosine")


@pytest.mark.parametrize("side", ["positive", "negative"])
def test_an_example_without_direction_is_named(side):
    good, zero = by_vector(np.ones(3)), by_vector(np.zeros(3))
    question = Question((good, zero)) if side == "positive" else Question((good,), (good, zero))
    with pytest.raises(QueryError, match=rf"{side}\[1\]"):
        mean_of(question, "cosine")


def test_examples_of_different_lengths_are_refused():
    question = Question((by_vector(np.ones(3)), by_vector(np.ones(4))))
    with pytest.raises(QueryError, match=r"\[3, 4\]"):
        mean_of(question, "cosine")


def test_similarity_is_1_for_the_same_picture():
    none = np.zeros(1, np.float32)
    assert similarity(none, "cosine")[0] == similarity(none, "euclidean")[0] == 1
