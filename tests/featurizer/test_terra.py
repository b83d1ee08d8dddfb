"""Terra128 and its bundled weights."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch.fx.experimental.optimization import fuse
from torch.nn.functional import cosine_similarity

from featurizer import terra
from featurizer.terra import DIM, INPUT_PX, MEAN, STD, Terra128
from featurizer.training.augment import resized
from featurizer.training.loop import normalised
from featurizer.training.ranking import retrieval
from featurizer.training.split import held_out

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
WEIGHTS = Path(terra.__file__).parent / "weights" / "terra128.safetensors"


def random_batch(count: int, px: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((count, 3, px, px), dtype=np.float32))


def bundled() -> Terra128:
    network = Terra128()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (INPUT_PX, INPUT_PX), (100, 75)])
@torch.inference_mode()
def test_any_side_gives_one_vector_an_image(shape: tuple[int, int]) -> None:
    vectors = Terra128().eval()(torch.zeros(2, 3, *shape))
    assert vectors.shape == (2, DIM)
    assert vectors.dtype == torch.float32
    assert vectors.isfinite().all()


@torch.inference_mode()
def test_vectors_do_not_depend_on_neighbours_in_the_batch_or_on_the_call() -> None:
    network, images = bundled(), random_batch(5, INPUT_PX)
    vectors = network(images)
    assert torch.equal(vectors, network(images))
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(vectors, alone, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_vectors_are_not_of_unit_length() -> None:
    lengths = bundled()(random_batch(4, INPUT_PX)).norm(dim=1)
    assert (lengths - 1).abs().min() > 1e-3


@torch.inference_mode()
def test_every_convolution_folds_with_its_normalisation() -> None:
    network, images = bundled(), random_batch(3, INPUT_PX)
    fused = fuse(network)
    assert not [m for m in fused.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    torch.testing.assert_close(fused(images), network(images), rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_bfloat16_channels_last_points_the_same_way() -> None:
    network, images = bundled(), random_batch(4, INPUT_PX)
    exact = network(images)
    network = network.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = network(images.contiguous(memory_format=torch.channels_last)).float()
    assert cosine_similarity(exact, coarse).min() > 0.999


def test_it_is_small() -> None:
    assert sum(p.numel() for p in Terra128().parameters()) < 6_000_000
    assert WEIGHTS.stat().st_size <= 10.5e6


def test_bundled_weights_are_finite_float16_and_say_what_they_are() -> None:
    state = load_file(WEIGHTS)
    assert state.keys() == Terra128().state_dict().keys()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            assert value.dtype == torch.float16, name
            assert value.isfinite().all(), name
    with safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == "terra128"
    assert metadata["input_px"] == str(INPUT_PX)
    assert metadata["dim"] == str(DIM)


def test_every_normalisation_has_seen_data() -> None:
    """Statistics that were never updated would be 0 and 1, and silently spoil every vector."""
    state = load_file(WEIGHTS)
    seen = [value for name, value in state.items() if name.endswith("num_batches_tracked")]
    assert min(int(count) for count in seen) > 100


def test_normalisation_constants_are_on_the_0_1_scale() -> None:
    assert len(MEAN) == len(STD) == 3
    assert all(0 < value < 1 for value in (*MEAN, *STD))


def held_out_sample(archive: Path, per_class: int, px: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first held-out images of each class in a tar: (n, 3, px, px) uint8 and (n,) labels."""
    taken: dict[str, list[torch.Tensor]] = defaultdict(list)
    with tarfile.open(archive) as tar:
        for member in tar:
            label = Path(member.name).parent.name
            if not member.isfile() or len(taken[label]) == per_class or not held_out(member.name):
                continue
            pixels = np.array(Image.open(tar.extractfile(member)).convert("RGB"))
            taken[label].append(resized(torch.from_numpy(pixels).permute(2, 0, 1)[None], px))
    labels = [number for number, label in enumerate(sorted(taken)) for _ in taken[label]]
    return torch.cat([torch.cat(taken[label]) for label in sorted(taken)]), torch.tensor(labels)


@pytest.mark.parametrize(("name", "least"), [("eurosat_rgb", 0.75), ("ucmerced_jpeg", 0.65)])
@torch.inference_mode()
def test_bundled_weights_rank_unseen_images_by_class(name: str, least: float) -> None:
    """A sample of what training held out; random weights give 0.2 and less."""
    archive = SHARED_DATA / f"{name}.tar"
    if not archive.is_file():
        pytest.skip(f"no {archive}: real imagery is not part of the repository")
    pixels, labels = held_out_sample(archive, per_class=20, px=INPUT_PX)
    vectors = bundled()(normalised(pixels, torch.device("cpu")))
    assert retrieval(vectors, labels).mean_average_precision > least
