"""A small archive of real picture files, embedded and published: what an HTTP server needs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio import Affine

from featurizer import storage
from featurizer.backbones import BackboneRequest
from featurizer.decode import Decoded, decode
from featurizer.embed import Featurizer, FeaturizerOptions, make_featurizer
from featurizer.schema import Row
from featurizer.stored import save_featurizer
from featurizer.tiles import Window, place_of_name
from tests.serving.archive import Archive, build_archive

Pixels = NDArray[np.uint8]  # (h, w, 3)


@dataclass(frozen=True, slots=True)
class Gallery:
    """A published archive, the folder of its pictures, and the featurizer that embedded it."""

    archive: Archive
    pictures: Path
    featurizer: Featurizer
    scene: Pixels  # the raster that some tiles are windows of

    @property
    def root(self) -> str:
        return self.archive.root


def texture(seed: int, side: int = 96) -> Pixels:
    """Coloured stripes and spots: pictures that no two seeds share."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    planes = []
    for _ in range(3):
        fx, fy = rng.uniform(1, 14, 2)
        wave = np.sin(2 * np.pi * (fx * x + fy * y) + rng.uniform(0, 6)) * rng.uniform(20, 100)
        planes.append(rng.uniform(60, 200) + wave + rng.normal(0, 6, (side, side)))
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


def encoded(pixels: Pixels, kind: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind, **options)
    return sink.getvalue()


def write_pictures(folder: Path) -> list[str]:
    """Relative names of pictures in three classes; odd names among them."""
    names = [f"class{i % 3}/picture{i}.png" for i in range(18)]
    names += [
        "class0/2021-07-14_-12.5,130.0,-11.5,131.0.jpg",
        "class1/2020-02-29_60.0,179.0,61.0,-179.0.jpg",
        "class2/50 % off #1, naïve?.png",
        "class2/ends in/image",
        "class2/wide.png",
    ]
    for seed, name in enumerate(names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        side = 96
        pixels = texture(seed, side)
        if name.endswith("wide.png"):
            pixels = np.concatenate([pixels, texture(999, side)], axis=1)
        target.write_bytes(encoded(pixels, "JPEG" if name.endswith("jpg") else "PNG"))
    return names


def write_scene(path: Path) -> Pixels:
    """A georeferenced RGB raster of 256 x 192 pixels at ``path``; its pixels."""
    pixels = np.concatenate([texture(50 + i, 192)[:, :128] for i in range(2)], axis=1)
    profile = {"driver": "GTiff", "height": 192, "width": 256, "count": 3, "dtype": "uint8"}
    transform = Affine(0.01, 0.0, 10.0, 0.0, -0.01, 50.0)
    with rasterio.open(path, "w", crs="EPSG:4326", transform=transform, **profile) as raster:
        raster.write(pixels.transpose(2, 0, 1))
    return pixels


def file_rows(folder: Path, names: Sequence[str]) -> list[Row]:
    rows = []
    for name in names:
        uri = str(folder / name)
        place = place_of_name(uri)
        rows.append(
            Row(
                uri,
                storage.stat(uri).etag,
                label=name.split("/")[0],
                taken=place.taken,
                bounds=place.bounds,
            )
        )
    return rows


def decoded_files(rows: Sequence[Row]) -> list[Pixels]:
    found = decode([Path(row.uri).read_bytes() for row in rows])
    return [item.pixels for item in found if isinstance(item, Decoded)]


def scene_rows(scene: Path) -> list[Row]:
    etag = storage.stat(str(scene)).etag
    return [
        Row(str(scene), etag, Window(x, y, 96, 96), None, None, _bounds(x, y), 1.0)
        for y in (0, 96)
        for x in (0, 96)
    ]


def _bounds(x: int, y: int) -> tuple[float, float, float, float]:
    west, north = 10.0 + x * 0.01, 50.0 - y * 0.01
    return west, north - 0.96, west + 0.96, north


def cut(scene: Pixels, row: Row) -> Pixels:
    window = row.window
    assert window is not None
    return scene[window.y : window.y + window.height, window.x : window.x + window.width]


def build_gallery(folder: Path) -> Gallery:
    """Writes pictures and a raster below ``folder``, embeds and publishes them."""
    pictures = folder / "pictures"
    rows = file_rows(pictures, write_pictures(pictures))
    scene = write_scene(pictures / "scene.tif")
    windows = scene_rows(pictures / "scene.tif")
    featurizer = make_featurizer(FeaturizerOptions(BackboneRequest(weights="random:0")), "cpu")
    pixels = [*decoded_files(rows), *(cut(scene, row) for row in windows)]
    archive = publish(folder / "archive", featurizer, pixels, [*rows, *windows])
    return Gallery(archive, pictures, featurizer, scene)


def publish(
    root: Path, featurizer: Featurizer, pixels: Sequence[Pixels], rows: Sequence[Row]
) -> Archive:
    """Embeds the pixels and publishes them as the rows, in two shards."""
    save_featurizer(str(root), featurizer)
    half = len(rows) // 2
    return build_archive(
        root,
        featurizer.embed(pixels),
        rows,
        [half, len(rows) - half],
        factory="IVF2,PQ8x4",
        featurizer=featurizer.spec,
    )
