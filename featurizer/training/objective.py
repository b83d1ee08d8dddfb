"""What training asks of an embedding: the classes of each folder, and a teacher's likenesses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize


class CosineSoftmax(nn.Module):
    """Class scores of unit vectors: scale * cosine to each class's own vector.

    NormFace (Wang et al. 2017, arXiv:1704.06369, eq. 5) with a fixed scale and without its bias.
    """

    def __init__(self, dim: int, classes: int, scale: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, dim))
        self.scale = scale

    def forward(self, unit: Tensor) -> Tensor:  # (n, dim) -> (n, classes)
        scores: Tensor = self.scale * linear(unit, normalize(self.centres, dim=1))
        return scores


class Objective(nn.Module):
    """The training loss over embeddings of images from several folders.

    One cosine softmax a folder, so that "river" of one folder and "River" of another neither
    compete nor need a common vocabulary.  With a teacher, a linear map of the unit embedding must
    also point where the teacher's does: 1 - cosine, weighted; so that what the classes do not
    tell apart stays apart.
    """

    def __init__(
        self, dim: int, classes: Sequence[int], *, scale: float, smoothing: float, taught_dim: int
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(CosineSoftmax(dim, count, scale) for count in classes)
        self.smoothing = smoothing
        self.taught = nn.Linear(dim, taught_dim) if taught_dim else None

    def forward(
        self, vectors: Tensor, folder: Tensor, labels: Tensor, targets: Tensor, weight: float
    ) -> Tensor:
        """The mean loss, a scalar.

        ``vectors`` is (n, dim) of any length, ``folder`` and ``labels`` (n,), ``targets``
        (n, taught_dim), which no one reads where there is no teacher.
        """
        unit = normalize(vectors.float(), dim=1)
        total = unit.new_zeros(())
        for number, head in enumerate(self.heads):
            mine = folder == number
            if bool(mine.any()):
                total = total + cross_entropy(
                    head(unit[mine]), labels[mine], label_smoothing=self.smoothing, reduction="sum"
                )
        if self.taught is not None:
            towards = normalize(self.taught(unit), dim=1)
            total = total + weight * (1 - (towards * targets.float()).sum(1)).sum()
        return total / len(vectors)
