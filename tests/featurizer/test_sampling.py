"""The sample that trains a quantizer."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizer.sampling import sample_rows


@given(st.integers(0, 30_000), st.integers(0, 2_000), st.integers(0, 2**32 - 1))
def test_sorted_distinct_and_within(rows: int, size: int, seed: int) -> None:
    found = sample_rows(rows, size, seed)
    assert found.dtype == np.int64
    assert len(found) == min(rows, size)
    assert (np.diff(found) > 0).all()
    if len(found):
        assert found[0] >= 0
        assert found[-1] < rows


@given(st.integers(0, 30_000), st.integers(0, 2_000), st.integers(0, 2**32 - 1))
def test_the_same_for_a_seed(rows: int, size: int, seed: int) -> None:
    np.testing.assert_array_equal(sample_rows(rows, size, seed), sample_rows(rows, size, seed))


def test_pinned_values() -> None:
    """A re-run must choose the rows that an earlier release chose, or it trains another index."""
    assert sample_rows(1_000, 5, 0).tolist() == [269, 307, 510, 635, 847]
    assert sample_rows(10**9, 5, 0).tolist() == [
        269786713,
        307829422,
        511136478,
        636961685,
        850624222,
    ]
    assert sample_rows(10**9, 5, 1).tolist() == [
        34852552,
        144159612,
        473188696,
        755167505,
        950463694,
    ]


def test_everything_when_the_sample_is_larger() -> None:
    assert sample_rows(4, 10, 3).tolist() == sample_rows(4, 4, 3).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("rows", "size"), [(100, 30), (20_000, 200)])  # numpy's two methods
def test_uniform(rows: int, size: int) -> None:
    """Chi-squared over 20 parts of the archive, 400 seeds: the bound is that of 1 in 10**6."""
    parts = np.zeros(20)
    for seed in range(400):
        parts += np.histogram(sample_rows(rows, size, seed), bins=20, range=(0, rows))[0]
    expected = 400 * size / 20
    statistic = ((parts - expected) ** 2 / expected).sum()
    assert statistic < 64.3, parts  # 19 degrees of freedom


def test_memory_is_that_of_the_sample() -> None:
    tracemalloc.start()
    found = sample_rows(10**9, 100_000, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(np.unique(found)) == 100_000
    assert peak < 16e6
