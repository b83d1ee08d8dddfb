"""Row ids as arithmetic, exact vectors by row id, and scans of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizer.errors import ContractError, StorageError
from serving.engine.bases import Bases
from serving.engine.handles import most_open
from serving.engine.ranking import distances_to
from serving.engine.sync import LocalFiles
from serving.engine.vectors import Vectors
from tests.serving.archive import Archive, build_archive, clustered

COUNTS = [40, 0, 1, 59, 0]


def opened(archive: Archive, **options: int) -> Vectors:
    from pathlib import Path

    files = LocalFiles(Path(archive.root), archive.generation.quantizer)
    return Vectors(archive.generation, files, **options)


@pytest.fixture
def archive(tmp_path):
    return build_archive(tmp_path, clustered(100, 16), counts=COUNTS, factory="IVF4,PQ4x4")


@given(st.lists(st.integers(0, 5), max_size=8), st.data())
def test_every_id_is_found_where_counting_finds_it(counts, data):
    places = [(part, row) for part, count in enumerate(counts) for row in range(count)]
    bases = Bases(counts)
    assert bases.total == len(places)
    ids = data.draw(st.lists(st.integers(0, max(0, len(places) - 1)), max_size=20 if places else 0))
    wanted = np.asarray(ids, np.int64)
    parts, rows = bases.locate(wanted) if ids else ([], [])
    assert list(zip(parts, rows, strict=True)) == [places[i] for i in ids]
    grouped = {
        int(where): (part, int(row))
        for part, positions, inner in bases.groups(wanted)
        for where, row in zip(positions, inner, strict=True)
    }
    grouped_in_order = [
        (part, int(row))
        for part, where, inner in bases.stretches(np.sort(wanted))
        for row in inner
        if len(inner) == where.stop - where.start
    ]
    assert grouped_in_order == [places[i] for i in sorted(ids)]
    assert grouped == {position: places[i] for position, i in enumerate(ids)}


@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_id_out_of_range_is_refused(wrong):
    with pytest.raises(IndexError, match=r"0\.\.2"):
        Bases([1, 2]).locate(np.array([0, wrong]))


@pytest.mark.parametrize(
    "options", [{"open_files": 1}, {"mapped_bytes": 0}, {"open_files": 1, "mapped_bytes": 0}]
)
def test_gather_takes_rows_in_any_order_and_repeated(archive, options):
    ids = np.random.default_rng(0).integers(0, 100, 300)
    got = opened(archive, **options).gather(ids)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, archive.vectors[ids].astype(np.float32))
    assert opened(archive).gather(np.empty(0, np.int64)).shape == (0, 16)


def test_scan_of_some_rows_is_that_of_all_with_the_others_removed(archive, monkeypatch):
    monkeypatch.setattr("serving.engine.vectors._BLOCK_BYTES", 16 * 4 * 9)
    queries, rows = clustered(5, 16, seed=4), np.arange(1, 100, 3)
    others = np.setdiff1d(np.arange(100), rows)
    for cosine in (True, False):
        wanted = opened(archive).scan(queries, 8, cosine, others)
        found = opened(archive).scan_rows(queries, 8, cosine, rows)
        assert np.sort(found, axis=1).tolist() == np.sort(wanted, axis=1).tolist()
    assert opened(archive).scan_rows(queries, 8, True, rows[:3]).shape == (5, 3)


def test_a_file_cut_short_after_the_start_is_an_error(archive, tmp_path):
    vectors = opened(archive, mapped_bytes=0)
    vectors.gather(np.array([99]))
    path = tmp_path / "shards" / "shard0003" / "vectors.npy"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(StorageError, match=r"shard0003/vectors\.npy: cut short"):
        vectors.gather(np.array([0, 99]))


def test_blocks_give_every_vector_once_in_order(archive):
    starts, blocks = zip(*opened(archive).blocks(7), strict=True)
    assert max(len(block) for block in blocks) == 7
    assert list(starts) == [0, 7, 14, 21, 28, 35, 40, 41, 48, 55, 62, 69, 76, 83, 90, 97]
    np.testing.assert_array_equal(np.concatenate(blocks), archive.vectors.astype(np.float32))


@pytest.mark.parametrize("cosine", [True, False])
def test_scan_keeps_the_nearest_that_are_left(archive, cosine, monkeypatch):
    monkeypatch.setattr("serving.engine.vectors._BLOCK_BYTES", 16 * 4 * 9)
    removed = np.array([0, 39, 40, 99])
    queries = clustered(5, 16, seed=3)
    stored = np.broadcast_to(archive.vectors.astype(np.float32), (5, 100, 16))
    distances = distances_to(queries, stored, cosine)
    np.testing.assert_allclose(
        opened(archive).all_distances(queries, cosine, removed),
        np.where(np.isin(np.arange(100), removed), np.inf, distances),
        atol=1e-5,
    )
    distances[:, removed] = np.inf
    nearest = np.argsort(distances, axis=1)[:, :12]
    assert np.sort(opened(archive).scan(queries, 12, cosine, removed), axis=1).tolist() == (
        np.sort(nearest, axis=1).tolist()
    )
    everything = opened(archive).scan(queries, 500, cosine, removed)
    assert (np.sort(everything, axis=1)[:, 4:] == np.setdiff1d(np.arange(100), removed)).all()
    assert (np.sort(everything, axis=1)[:, :4] == -1).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array.astype(np.float32),
        lambda array: array[:-1],
        lambda array: array[:, :-1],
        lambda array: array.astype(object),
        np.asfortranarray,
    ],
    ids=["dtype", "rows", "width", "pickle", "order"],
)
def test_a_file_of_another_kind_is_refused(archive, tmp_path, change):
    path = tmp_path / "shards" / "shard0003" / "vectors.npy"
    np.save(path, change(np.load(path)), allow_pickle=True)
    with pytest.raises(ContractError, match=r"shard0003/vectors\.npy.*embed the shard again"):
        opened(archive).gather(np.array([99]))


def test_more_files_may_be_open_than_a_shell_allows():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(600, soft), hard))
    try:
        most = most_open()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert limit >= min(hard, 16_384) if hard != resource.RLIM_INFINITY else limit == 16_384
    assert 64 <= most <= max(64, limit // 4)
