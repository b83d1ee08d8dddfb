"""Hostile and damaged bytes: refused with a reason or decoded; no crash, no harm to neighbours."""

from __future__ import annotations

import io
import json
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from featurizer.decode import Decoded, DecodeLimits, decode
from featurizer.errors import PixelError
from featurizer.formats import probe

REPOSITORY = Path(__file__).parents[2]
CORRUPT = REPOSITORY.parent / "shared" / "data" / "corrupt"
REASONS = {"empty", "unreadable", "unknown-format", "corrupt", "unsupported", "too-large", "null"}


def picture(name: str, mode: str = "RGB", side: int = 48, **options: object) -> bytes:
    noise = np.random.default_rng(11).integers(0, 256, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(out, name, **options)
    return out.getvalue()


SEEDS = (
    picture("JPEG"),
    picture("JPEG", "CMYK"),
    picture("PNG"),
    picture("PNG", "LA"),
    picture("PNG", "P"),
    picture("PNG", "I;16"),
    picture("TIFF"),
    picture("TIFF", compression="tiff_lzw"),
    picture("TIFF", "1", compression="group4"),
    picture("TIFF", "F"),
    picture("TIFF", big_tiff=True),
    picture("WEBP"),
    picture("WEBP", "RGBA", lossless=True),
    picture("JPEG2000"),
    picture("BMP", "P"),
    picture("GIF"),
    picture("AVIF"),
    picture("PPM"),
)
TRUNCATED = ("JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "BMP", "GIF", "AVIF", "PPM")


def reason(data: bytes, limits: DecodeLimits | None = None) -> str:
    (result,) = decode([data], limits or DecodeLimits())
    assert isinstance(result, PixelError), "it decoded"
    return result.reason


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good file, cut short and with some bytes changed, mostly near the front."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    reach = draw(st.sampled_from([40, 200, len(data)]))
    for _ in range(draw(st.integers(0, 5))):
        data[draw(st.integers(0, min(reach, len(data)) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(damaged(), min_size=1, max_size=4))
@example([b"\x89PNG\r\n\x1a\n"])
@example([b"II+\0\x08\0\0\0" + b"\xff" * 60])
@example([b"II*\0" + b"\xff" * 40, b"MM\0+", b"RIFF....WEBPVP8X", b"\xff\x4f\xff\x51"])
def test_damaged_bytes_give_pixels_or_a_reason(batch: list[bytes]) -> None:
    good = SEEDS[0]
    first, *results, last = decode([good, *batch, good])
    assert isinstance(first, Decoded)
    assert isinstance(last, Decoded)
    np.testing.assert_array_equal(first.pixels, last.pixels)
    for result in results:
        if isinstance(result, PixelError):
            assert result.reason in REASONS
            assert result.detail
        else:
            assert result.pixels.ndim == 3
            assert result.pixels.shape[2] == 3


@settings(max_examples=300)
@given(damaged())
def test_probe_says_something_or_raises_its_own_error(data: bytes) -> None:
    try:
        header = probe(data)
    except PixelError as error:
        assert error.reason == "unknown-format"
    else:
        assert header.width >= 0
        assert header.height >= 0


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("name", TRUNCATED)
def test_an_image_that_ends_early_is_refused(name: str, share: float) -> None:
    data = picture(name, side=160)
    assert reason(data[: int(share * len(data))]) == "corrupt"


def test_a_16_bit_png_that_ends_early_is_refused() -> None:
    noise = np.random.default_rng(4).integers(0, 65536, (80, 80), dtype=np.uint16)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    assert reason(out.getvalue()[: out.tell() // 2]) == "corrupt"


def claims(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1
    return data.replace(old, new, 1)


def png_claiming(width: int, height: int) -> bytes:
    data = picture("PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def bombs() -> dict[str, bytes]:
    gif = picture("GIF")
    return {
        "png": png_claiming(60000, 60000),
        "jpeg": claims(picture("JPEG"), b"\0\x11\x08\0\x30\0\x30", b"\0\x11\x08\xea\x60\xea\x60"),
        "gif": gif[:6] + struct.pack("<HH", 60000, 60000) + gif[10:],
        "tiff": tiff_claiming(60000, 60000),
        "bmp": claims(picture("BMP"), struct.pack("<ii", 48, 48), struct.pack("<ii", 60000, 60000)),
        "ppm": claims(picture("PPM"), b"48 48", b"60000 60000"),
        "webp": webp_claiming(16000, 16000),
        "jp2": claims(
            claims(
                picture("JPEG2000", no_jp2=True),
                struct.pack(">II", 48, 48),
                struct.pack(">II", 60000, 60000),
            ),
            struct.pack(">II", 48, 48),
            struct.pack(">II", 60000, 60000),
        ),
    }


def tiff_claiming(width: int, height: int) -> bytes:
    tags = ((256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0"


def webp_claiming(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    body = b"VP8L" + struct.pack("<IBI", 64, 0x2F, bits) + bytes(59)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


@pytest.mark.parametrize("name", ["png", "jpeg", "gif", "tiff", "bmp", "ppm", "webp", "jp2"])
def test_a_bomb_is_refused_before_its_pixels_are_allocated(name: str) -> None:
    data = bombs()[name]
    decode([picture("PNG")])  # loads the libraries
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason(data) == "too-large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_limits_are_kept_to_the_pixel_and_the_byte() -> None:
    for data in SEEDS:
        assert isinstance(decode([data], DecodeLimits(max_pixels=48 * 48))[0], Decoded)
        assert reason(data, DecodeLimits(max_pixels=48 * 48 - 1)) == "too-large"
        assert isinstance(decode([data], DecodeLimits(max_bytes=len(data)))[0], Decoded)
        assert reason(data, DecodeLimits(max_bytes=len(data) - 1)) == "too-large"


def test_bytes_are_never_taken_for_a_path(tmp_path: Path) -> None:
    place = tmp_path / "good.png"
    place.write_bytes(picture("PNG"))
    assert reason(str(place).encode()) == "unknown-format"


# Prints, for each run, one digest a corrupt file; every batch of 24 holds 12 corrupt ones.
ROUNDS = """
import hashlib, json, pathlib, random, sys, threading
from featurizer.decode import Decoded, decode

folder, runs, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
bad = {p.name: p.read_bytes() for p in sorted(folder.glob("[0-9]*"))}
good = [bytes.fromhex(line) for line in sys.stdin.read().split()]
alone = [decode([data])[0].pixels.tobytes() for data in good]

def outcome(one):
    if not isinstance(one, Decoded):
        return one.reason
    return hashlib.sha256(one.pixels.tobytes() + repr(one.stretch).encode()).hexdigest()[:16]

def work(seed, told):
    rng = random.Random(seed)
    for _ in range(runs):
        names, seen, spoilt = rng.sample(sorted(bad), len(bad)), {}, 0
        for start in range(0, len(names), 12):
            chosen = [(name, None) for name in names[start : start + 12]]
            chosen += [(None, rng.randrange(len(good))) for _ in range(12)]
            rng.shuffle(chosen)
            batch = [good[i] if name is None else bad[name] for name, i in chosen]
            for (name, i), one in zip(chosen, decode(batch), strict=True):
                if name is not None:
                    seen[name] = outcome(one)
                elif not isinstance(one, Decoded) or one.pixels.tobytes() != alone[i]:
                    spoilt += 1
        told.append((dict(sorted(seen.items())), spoilt))

told = []
workers = [threading.Thread(target=work, args=(seed, told)) for seed in range(threads)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
json.dump(told, sys.stdout)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_corrupt_files_in_every_batch_cost_nothing_else(threads: int) -> None:
    if not CORRUPT.is_dir():
        pytest.skip(f"no {CORRUPT}")
    runs = 20 // threads
    good = [data for data in SEEDS if data[:4] not in (b"II*\0", b"MM\0*")]
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS, str(CORRUPT), str(runs), str(threads)],
        input="\n".join(data.hex() for data in good),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert len(told) == 20, done.stderr[-2000:]
    for outcomes, spoilt in told:
        assert spoilt == 0
        assert outcomes == told[0][0]
        assert len(outcomes) == len(list(CORRUPT.glob("[0-9]*")))
