"""How well cosine ranking by an embedding puts images of the query's class first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Means over the queries: every image asks for the others, and all others are ranked."""

    mean_average_precision: float
    precision_at_10: float
    nearest_same_class: float  # 1-NN accuracy


def average_precision(relevant: Tensor) -> Tensor:
    """Average precision of each ranking: (queries, ranked) bool, best first -> (queries,) float.

    AP = mean over the relevant ranks r of (relevant among the first r) / r, over the whole
    ranking; not interpolated.  NaN for a query with nothing relevant.
    """
    hits = relevant.to(torch.float64)
    ranks = torch.arange(1, relevant.shape[1] + 1, dtype=torch.float64, device=relevant.device)
    precision = hits.cumsum(1) / ranks
    return (precision * hits).sum(1) / hits.sum(1)


def retrieval(vectors: Tensor, labels: Tensor, *, block: int = 512) -> Retrieval:
    """Leave-one-out retrieval over (n, d) float vectors of any length and (n,) labels.

    Queries whose class has no other image are left out.  Memory: block x n floats and as many
    indices.  Precision at 10 divides by 10, or by n - 1 where that is less.
    """
    unit = normalize(vectors.float(), dim=1)
    precisions, at_10, first = [], [], []
    for start in range(0, len(unit), block):
        rows = torch.arange(start, min(start + block, len(unit)), device=unit.device)
        similar = unit[rows] @ unit.T
        similar[rows - start, rows] = -torch.inf  # the query itself comes last, and is cut off
        order = similar.argsort(dim=1, descending=True, stable=True)[:, :-1]
        relevant = labels[order] == labels[rows][:, None]
        relevant = relevant[relevant.any(1)]
        precisions.append(average_precision(relevant))
        at_10.append(relevant[:, :10].double().mean(1))
        first.append(relevant[:, 0].double())
    return Retrieval(*(float(torch.cat(part).mean()) for part in (precisions, at_10, first)))
