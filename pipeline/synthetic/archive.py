"""A small archive on disk: an ImageFolder of every landscape, and one GeoTIFF mosaic of all."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from featurizer.errors import StorageError, UsageError
from pipeline.synthetic import mosaic
from pipeline.synthetic.landscapes import RECIPES, generator, view
from pipeline.synthetic.places import visits
from pipeline.synthetic.seasons import MEAN, Season

RECIPES_VERSION = 2  # to be raised when a seed's pixels change
_JPEG_QUALITY = 90
_PLAIN_EVERY = 10  # one picture in ten is plainly named: without date and place
_CHUNK = 16  # pictures a task: enough to hide what a task costs, few enough for a live progress bar
_STARTED, _COMPLETE = "archive.started.json", "archive.json"


@dataclass(frozen=True, slots=True)
class ArchiveParameters:
    """Everything that the archive's bytes depend on; ``mosaic_px`` is (width, height)."""

    images_per_class: int = 120
    size_px: int = 256
    seed: int = 0
    mosaic_px: tuple[int, int] = (4096, 3072)

    def __post_init__(self) -> None:
        if self.images_per_class < 1:
            raise UsageError(f"--images-per-class is {self.images_per_class}: give 1 or more")
        if not 64 <= self.size_px <= 2048:
            raise UsageError(f"--size-px is {self.size_px}: give 64 to 2048")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}: give 0 or more")
        if min(self.mosaic_px) < 512 or max(self.mosaic_px) > 16384:
            width, height = self.mosaic_px
            raise UsageError(f"--mosaic-px is {width} {height}: give 512 to 16384 for each side")


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """What the archive holds; ``created`` is False where it was there already."""

    images: str
    mosaic: str
    classes: tuple[str, ...]
    image_count: int
    created: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to make: its class, its path under ``images/``, its two generators' keys."""

    class_name: str
    path: str
    ground: tuple[int, ...]
    day: tuple[int, ...]
    season: Season = MEAN


def plan_shots(parameters: ArchiveParameters) -> list[Shot]:
    """Every picture of the archive: nine in ten dated and placed, the rest plainly named.

    All dates of a place show the same ground, but for cyclones: each of these is another storm.
    """
    shots, plain = [], -(-parameters.images_per_class // _PLAIN_EVERY)
    for name in RECIPES:
        for visit in visits(name, parameters.images_per_class - plain, parameters.seed):
            day = (2, visit.place, visit.number)
            ground = (1, *day[1:]) if name == "cyclone" else (1, visit.place)
            shots.append(Shot(name, f"{name}/{visit.name}", ground, day, visit.season))
        for index in range(plain):
            shots.append(Shot(name, f"{name}/{name}_{index:04d}.jpg", (0, index), (3, index)))
    return shots


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def _shoot(task: tuple[Path, ArchiveParameters, list[Shot]]) -> int:
    """Paint and write these pictures under the folder; their number."""
    folder, parameters, shots = task
    for shot in shots:
        ground = generator(parameters.seed, shot.class_name, *shot.ground)
        day = generator(parameters.seed, shot.class_name, *shot.day)
        pixels = view(shot.class_name, ground, day, parameters.size_px, shot.season)
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "JPEG", quality=_JPEG_QUALITY)
        _replace(folder / shot.path, encoded.getvalue())
    return len(shots)


