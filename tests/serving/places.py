"""Rows with dates, places and labels, known and unknown, and what a filter leaves of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import shapely

from featurizer.schema import Row
from featurizer.tiles import Bounds, Window
from serving.engine import blocks
from serving.engine.filters import Filter
from serving.engine.rows import Rows
from serving.engine.sync import LocalFiles
from tests.serving.archive import build_archive, clustered

LABELS = ("coast", "desert", "forest", "città")


def placed_rows(count: int, seed: int = 0) -> list[Row]:
    """In order of time over five years; whole degrees, so that edges meet; some facts unknown."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        west, south = int(rng.integers(-180, 181)), int(rng.integers(-90, 88))
        east, north = west + int(rng.integers(1, 40)), min(90, south + int(rng.integers(1, 20)))
        day = datetime(2019, 1, 1, tzinfo=UTC) + timedelta(days=1826 * i / count)
        rows.append(
            Row(
                uri=f"gs://bucket/{day:%Y}/scene{i // 3}.tif",
                etag=f"e{i}",
                window=Window(64 * (i % 3), 0, 64, 64) if i % 7 else None,
                label=LABELS[int(rng.integers(4))] if rng.random() < 0.8 else None,
                taken=day if rng.random() < 0.8 else None,
                bounds=(float(west), float(south), float(east - 360 * (east > 180)), float(north))
                if rng.random() < 0.8
                else None,
                valid_fraction=float(np.float32(rng.integers(1, 11) / 10))
                if rng.random() < 0.8
                else None,
            )
        )
    return rows


def opened_rows(folder: Path, rows: list[Row], counts: list[int], block_rows: int = 16) -> Rows:
    """An archive of these rows, its Arrow files in small blocks, opened."""
    archive = build_archive(folder / "root", clustered(len(rows), 8), rows, counts, "IVF1,PQ4x2")
    files = LocalFiles(Path(archive.root), archive.generation.quantizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_ROWS", block_rows)
        return Rows.open(archive.generation, files, folder / "rows", folder / archive.name)


def _plane(west: float, south: float, east: float, north: float) -> shapely.Geometry:
    """The rectangle, or the line or point that is left of one without width or height."""
    return shapely.envelope(shapely.multipoints([(west, south), (east, north)]))


@lru_cache(maxsize=4096)
def _turns(bounds: Bounds) -> tuple[shapely.Geometry, ...]:
    """The box laid out past 180 where it crosses, also a turn before and a turn after."""
    west, south, east, north = bounds
    east += 360 * (west > east)
    return tuple(_plane(west + turn, south, east + turn, north) for turn in (-360, 0, 360))


def touch(first: Bounds, second: Bounds) -> bool:
    """Whether two boxes share a point, by shapely on a plane of three turns."""
    other = _turns(second)[1]
    return any(each.intersects(other) for each in _turns(first))


def touches_polygon(bounds: Bounds, geojson: str) -> bool:
    shape = shapely.from_geojson(geojson)
    turned = [
        shapely.transform(shape, lambda p, t=turn: np.add(p, (t, 0))) for turn in (-360, 0, 360)
    ]
    return any(each.intersects(other) for each in turned for other in _turns(bounds))


def passes(row: Row, asked: Filter) -> bool:
    """The filter by its words, one row at a time."""
    if asked.start is not None and (row.taken is None or row.taken < asked.start):
        return False
    if asked.end is not None and (row.taken is None or row.taken >= asked.end):
        return False
    if asked.season is not None:
        if row.taken is None:
            return False
        first, last = asked.season
        day = (row.taken.month, row.taken.day)
        inside = first <= day <= last if first <= last else day >= first or day <= last
        if not inside:
            return False
    if asked.bbox is not None and (row.bounds is None or not touch(row.bounds, asked.bbox)):
        return False
    if asked.polygon is not None and (
        row.bounds is None or not touches_polygon(row.bounds, asked.polygon)
    ):
        return False
    if asked.labels is not None and row.label not in asked.labels:
        return False
    if asked.uri_prefix is not None and not row.uri.startswith(asked.uri_prefix):
        return False
    return asked.min_valid_fraction is None or (
        row.valid_fraction is not None
        and np.float32(row.valid_fraction) >= np.float32(asked.min_valid_fraction)
    )
