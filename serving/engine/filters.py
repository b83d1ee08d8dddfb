"""Which tiles may be found: what a filter asks, and which rows of a block it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurizer.errors import QueryError
from featurizer.tiles import Bounds
from serving.engine.blocks import EPOCH, Block
from serving.engine.regions import Area, Mask, checked, touching

Microseconds = NDArray[np.int64]  # since 1970, UTC
MonthDay = tuple[int, int]

DAY_US = 86_400_000_000
_FEW_DAYS = 4096
_RECORD_BYTES = 1000  # of a filter and of what is kept with it, texts aside
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must hold; what is unknown of a tile never matches.

    ``start`` and ``end`` without a zone are UTC.  A season's days are both included, every year;
    one that ends on (2, 28) leaves 29 February out.  QueryError for what cannot be meant.
    """

    start: datetime | None = None  # taken at or after
    end: datetime | None = None  # taken before
    season: tuple[MonthDay, MonthDay] | None = None  # wraps the new year where start > end
    bbox: Bounds | None = None  # west > east crosses 180; tiles that touch it match
    polygon: str | None = None  # GeoJSON geometry; longitudes may pass 180
    labels: tuple[str | None, ...] | None = None  # any of these; None: without a label
    uri_prefix: str | None = None
    min_valid_fraction: float | None = None

    def __post_init__(self) -> None:
        first, last = _microseconds(self.start), _microseconds(self.end)
        if first is not None and last is not None and first >= last:
            raise QueryError(
                f"start {self.start} is not before end {self.end}, so that no tile can match: "
                "give an end after the start"
            )
        for month_day in self.season or ():
            _check_day(month_day)
        if self.bbox is not None:
            checked(self.bbox, "bbox")
        if self.polygon is not None:
            Area(self.polygon)
        _check_text("uri_prefix", self.uri_prefix or "")
        for label in self.labels or ():
            _check_text("labels", label or "")
        if self.labels is not None and not self.labels:
            raise QueryError("labels: an empty list matches nothing: leave it out or name some")
        if self.min_valid_fraction is not None and not 0 <= self.min_valid_fraction <= 1:
            raise QueryError(f"min_valid_fraction {self.min_valid_fraction}: must be in 0..1")

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about: a polygon may be a megabyte."""
        texts = (self.polygon, self.uri_prefix, *(self.labels or ()))
        return _RECORD_BYTES + 4 * sum(len(text) for text in texts if text is not None)


def _microseconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"{name}: half of a character, which no archive holds") from error


def _check_day(month_day: MonthDay) -> None:
    month, day = month_day
    if not (1 <= month <= 12 and 1 <= day <= _DAYS_OF_MONTH[month - 1]):
        raise QueryError(f"season: no year has the day {month:02d}-{day:02d}: give MM-DD")


@dataclass(frozen=True, slots=True, eq=False)
class Criteria:
    """A filter made ready to be compared with columns."""

    start_us: int | None
    end_us: int | None
    season: tuple[int, int] | None  # 100 * month + day
    bbox: Bounds | None  # longitudes in -180..180
    area: Area | None
    labels: tuple[str | None, ...] | None
    uri_prefix: str | None
    min_valid: np.float32 | None  # as the column has it: 0.9 is met by what was stored as 0.9

    @classmethod
    def of(cls, asked: Filter) -> Criteria:
        share = asked.min_valid_fraction
        return cls(
            start_us=_microseconds(asked.start),
            end_us=_microseconds(asked.end),
            season=asked.season and _season(asked.season),
            bbox=asked.bbox and checked(asked.bbox, "bbox"),
            area=None if asked.polygon is None else Area(asked.polygon),
            labels=asked.labels,
            uri_prefix=asked.uri_prefix,
            min_valid=None if share is None else np.float32(share),
        )


def _season(season: tuple[MonthDay, MonthDay]) -> tuple[int, int]:
    (first_month, first_day), (last_month, last_day) = season
    return 100 * first_month + first_day, 100 * last_month + last_day


def matching(block: Block, asked: Criteria) -> Mask:
    """(rows,) which rows of the block meet all criteria."""
    found = np.ones(block.rows, np.bool_)
    for test in (_by_time, _by_share, _by_label, _by_uri, _by_place):
        test(block, asked, found)
        if not found.any():
            break
    return found


def _by_time(block: Block, asked: Criteria, found: Mask) -> None:
    if asked.start_us is None and asked.end_us is None and asked.season is None:
        return
    times = block.values("datetime")
    found &= block.known("datetime")
    if asked.start_us is not None:
        found &= times >= asked.start_us
    if asked.end_us is not None:
        found &= times < asked.end_us
    if asked.season is not None:
        left = np.flatnonzero(found)
        days, (first, last) = days_of_year(times[left]), asked.season
        after, before = days >= first, days <= last
        found[left] = after & before if first <= last else after | before


def _by_share(block: Block, asked: Criteria, found: Mask) -> None:
    if asked.min_valid is not None:
        found &= block.known("valid_fraction")
        found &= block.values("valid_fraction") >= asked.min_valid


def _by_label(block: Block, asked: Criteria, found: Mask) -> None:
    if asked.labels is None:
        return
    known, codes, names = block.known("label"), block.values("label"), block.labels
    wanted = np.zeros(len(names) + 1, np.bool_)  # one more, as the code of an unknown may be 0
    listed = pa.array([label for label in asked.labels if label is not None], pa.string())
    wanted[:-1] = pc.is_in(names, value_set=listed).to_numpy(zero_copy_only=False)
    match = known & wanted[np.where(known, codes, -1)]
    found &= match | ~known if None in asked.labels else match


def _by_uri(block: Block, asked: Criteria, found: Mask) -> None:
    if asked.uri_prefix is not None:
        begins = pc.starts_with(block.column("uri"), pattern=asked.uri_prefix)
        found &= begins.to_numpy(zero_copy_only=False)


def _by_place(block: Block, asked: Criteria, found: Mask) -> None:
    if asked.bbox is None and asked.area is None:
        return
    found &= block.known("west")
    boxes = block.boxes()
    if asked.bbox is not None:
        found &= touching(boxes, asked.bbox)
    if asked.area is not None:
        left = np.flatnonzero(found)
        found[left] = asked.area.touching(boxes[left])


def days_of_year(times: Microseconds) -> NDArray[np.int64]:
    """(n,) 100 * month + day of each time."""
    return _by_day(times, _day_of_year)


def months_since_1970(times: Microseconds) -> NDArray[np.int64]:
    """(n,) 0 for January 1970."""
    return _by_day(times, lambda days: days.astype("datetime64[M]").astype(np.int64))


def _day_of_year(days: NDArray[np.datetime64]) -> NDArray[np.int64]:
    months = days.astype("datetime64[M]")
    day = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    return np.asarray(months.astype(np.int64) % 12 * 100 + 100 + day, np.int64)


def _by_day(
    times: Microseconds, of_days: Callable[[NDArray[np.datetime64]], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Of each time's day; the calendar is asked once for each day between the first and last."""
    days = times // DAY_US
    if not len(days):
        return days
    least, span = int(days.min()), int(days.max()) - int(days.min())
    if span >= max(len(days), _FEW_DAYS):
        return of_days(days.astype("datetime64[D]"))
    table = of_days(np.arange(least, least + span + 1).astype("datetime64[D]"))
    return np.asarray(table[days - least], np.int64)
