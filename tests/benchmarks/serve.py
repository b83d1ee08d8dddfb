"""``python -m tests.benchmarks.serve``: the HTTP service against what it is made of.

Three measurements, each against its physical limit on this machine and in this run:

  search   HTTP search by tile id over synthetic vectors, against raw FAISS search + re-rank (one
           C++ call: IVF-PQ refined from float16 vectors in memory, as many candidates) called in a
           loop by as many threads; and against the back end of clip-retrieval over the same codes,
           where ``--clip-retrieval`` names the Python of an environment that has it
  upload   HTTP search by uploaded JPEG from 16 clients, against the bare model on ready pixels
  memory   of a server over the archive of ``--memory ROOT`` after many random searches

Clients run on the same cores as the server; their share of them is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import load
from tests.benchmarks.raw_faiss import RawIndex
from tests.benchmarks.table import machine, table, verdict
from tests.benchmarks.uploads import Gallery, forward_rate, prepare

CLIENTS = 16
LEAST_OF_RAW, LEAST_OF_FORWARD, MOST_GIB = 0.5, 0.8, 2.0  # what the project asks of itself
_CHECKOUT = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Server:
    """A running ``python -m serving run`` and where it answers."""

    pid: int
    port: int


@contextlib.contextmanager
def serving(root: str, cache: Path, *options: str) -> Iterator[Server]:
    """The server as its users start it, ready; stopped at the end."""
    command = [sys.executable, "-m", "serving", "run", root, "--cache-dir", str(cache)]
    quiet = ["--recall-sample-s", "0", "--watch-s", "0"]  # nothing else on the cores
    process = subprocess.Popen(
        [*command, "--port", "0", *quiet, *options],
        cwd=_CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(process.pid, _port(process))
    finally:
        process.terminate()
        process.wait(60)


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    end = time.monotonic() + _START_TIMEOUT_S
    said = []
    while time.monotonic() < end:
        line = process.stderr.readline()
        if not line and process.poll() is not None:
            break
        said.append(line)
        if match := re.search(r"Search page: http://.*:(\d+)/", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return int(match[1])
    raise SystemExit("the server did not start:\n" + "".join(said))


def by_tile(tile_id: str) -> bytes:
    body = json.dumps({"positive": [{"tile_id": tile_id}], "k": 10}).encode()
    return load.post("/v1/search", body, "application/json")


def compare_search(root: str, scratch: Path, options: argparse.Namespace) -> None:
    """Prints the table of searches a second: raw, HTTP with one and two workers."""
    raw = RawIndex.of(root, scratch / "cache")
    requests = [by_tile(tile_id) for tile_id in raw.tile_ids(2000)]
    threads = len(os.sched_getaffinity(0))
    rates: dict[str, list[tuple[float, float, float, float]]] = {}
    for _ in range(options.rounds):
        found = raw.rate(threads, options.seconds)
        rates.setdefault(f"raw FAISS, {threads} threads", []).append((*found, 0.0))
        for workers in (1, threads):
            name = f"HTTP, {workers} worker{'s' * (workers > 1)}, {CLIENTS} clients"
            with serving(root, scratch / "cache", "--workers", str(workers)) as server:
                load.measure(server.port, requests, CLIENTS, 2.0)  # warm
                done = load.measure(server.port, requests, CLIENTS, options.seconds)
            if done.failed:
                raise SystemExit(f"{done.failed} of {done.answers} requests failed")
            figures = (done.per_s, done.median_ms, done.p99_ms, done.client_cpu)
            rates.setdefault(name, []).append(figures)
    print(f"\nSearch by tile id, k = 10, {raw.description}\n")
    print(_rates_table(rates))
    medians = [statistics.median(figure[0] for figure in found) for found in rates.values()]
    print(f"  HTTP / raw: {verdict(max(medians[1:]) / medians[0], LEAST_OF_RAW)}", flush=True)


def _rates_table(rates: dict[str, list[tuple[float, float, float, float]]]) -> str:
    first = statistics.median(figure[0] for figure in next(iter(rates.values())))
    rows = []
    for name, found in rates.items():
        middle = [statistics.median(column) for column in zip(*found, strict=True)]
        spread = f"{min(f[0] for f in found):.0f}-{max(f[0] for f in found):.0f}"
        cells = [f"{middle[0]:.0f}", spread, f"{middle[0] / first:.2f}"]
        rows.append([name, *cells, *(f"{value:.2f}" for value in middle[1:])])
    header = ("route", "per s", "range", "of the first", "median ms", "p99 ms", "client cores")
    return table(header, rows)


def compare_uploads(scratch: Path, options: argparse.Namespace) -> None:
    """Prints the table of uploads a second against the model alone, for each backbone."""
    for backbone in options.backbones:
        gallery: Gallery = prepare(backbone, scratch / f"uploads-{backbone}", options.data)
        rates: dict[str, list[tuple[float, float, float, float]]] = {}
        for _ in range(options.rounds):
            rate = forward_rate(gallery)
            rates.setdefault("model alone", []).append((rate, 0.0, 0.0, 0.0))
            for workers in (1, len(os.sched_getaffinity(0))):
                with serving(gallery.root, gallery.cache, "--workers", str(workers)) as server:
                    load.measure(server.port, gallery.requests, CLIENTS, 3.0)  # warm
                    done = load.measure(server.port, gallery.requests, CLIENTS, options.seconds)
                if done.failed:
                    raise SystemExit(f"{done.failed} of {done.answers} uploads failed")
                figures = (done.per_s, done.median_ms, done.p99_ms, done.client_cpu)
                name = f"HTTP, {workers} worker{'s' * (workers > 1)}, {CLIENTS} clients"
                rates.setdefault(name, []).append(figures)
        print(f"\nSearch by uploaded {gallery.description}, {backbone}\n")
        print(_rates_table(rates))
        medians = [statistics.median(figure[0] for figure in found) for found in rates.values()]
        share = max(medians[1:]) / medians[0]
        print(f"  HTTP / model: {verdict(share, LEAST_OF_FORWARD)}", flush=True)


def measure_memory(root: str, scratch: Path, searches: int) -> None:
    """Prints what the server holds at the start, and after ``searches`` of random tiles."""
    raw = RawIndex.of(root, scratch / "memory-cache")
    requests = [by_tile(tile_id) for tile_id in raw.tile_ids(searches)]
    rows = []
    description = raw.description
    del raw
    with serving(root, scratch / "memory-cache") as server:
        rows.append(["at the start", *_memory(server.pid)])
        done = load.measure(server.port, requests, 4, max(20.0, searches / 500))
        rows.append([f"after {done.answers:,} searches", *_memory(server.pid)])
    print(f"\nMemory of the server, {description}\n")
    print(table(("", "resident GiB", "of it mapped files", "own"), rows))
    held = float(rows[-1][1])
    met = "met" if held < MOST_GIB else "NOT MET"
    print(f"  resident: {held:.2f} GiB (wanted below {MOST_GIB:g}: {met})", flush=True)


def _memory(pid: int) -> list[str]:
    """Resident GiB of a process: all, of files mapped, and its own."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = {name: int(value) for name, value in re.findall(r"(Rss\w+|VmRSS):\s+(\d+)", status)}
    own = kib["RssAnon"] + kib["RssShmem"]
    return [f"{value / 2**20:.2f}" for value in (kib["VmRSS"], kib["RssFile"], own)]


