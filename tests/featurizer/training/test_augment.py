"""Random views."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from featurizer.training.augment import Augmentation, resized, symmetry, views

STILL = Augmentation(1.0, 1.0, 0.0, 20, 0.0, 0.0, 0.0, 0.0, 0.0)  # symmetries alone


def random_images(count: int, px: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (count, 3, px, px), dtype=np.uint8))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(8, 80), st.integers(16, 72), st.integers(0, 2**32 - 1))
def test_shape_dtype_and_seed(count: int, side: int, px: int, seed: int) -> None:
    images = random_images(count, side, seed)
    one, two = (views(images, px, np.random.default_rng(seed), Augmentation()) for _ in range(2))
    assert one.shape == (count, 3, px, px)
    assert one.dtype == torch.uint8
    assert torch.equal(one, two)


def test_another_seed_gives_another_view_and_the_images_stay_as_they_were() -> None:
    images = random_images(4, 64)
    before = images.clone()
    one, two = (views(images, 64, np.random.default_rng(seed), Augmentation()) for seed in (1, 2))
    assert not torch.equal(one, two)
    assert torch.equal(images, before)


def test_with_nothing_else_a_view_is_a_symmetry_and_all_eight_come() -> None:
    image = random_images(1, 32)
    eight = [symmetry(image, which) for which in range(8)]
    seen = set()
    for view in views(image.repeat(100, 1, 1, 1), 32, np.random.default_rng(0), STILL):
        (which,) = [i for i, known in enumerate(eight) if torch.equal(view, known[0])]
        seen.add(which)
    assert seen == set(range(8))


def test_symmetries_are_those_of_pillow() -> None:
    image = random_images(1, 16)
    picture = Image.fromarray(image[0].permute(1, 2, 0).numpy())
    turns = (None, *(Image.Transpose[f"ROTATE_{degrees}"] for degrees in (90, 180, 270)))
    for which in range(8):
        turn = turns[which % 4]
        expected = picture if turn is None else picture.transpose(turn)
        if which >= 4:
            expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        got = symmetry(image, which)[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(got, np.asarray(expected))


@pytest.mark.parametrize(("side", "px"), [(256, 64), (64, 128), (100, 37)])
def test_resizing_is_pillows_antialiased_bilinear(side: int, px: int) -> None:
    image = random_images(1, side)
    got = resized(image, px)[0].permute(1, 2, 0).numpy().astype(int)
    picture = Image.fromarray(image[0].permute(1, 2, 0).numpy())
    expected = np.asarray(picture.resize((px, px), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(got - expected).max() <= 1


def test_a_coarse_view_has_lost_detail() -> None:
    how = dataclasses.replace(STILL, coarse_share=1.0, min_coarse_px=16)
    image = random_images(8, 64)
    coarse = views(image, 64, np.random.default_rng(0), how).float()
    steps = (coarse[..., 1:] - coarse[..., :-1]).abs().mean()
    assert steps < 0.8 * (image.float()[..., 1:] - image.float()[..., :-1]).abs().mean()


def test_grey_views_have_equal_bands() -> None:
    how = dataclasses.replace(STILL, grey_share=1.0)
    grey = views(random_images(4, 32), 32, np.random.default_rng(0), how)
    assert torch.equal(grey[:, 0], grey[:, 1])
    assert torch.equal(grey[:, 0], grey[:, 2])
