"""``--workers N``: several processes make the same files, and one may die without harm."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.runs import OPTIONS, REPOSITORY, call, command, run, tree, write_pictures

WORKERS = ("--workers", "2", "--threads", "1")
ENDS_WITHIN_S = 240


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, 48)
    return folder


@pytest.fixture(scope="module")
def undisturbed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of the pictures."""
    root = tmp_path_factory.mktemp("alone")
    call("embed", pictures, root, *OPTIONS).record  # noqa: B018 - checks itself
    return tree(root)


def children(parent: int) -> Iterator[int]:
    """Every process below ``parent``, the lowest last."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            above = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if above == parent:
            yield int(entry.name)
            yield from children(int(entry.name))


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for_a_shard(process: subprocess.Popen[str], root: Path) -> None:
    """Returns when a shard is complete; by then every worker process is up."""
    end = time.monotonic() + ENDS_WITHIN_S
    while not any(root.glob("shards/*/shard.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no shard was made"
        time.sleep(0.005)


def started(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_one_killed_fails_in_one_line_and_the_rerun_completes(
    pictures: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    process = started("embed", pictures, tmp_path / "root", *OPTIONS, *WORKERS)
    wait_for_a_shard(process, tmp_path / "root")
    family = list(children(process.pid))
    os.kill(family[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=ENDS_WITHIN_S)
    assert "Traceback" not in err
    assert not any(is_alive(one) for one in family)
    if process.returncode == 0:  # it had finished its share already
        assert out.count("\n") == 1
    else:
        assert (process.returncode, out) == (1, "")
        assert err.splitlines()[-1].startswith("error: a worker process is gone (")
        assert err.endswith("the same command continues where this stopped\n")
    assert call("embed", pictures, tmp_path / "root", *OPTIONS).record["rows"] == 48
    assert tree(tmp_path / "root") == undisturbed


def test_they_make_the_same_files_and_report_errors_in_one_line(
    pictures: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    bad = [pictures / "class0" / f"zzz{i}.jpg" for i in range(6)]  # a shard or two of their own
    for path in bad:
        path.write_bytes(b"not a picture")
    try:
        done = run("embed", pictures, tmp_path / "two", *OPTIONS, *WORKERS)
        alone = call("embed", pictures, tmp_path / "one", *OPTIONS)
    finally:
        for path in bad:
            path.unlink()
    assert "6 of 54 inputs were rejected (6 unknown-format): 11.1% is more than" in done.error
    assert done.error == alone.error.replace("/one/", "/two/")
    made = tree(tmp_path / "two")
    assert made == tree(tmp_path / "one")
    assert not any(path.startswith("inventories") for path in made)
    assert sum(path.endswith("shard.json") for path in made.keys() & undisturbed.keys()) >= 2


@pytest.mark.slow
def test_index_with_workers_is_the_same_to_the_byte(pictures: Path, tmp_path: Path) -> None:
    one = run("index", pictures, tmp_path / "one", *OPTIONS).record
    two = run("index", pictures, tmp_path / "two", *OPTIONS, *WORKERS).record
    assert one["embed"]["embedded_now"] == two["embed"]["embedded_now"] == 48
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.slow
def test_the_driver_killed_takes_its_workers_along(
    pictures: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    process = started("embed", pictures, tmp_path / "root", *OPTIONS, *WORKERS)
    wait_for_a_shard(process, tmp_path / "root")
    family = list(children(process.pid))
    process.kill()
    process.communicate(timeout=ENDS_WITHIN_S)
    end = time.monotonic() + 60
    while any(is_alive(one) for one in family):
        assert time.monotonic() < end, "workers outlived their driver"
        time.sleep(0.1)
    assert run("embed", pictures, tmp_path / "root", *OPTIONS).record["rows"] == 48
    assert tree(tmp_path / "root") == undisturbed
