"""Shard boundaries and names: bounded, stable, and local to what changed."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.plan import Item, ShardPlan, plan_shards, shard_name, slices


def items(count: int, salt: int = 0) -> list[Item]:
    return [Item(f"/data/{i % 7}/{i:06d}.jpg", 1000 + i, f"{salt}-{i:x}") for i in range(count)]


bounded = settings(max_examples=40, deadline=None)  # the machine may be busy
bounds = st.tuples(*[st.floats(-90, 90)] * 4)
one_item = st.builds(
    Item,
    uri=st.text(min_size=1),
    size=st.integers(0, 2**60),
    etag=st.text(),
    kind=st.sampled_from(["image", "scene", "windows"]),
    label=st.none() | st.text(),
    taken=st.none() | st.datetimes(timezones=st.just(UTC)),
    bounds=st.none() | bounds,
    start=st.just(0),
    stop=st.integers(1, 300),
)


@bounded
@given(st.lists(one_item, max_size=30), st.integers(1, 2000))
def test_every_row_is_in_one_shard_in_order_and_no_shard_is_too_large(given_items, target):
    plans = list(plan_shards(given_items, target, "s"))
    assert [plan.index for plan in plans] == list(range(len(plans)))
    assert all(1 <= plan.rows <= target for plan in plans)
    planned = [item for plan in plans for item in plan.items]
    assert planned == list(slices(given_items, target))


@bounded
@given(st.integers(1, 3000), st.integers(1, 400))
def test_only_the_last_shard_may_be_under_a_quarter(count, target):
    plans = list(plan_shards(items(count), target, "s"))
    assert all(4 * plan.rows >= target for plan in plans[:-1])


@bounded
@given(one_item, st.integers(1, 700))
def test_a_large_raster_is_cut_into_slices_that_meet(item, target):
    cut = list(slices([item], target))
    assert cut[0].start == 0
    assert cut[-1].stop == item.stop
    assert all(a.stop == b.start for a, b in pairwise(cut))
    assert all(1 <= one.rows <= target for one in cut)
    assert {replace(one, start=0, stop=item.stop) for one in cut} == {item}


@bounded
@given(st.lists(one_item, max_size=8))
def test_a_plan_survives_encoding(given_items):
    plan = ShardPlan(shard_name(given_items, "s"), 3, tuple(given_items))
    assert ShardPlan.decode(plan.encode()) == plan
    assert plan.encode() == ShardPlan.decode(plan.encode()).encode()


def test_a_plan_takes_few_bytes_through_a_shuffle():
    plan = next(plan_shards(items(4096), 4096, "s"))
    assert len(plan.encode()) < 30 * plan.rows


def test_the_same_inputs_have_the_same_names():
    first, second = ([p.name for p in plan_shards(items(500), 32, "s")] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)


A = Item(
    "/a/b.png", 9, "e", "windows", "x", datetime(2024, 5, 1, tzinfo=UTC), (1.0, 2.0, 3.0, 4.0), 2, 9
)
CHANGES = {
    "uri": "/a/c.png",
    "size": 10,
    "etag": "f",
    "kind": "scene",
    "label": None,
    "taken": datetime(2024, 5, 2, tzinfo=UTC),
    "bounds": (1.0, 2.0, 3.0, 5.0),
    "start": 3,
    "stop": 8,
}


@pytest.mark.parametrize("field", Item.__slots__)
def test_any_field_of_an_item_changes_the_name(field):
    changed = replace(A, **{field: CHANGES[field]})
    assert shard_name([changed], "s") != shard_name([A], "s")


def test_settings_and_order_change_the_name():
    names = {shard_name([A], "s"), shard_name([A], "t"), shard_name([A, A], "s")}
    b = replace(A, uri="/b")
    assert len(names | {shard_name([A, b], "s"), shard_name([b, A], "s")}) == 5


def test_a_time_in_another_zone_comes_back_as_the_same_moment():
    east = datetime(2024, 5, 1, 3, tzinfo=timezone(timedelta(hours=3)))
    plan = ShardPlan("n", 0, (replace(A, taken=east),))
    assert ShardPlan.decode(plan.encode()).items[0].taken == A.taken


@pytest.mark.parametrize("target", [32, 128])
def test_one_input_more_or_less_leaves_the_other_shards_alone(target):
    base = items(40 * target)
    before = {plan.name for plan in plan_shards(base, target, "s")}
    rng = random.Random(1)
    new = []
    for turn in range(40):
        at = rng.randrange(len(base))
        one = [Item(f"/new/{turn}.jpg", 5, "z")]
        changed = base[:at] + (one + base[at:] if turn % 2 else base[at + 1 :])
        new.append(len({plan.name for plan in plan_shards(changed, target, "s")} - before))
    assert len(before) > 50
    assert max(new) <= 4  # boundaries meet again soon, not always at once
    assert sum(count <= 2 for count in new) >= 0.8 * len(new)


def test_shards_are_about_half_full():
    plans = list(plan_shards(items(40_000), 400, "s"))
    assert 0.4 < 40_000 / len(plans) / 400 < 0.7
