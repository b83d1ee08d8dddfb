"""Files of a generation: verified before use, fetched when remote, remembered when seen."""

from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path

import fsspec
import pytest

from featurizer import storage
from featurizer.errors import ContractError, StorageError
from serving.engine import sync
from serving.engine.search import SearchEngine
from tests.serving.archive import QUANTIZER, Archive, build_archive, clustered

FILES = [
    f"quantizers/{QUANTIZER}/trained.faiss",
    f"quantizers/{QUANTIZER}/codes/shard0001.faiss",
    "shards/shard0001/vectors.npy",
    "shards/shard0001/rows.parquet",
]


def synced(archive: Archive, cache: Path) -> sync.LocalFiles:
    with sync.locked(cache):
        return sync.local_files(archive.root, archive.name, archive.generation, cache)


def paths_of(files: sync.LocalFiles) -> list[Path]:
    return [
        files.trained(),
        files.codes("shard0001"),
        files.vectors("shard0001"),
        files.rows("shard0001"),
    ]


@pytest.fixture
def archive(tmp_path):
    return build_archive(tmp_path / "root", clustered(60, 8), counts=[30, 30], factory="IVF4,PQ4x4")


@pytest.fixture
def remote():
    root = f"memory://{uuid.uuid4().hex}/archive"
    yield build_archive(root, clustered(60, 8), counts=[30, 30], factory="IVF4,PQ4x4")
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files that are read to be verified."""
    seen: list[str] = []
    real = storage.sha256_of_file

    def counting(path):
        seen.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(storage, "sha256_of_file", counting)
    return seen


def test_local_files_are_used_where_they_are(archive, tmp_path):
    files = synced(archive, tmp_path / "cache")
    assert paths_of(files) == [tmp_path / "root" / name for name in FILES]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        ".lock",
        "verified.jsonl",
    ]


def test_a_restart_reads_nothing_again(archive, tmp_path, hashed):
    synced(archive, tmp_path / "cache")
    assert len(hashed) == 7
    synced(archive, tmp_path / "cache")
    assert len(hashed) == 7


def test_a_file_that_was_touched_is_read_again(archive, tmp_path, hashed):
    files = synced(archive, tmp_path / "cache")
    os.utime(files.vectors("shard0001"), ns=(1, 1))
    synced(archive, tmp_path / "cache")
    assert hashed[7:] == ["vectors.npy"]


def test_a_torn_line_of_what_was_verified_is_passed_over(archive, tmp_path, hashed):
    synced(archive, tmp_path / "cache")
    ledger = tmp_path / "cache" / "verified.jsonl"
    text = ledger.read_text()
    ledger.write_text(text[: len(text) - 20])
    synced(archive, tmp_path / "cache")
    assert len(hashed) == 8


def truncate(data: bytes) -> bytes:
    return data[:-1]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("spoil", [truncate, flip])
@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_named_with_both_sides_and_a_remedy(archive, tmp_path, name, spoil):
    path = tmp_path / "root" / name
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ContractError) as caught:
        SearchEngine.open(archive.root, tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith(f"{path}: {path.stat().st_size} bytes with sha256 ")
    assert f"generation {archive.name} says" in message
    assert "again" in message
    assert "\n" not in message


def test_alteration_after_a_good_start_is_found_at_the_next(archive, tmp_path):
    synced(archive, tmp_path / "cache")
    path = tmp_path / "root" / FILES[1]
    path.write_bytes(flip(path.read_bytes()))
    with pytest.raises(ContractError, match=r"shard0001\.faiss"):
        synced(archive, tmp_path / "cache")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(archive, tmp_path, name):
    (tmp_path / "root" / name).unlink()
    with pytest.raises(StorageError, match=r"no such file") as caught:
        synced(archive, tmp_path / "cache")
    assert name in str(caught.value)


def test_a_remote_archive_is_fetched_once(remote, tmp_path, hashed, monkeypatch):
    files = synced(remote, tmp_path / "cache")
    base = tmp_path / "cache" / "objects"
    assert paths_of(files) == [base / name for name in FILES]
    for name in FILES:
        assert (base / name).read_bytes() == storage.read_bytes(storage.join(remote.root, name))
    assert not list(base.rglob("*.part"))
    assert len(hashed) == 7
    fetched: list[str] = []
    monkeypatch.setattr(
        type(fsspec.filesystem("memory")), "get_file", lambda *_: fetched.append("")
    )
    synced(remote, tmp_path / "cache")
    assert not fetched
    assert len(hashed) == 7


def test_an_interrupted_fetch_goes_on(remote, tmp_path, monkeypatch):
    memory = type(fsspec.filesystem("memory"))
    real, calls = memory.get_file, []

    def failing(self, rpath, lpath, **options):
        calls.append(rpath)
        if len(calls) == 4:
            Path(lpath).write_bytes(b"half")
            raise OSError("connection reset")
        return real(self, rpath, lpath, **options)

    monkeypatch.setattr(sync, "_DOWNLOADS", 1)
    monkeypatch.setattr(memory, "get_file", failing)
    with pytest.raises(StorageError, match="connection reset"):
        synced(remote, tmp_path / "cache")
    before = len(calls)
    there = [p for p in (tmp_path / "cache" / "objects").rglob("*.*") if p.suffix != ".part"]
    assert 3 <= len(there) < 7
    files = synced(remote, tmp_path / "cache")
    assert len(calls) - before == 7 - len(there)
    assert files.vectors("shard0001").stat().st_size == 128 + 30 * 8 * 2


@pytest.mark.parametrize("name", FILES)
def test_a_remote_object_that_was_altered_never_reaches_its_place(remote, tmp_path, name):
    url = storage.join(remote.root, name)
    storage.write_bytes(url, flip(storage.read_bytes(url)))
    with pytest.raises(ContractError) as caught:
        synced(remote, tmp_path / "cache")
    assert str(caught.value).startswith(f"{url}: ")
    assert not (tmp_path / "cache" / "objects" / name).exists()


def test_a_cached_copy_that_was_altered_is_fetched_again(remote, tmp_path):
    path = synced(remote, tmp_path / "cache").codes("shard0001")
    whole = path.read_bytes()
    path.write_bytes(flip(whole))
    assert synced(remote, tmp_path / "cache").codes("shard0001").read_bytes() == whole


def test_a_remote_archive_is_searched_like_a_local_one(remote, archive, tmp_path):
    queries = clustered(5, 8, seed=2)
    far = SearchEngine.open(remote.root, tmp_path / "far").search(queries, 7)
    near = SearchEngine.open(archive.root, tmp_path / "near").search(queries, 7)
    assert far[1].tolist() == near[1].tolist()
    assert far[0].tolist() == near[0].tolist()


def test_a_second_process_waits_for_the_cache(tmp_path):
    order: list[str] = []

    def second() -> None:
        with sync.locked(tmp_path):
            order.append("second")

    with sync.locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_cache_that_cannot_be_made_is_named(archive, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cache folder"):
        SearchEngine.open(archive.root, tmp_path / "file" / "cache")
