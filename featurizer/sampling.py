"""Which rows train a quantizer; every other row is held out, and evaluation may ask with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sample_rows(rows: int, size: int, seed: int) -> NDArray[np.int64]:
    """``min(size, rows)`` distinct row ids out of 0..rows-1, uniform, sorted; the same for a seed.

    Memory is that of the sample: numpy takes Floyd's method up to a twentieth of ``rows``; above,
    a permutation, which is at most 20 times the sample.
    """
    if size >= rows:
        return np.arange(rows, dtype=np.int64)
    chosen = np.random.default_rng(seed).choice(rows, size=size, replace=False, shuffle=False)
    return np.sort(chosen).astype(np.int64)
