"""Killed at any moment, the same command ends with the files of a run that nobody disturbed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from tests.pipeline.runs import (
    OPTIONS,
    REPOSITORY,
    call,
    command,
    main_of_child,
    tree,
    write_pictures,
)

# Forked from a server that has the libraries loaded, an attempt starts at once.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tests.pipeline.runs", "pipeline.jobs", "pipeline.embedding", "featurizer.embed"]
)
KILLED = -signal.SIGKILL
ENDS_WITHIN_S = 240


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, 48)
    return folder


@pytest.fixture(scope="module")
def undisturbed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("undisturbed")
    call("index", pictures, root, *OPTIONS).record  # noqa: B018 - checks itself
    return tree(root)


def attempt(pictures: Path, root: Path, die_at_write: int | None = None) -> ForkServerProcess:
    arguments = [str(part) for part in ("index", pictures, root, *OPTIONS)]
    process = _CONTEXT.Process(
        target=main_of_child, args=(arguments, f"{root}.log", die_at_write), daemon=True
    )
    process.start()
    return process


def finish(process: ForkServerProcess, log: Path) -> int:
    process.join(ENDS_WITHIN_S)
    assert process.exitcode is not None, f"it hangs: {log.read_text()}"
    return process.exitcode


def complete(pictures: Path, root: Path, undisturbed: dict[str, bytes]) -> None:
    log = Path(f"{root}.log")
    assert finish(attempt(pictures, root), log) == 0, log.read_text()
    assert tree(root) == undisturbed
    assert "Traceback" not in log.read_text()


def test_killed_again_and_again(
    pictures: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """Each attempt continues the last one and dies a few writes on: in embed, train, encode, at
    the manifest, at CURRENT; by turns before and after the file gets its name."""
    root, log = tmp_path / "root", tmp_path / "root.log"
    kills = parts = 0
    while True:
        # A shard is four writes: with fewer to live for, an attempt could not complete one.
        few = 2 if (root / "inventories").exists() else 5
        if finish(attempt(pictures, root, few + kills % 2), log) != KILLED:
            break
        kills += 1
        parts += any(path.endswith(".part") for path in tree(root))
        assert kills <= len(undisturbed)
    assert kills >= 12
    assert parts  # so that this test knows of leftovers
    assert tree(root) == undisturbed
    assert "Traceback" not in log.read_text()


def test_killed_at_any_moment(
    pictures: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    kills = _kill_at_random(pictures, tmp_path / "root", undisturbed, seed=0, most=4)
    assert kills >= 1


@pytest.mark.slow
def test_killed_sixty_times(pictures: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    kills = rounds = 0
    while kills < 60:
        root = tmp_path / f"root{rounds}"
        kills += _kill_at_random(pictures, root, undisturbed, seed=rounds + 1, most=4)
        rounds += 1
        assert rounds < 60


def _kill_at_random(
    pictures: Path, root: Path, undisturbed: dict[str, bytes], seed: int, most: int
) -> int:
    """Kills up to ``most`` attempts, each as long after its start as chance will have it."""
    chance, kills = random.Random(seed), 0
    whole = _seconds_of_a_run(pictures, root.with_name(f"{root.name}-timed"))
    for _ in range(most):
        process = attempt(pictures, root)
        process.join(chance.uniform(0.1, 1.0) * whole)
        process.kill()
        kills += finish(process, Path(f"{root}.log")) == KILLED
    complete(pictures, root, undisturbed)
    return kills


def _seconds_of_a_run(pictures: Path, root: Path) -> float:
    begin = time.monotonic()
    assert finish(attempt(pictures, root), Path(f"{root}.log")) == 0
    return time.monotonic() - begin


@pytest.mark.slow
@pytest.mark.parametrize("write", range(1, 60))
def test_killed_at_each_write(
    pictures: Path, undisturbed: dict[str, bytes], tmp_path: Path, write: int
) -> None:
    root = tmp_path / "root"
    status = finish(attempt(pictures, root, write), tmp_path / "root.log")
    assert status == (KILLED if write <= len(undisturbed) else 0)
    complete(pictures, root, undisturbed)


def test_interrupted_it_says_how_to_go_on(
    pictures: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    # A shell that starts the tests in the background has them, and so their children, ignore it.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command("index", pictures, root, *OPTIONS),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, usual)
    wait_for(process, root, "shards/*/*.npy")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=ENDS_WITHIN_S)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted: the same command continues where this stopped"
    assert "Traceback" not in err
    complete(pictures, root, undisturbed)


def wait_for(process: subprocess.Popen[str], root: Path, pattern: str) -> None:
    """Returns as soon as there is such a file below ``root``."""
    end = time.monotonic() + ENDS_WITHIN_S
    while not any(root.glob(pattern)):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.002)


def test_the_command_itself_killed_with_all_its_children(
    pictures: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """The real thing: a process group of its own, SIGKILL to all of it as a shard appears."""
    root = tmp_path / "root"
    process = subprocess.Popen(
        command("index", pictures, root, *OPTIONS, "--workers", "2"),
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(process, root, "shards/*/*.npy")
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(60) == KILLED
    complete(pictures, root, undisturbed)
