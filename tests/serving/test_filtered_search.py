"""Filters inside the search: as many as match, and the nearest of them, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from featurizer.schema import Row
from serving.engine.filters import Filter
from serving.engine.search import SearchEngine
from serving.engine.selection import Selection
from tests.serving.archive import Archive, build_archive

ROWS, DIM, CLUSTERS, K = 24_000, 32, 48, 10
REMOVED = tuple(range(0, ROWS, 97))


def cluster_of(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CLUSTERS, rows)


def vectors_of(cluster: np.ndarray, seed: int) -> np.ndarray:
    """Unit vectors in clouds that touch one another, as pictures' do."""
    centres = np.random.default_rng(1).normal(size=(CLUSTERS, DIM))
    noise = np.random.default_rng(seed).normal(size=(len(cluster), DIM))
    vectors = centres[cluster] + 0.7 * noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    cluster = cluster_of(ROWS, 2)
    chance = np.random.default_rng(3).random(ROWS)
    rows = [
        Row(
            uri=f"{'half' if chance[i] < 0.5 else 'rest'}/{int(100 * chance[i])}/{i}.jpg",
            etag="e",
            label=f"c{cluster[i]}",
        )
        for i in range(ROWS)
    ]
    return build_archive(
        tmp_path_factory.mktemp("archive"),
        vectors_of(cluster, 4),
        rows,
        [9000, 0, 15000],
        "IVF128,PQ8x8np",
        nprobe=17,
        tombstones=REMOVED,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def engine(archive, cache):
    return SearchEngine.open(archive.root, cache)


@pytest.fixture(scope="module")
def queries():
    return vectors_of(cluster_of(60, 5), 6)


FILTERS = {
    "1 % anywhere": (Filter(uri_prefix="rest/77/"), 0.99),
    "50 % anywhere": (Filter(uri_prefix="half/"), 0.95),
    "one label": (Filter(labels=("c7",)), 0.99),
    "half of the labels": (Filter(labels=tuple(f"c{i}" for i in range(0, CLUSTERS, 2))), 0.95),
    "all but one label": (Filter(labels=tuple(f"c{i}" for i in range(1, CLUSTERS))), 0.95),
    "four rows": (Filter(uri_prefix="rest/99/1"), 1.0),
    "nothing": (Filter(labels=("nowhere",)), 1.0),
}


def truth(archive: Archive, queries: np.ndarray, matching: np.ndarray, k: int) -> np.ndarray:
    """(q, k) distances to the nearest of the matching rows, inf where there are no more."""
    stored = archive.vectors[matching].astype(np.float64)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    distances = np.sort(1 - queries.astype(np.float64) @ stored.T, axis=1)[:, :k]
    return np.pad(distances, ((0, 0), (0, k - distances.shape[1])), constant_values=np.inf)


def matching_rows(archive: Archive, wanted: Filter) -> np.ndarray:
    return np.array(
        [
            i
            for i, row in enumerate(archive.rows)
            if i % 97
            and (wanted.uri_prefix is None or row.uri.startswith(wanted.uri_prefix))
            and (wanted.labels is None or row.label in wanted.labels)
        ],
        np.int64,
    )


def check(archive: Archive, engine: SearchEngine, queries: np.ndarray, name: str, k: int) -> float:
    """The recall; asserts that k rows came out, or all that match, at their distances."""
    wanted, _ = FILTERS[name]
    matching = matching_rows(archive, wanted)
    chosen = engine.select(wanted)
    assert chosen.ids().tolist() == matching.tolist()
    distances, rows = engine.search(queries, k, within=chosen)
    found = rows >= 0
    assert (found.sum(axis=1) == min(k, len(matching))).all()
    assert np.isin(rows[found], matching).all()
    assert all(len(set(each[each >= 0])) == (each >= 0).sum() for each in rows)
    assert (np.diff(np.where(found, distances, 9.0)) >= 0).all()
    best = truth(archive, queries, matching, k)
    return float(((distances <= best + 1e-6) | np.isinf(best)).mean())


@pytest.mark.parametrize("few_rows", [0, 10_000], ids=["index", "scan"])
@pytest.mark.parametrize("name", FILTERS)
def test_recall_of_ten(archive, engine, queries, name, few_rows, monkeypatch):
    monkeypatch.setattr("serving.engine.search._FEW_ROWS", few_rows)
    recall = check(archive, engine, queries, name, K)
    print(f"recall@{K} {name}: {recall:.4f}")
    assert recall >= FILTERS[name][1]


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("k", [1, 700])
def test_never_fewer_than_match(archive, engine, queries, name, k, monkeypatch):
    monkeypatch.setattr("serving.engine.search._FEW_ROWS", 0)
    check(archive, engine, queries[:9], name, k)


def test_a_small_nprobe_still_finds_as_many_as_match(archive, engine, queries, monkeypatch):
    monkeypatch.setattr("serving.engine.search._FEW_ROWS", 0)
    chosen = engine.select(Filter(labels=("c7",)))
    _, rows = engine.search(queries, 400, nprobe=1, within=chosen)
    assert chosen.count > 400
    assert chosen.holds(rows).all()


@pytest.mark.parametrize("name", FILTERS)
def test_exact_search_is_brute_force(archive, engine, queries, name):
    chosen = engine.select(FILTERS[name][0])
    distances, _ = engine.search(queries, 30, exact=True, within=chosen)
    wanted = truth(archive, queries, matching_rows(archive, FILTERS[name][0]), 30)
    np.testing.assert_allclose(distances, wanted, atol=2e-6)


def test_one_at_a_time_gives_what_many_give(engine, queries, monkeypatch):
    chosen = engine.select(FILTERS["half of the labels"][0])
    for few_rows in (0, 100_000):
        monkeypatch.setattr("serving.engine.search._FEW_ROWS", few_rows)
        together = engine.search(queries[:9], K, within=chosen)
        alone = [engine.search(query[None], K, within=chosen) for query in queries[:9]]
        assert together[1].tolist() == [rows[0].tolist() for _, rows in alone]


def test_everything_selected_is_no_filter(engine, queries):
    plain = engine.search(queries, K)
    chosen = engine.search(queries, K, within=engine.select(Filter()))
    assert chosen[1].tolist() == plain[1].tolist()


def test_a_transformed_index(tmp_path, archive, queries, monkeypatch):
    monkeypatch.setattr("serving.engine.search._FEW_ROWS", 0)
    some = np.arange(0, ROWS, 8)
    turned = build_archive(
        tmp_path / "root",
        archive.vectors[some].astype(np.float32),
        [archive.rows[i] for i in some],
        factory="RR32,IVF32,PQ8x4",
        nprobe=8,
    )
    engine = SearchEngine.open(turned.root, tmp_path / "cache")
    mask = np.random.default_rng(0).random(len(some)) < 0.3
    chosen = Selection(np.packbits(mask, bitorder="little"), int(mask.sum()))
    distances, rows = engine.search(queries, K, within=chosen)
    assert chosen.holds(rows).all()
    best = truth(turned, queries, np.flatnonzero(mask), K)
    assert (distances <= best + 1e-6).mean() > 0.95


def test_a_graph_of_centroids(tmp_path, archive, queries, monkeypatch):
    monkeypatch.setattr("serving.engine.search._FEW_ROWS", 0)
    some = np.arange(0, ROWS, 8)
    graph = build_archive(
        tmp_path / "root",
        archive.vectors[some].astype(np.float32),
        [archive.rows[i] for i in some],
        factory="IVF64_HNSW8,PQ8x4",
        nprobe=4,
    )
    engine = SearchEngine.open(graph.root, tmp_path / "cache")
    chosen = engine.select(Filter(labels=("c7",)))
    _, rows = engine.search(queries, chosen.count, within=chosen)
    assert (np.sort(rows, axis=1) == chosen.ids()).all()
