"""DALI's preprocessing, on the processor here, against torch's: the two may meet in one archive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from featurizer.decode import DaliResize, resize_plan

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = ((64, 64), (256, 256), (333, 501), (512, 300), (224, 224), (100, 700))


def picture(height: int, width: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(7).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def torch_batch(images: list[NDArray[np.uint8]], rule: Any, size_px: int) -> NDArray[np.float32]:
    """The CPU route: torch's uint8 antialiased resize, (n, 3, size, size), normalised."""
    import torch

    from featurizer.embed import resize

    rows = [resize(torch.tensor(one).permute(2, 0, 1)[None], size_px, rule)[0] for one in images]
    batch = torch.stack(rows).numpy().astype(np.float32) / 255
    return (batch - np.float32(MEAN)[:, None, None]) / np.float32(STD)[:, None, None]


@pytest.mark.parametrize("rule", ["stretch", "crop"])
@pytest.mark.parametrize("half", [False, True])
def test_dali_resizes_as_torch_does(rule: Any, half: bool) -> None:
    preprocess = DaliResize(224, rule, MEAN, STD, device_id=None, max_batch=8, half=half)
    images = [picture(*size) for size in SIZES]
    for count in (len(images), 1, 4):
        batch = preprocess(images[:count])
        assert batch.shape == (count, 3, 224, 224)
        assert batch.dtype == (np.float16 if half else np.float32)
        levels = np.abs(batch - torch_batch(images[:count], rule, 224))
        levels *= 255 * np.float32(STD)[:, None, None]
        assert levels.max() < 2.1
        assert levels.mean() < 0.3


def test_dali_and_torch_give_the_same_embedding() -> None:
    import torch
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model = torch.nn.Sequential(*list(resnet18().children())[:-1]).train()
    rng = np.random.default_rng(5)
    images = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((w, h)))
        for h, w in SIZES
    ]
    with torch.no_grad():
        ours = DaliResize(224, "stretch", MEAN, STD, None, len(images), half=False)(images)
        theirs = torch_batch(images, "stretch", 224)
        for _ in range(3):  # fills the running statistics of the batch normalisation
            model(torch.from_numpy(theirs))
        model.eval()
        a, b = (model(torch.from_numpy(batch)).flatten(1) for batch in (ours, theirs))
    assert torch.nn.functional.cosine_similarity(a, b).min() > 0.9999


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    size_px=st.integers(1, 512),
)
def test_resize_plan_covers_the_crop(height: int, width: int, size_px: int) -> None:
    (high, wide), (top, left) = resize_plan(height, width, size_px, "crop")
    assert min(high, wide) == size_px
    for side, place in ((high, top), (wide, left)):
        offset = float(np.float32(place)) * (side - size_px)
        assert abs(offset - (side - size_px) // 2) < 0.01
    assert resize_plan(height, width, size_px, "stretch") == ((size_px, size_px), (0.0, 0.0))


def test_dali_refuses_a_batch_that_it_was_not_made_for() -> None:
    preprocess = DaliResize(32, "crop", MEAN, STD, device_id=None, max_batch=2, half=False)
    for count in (0, 3):
        with pytest.raises(ValueError, match="batch of 1 to 2"):
            preprocess([np.zeros((40, 40, 3), np.uint8)] * count)
