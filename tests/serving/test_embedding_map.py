"""The embedding map: the projection itself, computing it once, and ``GET /v1/map``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from featurizer.spec import Metric
from serving.embedding_map import computing
from serving.embedding_map.children import Children
from serving.embedding_map.computing import Projection, Underway, place_of, project, stored
from serving.embedding_map.maps import EmbeddingMaps, Failed
from serving.embedding_map.project import neighbours, projected, scaled
from serving.engine.search import SearchEngine
from serving.failures import ProjectionError
from tests.serving.archive import build_archive, clustered

ROWS, DIM, CLUSTERS = 240, 16, 4
TIMEOUT_S = 180


def quiet(stage: str, share: float) -> None:
    assert stage
    assert 0 <= share <= 1


# ---- arithmetic ---------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("block_bytes", [1 << 26, 4 * 300 * 7])
def test_neighbours_are_exact(
    metric: Metric, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scikit-learn by brute force is the oracle, on distances: equals may come in any order."""
    monkeypatch.setattr("serving.embedding_map.project._BLOCK_BYTES", block_bytes)
    vectors = clustered(300, DIM)
    vectors[50:60] = vectors[0]  # equal ones
    rows, distances = neighbours(vectors, 9, metric == "cosine")
    oracle = NearestNeighbors(n_neighbors=9, metric=metric, algorithm="brute").fit(vectors)
    expected, _ = oracle.kneighbors(vectors)
    np.testing.assert_allclose(distances, expected, atol=2e-3 if metric == "euclidean" else 1e-5)
    assert (rows[:, 0] == np.arange(300)).all()
    assert all(len(set(row)) == 9 for row in rows.tolist())


