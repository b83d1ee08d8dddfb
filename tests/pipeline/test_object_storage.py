"""The whole job from ``gs://`` to ``gs://``, against an emulated Google Cloud Storage."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from featurizer import manifest, storage
from serving.engine.search import SearchEngine
from tests.emulator import emulated_bucket
from tests.pipeline.runs import OPTIONS, REPOSITORY, call, run, tree, write_pictures

# aiohttp's advice to gcsfs about uploads of more than a megabyte
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with emulated_bucket("imagery") as url:
        yield url


@pytest.fixture(scope="module")
def source(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pictures")
    for path in write_pictures(folder):
        url = f"{bucket}/pictures/{path.relative_to(folder).as_posix()}"
        storage.write_bytes(url, path.read_bytes())
    storage.write_bytes(f"{bucket}/pictures/notes.txt", b"not a picture")
    return f"{bucket}/pictures"


@pytest.fixture(scope="module")
def archive(bucket: str, source: str) -> tuple[str, dict]:
    root = f"{bucket}/archive"
    return root, call("index", source, root, *OPTIONS).record


def objects(root: str) -> dict[str, tuple[int, str]]:
    return {entry.uri.removeprefix(root): (entry.size, entry.etag) for entry in storage.walk(root)}


def test_the_archive_is_complete(archive: tuple[str, dict], source: str) -> None:
    root, record = archive
    assert (record["rows"], record["embed"]["embedded_now"]) == (24, 24)
    assert manifest.current_generation(root) == record["generation"]
    names = {path.split("/")[1] for path in objects(root)}
    assert names == {
        *("CURRENT", "featurizers", "generations", "inventories", "quantizers", "shards")
    }
    assert call("verify", root).record["rows"] == 24
    inventory = manifest.read_inventory(root, record["embed"]["inventory"])
    assert inventory.source == source


def test_running_it_again_writes_nothing(archive: tuple[str, dict], source: str) -> None:
    root, first = archive
    before = objects(root)
    record = run("index", source, f"{root}/", *OPTIONS).record  # a process that knows nothing yet
    assert record["embed"]["embedded_now"] == 0
    assert record["generation"] == first["generation"]
    assert objects(root) == before


def test_local_roots_take_remote_pictures(
    archive: tuple[str, dict], source: str, tmp_path: Path
) -> None:
    root, _ = archive
    call("index", source, tmp_path, *OPTIONS).record  # noqa: B018 - checks itself
    remote = {path.lstrip("/"): storage.read_bytes(f"{root}{path}") for path in objects(root)}
    evaluation = {path for path in remote if path.endswith(manifest.EVALUATION_SUFFIX)}
    assert tree(tmp_path) == {path: remote[path] for path in remote.keys() - evaluation}


def test_it_is_searched_where_it_lies(
    archive: tuple[str, dict], source: str, tmp_path: Path
) -> None:
    root, record = archive
    engine = SearchEngine.open(root, tmp_path, record["generation"], progress=False)
    try:
        ids = np.arange(24)
        distances, found = engine.search(engine.vectors(ids), 3)
        uris = [tile.uri for tile in engine.tiles(ids)]
    finally:
        engine.close()
    np.testing.assert_array_equal(found[:, 0], ids)
    assert (distances[:, 0] < 1e-3).all()
    expected = [entry.uri for entry in storage.walk(source) if entry.uri.endswith(".png")]
    assert sorted(uris) == expected


def test_it_is_evaluated_where_it_lies(archive: tuple[str, dict], tmp_path: Path) -> None:
    root, record = archive
    done = subprocess.run(
        [sys.executable, "-m", "serving", "evaluate", root, "--cache-dir", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures = json.loads(line)
    assert figures["generation"] == record["generation"]
    assert figures["recall_at_10"] > 0.9
    place = manifest.evaluation_path(root, record["generation"])
    assert json.loads(storage.read_bytes(place)) == figures
    assert call("publish", root, "--min-recall", "0.9").record["generation"] == record["generation"]


def test_a_bucket_that_is_not_there(source: str) -> None:
    error = call("index", source, "gs://nosuch/archive", *OPTIONS).error
    assert "gs://nosuch/archive" in error
    assert "nosuch" in call("index", "gs://nosuch/pictures", "gs://imagery/x", *OPTIONS).error
