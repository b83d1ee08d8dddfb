"""How examples become one vector (mean) or one score (best)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import QueryError
from featurizer.spec import Metric
from serving.query.question import Example, Floats, Question, Vector

# Stored vectors are float16: a sum of unit vectors shorter than their rounding points nowhere.
_SHORTEST = 1e-3


def similarity(distances: Floats, metric: Metric) -> Floats:
    """Scores of distances, the greater the more alike: 1 is the same picture."""
    one = np.float32(1)
    return one - distances if metric == "cosine" else one / (one + distances)


def stacked(examples: Sequence[Example]) -> Floats:
    """(q, d) of q >= 1 examples; QueryError where their vectors differ in length."""
    lengths = {len(example.vector) for example in examples}
    if len(lengths) != 1:
        raise QueryError(
            f"the examples' vectors have {sorted(lengths)} dimensions: give all of them as many "
            "as the archive's have"
        )
    return np.array([example.vector for example in examples], np.float32)


def mean_of(question: Question, metric: Metric) -> Vector:
    """(d,) what the examples ask for together: q = mean(pos) - negative_weight * mean(neg).

    Both means are weighted; under cosine they are of unit vectors, under Euclidean distance of the
    vectors as they are.  A lone positive example is itself.  This is Rocchio's formula (Manning,
    Raghavan, Schuetze 2008, eq. 9.3) with alpha = 0, beta = 1.  QueryError for an example without
    direction, and where the examples cancel each other out.
    """
    if len(question.positive) == 1 and not question.negative:
        return question.positive[0].vector.astype(np.float32, copy=False)
    stacked([*question.positive, *question.negative])
    mean = _weighted_mean(question.positive, metric, "positive")
    if question.negative:
        mean = mean - question.negative_weight * _weighted_mean(
            question.negative, metric, "negative"
        )
    if metric == "cosine" and float(np.linalg.norm(mean)) < _SHORTEST:
        raise QueryError(
            "the examples cancel each other out: their weighted sum has no direction. Take one "
            "away, change the weights or `negative_weight`, or ask with strategy `best`"
        )
    with np.errstate(over="ignore"):  # the engine refuses what is not finite
        return mean.astype(np.float32)


def _weighted_mean(
    examples: Sequence[Example], metric: Metric, side: str
) -> NDArray[np.float64]:  # (d,)
    vectors = np.stack([example.vector for example in examples]).astype(np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(vectors, axis=1)
        if not lengths.all():
            at = int(np.flatnonzero(lengths == 0)[0])
            raise QueryError(
                f"{side}[{at}] is all zero: cosine distance needs a direction; leave it out"
            )
        vectors /= lengths[:, None]
    weights = np.array([example.weight for example in examples])
    return np.asarray(weights @ vectors / weights.sum())


def best_scores(distances: Floats, question: Question, metric: Metric) -> tuple[Floats, Floats]:
    """(p + n, m) distances to positives, then negatives -> (m,) distances and (m,) scores.

    The distance is that to the nearest positive.  With s the similarity and w the weights over
    the greatest positive one: p = max w_i s_i of the positives, n = max w_j s_j of the negatives,
    score = p - max(0, n - p).
    """
    count = len(question.positive)
    weighted = relative_weights(question)[:, None] * similarity(distances, metric)
    scores = weighted[:count].max(axis=0)
    if question.negative:
        scores = scores - np.maximum(weighted[count:].max(axis=0) - scores, np.float32(0))
    return distances[:count].min(axis=0), scores


def relative_weights(question: Question) -> Floats:
    """(p + n,) weights of positives, then negatives, over the greatest positive one."""
    greatest = max(example.weight for example in question.positive)
    examples = (*question.positive, *question.negative)
    return np.array([example.weight / greatest for example in examples], np.float32)
