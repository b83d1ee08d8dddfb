"""What broke a server once: costly bodies, clients that hold on, work that goes on for nobody."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from fastapi import Request
from starlette.types import Message, Receive, Scope, Send

from featurizer import manifest
from featurizer.spec import Metric
from serving import deadline
from serving.app import create_app
from serving.asking import asked_of
from serving.engine.filters import Filter
from serving.engine.selection import Selection, Selections
from serving.failures import OverdueError
from serving.models.requests import SearchRequest
from serving.operations import bounds
from serving.operations.takeover import Refused
from serving.query.duplicates import Duplicates
from serving.routes.access import compute
from serving.searching import search_all
from serving.service import SearchService
from serving.settings import Settings
from tests.serving.conftest import make_settings
from tests.serving.gallery import Gallery
from tests.serving.problems import problem_of
from tests.serving.server import ready, wait_for
from tests.serving.test_cli import read_address, started
from tests.serving.test_security import read_all

JSON = {"Content-Type": "application/json"}


def posted(client: httpx.Client, body: bytes, path: str = "/v1/search") -> httpx.Response:
    return client.post(path, content=body, headers=JSON)


class TestBodies:
    def test_more_values_than_any_request_has(self, client: httpx.Client) -> None:
        body = b'{"positive": [{"vector": [' + b"1," * (1 << 20) + b"1, 1]}]}"
        for path in ("/v1/search", "/v1/export", "/v1/facets"):
            problem = problem_of(posted(client, body, path), 413, "too-large")
            assert "1,048,576" in problem["detail"]

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/search", b'{"positive": [' + b"{}," * 20_000 + b"{}]}"),
            ("/v1/search", b'{"positive": [{"vector": [' + b"[]," * 20_000 + b"[]]}]}"),
            ("/v1/search/batch", b'{"searches": [' + b"{}," * 20_000 + b"{}]}"),
            ("/v1/export", b'{"format": "csv", "tile_ids": [' + b"1," * 20_000 + b"1]}"),
            ("/v1/facets", json.dumps({str(i): 0 for i in range(20_000)}).encode()),
            (
                "/v1/export",
                json.dumps(
                    {
                        "format": "csv",
                        "filter": {},
                        "labels": dict.fromkeys(map(str, range(9999)), 0),
                    }
                ).encode(),
            ),
        ],
    )
    def test_ten_thousand_faults_are_not_listed(
        self, client: httpx.Client, path: str, body: bytes
    ) -> None:
        answer = posted(client, body, path)
        problem = problem_of(answer, 422, "bad-request")
        assert problem["errors"] and len(answer.content) < 2000

    def test_a_long_text_is_not_sent_back_whole(self, client: httpx.Client) -> None:
        body = json.dumps({"positive": [{"tile_id": "x" * 300_000}]}).encode()
        answer = posted(client, body)
        assert "'xxx" in problem_of(answer, 404, "unknown-tile")["detail"]
        assert len(answer.content) < 5000

    def test_a_forged_cursor_that_nests(self, client: httpx.Client) -> None:
        content = b"[" * 1480
        check = hashlib.blake2b(content, digest_size=8, person=b"cursor").digest()
        text = "c1." + base64.urlsafe_b64encode(check + content).rstrip(b"=").decode()
        tile_id = client.get("/v1/tiles?sample=1").json()["tiles"][0]["tile_id"]
        body = json.dumps({"positive": [{"tile_id": tile_id}], "cursor": text}).encode()
        assert "damaged" in problem_of(posted(client, body), 422, "bad-query")["detail"]

    @pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://\xff["])
    def test_an_origin_that_is_none(self, client: httpx.Client, origin: str) -> None:
        answer = client.post("/v1/search", json={}, headers={"Origin": origin.encode("latin-1")})
        problem_of(answer, 403, "forbidden")

    def test_bodies_of_all_together_are_bounded(self, gallery: Gallery, settings: Settings) -> None:
        limits = make_settings(
            gallery.root,
            settings.cache_dir,
            max_upload_bytes=100_000,
            max_images=1,
            max_bodies_bytes=1,  # raised to what one form may have: 1.1 MB
        )
        half = b" " * 600_000
        with ready(create_app(limits)) as client:
            with contextlib.closing(_connected(client)) as other:
                head = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 700000\r\n"
                other.sendall(head + b"Content-Type: application/json\r\n\r\n" + half)
                time.sleep(0.3)
                refused = posted(client, half)
                problem_of(refused, 503, "busy")
                assert int(refused.headers["retry-after"]) >= 1
            wait_for(lambda: posted(client, half).status_code == 422, "its share is not given back")


def _connected(client: httpx.Client) -> socket.socket:
    url = client.base_url
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect((url.host, url.port))
    return connection


@pytest.fixture(scope="module")
def hasty(gallery: Gallery, settings: Settings) -> Iterator[httpx.Client]:
    limits = make_settings(
        gallery.root,
        settings.cache_dir,
        request_timeout_s=0.5,
        body_timeout_s=0.5,
        query_threads=1,
        recall_sample_s=0,
    )
    app = create_app(limits)

    @app.get("/v1/big")
    async def big() -> str:
        return "x" * (40 << 20)

    @app.get("/v1/endless")
    async def endless(request: Request) -> None:
        await compute(request, _until_the_deadline)

    with ready(app) as client:
        yield client


ENDED = threading.Event()


def _until_the_deadline() -> None:
    try:
        for _ in range(2000):
            time.sleep(0.01)
            deadline.check()
    finally:
        ENDED.set()


class TestHoldingOn:
    def test_an_answer_that_nobody_takes_is_let_go_of(self, hasty: httpx.Client) -> None:
        with contextlib.closing(_connected(hasty)) as idle:
            idle.sendall(b"GET /v1/big HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(3)
            assert len(read_all(idle)) < 30 << 20

    def test_one_that_is_taken_slowly_is_not(self, hasty: httpx.Client) -> None:
        with contextlib.closing(_connected(hasty)) as slow:
            slow.sendall(b"GET /v1/big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            taken, began = 0, time.monotonic()
            while part := slow.recv(2 << 20):
                taken += len(part)
                if time.monotonic() - began < 2:
                    time.sleep(0.05)
            assert taken > 40 << 20

    def test_exports_whose_bodies_do_not_come_take_no_place(self, client: httpx.Client) -> None:
        head = b"POST /v1/export HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n"
        with contextlib.ExitStack() as stack:
            for _ in range(6):
                waiting = stack.enter_context(contextlib.closing(_connected(client)))
                waiting.sendall(head + b"Content-Type: application/json\r\n\r\n{")
            time.sleep(0.3)
            asked = {"format": "csv", "filter": {"labels": ["class0"]}}
            assert client.post("/v1/export", json=asked).status_code == 200

    def test_a_trickle_of_an_answer_is_broken_off(
        self, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        """A client that takes something every now and then, at less than the least rate."""
        now = SimpleNamespace(t=0.0)
        monkeypatch.setattr(bounds, "time", SimpleNamespace(monotonic=lambda: now.t))
        sent = []

        async def send(message: Message) -> None:
            sent.append(message)
            now.t += 20.0  # each part is waited for

        async def parts(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(100):
                await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})

        app = bounds.Bounds(parts, settings, lambda error, path: None)  # type: ignore[arg-type]
        scope = {"type": "http", "path": "/v1/export", "headers": []}
        asyncio.run(app(scope, None, send))  # type: ignore[arg-type]
        assert 2 <= len(sent) < 10


class TestDeadlines:
    def test_a_computation_ends_with_its_request(self, hasty: httpx.Client) -> None:
        problem_of(hasty.get("/v1/endless"), 504, "overdue")
        assert ENDED.wait(2)  # of 20 s that it would take

    def test_outside_a_request_there_is_none(self) -> None:
        deadline.check()
        with deadline.within(10):
            deadline.check()
        with deadline.within(-1), pytest.raises(OverdueError):
            deadline.check()
        deadline.check()

    def test_a_batch_is_given_up_between_its_searches(
        self, client: httpx.Client, gallery: Gallery, settings: Settings
    ) -> None:
        service = SearchService.open(settings, gallery.featurizer)
        tile_id = gallery.archive.tile_ids[0]
        asked = asked_of(SearchRequest.model_validate({"positive": [{"tile_id": tile_id}]}))
        with deadline.within(-1), pytest.raises(OverdueError):
            search_all(service, [asked], [[]], 0.0)
        assert len(search_all(service, [asked], [[]], 0.0)) == 1
        service.close()

    def test_who_shares_a_selection_has_a_time_of_its_own(self) -> None:
        begun, go = threading.Event(), threading.Event()
        calls = []

        def make(wanted: Filter) -> Selection:
            calls.append(wanted)
            begun.set()
            assert go.wait(10)
            deadline.check()
            return Selection(np.zeros(1, np.uint8), 0)

        kept = Selections(make, 1 << 20)
        faults: list[Exception] = []
        found = []

        def hurried() -> None:
            try:
                with deadline.within(0.0):
                    kept.of(Filter(uri_prefix="a"))
            except OverdueError as error:
                faults.append(error)

        first = threading.Thread(target=hurried)
        first.start()
        assert begun.wait(10)
        second = threading.Thread(target=lambda: found.append(kept.of(Filter(uri_prefix="a"))))
        second.start()
        time.sleep(0.1)
        go.set()
        for thread in (first, second):
            thread.join(10)
        assert len(faults) == 1 and len(found) == 1 and len(calls) == 2


def test_filters_that_are_kept_count_with_their_texts() -> None:
    """A small archive's selections weigh nothing, but a filter's polygon may be a megabyte."""
    kept = Selections(lambda wanted: Selection(np.zeros(1, np.uint8), 0), 1 << 20)
    for number in range(100):
        kept.of(Filter(uri_prefix=f"{number}" + "x" * 50_000))
    assert sum(len(wanted.uri_prefix or "") for wanted in kept._kept) < 1 << 20
    for number in range(5000):
        kept.of(Filter(uri_prefix=str(number)))
    assert len(kept._kept) < 2000


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_an_endless_duplicate_distance_folds_everything(metric: Metric) -> None:
    vectors = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    duplicates = Duplicates(1e300, metric)
    duplicates.load(vectors)
    duplicates.keep(0)
    assert [duplicates.first(place) for place in range(1, 8)] == [0] * 7


class TestArchives:
    def test_current_that_names_nothing(self, gallery: Gallery, tmp_path: Path) -> None:
        root = tmp_path / "root"
        shutil.copytree(gallery.root, root)
        current = root / manifest.CURRENT
        name = current.read_text()
        with ready(create_app(make_settings(str(root), tmp_path / "cache"))) as client:
            for text in ("../../etc/passwd", "\0", ""):
                current.write_text(text)
                problem_of(client.post("/v1/admin/reload"), 409, "reload-refused")
            current.unlink()
            problem_of(client.post("/v1/admin/reload"), 409, "reload-refused")
            current.write_text(name)
            assert client.post("/v1/admin/reload").json()["changed"] is False

    def test_why_one_was_refused_is_for_admins(self, gallery: Gallery, settings: Settings) -> None:
        app = create_app(make_settings(gallery.root, settings.cache_dir, allow_anonymous=True))
        with ready(app) as client:
            takeover = app.state.access.takeover
            takeover.refused = Refused("g", "/srv/secret: damaged", takeover.loaded)
            far = {"X-Forwarded-For": "203.0.113.9"}
            assert "/srv" not in client.get("/v1/stats", headers=far).text
            assert client.get("/v1/stats").json()["refused"]["reason"] == "/srv/secret: damaged"


def test_a_worker_that_is_killed_is_replaced(gallery: Gallery, tmp_path: Path) -> None:
    options = ("--port", "0", "--cache-dir", str(tmp_path / "cache"), "--workers", "2")
    with started(gallery.root, *options) as (process, lines):
        address = read_address(process, lines)
        first = workers_of(process.pid)
        assert len(first) == 2
        # Stopped, it cannot answer the supervisor's question, which is then under way.
        os.kill(first[0], signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(first[0], signal.SIGKILL)
        wait_for(lambda: len(set(workers_of(process.pid)) - {first[0]}) == 2, "not replaced")
        assert httpx.get(f"{address}/healthz", timeout=30).status_code == 200
        process.terminate()
        assert process.wait(60) == 0


def workers_of(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found