def compare_clip_retrieval(root: str, scratch: Path, options: argparse.Namespace) -> None:
    """Prints the rate of clip-retrieval's back end over the same codes and queries by vector."""
    from tests.benchmarks.clip_retrieval import ClipRetrieval

    raw = RawIndex.of(root, scratch / "cache")
    with ClipRetrieval.running(options.clip_retrieval, raw, scratch / "clip-retrieval") as other:
        load.measure(other.port, other.requests, CLIENTS, 2.0)
        done = load.measure(other.port, other.requests, CLIENTS, options.seconds)
    with serving(root, scratch / "cache") as server:
        vectors = [
            load.post(
                "/v1/search",
                json.dumps({"positive": [{"vector": vector}], "k": 10}).encode(),
                "application/json",
            )
            for vector in raw.vectors(500).tolist()
        ]
        load.measure(server.port, vectors, CLIENTS, 2.0)
        ours = load.measure(server.port, vectors, CLIENTS, options.seconds)
    rates = {
        f"clip-retrieval back end ({done.failed} failed)": [
            (done.per_s, done.median_ms, done.p99_ms, done.client_cpu)
        ],
        f"worldsift, 1 worker ({ours.failed} failed)": [
            (ours.per_s, ours.median_ms, ours.p99_ms, ours.client_cpu)
        ],
    }
    print(f"\nSearch by vector over HTTP, {raw.description}\n")
    print(_rates_table(rates), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", help="an archive to search; default: synthetic vectors")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the synthetic archive")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--data", type=Path, help="pictures to upload; default: real data or made")
    parser.add_argument("--backbones", nargs="*", default=["terra128", "resnet18"])
    parser.add_argument("--clip-retrieval", help="Python of an environment with clip-retrieval")
    parser.add_argument("--memory", help="root of a large archive, to measure memory on")
    parser.add_argument("--searches", type=int, default=10_000, help="before memory is read")
    parser.add_argument("--skip", nargs="*", default=[], choices=("search", "upload"))
    return parser


def main(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="worldsift-benchmark-") as place:
        scratch = Path(place)
        if "search" not in options.skip or options.clip_retrieval:
            root = options.root or RawIndex.archive(scratch / "root", options.rows)
            if "search" not in options.skip:
                compare_search(root, scratch, options)
            if options.clip_retrieval:
                compare_clip_retrieval(root, scratch, options)
        if "upload" not in options.skip:
            compare_uploads(scratch, options)
        if options.memory:
            measure_memory(options.memory, scratch, options.searches)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
