"""Computes the map of one generation, in a process of its own, and keeps it in the cache.

    <cache>/generations/<name>/map-<size>-<method>.npz    rows (n,) int64, places (n, 2) float32

Whoever computes holds a file lock; others see how far it is.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from featurizer import storage
from serving.embedding_map.children import Children
from serving.embedding_map.project import METHODS, PLACES, PROGRESS, VECTORS, Method
from serving.engine.bases import Ids
from serving.failures import ProjectionError

if TYPE_CHECKING:
    from featurizer.spec import Metric
    from serving.engine.search import SearchEngine

logger = logging.getLogger(__name__)

_SEED = 0
_FEWEST_FOR_UMAP = 50  # below it there are hardly more neighbours than UMAP looks at
_BLOCK_ROWS = 4096
_LONGEST_S = 3600
_LOG_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A map: where each of a uniform sample of rows stands."""

    generation: str
    method: Method
    rows: Ids  # (n,) ascending
    places: NDArray[np.float32]  # (n, 2) in [-1, 1]


@dataclass(frozen=True, slots=True)
class Underway:
    """How far a map is: what is being done, and the share that is done, 0 to 1."""

    stage: str
    progress: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where the map of one generation is kept; ``sample`` is how many tiles are on it at most."""

    folder: Path
    sample: int

    def map(self, method: Method) -> Path:
        return self.folder / f"map-{self.sample}-{method}.npz"

    @property
    def work(self) -> Path:
        """What it is computed in; gone afterwards."""
        return self.folder / f"map-{self.sample}.part"

    @property
    def lock(self) -> Path:
        return self.folder / f"map-{self.sample}.lock"


def place_of(engine: SearchEngine, cache_dir: Path, sample: int) -> Place:
    return Place(cache_dir.expanduser().absolute() / "generations" / engine.name, sample)


def stored(place: Place) -> Projection | None:
    """The map, if it has been computed.  A file that cannot be read counts as none."""
    for method in METHODS:
        file = place.map(method)
        try:
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
                return Projection(place.folder.name, method, kept["rows"], kept["places"])
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("%s cannot be read and is computed again: %s", file, error)
            file.unlink(missing_ok=True)
    return None


def project(engine: SearchEngine, cache_dir: Path, sample: int) -> Projection:
    """The map of the engine's generation, computed here unless it is there: seconds to minutes.

    Waits for another process that is at it.  ProjectionError, with what was said, when it fails.
    """
    place = place_of(engine, cache_dir, sample)
    with storage.explained(str(place.folder), "keep the embedding map in it"):
        place.folder.mkdir(parents=True, exist_ok=True)
        lock = place.lock.open("ab")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = stored(place)
        if found is None:
            rows = write_sample(engine, place)
            found = computed(place, rows, engine.generation.featurizer.metric, Children())
        return found


def write_sample(engine: SearchEngine, place: Place) -> Ids:
    """Writes the sample's vectors into an empty work folder; the rows, ascending."""
    rows = np.sort(engine.sample(place.sample, _SEED))
    if place.work.exists():
        shutil.rmtree(place.work)  # of a process that was killed: its lock is ours
    place.work.mkdir()
    shape = (len(rows), engine.generation.featurizer.dim)
    if len(rows):
        target = np.lib.format.open_memmap(
            place.work / VECTORS, "w+", dtype=np.float16, shape=shape
        )
        for first in range(0, len(rows), _BLOCK_ROWS):
            block = slice(first, first + _BLOCK_ROWS)
            target[block] = engine.vectors(rows[block])  # float16 on disk, so nothing is lost
        target.flush()
    return rows


def computed(place: Place, rows: Ids, metric: Metric, children: Children) -> Projection:
    """Projects the sample in the work folder, keeps the map and removes the folder.

    Where UMAP fails, the principal components are kept in its stead.
    """
    try:
        methods = METHODS if len(rows) > _FEWEST_FOR_UMAP else METHODS[1:]
        for method in methods:
            try:
                places = _projected(place, method, metric, children)
                break
            except ProjectionError as error:
                if method == methods[-1] or children.closed:
                    raise
                logger.warning("%s; the map is made of principal components instead", error)
        sink = io.BytesIO()
        np.savez(sink, rows=rows, places=places)
        if place.folder.exists():  # else the generation was removed meanwhile
            storage.write_bytes(str(place.map(method)), sink.getvalue())
        return Projection(place.folder.name, method, rows, places)
    finally:
        shutil.rmtree(place.work, ignore_errors=True)


def _projected(
    place: Place, method: Method, metric: Metric, children: Children
) -> NDArray[np.float32]:
    """(n, 2) places out of a process of their own; ProjectionError with the end of its log."""
    if not (place.work / VECTORS).exists():
        return np.zeros((0, 2), np.float32)
    command = [
        sys.executable,
        "-m",
        "serving.embedding_map.project",
        str(place.work),
        method,
        metric,
    ]
    log = place.work / f"{method}.log"
    with log.open("wb") as file, children.started(command, file) as child:
        try:
            status = child.wait(_LONGEST_S)
        except subprocess.TimeoutExpired:
            status = -1
    said = log.read_text(errors="replace")[-_LOG_CHARACTERS:].strip()
    if status != 0:
        raise ProjectionError(f"{method} of the embedding map ended with {status}: {said}")
    found: NDArray[np.float32] = np.load(place.work / PLACES, allow_pickle=False)
    return found


def underway(place: Place) -> Underway:
    try:
        said = json.loads((place.work / PROGRESS).read_bytes())
        return Underway(str(said["stage"]), float(said["progress"]))
    except FileNotFoundError:
        return Underway("starting", 0.0)
