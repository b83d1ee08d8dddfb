"""The maps that a server has been asked for: made in the background, and how far they are."""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from featurizer import storage
from serving.embedding_map.children import Children
from serving.embedding_map.computing import (
    Place,
    Projection,
    Underway,
    computed,
    place_of,
    stored,
    underway,
    write_sample,
)
from serving.engine.bases import Ids

if TYPE_CHECKING:
    from featurizer.spec import Metric
    from serving.engine.search import SearchEngine

logger = logging.getLogger(__name__)
_RETRY_S = 300.0


@dataclass(frozen=True, slots=True)
class Failed:
    """No map: the log has said why, and it will be tried again after a while."""


class EmbeddingMaps:
    """The maps of the generations that a server has served.  Safe to share between threads."""

    def __init__(self, cache_dir: Path, sample: int) -> None:
        self._cache_dir, self._sample = cache_dir, sample
        self._lock = threading.Lock()
        self._kept: Projection | None = None
        self._threads: dict[str, threading.Thread] = {}  # by generation
        self._failed_at: dict[str, float] = {}
        self._children = Children()

    def of(self, engine: SearchEngine) -> Projection | Underway | Failed:
        """The map, or how far it is; the first who asks has it computed.

        Blocks while the sample is read, not while it is projected.
        """
        place = place_of(engine, self._cache_dir, self._sample)
        with self._lock:
            if self._kept is not None and self._kept.generation == engine.name:
                return self._kept
            if (found := stored(place)) is not None:
                self._kept = found
                return found
            thread = self._threads.get(engine.name)
            if thread is not None and thread.is_alive():
                return underway(place)
            failed_at = self._failed_at.get(engine.name)
            if failed_at is not None and time.monotonic() - failed_at < _RETRY_S:
                return Failed()
            with storage.explained(str(place.folder), "keep the embedding map in it"):
                return self._begin(engine, place)

    def _begin(self, engine: SearchEngine, place: Place) -> Projection | Underway:
        place.folder.mkdir(parents=True, exist_ok=True)
        lock = place.lock.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()  # another worker is at it
            return underway(place)
        try:
            if (found := stored(place)) is not None:  # it was, a moment ago
                lock.close()
                return found
            # Now, while the caller's lease keeps the generation open.
            rows = write_sample(engine, place)
        except BaseException:
            lock.close()
            raise
        metric = engine.generation.featurizer.metric
        thread = threading.Thread(
            target=self._run, args=(place, rows, metric, lock), name="embedding-map", daemon=True
        )
        self._threads[engine.name] = thread
        thread.start()
        return underway(place)

    def _run(self, place: Place, rows: Ids, metric: Metric, lock: IO[bytes]) -> None:
        with lock:
            try:
                computed(place, rows, metric, self._children)
            except FileNotFoundError as error:
                # Another generation serves, and what was kept for this one has been removed.
                logger.info("the embedding map of %s is given up: %s", place.folder.name, error)
            except Exception:
                if self._children.closed:
                    return
                logger.exception("the embedding map of %s failed", place.folder.name)
                self._failed_at[place.folder.name] = time.monotonic()

    def close(self) -> None:
        """Ends what is being computed; it begins anew when it is next asked for."""
        self._children.close()
