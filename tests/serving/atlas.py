"""An archive of made-up rows with places, dates, labels and vectors: what filters are tried on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from featurizer.backbones import BackboneRequest
from featurizer.embed import Featurizer, FeaturizerOptions, make_featurizer
from featurizer.schema import Row
from featurizer.stored import save_featurizer
from featurizer.tiles import Bounds, Window
from serving.app import create_app
from serving.settings import Settings
from tests.serving.archive import Archive, build_archive, clustered
from tests.serving.server import running, wait_until_ready

ROWS = 600
LABELS = ("coast", "ice", "desert", "forest")


@dataclass(frozen=True, slots=True)
class Atlas:
    """A client of a running server, and the archive behind it with unit vectors in float64."""

    client: httpx.Client
    archive: Archive
    units: NDArray[np.float64]  # (n, d)

    @property
    def rows(self) -> list[Row]:
        return self.archive.rows

    @property
    def ids(self) -> list[str]:
        return self.archive.tile_ids

    def search(self, **body: Any) -> dict[str, Any]:
        """The answer to a search; ``positive`` may be row numbers."""
        positive = body.pop("positive", [0])
        examples = [{"tile_id": self.ids[one]} if isinstance(one, int) else one for one in positive]
        answer = self.client.post("/v1/search", json={"positive": examples, **body})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def found(self, **body: Any) -> list[int]:
        """Row numbers of the hits."""
        place = {name: row for row, name in enumerate(self.ids)}
        return [place[hit["tile_id"]] for hit in self.search(**body)["hits"]]

    def ranked(self, query: NDArray[np.float64]) -> list[int]:
        """Row numbers by brute force, the most similar first."""
        return list(np.argsort(-(self.units @ query), kind="stable"))


@cache
def featurizer() -> Featurizer:
    return make_featurizer(FeaturizerOptions(BackboneRequest(weights="random:0")), "cpu")


def _bounds(rng: np.random.Generator) -> Bounds:
    west, south = rng.uniform(-180, 180), rng.uniform(-80, 75)
    east = west + rng.uniform(1, 8)
    return west, south, east - 360 if east > 180 else east, south + rng.uniform(1, 4)


def make_rows(count: int, seed: int = 0) -> list[Row]:
    """Rows of which an eighth lacks a label, a date, a place or a valid fraction each."""
    rng = np.random.default_rng(seed)
    start = datetime(2019, 1, 1, tzinfo=UTC)
    rows = []
    for number in range(count):
        known = rng.random(4) > 0.125
        rows.append(
            Row(
                uri=f"/imagery/{'north' if number % 3 else 'south'}/scene{number // 6}.tif",
                etag=f"e{number}",
                window=Window(number % 6 * 64, 0, 128, 128),
                label=LABELS[int(rng.integers(4))] if known[0] else None,
                taken=start + timedelta(hours=int(rng.integers(4 * 8760))) if known[1] else None,
                bounds=_bounds(rng) if known[2] else None,
                valid_fraction=float(np.float32(rng.random())) if known[3] else None,
            )
        )
    return rows


def build_atlas(root: Path, count: int = ROWS) -> Archive:
    model = featurizer()
    save_featurizer(str(root), model)
    vectors = clustered(count, model.spec.dim)
    counts = [count // 3, count - count // 3]
    return build_archive(root, vectors, make_rows(count), counts, featurizer=model.spec)


@contextlib.contextmanager
def served_atlas(folder: Path, **options: Any) -> Iterator[Atlas]:
    """An atlas and a server over it; ``options`` are settings."""
    archive = build_atlas(folder / "archive")
    units = archive.vectors.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    settings = Settings(
        root=archive.root, cache_dir=folder / "cache", query_threads=2, watch_s=0, **options
    )
    with (
        running(create_app(settings)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        wait_until_ready(client)
        yield Atlas(client, archive, units)
