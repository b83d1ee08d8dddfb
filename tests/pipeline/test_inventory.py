"""Shards add up to an inventory, unless too much was rejected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from featurizer.errors import RejectShareError, SourceError
from pipeline.inventory import ShardDone, inventory_of
from tests.pipeline.imagery import a_job

JOB = a_job("/in", "/out")


def done(index: int, rows: int, **rejects: int) -> ShardDone:
    return ShardDone(index, f"s{index}", rows, f"m{index}", rejects, 2, 100)


def test_shards_stand_in_the_order_of_their_plan_and_totals_add_up():
    made = inventory_of([done(2, 5), done(0, 30, corrupt=1), done(1, 20, corrupt=1, empty=2)], JOB)
    assert [shard.name for shard in made.shards] == ["s0", "s1", "s2"]
    assert [shard.marker_sha256 for shard in made.shards] == ["m0", "m1", "m2"]
    assert made.rows == 55
    assert made.rejects == {"corrupt": 2, "empty": 2}
    assert (made.dropped_null, made.source_bytes) == (6, 300)
    assert (made.source, made.featurizer) == ("/in", JOB.featurizer)


def test_a_shard_without_rows_is_left_out_but_counts():
    made = inventory_of([done(0, 0, corrupt=1), done(1, 20)], JOB)
    assert [shard.name for shard in made.shards] == ["s1"]
    assert made.rejects == {"corrupt": 1}


@pytest.mark.parametrize(
    ("rejected", "share", "fails"),
    [(1, 0.1, False), (2, 0.1, True), (1, 0.0, True), (0, 0.0, False), (9, 0.5, False)],
)
def test_the_share_of_rejects_is_a_limit(rejected, share, fails):
    shards = [done(0, 9, corrupt=rejected)]
    job = replace(JOB, max_reject_share=share)
    if not fails:
        assert inventory_of(shards, job).rows == 9
        return
    with pytest.raises(RejectShareError) as caught:
        inventory_of(shards, job)
    for part in (f"{rejected} of {9 + rejected}", "corrupt", "--max-reject-share", "rejects.par"):
        assert part in str(caught.value)


def test_null_imagery_is_no_failure():
    made = inventory_of([done(0, 1, null=50)], replace(JOB, max_reject_share=0.0))
    assert made.rejects == {"null": 50}


@pytest.mark.parametrize("shards", [[], [done(0, 0)], [done(0, 0, corrupt=3)]])
def test_nothing_embedded_says_what_became_of_the_inputs(shards):
    with pytest.raises(SourceError, match=r"nothing to embed.*rejected.*--max-null"):
        inventory_of(shards, replace(JOB, max_reject_share=1.0))
