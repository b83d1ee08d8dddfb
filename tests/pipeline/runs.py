"""Runs of ``python -m pipeline``, in this process and in others, and what they leave on disk."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurizer import manifest, storage
from featurizer.manifest import Inventory, InventoryShard
from pipeline.cli import main
from tests.serving.archive import clustered, plain_rows, spec, write_shard
from tests.serving.gallery import encoded, texture

REPOSITORY = Path(__file__).parents[2]
# A network that costs little, so that what is tested is the job around it.
SMALL = ("--backbone", "squeezenet1_1", "--weights", "random:0", "--input-px", "64")
OPTIONS = (*SMALL, "--device", "cpu", "--shard-rows", "16", "--batch", "8", "--no-progress")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run ended with."""

    status: int
    out: str
    err: str

    @property
    def record(self) -> dict[str, Any]:
        """The one JSON line on stdout of a run that succeeded."""
        assert self.status == 0, self.err
        (line,) = self.out.splitlines()
        return dict(json.loads(line))

    @property
    def last_error(self) -> str:
        """The last line on stderr of a run that failed, without ``error: ``."""
        assert (self.status, self.out) == (1, ""), self
        line = self.err.splitlines()[-1]
        assert line.startswith("error: "), self.err
        assert "[while running" not in line
        return line.removeprefix("error: ")

    @property
    def error(self) -> str:
        """The same, where it is the only line."""
        assert self.err.count("\n") == 1, self.err
        return self.last_error


def write_pictures(folder: Path, count: int = 24, first: int = 0) -> list[Path]:
    """``count`` PNG files of three classes; their paths."""
    paths = [folder / f"class{i % 3}" / f"picture{i:03d}.png" for i in range(first, first + count)]
    for i, path in enumerate(paths, start=first):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(texture(i, 48)))
    return paths


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pipeline", *map(str, arguments)]


def run(*arguments: object) -> Outcome:
    """``python -m pipeline`` as its users start it."""
    done = subprocess.run(
        command(*arguments),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def call(*arguments: object) -> Outcome:
    """The same in this process, which has everything imported."""
    out, err = io.StringIO(), io.StringIO()
    with _logging_kept(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return Outcome(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level


def tree(root: Path | str) -> dict[str, bytes]:
    """Every file under ``root``, hidden ones too, by its relative path."""
    top = Path(root)
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def stamps(root: Path | str) -> dict[str, int]:
    """When each file under ``root`` was last written, in nanoseconds."""
    top = Path(root)
    return {
        path.relative_to(top).as_posix(): path.stat().st_mtime_ns
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def main_of_child(arguments: list[str], log: str, die_at_write: int | None) -> None:
    """``main`` for a forked process; with ``die_at_write``, it dies as that write is to appear.

    Death is SIGKILL, between the temporary file and its renaming, or right after the renaming.
    """
    with Path(log).open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if die_at_write is not None:
        _die_at(die_at_write)
    os._exit(main(arguments))


def _die_at(write: int) -> None:
    count = 0
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == write and write % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        made = rename(self, target)
        if count == write:
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    Path.replace = replace  # type: ignore[method-assign]


def embedded_archive(
    root: Path | str, counts: tuple[int, ...] = (70, 50, 40), dim: int = 16, seed: int = 0
) -> Inventory:
    """Shards of clustered vectors with their inventory and featurizer, as ``embed`` leaves them."""
    place = str(root)
    rows, vectors = plain_rows(sum(counts)), clustered(sum(counts), dim, seed).astype("float16")
    members, start = [], 0
    for number, count in enumerate(counts):
        here = slice(start, start + count)
        name = f"shard{seed}{number:04d}"
        record = write_shard(place, name, vectors[here], rows[here], {})
        members.append(InventoryShard(name, count, storage.sha256(record.to_json())))
        start += count
    featurizer = spec(dim)
    spec_file = storage.join(place, "featurizers", featurizer.fingerprint, "spec.json")
    storage.write_bytes(spec_file, json.dumps(featurizer.to_json()).encode())
    inventory = Inventory("/imagery", featurizer.fingerprint, tuple(members), {}, 0, start)
    manifest.write_inventory(place, inventory)
    return inventory
