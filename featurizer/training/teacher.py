"""What an ImageNet network makes of the training images, as targets for a smaller one.

Two folders of labels say little about imagery that belongs to neither.  Regressing the features
of a network that has seen a million photographs (Romero et al. 2015, arXiv:1412.6550, with the
last layer as the hint) keeps differences that the labels would let the small network forget.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torchvision.models import mobilenet_v2
from tqdm import tqdm

from featurizer.errors import WeightsError
from featurizer.training.augment import resized
from featurizer.training.folders import LabelledFolder

TAUGHT_DIM = 128
TEACHER_PX = 160
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def teacher_targets(
    folders: Sequence[LabelledFolder], weights: Path, device: torch.device
) -> list[Tensor]:
    """One (n, 128) float16 tensor a folder: unit targets of its training rows, zeros elsewhere.

    MobileNetV2's pooled 1,280 features at 160 px, of unit length, centred in each folder (its
    sensor is no news), projected onto the 128 main axes of all training rows together, each axis
    divided by the fourth root of its variance so that the first few do not decide alone.
    Raises WeightsError where the file is no MobileNetV2 state dict.
    """
    trunk = _mobilenet(weights).to(device)
    rows = [torch.from_numpy(folder.rows(held=False)) for folder in folders]
    features = []
    for folder, mine in zip(folders, rows, strict=True):
        unit = normalize(_pooled(trunk, folder, mine, device), dim=1)
        features.append(unit - unit.mean(0))
    together = torch.cat(features)
    variances, axes = torch.linalg.eigh(together.T @ together / len(together))  # ascending
    axes = axes[:, -TAUGHT_DIM:] * variances[-TAUGHT_DIM:].clamp_min(1e-8) ** -0.25
    targets = []
    for folder, mine, centred in zip(folders, rows, features, strict=True):
        target = torch.zeros(len(folder.labels), TAUGHT_DIM, dtype=torch.float16)
        target[mine] = normalize(centred @ axes, dim=1).half()
        targets.append(target)
    return targets


def _mobilenet(weights: Path) -> nn.Module:
    network = mobilenet_v2()
    try:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, UnpicklingError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{weights}: not a state dict of torchvision's mobilenet_v2"
            f" ({str(error).splitlines()[0]}); give that as --teacher, or leave it out"
        ) from error
    features: nn.Module = network.features
    return features.eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def _pooled(trunk: nn.Module, folder: LabelledFolder, rows: Tensor, device: torch.device) -> Tensor:
    """(rows, 1280) float32 on the CPU: the features' mean over each whole image."""
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1)
    pooled = []
    for part in tqdm(torch.split(rows, 64), desc=f"teacher on {folder.name}", mininterval=5):
        pixels = resized(folder.batch(part.numpy()), TEACHER_PX).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            maps = trunk((pixels / 255 - mean) / std)
        pooled.append(maps.float().mean((2, 3)).cpu())
    return torch.cat(pooled)