def _end_with_parent() -> None:
    """Make this worker process end when the one that started it does, even by SIGKILL.

    Workers otherwise wait for ever for tasks, and finish queued ones under the next run's feet.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _workers(shot_count: int) -> Executor:
    """Processes for a real archive; one thread where starting them would cost more than the work.

    Spawned, not forked: the caller may hold threads (torch, Beam), and a fork copies their locks.
    """
    count = os.cpu_count() or 1
    if count == 1 or shot_count < 100:
        return ThreadPoolExecutor(1)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent)


def _parameters_json(parameters: ArchiveParameters) -> str:
    record = asdict(parameters) | {"recipes_version": RECIPES_VERSION, "classes": list(RECIPES)}
    return json.dumps(record, sort_keys=True) + "\n"


def _is_complete(root: Path, parameters: ArchiveParameters) -> bool:
    """Whether this very archive is there.  UsageError where something else is in its place."""
    marker = root / _COMPLETE
    if marker.exists():
        stored, wanted = marker.read_text(), _parameters_json(parameters)
        if stored != wanted:
            raise UsageError(
                f"{root} holds an archive of other parameters: {stored.strip()}, asked for "
                f"{wanted.strip()}; give another folder or delete this one"
            )
        return True
    ours = (root / _STARTED).exists()
    taken = [name for name in ("images", "scenes") if (root / name).exists()]
    if taken and not ours:
        raise UsageError(
            f"{root} already has {' and '.join(taken)}/ that are not a synthetic archive's; "
            "give an empty folder"
        )
    return False


def _pieces(
    pool: Executor, root: Path, parameters: ArchiveParameters, shots: list[Shot]
) -> Iterator[int]:
    """Do all the work, and yield the number of pictures and patches done as they are."""
    chunks = [shots[at : at + _CHUNK] for at in range(0, len(shots), _CHUNK)]
    yield from pool.map(_shoot, [(root / "images", parameters, chunk) for chunk in chunks])
    patches = mosaic.plan_patches(*parameters.mosaic_px, parameters.seed)
    pictures = pool.map(mosaic.paint_patch, patches)
    scene = mosaic.assemble(patches, pictures, parameters.mosaic_px, parameters.seed)
    mosaic.write_scene(root / "scenes" / mosaic.scene_name(parameters.mosaic_px), scene)
    yield len(patches)


def _make(root: Path, parameters: ArchiveParameters, shots: list[Shot], progress: bool) -> None:
    """Write everything, the completion marker last; what a killed run left is removed first."""
    root.mkdir(parents=True, exist_ok=True)
    _replace(root / _STARTED, _parameters_json(parameters).encode())
    for name in ("images", "scenes"):
        if (root / name).exists():
            shutil.rmtree(root / name)
    (root / "scenes").mkdir()
    for class_name in RECIPES:
        (root / "images" / class_name).mkdir(parents=True)
    total = len(shots) + len(mosaic.plan_patches(*parameters.mosaic_px, parameters.seed))
    with (
        _workers(len(shots)) as pool,
        tqdm(
            total=total, desc="landscapes", unit="img", file=sys.stderr, disable=not progress
        ) as bar,
    ):
        for done in _pieces(pool, root, parameters, shots):
            bar.update(done)
    _replace(root / _COMPLETE, _parameters_json(parameters).encode())
    (root / _STARTED).unlink()


def write_archive(
    root: Path,
    images_per_class: int = 120,
    size_px: int = 256,
    seed: int = 0,
    progress: bool = True,
    mosaic_px: tuple[int, int] = (4096, 3072),
) -> ArchiveSummary:
    """Make ``<root>/images/<class>/*.jpg`` and one mosaic in ``<root>/scenes``, or find them made.

    The same parameters give the same bytes.  A second call does nothing; a killed one starts over.
    Raises UsageError for values out of range, and where the folder holds something else;
    StorageError where it cannot be written.
    """
    started = time.monotonic()
    parameters = ArchiveParameters(images_per_class, size_px, seed, mosaic_px)
    shots = plan_shots(parameters)
    try:
        complete = _is_complete(root, parameters)
        if not complete:
            _make(root, parameters, shots, progress)
    except OSError as error:
        raise StorageError(
            f"cannot write the synthetic archive to {root}: {error}; "
            "check that it is a writable folder with free space"
        ) from error
    return ArchiveSummary(
        images=str(root / "images"),
        mosaic=str(root / "scenes" / mosaic.scene_name(mosaic_px)),
        classes=tuple(RECIPES),
        image_count=len(shots),
        created=not complete,
        seconds=round(time.monotonic() - started, 3),
    )
