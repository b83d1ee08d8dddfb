"""Maximal marginal relevance: hits that are like the question and unlike each other."""

from __future__ import annotations

import numpy as np

from featurizer.spec import Metric
from serving.engine.bases import Ids
from serving.query.examples import similarity
from serving.query.question import Floats


def diversified(
    vectors: Floats, scores: Floats, diversity: float, metric: Metric, own_first: bool = False
) -> Ids:
    """(m, d) vectors and (m,) scores of ranked rows -> (m,) their places in the new order.

    The first row stays first; each next one has the greatest lambda * score - (1 - lambda) *
    (greatest similarity to a row before it), with lambda = 1 - ``diversity``, ties by rank
    (Carbonell and Goldstein 1998).  Takes 4 m^2 bytes.

    Deviation: with ``own_first`` the first row is the question itself, and likeness to it is not
    held against the others.  It would be the very score that they are to have, so that from a
    diversity of 0.5 on the second hit would be the row least like the question.
    """
    pairs = _similarities(vectors, metric)
    gain = np.float32(1 - diversity) * scores
    order = np.arange(len(scores), dtype=np.int64)
    closest = np.full(len(scores), -np.inf, np.float32)
    settled = 2 if own_first else 1
    gain[:settled] = -np.inf
    for rank in range(settled, len(scores)):
        np.maximum(closest, pairs[order[rank - 1]], out=closest)
        order[rank] = np.argmax(gain - np.float32(diversity) * closest)
        gain[order[rank]] = -np.inf
    return order


def _similarities(vectors: Floats, metric: Metric) -> Floats:
    """(m, d) -> (m, m)."""
    squares = np.einsum("md,md->m", vectors, vectors)
    pairs = vectors @ vectors.T
    if metric == "cosine":
        lengths = np.sqrt(np.maximum(squares, np.float32(1e-30)))
        pairs /= lengths[:, None]
        pairs /= lengths[None, :]
        return np.asarray(pairs, np.float32)
    pairs *= -2
    pairs += squares[:, None]
    pairs += squares[None, :]
    return similarity(np.sqrt(np.maximum(pairs, np.float32(0))), metric)
