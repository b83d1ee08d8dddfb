"""An archive of procedural landscapes over places and dates, for tests that look at pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurizer import storage
from featurizer.backbones import BackboneRequest
from featurizer.embed import FeaturizerOptions, make_featurizer
from featurizer.schema import Row
from featurizer.tiles import place_of_name
from pipeline.synthetic.landscapes import LANDSCAPES
from tests.serving.gallery import encoded, publish

DATES = ("2020-01-15", "2021-07-15", "2022-10-15")
WESTS = (-150, 10)
SIZE_DEGREES = 2
UNPLACED = 6


@dataclass(frozen=True, slots=True)
class World:
    """A published archive: every landscape at two places on three dates, and some of nowhere."""

    root: Path
    rows: list[Row]

    @property
    def placed(self) -> list[Row]:
        return [row for row in self.rows if row.bounds is not None]

    def of(self, label: str | None) -> list[Row]:
        return [row for row in self.rows if row.label == label]

    def row(self, uri: str) -> Row:
        return next(row for row in self.rows if row.uri == uri)


def publish_world(folder: Path) -> World:
    rows: list[Row] = []
    pixels: list[NDArray[np.uint8]] = []
    for kind, (name, paint) in enumerate(LANDSCAPES.items()):
        south = -60 + 8 * kind
        for place, west in enumerate(WESTS):
            ground = paint(np.random.default_rng(place), 128)
            for year, day in enumerate(DATES):
                corner = f"{south},{west},{south + SIZE_DEGREES},{west + SIZE_DEGREES}"
                lit = np.clip(ground * (1 - 0.06 * year), 0, 255).astype(np.uint8)
                pixels.append(lit)
                rows.append(_row(folder / "pictures" / name / f"{day}_{corner}.png", lit, name))
    for i in range(UNPLACED):
        pixels.append(LANDSCAPES["river"](np.random.default_rng(90 + i), 128))
        rows.append(_row(folder / "pictures" / f"plain_{i}.png", pixels[-1], None))
    featurizer = make_featurizer(FeaturizerOptions(BackboneRequest(weights="random:0")), "cpu")
    publish(folder / "world", featurizer, pixels, rows)
    return World(folder / "world", rows)


def _row(path: Path, pixels: NDArray[np.uint8], label: str | None) -> Row:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels))
    place = place_of_name(str(path))
    return Row(
        str(path),
        storage.stat(str(path)).etag,
        label=label,
        taken=place.taken,
        bounds=place.bounds,
    )
