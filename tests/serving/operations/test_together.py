"""Pictures of several requests in one pass of the model."""

from __future__ import annotations

import numpy as np

from featurizer.errors import PixelError
from serving.operations.together import Pictures, embed_together
from tests.serving.gallery import Gallery, texture


def test_one_request_that_cannot_be_decoded_does_not_spoil_the_others(gallery: Gallery) -> None:
    featurizer = gallery.featurizer
    pictures = [texture(seed) for seed in range(3)]
    error = PixelError("corrupt", "cut short")

    def bad() -> list[object]:
        raise error

    asked = [
        Pictures(featurizer, lambda: [featurizer.preprocess([pictures[0]])]),
        Pictures(featurizer, bad),
        Pictures(featurizer, lambda: [featurizer.preprocess([one]) for one in pictures[1:]]),
    ]
    first, second, third = embed_together(asked)
    assert second is error
    found = np.concatenate([first, third])
    np.testing.assert_allclose(found, featurizer.embed(pictures), atol=1e-5)


def test_nothing_but_bad_requests_needs_no_pass(gallery: Gallery) -> None:
    error = PixelError("empty", "no bytes")

    def bad() -> list[object]:
        raise error

    assert embed_together([Pictures(gallery.featurizer, bad)]) == [error]
