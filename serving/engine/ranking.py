"""Distances and orders as arithmetic on arrays: what every answer is measured and sorted by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import QueryError
from serving.engine.bases import Ids

Floats = NDArray[np.float32]

_TINY = np.float32(1e-30)  # a stored vector without length is at distance 1, not at NaN


def normalised(vectors: Floats) -> Floats:
    """(m, d) scaled to unit length; QueryError for a zero vector, which has no direction."""
    lengths = np.sqrt(np.einsum("md,md->m", vectors, vectors, dtype=np.float64))
    if (lengths == 0).any():
        raise QueryError("a query vector is all zero: cosine distance needs a direction")
    return np.asarray(vectors / lengths[:, None], np.float32)


def distances_to(queries: Floats, vectors: Floats, cosine: bool) -> Floats:
    """(q, d) queries, (q, c, d) vectors -> (q, c) distances, never negative.

    Cosine distance is 1 - dot / length: stored vectors are unit only as far as float16 goes, and
    without the division a neighbour may come out nearer than the picture itself.  The value of a
    pair does not depend on its place in the batch, so equal vectors tie exactly.
    """
    if not cosine:
        gaps = vectors - queries[:, None, :]
        return np.asarray(np.sqrt(np.einsum("qcd,qcd->qc", gaps, gaps)), np.float32)
    dots = np.einsum("qcd,qd->qc", vectors, queries)
    lengths = np.sqrt(np.einsum("qcd,qcd->qc", vectors, vectors))
    cosines = dots / np.maximum(lengths, _TINY)
    return np.asarray(np.maximum(1.0 - cosines, 0.0), np.float32)


def closeness(queries: Floats, block: Floats, cosine: bool) -> Floats:
    """(q, d), (b, d) -> (q, b), larger is nearer: cosine, or minus the squared distance."""
    scores = np.asarray(queries @ block.T, np.float32)
    squares = np.einsum("bd,bd->b", block, block)
    if cosine:
        scores /= np.sqrt(np.maximum(squares, _TINY))
        return scores
    own = np.einsum("qd,qd->q", queries, queries)
    return np.asarray(2.0 * scores - squares - own[:, None], np.float32)


def distance_of(closeness_values: Floats, cosine: bool) -> Floats:
    """Distances of what ``closeness`` gave; Euclidean ones near zero lose digits."""
    if cosine:
        return np.asarray(np.maximum(1.0 - closeness_values, 0.0), np.float32)
    return np.asarray(np.sqrt(np.maximum(-closeness_values, 0.0)), np.float32)


def best(scores: Floats, ids: Ids, count: int) -> tuple[Floats, Ids]:
    """The ``count`` largest of each row of (q, b), in no order; fewer where there are fewer."""
    if scores.shape[1] <= count:
        return scores, ids
    keep = np.argpartition(scores, scores.shape[1] - count, axis=1)[:, -count:]
    return np.take_along_axis(scores, keep, 1), np.take_along_axis(ids, keep, 1)


def nearest(distances: Floats, ids: Ids, k: int) -> tuple[Floats, Ids]:
    """(q, c) -> (q, k) in ascending order of (distance, id), padded with inf and -1."""
    order = np.lexsort((ids, distances), axis=-1)[:, :k]
    if order.shape[1] < k:
        pad = ((0, 0), (0, k - order.shape[1]))
        distances = np.pad(np.take_along_axis(distances, order, 1), pad, constant_values=np.inf)
        return distances, np.pad(np.take_along_axis(ids, order, 1), pad, constant_values=-1)
    return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)
