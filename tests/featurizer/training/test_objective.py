"""The loss against loops over its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from featurizer.training.objective import CosineSoftmax, Objective


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def slow_cross_entropy(scores: list[float], label: int, smoothing: float) -> float:
    """- sum over classes of target * log(softmax), targets smoothed evenly over all classes."""
    total = math.log(sum(math.exp(score) for score in scores))
    even = smoothing / len(scores)
    targets = [even + (1 - smoothing if i == label else 0) for i in range(len(scores))]
    return -sum(t * (score - total) for t, score in zip(targets, scores, strict=True))


def test_the_loss_is_its_formula() -> None:
    torch.manual_seed(0)
    objective = Objective(6, [3, 2], scale=16.0, smoothing=0.1, taught_dim=4)
    vectors = torch.randn(5, 6) * 7
    folder = torch.tensor([0, 1, 0, 1, 1])
    labels = torch.tensor([2, 0, 1, 1, 0])
    targets = torch.nn.functional.normalize(torch.randn(5, 4), dim=1)
    total = 0.0
    for row in range(5):
        e = unit(vectors[row].numpy())
        head = objective.heads[int(folder[row])]
        scores = [16.0 * float(unit(c) @ e) for c in head.centres.detach().numpy()]
        total += slow_cross_entropy(scores, int(labels[row]), 0.1)
        weight = objective.taught.weight.detach().numpy()
        towards = unit(weight @ e + objective.taught.bias.detach().numpy())
        total += 2.0 * (1 - float(towards @ targets[row].numpy()))
    loss = objective(vectors, folder, labels, targets, 2.0)
    assert float(loss.detach()) == pytest.approx(total / 5, rel=1e-4)


def test_without_a_teacher_its_weight_means_nothing() -> None:
    torch.manual_seed(0)
    objective = Objective(6, [3], scale=16.0, smoothing=0.1, taught_dim=0)
    labels, none = torch.tensor([0, 2]), torch.zeros(2, 0)
    vectors = torch.randn(2, 6)
    one, two = (objective(vectors, labels * 0, labels, none, weight) for weight in (0.0, 9.0))
    assert float(one.detach()) == float(two.detach())


def test_a_folder_that_is_not_in_the_batch_gets_no_gradient() -> None:
    objective = Objective(6, [3, 2], scale=16.0, smoothing=0.0, taught_dim=0)
    labels = torch.tensor([0, 2])
    objective(torch.randn(2, 6), labels * 0, labels, torch.zeros(2, 0), 0.0).backward()
    assert objective.heads[0].centres.grad is not None
    assert objective.heads[1].centres.grad is None


def test_scores_are_scaled_cosines() -> None:
    head = CosineSoftmax(6, 4, scale=20.0)
    scores = head(torch.nn.functional.normalize(head.centres.detach(), dim=1))
    torch.testing.assert_close(scores.diagonal(), torch.full((4,), 20.0))
    assert scores.abs().max() <= 20.001
