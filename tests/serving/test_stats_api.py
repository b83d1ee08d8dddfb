"""What the server says of itself, and pages that are built or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from featurizer.errors import ContractError
from featurizer.manifest import evaluation_path
from serving.app import create_app
from serving.models.answers import StatsOut
from serving.routes import pages
from serving.service import SearchService
from serving.settings import Settings
from serving.statistics import stats_of
from tests.serving.archive import republish
from tests.serving.conftest import make_settings
from tests.serving.gallery import Gallery
from tests.serving.server import running, wait_until_ready


class TestStats:
    def test_what_is_searched(self, client: httpx.Client, gallery: Gallery) -> None:
        answer = client.get("/v1/stats")
        said = answer.json()
        assert StatsOut.model_validate(said).model_dump(mode="json") == said
        generation = gallery.archive.generation
        assert said["name"] == "archive" and said["generation"] == gallery.archive.name
        assert said["rows"] == generation.rows and said["shards"] == 2 and said["removed"] == 0
        assert said["featurizer"]["fingerprint"] == generation.featurizer.fingerprint
        assert said["featurizer"]["dim"] == 128
        assert said["index"]["factory"] == "IVF2,PQ8x4"
        assert said["evaluation"] is None and said["refused"] is None
        loaded = datetime.fromisoformat(said["loaded"])
        assert timedelta(0) <= datetime.now(UTC) - loaded < timedelta(hours=1)

    def test_limits_are_the_settings(self, client: httpx.Client, settings: Settings) -> None:
        limits = client.get("/v1/stats").json()["limits"]
        assert limits == {name: getattr(settings, name) for name in limits}
        assert limits["max_images"] == 4 and limits["max_k"] == 100

    def test_an_evaluation_is_told_and_a_broken_one_is_not_passed_over(
        self, gallery: Gallery, tmp_path: Path
    ) -> None:
        root = str(tmp_path / "copy")
        shutil.copytree(gallery.root, root)
        place = Path(evaluation_path(root, gallery.archive.name))
        measured = {"recall_at_10": 0.9875, "map": None}
        place.write_text(json.dumps(measured))
        service = SearchService.open(make_settings(root, tmp_path / "cache"))
        assert service.evaluation == measured
        service.close()
        for broken in ('{"recall_at_10": ', "[]"):
            place.write_text(broken)
            with pytest.raises(ContractError, match="evaluate"):
                SearchService.open(make_settings(root, tmp_path / "cache"))

    def test_another_generation_takes_the_same_featurizer(
        self, gallery: Gallery, tmp_path: Path
    ) -> None:
        root = tmp_path / "copy"
        shutil.copytree(gallery.root, root)
        settings = make_settings(str(root), tmp_path / "cache")
        first = SearchService.open(settings)
        archive = republish(type(gallery.archive)(str(root), *_rest(gallery)), tombstones=(0, 5))
        second = SearchService.open(settings, first.featurizer, archive.name)
        assert second.featurizer is first.featurizer and second.engine.name == archive.name
        assert first.engine.name == gallery.archive.name
        first.close()
        assert len(second.sample(100, 0)["tiles"]) == len(gallery.archive.rows) - 2
        said = stats_of(second, None, None)
        assert (said.rows, said.removed) == (len(gallery.archive.rows) - 2, 2)
        second.close()


def _rest(gallery: Gallery) -> tuple[object, ...]:
    archive = gallery.archive
    return archive.name, archive.generation, archive.vectors, archive.rows


class TestPages:
    @pytest.fixture
    def dist(
        self, gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[tuple[Path, httpx.Client]]:
        folder = tmp_path / "dist"
        monkeypatch.setattr(pages, "DIST", folder)
        monkeypatch.setattr(pages, "ASSETS", folder / "assets")
        settings = make_settings(gallery.root, tmp_path / "cache")
        with running(create_app(settings)) as address, httpx.Client(base_url=address) as client:
            wait_until_ready(client)
            yield folder, client

    def test_what_is_not_built_says_how(self, dist: tuple[Path, httpx.Client]) -> None:
        _, client = dist
        for path in ("/", "/map"):
            answer = client.get(path)
            assert answer.status_code == 503 and "make web" in answer.text
            assert answer.headers["content-type"].startswith("text/html")
        assert client.get("/assets/app.js").status_code == 404
        assert client.get("/favicon.ico").status_code == 404
        assert client.get("/v1/stats").status_code == 200

    def test_what_is_built_is_served(self, dist: tuple[Path, httpx.Client]) -> None:
        folder, client = dist
        (folder / "assets").mkdir(parents=True)
        (folder / "secret.txt").write_text("not served")
        for name in ("index.html", "map.html"):
            (folder / name).write_text(f"<title>{name}</title>")
        (folder / "assets" / "app-3f2a.js").write_text("run()")
        (folder / "assets" / "favicon-9c1d.svg").write_text("<svg/>")
        assert "index.html" in client.get("/").text and "map.html" in client.get("/map").text
        page = client.get("/")
        assert page.headers["cache-control"] == "no-cache"
        tag = {"If-None-Match": page.headers["etag"]}
        assert client.get("/", headers=tag).status_code in (200, 304)
        script = client.get("/assets/app-3f2a.js")
        assert script.text == "run()" and "immutable" in script.headers["cache-control"]
        assert client.get("/favicon.ico").headers["content-type"].startswith("image/svg")
        assert client.head("/").status_code == client.head("/map").status_code == 200
        for path in ("/secret.txt", "/assets/../secret.txt", "/assets/..%2fsecret.txt"):
            assert client.get(path).status_code == 404
