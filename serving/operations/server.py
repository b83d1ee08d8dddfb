"""One process or several that listen: uvicorn on uvloop, with our bounds and our end."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from featurizer import manifest
from serving.engine.progress import cores
from serving.operations import logs
from serving.settings import Settings

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

_PROTOCOL = "serving.operations.protocol:BoundedProtocol"
_FACTORY = "serving.app:app_from_environment"
_HUNG_S = 60  # without a sign of life, after which a worker is replaced
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # metrics.FOLDER, which must be set before its import


def config_of(app: Starlette | str, settings: Settings, **more: Any) -> uvicorn.Config:
    """How uvicorn is to serve ``app``; also for tests, which then serve as we do."""
    import uvicorn

    return uvicorn.Config(
        app,
        loop="uvloop",
        http=_PROTOCOL,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.drain_s,
        **more,
    )


def serve_alone(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serves in this process until it is told to stop; raises what keeps the archive away."""
    import uvicorn

    from serving.app import create_app

    failures: list[Exception] = []

    def fail(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(settings, fail, ready)
    logs.configure(settings.log_format)
    server = uvicorn.Server(config_of(app, settings))
    # uvicorn raises the signal again once all is done: an end that was asked for is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server.run(sockets=[listener])
    if failures:
        raise failures[0]


def serve_with_workers(
    settings: Settings, listener: socket.socket, ready: Callable[[], None]
) -> None:
    """Serves in ``workers`` processes that share the mapped index, until told to stop.

    What keeps the archive away is raised here, before any of them starts; ``ready`` is called
    when all of them answer.
    """
    from uvicorn.supervisors import Multiprocess

    from serving.app import policy_of

    class Workers(Multiprocess):
        told = False

        def keep_subprocess_alive(self) -> None:
            for process in self.processes:
                # Else, of a worker that is killed while it is asked for a sign of life, the pipe
                # would stay open here, and none be replaced until that is given up.
                process.child_conn.close()
            super().keep_subprocess_alive()
            if not self.told and all(process.is_ready() for process in self.processes):
                self.told = True
                ready()

    policy_of(settings)
    prepare(settings)
    logs.configure(settings.log_format)
    with tempfile.TemporaryDirectory(prefix="worldsift-metrics-") as folder:
        os.environ.update(worker_environment(settings), **{_METRICS_FOLDER: folder})
        more = {"workers": settings.workers, "timeout_worker_healthcheck": _HUNG_S}
        config = config_of(_FACTORY, settings, factory=True, **more)
        Workers(config, sockets=[listener]).run()


def prepare(settings: Settings) -> None:
    """Fetches, verifies and merges the published generation; raises what is wrong with it."""
    from featurizer.stored import read_spec
    from serving.engine.search import SearchEngine

    root = str(settings.root)
    name = manifest.current_generation(root)
    engine = SearchEngine.open(root, settings.cache_dir, name, progress=True)
    read_spec(root, engine.generation.featurizer.fingerprint)
    engine.close()


def worker_environment(settings: Settings) -> dict[str, str]:
    """The settings as a worker's environment holds them; cores are shared out among workers."""
    prefix = str(settings.model_config["env_prefix"])
    values = settings.model_dump(mode="json", exclude_none=True)
    if "query_threads" not in settings.model_fields_set:
        values["query_threads"] = max(1, cores() // settings.workers)
    return {f"{prefix}{name.upper()}": str(value) for name, value in values.items()}


def on_end(announce: Callable[[], None], notice_s: float) -> Callable[[], None]:
    """Calls ``announce`` at SIGTERM, and what handled it so far ``notice_s`` later.

    Returns what undoes it.  Outside the main thread, where signals do not arrive, does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        announce()
        if not callable(before):
            return
        if notice_s:
            time_up = threading.Timer(notice_s, before, (number, None))
            time_up.daemon = True
            time_up.start()
        else:
            before(number, frame)

    signal.signal(signal.SIGTERM, end)
    return lambda: _restore(end, before)


def _restore(ours: Any, before: Any) -> None:
    if signal.getsignal(signal.SIGTERM) is ours:
        signal.signal(signal.SIGTERM, before)
