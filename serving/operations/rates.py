"""How many requests a caller may make: the sliding windows of the ``limits`` library."""

from __future__ import annotations

import ipaddress
import math
import time
from dataclasses import dataclass
from functools import lru_cache

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from featurizer.errors import UsageError
from serving.failures import RateLimitedError


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller has left: requests of ``limit`` until all are there again."""

    limit: int
    remaining: int
    reset_s: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """As draft-ietf-httpapi-ratelimit-headers (version 3 to 6, which clients know) has them."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset_s),
        ]


def parse_rate(text: str) -> RateLimitItem:
    """``600/minute`` and the like; UsageError says how to write it."""
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(
            f"rate limit {text!r}: write a number and a time, such as 600/minute or 10/second"
        ) from error


class Rates:
    """One limit for each caller, counted by this process (each worker counts for itself)."""

    def __init__(self, text: str) -> None:
        self._item = parse_rate(text)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def take(self, caller: str) -> Allowance:
        """One request of this caller's; RateLimitedError when there is none left."""
        allowed = await self._limiter.hit(self._item, caller)
        window = await self._limiter.get_window_stats(self._item, caller)
        reset_s = max(1, math.ceil(window.reset_time - time.time()))
        if not allowed:
            raise RateLimitedError(str(self._item), reset_s)
        return Allowance(self._item.amount, window.remaining, reset_s)


@lru_cache(maxsize=4096)
def caller_of(address: str) -> str:
    """Who an address counts as: itself, or its /64 network, of which one IPv6 host has all."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
