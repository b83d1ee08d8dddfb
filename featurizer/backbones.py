"""Networks that turn normalised pixels into features, and where their weights come from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from featurizer import checkpoint, storage, terra
from featurizer.errors import UsageError, WeightsError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TERRA, EXPORTED, PENULTIMATE = "terra128", "exported", "penultimate"
BUNDLED_TERRA = Path(__file__).parent / "weights" / "terra128.safetensors"

# What torchvision's families call their classification head.
_HEADS = ("fc", "classifier", "heads", "head")


@dataclass(frozen=True, slots=True)
class BackboneRequest:
    """What the user asked for.

    ``weights``: None for the default (bundled, or torchvision's download), a file, or
    ``random:SEED`` (for tests and as a floor in comparisons).  ``layer``: ``penultimate`` or a
    node name of ``torchvision.models.feature_extraction``.
    """

    name: str = TERRA
    weights: str | None = None
    layer: str = PENULTIMATE
    input_px: int | None = None


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network in eval mode: (n, 3, input_px, input_px) float -> (n, d) float.

    ``weights_bytes`` is what reloads it (safetensors, or a ``.pt2`` archive) and ``sha256`` its
    checksum in the fingerprint.
    """

    name: str
    layer: str
    module: nn.Module
    input_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    sha256: str
    weights_bytes: bytes


class _Pooled(nn.Module):
    """Features averaged over their map, or flattened where they have none."""

    def __init__(self, trunk: nn.Module, node: str) -> None:
        super().__init__()
        self.trunk, self.node = trunk, node

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.trunk(pixels)[self.node]
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features.flatten(1)


def names() -> list[str]:
    return [TERRA, EXPORTED, *models.list_models(module=models)]


def build(request: BackboneRequest) -> Backbone:
    """The network asked for, with its weights.

    UsageError for an unknown name or layer; WeightsError when weights do not fit, or when they
    would have to be downloaded and there is no network.
    """
    if request.name == EXPORTED:
        return _exported(request)
    module: nn.Module
    ignore: str | None
    if request.name == TERRA:
        module, ignore = terra.Terra128(), None
        mean, std, side = terra.MEAN, terra.STD, terra.INPUT_PX
    else:
        module, ignore = _trunk(request.name)
        mean, std, side = IMAGENET_MEAN, IMAGENET_STD, 224
    checkpoint.fit(module, _weights(request, module), ignore, request.weights or request.name)
    state = {n: v for n, v in module.state_dict().items() if not n.endswith("num_batches_tracked")}
    return Backbone(
        name=request.name,
        layer=request.layer,
        module=_at_layer(module, request).eval(),
        input_px=request.input_px or side,
        mean=mean,
        std=std,
        sha256=checkpoint.digest(state),
        weights_bytes=checkpoint.write_state(state),
    )


def _trunk(name: str) -> tuple[nn.Module, str]:
    """A torchvision model without its head, and the head's name."""
    if name not in models.list_models(module=models):
        raise UsageError(
            f"no backbone named {name!r}: one of {TERRA}, resnet18, resnet50, vgg16, mobilenet_v2, "
            "squeezenet1_1, any other classification model of torchvision, or `exported` with "
            "--weights FILE.pt2"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some models warn of changed initial weights
        model = models.get_model(name, weights=None)
    if name.startswith("squeezenet"):
        model.classifier = nn.AdaptiveAvgPool2d(1)  # its head is a convolution over the map
        return model, "classifier"
    for head in _HEADS:
        if hasattr(model, head):
            setattr(model, head, nn.Flatten(1))
            return model, head
    raise UsageError(f"{name}: not a classification model, so it has no penultimate layer")


def _weights(request: BackboneRequest, module: nn.Module) -> dict[str, Tensor]:
    wanted = request.weights
    if wanted is None:
        if request.name == TERRA:
            return checkpoint.read_state(BUNDLED_TERRA)
        return _downloaded(request.name)
    if wanted.startswith("random:"):
        return _random(module, wanted)
    return checkpoint.read_state(wanted)


def _random(module: nn.Module, wanted: str) -> dict[str, Tensor]:
    seed = wanted.removeprefix("random:")
    if not seed.isdigit():
        raise UsageError(f"--weights {wanted}: write random:SEED with a whole number")
    generator = torch.Generator().manual_seed(int(seed))
    state = module.state_dict()
    for name, value in state.items():
        if not value.is_floating_point():
            continue  # a table of indices
        if value.ndim >= 2:  # He et al. 2015, eq. 10; vectors (bias, BatchNorm) keep their start
            scale = (2.0 / value[0].numel()) ** 0.5
            state[name] = torch.randn(value.shape, generator=generator) * scale
        elif name.endswith("bias"):
            state[name] = torch.zeros_like(value)
    return state


def _downloaded(name: str) -> dict[str, Tensor]:
    weights = models.get_model_weights(name).DEFAULT
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"{name}: torchvision's weights could not be downloaded ({error}); fetch "
            f"{weights.url} where there is a network and give it as --weights FILE, or use the "
            f"bundled --backbone {TERRA}"
        ) from error
    return state


def _at_layer(module: nn.Module, request: BackboneRequest) -> nn.Module:
    if request.layer == PENULTIMATE:
        return module
    try:
        found = create_feature_extractor(module, [request.layer], suppress_diff_warning=True)
        return _Pooled(found, request.layer)
    except ValueError as error:
        raise UsageError(f"{request.name} has no layer {request.layer!r}: {error}") from error


def _exported(request: BackboneRequest) -> Backbone:
    """A ``torch.export`` program whose one input is (n, 3, s, s) float and output (n, d).

    It is a program: load only those whose origin is known.
    """
    if not request.weights or request.input_px is None:
        raise UsageError("--backbone exported needs --weights FILE.pt2 and --input-px N")
    file = Path(request.weights)
    if not file.is_file():
        raise WeightsError(f"{file}: no such weights file")
    checkpoint.refuse_pickles(file)
    try:
        module = torch.export.load(str(file)).module()
    except (RuntimeError, OSError, ValueError, KeyError, AssertionError) as error:
        raise WeightsError(
            f"{file}: not a torch.export archive ({str(error).splitlines()[0][:200]}): write one "
            "with torch.export.save, with a dynamic batch dimension"
        ) from error
    data = file.read_bytes()
    return Backbone(
        name=EXPORTED,
        layer=PENULTIMATE,
        module=module,
        input_px=request.input_px,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        sha256=storage.sha256(data),
        weights_bytes=data,
    )
