"""What the rows of a block have in common, so that most blocks need not be read for a filter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from serving.engine.blocks import Block
from serving.engine.filters import DAY_US, Criteria, days_of_year
from serving.engine.regions import Mask, stretches
from serving.engine.tile_ids import hash_strings

Zones = NDArray[Any]  # of ZONE

_TEXT_BYTES = 160  # of a uri: what follows is not looked at, and may be anything
_LABEL_BITS = 256
_LATEST, _EARLIEST = np.iinfo(np.int64).max, np.iinfo(np.int64).min

# Least and greatest of what is known; the least above the greatest where nothing is.
ZONE = np.dtype(
    [
        ("rows", np.int64),
        ("taken", np.int64, 2),
        ("south", np.float64),  # the least
        ("north", np.float64),  # the greatest
        ("lon", np.float64, 2),  # from the least west to the greatest east of boxes within +-180
        ("across", np.float64, 2),  # the least west and the greatest east of those across 180
        ("valid", np.float32),  # the greatest
        ("labels", np.uint8, _LABEL_BITS // 8),  # a Bloom filter with one hash
        ("unlabelled", np.bool_),
        ("uri", f"S{_TEXT_BYTES}", 2),
    ]
)


def zone_of(block: Block) -> NDArray[Any]:
    """(1,) of ZONE: the statistics of one block."""
    zone = np.zeros(1, ZONE)
    zone["rows"] = block.rows
    times = block.values("datetime")[block.known("datetime")]
    zone["taken"] = (times.min(), times.max()) if len(times) else (_LATEST, _EARLIEST)
    boxes = block.boxes()[block.known("west")]
    across = boxes.west > boxes.east
    zone["south"] = boxes.south.min(initial=np.inf)
    zone["north"] = boxes.north.max(initial=-np.inf)
    for name, part in (("lon", boxes[~across]), ("across", boxes[across])):
        zone[name] = (part.west.min(initial=np.inf), part.east.max(initial=-np.inf))
    shares = block.values("valid_fraction")[block.known("valid_fraction")]
    zone["valid"] = shares.max(initial=-np.inf)
    codes = np.unique(block.values("label")[block.known("label")])
    zone["labels"] = _bits(block.labels.take(pa.array(codes)))
    zone["unlabelled"] = block.column("label").null_count > 0
    ends = pc.min_max(block.column("uri")).as_py()
    zone["uri"] = [ends[key].encode()[:_TEXT_BYTES] for key in ("min", "max")]
    return zone


def _bits(labels: pa.StringArray) -> NDArray[np.uint8]:
    """(32,) one bit of 256 set for each label."""
    flags = np.zeros(_LABEL_BITS, np.bool_)
    flags[(hash_strings(labels) % np.uint64(_LABEL_BITS)).astype(np.int64)] = True
    return np.packbits(flags)


def may_match(zones: Zones, asked: Criteria) -> Mask:
    """(z,) False only for blocks without any row that meets the criteria."""
    found = zones["rows"] > 0
    if asked.start_us is not None:
        found &= zones["taken"][:, 1] >= asked.start_us
    if asked.end_us is not None:
        found &= zones["taken"][:, 0] < asked.end_us
    if asked.season is not None:
        found &= _in_season(zones["taken"], asked.season)
    for place in (asked.bbox, None if asked.area is None else asked.area.bounds):
        if place is not None:
            found &= near(zones, place)
    if asked.labels is not None:
        found &= _labelled(zones, asked.labels)
    if asked.uri_prefix is not None:
        found &= from_source(zones, asked.uri_prefix)
    if asked.min_valid is not None:
        found &= zones["valid"] >= asked.min_valid
    return np.asarray(found, np.bool_)


def near(zones: Zones, place: tuple[float, float, float, float]) -> Mask:
    """(z,) whether a block may hold bounds that touch the box."""
    west, south, east, north = place
    lon, across = zones["lon"], zones["across"]
    found = np.zeros(len(zones), np.bool_)
    for first, last in stretches(west, east):
        found |= (lon[:, 0] <= last) & (lon[:, 1] >= first)
        found |= (across[:, 0] <= last) | (across[:, 1] >= first)
    return np.asarray(found & (zones["south"] <= north) & (zones["north"] >= south), np.bool_)


def from_source(zones: Zones, prefix: str) -> Mask:
    """(z,) whether a block may hold a uri that begins so."""
    start = prefix.encode()[:_TEXT_BYTES]
    least, greatest = (zones["uri"][:, side].astype(f"S{len(start)}") for side in (0, 1))
    return np.asarray((least <= start) & (greatest >= start), np.bool_)


def _labelled(zones: Zones, labels: tuple[str | None, ...]) -> Mask:
    names = [label for label in labels if label is not None]
    found = (zones["labels"] & _bits(pa.array(names, pa.string()))).any(axis=1)
    if None in labels:
        found |= zones["unlabelled"]
    return np.asarray(found, np.bool_)


def _in_season(taken: NDArray[np.int64], season: tuple[int, int]) -> Mask:
    """(z,) whether any day of the year from the first to the last time is in the season."""
    dated = taken[:, 0] <= taken[:, 1]
    first, last = np.where(dated[:, None], taken, 0).T
    begins, ends = days_of_year(first), days_of_year(last)
    years = [
        (day // DAY_US).astype("datetime64[D]").astype("datetime64[Y]") for day in (first, last)
    ]
    turned = (years[1] - years[0]).astype(np.int64)  # new years between them
    whole = (turned > 1) | ((turned == 1) & (begins <= ends))
    start, end = season
    found = np.zeros(len(taken), np.bool_)
    for low, high in [(start, end)] if start <= end else [(start, 1231), (101, end)]:
        within = (begins <= high) & (ends >= low)
        found |= np.where(turned == 1, (begins <= high) | (ends >= low), within)
    return np.asarray(dated & (found | whole), np.bool_)
