"""The verbs as their users meet them: one JSON line, one line of error, an exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from featurizer import manifest
from pipeline.options import parse
from tests.pipeline.runs import (
    OPTIONS,
    REPOSITORY,
    call,
    command,
    embedded_archive,
    run,
    stamps,
    tree,
    write_pictures,
)

VERBS = ("embed", "index", "train", "encode", "publish", "verify")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder)
    return folder


@pytest.fixture(scope="module")
def indexed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """An archive made by one command in a process of its own, and what that printed."""
    root = tmp_path_factory.mktemp("indexed")
    return root, run("index", pictures, root, *OPTIONS).record


def test_index_makes_and_publishes_all(indexed: tuple[Path, dict]) -> None:
    root, record = indexed
    assert (record["verb"], record["rows"], record["root"]) == ("index", 24, str(root))
    assert record["embed"]["embedded_now"] == record["embed"]["rows"] == 24
    assert record["embed"]["rejects"] == {}
    assert record["generation"] == manifest.current_generation(str(root))
    generation = manifest.read_generation(str(root), record["generation"])
    assert generation.quantizer == record["train"]["quantizer"]
    assert len(generation.shards) == record["encode"]["shards"] == record["embed"]["shards"] > 1
    folders = {path.split("/")[0] for path in tree(root)}
    assert folders == {
        *("CURRENT", "featurizers", "generations", "inventories", "quantizers", "shards")
    }


def test_running_it_again_does_nothing(indexed: tuple[Path, dict], pictures: Path) -> None:
    root, first = indexed
    before, times = tree(root), stamps(root)
    begin = time.monotonic()
    record = run("index", pictures, root, *OPTIONS).record
    assert time.monotonic() - begin < 120  # "seconds" on an idle machine
    assert record["embed"]["embedded_now"] == 0
    assert record["generation"] == first["generation"]
    assert tree(root) == before
    assert stamps(root) == times


def test_each_verb_prints_one_line(indexed: tuple[Path, dict], pictures: Path) -> None:
    root, first = indexed
    times = stamps(root)
    dry = call("index", pictures, root / "none", *OPTIONS, "--dry-run").record
    assert (dry["dry_run"], dry["images"], dry["rows_at_most"]) == (True, 24, 24)
    assert not (root / "none").exists()
    assert (
        call("embed", pictures, root, *OPTIONS).record["inventory"] == (first["embed"]["inventory"])
    )
    trained = call("train", root, "--no-progress").record
    assert trained["quantizer"] == first["train"]["quantizer"]
    encode = call("encode", root, "--no-progress", "--quantizer", trained["quantizer"]).record
    assert encode["generation"] == first["generation"]
    assert call("publish", root).record["generation"] == first["generation"]
    verified = call("verify", root, "--generation", first["generation"]).record
    assert verified == {
        "verb": "verify",
        "generation": first["generation"],
        "rows": 24,
        "shards": first["embed"]["shards"],
    }
    assert stamps(root) == times


def test_what_libraries_print_is_no_result() -> None:
    code = (
        "import ctypes, subprocess, pipeline.__main__ as m; m._keep_stdout_for_results();"
        "ctypes.CDLL(None).puts(b'chatter'); subprocess.run(['echo', 'worker']); print('result')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "result\n"
    assert sorted(done.stderr.split()) == ["chatter", "worker"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serve"],
        ["embed"],
        ["embed", "/a"],
        ["embed", "/a", "/b", "--shard-row", "3"],
        ["embed", "/a", "/b", "--bands", "1,2"],
        ["embed", "/a", "/b", "--scale", "3,2"],
        ["train", "/a", "--nlist", "many"],
        ["publish", "/a", "--min-recall", "good"],
    ],
)
def test_arguments_that_cannot_be_meant_exit_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)
    assert "run the same command again" in text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--shard-rows", "0"),
        ("--batch", "0"),
        ("--max-reject-share", "1.5"),
        ("--tile-px", "0"),
        ("--stride-px", "-1"),
        ("--max-null", "2"),
    ],
)
def test_values_out_of_range_write_nothing(
    pictures: Path, tmp_path: Path, option: str, value: str
) -> None:
    root = tmp_path / "root"
    done = call("embed", pictures, root, *OPTIONS, option, value)
    assert done.status == 1
    assert done.err.startswith("error: ")
    assert option in done.err
    assert not root.exists()


class TestBeamFlags:
    def test_an_unknown_one_is_refused(self, pictures: Path, tmp_path: Path) -> None:
        done = call("embed", pictures, tmp_path / "root", *OPTIONS, "--", "--runer=FlinkRunner")
        assert "Beam knows no option --runer=FlinkRunner (after --)" in done.error
        assert not (tmp_path / "root").exists()

    def test_workers_are_for_the_local_runner(self, pictures: Path, tmp_path: Path) -> None:
        flags = ("--workers", "2", "--", "--runner=PortableRunner")
        done = call("embed", pictures, tmp_path / "root", *OPTIONS, *flags)
        assert "--workers is for this machine" in done.error
        assert not (tmp_path / "root").exists()


class TestSourcesThatAreNone:
    def test_missing(self, tmp_path: Path) -> None:
        done = call("index", tmp_path / "nowhere", tmp_path / "root", *OPTIONS)
        assert f"{tmp_path}/nowhere: nothing is there; check the path" in done.error
        assert not (tmp_path / "root").exists()

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "notes.txt").write_text("none")
        done = call("index", tmp_path / "empty", tmp_path / "root", *OPTIONS)
        assert f"{tmp_path}/empty: no pictures here; give a folder of them" in done.error
        assert not (tmp_path / "root").exists()


class TestRootsThatCannotBeUsed:
    def test_a_file_in_its_place(self, pictures: Path, tmp_path: Path) -> None:
        (tmp_path / "root").write_text("a file")
        error = call("index", pictures, tmp_path / "root", *OPTIONS).error
        assert f"{tmp_path}/root/" in error
        assert (tmp_path / "root").read_text() == "a file"

    def test_a_parent_that_is_a_file(self, pictures: Path, tmp_path: Path) -> None:
        (tmp_path / "parent").write_text("a file")
        assert "/parent/root/" in call("index", pictures, tmp_path / "parent/root", *OPTIONS).error

    def test_a_disk_for_reading_only(self, pictures: Path, small_disk: Path) -> None:
        options = ["mount", "-o", "remount,ro", str(small_disk)]
        done = subprocess.run(options, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a disk cannot be made read-only here: {done.stderr.strip()}")
        error = call("index", pictures, small_disk / "root", *OPTIONS).error
        assert "could not write it: OSError: [Errno 30] Read-only file system" in error

    def test_an_unknown_scheme(self, pictures: Path) -> None:
        assert "no driver" in call("index", pictures, "nosuch://bucket/root", *OPTIONS).error

    @pytest.mark.parametrize("verb", ["train", "encode", "publish", "verify"])
    def test_nothing_made_there_yet(self, tmp_path: Path, verb: str) -> None:
        error = call(verb, tmp_path / "root").error
        assert "run `python -m pipeline" in error
        assert not (tmp_path / "root").exists()

    def test_without_the_right_to_write(self, pictures: Path, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can become another user here")
        root = tmp_path / "root"
        root.mkdir(mode=0o755)
        # Run once as root, so that every module is loaded: nobody may not read them.
        script = (
            "import os, sys; from pipeline.cli import main"
            "; verb, source, root, *rest = sys.argv[1:]"
            "; assert main([verb, source, root + '-of-root', *rest]) == 0"
            "; os.setegid(65534); os.seteuid(65534); sys.exit(main(sys.argv[1:]))"
        )
        for path in (tmp_path, *tmp_path.parents[:2], pictures):
            path.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", script, *command("embed", pictures, root, *OPTIONS)[3:]],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.count("\n") == 1, done.stderr
        line = done.stderr
        assert (done.returncode, done.stdout.count("\n")) == (1, 1)
        assert line.startswith(f"error: {root}/")
        assert "permission denied: check the file's mode" in line


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of its own with 6 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


class TestFullDisk:
    def test_nothing_is_half_published(self, small_disk: Path, tmp_path: Path) -> None:
        write_pictures(tmp_path / "pictures")
        root = small_disk / "root"
        first = call("index", tmp_path / "pictures", root, *OPTIONS).record
        (small_disk / "ballast").write_bytes(b"\0" * _free(small_disk, leave=40_000))
        write_pictures(tmp_path / "pictures", 60, first=100)
        error = call("index", tmp_path / "pictures", root, *OPTIONS).error
        assert "the disk is full: free some space and run the same command again" in error
        assert manifest.current_generation(str(root)) == first["generation"]
        assert call("verify", root).record["generation"] == first["generation"]
        assert not [path for path in tree(root) if path.endswith(".part")]
        (small_disk / "ballast").unlink()
        again = call("index", tmp_path / "pictures", root, *OPTIONS).record
        assert again["rows"] == 84
        assert call("verify", root).record["rows"] == 84

    def test_at_once(self, small_disk: Path, tmp_path: Path) -> None:
        write_pictures(tmp_path / "pictures", 4)
        (small_disk / "ballast").write_bytes(b"\0" * _free(small_disk, leave=4096))
        error = call("index", tmp_path / "pictures", small_disk / "root", *OPTIONS).error
        assert "the disk is full" in error


def _free(disk: Path, leave: int) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_bsize - leave


class TestDamage:
    """What verify and publish say of files that are not what they were."""

    @pytest.fixture
    def published(self, tmp_path: Path) -> Path:
        root = tmp_path / "root"
        embedded_archive(root)
        call("train", root, "--no-progress", "--nlist", "4").record  # noqa: B018 - checks itself
        call("encode", root, "--no-progress").record  # noqa: B018
        call("publish", root).record  # noqa: B018
        return root

    @pytest.mark.parametrize(
        ("pattern", "remedy"),
        [
            ("shards/*/vectors.npy", "remove the shard's folder and run the same embed command"),
            ("shards/*/rows.parquet", "remove the shard's folder and run the same embed command"),
            ("shards/*/rejects.parquet", "remove the shard's folder and run the same embed"),
            ("shards/*/shard.json", "remove the shard's folder and run the same embed command"),
            ("quantizers/*/codes/*.faiss", "encode again"),
            ("quantizers/*/trained.faiss", "run train and encode again"),
            ("quantizers/*/quantizer.json", "remove its folder and train again"),
            ("generations/*.json", "make it again"),
        ],
    )
    @pytest.mark.parametrize("how", ["truncated", "altered", "missing"])
    def test_names_the_file_and_the_remedy(
        self, published: Path, pattern: str, remedy: str, how: str
    ) -> None:
        path = sorted(published.glob(pattern))[0]
        _damage(path, how)
        current = (published / "CURRENT").read_bytes()
        for verb in ("verify", "publish"):
            done = call(verb, published)
            assert (done.status, done.out) == (1, "")
            said = done.err.splitlines()
            assert said[-1].startswith("error: ")
            assert "Traceback" not in done.err
            if pattern.startswith("generations/") and how == "missing":
                assert "no generation here yet" in done.err
                continue
            assert str(path) in done.err
            if how == "truncated" or not path.name.endswith(".json"):
                assert remedy in done.err
        assert (published / "CURRENT").read_bytes() == current

    def test_verify_lists_every_fault(self, published: Path) -> None:
        damaged = sorted(published.glob("shards/*/vectors.npy"))[:2]
        for path in damaged:
            _damage(path, "altered")
        done = call("verify", published)
        lines = done.err.splitlines()
        assert done.status == 1
        assert [line.startswith("fault: ") for line in lines] == [True, True, False]
        assert lines[-1].endswith("2 faults, listed above")


def _damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif path.suffix == ".json":
        record = json.loads(data)
        record["unheard_of"] = 1
        path.write_text(json.dumps(record))
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
