"""An archive of procedural landscapes, some with place and date, for tests that look at pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from featurizer import storage
from featurizer.backbones import BackboneRequest
from featurizer.embed import FeaturizerOptions, make_featurizer
from featurizer.schema import Row
from featurizer.tiles import place_of_name
from pipeline.synthetic.landscapes import LANDSCAPES
from tests.serving.gallery import encoded, publish

PER_CLASS = 4


def publish_landscapes(folder: Path) -> list[Row]:
    """Publishes ``folder``/landscapes over pictures in ``folder``/pictures; its rows."""
    rows, pixels = write_landscapes(folder / "pictures")
    featurizer = make_featurizer(FeaturizerOptions(BackboneRequest(weights="random:0")), "cpu")
    publish(folder / "landscapes", featurizer, pixels, rows)
    return rows


def write_landscapes(folder: Path) -> tuple[list[Row], list[np.ndarray]]:
    rows, pixels = [], []
    for kind, (name, paint) in enumerate(LANDSCAPES.items()):
        for i in range(PER_CLASS):
            south, west = -60 + 8 * kind, -150 + 40 * i
            plain = f"{name}_{i}.png"
            placed = f"2021-0{i + 1}-1{kind % 10}_{south},{west},{south + 1},{west + 1}.png"
            path = folder / name / (placed if i % 2 else plain)
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels.append(paint(np.random.default_rng(i), 128))
            path.write_bytes(encoded(pixels[-1]))
            place = place_of_name(str(path))
            rows.append(
                Row(
                    str(path),
                    storage.stat(str(path)).etag,
                    label=name,
                    taken=place.taken,
                    bounds=place.bounds,
                )
            )
    return rows, pixels
