"""The application: readiness, errors, headers, schema, what importing it loads."""

from __future__ import annotations

import asyncio
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
from serving.app import create_app
from serving.engine.search import SearchEngine
from serving.errors import TABLE, rule_of
from serving.failures import (
    BusyError,
    ForbiddenError,
    ImageRefusedError,
    MisdirectedError,
    OverdueError,
    RateLimitedError,
    ReloadRefusedError,
    SlowBodyError,
    UnauthorizedError,
)
from serving.service import SearchService
from serving.settings import Settings
from tests.serving.conftest import make_settings
from tests.serving.gallery import Gallery
from tests.serving.problems import problem_of
from tests.serving.server import ready, running, wait_for, wait_until_ready

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
        def load(asked: Settings, _: object, generation: str) -> SearchService:
            gate.wait(30)
            return SearchService.open(asked, generation=generation)

        with running(create_app(settings, load=load)) as address:
            with httpx.Client(base_url=address) as client:
                yield client
            gate.set()

    def test_the_port_answers_before_the_archive_is_loaded(
        self, slow: httpx.Client, gate: threading.Event
    ) -> None:
        assert slow.get("/healthz").json() == {"status": "alive"}
        assert slow.get("/v1/session").json()["required"] is False
        for path in ("/readyz", "/v1/stats", "/v1/tiles", "/v1/tiles/x", "/v1/tiles/x/image"):
            answer = slow.get(path)
            problem_of(answer, 503, "not-ready")
            assert int(answer.headers["retry-after"]) > 0
        body = {"positive": [{"tile_id": "x"}]}
        problem_of(slow.post("/v1/search", json=body), 503, "not-ready")
        problem_of(slow.post("/v1/admin/reload"), 503, "not-ready")
        gate.set()
        wait_until_ready(slow)
        assert slow.get("/v1/stats").status_code == 200

    def test_a_failed_load_is_told_to_the_owner_and_not_to_clients(self, tmp_path: Path) -> None:
        failures: list[Exception] = []
        settings = make_settings(str(tmp_path / "secret"), tmp_path / "cache")
        with running(create_app(settings, on_failure=failures.append)) as address:
            wait_for(lambda: bool(failures), "nobody heard of it")
            problem = problem_of(httpx.get(f"{address}/readyz"), 503, "not-ready")
        assert isinstance(failures[0], GenerationError)
        assert "secret" in str(failures[0]) and "secret" not in problem["detail"]

    def test_stopping_while_loading_does_not_wait(
        self, settings: Settings, gate: threading.Event
    ) -> None:
        def load(*_: object) -> SearchService:
            gate.wait(30)
            raise StorageError("too late")

        async def start_and_stop() -> None:
            app = create_app(settings, load=load)
            async with app.router.lifespan_context(app):
                await asyncio.sleep(0.05)
            gate.set()

        asyncio.run(asyncio.wait_for(start_and_stop(), 10))

    def test_a_server_without_an_owner_tries_again(self, gallery: Gallery, tmp_path: Path) -> None:
        calls = 0

        def load(asked: Settings, _: object, generation: str) -> SearchService:
            nonlocal calls
            calls += 1
            if calls < 2:
                raise StorageError("not now")
            return SearchService.open(asked, generation=generation)

        settings = make_settings(gallery.root, tmp_path / "cache", watch_s=0.3)
        with running(create_app(settings, load=load)) as address:
            wait_for(lambda: httpx.get(f"{address}/readyz").status_code == 200, "not ready")
        assert calls == 2

    def test_a_server_about_to_end_says_so(self, settings: Settings) -> None:
        app = create_app(settings)
        with ready(app) as client:
            app.state.access.draining = True
            problem_of(client.get("/readyz"), 503, "not-ready")
            assert client.get("/v1/stats").status_code == 200


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
            (BusyError(3), 503),
            (OverdueError(60), 504),
            (SlowBodyError("x"), 408),
            (RateLimitedError("5 per minute", 3), 429),
            (UnauthorizedError("x"), 401),
            (ForbiddenError("x"), 403),
            (MisdirectedError("x"), 421),
            (ReloadRefusedError("x"), 409),
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

        monkeypatch.setattr(SearchEngine, "sample", fail)
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
    @pytest.mark.parametrize("path", ["/", "/map", "/assets/none.js", "/v1/stats", "/nowhere"])
    def test_security_headers_come_with_every_answer(self, client: httpx.Client, path: str) -> None:
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"]
        assert "server" not in headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "img-src 'self' blob: data: https://gibs.earthdata.nasa.gov;" in policy


class TestSchema:
    COMMON: ClassVar = {"401", "403", "408", "413", "421", "429", "503", "504"}
    PATHS: ClassVar = {
        ("/v1/search", "post"),
        ("/v1/search/batch", "post"),
        ("/v1/embed", "post"),
        ("/v1/facets", "post"),
        ("/v1/export", "post"),
        ("/v1/stats", "get"),
        ("/v1/tiles", "get"),
        ("/v1/tiles/{tile_id}", "get"),
        ("/v1/tiles/{tile_id}/image", "get"),
        ("/v1/tiles/{tile_id}/nearby", "get"),
        ("/v1/map", "get"),
        ("/v1/admin/reload", "post"),
        ("/v1/session", "get"),
        ("/v1/session", "post"),
        ("/v1/session", "delete"),
        ("/metrics", "get"),
        ("/healthz", "get"),
        ("/readyz", "get"),
    }

    def test_every_route_documents_what_any_of_them_may_answer(self, client: httpx.Client) -> None:
        paths = client.get("/openapi.json").json()["paths"]
        found = {
            (path, method): set(operation["responses"])
            for path, operations in paths.items()
            for method, operation in operations.items()
        }
        assert set(found) == self.PATHS
        for (path, method), statuses in found.items():
            assert "200" in statuses
            if path.startswith("/v1/") or path == "/metrics":
                assert statuses >= self.COMMON, (path, method)
        assert found["/v1/admin/reload", "post"] >= {"409", "502"}

    def test_ways_to_send_a_key_are_told(self, client: httpx.Client) -> None:
        schema = client.get("/openapi.json").json()
        assert set(schema["components"]["securitySchemes"]) == {"bearer", "header"}
        assert {"bearer": []} in schema["security"] and {} in schema["security"]

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
        for model in ("Hit", "TileOut", "SearchRequest", "ExportRequest"):
            assert schema["components"]["schemas"][model]["examples"]
