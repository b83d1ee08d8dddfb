"""The arithmetic of depth and colour, against the same in plain Python and Pillow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from featurizer.errors import PixelError
from featurizer.pixels import (
    Stretch,
    apply_stretch,
    as_rgb,
    cmyk_as_rgb,
    palette_as_rgba,
    percentile_stretch,
)

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
ends = st.floats(-1e9, 1e9)


def by_hand(value: float, low: float, high: float) -> float:
    scaled = (value - low) / (high - low) * 255.0
    return 0.0 if math.isnan(scaled) else min(max(scaled, 0.0), 255.0)


@given(data=st.data(), dtype=st.sampled_from(DTYPES), low=ends, width=st.floats(1e-2, 1e9))
def test_stretching_is_the_formula_for_every_dtype(data, dtype, low, width):
    values = data.draw(hnp.arrays(dtype, (3, 4, 2)))
    got = apply_stretch(values, Stretch((low, low), (low + width, low + width)))
    assert got.dtype == np.uint8
    assert got.shape == values.shape
    wanted = [by_hand(float(v), low, low + width) for v in values.ravel()]
    assert np.abs(got.ravel().astype(float) - wanted).max() <= 0.5 + 1e-6


def test_the_table_for_short_integers_equals_the_float_map():
    values = np.arange(-(2**15), 2**15, dtype=np.int16).reshape(256, 256, 1)
    stretch = Stretch((-1234.5,), (9876.0,))
    assert (apply_stretch(values, stretch) == apply_stretch(values.astype(float), stretch)).all()


def test_a_stretch_turned_around_inverts():
    values = np.array([[[0], [255], [100]]], np.uint8)
    assert apply_stretch(values, Stretch((255.0,), (0.0,))).ravel().tolist() == [255, 0, 155]


def test_what_is_not_finite_needs_no_warning():
    values = np.array([[[np.nan], [np.inf], [-np.inf], [3e38], [-3e38]]], np.float32)
    assert apply_stretch(values, Stretch((0.0,), (1.0,))).ravel().tolist() == [0, 255, 0, 255, 0]


def test_percentiles_are_numpys_of_the_valid_values():
    rng = np.random.default_rng(1)
    values = rng.normal(1000, 300, (40, 50, 3)).astype(np.float32)
    values[0, 0] = np.nan
    values[1] = 1e30
    valid = np.ones((40, 50), bool)
    valid[1] = False
    found = percentile_stretch(values, valid)
    for band in range(3):
        kept = values[:, :, band][valid]
        low, high = np.percentile(kept[np.isfinite(kept)].astype(float), (2, 98))
        assert (found.low[band], found.high[band]) == pytest.approx((low, high))


@pytest.mark.parametrize("value", [0.0, -7.5, 1e300, 2.0**60])
def test_a_flat_band_comes_out_black(value):
    values = np.full((4, 4, 1), value)
    assert not apply_stretch(values, percentile_stretch(values)).any()


def test_a_band_of_nulls_gives_a_stretch():
    assert percentile_stretch(np.full((2, 2, 1), np.nan)) == Stretch((0.0,), (1.0,))


@pytest.mark.parametrize(
    ("low", "high"), [((), ()), ((1.0,), (1.0, 2.0)), ((1.0,), (1.0,)), ((0.0,), (np.inf,))]
)
def test_a_stretch_that_maps_nothing_is_refused(low, high):
    with pytest.raises(ValueError, match="stretch"):
        Stretch(low, high)


def test_a_stretch_of_other_bands_is_refused():
    with pytest.raises(PixelError, match="3 bands, but the stretch has 1"):
        apply_stretch(np.zeros((1, 1, 3)), Stretch((0.0,), (1.0,)))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))))
def test_grey_is_repeated_and_alpha_is_lost(values):
    rgb = as_rgb(values)
    assert rgb.shape == (*values.shape[:2], 3)
    bands = [0, 1, 2] if values.shape[2] > 2 else [0, 0, 0]
    assert (rgb == values[:, :, bands]).all()


def test_more_bands_are_the_users_choice():
    with pytest.raises(PixelError, match="--bands") as caught:
        as_rgb(np.zeros((1, 1, 5), np.uint8))
    assert caught.value.reason == "unsupported"


@given(hnp.arrays(np.uint8, (3, 5, 4)))
def test_cmyk_is_pillows(ink):
    pillow = Image.frombytes("CMYK", (5, 3), ink.tobytes()).convert("RGB")
    assert np.abs(cmyk_as_rgb(ink).astype(int) - np.asarray(pillow)).max() <= 1


@given(hnp.arrays(np.uint8, (4, 4), elements=st.integers(0, 5)))
def test_a_palette_is_looked_up_and_unknown_colours_are_transparent(index):
    palette = np.array([[1, 2, 3, 255], [4, 5, 6, 0], [7, 8, 9, 128]], np.uint8)
    rgba = palette_as_rgba(index, palette)
    for at in np.ndindex(4, 4):
        wanted = palette[index[at]] if index[at] < 3 else [0, 0, 0, 0]
        assert (rgba[at] == wanted).all()
