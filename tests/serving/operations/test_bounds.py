"""Bounds on time, over real sockets: late answers, full queues, clients that take nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse

from serving.app import create_app
from serving.operations import metrics
from serving.routes.access import compute
from serving.settings import Settings
from tests.serving.conftest import make_settings
from tests.serving.gallery import Gallery
from tests.serving.problems import problem_of
from tests.serving.server import ready, wait_for

GATE = threading.Event()


def with_routes(app: FastAPI) -> FastAPI:
    """Routes that take as long as a test wants."""

    @app.get("/v1/late")
    async def late() -> None:
        await asyncio.sleep(30)

    @app.get("/v1/gated")
    async def gated(request: Request) -> bool:
        return await compute(request, lambda: GATE.wait(20))

    @app.get("/v1/long")
    async def long() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(6):
                await asyncio.sleep(0.2)
                yield b"x"

        return StreamingResponse(pieces())

    @app.get("/v1/flood")
    async def flood() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(4000):
                yield b"x" * 65_536

        return StreamingResponse(pieces())

    return app


@pytest.fixture(scope="module")
def hasty(gallery: Gallery, settings: Settings) -> Iterator[httpx.Client]:
    limits = make_settings(
        gallery.root,
        settings.cache_dir,
        request_timeout_s=0.6,
        body_timeout_s=0.6,
        query_threads=1,
        max_queue=2,
    )
    with ready(with_routes(create_app(limits))) as client:
        yield client


def count(name: str, client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_an_answer_that_does_not_come_is_504(hasty: httpx.Client) -> None:
    before = count('worldsift_timeouts_total{limit="request"}', hasty)
    started = time.monotonic()
    problem = problem_of(hasty.get("/v1/late"), 504, "overdue")
    assert 0.5 < time.monotonic() - started < 5
    assert "0.6 s" in problem["detail"]
    assert count('worldsift_timeouts_total{limit="request"}', hasty) == before + 1


def test_an_answer_that_has_begun_may_take_its_time(hasty: httpx.Client) -> None:
    assert hasty.get("/v1/long").content == b"x" * 6


def test_too_many_that_wait_are_told_when_to_come_back(hasty: httpx.Client) -> None:
    GATE.clear()
    statuses: list[int] = []
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=hasty.base_url) as client:
            answer = client.get("/v1/gated")
            statuses.append(answer.status_code)
            answers.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: statuses.count(503) == 5, f"one at work, two waiting, not so: {statuses}")
    GATE.set()
    for thread in threads:
        thread.join()
    busy = [answer for answer in answers if answer.status_code == 503]
    for answer in busy:
        problem_of(answer, 503, "busy")
        assert int(answer.headers["retry-after"]) >= 1
    assert sorted(statuses)[:1] == [200]
    assert metrics.BUSY.labels("compute")._value.get() >= 5
    assert hasty.get("/v1/gated").json() is True


def test_a_client_that_takes_nothing_is_cut_off(hasty: httpx.Client) -> None:
    with hasty.stream("GET", "/v1/flood") as answer:
        time.sleep(2)  # both ends' buffers are full by now, and the limit has passed
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in answer.iter_raw():
                pass
    assert hasty.get("/healthz").status_code == 200
