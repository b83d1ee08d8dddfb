"""What a featurizer is, down to everything that changes a vector, and the fingerprint of that."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from featurizer.errors import ContractError, FingerprintError

Metric = Literal["cosine", "euclidean"]
ResizeRule = Literal["stretch", "crop"]
METRICS: tuple[Metric, ...] = ("cosine", "euclidean")
RESIZE_RULES: tuple[ResizeRule, ...] = ("stretch", "crop")

# Raised when a change of this code changes vectors that the other fields do not show.
PREPROCESSING = "rgb8-antialias-bilinear-1"


@dataclass(frozen=True, slots=True)
class FeaturizerSpec:
    """Everything that changes a vector.

    The arithmetic (float32, bfloat16, float16) is not part of it: it moves a vector by a cosine
    distance of about 1e-5, and an archive embedded on GPUs must be searchable from a laptop.
    """

    backbone: str
    layer: str
    weights_sha256: str
    input_px: int
    resize: ResizeRule
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dim: int
    metric: Metric
    projection_sha256: str | None = None
    preprocessing: str = PREPROCESSING

    @property
    def fingerprint(self) -> str:
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:20]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any], name: str) -> FeaturizerSpec:
        """The spec of such a record; ContractError, naming ``name``, when fields are off."""
        try:
            spec = cls(**{**record, "mean": tuple(record["mean"]), "std": tuple(record["std"])})
            if spec.metric not in METRICS or spec.resize not in RESIZE_RULES:
                raise ValueError(f"metric {spec.metric!r}, resize {spec.resize!r}")
            return spec
        except (TypeError, KeyError, ValueError) as error:
            raise ContractError(
                f"{name}: not a featurizer's spec ({error}); it was written by another version"
            ) from error


def require_same(ours: FeaturizerSpec, theirs: FeaturizerSpec, place: str) -> None:
    """FingerprintError naming both sides and what differs, unless both are one featurizer."""
    if ours.fingerprint == theirs.fingerprint:
        return
    mine, other = ours.to_json(), theirs.to_json()
    differing = ", ".join(
        f"{key} {other[key]!r} there and {mine[key]!r} here"
        for key in mine
        if mine[key] != other[key]
    )
    raise FingerprintError(
        f"{place} was embedded by featurizer {theirs.fingerprint}, but this is "
        f"{ours.fingerprint} ({differing}): give the options it was embedded with, or embed again "
        "into another root"
    )
