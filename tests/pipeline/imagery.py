"""Generated pictures, rasters and jobs for the tests of this room; all of it seeded."""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image

from featurizer.pixels import Rgb
from featurizer.shards import ShardRecord
from featurizer.spec import FeaturizerSpec
from pipeline.config import EmbedJob, SourceOptions
from pipeline.embed_shard import BatchDone, Embedder, embed_shard
from pipeline.plan import ShardPlan, plan_shards
from pipeline.sources import list_items

CORRUPT = (b"", b"no picture at all", b"\xff\xd8\xff\xe0 and then nothing", b"\x89PNG\r\n\x1a\n")


def picture(seed: int, height: int = 40, width: int = 48) -> Rgb:
    """Four by four blocks of random colours: any two seeds are told apart by mean colours."""
    blocks = np.random.default_rng(seed).integers(1, 256, (4, 4, 3), np.uint8)
    rows = np.arange(height) * 4 // height
    columns = np.arange(width) * 4 // width
    return np.ascontiguousarray(blocks[rows][:, columns])


def encoded(pixels: NDArray[Any], form: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, form, **options)
    return sink.getvalue()


def save(path: Path, data: bytes | NDArray[Any]) -> str:
    """Writes bytes, or pixels as PNG, folders made as needed; the path as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else encoded(data))
    return str(path)


def save_raster(path: Path, bands: NDArray[Any], placed: bool = True, **profile: Any) -> str:
    """A GeoTIFF of (bands, h, w): degrees from 10 E, 50 N, a hundredth a pixel, if ``placed``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    # rasterio warns of an identity transform; one without a reference system says no place
    made = {"transform": rasterio.Affine(0.01, 0, 10, 0, -0.01, 50), **profile}
    made |= {"driver": "GTiff", "dtype": bands.dtype, "crs": "EPSG:4326" if placed else None}
    with rasterio.open(path, "w", count=count, height=height, width=width, **made) as file:
        file.write(bands)
    return str(path)


def photo_folder(root: Path, count: int, bad_every: int = 0) -> dict[str, Rgb]:
    """``count`` PNGs in two class folders, each ``bad_every``th of them broken; the good ones."""
    good = {}
    for i in range(count):
        path = root / ("field", "water")[i % 2] / f"{i:04d}.png"
        if bad_every and i % bad_every == bad_every - 1:
            save(path, CORRUPT[i // bad_every % len(CORRUPT)])
        else:
            good[save(path, picture(i))] = picture(i)
    return good


class MeanColours:
    """A featurizer that a test can compute by hand: mean colours of four quarters, unit length.

    As the real one, it answers NaN for a picture that it cannot place: one that is all black.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.spec = FeaturizerSpec(
            backbone="mean-colours",
            layer="quarters",
            weights_sha256="0" * 64,
            input_px=2,
            resize="stretch",
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            dim=12,
            metric="cosine",
        )

    def embed_batch(self, chunks: Iterable[list[Rgb]]) -> NDArray[np.float32]:
        found = [mean_colours(one) for chunk in chunks for one in chunk]
        self.batches.append(len(found))
        return np.array(found, np.float32).reshape(len(found), 12)


def mean_colours(pixels: Rgb) -> NDArray[np.float32]:
    top, left = pixels.shape[0] // 2, pixels.shape[1] // 2
    quarters = [
        pixels[rows, columns].reshape(-1, 3).mean(axis=0)
        for rows in (slice(None, max(top, 1)), slice(top, None))
        for columns in (slice(None, max(left, 1)), slice(left, None))
    ]
    vector = np.concatenate(quarters)
    length = np.linalg.norm(vector)
    return (vector / length if length else np.full(12, np.nan)).astype(np.float32)


def a_job(source: Path | str, root: Path | str, **fields: Any) -> EmbedJob:
    """A job of ``MeanColours``; what is not a field of the job is one of its source."""
    names = set(EmbedJob.__slots__)
    options = {name: fields.pop(name) for name in list(fields) if name not in names}
    fields = {"batch": 8, "featurizer": MeanColours().spec.fingerprint, **fields}
    return EmbedJob(SourceOptions(str(source), **options), str(root), **fields)


def plans_of(job: EmbedJob) -> list[ShardPlan]:
    return list(plan_shards(list_items(job.source), job.shard_rows, job.settings))


def embed_all(
    job: EmbedJob, featurizer: Embedder | None = None, told: list[BatchDone] | None = None
) -> list[ShardRecord]:
    """Every shard of the job, one after the other."""
    made = MeanColours() if featurizer is None else featurizer
    tell = [].append if told is None else told.append
    with ThreadPoolExecutor(job.threads) as pool:
        return [embed_shard(plan, job, made, pool, tell) for plan in plans_of(job)]
