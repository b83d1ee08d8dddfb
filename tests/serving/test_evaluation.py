"""The figures of an evaluation against their definitions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from featurizer.errors import GenerationError
from featurizer.sampling import sample_rows
from featurizer.schema import Row
from serving import evaluation
from serving.engine.search import SearchEngine, skip
from tests.serving.archive import build_archive, clustered, plain_rows, republish

ROWS, DIM = 300, 16


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    return build_archive(root, clustered(ROWS, DIM), counts=[100, 200], training_rows=200)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@given(st.sets(st.integers(0, 30)), st.integers(0, 20))
def test_skip_names_what_is_left(excluded, count):
    left = [i for i in range(60) if i not in excluded][: count + 1]
    got = skip(np.arange(len(left)), np.asarray(sorted(excluded), np.int64))
    assert got.tolist() == left


@given(
    npst.arrays(np.float32, 12, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0, np.inf])),
    npst.arrays(np.bool_, 12),
)
def test_average_precision_is_the_mean_of_precisions(distances, relevant):
    wanted = [
        sum(relevant[j] for j in range(12) if distances[j] <= distances[i])
        / sum(1 for j in range(12) if distances[j] <= distances[i])
        for i in range(12)
        if relevant[i] and np.isfinite(distances[i])
    ]
    if wanted:
        got = evaluation.average_precision(distances, relevant)
        assert got == pytest.approx(np.mean(wanted))


def test_recall_counts_equals_of_the_last_as_found():
    exact = np.array([[0.1, 0.2], [0.1, 0.3]], np.float32)
    assert evaluation.recall(exact, exact) == 1
    assert evaluation.recall(np.array([[0.2, 0.2], [0.3, 0.4]], np.float32), exact) == 0.75
    assert evaluation.recall(np.full((2, 2), np.inf, np.float32), exact) == 0


def test_a_query_is_left_out_of_its_own_answer():
    ids = np.array([[7, 1, 2], [3, 4, 5], [8, 6, 9]])
    distances = ids.astype(np.float32)
    _, left = evaluation.without(np.array([7, 0, 6]), distances, ids, 2)
    assert left.tolist() == [[1, 2], [3, 4], [8, 9]]


def test_queries_are_rows_that_did_not_train(archive, cache):
    engine = SearchEngine.open(archive.root, cache, archive.name)
    rows, held_out = evaluation.query_rows(engine, 1000, 0)
    assert held_out
    trained = sample_rows(ROWS, 200, 0)
    assert rows.tolist() == np.setdiff1d(np.arange(ROWS), trained).tolist()
    few, _ = evaluation.query_rows(engine, 10, 3)
    assert set(few.tolist()) < set(rows.tolist())
    assert few.tolist() == evaluation.query_rows(engine, 10, 3)[0].tolist()


def test_figures_are_those_of_their_definitions(archive, cache):
    engine = SearchEngine.open(archive.root, cache, archive.name)
    result = evaluation.evaluate(engine, queries=40, seed=1)
    own, _ = evaluation.query_rows(engine, 40, 1)
    stored = archive.vectors.astype(np.float64)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    distances = 1 - stored[own] @ stored.T
    distances[np.arange(40), own] = np.inf
    labels = np.array([row.label for row in archive.rows])
    found = engine.search(engine.vectors(own), 11)[1]
    precisions, averages, hits = [], [], []
    for query, row in enumerate(own):
        order = np.argsort(distances[query], kind="stable")[:-1]
        relevant = labels[order] == labels[row]
        ranks = np.flatnonzero(relevant) + 1
        averages.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
        others = [i for i in found[query] if i != row][:10]
        precisions.append(np.mean(labels[others] == labels[row]))
        hits.append(len(set(others) & set(order[:10])) / 10)
    assert result.map == pytest.approx(np.mean(averages), abs=1e-6)
    assert result.precision_at_10 == pytest.approx(np.mean(precisions))
    assert result.recall_at_10 == pytest.approx(np.mean(hits), abs=1e-9)
    assert (result.queries, result.labelled_queries, result.held_out) == (40, 40, True)
    assert sum(figures.queries for figures in result.classes.values()) == 40
    one = result.classes["class3"]
    chosen = labels[own] == "class3"
    assert one.queries == chosen.sum()
    assert one.map == pytest.approx(np.mean(np.array(averages)[chosen]), abs=1e-6)
    assert 0 < result.query_ms_median <= result.query_ms_p99
    assert json.loads(result.to_line()) == result.to_json() | {
        "classes": {
            name: {
                "queries": value.queries,
                "precision_at_10": value.precision_at_10,
                "map": value.map,
            }
            for name, value in result.classes.items()
        }
    }


def test_reading_more_lists_finds_more(archive, cache):
    engine = SearchEngine.open(archive.root, cache, archive.name)
    poor = evaluation.evaluate(engine, queries=100, nprobe=1)
    good = evaluation.evaluate(engine, queries=100, nprobe=16)
    assert poor.recall_at_10 < 0.95
    assert good.recall_at_10 > 0.999
    assert (poor.nprobe, good.nprobe) == (1, 16)


def test_without_labels_there_are_no_figures_by_label(tmp_path):
    rows = [Row(uri=f"/{i}.jpg", etag="e", label="only" if i == 3 else None) for i in range(60)]
    archive = build_archive(tmp_path / "root", clustered(60, DIM), rows, factory="IVF2,PQ4x4")
    engine = SearchEngine.open(archive.root, tmp_path / "cache")
    result = evaluation.evaluate(engine)
    assert (result.precision_at_10, result.map, result.labelled_queries) == (None, None, 0)
    assert (result.classes, result.held_out, result.queries) == ({}, False, 60)
    assert '"map": null' in result.to_line()


def test_distances_in_parts_and_removed_rows(archive, cache, monkeypatch):
    fewer = republish(archive, tombstones=tuple(range(0, ROWS, 2)))
    engine = SearchEngine.open(archive.root, cache, fewer.name)
    whole = evaluation.evaluate(engine, queries=30)
    monkeypatch.setattr(evaluation, "_DISTANCE_BYTES", 4 * ROWS * 7)
    parts = evaluation.evaluate(engine, queries=30)
    assert (whole.map, whole.rows) == (pytest.approx(parts.map), 150)
    own, _ = evaluation.query_rows(engine, 30, 0)
    assert (own % 2 == 1).all()


@pytest.mark.parametrize("left", [0, 1])
def test_nothing_to_evaluate(tmp_path, left):
    archive = build_archive(
        tmp_path / "root", clustered(40, DIM), plain_rows(40), factory="IVF2,PQ4x4"
    )
    empty = republish(archive, tombstones=tuple(range(40 - left)))
    engine = SearchEngine.open(archive.root, tmp_path / "cache", empty.name)
    with pytest.raises(GenerationError, match=f"has {left} rows"):
        evaluation.evaluate(engine)
