"""What a server searches and how well it does, as ``GET /v1/stats`` tells it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from featurizer import storage
from featurizer.errors import ContractError
from featurizer.manifest import evaluation_path
from serving.models.answers import (
    FeaturizerOut,
    IndexOut,
    LimitsOut,
    LiveRecallOut,
    RefusedOut,
    StatsOut,
)

if TYPE_CHECKING:
    from serving.service import SearchService
    from serving.settings import Settings


def stats_of(
    service: SearchService, live_recall: LiveRecallOut | None, refused: RefusedOut | None
) -> StatsOut:
    """All figures of a service that are at hand: nothing is read or measured."""
    generation = service.engine.generation
    spec, index = generation.featurizer, generation.index
    return StatsOut(
        name=str(service.settings.root).rstrip("/").rsplit("/", 1)[-1],
        generation=service.engine.name,
        loaded=service.loaded,
        rows=generation.rows - service.removed,
        shards=len(generation.shards),
        removed=service.removed,
        featurizer=FeaturizerOut(
            backbone=spec.backbone,
            layer=spec.layer,
            dim=spec.dim,
            metric=spec.metric,
            input_px=spec.input_px,
            fingerprint=spec.fingerprint,
        ),
        index=IndexOut(
            factory=index.factory,
            nlist=index.nlist,
            nprobe=index.nprobe,
            rerank_factor=index.rerank_factor,
        ),
        limits=limits_of(service.settings),
        evaluation=service.evaluation,
        live_recall=live_recall,
        refused=refused,
    )


def limits_of(settings: Settings) -> LimitsOut:
    return LimitsOut(**{name: getattr(settings, name) for name in LimitsOut.model_fields})


def read_evaluation(root: str, generation: str) -> dict[str, Any] | None:
    """What was measured of this generation; None where nobody has measured."""
    place = evaluation_path(root, generation)
    if not storage.exists(place):
        return None
    try:
        record = json.loads(storage.read_bytes(place))
    except ValueError as error:
        raise ContractError(
            f"{place}: not JSON ({error}); run `python -m serving evaluate {root}` again"
        ) from error
    if not isinstance(record, dict):
        raise ContractError(f"{place}: not an evaluation; run `python -m serving evaluate {root}`")
    return record