def test_principal_components_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(3)
    vectors = (rng.normal(size=(40, 6)) * [5, 3, 1, 1, 1, 1] + 7).astype(np.float32)
    found = projected(vectors, "pca", "euclidean", quiet)
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    expected = scaled(np.asarray(centred @ axes[:, ::-1][:, :2], np.float32))
    for column in (0, 1):  # a component may point either way
        near = [np.abs(found[:, column] - sign * expected[:, column]).max() for sign in (1, -1)]
        assert min(near) < 1e-3


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (2, 4), (3, 1), (5, 2)])
def test_few_vectors_have_places_too(shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = projected(vectors, "pca", "cosine", quiet)
    assert found.shape == (shape[0], 2)
    assert np.isfinite(found).all()
    assert np.abs(found).max(initial=0) <= 1


def test_scaling_keeps_the_aspect() -> None:
    places = np.array([[10, 100], [30, 100], [10, 110]], np.float32)
    found = scaled(places)
    np.testing.assert_allclose(found, [[-1, -0.5], [1, -0.5], [-1, 0.5]], atol=1e-6)
    assert (scaled(np.full((4, 2), 3, np.float32)) == 0).all()


# ---- computing it -------------------------------------------------------------------------------


def opened(folder: Path, rows: int = ROWS, metric: Metric = "cosine") -> SearchEngine:
    archive = build_archive(folder, clustered(rows, DIM, clusters=CLUSTERS), metric=metric)
    return SearchEngine.open(archive.root, folder / "cache")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    engine = opened(tmp_path_factory.mktemp("map"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def projection(engine: SearchEngine, tmp_path_factory: pytest.TempPathFactory) -> Projection:
    """By UMAP, in a process of its own."""
    return project(engine, tmp_path_factory.mktemp("kept"), 200)


def test_what_is_near_stays_near(engine: SearchEngine, projection: Projection) -> None:
    """Row i is of cluster i % 4: the nearest on the plane are of the same cluster."""
    assert projection.method == "umap"
    assert projection.rows.tolist() == sorted(engine.sample(200, 0).tolist())
    near, _ = neighbours(projection.places, 6, cosine=False)
    cluster = projection.rows % CLUSTERS
    assert (cluster[near[:, 1:]] == cluster[:, None]).mean() > 0.95
    assert np.abs(projection.places).max() == pytest.approx(1)


def test_it_is_computed_once_and_the_same_each_time(
    engine: SearchEngine, projection: Projection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = project(engine, tmp_path, 200)
    np.testing.assert_array_equal(again.places, projection.places)
    monkeypatch.setattr(computing, "computed", None)
    np.testing.assert_array_equal(project(engine, tmp_path, 200).places, again.places)
    place = place_of(engine, tmp_path, 200)
    assert sorted(file.name for file in place.folder.iterdir()) == [
        "map-200-umap.npz",
        "map-200.lock",
    ]


def test_a_damaged_map_is_computed_again(engine: SearchEngine, tmp_path: Path) -> None:
    before = project(engine, tmp_path, 40)
    assert before.method == "pca"  # too few rows for UMAP
    file = place_of(engine, tmp_path, 40).map("pca")
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(project(engine, tmp_path, 40).places, before.places)


def test_an_empty_archive_has_an_empty_map(tmp_path: Path) -> None:
    archive = build_archive(
        tmp_path, clustered(20, DIM), factory="IVF2,PQ8x4", tombstones=tuple(range(20))
    )
    engine = SearchEngine.open(archive.root, tmp_path / "cache")
    assert project(engine, tmp_path / "cache", 100).places.shape == (0, 2)


def test_where_umap_fails_there_are_principal_components(
    engine: SearchEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "umap.py").write_text("raise ImportError('no umap on this machine')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(broken))
        found = project(engine, tmp_path, 150)
    assert found.method == "pca"
    assert found.places.shape == (150, 2)
    assert "no umap on this machine" in caplog.text
    assert project(engine, tmp_path, 150).method == "pca"  # kept


class Killed(Children):
    """Children that do not live long."""

    def started(self, command, log):  # type: ignore[no-untyped-def,override]
        return super().started([sys.executable, "-c", "raise SystemExit('no memory')"], log)


def test_a_failure_says_why_and_leaves_nothing(engine: SearchEngine, tmp_path: Path) -> None:
    place = place_of(engine, tmp_path, 100)
    place.folder.mkdir(parents=True)
    rows = computing.write_sample(engine, place)
    with pytest.raises(ProjectionError, match="no memory"):
        computing.computed(place, rows, "cosine", Killed())
    assert not place.work.exists()
    assert stored(place) is None


def test_a_failed_map_is_not_tried_at_every_request(
    engine: SearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = EmbeddingMaps(tmp_path, 45)
    monkeypatch.setattr(maps, "_children", Killed())
    assert isinstance(maps.of(engine), Underway)
    settled = [waited(maps, engine) for _ in range(3)]
    assert all(isinstance(one, Failed) for one in settled)
    monkeypatch.setattr("serving.embedding_map.maps._RETRY_S", 0.0)
    monkeypatch.setattr(maps, "_children", Children())
    assert isinstance(waited(maps, engine), Projection)


def waited(maps: EmbeddingMaps, engine: SearchEngine) -> Projection | Failed:
    end = time.monotonic() + TIMEOUT_S
    while isinstance(found := maps.of(engine), Underway):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def test_many_who_ask_at_once_have_it_computed_once(
    engine: SearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers (or workers) of one cache, several threads each."""
    begun: list[int] = []
    write = computing.write_sample

    def counted(*args):  # type: ignore[no-untyped-def]
        begun.append(1)
        return write(*args)

    monkeypatch.setattr("serving.embedding_map.maps.write_sample", counted)
    servers = [EmbeddingMaps(tmp_path, 45) for _ in range(2)]
    found: list[Projection | Failed] = []
    threads = [
        threading.Thread(target=lambda maps=maps: found.append(waited(maps, engine)))
        for maps in servers * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1
    assert len(found) == 6
    assert all(isinstance(one, Projection) for one in found)


def test_a_stopping_server_ends_what_is_computed(engine: SearchEngine, tmp_path: Path) -> None:
    maps = EmbeddingMaps(tmp_path, 120)
    assert isinstance(maps.of(engine), Underway)
    place = place_of(engine, tmp_path, 120)
    _wait_for((place.work / "progress.json").exists)
    maps.close()
    _wait_for(lambda: not place.work.exists())
    assert stored(place) is None


def test_a_projection_does_not_outlive_a_killed_server(
    engine: SearchEngine, tmp_path: Path
) -> None:
    """SIGKILL, after which nothing of the server's own runs."""
    place = place_of(engine, tmp_path, 130)
    place.folder.mkdir(parents=True)
    computing.write_sample(engine, place)
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'serving.embedding_map.project', "
        f"{str(place.work)!r}, 'umap', 'cosine'], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    repository = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=repository
    ) as server:
        assert server.stdout is not None
        child = int(server.stdout.readline())
        _wait_for((place.work / "progress.json").exists)
        assert os.getpriority(os.PRIO_PROCESS, child) > os.getpriority(os.PRIO_PROCESS, 0)
        server.send_signal(signal.SIGKILL)
        server.wait()
        _wait_for(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _wait_for(condition) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---- HTTP ---------------------------------------------------------------------------------------


def test_the_map_over_http(client: httpx.Client) -> None:
    """The gallery has too few pictures for UMAP: principal components, in a moment."""
    first = client.get("/v1/map")
    assert first.status_code in (200, 202), first.text
    end = time.monotonic() + TIMEOUT_S
    answer = first
    while answer.status_code == 202:
        assert answer.headers["retry-after"] == "2"
        said = answer.json()
        assert said["status"] == "computing"
        assert 0 <= said["progress"] <= 1
        assert said["x"] == said["tile_ids"] == []
        assert time.monotonic() < end
        time.sleep(0.05)
        answer = client.get("/v1/map")
    assert answer.status_code == 200
    found = answer.json()
    assert found["status"] == "ready"
    assert found["method"] == "pca"
    stats = client.get("/v1/stats").json()
    assert found["generation"] == stats["generation"]
    columns = [found[name] for name in ("x", "y", "tile_ids", "labels")]
    assert {len(column) for column in columns} == {stats["rows"]}
    assert max(map(abs, found["x"] + found["y"])) == 1
    for tile_id, label in list(zip(found["tile_ids"], found["labels"], strict=True))[:3]:
        record = client.get(f"/v1/tiles/{quote(tile_id, safe='')}")
        assert record.json()["label"] == label
    ids = sum(len(json.dumps(one)) for one in found["tile_ids"])
    assert len(answer.content) - ids < 60 * stats["rows"] + 300  # a point beside its id
    held = {"if-none-match": answer.headers["etag"]}
    assert client.get("/v1/map", headers=held).status_code == 304
