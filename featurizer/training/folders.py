"""Labelled folders of images, whole, in memory, as bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from featurizer.errors import SourceError
from featurizer.training.split import held_out

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
MAX_SIDE_PX = 256  # larger images are reduced to it: memory stays n * 196,608 bytes


@dataclass(frozen=True, slots=True)
class LabelledFolder:
    """One ImageFolder, sorted by path: row i of all three tensors is one image."""

    name: str
    classes: tuple[str, ...]
    pixels: Tensor  # (n, side, side, 3) uint8
    labels: Tensor  # (n,) int64, into classes
    held: Tensor  # (n,) bool, True where training must not look

    def rows(self, *, held: bool) -> NDArray[np.int64]:
        """The rows of the held-out quarter, or those of the other three, ascending."""
        return torch.nonzero(self.held if held else ~self.held).flatten().numpy()

    def batch(self, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Those images as (n, 3, side, side) uint8, channels last in memory."""
        return self.pixels[torch.as_tensor(np.asarray(rows))].permute(0, 3, 1, 2)


def read_folder(path: Path) -> LabelledFolder:
    """The folder's images, each at the folder's commonest size made square, 256 px at most.

    Raises SourceError where the folder is missing, has fewer than two classes, holds a file that
    does not decode, or where one side of the split is empty.
    """
    files = list(_labelled_files(path))
    classes = tuple(sorted({file.parent.name for file in files}))
    if len(classes) < 2:
        raise SourceError(
            f"{path}: {len(classes)} class folders with images, but a classifier needs two or more;"
            " lay the images out as <folder>/<class>/<file>"
        )
    name = path.resolve().name
    held = torch.tensor([held_out(f"{name}/{file.parent.name}/{file.name}") for file in files])
    if bool(held.all()) or not bool(held.any()):
        raise SourceError(
            f"{path}: of {len(files)} images {int(held.sum())} are held out, so one side of the"
            " split is empty; give a folder with more images"
        )
    number = {label: i for i, label in enumerate(classes)}
    return LabelledFolder(
        name=name,
        classes=classes,
        pixels=_read_pixels(files, _common_side(files)),
        labels=torch.tensor([number[file.parent.name] for file in files]),
        held=held,
    )


def _labelled_files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        raise SourceError(f"{path}: no such folder; --data takes a folder of class folders")
    for file in sorted(path.glob("*/*")):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            yield file


def _common_side(files: Sequence[Path]) -> int:
    """The commonest longer side among some of the files, in pixels; 256 at most."""
    sample = files[:: max(1, len(files) // 200)]
    sides: Counter[int] = Counter()
    for file in sample:
        with _open(file) as image:
            sides[max(image.size)] += 1
    return min(MAX_SIDE_PX, sides.most_common(1)[0][0])


def _open(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise SourceError(f"{file}: not a readable image ({error}); remove or repair it") from error


def _read_pixels(files: Sequence[Path], side: int) -> Tensor:
    pixels = np.empty((len(files), side, side, 3), np.uint8)

    def read(row: int) -> None:
        file = files[row]
        with _open(file) as image:
            try:
                colour = image.convert("RGB")
            except (OSError, SyntaxError, ValueError) as error:
                raise SourceError(
                    f"{file}: does not decode ({error}); remove or repair it"
                ) from error
            if colour.size != (side, side):
                colour = colour.resize((side, side), Image.Resampling.BILINEAR)
            pixels[row] = np.asarray(colour)

    with ThreadPoolExecutor(2) as pool:
        done = pool.map(read, range(len(files)))
        for _ in tqdm(done, total=len(files), desc="reading", unit="image", mininterval=5):
            pass
    return torch.from_numpy(pixels)
