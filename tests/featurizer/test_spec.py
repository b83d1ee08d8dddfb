"""The featurizer's spec and its fingerprint."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizer.errors import ContractError, FingerprintError
from featurizer.spec import METRICS, RESIZE_RULES, FeaturizerSpec, require_same

OTHER: dict[str, Any] = {
    "backbone": "resnet50",
    "layer": "layer3",
    "weights_sha256": "1" * 64,
    "input_px": 160,
    "resize": "crop",
    "mean": (0.5, 0.4, 0.30000000000000004),
    "std": (0.1, 0.2, 0.4),
    "dim": 64,
    "metric": "euclidean",
    "projection_sha256": "2" * 64,
    "preprocessing": "rgb8-2",
}


def a_spec(**change: Any) -> FeaturizerSpec:
    made = FeaturizerSpec(
        backbone="resnet18",
        layer="penultimate",
        weights_sha256="0" * 64,
        input_px=224,
        resize="stretch",
        mean=(0.5, 0.4, 0.3),
        std=(0.1, 0.2, 0.3),
        dim=512,
        metric="cosine",
    )
    return replace(made, **change)


def test_the_fingerprint_is_the_same_in_every_release() -> None:
    """A change here makes every archive unsearchable: raise PREPROCESSING on purpose instead."""
    assert a_spec(preprocessing="rgb8-antialias-bilinear-1").fingerprint == PINNED


PINNED = "903e92f9c9a1c338c92b"


@pytest.mark.parametrize("name", [field.name for field in fields(FeaturizerSpec)])
class TestEveryField:
    def test_changes_the_fingerprint(self, name: str) -> None:
        assert a_spec(**{name: OTHER[name]}).fingerprint != a_spec().fingerprint

    def test_is_named_with_both_sides_where_it_differs(self, name: str) -> None:
        ours, theirs = a_spec(), a_spec(**{name: OTHER[name]})
        with pytest.raises(FingerprintError) as caught:
            require_same(ours, theirs, "gs://b/root")
        message = str(caught.value)
        assert message.startswith("gs://b/root was embedded by featurizer " + theirs.fingerprint)
        assert ours.fingerprint in message
        before = getattr(ours, name)
        as_stored = list(before) if isinstance(before, list) else before
        assert f"({name} {OTHER[name]!r} there and {as_stored!r} here)" in message
        assert "\n" not in message


def test_the_same_featurizer_passes() -> None:
    require_same(a_spec(), a_spec(), "root")


UNIT = st.floats(0, 1, allow_nan=False)
SPECS = st.builds(
    FeaturizerSpec,
    backbone=st.text(),
    layer=st.text(),
    weights_sha256=st.text(),
    input_px=st.integers(1, 4096),
    resize=st.sampled_from(RESIZE_RULES),
    mean=st.tuples(UNIT, UNIT, UNIT),
    std=st.tuples(UNIT, UNIT, UNIT),
    dim=st.integers(1, 30_000),
    metric=st.sampled_from(METRICS),
    projection_sha256=st.none() | st.text(),
)


@given(SPECS)
def test_json_round_trip(spec: FeaturizerSpec) -> None:
    back = FeaturizerSpec.from_json(json.loads(json.dumps(spec.to_json())), "spec.json")
    assert back == spec
    assert back.fingerprint == spec.fingerprint


@given(SPECS, SPECS)
def test_only_equal_specs_share_a_fingerprint(one: FeaturizerSpec, other: FeaturizerSpec) -> None:
    assert (one.fingerprint == other.fingerprint) == (one == other)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"mean": [1, 2, 3], "std": [1, 2, 3]},
        {**a_spec().to_json(), "novelty": 1},
        {**a_spec().to_json(), "mean": None},
        {**a_spec().to_json(), "metric": "manhattan"},
        {**a_spec().to_json(), "resize": "pad"},
        [],
        None,
    ],
)
def test_what_is_no_spec(record: Any) -> None:
    with pytest.raises(ContractError, match=r"spec.json: not a featurizer's spec"):
        FeaturizerSpec.from_json(record, "spec.json")
