"""A real server on a free port, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import uvicorn
from starlette.types import ASGIApp

START_TIMEOUT_S = 60


@contextlib.contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """The address at which ``app`` answers, its archive perhaps not loaded yet."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        _wait_for(lambda: server.started, "the server did not start")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        listener.close()


def wait_until_ready(client: httpx.Client) -> None:
    _wait_for(lambda: client.get("/readyz").status_code == 200, "the archive did not load")


def _wait_for(condition: Callable[[], bool], failure: str) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, failure
        time.sleep(0.01)
