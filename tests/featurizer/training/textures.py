"""Small made-up ImageFolders whose classes differ by texture, in every direction alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

WAVELENGTHS_PX = {"fine": 4.0, "middle": 9.0, "wide": 20.0}


def texture(wavelength_px: float, side: int, rng: np.random.Generator) -> np.ndarray:
    """(side, side, 3) uint8: a plane wave of random direction, phase and colour, with noise."""
    angle, phase = rng.uniform(0, 2 * np.pi, 2)
    y, x = np.mgrid[:side, :side]
    across = x * np.cos(angle) + y * np.sin(angle)
    wave = np.sin(2 * np.pi * across / wavelength_px + phase)
    colour = rng.uniform(20, 50, 3)
    values = 120 + wave[:, :, None] * colour + rng.normal(0, 12, (side, side, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def make_textures(folder: Path, *, per_class: int = 40, side: int = 48, seed: int = 0) -> Path:
    """Writes <folder>/<class>/<number>.png and gives the folder back."""
    rng = np.random.default_rng(seed)
    for label, wavelength_px in WAVELENGTHS_PX.items():
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            pixels = texture(wavelength_px, side, rng)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder
