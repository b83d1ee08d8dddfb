"""When whoever asked stops waiting: what is computed beyond that is for nobody.

A thread cannot be stopped from outside, so work that may be long looks at the clock itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from serving.failures import OverdueError

_ends: ContextVar[tuple[float, float] | None] = ContextVar("ends", default=None)


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    """Lets ``check`` raise, here and in copies of this context, once ``limit_s`` have passed."""
    token = _ends.set((time.monotonic() + limit_s, limit_s))
    try:
        yield
    finally:
        _ends.reset(token)


def check() -> None:
    """OverdueError where the time of the work around is up; costs next to nothing."""
    ends = _ends.get()
    if ends is not None and time.monotonic() > ends[0]:
        raise OverdueError(ends[1])
