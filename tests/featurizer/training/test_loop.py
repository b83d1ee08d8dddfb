"""Batches and schedules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.training.loop import Recipe, draw_batches


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.integers(1, 12),
    st.integers(1, 16),
    st.integers(0, 2**32 - 1),
)
def test_an_image_is_drawn_again_only_after_all_of_its_folder(
    sizes: list[int], steps: int, batch: int, seed: int
) -> None:
    plan = list(draw_batches(sizes, steps, batch, 0.3, np.random.default_rng(seed)))
    assert len(plan) == steps
    folder = np.concatenate([f for f, _ in plan])
    position = np.concatenate([p for _, p in plan])
    assert len(folder) == steps * batch
    for number, size in enumerate(sizes):
        drawn = np.bincount(position[folder == number], minlength=size)
        assert len(drawn) == size
        assert drawn.max() - drawn.min() <= 1


@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.5), (1.0, 0.9), (0.5, 0.75)])
def test_balance_sets_the_share_of_the_larger_folder(balance: float, share: float) -> None:
    plan = draw_batches([9000, 1000], 100, 100, balance, np.random.default_rng(0))
    assert np.mean([np.mean(f == 0) for f, _ in plan]) == pytest.approx(share, abs=0.02)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    recipe = Recipe()
    rates = [recipe.learning_rate_at(step / 1000) for step in range(1001)]
    peak = int(np.argmax(rates))
    assert rates[0] == 0
    assert rates[peak] == pytest.approx(recipe.learning_rate)
    assert peak == pytest.approx(1000 * recipe.warm_up, abs=1)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert np.all(np.diff(rates[:peak]) > 0)
    assert np.all(np.diff(rates[peak:]) < 0)


def test_the_side_grows_to_that_of_inference() -> None:
    recipe, rng = Recipe(), np.random.default_rng(0)
    sides = [{recipe.side_at(p, rng) for _ in range(50)} for p in (0.0, 0.49, 0.6, 0.9, 1.0)]
    assert sides == [{64, 80}, {64, 80}, {96, 112}, {128}, {128}]
