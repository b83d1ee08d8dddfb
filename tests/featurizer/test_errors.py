"""The error hierarchy: one root, survives pickling between workers."""

from __future__ import annotations

import pickle

import pytest

from featurizer import errors


def all_errors() -> list[type[Exception]]:
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    return [kind for kind in found if issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_is_of_the_hierarchy_and_says_what_it_is(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.WorldsiftError)
    assert kind.__name__.endswith("Error")
    assert kind.__doc__


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_comes_whole_out_of_another_process(kind: type[Exception]) -> None:
    words = ("corrupt", "ends early") if kind is errors.PixelError else ("a.jpg: gone",)
    raised = kind(*words)
    back = pickle.loads(pickle.dumps(raised))
    assert type(back) is kind
    assert str(back) == str(raised) == words[-1]


def test_pixel_error_keeps_its_reason() -> None:
    back = pickle.loads(pickle.dumps(errors.PixelError("too-large", "9 gigapixels")))
    assert (back.reason, back.detail) == ("too-large", "9 gigapixels")


def test_a_wrong_fingerprint_is_a_broken_contract() -> None:
    assert issubclass(errors.FingerprintError, errors.ContractError)
    assert issubclass(errors.UnknownTileError, errors.QueryError)
