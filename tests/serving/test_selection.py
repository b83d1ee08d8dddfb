"""Sets of rows as bitmaps, and which of them are kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.filters import Filter
from serving.engine.selection import (
    Selection,
    Selections,
    count_of,
    ids_of,
    occupied,
    put,
    select,
    taken,
)
from tests.serving.places import opened_rows, passes, placed_rows


def selection_of(mask: np.ndarray) -> Selection:
    return Selection(np.packbits(mask, bitorder="little"), int(mask.sum()))


@given(st.lists(st.lists(st.booleans(), max_size=40), max_size=6))
def test_bits_put_in_parts_are_those_of_the_whole(parts):
    whole = np.array([bit for part in parts for bit in part], np.bool_)
    bits, first = np.zeros((len(whole) + 7) // 8, np.uint8), 0
    for part in parts:
        put(bits, first, np.array(part, np.bool_))
        first += len(part)
    assert bits.tolist() == np.packbits(whole, bitorder="little").tolist()
    assert ids_of(bits).tolist() == np.flatnonzero(whole).tolist()
    assert count_of(bits) == whole.sum()
    first = 0
    for part in parts:
        assert taken(bits, first, len(part)).tolist() == part
        first += len(part)


@given(st.lists(st.booleans(), min_size=1, max_size=70), st.data())
def test_a_selection_holds_its_ids_and_no_other(mask, data):
    chosen = selection_of(np.array(mask, np.bool_))
    asked = np.array(
        data.draw(st.lists(st.integers(-1, len(mask) - 1), min_size=2, max_size=12)), np.int64
    )
    wanted = [row >= 0 and mask[row] for row in asked]
    assert chosen.holds(asked).tolist() == wanted
    assert chosen.holds(asked[:2, None]).tolist() == [[each] for each in wanted[:2]]
    assert chosen.ids().tolist() == np.flatnonzero(mask).tolist()
    assert chosen.ids() is chosen.ids()


def test_a_big_selection_keeps_no_ids():
    chosen = selection_of(np.ones(300_001, np.bool_))
    assert len(chosen.ids()) == 300_001
    assert chosen.nbytes == chosen.bits.nbytes == 37_501
    assert chosen.ids() is not chosen.ids()


def test_removed_rows_are_never_selected(tmp_path):
    rows = placed_rows(101)
    opened = opened_rows(tmp_path, rows, [40, 61])
    removed = np.array([0, 7, 8, 64, 100])
    for wanted in (Filter(), Filter(labels=("coast", None))):
        left = [i for i, row in enumerate(rows) if passes(row, wanted) and i not in removed]
        found = select(opened, wanted, removed)
        assert found.ids().tolist() == left
        assert (found.count, found.bits.size) == (len(left), 13)


def test_only_blocks_with_selected_rows_are_read(tmp_path):
    opened = opened_rows(tmp_path, placed_rows(100), [33, 67], block_rows=10)
    sizes = opened.zones["rows"].tolist()
    assert sizes == [10, 10, 10, 3, *[10] * 6, 7]
    block = np.repeat(np.arange(len(sizes)), sizes)
    for row in range(100):
        mask = np.zeros(100, np.bool_)
        mask[row] = True
        read = occupied(opened.zones, selection_of(mask))
        assert read[block[row]]
        assert read.sum() <= 2  # a byte of the bitmap may belong to two blocks


def counted(count: int) -> Selection:
    return selection_of(np.arange(1 << 13) < count)


def test_the_least_recently_asked_is_dropped_first():
    made = []

    def make(wanted: Filter) -> Selection:
        made.append(wanted.uri_prefix)
        return counted(1)

    room = 2 * (counted(1).nbytes + Filter(uri_prefix="a").nbytes)
    kept = Selections(make, room)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert kept.of(Filter(uri_prefix=name)).count == 1
    assert made == ["a", "b", "c", "b"]
    big = Selections(make, 1)  # one is kept even where there is no room for it
    assert big.of(Filter(uri_prefix="d")) is big.of(Filter(uri_prefix="d"))


def test_equal_filters_share_one_selection():
    kept = Selections(lambda wanted: counted(3), 1 << 20)
    first = Filter(start=datetime(2021, 1, 1, tzinfo=UTC), labels=("a", None))
    again = Filter(start=datetime(2021, 1, 1, tzinfo=UTC), labels=("a", None))
    assert kept.of(first) is kept.of(again)


def test_threads_that_ask_for_the_same_wait_for_one():
    started, go, made = threading.Event(), threading.Event(), []

    def make(wanted: Filter) -> Selection:
        made.append(wanted)
        started.set()
        assert go.wait(10)
        return counted(2)

    kept = Selections(make, 1 << 20)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(kept.of, Filter(uri_prefix="a")) for _ in range(4)]
        assert started.wait(10)
        go.set()
        assert len({id(each.result()) for each in asked}) == 1
    assert len(made) == 1


def test_a_failure_is_not_kept():
    answers = iter([OSError("disk"), counted(2)])

    def make(wanted: Filter) -> Selection:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    kept = Selections(make, 1 << 20)
    with pytest.raises(OSError, match="disk"):
        kept.of(Filter())
    assert kept.of(Filter()).count == 2
