"""Work on many files at once, with a bar on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def bar(
    items: Iterable[Item], total: int, title: str, progress: bool, unit: str = "file"
) -> Iterable[Item]:
    """``items`` as they are, counted on stderr while they are taken."""
    return tqdm(items, title, total, file=sys.stderr, disable=not progress, unit=unit)


def for_each(
    items: Sequence[Item], work: Callable[[Item], None], threads: int, title: str, progress: bool
) -> None:
    """``work`` on each item, several at a time; the first error ends it, once running work ends."""
    if not items:
        return
    with ThreadPoolExecutor(min(threads, len(items)), thread_name_prefix="worldsift") as pool:
        try:
            futures = [pool.submit(work, item) for item in items]
            for future in bar(as_completed(futures), len(futures), title, progress):
                future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
