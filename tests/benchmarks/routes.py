"""The three routes from pictures to vectors, each timed in a process of its own.

Run by ``tests.benchmarks.embed``; prints one JSON line.  A process of its own, because the routes
would otherwise share allocator, thread pools and forks, and because peak memory belongs to one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from featurizer import storage
from featurizer.backbones import Backbone, BackboneRequest, build
from featurizer.decode import Decoded, decode
from featurizer.embed import (
    MAX_BATCH,
    Featurizer,
    FeaturizerOptions,
    make_featurizer,
    use_one_torch_thread,
)
from pipeline.embedding import job_of
from pipeline.jobs import run_embed
from pipeline.options import parse
from pipeline.runner import cores

ROUTES = ("forward", "pipeline", "plain", "memory")


@dataclass(frozen=True, slots=True)
class Timing:
    """``seconds`` for all ``images``, of which ``fixed_s`` pass before the second image.

    ``cpu_ms`` is processor time an image, all threads and processes, without the start: it tells
    what is spent where even on a machine that others use.  ``detail``: what else was found out.
    """

    images: int
    seconds: float
    fixed_s: float
    cpu_ms: float
    peak_mib: float
    detail: str = ""

    @property
    def rate(self) -> float:
        """Images a second, once it runs."""
        return (self.images - 1) / (self.seconds - self.fixed_s)

    @property
    def whole_rate(self) -> float:
        """Images a second as a user sees it who waits for the start as well."""
        return self.images / self.seconds


def pictures(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def request(backbone: str) -> BackboneRequest:
    """The bundled weights, or random ones for networks that would have to be downloaded."""
    return BackboneRequest(backbone, None if backbone == "terra128" else "random:0")


@dataclass(frozen=True, slots=True)
class _Took:
    seconds: float
    cpu_s: float

    def cpu_ms(self, images: int) -> float:
        return 1000 * self.cpu_s / images


def _timed(work: Callable[[], object]) -> _Took:
    begin, before = time.perf_counter(), sum(os.times()[:4])
    work()
    return _Took(time.perf_counter() - begin, sum(os.times()[:4]) - before)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def time_forward(backbone: str, folder: Path) -> Timing:
    """The model alone, on pixels in memory: the better of the two ways to use all cores."""
    featurizer = make_featurizer(FeaturizerOptions(backbone=request(backbone)), "cpu")
    batches = _preprocessed(featurizer, pictures(folder))
    images = sum(map(len, batches))
    count = cores()
    torch.set_num_threads(count)
    featurizer.forward(batches[0])
    together = _timed(lambda: [featurizer.forward(batch) for batch in batches])
    with ThreadPoolExecutor(count, initializer=use_one_torch_thread) as pool:
        list(pool.map(featurizer.forward, batches[:1] * count))
        apart = _timed(lambda: list(pool.map(featurizer.forward, batches)))
    detail = f"{count} torch threads {images / together.seconds:.0f}/s, {count} threads of one "
    detail += f"{images / apart.seconds:.0f}/s, {featurizer.dtype}"
    best = min(together, apart, key=lambda took: took.seconds)
    return Timing(images, best.seconds, 0.0, best.cpu_ms(images), peak_mib(), detail)


def _preprocessed(featurizer: Featurizer, paths: Sequence[str]) -> list[torch.Tensor]:
    batches = []
    for start in range(0, len(paths), MAX_BATCH):
        found = decode([storage.read_bytes(path) for path in paths[start : start + MAX_BATCH]])
        pixels = [one.pixels for one in found if isinstance(one, Decoded)]
        batches.append(featurizer.preprocess(pixels))
    return batches


def time_pipeline(backbone: str, folder: Path, single: Path) -> Timing:
    """``python -m pipeline embed`` in process, on Beam's local runner: files to shards written."""
    cold = _timed(lambda: _embed(backbone, single))
    warm = _timed(lambda: _embed(backbone, single))
    images = len(pictures(folder))
    took = _timed(lambda: _embed(backbone, folder, images))
    detail = f"first start {cold.seconds:.2f} s, then {warm.seconds:.2f} s"
    steady = _Took(took.seconds - warm.seconds, took.cpu_s - warm.cpu_s)
    seconds, cpu_ms = steady.seconds + cold.seconds, steady.cpu_ms(images - 1)
    return Timing(images, seconds, cold.seconds, cpu_ms, peak_mib(), detail)


def time_memory(backbone: str, folder: Path) -> Timing:
    """One embed run and nothing else, for its peak memory."""
    images = len(pictures(folder))
    took = _timed(lambda: _embed(backbone, folder, images))
    return Timing(images, took.seconds, 0.0, took.cpu_ms(images), peak_mib())


def _embed(backbone: str, folder: Path, images: int = 1) -> None:
    """Model built and saved, the job run: all that the command does but its imports."""
    root = tempfile.mkdtemp(prefix="worldsift-benchmark-")
    weights = request(backbone).weights
    command = ["embed", str(folder), root, "--backbone", backbone, "--device", "cpu"]
    command += ["--tile", "never", "--no-progress"]
    command += ["--weights", weights] if weights else []
    job = parse(command)
    try:
        summary = run_embed(job_of(job), job.runner)
        if summary.embedded != images:
            raise RuntimeError(f"{summary.embedded} embedded of {images}: {summary.to_json()}")
    finally:
        shutil.rmtree(root)


class _Pictures(Dataset[torch.Tensor]):
    """What a tutorial says: Pillow, torchvision's transforms, one picture an item."""

    def __init__(self, paths: Sequence[str], backbone: Backbone) -> None:
        self._paths = paths
        self._transform = transforms.Compose(
            [
                transforms.Resize((backbone.input_px, backbone.input_px)),
                transforms.ToTensor(),
                transforms.Normalize(backbone.mean, backbone.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self._paths[index]) as picture:
            pixels: torch.Tensor = self._transform(picture.convert("RGB"))
            return pixels


def time_plain(backbone: str, folder: Path, single: Path) -> Timing:
    """Pillow, torchvision, DataLoader with a worker a core, the network in eager float32."""

    def run(paths: list[str]) -> NDArray[np.float32]:
        made = build(request(backbone))
        loader = DataLoader(_Pictures(paths, made), batch_size=64, num_workers=cores())
        with torch.no_grad():
            return np.concatenate([made.module(batch).numpy() for batch in loader])

    fixed = _timed(lambda: run(pictures(single)))
    paths = pictures(folder)
    took = _timed(lambda: run(paths))
    cpu_ms = 1000 * (took.cpu_s - fixed.cpu_s) / (len(paths) - 1)
    return Timing(len(paths), took.seconds, fixed.seconds, cpu_ms, peak_mib())


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.routes")
    parser.add_argument("route", choices=ROUTES)
    parser.add_argument("backbone")
    parser.add_argument("folder", type=Path, help="pictures, all of which are embedded")
    parser.add_argument("single", type=Path, help="a folder of one picture, for the start alone")
    args = parser.parse_args(argv)
    made: dict[str, Callable[[], Timing]] = {
        "forward": lambda: time_forward(args.backbone, args.folder),
        "pipeline": lambda: time_pipeline(args.backbone, args.folder, args.single),
        "plain": lambda: time_plain(args.backbone, args.folder, args.single),
        "memory": lambda: time_memory(args.backbone, args.folder),
    }
    record: dict[str, Any] = asdict(made[args.route]())
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
