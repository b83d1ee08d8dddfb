"""The name of a request, the same in its answer, its problems and the log."""

from __future__ import annotations

import random
import re
from contextvars import ContextVar

HEADER = "X-Request-ID"
_SANE = re.compile(rb"[A-Za-z0-9._~-]{1,64}")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def chosen(offered: bytes | None) -> str:
    """What the client offered, where it can stand in a header and a log; else a new name."""
    if offered is not None and _SANE.fullmatch(offered):
        return offered.decode("ascii")
    return f"{random.getrandbits(64):016x}"
