"""Ten swaps under constant load: no request fails, no answer mixes generations, nothing leaks."""

from __future__ import annotations

import csv
import io
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from featurizer import manifest
from serving.app import create_app
from tests.serving.archive import Archive, republish
from tests.serving.conftest import make_settings
from tests.serving.gallery import Gallery
from tests.serving.problems import problem_of
from tests.serving.server import ready, wait_for

SWAPS = 10
ASKED = 20  # the row that all requests ask with; others are removed, one in each generation


@pytest.fixture
def archive(gallery: Gallery, tmp_path: Path) -> Archive:
    """The gallery's archive, to publish in."""
    root = tmp_path / "root"
    shutil.copytree(gallery.root, root)
    return replace(gallery.archive, root=str(root))


class Load:
    """Threads that ask without pause, and what they saw."""

    def __init__(self, address: str, archive: Archive) -> None:
        self._address, self._ids = address, archive.tile_ids
        self.removed: dict[str, set[str]] = {archive.name: set()}  # by generation
        self.faults: list[str] = []
        self.seen: Counter[str] = Counter()
        self.stop = threading.Event()
        kinds = (self._search, self._search, self._batch, self._export, self._filtered)
        self._threads = [threading.Thread(target=self._ask, args=(kind,)) for kind in kinds]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, kind: Callable[[httpx.Client], None]) -> None:
        with httpx.Client(base_url=self._address, timeout=30) as client:
            while not self.stop.is_set():
                try:
                    kind(client)
                except Exception as error:  # noqa: BLE001 - of another thread: told at the end
                    self.faults.append(f"{kind.__name__}: {error!r}")
                    return

    @property
    def _body(self) -> dict[str, object]:
        return {"positive": [{"tile_id": self._ids[ASKED]}], "k": 100}

    def _check(self, generation: str, found: set[str]) -> None:
        """The rows of an answer must be those of the generation that it names, to the last."""
        expected = set(self._ids) - self.removed[generation]
        if found != expected:
            raise AssertionError(f"{generation}: {found ^ expected}")
        self.seen[generation] += 1

    def _told(self, answer: dict[str, object]) -> None:
        self._check(answer["generation"], {hit["tile_id"] for hit in answer["hits"]})

    def _search(self, client: httpx.Client) -> None:
        self._told(client.post("/v1/search", json=self._body).raise_for_status().json())

    def _filtered(self, client: httpx.Client) -> None:
        body = {**self._body, "filter": {"uri_prefix": "/"}}
        self._told(client.post("/v1/search", json=body).raise_for_status().json())

    def _batch(self, client: httpx.Client) -> None:
        body = {"searches": [self._body] * 4}
        answers = client.post("/v1/search/batch", json=body).raise_for_status().json()["results"]
        for answer in answers:
            self._told(answer)
        if len({answer["generation"] for answer in answers}) != 1:
            raise AssertionError("a batch of two generations")

    def _export(self, client: httpx.Client) -> None:
        body = {"format": "csv", "search": {"positive": self._body["positive"]}}
        answer = client.post("/v1/export", json=body).raise_for_status()
        found = {row["tile_id"] for row in csv.DictReader(io.StringIO(answer.text))}
        if not any(found == set(self._ids) - removed for removed in self.removed.values()):
            raise AssertionError(f"an export of no generation: {len(found)} rows")
        self.seen["exports"] += 1


def held(folder: Path) -> tuple[int, int]:
    """Mappings of files below ``folder``, and open files, of this process."""
    maps = Path("/proc/self/maps").read_text()
    return maps.count(str(folder)), len(list(Path("/proc/self/fd").iterdir()))


def test_ten_swaps_under_load(archive: Archive, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    app = create_app(make_settings(archive.root, cache, watch_s=0.25, max_k=1000))
    live = app.state.access.live

    def serves(name: str) -> Callable[[], bool]:
        return lambda: live.require().engine.name == name and live.retired == 0

    with ready(app) as client:
        client.post("/v1/search", json={"positive": [{"tile_id": archive.tile_ids[0]}]})
        before = held(cache)
        with Load(str(client.base_url), archive) as load:
            for number in range(SWAPS):
                row = number  # another one each time, so that answers can be told apart
                generation = replace(archive.generation, tombstones=(row,))
                name = manifest.write_generation(archive.root, generation)
                load.removed[name] = {archive.tile_ids[row]}
                manifest.set_current(archive.root, name)
                wait_for(serves(name), f"swap {number} did not come: {load.faults}")
                asked = load.seen[name] + load.seen["exports"]
                wait_for(
                    lambda name=name, asked=asked: (
                        bool(load.faults) or load.seen[name] + load.seen["exports"] > asked + 20
                    ),
                    "nothing was asked",
                )
        assert not load.faults
        wait_for(lambda: live.retired == 0, "an old generation is still open")
        wait_for(lambda: held(cache)[0] <= before[0], f"files stay mapped: {held(cache)}")
        after = held(cache)
        stats = client.get("/v1/stats").json()
    assert len([name for name in load.seen if name != "exports"]) == SWAPS + 1
    assert load.seen["exports"] > SWAPS
    assert stats["generation"] == name and stats["removed"] == 1
    assert after[0] <= before[0] and after[1] <= before[1] + 4, (before, after)
    assert len(list((cache / "generations").iterdir())) == 2


def test_a_bad_generation_over_http(archive: Archive, tmp_path: Path) -> None:
    app = create_app(make_settings(archive.root, tmp_path / "cache", watch_s=0))
    with ready(app) as client:
        shards = archive.generation.shards
        bad = republish(archive, shards=(replace(shards[0], codes="0" * 64), *shards[1:]))
        problem = problem_of(client.post("/v1/admin/reload"), 409, "reload-refused")
        assert bad.name in problem["detail"] and "sha256" in problem["detail"]
        stats = client.get("/v1/stats").json()
        assert stats["generation"] == archive.name
        assert stats["refused"]["generation"] == bad.name
        assert "worldsift_refused_generations_total 0.0" not in client.get("/metrics").text
        good = republish(archive, tombstones=(1,))
        answer = client.post("/v1/admin/reload").json()
        assert answer == {"generation": good.name, "changed": True}
        assert client.get("/v1/stats").json()["refused"] is None
