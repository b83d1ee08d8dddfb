"""How many files the engine may hold open: shards are many, and opening one takes time."""

from __future__ import annotations

import resource

_WANTED = 16_384  # of the process: a quarter of the mappings that Linux allows it
_OTHERS = 512  # for connections and whatever else the process opens
_FEWEST = 64


def most_open() -> int:
    """Files that vectors, and as many again that rows, may keep open at one time.

    Raises the process's own limit where the system lets it: the usual 1,024 is there for programs
    that wait for files with ``select``, which none here does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _WANTED:
        more = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, more), hard))
        soft = max(soft, more)
    limit = _WANTED if soft == resource.RLIM_INFINITY else min(soft, _WANTED)
    return max(_FEWEST, (limit - _OTHERS) // 4)  # two engines are open while one takes over
