"""Rows in an order, with their figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.engine.bases import Ids
from serving.query.question import Floats

Places = NDArray[np.int64] | NDArray[np.bool_] | slice


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """(m,) rows, best first, each with its distance and score."""

    rows: Ids
    distances: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: Places) -> Ranked:
        return Ranked(self.rows[places], self.distances[places], self.scores[places])


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The next rows of an order; ``more`` where it is certain that others come after them."""

    ranked: Ranked
    more: bool = False


NOTHING = Ranked(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))


def joined(parts: Sequence[Ranked]) -> Ranked:
    """The parts one after another."""
    if len(parts) == 1:
        return parts[0]
    return Ranked(
        np.concatenate([NOTHING.rows, *(part.rows for part in parts)]),
        np.concatenate([NOTHING.distances, *(part.distances for part in parts)]),
        np.concatenate([NOTHING.scores, *(part.scores for part in parts)]),
    )
