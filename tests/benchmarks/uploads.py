"""Archives and requests for measuring searches by uploaded picture, and the model alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import load
from tests.benchmarks.imagery import find

_PICTURES, _BOUNDARY = 512, "worldsift-benchmark"
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Gallery:
    """An archive made by a backbone, and uploads to ask it with."""

    backbone: str
    folder: Path
    root: str
    cache: Path
    requests: list[bytes]
    description: str


def prepare(backbone: str, scratch: Path, data: Path | None) -> Gallery:
    """Indexes some pictures with the backbone; the same pictures are uploaded."""
    kinds = find([data] if data else [], scratch)
    imagery = kinds[-1]  # UC Merced where it is: 256 px JPEG files
    folder = imagery.link(scratch / "pictures", _PICTURES)
    root = str(scratch / "root")
    weights = [] if backbone == "terra128" else ["--weights", "random:0"]
    command = [sys.executable, "-m", "pipeline", "index", str(folder), root, "--tile", "never"]
    subprocess.run(
        [*command, "--backbone", backbone, *weights, "--no-progress"],
        cwd=_CHECKOUT,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    requests = [load.post("/v1/search", _form(path), _type()) for path in paths[:256]]
    kib = sum(len(request) for request in requests) / len(requests) / 1024
    description = f"picture ({imagery.name}, {kib:.0f} KiB)"
    return Gallery(backbone, folder, root, scratch / "cache", requests, description)


def _type() -> str:
    return f"multipart/form-data; boundary={_BOUNDARY}"


def _form(path: Path) -> bytes:
    head = (
        f"--{_BOUNDARY}\r\ncontent-disposition: form-data; name=image; filename=a.jpg\r\n"
        "content-type: image/jpeg\r\n\r\n"
    )
    return head.encode() + path.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()


def forward_rate(gallery: Gallery) -> float:
    """Pictures a second of the model alone on ready pixels, in batches, on all cores."""
    route = [sys.executable, "-m", "tests.benchmarks.routes", "forward", gallery.backbone]
    done = subprocess.run(
        [*route, str(gallery.folder), str(gallery.folder)],
        cwd=_CHECKOUT,
        stdout=subprocess.PIPE,
        check=True,
    )
    timing = json.loads(done.stdout.splitlines()[-1])
    return float((timing["images"] - 1) / (timing["seconds"] - timing["fixed_s"]))
