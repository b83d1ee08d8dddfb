"""``python -m pipeline``: keeps stdout for results, then the verbs."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def _keep_stdout_for_results() -> None:
    """Sends what libraries and worker processes print to stderr: only Python's print is a result.

    (FAISS and the codecs report with printf, and Beam's worker processes inherit descriptor 1.)
    """
    results = os.dup(1)  # not inherited
    os.dup2(2, 1)
    sys.stdout = os.fdopen(results, "w", encoding="utf-8")


def _end(status: int) -> NoReturn:
    """Ends the process with this status, whatever native threads of libraries are still there.

    At an ordinary exit their destructors now and then abort it ("terminate called without an
    active exception"), after all is done and written: the status would then be a lie.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _keep_stdout_for_results()
    from pipeline.cli import main

    _end(main())
