"""``python -m serving``: sets up what must stand before the libraries load, then the verbs."""

from __future__ import annotations

import os
import sys


def _prepare_process() -> None:
    # More OpenMP threads in each of several searches make the slowest ten times slower.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # FAISS reports on its files with printf: only what Python prints is a result.
    results = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdout = os.fdopen(results, "w", encoding="utf-8")


if __name__ == "__main__":
    _prepare_process()
    from serving.cli import main

    sys.exit(main())
