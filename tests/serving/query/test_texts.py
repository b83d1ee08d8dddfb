"""Cursors and embeddings as texts: what goes in comes out, and damage is heard of."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from featurizer.errors import QueryError
from serving.query.cursor import Cursor, decode, encode
from serving.query.embedding_text import from_text, to_text
from serving.query.opaque import from_base64, to_base64
from tests.serving.archive import spec

CURSORS = st.builds(
    Cursor,
    generation=st.text(max_size=40),
    offset=st.integers(0, 2**62),
    first_k=st.integers(1, 10_000),
    digest=st.text(max_size=64),
)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=é \n"


@st.composite
def damages(draw, text: str) -> str:
    """The text with one character changed, put in or taken out, or cut short."""
    at = draw(st.integers(0, len(text) - 1))
    other = draw(st.sampled_from(ALPHABET))
    damaged = draw(
        st.sampled_from(
            [
                text[:at] + other + text[at + 1 :],
                text[:at] + other + text[at:],
                text[:at] + text[at + 1 :],
                text[:at],
            ]
        )
    )
    return damaged


@given(CURSORS)
def test_a_cursor_comes_back(cursor):
    text = encode(cursor)
    assert decode(text) == cursor
    assert re.fullmatch(r"[A-Za-z0-9._-]+", text)


@given(CURSORS, st.data())
def test_a_damaged_cursor_is_refused(cursor, data):
    text = encode(cursor)
    damaged = data.draw(damages(text))
    if damaged != text:
        with pytest.raises(QueryError, match="damaged"):
            decode(damaged)


@given(st.text())
def test_any_other_text_is_no_cursor(text):
    with pytest.raises(QueryError, match="damaged"):
        decode(text)
    with pytest.raises(QueryError, match="damaged"):
        decode("c1." + text)


@given(
    hnp.arrays(
        np.float16,
        16,
        elements=hnp.from_dtype(np.dtype("f2"), allow_nan=False, allow_infinity=False),
    )
)
def test_a_vector_comes_back(vector):
    featurizer = spec(16)
    text = to_text(vector.astype(np.float32), featurizer.fingerprint)
    back = from_text(text, featurizer)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, vector.astype(np.float32))


@given(st.data())
def test_a_damaged_vector_is_refused(data):
    featurizer = spec(16)
    text = to_text(np.linspace(-1, 1, 16, dtype=np.float32), featurizer.fingerprint)
    damaged = data.draw(damages(text))
    if damaged != text:
        with pytest.raises(QueryError, match="damaged"):
            from_text(damaged, featurizer)


def test_a_vector_of_another_featurizer_is_refused_and_both_are_named():
    ours, theirs = spec(16), spec(16, "euclidean")
    text = to_text(np.ones(16, np.float32), theirs.fingerprint)
    with pytest.raises(QueryError) as error:
        from_text(text, ours)
    assert theirs.fingerprint[:16] in str(error.value) and ours.fingerprint in str(error.value)


def test_a_vector_of_another_length_is_refused():
    text = to_text(np.ones(15, np.float32), spec(16).fingerprint)
    with pytest.raises(QueryError, match=r"15 numbers.*have 16"):
        from_text(text, spec(16))


@pytest.mark.parametrize("value", [1e6, np.inf, np.nan])
def test_a_vector_that_float16_cannot_hold_has_no_text(value):
    with pytest.raises(QueryError, match="65,504"):
        to_text(np.full(16, value, np.float32), spec(16).fingerprint)


def test_a_forged_text_with_nan_is_refused():
    import zlib

    content = bytes.fromhex(spec(16).fingerprint)[:8] + np.full(16, np.nan, "<f2").tobytes()
    text = "e1." + to_base64(content + zlib.crc32(content).to_bytes(4, "little"))
    with pytest.raises(QueryError, match="NaN"):
        from_text(text, spec(16))


@given(st.binary())
def test_bytes_come_back(data):
    assert from_base64(to_base64(data)) == data


@given(st.text(alphabet=ALPHABET, max_size=12))
def test_bytes_have_one_text(text):
    try:
        data = from_base64(text)
    except ValueError:
        return
    assert to_base64(data) == text
