"""Training on disk: the checkpoint after each epoch, and the weights that come out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from featurizer.errors import StorageError, UsageError, WeightsError
from featurizer.terra import Terra128
from featurizer.training.loop import Training

# What may differ between a run and its resumption: the schedule is then the new one's.
FREE_SETTINGS = frozenset({"epochs"})


def save_checkpoint(path: Path, training: Training, settings: Mapping[str, Any]) -> None:
    """Puts all that a resumption needs at the path, in one rename."""
    state = {
        "network": training.network.state_dict(),
        "objective": training.objective.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        "targets": list(training.targets),
        "epoch": training.epoch,
        "seconds": training.seconds,
        "settings": dict(settings),
    }
    temporary = path.with_name(path.name + ".part")
    try:
        torch.save(state, temporary)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path}: the checkpoint could not be written ({error})") from error


def read_checkpoint(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The state that ``save_checkpoint`` wrote.

    Raises WeightsError where the file is none, UsageError where it belongs to other settings.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        theirs = dict(state["settings"])
    except (OSError, RuntimeError, UnpicklingError, KeyError, TypeError, EOFError) as error:
        raise WeightsError(
            f"{path}: not a checkpoint of this script ({str(error).splitlines()[0]});"
            " remove it, or leave out --resume"
        ) from error
    for key in sorted((set(settings) | set(theirs)) - FREE_SETTINGS):
        if settings.get(key) != theirs.get(key):
            raise UsageError(
                f"{path} was written with {key} {theirs.get(key)}, this run has"
                f" {settings.get(key)}; give the same, or leave out --resume to start over"
            )
    return state


def restore(training: Training, state: Mapping[str, Any]) -> None:
    """Puts the checkpoint's state into a training made with the same settings."""
    training.network.load_state_dict(state["network"])
    training.objective.load_state_dict(state["objective"])
    training.optimiser.load_state_dict(state["optimiser"])
    training.epoch = int(state["epoch"])
    training.seconds = float(state["seconds"])


def save_weights(path: Path, network: Terra128, metadata: Mapping[str, str]) -> None:
    """Puts the network at the path as safetensors, in one rename; floats as float16."""
    state: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        half = value.detach().cpu().half() if value.is_floating_point() else value.cpu()
        if half.is_floating_point() and not bool(half.isfinite().all()):
            raise WeightsError(f"{name} does not fit float16, so {path} was not written")
        state[name] = half.contiguous()
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(save(state, dict(metadata)))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path}: the weights could not be written ({error})") from error


def load_weights(path: Path) -> Terra128:
    """The network with the file's weights, float32, evaluation mode; WeightsError if unfit."""
    network = Terra128()
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: not Terra128 weights ({str(error).splitlines()[0]}); make them with"
            " python -m featurizer.training.terra128"
        ) from error
    return network.eval()
