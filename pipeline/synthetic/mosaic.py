"""One georeferenced scene sewn together from patches of every landscape, with null areas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.landscapes import RECIPES, generator, view
from pipeline.synthetic.noise import Plane, fractal, positions, step
from pipeline.synthetic.paint import Rgb

CRS = "EPSG:4326"
WEST, NORTH = 130.0, -8.0  # of the upper left corner
TAKEN = date(2022, 6, 18)
DEGREES_PER_PX = 1.125 / 256  # as coarse as the dated pictures of 256 px, about 490 m
_CELL_PX = 340  # a little more than a tile of 256, so that many tiles hold one class
_PATCH_PX = 512  # 1.5 cells: neighbours overlap by half a cell


@dataclass(frozen=True, slots=True)
class Patch:
    """One landscape's square of the scene; the window may run past the scene's edge."""

    name: str
    x: int
    y: int
    seed: int
    number: int


def plan_patches(width_px: int, height_px: int, seed: int) -> list[Patch]:
    """Patches that cover the scene, every class about equally often, in no order."""
    rng = generator(seed, "mosaic")
    columns, rows = -(-width_px // _CELL_PX), -(-height_px // _CELL_PX)
    names: list[str] = []
    while len(names) < columns * rows:
        names += [list(RECIPES)[int(i)] for i in rng.permutation(len(RECIPES))]
    margin, patches = (_PATCH_PX - _CELL_PX) // 2, []
    for number in range(columns * rows):
        row, column = divmod(number, columns)
        dx, dy = (int(v) for v in rng.integers(-16, 17, 2))
        x, y = column * _CELL_PX - margin + dx, row * _CELL_PX - margin + dy
        patches.append(Patch(names[number], x, y, seed, number))
    return patches


def paint_patch(patch: Patch) -> Rgb:
    """The patch's pixels; what its generator gives depends on nothing but the patch."""
    rng = generator(patch.seed, patch.name, 4, patch.number)
    return view(patch.name, rng, rng, _PATCH_PX)


def _weights(patch: Patch) -> Plane:
    """How much each of the patch's pixels counts: 1 inside, nearly 0 at a wavering edge."""
    x, y = positions(_PATCH_PX)
    wander = fractal(generator(patch.seed, "seam", patch.number), _PATCH_PX, 3.2, 2)
    reach = np.maximum(np.abs(x), np.abs(y)) * 2 + np.float32(0.09) * wander
    # The fourth power keeps the zone in which two landscapes show through each other narrow.
    return (1 - step(0.5, 1.0, reach)) ** 4 + np.float32(1e-6)


def null_area(width_px: int, height_px: int, seed: int) -> NDArray[np.bool_]:
    """(height, width), True where nothing was measured: a slanted gap between two swaths, as
    between orbits, and a ragged corner that no pass reached.  About a sixth of the scene."""
    rng = generator(seed, "null")
    slant, middle = rng.uniform(0.16, 0.28), rng.uniform(0.4, 0.55)
    y = np.linspace(0, 1, height_px, dtype=np.float32)[:, None]
    x = np.linspace(0, 1, width_px, dtype=np.float32)[None, :]
    gap: NDArray[np.bool_] = np.abs(x - middle + slant * (y - 0.5)) < rng.uniform(0.028, 0.04)
    steps = rng.normal(0, 0.05, (height_px + 7) // 8)
    ragged = np.repeat(steps - np.convolve(steps, np.full(9, 1 / 9), "same"), 8)[:height_px, None]
    corner: NDArray[np.bool_] = (1 - x) + (1 - y) < rng.uniform(0.4, 0.48) + ragged * 0.35
    return gap | corner


def assemble(
    patches: Iterable[Patch], pictures: Iterable[Rgb], size_px: tuple[int, int], seed: int
) -> Rgb:
    """(height, width, 3) uint8 from pictures in the order of their patches; ``size_px`` is
    (width, height).  0 in all bands where null, 1 or more elsewhere.

    Memory: 16 bytes a pixel while it blends.
    """
    width, height = size_px
    total = np.zeros((height, width, 3), np.float32)
    weight = np.zeros((height, width, 1), np.float32)
    for patch, picture in zip(patches, pictures, strict=True):
        left, top = max(patch.x, 0), max(patch.y, 0)
        right, bottom = min(patch.x + _PATCH_PX, width), min(patch.y + _PATCH_PX, height)
        if left >= right or top >= bottom:
            continue
        inside = np.s_[top - patch.y : bottom - patch.y, left - patch.x : right - patch.x]
        share = _weights(patch)[inside][:, :, None]
        total[top:bottom, left:right] += picture[inside] * share
        weight[top:bottom, left:right] += share
    total /= weight
    scene = np.clip(total, 1, 255).astype(np.uint8)
    scene[null_area(width, height, seed)] = 0
    return scene


def scene_name(size_px: tuple[int, int]) -> str:
    """The scene's file name, which tells its date and bounds; ``size_px`` is (width, height)."""
    width, height = size_px
    south, east = NORTH - height * DEGREES_PER_PX, WEST + width * DEGREES_PER_PX
    return f"{TAKEN.isoformat()}_{south:.6f},{WEST:.6f},{NORTH:.6f},{east:.6f}.tif"


def write_scene(path: Path, scene: Rgb) -> None:
    """Write the scene as a cloud-optimised GeoTIFF: 256 px tiles, deflate, overviews, nodata 0.

    The file appears whole or not at all.
    """
    import rasterio
    from affine import Affine
    from rasterio.io import MemoryFile
    from rasterio.shutil import copy

    height, width, bands = scene.shape
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": bands,
        "dtype": "uint8",
        "crs": CRS,
        "transform": Affine(DEGREES_PER_PX, 0.0, WEST, 0.0, -DEGREES_PER_PX, NORTH),
        "nodata": 0,
        "photometric": "RGB",
    }
    part = path.with_name(path.name + ".part")
    with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"), MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(np.moveaxis(scene, 2, 0))
        with memory.open() as source:
            options = {"compress": "DEFLATE", "level": 4, "predictor": "YES", "blocksize": 256}
            copy(source, str(part), driver="COG", overview_resampling="AVERAGE", **options)
    part.replace(path)
