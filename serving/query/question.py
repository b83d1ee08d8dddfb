"""The records of one search: examples, effort, shape and page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from serving.engine.bases import Ids

Vector = NDArray[np.float32]  # (d,)
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One picture to search by; ``row`` is set where it is a tile of the archive."""

    kind: Literal["image", "tile", "vector", "embedding"]
    vector: Vector
    weight: float = 1.0
    name: str | None = None
    tile_id: str | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Examples and how they are joined; at least one positive."""

    positive: tuple[Example, ...]
    negative: tuple[Example, ...] = ()
    strategy: Literal["mean", "best"] = "mean"
    negative_weight: float = 0.5
    include_examples: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether it is one vector asking for its neighbours, which many can ask together."""
        return len(self.positive) == 1 and not self.negative and self.include_examples

    @property
    def own_row(self) -> int | None:
        """The tile that is its own first hit: the only positive example, where it may be one."""
        return self.positive[0].row if len(self.positive) == 1 and self.include_examples else None


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of the index to read: ``nprobe`` None is the archive's default, widened at need."""

    nprobe: int | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """What to make of the ranked rows; None is off.  Fields as in ``serving.models.requests``."""

    max_overlap: float | None = None
    overlap_by: Literal["window", "place"] = "window"
    duplicate_distance: float | None = None
    diversity: float | None = None

    @property
    def is_plain(self) -> bool:
        return (
            self.max_overlap is None
            and self.duplicate_distance is None
            and (self.diversity is None or self.diversity == 0)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Ranks ``offset + 1`` to ``offset + k`` of the shaped order.

    ``first_k`` is the k of the first page: depths that later pages reach are multiples of it, so
    that all pages of a search see one order.
    """

    k: int
    offset: int = 0
    first_k: int | None = None
    min_score: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """(m,) rows of one page with their figures, best first; ``folded[i]`` went into row i."""

    rows: Ids
    distances: Floats
    scores: Floats
    folded: tuple[tuple[int, ...], ...]
    more: bool  # whether there is a page after it
