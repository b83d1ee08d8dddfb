"""Random views of overhead images: what changes between two pictures of one kind of place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far a view may go from its image."""

    min_area: float = 0.25  # smallest crop, as a share of the image's area
    max_aspect: float = 4 / 3
    coarse_share: float = 0.35  # of the views first lose resolution, as from a coarser sensor
    min_coarse_px: int = 20
    brightness: float = 0.3  # +- share of the value
    contrast: float = 0.4
    saturation: float = 0.4
    channel_gain: float = 0.12  # +- share, each band alone: sensors, haze, sun
    grey_share: float = 0.05


def resized(images: Tensor, px: int) -> Tensor:
    """(n, 3, h, w) uint8 -> (n, 3, px, px) uint8: bilinear, antialiased; as inference resizes."""
    if images.shape[2:] == (px, px):
        return images
    return interpolate(images, size=(px, px), mode="bilinear", antialias=True)


def views(images: Tensor, px: int, rng: np.random.Generator, how: Augmentation) -> Tensor:
    """One random view of each image: (n, 3, h, w) uint8 -> (n, 3, px, px) uint8, channels last.

    A random crop, resized; for some, by way of a lower resolution; turned and mirrored into one of
    the eight symmetries of the square, for nothing overhead has an upright; and with other colours.
    The generator's state decides everything: the same seed gives the same views.
    """
    out = torch.empty((len(images), 3, px, px), dtype=torch.uint8)
    out = out.contiguous(memory_format=torch.channels_last)
    for row in range(len(images)):
        view = _cropped(images[row : row + 1], rng, how)
        if rng.random() < how.coarse_share and how.min_coarse_px < px:
            view = resized(view, int(rng.integers(how.min_coarse_px, px)))
        out[row] = symmetry(resized(view, px), int(rng.integers(8)))[0]
    return _recoloured(out, rng, how)


def symmetry(images: Tensor, which: int) -> Tensor:
    """The images under one of the square's eight symmetries: 0 is the identity, 0..7 all differ."""
    turned = torch.rot90(images, which % 4, (2, 3))
    return turned.flip(3) if which >= 4 else turned


def _cropped(image: Tensor, rng: np.random.Generator, how: Augmentation) -> Tensor:
    """A random window of (1, 3, h, w): area uniform, log of the aspect uniform."""
    h, w = image.shape[2:]
    area = rng.uniform(how.min_area, 1.0) * h * w
    bound = np.log(how.max_aspect)
    aspect = float(np.exp(rng.uniform(-bound, bound)))
    height = min(h, max(1, round((area / aspect) ** 0.5)))
    width = min(w, max(1, round((area * aspect) ** 0.5)))
    y, x = int(rng.integers(h - height + 1)), int(rng.integers(w - width + 1))
    return image[:, :, y : y + height, x : x + width]


def _recoloured(images: Tensor, rng: np.random.Generator, how: Augmentation) -> Tensor:
    """Contrast, saturation, brightness and band gains, each image its own, clipped to 0..255."""

    def around_one(spread: float, bands: int = 1) -> Tensor:
        gains = rng.uniform(1 - spread, 1 + spread, (len(images), bands, 1, 1))
        return torch.from_numpy(gains.astype(np.float32))

    colours = images.float()
    mean = colours.mean((1, 2, 3), keepdim=True)
    colours = mean + (colours - mean) * around_one(how.contrast)
    saturation = around_one(how.saturation)
    saturation[torch.from_numpy(rng.random(len(images)) < how.grey_share)] = 0.0
    grey = colours.mean(1, keepdim=True)
    colours = grey + (colours - grey) * saturation
    colours *= around_one(how.brightness) * around_one(how.channel_gain, 3)
    return colours.round_().clamp_(0, 255).to(torch.uint8)
