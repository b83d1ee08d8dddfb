"""Storage: complete or absent, whatever happens; listings that are the same everywhere."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import stat as modes
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizer import storage
from featurizer.errors import StorageError

FORK = multiprocessing.get_context("fork")
NOBODY = 65534


class StorageContract:
    """What every kind of storage does; a subclass gives ``root``."""

    def test_reads_back_what_was_written(self, root: str) -> None:
        url = storage.join(root, "a", "deep", "place.bin")
        data = bytes(range(256)) * 40
        storage.write_bytes(url, data)
        assert storage.read_bytes(url) == data
        assert storage.exists(url)
        assert not storage.is_directory(url)
        assert storage.is_directory(storage.join(root, "a"))
        storage.write_bytes(url, b"")
        assert storage.read_bytes(url) == b""

    def test_walk_is_ordered_deep_and_leaves_hidden_ones_out(self, root: str) -> None:
        seen = ["b/2.jpg", "a.jpg", "b/10.jpg", "b/c/x y#1,2.jpg", "z[1].jpg", "é.jpg"]
        for name in [*seen, ".hidden", "b/.part", ".git/config"]:
            storage.write_bytes(storage.join(root, name), name.encode())
        entries = list(storage.walk(root))
        found = [entry.uri.removeprefix(f"{root}/") for entry in entries]
        assert sorted(found) == sorted(seen)
        assert found == sorted(seen, key=lambda name: name.split("/"))
        assert [entry.size for entry in entries] == [len(name.encode()) for name in found]

    def test_stat_and_walk_agree(self, root: str) -> None:
        for name in ("a", "sub/b"):
            storage.write_bytes(storage.join(root, name), b"12345")
        entries = list(storage.walk(root))
        assert len(entries) == 2
        assert [storage.stat(entry.uri) for entry in entries] == entries

    def test_etag_is_stable_and_changes_with_the_bytes(self, root: str) -> None:
        url = storage.join(root, "a")
        storage.write_bytes(url, b"one")
        first = storage.stat(url)
        assert storage.stat(url) == first
        time.sleep(0.01)
        storage.write_bytes(url, b"two")
        assert storage.stat(url).etag != first.etag

    def test_names_are_direct_children(self, root: str) -> None:
        for name in ("b.json", "a/x", "a/y", ".b.json.part"):
            storage.write_bytes(storage.join(root, name), b"x")
        assert storage.names(root) == ["a", "b.json"]
        assert storage.names(storage.join(root, "nothing")) == []

    def test_read_many_keeps_order_and_tells_the_missing(self, root: str) -> None:
        urls = [storage.join(root, name) for name in ("a", "gone", "b[1]?*.jpg", "c")]
        for url in (urls[0], urls[2], urls[3]):
            storage.write_bytes(url, url.encode())
        # a name that, read as a pattern, would also match this one
        storage.write_bytes(storage.join(root, "b1xx.jpg"), b"another")
        found = storage.read_many([*urls, urls[0]])
        assert found[0] == found[4] == urls[0].encode()
        assert found[2:4] == [urls[2].encode(), urls[3].encode()]
        assert isinstance(found[1], StorageError)
        assert storage.is_missing(found[1])
        assert str(found[1]) == f"{urls[1]}: could not read it: no such file or object"
        assert storage.read_many([]) == []
        assert storage.read_many(urls[2:3]) == [urls[2].encode()]

    def test_what_is_not_there(self, root: str) -> None:
        url = storage.join(root, "nothing", "here")
        assert not storage.exists(url)
        assert not storage.is_directory(url)
        for action in (storage.read_bytes, storage.stat, lambda u: list(storage.walk(u))):
            with pytest.raises(StorageError, match="no such file or object") as caught:
                action(url)
            assert storage.is_missing(caught.value)
            assert url in str(caught.value)

    def test_a_writer_that_raises_changes_nothing(self, root: str) -> None:
        url = storage.join(root, "a")
        storage.write_bytes(url, b"old")
        with pytest.raises(RuntimeError, match="half way"):
            storage.write_with(url, fails_half_way)
        assert storage.read_bytes(url) == b"old"
        with pytest.raises(RuntimeError):
            storage.write_with(storage.join(root, "new"), fails_half_way)
        assert storage.names(root) == ["a"]

    def test_write_with_may_seek(self, root: str) -> None:
        def write(file: IO[bytes]) -> None:
            file.write(b"....tail")
            file.seek(0)
            file.write(b"head")

        storage.write_with(storage.join(root, "a"), write)
        assert storage.read_bytes(storage.join(root, "a")) == b"headtail"


def fails_half_way(file: IO[bytes]) -> None:
    file.write(b"new")
    raise RuntimeError("half way")


class TestLocal(StorageContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> str:
        return str(tmp_path)


class TestMemory(StorageContract):
    @pytest.fixture
    def root(self) -> Iterator[str]:
        url = f"memory://{uuid.uuid4().hex}"
        storage.write_bytes(f"{url}/.keep", b"")
        yield url
        fs, path = storage.filesystem(url)
        fs.rm(path, recursive=True)


def run_in_child(work: Callable[[], None]) -> multiprocessing.process.BaseProcess:
    child = FORK.Process(target=work)
    child.start()
    return child


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestAtomicity:
    def test_nothing_is_left_beside_the_target(self, tmp_path: Path) -> None:
        storage.write_bytes(str(tmp_path / "a"), b"x")
        with pytest.raises(RuntimeError):
            storage.write_with(str(tmp_path / "b"), fails_half_way)
        assert listing(tmp_path) == ["a"]

    def test_the_file_has_the_mode_of_any_other(self, tmp_path: Path) -> None:
        storage.write_bytes(str(tmp_path / "a"), b"x")
        (tmp_path / "b").write_bytes(b"x")
        both = [modes.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"]
        assert both[0] == both[1]

    @pytest.mark.parametrize("before", [None, b"old"])
    def test_killed_in_mid_write_then_run_again(self, tmp_path: Path, before: bytes | None) -> None:
        target = tmp_path / "vectors.npy"
        if before is not None:
            target.write_bytes(before)
        begun = FORK.Event()

        def hang(file: IO[bytes]) -> None:
            file.write(b"half of it" * 10_000)
            file.flush()
            begun.set()
            time.sleep(60)

        child = run_in_child(lambda: storage.write_with(str(target), hang))
        assert begun.wait(20)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join(20)
        assert child.exitcode == -signal.SIGKILL
        assert (target.read_bytes() if target.exists() else None) == before
        assert [entry.uri for entry in storage.walk(str(tmp_path))] == (
            [] if before is None else [str(target)]
        )
        storage.write_bytes(str(target), b"whole")  # shorter than what the killed one left
        assert target.read_bytes() == b"whole"
        assert listing(tmp_path) == ["vectors.npy"]

    def test_many_processes_write_one_target(self, tmp_path: Path) -> None:
        target = tmp_path / "CURRENT"
        contents = [bytes([65 + i]) * (50_000 + i) for i in range(4)]

        def write(data: bytes) -> None:
            for _ in range(25):
                storage.write_bytes(str(target), data)

        children = [run_in_child(lambda data=data: write(data)) for data in contents]
        while any(child.is_alive() for child in children):
            if target.exists():
                assert target.read_bytes() in contents
        assert [child.exitcode for child in children] == [0] * 4
        assert target.read_bytes() in contents
        assert listing(tmp_path) == ["CURRENT"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here, so no full disk can be made")
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


class TestRefusals:
    def test_full_disk_says_so_and_keeps_the_old_file(self, small_disk: Path) -> None:
        target = small_disk / "a"
        storage.write_bytes(str(target), b"old")
        with pytest.raises(StorageError, match="the disk is full: free some space") as caught:
            storage.write_bytes(str(target), b"x" * 200_000)
        assert "\n" not in str(caught.value)
        assert str(target) in str(caught.value)
        assert target.read_bytes() == b"old"
        assert listing(small_disk) == ["a"]

    def test_full_disk_found_out_late(self, small_disk: Path) -> None:
        def trickle(file: IO[bytes]) -> None:
            for _ in range(2_000):
                file.write(b"y" * 100)

        with pytest.raises(StorageError, match="the disk is full"):
            storage.write_with(str(small_disk / "b"), trickle)
        assert listing(small_disk) == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
    def test_permission_denied(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"secret")
        tmp_path.chmod(0o700)
        os.seteuid(NOBODY)
        try:
            with pytest.raises(StorageError, match="permission denied"):
                storage.read_bytes(str(tmp_path / "a"))
            with pytest.raises(StorageError, match="permission denied"):
                storage.write_bytes(str(tmp_path / "sub" / "b"), b"")
            with pytest.raises(StorageError, match="permission denied"):
                list(storage.walk(str(tmp_path)))
            with pytest.raises(StorageError, match="permission denied"):
                storage.exists(str(tmp_path / "a"))
            (found,) = storage.read_many([str(tmp_path / "a")])
        finally:
            os.seteuid(0)
        assert isinstance(found, StorageError)
        assert "permission denied" in str(found)

    def test_unknown_scheme(self) -> None:
        for action in (storage.read_bytes, storage.exists, storage.names, storage.stat):
            with pytest.raises(StorageError, match="gopher://x/y: no driver") as caught:
                action("gopher://x/y")
            assert "gs:// or s3://" in str(caught.value)

    def test_a_file_where_a_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"x")
        with pytest.raises(StorageError):
            storage.write_bytes(str(tmp_path / "a" / "b"), b"y")
        assert not storage.exists(str(tmp_path / "a" / "b"))

    def test_driver_errors_are_explained(self) -> None:
        from gcsfs.retry import HttpError

        with (
            pytest.raises(StorageError, match=r"gs://b/o: could not read it: HttpError: .*denied"),
            storage.explained("gs://b/o", "read it"),
        ):
            raise HttpError({"code": 403, "message": "denied"})

    def test_bugs_keep_their_traceback(self) -> None:
        with pytest.raises(ZeroDivisionError), storage.explained("a", "read it"):
            raise ZeroDivisionError


class TestWalkingLocalFolders:
    def test_link_loops_end(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "1.jpg").write_bytes(b"x")
        (tmp_path / "a" / "up").symlink_to(tmp_path)
        (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
        found = [entry.uri for entry in storage.walk(str(tmp_path))]
        assert found == [str(tmp_path / "a" / "1.jpg")]

    def test_links_to_folders_and_files_elsewhere_are_followed(self, tmp_path: Path) -> None:
        archive, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
        archive.mkdir()
        elsewhere.mkdir()
        (elsewhere / "1.jpg").write_bytes(b"123")
        (archive / "folder").symlink_to(elsewhere)
        (archive / "2.jpg").symlink_to(elsewhere / "1.jpg")
        entries = list(storage.walk(str(archive)))
        assert [entry.uri for entry in entries] == [
            str(archive / "2.jpg"),
            str(archive / "folder" / "1.jpg"),
        ]
        assert [entry.size for entry in entries] == [3, 3]

    @pytest.mark.parametrize("target", ["nowhere", "dangling.jpg"])
    def test_a_link_to_nothing_is_left_to_its_reader(self, tmp_path: Path, target: str) -> None:
        (tmp_path / "dangling.jpg").symlink_to(tmp_path / target)  # the second one is a loop
        (entry,) = storage.walk(str(tmp_path))
        assert entry.uri == str(tmp_path / "dangling.jpg")
        (found,) = storage.read_many([entry.uri])
        assert isinstance(found, StorageError)

    def test_a_pipe_is_left_out(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.jpg")
        assert list(storage.walk(str(tmp_path))) == []

    def test_a_name_that_is_not_utf8_is_refused_by_name(self, tmp_path: Path) -> None:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))).write_bytes(b"x")
        with pytest.raises(StorageError, match=r"not UTF-8: b'caf\\xe9.jpg'; rename it"):
            list(storage.walk(str(tmp_path)))

    def test_two_quick_writes_differ_in_etag(self, tmp_path: Path) -> None:
        tags = set()
        for i in range(50):
            storage.write_bytes(str(tmp_path / "a"), str(i % 10).encode())
            tags.add(storage.stat(str(tmp_path / "a")).etag)
            time.sleep(0.005)
        assert len(tags) == 50


class TestUrls:
    def test_normalise(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert storage.normalise("a/b/") == str(tmp_path / "a" / "b")
        assert storage.normalise(tmp_path) == str(tmp_path)
        assert storage.normalise(f"file://{tmp_path}/x") == str(tmp_path / "x")
        assert storage.normalise("gs://bucket/folder/") == "gs://bucket/folder"
        assert storage.normalise("~/x") == str(Path.home() / "x")

    def test_file_urls_are_local(self, tmp_path: Path) -> None:
        url = f"file://{tmp_path}/a"
        storage.write_bytes(url, b"x")
        assert storage.read_bytes(url) == (tmp_path / "a").read_bytes() == b"x"
        assert storage.stat(url).uri == url
        assert storage.read_many([url]) == [b"x"]

    @given(st.lists(st.text("abc/", min_size=1).map(lambda s: s.strip("/") or "x"), min_size=1))
    def test_join_puts_one_slash_between(self, parts: list[str]) -> None:
        assert storage.join("gs://b/", *parts) == "gs://b/" + "/".join(parts)


@given(st.binary(max_size=2_000))
def test_checksums_are_sha256(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "sum"
    file.write_bytes(data)
    assert storage.sha256(data) == storage.sha256_of_file(file) == hashlib.sha256(data).hexdigest()
