"""Weights from files: safetensors or a PyTorch state dict, never a pickle that runs code."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from featurizer.errors import WeightsError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Parameters and buffers by name, on the CPU.

    Wrappings that training code adds are taken off: an outer ``state_dict`` or ``model`` key, a
    ``module.`` prefix (DistributedDataParallel), ``_orig_mod.`` (torch.compile).  WeightsError for
    a file that is missing, unreadable, or holds objects other than tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"{file}: no such weights file")
    try:
        if file.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(file))
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise WeightsError(_unreadable(file, error)) from error
    except safetensors.SafetensorError as error:
        raise WeightsError(_unreadable(file, error)) from error
    return _unwrapped(state, file)


def _unreadable(file: Path, error: BaseException) -> str:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"{file}: not readable as weights alone ({first[:200]}): save `model.state_dict()` with "
        "torch.save, or as safetensors"
    )


def _unwrapped(state: object, file: Path) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(
            f"{file}: holds {type(state).__name__}, not a state dict of tensors: save "
            "`model.state_dict()`"
        )
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        for prefix in _PREFIXES:
            name = str(name).removeprefix(prefix)  # noqa: PLW2901
        plain[name] = value
    return plain


def write_state(state: Mapping[str, Tensor]) -> bytes:
    """The state as safetensors bytes, in a fixed order."""
    return bytes(safetensors.torch.save({name: state[name].contiguous() for name in sorted(state)}))


def fit(module: nn.Module, state: Mapping[str, Tensor], ignore: str | None, place: str) -> None:
    """Loads ``state`` into ``module`` strictly; names under ``ignore`` (a removed head) are left out.

    WeightsError that names the first tensors that are missing, unexpected or of another shape.
    """
    kept = {
        name: value
        for name, value in state.items()
        if ignore is None or not name.startswith(f"{ignore}.")
    }
    ours = module.state_dict()
    missing = [n for n in ours if n not in kept and not n.endswith("num_batches_tracked")]
    surplus = [n for n in kept if n not in ours]
    shapes = [
        f"{n} {tuple(kept[n].shape)} for {tuple(ours[n].shape)}"
        for n in ours
        if n in kept and kept[n].shape != ours[n].shape
    ]
    faults = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unexpected", surplus), ("misshapen", shapes))
        if names
    ]
    if faults:
        raise WeightsError(
            f"{place}: weights of another architecture: {'; '.join(faults)}; name the "
            "architecture they were trained with by --backbone"
        )
    module.load_state_dict({n: v.to(ours[n].dtype) for n, v in kept.items()}, strict=False)


def digest(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, dtypes, shapes and values: the same for every container format."""
    total = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        total.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
