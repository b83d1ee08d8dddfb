"""Weights from files: safetensors or a PyTorch state dict, never a pickle that runs code."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from featurizer.errors import WeightsError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = re.compile(r"(?:module\.|_orig_mod\.)*")

# What a torch.export archive of tensors alone holds beside its weights_config and sample_inputs.
_PLAIN_ENTRY = re.compile(
    r"[^/]+/(?:data/(?:weights/weight|constants/tensor)_[0-9]+|models/model\.json"
    r"|archive_format|archive_version|byteorder|\.data/[a-z_]+)"
)
# What torch.load and zipfile raise for bytes that are not weights.
_MALFORMED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    safetensors.SafetensorError,
    *(RuntimeError, OSError, EOFError, ValueError, TypeError, AssertionError),
    *(LookupError, AttributeError),
)


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a pickle that is then refused
            state = torch.load(file, map_location="cpu", weights_only=True)
    except _MALFORMED as error:
        raise WeightsError(_unreadable(file, error)) from error
    return _unwrapped(state, file)


def _unreadable(file: Path, error: BaseException) -> str:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"{file}: not readable as weights alone ({first[:200]}): save `model.state_dict()` with "
        "torch.save, or as safetensors"
    )


def _unwrapped(state: object, file: Path) -> dict[str, Tensor]:
    while isinstance(state, Mapping):
        inner = next((k for k in _WRAPPERS if isinstance(state.get(k), Mapping)), None)
        if inner is None:
            break
        state = state[inner]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(
            f"{file}: holds {type(state).__name__}, not a state dict of tensors: save "
            "`model.state_dict()`"
        )
    return {_PREFIXES.sub("", str(name), count=1): value for name, value in state.items()}


def refuse_pickles(file: Path) -> None:
    """WeightsError unless a torch.export archive (``.pt2``) holds no pickled objects.

    ``torch.export.load`` unpickles weights and constants without ``weights_only``.  What remains
    is the exported graph itself, which is a program: only those of a known origin may be loaded.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                _refuse_pickle(name, archive)
    except _MALFORMED as error:
        raise WeightsError(
            f"{file}: not a torch.export archive of tensors alone "
            f"({(str(error).splitlines() or [type(error).__name__])[0][:200]}): write one with "
            "torch.export.save, with a dynamic batch dimension"
        ) from error


def _refuse_pickle(name: str, archive: zipfile.ZipFile) -> None:
    if name.endswith("_config.json"):
        payloads = json.loads(archive.read(name))["config"].values()
        if any(payload["use_pickle"] for payload in payloads):
            raise ValueError(f"{name} names pickled objects")
    elif name.endswith("/data/sample_inputs/model.pt"):
        torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
    elif not _PLAIN_ENTRY.fullmatch(name):
        raise ValueError(f"{name} is none of its parts")


def write_state(state: Mapping[str, Tensor]) -> bytes:
    """The state as safetensors bytes, in a fixed order."""
    return bytes(safetensors.torch.save({name: state[name].contiguous() for name in sorted(state)}))


def fit(module: nn.Module, state: Mapping[str, Tensor], ignore: str | None, place: str) -> None:
    """Loads ``state`` into ``module`` strictly, but for names under ``ignore`` (a removed head).

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
