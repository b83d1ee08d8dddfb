"""Processes that end with the one that started them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from serving.failures import ProjectionError


@dataclass(slots=True)
class Children:
    """Processes that were started, to be ended with who started them."""

    closed: bool = False
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def started(self, command: list[str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        """A process whose standard input stays open until it has ended, or this one has."""
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        with self._lock:
            if self.closed:
                raise ProjectionError("the server is stopping")
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **single, "PYTHONPATH": path},
            )
            self._running.add(child)
        try:
            yield child
        finally:
            with self._lock:
                self._running.discard(child)
            child.kill()
            child.communicate()

    def close(self) -> None:
        with self._lock:
            self.closed = True
            for child in self._running:
                child.kill()
