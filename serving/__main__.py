"""``python -m serving``: sets up what must stand before the libraries load, then the verbs."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def _prepare_process() -> None:
    # More OpenMP threads in each of several searches make the slowest ten times slower.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # FAISS reports on its files with printf: only what Python prints is a result.
    results = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdout = os.fdopen(results, "w", encoding="utf-8")


def _end(status: int) -> NoReturn:
    """Ends the process with this status, whatever native threads of libraries are still there.

    At an ordinary exit their destructors now and then abort it, after all is done and written.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _prepare_process()
    from serving.cli import main

    _end(main())
