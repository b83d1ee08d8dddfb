"""Code files of shards merged into one index: the same as one index built at once."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer import storage
from featurizer.errors import ContractError, StorageError
from serving.engine import merge
from serving.engine.sync import LocalFiles
from tests.serving.archive import Archive, build_archive, clustered, code_bytes, trained_index

FACTORIES = ["IVF8,PQ4x4", "OPQ4_16,IVF8,PQ4x4", "PCA8,IVF8,PQ4x4", "IVF8,Flat", "IVF8,SQ8"]


def files_of(archive: Archive) -> LocalFiles:
    return LocalFiles(Path(archive.root), archive.generation.quantizer)


def merged(archive: Archive, cache: Path):
    return merge.merged_index(archive.generation, files_of(archive), cache)


def at_once(archive: Archive):
    """One index in memory, built of all vectors at once: the oracle."""
    index = faiss.read_index(str(files_of(archive).trained()))
    index.add(archive.vectors.astype(np.float32))
    return index


def lists_of(index) -> list[tuple[list[int], bytes]]:
    """Ids and codes of each list."""
    lists = faiss.extract_index_ivf(index).invlists
    found = []
    for number in range(lists.nlist):
        size = lists.list_size(number)
        if not size:
            found.append(([], b""))
            continue
        ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
        codes = faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size)
        found.append((ids.tolist(), codes.tobytes()))
    return found


@pytest.mark.parametrize("factory", FACTORIES)
def test_equals_one_index_built_at_once(tmp_path, factory):
    archive = build_archive(
        tmp_path / "root", clustered(300, 16), counts=[90, 0, 7, 163, 40], factory=factory
    )
    index = merged(archive, tmp_path / "cache")
    assert index.ntotal == 300
    assert lists_of(index) == lists_of(at_once(archive))
    queries = clustered(20, 16, seed=1)
    faiss.extract_index_ivf(index).nprobe = 8
    oracle = at_once(archive)
    faiss.extract_index_ivf(oracle).nprobe = 8
    for ours, theirs in zip(index.search(queries, 5), oracle.search(queries, 5), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(2, 4))
def test_more_files_than_may_be_mapped_at_once(tmp_path_factory, counts, group):
    folder = tmp_path_factory.mktemp("merge")
    vectors = clustered(sum(counts), 8)
    trained = trained_index(clustered(60, 8), "IVF4,PQ4x4")
    stored = faiss.serialize_index(trained).tobytes()
    files, start = [], 0
    for number, count in enumerate(counts):
        path = folder / f"{number}.faiss"
        path.write_bytes(code_bytes(stored, vectors[start : start + count].astype(np.float16)))
        files.append((path, count))
        start += count
    shape = merge.CodesShape(4, faiss.extract_index_ivf(trained).code_size)
    lists = merge.merge_codes(files, shape, folder / "merged.ivfdata", group)
    trained.add(vectors.astype(np.float16).astype(np.float32))
    oracle = lists_of(trained)
    faiss.extract_index_ivf(trained).replace_invlists(lists, False)
    assert lists_of(trained) == oracle
    assert sorted(path.name for path in folder.glob("merged*")) == ["merged.ivfdata"]


@pytest.fixture
def archive(tmp_path):
    return build_archive(tmp_path / "root", clustered(60, 8), counts=[30, 30], factory="IVF4,PQ4x4")


def stamps(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (cache / "index").iterdir()}


def test_a_second_start_finds_the_merged_index(archive, tmp_path):
    first = lists_of(merged(archive, tmp_path / "cache"))
    before = stamps(tmp_path / "cache")
    assert set(before) == {"index.faiss", "merged.ivfdata", "complete.json"}
    assert lists_of(merged(archive, tmp_path / "cache")) == first
    assert stamps(tmp_path / "cache") == before


def test_a_cache_that_was_moved_is_used_where_it_is(archive, tmp_path):
    first = lists_of(merged(archive, tmp_path / "cache"))
    shutil.move(tmp_path / "cache", tmp_path / "moved")
    assert lists_of(merged(archive, tmp_path / "moved")) == first


def test_killed_between_merge_and_rename(archive, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        merged(archive, tmp_path / "cache")
    assert not (tmp_path / "cache" / "index").exists()
    assert (tmp_path / "cache" / ".index.part").exists()
    assert lists_of(merged(archive, tmp_path / "cache")) == lists_of(at_once(archive))
    assert not (tmp_path / "cache" / ".index.part").exists()


@pytest.mark.parametrize("name", ["merged.ivfdata", "index.faiss", "complete.json"])
def test_a_cached_file_cut_short_is_made_anew(archive, tmp_path, name):
    merged(archive, tmp_path / "cache")
    path = tmp_path / "cache" / "index" / name
    path.write_bytes(path.read_bytes()[:-10])
    assert lists_of(merged(archive, tmp_path / "cache")) == lists_of(at_once(archive))


def test_other_codes_are_merged_anew(archive, tmp_path):
    merged(archive, tmp_path / "cache")
    first, second = archive.generation.shards
    swapped = replace(archive.generation, shards=(second, first))
    index = merge.merged_index(swapped, files_of(archive), tmp_path / "cache")
    oracle = faiss.read_index(str(files_of(archive).trained()))
    oracle.add(np.roll(archive.vectors, 30, axis=0).astype(np.float32))
    assert lists_of(index) == lists_of(oracle)


def test_codes_that_do_not_fit_are_refused(archive, tmp_path):
    path = files_of(archive).codes("shard0001")
    whole = path.read_bytes()
    trained = files_of(archive).trained().read_bytes()
    path.write_bytes(code_bytes(trained, archive.vectors[:29]))
    with pytest.raises(ContractError, match=r"shard0001.faiss: 29 rows in 4 lists"):
        merged(archive, tmp_path / "cache")
    other = faiss.serialize_index(trained_index(clustered(60, 8), "IVF4,PQ2x4")).tobytes()
    path.write_bytes(code_bytes(other, archive.vectors[:30]))
    with pytest.raises(ContractError, match=r"of 1-byte codes"):
        merged(archive, tmp_path / "cache")
    path.write_bytes(b"nothing")
    with pytest.raises(ContractError, match="not a file of inverted lists") as caught:
        merged(archive, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    assert merged(archive, tmp_path / "cache").ntotal == 60


def test_a_quantizer_of_another_kind_is_refused(archive, tmp_path):
    place = files_of(archive).trained()
    for index, says in (
        (faiss.IndexFlatL2(8), "IndexFlat"),
        (trained_index(clustered(60, 6), "IVF4,PQ2x4"), "of 6 with 0 rows"),
        (at_once(archive), "with 60 rows"),
        (faiss.index_factory(8, "IVF4,PQ4x4"), "must be an empty, trained"),
    ):
        storage.write_bytes(str(place), faiss.serialize_index(index).tobytes())
        with pytest.raises(ContractError, match=says):
            merged(archive, tmp_path / "cache")
    place.write_bytes(b"IxXX")
    with pytest.raises(ContractError, match="not a FAISS index"):
        merged(archive, tmp_path / "cache")


def test_a_disk_without_room_is_told_before_it_is_full(archive, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 900, 100))
    with pytest.raises(StorageError, match=r"needs 600 bytes, but 100 are free.*--cache-dir"):
        merged(archive, tmp_path / "cache")
