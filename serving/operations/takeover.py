"""Hot swap: a newly published generation is opened beside the old one, checked, and put live."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featurizer import manifest, storage
from featurizer.errors import ContractError, GenerationError, StorageError, WorldsiftError
from serving.engine import sync
from serving.failures import ReloadRefusedError
from serving.operations import metrics

if TYPE_CHECKING:
    from featurizer.embed import Featurizer
    from serving.operations.live import Live
    from serving.service import SearchService
    from serving.settings import Settings

logger = logging.getLogger(__name__)

Opener = Callable[["Settings", "Featurizer | None", str], "SearchService"]

_LOOK_S = 0.25  # at the file by which another worker says that it was told to reload
_LONGEST_PAUSE_S = 300.0  # between tries while storage does not answer
_RELOAD = "reload"
_PROBES, _FOUND = 16, 0.5  # rows asked for themselves, and the share that must be found
_SAME = 1e-4  # the distance of a vector from itself is below, whatever was rounded


@dataclass(frozen=True, slots=True)
class Refused:
    """A published generation that was not taken over, and why."""

    generation: str
    reason: str
    at: dt.datetime


class Takeover:
    """Follows CURRENT: every ``watch_s`` by itself (0: never), and when told to.

    ``open_service`` opens a generation (seconds to minutes; blocking).  ``refused`` is the last
    generation that was not taken over; it is tried again only when CURRENT has named another one
    since, or by ``reload``.
    """

    def __init__(self, settings: Settings, live: Live, open_service: Opener) -> None:
        self._settings, self._live, self._open = settings, live, open_service
        self._root = str(settings.root)
        self._busy = threading.Lock()  # one takeover at a time
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="takeover", daemon=True)
        self._asked = settings.cache_dir / _RELOAD
        self._told = self._asked_at()
        self._skip: str | None = None
        self.refused: Refused | None = None
        self.loaded: dt.datetime | None = None

    def start(self) -> None:
        """Begins to watch, from a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def load(self) -> None:
        """Opens the published generation for the first time; whatever keeps it from that."""
        with self._busy:
            service = self._open(self._settings, None, manifest.current_generation(self._root))
            if self._stop.is_set():  # nobody waits for it any more
                service.close()
            else:
                self._adopt(service)

    def reload(self) -> bool:
        """Takes the published generation over now; whether it is another one than before.

        ReloadRefusedError says why it cannot be, StorageError that it could not be read.
        """
        with contextlib.suppress(OSError):  # a cache that cannot be written to: no other workers
            self._asked.touch()
            self._told = self._asked_at()
        try:
            return self._look(again=True)
        except GenerationError as error:  # nothing is published, or what is not there
            raise ReloadRefusedError(str(error)) from error

    def _asked_at(self) -> int:
        try:
            return self._asked.stat().st_mtime_ns
        except OSError:
            return 0

    def _watch(self) -> None:
        every = self._settings.watch_s
        pause = max(every, _LOOK_S)
        due = time.monotonic() + pause if every else float("inf")
        while not self._stop.wait(_LOOK_S):
            told = self._asked_at()
            asked = told != self._told
            if not asked and time.monotonic() < due:
                continue
            self._told = told
            well = self._follow(asked)
            pause = max(every, _LOOK_S) if well else min(_LONGEST_PAUSE_S, 2 * pause)
            due = time.monotonic() + pause if every else float("inf")

    def _follow(self, again: bool) -> bool:
        """Whether all is well, or what is not has been noted and need not be tried again."""
        try:
            self._look(again)
        except ReloadRefusedError:
            return True  # logged where it was refused
        except WorldsiftError as error:
            logger.warning("the published generation could not be read, trying again: %s", error)
            return False
        return True

    def _look(self, again: bool) -> bool:
        with self._busy:
            name = manifest.current_generation(self._root)
            service = self._live.service
            if service is not None and service.engine.name == name:
                self._skip = None
                return False
            if name == self._skip and not again:
                return False
            self._take_over(name, None if service is None else service.featurizer)
            return True

    def _take_over(self, name: str, featurizer: Featurizer | None) -> None:
        logger.info("generation %s is published: opening it", name)
        started = time.monotonic()
        try:
            service = self._open(self._settings, featurizer, name)
        except StorageError as error:
            if storage.is_missing(error):
                raise self._refusal(name, error) from error
            raise
        except Exception as error:
            raise self._refusal(name, error) from error
        try:
            check(service)
        except Exception as error:
            service.close()
            raise self._refusal(name, error) from error
        before = self._adopt(service)
        metrics.SWAPS.inc()
        logger.info("generation %s serves after %.1f s", name, time.monotonic() - started)
        self._tidy({name} if before is None else {name, before})

    def _refusal(self, name: str, error: Exception) -> ReloadRefusedError:
        known = isinstance(error, WorldsiftError)
        reason = str(error) if known else "an error of the server: its log says what happened"
        self._skip, self.refused = name, Refused(name, reason, dt.datetime.now(dt.UTC))
        metrics.REFUSED.inc()
        logger.error(
            "generation %s is refused, the one before goes on: %s",
            name,
            reason,
            exc_info=None if known else error,
        )
        return ReloadRefusedError(f"generation {name}: {reason}")

    def _adopt(self, service: SearchService) -> str | None:
        """Puts the service live; the name of the generation before it."""
        old = self._live.service
        before = None if old is None else old.engine.name
        del old  # its files are to be let go of
        generation = service.engine.generation
        self.loaded = dt.datetime.now(dt.UTC)
        self._skip = self.refused = None
        self._live.swap(service)
        rows = generation.rows - len(set(generation.tombstones))
        metrics.show_generation(service.engine.name, before, rows)
        return before

    def _tidy(self, kept: set[str]) -> None:
        """Removes what was merged for other generations; who still maps it keeps it until then."""
        cache_dir = self._settings.cache_dir
        try:
            with sync.locked(cache_dir):
                for folder in (cache_dir / "generations").iterdir():
                    if folder.is_dir() and folder.name not in kept:
                        shutil.rmtree(folder)
        except (OSError, StorageError) as error:
            logger.warning("older generations stay in the cache: %s", error)


def check(service: SearchService) -> None:
    """ContractError unless rows of the generation are found by their own vectors and names."""
    engine = service.engine
    rows = engine.sample(_PROBES)
    if not len(rows):
        return
    vectors = engine.vectors(rows)
    distances, found = engine.search(vectors, 10)
    # A row counts as found by its equals too: archives hold one picture more than once.
    hit = (found == rows[:, None]).any(axis=1) | (distances[:, 0] <= _SAME)
    if hit.mean() < _FOUND:
        raise ContractError(
            f"generation {engine.name}: of {len(rows)} rows, {int(hit.sum())} found themselves by "
            "their own vectors: its codes are not those of its vectors; encode and publish again"
        )
    for row, tile in zip(rows.tolist(), engine.tiles(rows), strict=True):
        if engine.tiles([engine.row_of(tile.tile_id)])[0].tile_id != tile.tile_id:
            raise ContractError(
                f"generation {engine.name}: row {row} is not found by its tile id "
                f"{tile.tile_id!r}; publish again"
            )
