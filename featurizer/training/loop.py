"""The training loop: batches, schedule, steps and the checkpoint after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from featurizer.errors import WeightsError
from featurizer.terra import DIM, MEAN, STD, Terra128
from featurizer.training.augment import Augmentation, views
from featurizer.training.folders import LabelledFolder
from featurizer.training.objective import Objective

Targets = Sequence[Tensor]  # one (n, taught_dim) a folder; taught_dim 0 without a teacher


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the weights, but for the data."""

    epochs: int = 12
    seed: int = 0
    batch: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warm_up: float = 0.05  # share of all steps
    scale: float = 16.0
    smoothing: float = 0.1
    balance: float = 0.3  # a folder's share of a batch goes with size**balance
    teacher_weight: float = 2.0
    sides_px: tuple[tuple[float, tuple[int, ...]], ...] = (  # until this progress, these sides
        (0.5, (64, 80)),
        (0.8, (96, 112)),
        (1.0, (128,)),
    )
    augmentation: Augmentation = field(default_factory=Augmentation)

    def learning_rate_at(self, progress: float) -> float:
        """Linear warm-up, then a half cosine to zero; progress in 0..1."""
        if progress < self.warm_up:
            return self.learning_rate * progress / self.warm_up
        rest = (progress - self.warm_up) / (1 - self.warm_up)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * rest))

    def side_at(self, progress: float, rng: np.random.Generator) -> int:
        """The side in pixels of one batch: small first (cheap), the real size last."""
        sides = next((s for until, s in self.sides_px if progress < until), self.sides_px[-1][1])
        return int(rng.choice(sides))


@dataclass(slots=True)
class Training:
    """The moving parts; ``epoch`` counts the finished ones, ``seconds`` the time they took."""

    network: Terra128
    objective: Objective
    optimiser: torch.optim.Optimizer
    targets: Targets
    epoch: int = 0
    seconds: float = 0.0


def new_training(
    folders: Sequence[LabelledFolder], targets: Targets, recipe: Recipe, device: torch.device
) -> Training:
    """A training at its start; the recipe's seed decides the first weights."""
    torch.manual_seed(recipe.seed)
    network = Terra128().to(device).to(memory_format=torch.channels_last)
    objective = Objective(
        DIM,
        [len(folder.classes) for folder in folders],
        scale=recipe.scale,
        smoothing=recipe.smoothing,
        taught_dim=targets[0].shape[1],
    ).to(device)
    parameters = [*network.parameters(), *objective.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return Training(network, objective, torch.optim.AdamW(groups), targets)


def normalised(pixels: Tensor, device: torch.device) -> Tensor:
    """(n, 3, h, w) uint8 -> float32 on the device, as Terra128 takes it."""
    mean = torch.tensor(MEAN, device=device).view(3, 1, 1)
    std = torch.tensor(STD, device=device).view(3, 1, 1)
    return (pixels.to(device) / 255 - mean) / std


def draw_batches(
    sizes: Sequence[int], steps: int, batch: int, balance: float, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """``steps`` times (folder of each image, its position among that folder's training rows).

    Inside a folder every image is drawn once before any is drawn again.
    """
    shares = np.asarray(sizes, float) ** balance
    folder = rng.choice(len(sizes), size=(steps, batch), p=shares / shares.sum())
    position = np.empty_like(folder)
    for number, size in enumerate(sizes):
        wanted = int((folder == number).sum())
        rounds = [rng.permutation(size) for _ in range(-(-wanted // size))]
        position[folder == number] = np.concatenate([*rounds, np.empty(0, np.int64)])[:wanted]
    yield from zip(folder, position, strict=True)


def train(
    training: Training,
    folders: Sequence[LabelledFolder],
    recipe: Recipe,
    device: torch.device,
    after_epoch: Callable[[Training], None],
) -> None:
    """Trains the epochs that are left, calling ``after_epoch`` at the end of each.

    An epoch's randomness follows from the seed and its number alone, so a resumed run sees the
    batches that an undisturbed one sees.
    """
    rows = [folder.rows(held=False) for folder in folders]
    steps = max(1, sum(map(len, rows)) // recipe.batch)
    for epoch in range(training.epoch, recipe.epochs):
        start, losses = time.monotonic(), []
        rng = np.random.default_rng((recipe.seed, epoch))
        plan = draw_batches([len(r) for r in rows], steps, recipe.batch, recipe.balance, rng)
        label = f"epoch {epoch + 1}/{recipe.epochs}"
        bar = tqdm(plan, total=steps, desc=label, unit="batch", mininterval=10)
        training.network.train()
        for step, (folder, position) in enumerate(bar):
            progress = (epoch * steps + step) / (recipe.epochs * steps)
            which = [(f, rows[f][p]) for f, p in zip(folder, position, strict=True)]
            pixels = _views(folders, which, recipe.side_at(progress, rng), rng, recipe.augmentation)
            losses.append(_step(training, folders, which, pixels, recipe, progress, device))
            if step % 20 == 0:
                bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
        training.epoch = epoch + 1
        training.seconds += time.monotonic() - start
        tqdm.write(f"{label}: mean loss {np.mean(losses):.4f}", file=bar.fp)
        after_epoch(training)


Which = Sequence[tuple[int, int]]  # (folder, row) of each image of a batch


def _views(
    folders: Sequence[LabelledFolder],
    which: Which,
    px: int,
    rng: np.random.Generator,
    how: Augmentation,
) -> Tensor:
    out = torch.empty((len(which), 3, px, px), dtype=torch.uint8)
    out = out.contiguous(memory_format=torch.channels_last)
    for number, folder in enumerate(folders):
        mine = [i for i, (f, _) in enumerate(which) if f == number]
        if mine:
            images = folder.batch([which[i][1] for i in mine])
            out[mine] = views(images, px, rng, how)
    return out


def _step(
    training: Training,
    folders: Sequence[LabelledFolder],
    which: Which,
    pixels: Tensor,
    recipe: Recipe,
    progress: float,
    device: torch.device,
) -> float:
    """One step of the optimiser; the loss before it."""
    for group in training.optimiser.param_groups:
        group["lr"] = recipe.learning_rate_at(progress)
    labels = torch.stack([folders[f].labels[row] for f, row in which]).to(device)
    targets = torch.stack([training.targets[f][row] for f, row in which]).to(device)
    folder = torch.tensor([f for f, _ in which], device=device)
    with torch.autocast(device.type, torch.bfloat16):
        vectors = training.network(normalised(pixels, device))
    loss: Tensor = training.objective(vectors, folder, labels, targets, recipe.teacher_weight)
    training.optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(training.network.parameters(), 5.0)
    training.optimiser.step()
    value = float(loss.detach())
    if not math.isfinite(value):
        raise WeightsError(
            f"training diverged: the loss is {value} at {progress:.0%}; lower --learning-rate"
            f" (now {recipe.learning_rate})"
        )
    return value
