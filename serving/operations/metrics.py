"""What a server counts, for Prometheus.

With several workers, each writes to files of its own in ``PROMETHEUS_MULTIPROC_DIR`` (set before
this module is imported) and any of them answers for all.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge for each counter: no news
_REGISTRY = CollectorRegistry()
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)

REQUEST_SECONDS = Histogram(
    "worldsift_request_seconds",
    "Time to the end of an answer, by route template",
    ["route", "method", "status"],
    buckets=_SECONDS,
    registry=_REGISTRY,
)
STAGE_SECONDS = Histogram(
    "worldsift_stage_seconds",
    "Time in one stage of answering: decode, embed, search, rows, write",
    ["stage"],
    buckets=_SECONDS,
    registry=_REGISTRY,
)
BATCH_SIZE = Histogram(
    "worldsift_batch_size",
    "Items answered together",
    ["queue"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
    registry=_REGISTRY,
)
QUEUE_LENGTH = Gauge(
    "worldsift_queue_length",
    "Items that wait for a worker",
    ["queue"],
    multiprocess_mode="livesum",
    registry=_REGISTRY,
)
IN_FLIGHT = Gauge(
    "worldsift_requests_in_flight",
    "Requests being answered",
    multiprocess_mode="livesum",
    registry=_REGISTRY,
)
BUSY = Counter(
    "worldsift_busy", "Items refused because too many were waiting", ["queue"], registry=_REGISTRY
)
TIMEOUTS = Counter(
    "worldsift_timeouts", "Requests ended by a limit of time", ["limit"], registry=_REGISTRY
)
DENIED = Counter(
    "worldsift_denied",
    "Requests refused by keys, origins, hosts or rates",
    ["why"],
    registry=_REGISTRY,
)
GENERATION = Gauge(
    "worldsift_generation_info",
    "1 for the generation that serves",
    ["generation"],
    multiprocess_mode="livemax",
    registry=_REGISTRY,
)
ROWS = Gauge(
    "worldsift_rows",
    "Rows that can be found",
    multiprocess_mode="livemostrecent",
    registry=_REGISTRY,
)
SWAPS = Counter("worldsift_swaps", "Generations taken over while serving", registry=_REGISTRY)
REFUSED = Counter(
    "worldsift_refused_generations", "Published generations not taken over", registry=_REGISTRY
)
LIVE_RECALL = Gauge(
    "worldsift_live_recall_at_10",
    "Recall of the latest sampled answers against exact search",
    multiprocess_mode="livemostrecent",
    registry=_REGISTRY,
)
LIVE_RECALL.set(float("nan"))  # not 0: nothing has been measured yet
RECALL_SAMPLES = Counter(
    "worldsift_live_recall_samples", "Answers compared with exact search", registry=_REGISTRY
)

if FOLDER not in os.environ:  # the collector reads one process: it says nothing of several
    ProcessCollector(registry=_REGISTRY)

_stages: dict[str, Histogram] = {}
_requests: dict[tuple[str, str, int], Histogram] = {}


def observe_stage(name: str, seconds: float) -> None:
    """Counts ``seconds`` spent in a stage; about a microsecond."""
    found = _stages.get(name)
    if found is None:
        found = _stages[name] = STAGE_SECONDS.labels(name)
    found.observe(seconds)


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Counts the time spent inside."""
    started = time.perf_counter()
    try:
        yield
    finally:
        observe_stage(name, time.perf_counter() - started)


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """Counts an answer; ``route`` is a template, never a path that clients can make up."""
    key = (route, method, status // 100)
    found = _requests.get(key)
    if found is None:
        found = _requests[key] = REQUEST_SECONDS.labels(route, method, f"{status // 100}xx")
    found.observe(seconds)


def show_generation(name: str, before: str | None, rows: int) -> None:
    """Names what serves now in place of ``before``."""
    if before is not None and before != name:
        GENERATION.labels(before).set(0)
        if FOLDER not in os.environ:
            GENERATION.remove(before)
    GENERATION.labels(name).set(1)
    ROWS.set(rows)


def forget_dead_workers() -> None:
    """Takes the gauges of workers that have ended out of the sums."""
    folder = os.environ.get(FOLDER)
    for file in Path(folder).glob("gauge_live*_*.db") if folder else ():
        pid = int(file.stem.rsplit("_", 1)[1])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]


def render() -> bytes:
    """Everything counted, of all workers, in Prometheus's text format."""
    if FOLDER not in os.environ:
        return generate_latest(_REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
