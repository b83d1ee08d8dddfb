"""Inputs -> shards: which inputs are embedded together, and under which name.

Boundaries depend on the inputs themselves (content-defined chunking): an input added or removed
moves the boundary of its own shard and leaves the others, their names and their files alone.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from featurizer.tiles import Bounds

# image: its bytes go to the decoder.  scene: one picture that only a raster reader can mean.
# windows: a slice of a raster's tile grid.
Kind = Literal["image", "scene", "windows"]


@dataclass(frozen=True, slots=True)
class Item:
    """One input, or one slice ``[start, stop)`` of the tile grid of a large one."""

    uri: str
    size: int
    etag: str
    kind: Kind = "image"
    label: str | None = None
    taken: datetime | None = None
    bounds: Bounds | None = None
    start: int = 0
    stop: int = 1

    @property
    def rows(self) -> int:
        return self.stop - self.start

    @property
    def digest(self) -> int:
        """64 bits that depend on uri, bytes and slice, evenly spread."""
        text = f"{self.uri}|{self.etag}|{self.start}|{self.stop}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _canonical(item: Item) -> bytes:
    return json.dumps(_record(item), sort_keys=True, separators=(",", ":")).encode()


def _record(item: Item) -> dict[str, Any]:
    # Not asdict, which copies deeply: this runs twice for every input of the archive.
    record = {name: getattr(item, name) for name in Item.__slots__}
    record["taken"] = None if item.taken is None else item.taken.isoformat()
    return record


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The inputs of one shard, in order; ``index`` is its place in the archive."""

    name: str
    index: int
    items: tuple[Item, ...]

    @property
    def rows(self) -> int:
        return sum(item.rows for item in self.items)

    def encode(self) -> bytes:
        """A compact form, about 30 bytes an input, for what has to go through a shuffle."""
        body = {"name": self.name, "index": self.index, "items": [_record(i) for i in self.items]}
        return zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 6)

    @classmethod
    def decode(cls, data: bytes) -> ShardPlan:
        body = json.loads(zlib.decompress(data))
        return cls(body["name"], body["index"], tuple(_item(record) for record in body["items"]))


def _item(record: dict[str, Any]) -> Item:
    taken, bounds = record["taken"], record["bounds"]
    return Item(
        **{
            **record,
            "taken": None if taken is None else datetime.fromisoformat(taken),
            "bounds": None if bounds is None else tuple(bounds),
        }
    )


def shard_name(items: Iterable[Item], settings: str) -> str:
    """A hash of the inputs and of ``settings``: whatever else changes a shard's bytes."""
    total = hashlib.sha256(settings.encode())
    for item in items:
        total.update(b"\n" + _canonical(item))
    return total.hexdigest()[:20]


def plan_shards(items: Iterable[Item], target_rows: int, settings: str) -> Iterator[ShardPlan]:
    """Shards of a quarter of ``target_rows`` to ``target_rows`` rows, about half of it on average.

    Holds one shard in memory.  An item larger than ``target_rows`` is cut into slices first.
    """
    pending: list[Item] = []
    count = index = 0
    for item in slices(items, target_rows):
        if pending and count + item.rows > target_rows:
            yield ShardPlan(shard_name(pending, settings), index, tuple(pending))
            pending, count, index = [], 0, index + 1
        pending.append(item)
        count += item.rows
        if count * 4 >= target_rows and item.digest % max(1, target_rows // 3) < item.rows:
            yield ShardPlan(shard_name(pending, settings), index, tuple(pending))
            pending, count, index = [], 0, index + 1
    if pending:
        yield ShardPlan(shard_name(pending, settings), index, tuple(pending))


def slices(items: Iterable[Item], target_rows: int) -> Iterator[Item]:
    for item in items:
        if item.rows <= target_rows:
            yield item
            continue
        for start in range(item.start, item.stop, target_rows):
            yield replace(item, start=start, stop=min(start + target_rows, item.stop))
