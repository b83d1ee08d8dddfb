"""Principal component projection of features to fewer dimensions, fitted on a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from featurizer.errors import UsageError, WeightsError
from featurizer.storage import sha256


@dataclass(frozen=True, slots=True)
class Projection:
    """``(x - mean) @ components``: mean (d,), components (d, k), both float32."""

    mean: NDArray[np.float32]
    components: NDArray[np.float32]

    @property
    def dims(self) -> tuple[int, int]:
        return int(self.components.shape[0]), int(self.components.shape[1])

    @property
    def sha256(self) -> str:
        return sha256(self.to_bytes())

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, d) -> (n, k)."""
        return np.asarray((features - self.mean) @ self.components, np.float32)

    def to_bytes(self) -> bytes:
        tensors = {"mean": self.mean, "components": np.ascontiguousarray(self.components)}
        return bytes(safetensors.numpy.save(tensors))

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Projection:
        try:
            tensors = safetensors.numpy.load(data)
            mean, components = tensors["mean"], tensors["components"]
        except (safetensors.SafetensorError, KeyError) as error:
            raise WeightsError(
                f"{place}: not a projection ({error}): make one with "
                "`python -m featurizer fit-projection`"
            ) from error
        if components.ndim != 2 or mean.shape != components.shape[:1]:
            raise WeightsError(f"{place}: mean {mean.shape} and components {components.shape}")
        return cls(mean.astype(np.float32), components.astype(np.float32))


def fit_pca(features: NDArray[np.float32], dim: int) -> Projection:
    """The ``dim`` directions of largest variance of (n, d) features, each with a fixed sign.

    Through the smaller of the (n, n) and (d, d) Gram matrices, so that 25,088 features of a
    thousand images need no (d, d) matrix.  UsageError when n or d is too small for ``dim``.
    """
    count, width = features.shape
    if not 0 < dim <= min(count - 1, width):
        raise UsageError(
            f"a projection to {dim} dimensions needs more than {dim} images and at least {dim} "
            f"features: have {count} and {width}"
        )
    mean = features.mean(axis=0, dtype=np.float64)
    centred = features.astype(np.float64) - mean
    if count < width:
        values, left = np.linalg.eigh(centred @ centred.T)
        top = np.argsort(values)[::-1][:dim]
        directions = centred.T @ left[:, top]
    else:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        top = np.argsort(values)[::-1][:dim]
        directions = vectors[:, top]
    varying = int((values > values.max() * 1e-12).sum())
    if varying < dim:
        raise UsageError(
            f"a projection to {dim} dimensions needs pictures that differ in as many: these "
            f"{count} differ in {varying}; take more of them or a smaller --dim"
        )
    directions /= np.linalg.norm(directions, axis=0)
    # An eigenvector's sign is arbitrary: the largest entry is made positive.
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(dim)])
    return Projection(mean.astype(np.float32), (directions * signs).astype(np.float32))
