"""Folders of pictures for benchmarks: the user's, the real data where it is, or generated."""

from __future__ import annotations

import random
import tarfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.synthetic.archive import write_archive

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ARCHIVES = ("eurosat_rgb", "ucmerced_jpeg")
_ENDINGS = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"}


@dataclass(frozen=True, slots=True)
class Imagery:
    """A name for tables, and pictures in a fixed shuffled order, so that a few stand for all."""

    name: str
    paths: tuple[Path, ...]

    def link(self, folder: Path, count: int) -> Path:
        """``folder`` with ``count`` links to pictures, begun anew where there are fewer."""
        for number in range(count):
            path = self.paths[number % len(self.paths)]
            place = folder / path.parent.name / f"{number:06d}{path.suffix.lower()}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
        return folder


def find(folders: list[Path], scratch: Path) -> list[Imagery]:
    """The folders given; without any, the real data unpacked, or generated pictures."""
    if folders:
        return [_imagery(folder.resolve()) for folder in folders]
    found = [archive for name in ARCHIVES if (archive := DATA / f"{name}.tar").is_file()]
    if not found:
        print(f"no {', '.join(ARCHIVES)} in {DATA}: generated pictures instead")
        write_archive(scratch / "generated", progress=False)
        return [_imagery(scratch / "generated" / "images")]
    return [_imagery(_unpacked(archive, scratch)) for archive in found]


def _unpacked(archive: Path, scratch: Path) -> Path:
    folder = scratch / archive.stem
    with tarfile.open(archive) as members:
        members.extractall(folder, filter="data")
    return folder


def _imagery(folder: Path) -> Imagery:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS)
    if not paths:
        raise SystemExit(f"{folder}: holds no pictures")
    random.Random(0).shuffle(paths)
    return Imagery(folder.name, tuple(paths))
