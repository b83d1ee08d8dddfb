"""The application: readiness, errors, headers, schema, what importing it loads."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from featurizer.errors import (
    ContractError,
    FingerprintError,
    GenerationError,
    PixelError,
    StorageError,
    UnknownTileError,
)
from featurizer.manifest import evaluation_path
from serving.app import create_app
from serving.errors import TABLE, rule_of
from serving.failures import ImageRefusedError
from serving.service import SearchService
from serving.settings import Settings
from tests.serving.conftest import make_settings
from tests.serving.gallery import Gallery
from tests.serving.problems import problem_of
from tests.serving.server import running, wait_until_ready

ROOT = Path(__file__).parents[2]


def test_importing_the_app_loads_no_heavy_library_and_builds_nothing() -> None:
    code = (
        "import sys, serving.app\n"
        "heavy = {'apache_beam', 'torch', 'faiss', 'rasterio', 'nvidia'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


class TestReadiness:
    @pytest.fixture
    def gate(self) -> threading.Event:
        return threading.Event()

    @pytest.fixture
    def slow(self, settings: Settings, gate: threading.Event) -> Iterator[httpx.Client]:
        def load(asked: Settings) -> SearchService:
            gate.wait(30)
            return SearchService.open(asked)

        with running(create_app(settings, load=load)) as address:
            with httpx.Client(base_url=address) as client:
                yield client
            gate.set()

    def test_the_port_answers_before_the_archive_is_loaded(
        self, slow: httpx.Client, gate: threading.Event
    ) -> None:
        assert slow.get("/healthz").json() == {"status": "alive"}
        assert slow.get("/").status_code == 200
        for path in ("/readyz", "/v1/archive", "/v1/tiles", "/v1/tiles/x", "/v1/tiles/x/image"):
            answer = slow.get(path)
            problem_of(answer, 503, "not-ready")
            assert int(answer.headers["retry-after"]) > 0
        problem_of(slow.post("/v1/search", json={"tile_ids": ["x"]}), 503, "not-ready")
        gate.set()
        wait_until_ready(slow)
        assert slow.get("/v1/archive").status_code == 200

    def test_a_failed_load_is_told_to_the_owner_and_not_to_clients(self, tmp_path: Path) -> None:
        failures: list[Exception] = []
        settings = make_settings(str(tmp_path / "secret"), tmp_path / "cache")
        with running(create_app(settings, on_failure=failures.append)) as address:
            while not failures:
                httpx.get(f"{address}/healthz")
            problem = problem_of(httpx.get(f"{address}/readyz"), 503, "not-ready")
        assert isinstance(failures[0], GenerationError)
        assert "secret" in str(failures[0]) and "secret" not in problem["detail"]

    def test_stopping_while_loading_does_not_wait(
        self, settings: Settings, gate: threading.Event
    ) -> None:
        def load(_: Settings) -> SearchService:
            gate.wait(30)
            raise StorageError("too late")

        async def start_and_stop() -> None:
            app = create_app(settings, load=load)
            async with app.router.lifespan_context(app):
                await asyncio.sleep(0.05)
            gate.set()

        asyncio.run(asyncio.wait_for(start_and_stop(), 10))


class TestErrors:
    def test_every_class_of_the_table_has_a_rule_of_its_own_before_its_parents(self) -> None:
        kinds = list(TABLE)
        for place, kind in enumerate(kinds):
            assert not any(issubclass(kind, earlier) for earlier in kinds[:place]), kind
        assert len({rule.slug for rule in TABLE.values()}) == len(TABLE)

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (UnknownTileError("x"), 404),
            (ImageRefusedError("a.png", "corrupt", "x"), 422),
            (StorageError("x"), 502),
            (ContractError("x"), 500),
            (FingerprintError("x"), 500),
            (PixelError("corrupt", "x"), 500),
            (ZeroDivisionError("x"), 500),
        ],
    )
    def test_status_of_a_class(self, error: Exception, status: int) -> None:
        assert rule_of(error).status == status

    @pytest.mark.parametrize(
        ("error", "status", "slug"),
        [
            (RuntimeError("/etc/secret"), 500, "internal"),
            (ContractError("/etc/secret: truncated"), 500, "archive-damaged"),
            (StorageError("/etc/secret: could not read it"), 502, "storage"),
        ],
    )
    def test_messages_that_are_not_for_clients_stay_here(
        self,
        client: httpx.Client,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        status: int,
        slug: str,
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(SearchService, "sample", fail)
        answer = client.get("/v1/tiles")
        problem_of(answer, status, slug)
        assert "secret" not in answer.text

    def test_errors_of_the_framework_are_problems_too(self, client: httpx.Client) -> None:
        problem_of(client.get("/nowhere"), 404, "not-found")
        answer = client.put("/v1/search")
        problem_of(answer, 405, "method-not-allowed")
        assert "POST" in answer.headers["allow"]
        problem = problem_of(client.get("/v1/tiles?sample=0"), 422, "bad-request")
        assert problem["errors"][0]["field"] == "query.sample"


class TestHeaders:
    @pytest.mark.parametrize("path", ["/", "/static/app.js", "/v1/archive", "/nowhere"])
    def test_security_headers_come_with_every_answer(self, client: httpx.Client, path: str) -> None:
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy

    def test_the_page_holds_nothing_inline(self, client: httpx.Client) -> None:
        page = client.get("/").text
        assert "<style" not in page and "style=" not in page and " onclick" not in page
        assert page.count("<script") == 1 and 'src="/static/app.js"' in page
        assert "https://" not in page.replace("http://www.w3.org", "")

    def test_the_pages_files_are_checked_for_news(self, client: httpx.Client) -> None:
        first = client.get("/static/style.css")
        assert first.headers["cache-control"] == "no-cache"
        again = client.get("/static/style.css", headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
        assert client.head("/").status_code == 200
        assert client.get("/favicon.ico").headers["content-type"].startswith("image/svg")

    def test_static_files_stay_in_their_folder(self, client: httpx.Client) -> None:
        for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py"):
            assert client.get(path).status_code == 404


def test_what_the_archive_is(client: httpx.Client, gallery: Gallery) -> None:
    said = client.get("/v1/archive").json()
    generation = gallery.archive.generation
    assert said["rows"] == generation.rows and said["shards"] == 2
    assert said["generation"] == gallery.archive.name
    assert said["featurizer"]["fingerprint"] == generation.featurizer.fingerprint
    assert said["featurizer"]["dim"] == 128
    assert said["index"]["factory"] == "IVF2,PQ8x4"
    assert said["limits"] == {
        "max_upload_bytes": 400_000,
        "max_upload_pixels": 1_000_000,
        "max_images": 4,
        "max_k": 100,
    }
    assert said["evaluation"] is None


def test_an_evaluation_is_told_and_a_broken_one_is_not_passed_over(
    gallery: Gallery, tmp_path: Path
) -> None:
    root = str(tmp_path / "copy")
    shutil.copytree(gallery.root, root)
    place = Path(evaluation_path(root, gallery.archive.name))
    place.write_text('{"recall_at_10": 0.9875, "map": null}')
    service = SearchService.open(make_settings(root, tmp_path / "cache"))
    assert service.archive().evaluation == {"recall_at_10": 0.9875, "map": None}
    service.close()
    place.write_text('{"recall_at_10": ')
    with pytest.raises(ContractError, match="evaluate"):
        SearchService.open(make_settings(root, tmp_path / "cache"))


class TestSchema:
    EXPECTED: ClassVar = {
        ("/v1/search", "post"): {"200", "404", "413", "415", "422", "503"},
        ("/v1/tiles", "get"): {"200", "422", "503"},
        ("/v1/tiles/{tile_id}", "get"): {"200", "404", "422", "503"},
        ("/v1/tiles/{tile_id}/image", "get"): {"200", "304", "404", "410", "422", "502", "503"},
        ("/v1/archive", "get"): {"200", "503"},
        ("/healthz", "get"): {"200"},
        ("/readyz", "get"): {"200", "503"},
    }

    def test_every_route_documents_every_status(self, client: httpx.Client) -> None:
        paths = client.get("/openapi.json").json()["paths"]
        found = {
            (path, method): set(operation["responses"])
            for path, operations in paths.items()
            for method, operation in operations.items()
        }
        assert found == self.EXPECTED

    def test_errors_have_examples_and_one_schema(self, client: httpx.Client) -> None:
        schema = client.get("/openapi.json").json()
        for operations in schema["paths"].values():
            for operation in operations.values():
                assert operation["summary"]
                for status, response in operation["responses"].items():
                    if int(status) < 400:
                        continue
                    content = response["content"]["application/problem+json"]
                    assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
                    for example in content["examples"].values():
                        assert example["value"]["status"] == int(status)

    def test_references_resolve_and_bodies_have_examples(self, client: httpx.Client) -> None:
        text = client.get("/openapi.json").text
        schema = client.get("/openapi.json").json()
        names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
        assert names <= set(schema["components"]["schemas"])
        body = schema["paths"]["/v1/search"]["post"]["requestBody"]["content"]
        assert set(body) == {"multipart/form-data", "application/json"}
        assert all("example" in content for content in body.values())
        for model in ("Hit", "TileOut", "SearchRequest"):
            assert schema["components"]["schemas"][model]["examples"]
