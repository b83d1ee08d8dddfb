"""PCA against numpy's singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featurizer.errors import UsageError, WeightsError
from featurizer.projection import Projection, fit_pca


def features(count: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Normal numbers whose directions have clearly different variances."""
    rng = np.random.default_rng(seed)
    spread = 2.0 ** -np.arange(min(count, width))
    left = np.linalg.qr(rng.normal(size=(count, len(spread))))[0]
    right = np.linalg.qr(rng.normal(size=(width, len(spread))))[0]
    return ((left * spread) @ right.T + rng.normal(size=width)).astype(np.float32)


@given(st.integers(3, 12), st.integers(2, 12), st.integers(0, 1000))
@settings(deadline=None)
def test_is_the_svd_of_centred_features(count: int, width: int, seed: int) -> None:
    given_features = features(count, width, seed)
    dim = min(count - 1, width, 3)
    found = fit_pca(given_features, dim)
    centred = given_features.astype(np.float64) - given_features.mean(axis=0, dtype=np.float64)
    expected = np.linalg.svd(centred, full_matrices=False)[2][:dim].T
    cosines = np.abs((found.components * expected).sum(axis=0))
    np.testing.assert_allclose(cosines, 1, atol=1e-3)
    np.testing.assert_allclose(found.components.T @ found.components, np.eye(dim), atol=1e-4)


@pytest.mark.parametrize(("count", "width"), [(50, 8), (8, 50)])  # either Gram matrix
def test_keeps_all_of_the_variance_when_nothing_is_dropped(count: int, width: int) -> None:
    given_features = np.random.default_rng(1).normal(size=(count, width)).astype(np.float32)
    found = fit_pca(given_features, min(count - 1, width)).apply(given_features)
    distances = np.linalg.norm(given_features[:, None] - given_features, axis=2)
    projected = np.linalg.norm(found[:, None] - found, axis=2)
    np.testing.assert_allclose(projected, distances, atol=1e-4)


def test_the_sign_is_fixed() -> None:
    one, other = fit_pca(features(30, 6), 4), fit_pca(features(30, 6)[::-1].copy(), 4)
    np.testing.assert_allclose(one.components, other.components, atol=1e-4)
    largest = np.abs(one.components).argmax(axis=0)
    assert (one.components[largest, np.arange(4)] > 0).all()


def test_apply_is_the_formula() -> None:
    given_features = features(20, 6)
    found = fit_pca(given_features, 2)
    assert found.dims == (6, 2)
    expected = (given_features - found.mean) @ found.components
    np.testing.assert_array_equal(found.apply(given_features), expected)
    assert found.apply(given_features).dtype == np.float32


def test_many_features_need_no_square_matrix_of_them() -> None:
    given_features = np.random.default_rng(2).normal(size=(20, 25_088)).astype(np.float32)
    assert fit_pca(given_features, 5).dims == (25_088, 5)


@pytest.mark.parametrize(("count", "width", "dim"), [(5, 9, 5), (9, 5, 6), (9, 5, 0), (1, 5, 1)])
def test_too_little_for_the_dimensions(count: int, width: int, dim: int) -> None:
    with pytest.raises(UsageError, match=rf"to {dim} dimensions .* have {count} and {width}"):
        fit_pca(np.ones((count, width), np.float32), dim)


def test_pictures_that_do_not_differ_enough() -> None:
    same = np.repeat(features(3, 10), 20, axis=0)
    assert fit_pca(same, 2).dims == (10, 2)
    with pytest.raises(UsageError, match="these 60 differ in 2"):
        fit_pca(same, 3)
    with pytest.raises(UsageError, match="differ in 0"):
        fit_pca(np.ones((60, 10), np.float32), 1)


def test_bytes_round_trip() -> None:
    made = fit_pca(features(20, 6), 3)
    back = Projection.from_bytes(made.to_bytes(), "p.safetensors")
    np.testing.assert_array_equal(back.mean, made.mean)
    np.testing.assert_array_equal(back.components, made.components)
    assert back.sha256 == made.sha256
    assert made.sha256 != fit_pca(features(20, 6, seed=1), 3).sha256


def test_what_is_no_projection() -> None:
    import safetensors.numpy

    whole = fit_pca(features(20, 6), 3).to_bytes()
    only_mean = safetensors.numpy.save({"mean": np.ones(3, np.float32)})
    for data in (b"", b"\x80\x04.", whole[:-1], only_mean):
        with pytest.raises(WeightsError, match=r"p.safetensors: not a projection"):
            Projection.from_bytes(data, "p.safetensors")
    unequal = safetensors.numpy.save({"mean": np.ones(3), "components": np.ones((4, 2))})
    with pytest.raises(WeightsError, match=r"mean \(3,\) and components \(4, 2\)"):
        Projection.from_bytes(unequal, "p.safetensors")
