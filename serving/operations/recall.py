"""Live recall: now and then an answer that was given is compared with exact search."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving.operations import metrics

if TYPE_CHECKING:
    from serving.operations.live import Live
    from serving.operations.together import PlainSearch
    from serving.query.question import Found

logger = logging.getLogger(__name__)

K = 10
KEPT = 200  # samples that the mean is of
_REST = 20  # times as long as a comparison took: at most a twentieth of one core


@dataclass(frozen=True, slots=True)
class LiveRecall:
    """Mean recall at 10 of the latest samples of one generation."""

    recall_at_10: float
    samples: int
    last: dt.datetime


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    generation: str  # not the service: a sample must not keep its files mapped
    vector: NDArray[np.float32]  # (d,)
    distances: NDArray[np.float32]  # (up to 10,), ascending


class RecallSampler:
    """Compares one recent answer every ``every_s`` seconds, in a thread of its own; 0: never."""

    def __init__(self, live: Live, every_s: float) -> None:
        self._live, self._every_s = live, every_s
        self._recent: _Sample | None = None
        self._wanted = every_s > 0
        self._figures: deque[float] = deque(maxlen=KEPT)
        self._of: str | None = None
        self._last: dt.datetime | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-recall", daemon=True)

    def start(self) -> None:
        if self._every_s > 0:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def offer(self, search: PlainSearch, found: Found) -> None:
        """An answer that was just given; costs next to nothing while none is wanted."""
        if not self._wanted or search.effort.nprobe is not None or search.effort.exact:
            return
        self._wanted = False
        vector = search.question().positive[0].vector
        self._recent = _Sample(search.service.engine.name, vector, found.distances[:K].copy())

    def figures(self, generation: str) -> LiveRecall | None:
        """What was measured of this generation; None before the first sample."""
        if self._of != generation or self._last is None or not self._figures:
            return None
        return LiveRecall(float(np.mean(self._figures)), len(self._figures), self._last)

    def _run(self) -> None:
        rest = self._every_s
        while not self._stop.wait(rest):
            rest = self._every_s
            sample, self._recent, self._wanted = self._recent, None, True
            if sample is None:
                continue
            started = time.monotonic()
            try:
                self._compare(sample)
            except Exception:
                logger.exception("live recall could not be measured; it is tried again")
            rest = max(rest, _REST * (time.monotonic() - started))

    def _compare(self, sample: _Sample) -> None:
        from serving.evaluation import recall
        from serving.operations.live import Lease

        k, name = len(sample.distances), sample.generation
        if not k or self._live.service is None:
            return
        with Lease(self._live) as service:
            if service.engine.name != name:
                return
            exact, _ = service.engine.search(sample.vector[None], k, exact=True)
        if self._of != name:
            self._figures.clear()
            self._of = name
        self._figures.append(recall(sample.distances[None], exact))
        self._last = dt.datetime.now(dt.UTC)
        metrics.RECALL_SAMPLES.inc()
        metrics.LIVE_RECALL.set(float(np.mean(self._figures)))
