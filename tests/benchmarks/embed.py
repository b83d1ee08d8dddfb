"""``python -m tests.benchmarks.embed``: how fast pictures become vectors, and in what memory.

Three routes over the same pictures, in turns (A B C A B C ...), each in a fresh process:

  forward   the model alone, on pixels in memory: what no pipeline around it can exceed
  pipeline  ``python -m pipeline embed`` in process: files on disk to shards written
  plain     Pillow, torchvision transforms, DataLoader, float32: what one would write first

Rates are medians over the rounds, without the time before the second picture (the model's making,
Beam's start, worker processes), which stands beside them; "with start" includes it.  "CPU ms" is
processor time an image: it says where time goes even on a machine that is busy with other work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.imagery import Imagery, find
from tests.benchmarks.routes import Timing
from tests.benchmarks.table import machine, table, verdict

COMPARED = ("forward", "pipeline", "plain")
LEAST_OF_FORWARD, LEAST_OF_PLAIN = 0.85, 2.5  # what the project asks of itself
IMAGES = {"terra128": 4096}
_IMAGES_OF_OTHERS = 1024
_CHECKOUT = Path(__file__).resolve().parents[2]


def run_route(route: str, backbone: str, folder: Path, single: Path) -> Timing:
    command = [sys.executable, "-m", "tests.benchmarks.routes", route, backbone]
    done = subprocess.run(
        [*command, str(folder), str(single)], cwd=_CHECKOUT, stdout=subprocess.PIPE, check=True
    )
    return Timing(**json.loads(done.stdout.splitlines()[-1]))


def compare(imagery: Imagery, backbone: str, images: int, rounds: int, scratch: Path) -> None:
    """Prints the table of one backbone on one set of pictures."""
    folder = imagery.link(scratch / f"{imagery.name}-{backbone}", images)
    single = imagery.link(scratch / f"{imagery.name}-{backbone}-single", 1)
    timings: dict[str, list[Timing]] = {route: [] for route in COMPARED}
    for _ in range(rounds):
        for route in COMPARED:
            timings[route].append(run_route(route, backbone, folder, single))
    rates = {route: _median([t.rate for t in found]) for route, found in timings.items()}
    rows = [
        [
            route,
            f"{rates[route]:.0f}",
            f"{min(t.rate for t in found):.0f}-{max(t.rate for t in found):.0f}",
            f"{_median([t.cpu_ms for t in found]):.2f}",
            f"{_median([t.fixed_s for t in found]):.2f}",
            f"{_median([t.whole_rate for t in found]):.0f}",
            f"{_median([t.peak_mib for t in found]):.0f}",
        ]
        for route, found in timings.items()
    ]
    print(f"\n{backbone} on {imagery.name}, {images} images, {rounds} rounds\n")
    print(
        table(("route", "images/s", "range", "CPU ms", "start s", "with start", "peak MiB"), rows)
    )
    for route, found in timings.items():
        if found[-1].detail:
            print(f"  {route}, last round: {found[-1].detail}")
    of_forward = _paired(timings, "pipeline", "forward")
    of_plain = _paired(timings, "pipeline", "plain")
    whole = [t.whole_rate for t in timings["pipeline"]]
    print(f"  pipeline / forward: {verdict(_median(of_forward), LEAST_OF_FORWARD)}")
    print(f"  pipeline / plain:   {verdict(_median(of_plain), LEAST_OF_PLAIN)}")
    forward, plain = rates["forward"], _median([t.whole_rate for t in timings["plain"]])
    print(
        f"  with its start: {_median(whole) / forward:.2f} of forward, "
        f"{_median(whole) / plain:.2f} of plain with its own",
        flush=True,
    )


def _paired(timings: dict[str, list[Timing]], route: str, other: str) -> list[float]:
    """Ratios within each round: what slows the machine for a while slows both."""
    return [a.rate / b.rate for a, b in zip(timings[route], timings[other], strict=True)]


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def measure_memory(imagery: Imagery, backbone: str, images: int, scratch: Path) -> None:
    """Prints the peak memory of an embed run over once, twice and four times as many pictures."""
    rows, first = [], 0.0
    for times in (1, 2, 4):
        folder = imagery.link(scratch / f"{imagery.name}-{backbone}-x{times}", times * images)
        found = run_route("memory", backbone, folder, folder)
        first = first or found.peak_mib
        growth = f"{found.peak_mib / first - 1:+.1%}"
        rows.append([f"{times}x", times * images, f"{found.peak_mib:.0f}", growth])
    print(f"\npeak memory of embed, {backbone} on {imagery.name}\n")
    print(table(("input", "images", "peak MiB", "growth"), rows), flush=True)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.embed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--backbone", action="append", help="default: terra128 and resnet18")
    parser.add_argument("--images", type=int, help="default: 4096 (terra128) or 1024")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="peak memory instead of speed")
    args = parser.parse_args(argv)
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="worldsift-benchmark-") as place:
        scratch = Path(place)
        for imagery in find(args.data, scratch):
            for backbone in args.backbone or ("terra128", "resnet18"):
                images = args.images or IMAGES.get(backbone, _IMAGES_OF_OTHERS)
                if args.memory:
                    measure_memory(imagery, backbone, images, scratch)
                else:
                    compare(imagery, backbone, images, args.rounds, scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
