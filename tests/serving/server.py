"""A real server on a free port, for as long as a test needs it, set up as `serving run` does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import uvicorn
from fastapi import FastAPI

from serving.operations.server import config_of

START_TIMEOUT_S = 30


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The address at which ``app`` answers, its archive perhaps not loaded yet."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = uvicorn.Server(config_of(app, app.state.access.settings))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started, "the server did not start")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        listener.close()


@contextlib.contextmanager
def ready(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of ``app``, which has loaded its archive."""
    with running(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        wait_until_ready(client)
        yield client


def wait_until_ready(client: httpx.Client) -> None:
    def loaded() -> bool:
        answer = client.get("/readyz")
        assert "could not be loaded" not in answer.text, "loading failed: the log says why"
        return answer.status_code == 200

    wait_for(loaded, "the archive did not load")


def wait_for(condition: Callable[[], bool], failure: str) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, failure
        time.sleep(0.01)
