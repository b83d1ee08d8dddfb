"""Retrieval figures against loops written from their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.training.ranking import average_precision, retrieval


def slow_average_precision(relevant: list[bool]) -> float:
    """The mean of the precision at each relevant rank."""
    precisions = []
    for rank, hit in enumerate(relevant, 1):
        if hit:
            precisions.append(sum(relevant[:rank]) / rank)
    return sum(precisions) / len(precisions)


@given(st.lists(st.booleans(), min_size=1, max_size=30).filter(any))
def test_average_precision_is_its_definition(relevant: list[bool]) -> None:
    fast = average_precision(torch.tensor([relevant]))
    assert float(fast[0]) == pytest.approx(slow_average_precision(relevant))


def test_average_precision_of_a_known_ranking() -> None:
    ranking = torch.tensor([[True, False, True, False, False, True]])
    assert float(average_precision(ranking)[0]) == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)


def slow_retrieval(vectors: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    precisions, at_10, first = [], [], []
    for query in range(len(vectors)):
        others = [i for i in range(len(vectors)) if i != query]
        if not any(labels[i] == labels[query] for i in others):
            continue
        cosines = {
            i: float(
                vectors[i]
                @ vectors[query]
                / np.linalg.norm(vectors[i])
                / np.linalg.norm(vectors[query])
            )
            for i in others
        }
        ranked = sorted(others, key=lambda i: -cosines[i])
        relevant = [bool(labels[i] == labels[query]) for i in ranked]
        precisions.append(slow_average_precision(relevant))
        at_10.append(sum(relevant[:10]) / len(relevant[:10]))
        first.append(float(relevant[0]))
    return float(np.mean(precisions)), float(np.mean(at_10)), float(np.mean(first))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.integers(2, 4), st.integers(1, 50))
def test_retrieval_is_the_loop_over_queries(seed: int, n: int, classes: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, 6)) * rng.uniform(0.1, 10, (n, 1))
    labels = np.append(rng.integers(classes, size=n - 2), [0, 0])
    found = retrieval(torch.from_numpy(vectors), torch.from_numpy(labels), block=block)
    got = (found.mean_average_precision, found.precision_at_10, found.nearest_same_class)
    assert got == pytest.approx(slow_retrieval(vectors, labels), abs=1e-6)


def test_separated_classes_are_perfect() -> None:
    vectors = torch.eye(2).repeat_interleave(20, 0)
    found = retrieval(vectors, torch.arange(2).repeat_interleave(20))
    assert found.mean_average_precision == found.precision_at_10 == found.nearest_same_class == 1
