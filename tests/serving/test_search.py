"""Answers of the engine against brute force."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from featurizer.errors import (
    ContractError,
    GenerationError,
    QueryError,
    UnknownTileError,
)
from featurizer.pixels import Stretch
from serving.engine.search import SearchEngine
from tests.serving.archive import Archive, build_archive, clustered, plain_rows, republish

ROWS, DIM = 600, 16
COUNTS = [150, 0, 250, 1, 199]


def brute_force(archive: Archive, queries: np.ndarray, k: int):
    """Distances and ids by definition, in double precision, ties by row id."""
    stored = archive.vectors.astype(np.float64)
    queries = queries.astype(np.float64)
    if archive.generation.featurizer.metric == "cosine":
        stored /= np.linalg.norm(stored, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        distances = 1 - queries @ stored.T
    else:
        distances = np.linalg.norm(queries[:, None] - stored[None], axis=2)
    distances[:, list(archive.generation.tombstones)] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), order


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    return build_archive(root, clustered(ROWS, DIM), counts=COUNTS, factory="IVF16,PQ8x4")


@pytest.fixture(scope="module")
def engine(archive, tmp_path_factory):
    return SearchEngine.open(archive.root, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 10, 250])
def test_exact_search_is_brute_force(tmp_path, metric, k):
    vectors = clustered(ROWS, DIM) * (1 if metric == "cosine" else 7)
    archive = build_archive(tmp_path / "root", vectors, counts=COUNTS, metric=metric)
    queries = clustered(20, DIM, seed=5) * 3
    distances, ids = SearchEngine.open(archive.root, tmp_path / "cache").search(
        queries, k, exact=True
    )
    wanted, rows = brute_force(archive, queries, k)
    np.testing.assert_allclose(distances, wanted, atol=2e-6 if metric == "cosine" else 1e-5)
    assert (ids == rows).mean() > 0.99  # rows nearer to one another than float32 tells
    assert distances.dtype == np.float32
    assert ids.dtype == np.int64


def test_reading_every_list_with_enough_candidates_is_brute_force(archive, engine):
    queries = clustered(20, DIM, seed=6)
    for k in (1, 60, ROWS):
        found = engine.search(queries, k, nprobe=16)
        exact = engine.search(queries, k, exact=True)
        if k > 1:  # every row is a candidate
            assert found[1].tolist() == exact[1].tolist()
            assert found[0].tolist() == exact[0].tolist()
        assert (found[0][:, 0] == exact[0][:, 0]).all()


@pytest.mark.parametrize("exact", [False, True])
def test_a_row_finds_itself_first_at_no_distance(archive, engine, exact):
    distances, ids = engine.search(engine.vectors(np.arange(ROWS)), 3, exact=exact)
    assert ids[:, 0].tolist() == list(range(ROWS))
    assert distances[:, 0].max() < 1e-6
    assert distances.min() >= 0


def test_one_query_at_a_time_gives_what_many_give(engine):
    queries = clustered(10, DIM, seed=7)
    for exact in (False, True):
        together = engine.search(queries, 9, exact=exact)
        alone = [engine.search(query[None], 9, exact=exact) for query in queries]
        assert [row.tolist() for row in together[1]] == [ids[0].tolist() for _, ids in alone]
        assert [row.tolist() for row in together[0]] == [d[0].tolist() for d, _ in alone]


def test_a_big_batch_is_cut_up(engine, monkeypatch):
    queries = clustered(30, DIM, seed=8)
    whole = engine.search(queries, 5)
    monkeypatch.setattr("serving.engine.search._SCRATCH_BYTES", 200 * DIM * 4 * 7)
    parts = engine.search(queries, 5)
    assert parts[1].tolist() == whole[1].tolist()
    # Less than the candidates of one query: they are measured a few at a time.
    monkeypatch.setattr("serving.engine.search._SCRATCH_BYTES", DIM * 4 * 7)
    assert engine.search(queries, 5)[0].tolist() == whole[0].tolist()
    assert engine.search(queries[:0], 5)[1].shape == (0, 5)


def test_ties_are_in_the_order_of_rows(tmp_path):
    vectors = np.repeat(clustered(10, DIM), 30, axis=0)
    archive = build_archive(tmp_path / "root", vectors, counts=[77, 223])
    engine = SearchEngine.open(archive.root, tmp_path / "cache")
    for exact in (False, True):
        distances, ids = engine.search(vectors[::30], 20, exact=exact)
        assert ids.tolist() == [[30 * i + j for j in range(20)] for i in range(10)]
        assert (distances == distances[:, :1]).all()


def test_more_neighbours_than_rows(engine):
    distances, ids = engine.search(clustered(3, DIM, seed=9), ROWS + 50)
    assert (np.sort(ids, axis=1)[:, 50:] == np.arange(ROWS)).all()
    assert (ids[:, ROWS:] == -1).all()
    assert np.isinf(distances[:, ROWS:]).all()
    assert (np.diff(distances[:, :ROWS]) >= 0).all()


def test_more_of_the_index_is_read_until_there_are_k(engine):
    few = engine.search(clustered(3, DIM, seed=9), 400, nprobe=1)[1]
    assert (few == -1).any()
    assert (engine.search(clustered(3, DIM, seed=9), 400)[1] >= 0).all()


@pytest.mark.parametrize("exact", [False, True])
def test_removed_rows_never_come_out(archive, tmp_path, exact):
    removed = tuple(range(0, ROWS, 3))
    fewer = republish(archive, tombstones=removed)
    engine = SearchEngine.open(archive.root, tmp_path, fewer.name)
    queries = archive.vectors[::3].astype(np.float32)
    distances, ids = engine.search(queries, 10, nprobe=16, exact=exact)
    wanted, _ = brute_force(fewer, queries, 10)
    assert not set(ids.ravel().tolist()) & set(removed)
    if exact:
        np.testing.assert_allclose(distances, wanted, atol=1e-6)
    assert (engine.search(queries[:2], ROWS, exact=exact)[1] >= 0).sum(axis=1).tolist() == [400] * 2
    assert np.isinf(engine.all_distances(queries[:1])[0, list(removed)]).all()
    assert not set(engine.sample(400).tolist()) & set(removed)
    assert len(set(engine.sample(1000).tolist())) == 400
    with pytest.raises(UnknownTileError):
        engine.row_of(archive.tile_ids[3])
    assert engine.row_of(archive.tile_ids[4]) == 4


@pytest.mark.parametrize("count", [0, 40])
def test_an_archive_without_rows_left_answers_nothing(tmp_path, count):
    archive = build_archive(tmp_path / "root", clustered(40, DIM), factory="IVF2,PQ4x4")
    if count:
        empty = republish(archive, tombstones=tuple(range(40)))
    else:
        empty = republish(archive, shards=())
    engine = SearchEngine.open(archive.root, tmp_path / "cache", empty.name)
    for exact in (False, True):
        distances, ids = engine.search(clustered(2, DIM), 3, exact=exact)
        assert ids.tolist() == [[-1] * 3] * 2
        assert np.isinf(distances).all()
    assert engine.sample(5).tolist() == []
    assert engine.tiles([]) == []
    with pytest.raises(UnknownTileError):
        engine.row_of(archive.tile_ids[0])


def test_two_threads_get_what_one_gets(engine):
    queries = clustered(200, DIM, seed=10)
    alone = [engine.search(query[None], 10) for query in queries]
    with ThreadPoolExecutor(2) as pool:
        together = list(
            pool.map(lambda query: engine.search(query[None], 10), [*queries, *queries])
        )
    for (d, i), (wanted_d, wanted_i) in zip(together, alone * 2, strict=True):
        assert i.tolist() == wanted_i.tolist()
        assert d.tolist() == wanted_d.tolist()


@pytest.mark.parametrize(
    ("queries", "k", "nprobe", "says"),
    [
        (np.ones((1, 15)), 1, None, "have 16 dimensions"),
        (np.ones(16), 1, None, "have 16 dimensions"),
        (np.full((1, 16), np.nan), 1, None, "NaN"),
        (np.full((1, 16), np.inf), 1, None, "infinity"),
        (np.zeros((1, 16)), 1, None, "all zero"),
        (np.ones((1, 16)), 0, None, "at least 1"),
        (np.ones((1, 16)), 1, 0, "at least 1"),
    ],
)
def test_a_query_that_cannot_be_meant(engine, queries, k, nprobe, says):
    with pytest.raises(QueryError, match=says):
        engine.search(queries, k, nprobe)


def test_tiles_rows_and_vectors(archive, engine):
    ids = [599, 0, 150, 150]
    assert [tile.tile_id for tile in engine.tiles(ids)] == [archive.tile_ids[i] for i in ids]
    np.testing.assert_array_equal(engine.vectors(ids), archive.vectors[ids].astype(np.float32))
    assert all(engine.row_of(archive.tile_ids[i]) == i for i in ids)
    with pytest.raises(UnknownTileError, match=r"'/etc/passwd' in generation"):
        engine.row_of("/etc/passwd")
    with pytest.raises(IndexError):
        engine.tiles([ROWS])
    assert engine.sample(7, seed=1).tolist() == engine.sample(7, seed=1).tolist()
    assert engine.sample(7, seed=1).tolist() != engine.sample(7, seed=2).tolist()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_to_rows_are_those_of_a_search(tmp_path, metric, monkeypatch):
    archive = build_archive(tmp_path / "root", clustered(ROWS, DIM), counts=COUNTS, metric=metric)
    engine = SearchEngine.open(archive.root, tmp_path / "cache")
    queries = 2 * clustered(7, DIM, seed=11)
    rows = np.random.default_rng(0).permutation(ROWS)
    for scratch in (1 << 20, DIM * 4 * 7):
        monkeypatch.setattr("serving.engine.search._SCRATCH_BYTES", scratch)
        distances = engine.distances(queries, rows)
        wanted, order = engine.search(queries, ROWS, nprobe=16)
        found = np.empty_like(distances)
        found[:, rows] = distances
        assert np.take_along_axis(found, order, 1).tolist() == wanted.tolist()
    assert engine.distances(queries, []).shape == (7, 0)
    with pytest.raises(IndexError):
        engine.distances(queries, [ROWS])
    with pytest.raises(QueryError, match="16 dimensions"):
        engine.distances(queries[:, :3], rows)


def test_how_a_scene_was_read(tmp_path):
    rows = plain_rows(40)
    stretch = {"low": [1.0, 2.0, 3.0], "high": [10.0, 20.0, 30.0]}
    archive = build_archive(
        tmp_path / "root",
        clustered(40, DIM),
        rows,
        [20, 20],
        "IVF2,PQ4x4",
        stretches={rows[25].uri: stretch},
    )
    engine = SearchEngine.open(archive.root, tmp_path / "cache")
    assert engine.stretch_of(25) == Stretch((1.0, 2.0, 3.0), (10.0, 20.0, 30.0))
    assert engine.stretch_of(24) is None
    assert engine.tiling_of(0)["stride_px"] == 128


def test_a_marker_of_other_vectors_is_refused(tmp_path):
    archive = build_archive(tmp_path / "root", clustered(40, DIM), factory="IVF2,PQ4x4")
    engine = SearchEngine.open(archive.root, tmp_path / "cache")
    marker = tmp_path / "root" / "shards" / "shard0000" / "shard.json"
    marker.write_text(marker.read_text().replace(archive.generation.shards[0].vectors, "0" * 64))
    with pytest.raises(ContractError, match=r"shard\.json"):
        engine.stretch_of(0)


def test_codes_of_another_quantizer_are_refused(archive, tmp_path):
    other = republish(archive, quantizer_sha256="0" * 64)
    with pytest.raises(ContractError, match=r"trained\.faiss.*but generation .* says 000000000000"):
        SearchEngine.open(archive.root, tmp_path, other.name)


def test_nothing_published(tmp_path):
    with pytest.raises(GenerationError, match="nothing is published"):
        SearchEngine.open(str(tmp_path), tmp_path / "cache")
    with pytest.raises(GenerationError, match="no such generation"):
        SearchEngine.open(str(tmp_path), tmp_path / "cache", "000009-aaaaaaaaaaaa")


def test_two_generations_share_what_is_the_same(archive, tmp_path):
    SearchEngine.open(archive.root, tmp_path, archive.name)
    converted = {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").iterdir()}
    last = replace(archive.generation.shards[-1])
    fewer = republish(archive, shards=archive.generation.shards[:-1])
    engine = SearchEngine.open(archive.root, tmp_path, fewer.name)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").iterdir()} == converted
    assert engine.search(clustered(1, DIM), ROWS)[1].max() == ROWS - last.rows - 1


def test_a_closed_engine_can_be_dropped_while_others_ask(archive, tmp_path):
    engine = SearchEngine.open(archive.root, tmp_path, archive.name)
    before = engine.search(clustered(4, DIM), 5)
    engine.close()
    assert engine.search(clustered(4, DIM), 5)[1].tolist() == before[1].tolist()
