"""What an embed job made, added up; and whether too much of it was rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from featurizer.errors import RejectShareError, SourceError
from featurizer.manifest import Inventory, InventoryShard
from pipeline.config import EmbedJob


@dataclass(frozen=True, slots=True)
class ShardDone:
    """One complete shard, as it travels to the inventory."""

    index: int
    name: str
    rows: int
    marker_sha256: str
    rejects: dict[str, int]
    dropped_null: int
    source_bytes: int


def inventory_of(done: Iterable[ShardDone], job: EmbedJob) -> Inventory:
    """The inventory of these shards, in the order of their plan; empty shards are left out of it.

    RejectShareError when more than ``job.max_reject_share`` of all inputs were rejected;
    SourceError when nothing was embedded.
    """
    ordered = sorted(done, key=lambda shard: shard.index)
    rejects: Counter[str] = Counter()
    for shard in ordered:
        rejects.update(shard.rejects)
    rows = sum(shard.rows for shard in ordered)
    dropped = sum(shard.dropped_null for shard in ordered)
    _check_share(rows, rejects, job)
    if not rows:
        raise SourceError(
            f"{job.source.uri}: nothing to embed: {rejects.total()} inputs were rejected (see "
            f"rejects.parquet in {job.root}/shards/*), {dropped} windows were more than "
            f"{job.source.tiling.max_null:.0%} null (raise --max-null to keep such windows)"
        )
    return Inventory(
        source=job.source.uri,
        featurizer=job.featurizer,
        shards=tuple(
            InventoryShard(shard.name, shard.rows, shard.marker_sha256)
            for shard in ordered
            if shard.rows
        ),
        rejects=dict(sorted(rejects.items())),
        dropped_null=dropped,
        source_bytes=sum(shard.source_bytes for shard in ordered),
    )


def _check_share(rows: int, rejects: Counter[str], job: EmbedJob) -> None:
    # Null imagery is left out by the user's own --max-null: it is no sign of a failing job.
    rejected = rejects.total() - rejects["null"]
    share = rejected / max(1, rows + rejected)
    if share <= job.max_reject_share:
        return
    counted = [(reason, count) for reason, count in rejects.most_common() if reason != "null"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in counted)
    raise RejectShareError(
        f"{job.source.uri}: {rejected} of {rows + rejected} inputs were rejected ({reasons}): "
        f"{share:.1%} is more than --max-reject-share {job.max_reject_share:.1%}; see "
        f"rejects.parquet in {job.root}/shards/*, mend them, or allow more"
    )
