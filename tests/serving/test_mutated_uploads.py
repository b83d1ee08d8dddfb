"""Damaged files as uploads: a real server process must refuse them, live, and not grow."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.serving.gallery import Gallery, encoded, texture

CORRUPT = Path(__file__).resolve().parents[3] / "shared" / "data" / "corrupt"
_GROWTH_MIB = 150  # caches of decoders and allocators fill; a leak of a picture a request is GiB
_OK = {200, 413, 422}  # some mutations leave a picture that still decodes


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    client: httpx.Client

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


@pytest.fixture(scope="module")
def server(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    cache = tmp_path_factory.mktemp("mutated-cache")
    limits = ["--max-upload-bytes", "2000000", "--max-upload-pixels", "4000000"]
    command = [sys.executable, "-m", "serving", "run", gallery.root, "--port", "0", *limits]
    log = cache / "server.log"
    with log.open("wb") as errors:
        process = subprocess.Popen([*command, "--cache-dir", str(cache)], stderr=errors)
    address = _address(log, process)
    with httpx.Client(base_url=address, timeout=60) as client:
        yield Process(process.pid, client)
    process.terminate()
    assert process.wait(60) == 0


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if match := re.search(r"Search page: (http://\S+:\d+)/", log.read_text()):
            return match[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def seeds() -> list[tuple[str, bytes]]:
    """Files to damage: the corrupt set where it is, and sound pictures of several kinds."""
    made = [
        (f"made.{kind.lower()}", encoded(texture(seed, 64), kind))
        for seed, kind in enumerate(("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"))
    ]
    if not CORRUPT.is_dir():
        print(f"no {CORRUPT}: sound pictures alone are damaged")
        return made
    found = [path for path in sorted(CORRUPT.iterdir()) if path.suffix != ".tsv"]
    return made + [(path.name, path.read_bytes()) for path in found]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut, doubled or put in, as broken disks and fuzzers do."""
    if not data:
        return data
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        place = rng.randrange(len(out)) if out else 0
        kind = rng.randrange(5)
        if kind == 0 and out:
            out[place] = rng.randrange(256)
        elif kind == 1 and out:
            out[place : place + 4] = rng.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff")
            )
        elif kind == 2:
            del out[place:]
        elif kind == 3:
            out[place:place] = out[place : place + rng.randrange(1, 200)]
        else:
            out[place:place] = rng.randbytes(rng.randrange(1, 32))
    return bytes(out)


def upload(server: Process, name: str, data: bytes) -> int:
    answer = server.client.post("/v1/search", files={"image": (name, data)}, data={"k": 3})
    assert answer.status_code in _OK, f"{name}: {answer.status_code} {answer.text[:300]}"
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code


def bombard(server: Process, count: int) -> None:
    rng, files = random.Random(7), seeds()
    for name, data in files:  # unchanged, and to fill the caches before memory is read
        upload(server, name, data)
    for number in range(min(count // 5, 200)):
        name, data = files[number % len(files)]
        upload(server, name, mutated(data, rng))
    before = server.resident_mib()
    refused = 0
    for number in range(count):
        name, data = files[number % len(files)]
        refused += upload(server, name, mutated(data, rng)) != 200
    assert refused > count // 4
    assert server.resident_mib() < before + _GROWTH_MIB
    sound = encoded(texture(0), "PNG")
    assert upload(server, "sound.png", sound) == 200


def test_hundreds_of_damaged_uploads(server: Process) -> None:
    bombard(server, 400)


@pytest.mark.slow
def test_thousands_of_damaged_uploads(server: Process) -> None:
    bombard(server, 5000)
