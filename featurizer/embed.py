"""The featurizer: RGB pictures in, vectors out, on whatever processor is there.

CPU: uint8 antialiased resize, batch normalisation folded into convolutions, channels-last,
bfloat16 where the processor computes in it.  GPU: DALI resize, float16.  Batch and query go
through this same code, so that a query by an indexed picture finds itself.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError
from torch.utils.dlpack import from_dlpack

from featurizer.backbones import EXPORTED, Backbone, BackboneRequest, build
from featurizer.errors import EmbeddingError, UsageError
from featurizer.pixels import Rgb
from featurizer.projection import Projection
from featurizer.spec import FeaturizerSpec, Metric, ResizeRule

log = logging.getLogger(__name__)

DeviceChoice = Literal["auto", "cpu", "cuda"]
MAX_BATCH = 64
# The CPU takes so many pixels at a time (32 pictures of 128 px, 10 of 224 px): layers beyond
# 32 MiB are mapped anew each time, and 64 of 224 px took 1.2 (ResNet-18) to 1.6 times
# (ResNet-50) as long.  How a batch is cut into passes does not change its bits.
_PASS_PIXELS = 1 << 19
_RESIZED_TOGETHER = 8  # pictures of one shape: few enough to stay in the processor's cache


@dataclass(frozen=True, slots=True)
class FeaturizerOptions:
    """What the user may choose of a featurizer."""

    backbone: BackboneRequest = field(default_factory=BackboneRequest)
    resize: ResizeRule = "stretch"
    metric: Metric = "cosine"
    projection: Projection | None = None


class Featurizer:
    """Pictures to vectors.  Safe to share between threads; each thread uses its own torch threads.

    ``spec.fingerprint`` names what it computes; ``device`` and ``dtype`` how.
    """

    def __init__(
        self, backbone: Backbone, options: FeaturizerOptions, device: DeviceChoice = "auto"
    ) -> None:
        self.backbone, self.projection = backbone, options.projection
        self.device = _pick_device(device)
        self.dtype = _pick_dtype(self.device, backbone.name)
        self._model = _prepared(backbone, self.device, self.dtype)
        self._offset = torch.from_numpy(np.array(backbone.mean, np.float32) * 255)
        self._gain = torch.from_numpy(1 / (np.array(backbone.std, np.float32) * 255))
        self._gpu_lock = threading.Lock()
        self._dali: object | None = None
        self._resize = options.resize
        self.spec = self._spec(options)

    def _spec(self, options: FeaturizerOptions) -> FeaturizerSpec:
        width = found = self._width()
        if self.projection is not None:
            wanted, width = self.projection.dims
            if wanted != found:
                raise UsageError(
                    f"the projection takes {wanted} features, but {self.backbone.name} gives "
                    f"{found}: fit it with the same --backbone and --layer"
                )
        return FeaturizerSpec(
            backbone=self.backbone.name,
            layer=self.backbone.layer,
            weights_sha256=self.backbone.sha256,
            input_px=self.backbone.input_px,
            resize=options.resize,
            mean=self.backbone.mean,
            std=self.backbone.std,
            dim=width,
            metric=options.metric,
            projection_sha256=None if self.projection is None else self.projection.sha256,
        )

    def _width(self) -> int:
        """How many features the network gives; UsageError when it does not take such a batch."""
        name, side = self.backbone.name, self.backbone.input_px
        try:
            one, two = (self._features(torch.zeros(n, 3, side, side)).shape for n in (1, 2))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise UsageError(
                f"{name} takes no pictures of {side} px in batches of any size "
                f"({str(error).splitlines()[0][:200]}): give the --input-px it was made for; an "
                "exported network needs a dynamic batch dimension"
            ) from error
        if one[0] != 1 or two != (2, one[1]):
            raise UsageError(f"{name} gives no vector for each picture: {one} for 1, {two} for 2")
        return int(one[1])

    def preprocess(self, images: Sequence[Rgb]) -> Tensor:
        """Pictures of any size, resized to what ``forward`` takes: (n, 3, s, s).

        uint8, channels last, on the CPU; normalised float16 on a GPU.
        """
        if self.device.type == "cuda":
            return self._resized_on_gpu(images)
        side = self.backbone.input_px
        # Made channels last, not turned so: that would copy it, which costs more than resizing.
        out = torch.empty((len(images), side, side, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
        for first, run in _runs_of_one_shape(images):
            stack = torch.from_numpy(np.stack(run)).permute(0, 3, 1, 2)
            out[first : first + len(run)] = resize(stack, side, self._resize)
        return out

    def forward(self, pixels: Tensor) -> NDArray[np.float32]:
        """What ``preprocess`` gave -> (n, d) float32, of unit length when the metric is cosine.

        A row that the model could not place (NaN, infinite, or of no length) comes back as NaN.
        """
        if pixels.dtype != torch.uint8:
            return self._finish(self._features(pixels))
        size = max(1, _PASS_PIXELS // (pixels.shape[2] * pixels.shape[3]))
        starts = range(0, max(1, len(pixels)), size)
        passes = [self._features(self._normalised(pixels[i : i + size])) for i in starts]
        return self._finish(np.concatenate(passes))

    def _normalised(self, pixels: Tensor) -> Tensor:
        """(n, 3, h, w) uint8 -> the same in float32, (x / 255 - mean) / std, channels last."""
        count, bands, height, width = pixels.shape
        # Whole lines of interleaved colours: steps of three values would be six times slower.
        lines = pixels.permute(0, 2, 3, 1).reshape(count, height, width * bands).to(torch.float32)
        lines.sub_(self._offset.repeat(width)).mul_(self._gain.repeat(width))
        return lines.view(count, height, width, bands).permute(0, 3, 1, 2)

    def embed(self, images: Sequence[Rgb]) -> NDArray[np.float32]:
        """Pictures of any size -> (n, d) float32 vectors, as ``forward`` describes them."""
        starts = range(0, len(images), MAX_BATCH)
        parts = [self.embed_batch([images[i : i + MAX_BATCH]]) for i in starts]
        return np.concatenate(parts) if parts else np.empty((0, self.spec.dim), np.float32)

    def embed_batch(self, chunks: Iterable[Sequence[Rgb]]) -> NDArray[np.float32]:
        """One forward pass over all pictures of ``chunks``, each chunk let go once resized.

        So a batch of large pictures never stands in memory at full size.
        """
        return self.forward_together([self.preprocess(chunk) for chunk in chunks if chunk])

    def forward_together(self, ready: Sequence[Tensor]) -> NDArray[np.float32]:
        """One forward pass over all that several calls of ``preprocess`` gave, in that order."""
        if not ready:
            return np.empty((0, self.spec.dim), np.float32)
        return self.forward(torch.cat(list(ready)))

    def _resized_on_gpu(self, images: Sequence[Rgb]) -> Tensor:
        from featurizer.decode import DaliResize

        with self._gpu_lock:  # one DALI pipeline, which is not made for several threads
            if self._dali is None:
                self._dali = DaliResize(
                    size_px=self.backbone.input_px,
                    rule=self._resize,
                    mean=self.backbone.mean,
                    std=self.backbone.std,
                    device_id=self.device.index or 0,
                    max_batch=MAX_BATCH,
                    half=self.dtype == torch.float16,
                )
            assert isinstance(self._dali, DaliResize)
            parts = [images[i : i + MAX_BATCH] for i in range(0, len(images), MAX_BATCH)]
            # DALI re-uses its output buffer at the next run, hence the copies.
            return torch.cat([from_dlpack(self._dali(part)).clone() for part in parts])

    def _features(self, normalised: Tensor) -> NDArray[np.float32]:
        """(n, 3, s, s) float -> (n, features) float32; halves the batch when memory runs out."""
        try:
            with torch.inference_mode():
                moved = normalised.to(self.device, self.dtype, memory_format=torch.channels_last)
                found = self._model(moved)
                return np.asarray(found.flatten(1).to("cpu", torch.float32).numpy())
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            if len(normalised) == 1:
                raise EmbeddingError(
                    f"{self.backbone.name}: out of GPU memory for a single picture of "
                    f"{self.backbone.input_px} px: use --device cpu or a smaller --input-px"
                ) from error
        middle = len(normalised) // 2
        halves = (normalised[:middle], normalised[middle:])
        return np.concatenate([self._features(half) for half in halves])

    def _finish(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.projection is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is seen below
                features = self.projection.apply(features)
        bad = np.asarray(~np.isfinite(features).all(axis=1))
        if self.spec.metric == "cosine":
            # float64: the squares of finite float32 values may not fit float32
            exact = np.where(bad[:, None], 0.0, features.astype(np.float64))
            length = np.linalg.norm(exact, axis=1, keepdims=True)
            bad |= length[:, 0] < 1e-12
            features = (exact / np.where(length > 0, length, 1.0)).astype(np.float32)
        elif np.abs(features[~bad]).max(initial=0.0) > np.finfo(np.float16).max:
            raise EmbeddingError(
                f"{self.backbone.name}: features beyond ±65,504 do not fit the stored float16: "
                "use --metric cosine"
            )
        features[bad] = np.nan
        return features


def _runs_of_one_shape(images: Sequence[Rgb]) -> Iterator[tuple[int, Sequence[Rgb]]]:
    """Where each run begins, and its pictures: neighbours of one shape, a few at a time."""
    first = 0
    for end in range(1, len(images) + 1):
        full = end - first == _RESIZED_TOGETHER
        if end == len(images) or full or images[end].shape != images[first].shape:
            yield first, images[first:end]
            first = end


def resize(stack: Tensor, side: int, rule: ResizeRule) -> Tensor:
    """(n, 3, h, w) uint8 -> (n, 3, side, side) uint8 by antialiased bilinear (triangular) weights.

    ``stretch`` maps the whole picture; ``crop`` scales the shorter side and keeps the middle.
    """
    height, width = int(stack.shape[2]), int(stack.shape[3])
    target = (side, side)
    if rule == "crop":
        scale = side / min(height, width)
        target = (max(side, round(height * scale)), max(side, round(width * scale)))
    if target != (height, width):
        stack = F.interpolate(stack, size=target, mode="bilinear", antialias=True)
    top, left = (target[0] - side) // 2, (target[1] - side) // 2
    return stack[:, :, top : top + side, left : left + side]


def use_one_torch_thread() -> None:
    """For a worker thread among several: they share the cores, so each computes on one."""
    torch.set_num_threads(1)


def make_featurizer(options: FeaturizerOptions, device: DeviceChoice = "auto") -> Featurizer:
    return Featurizer(build(options.backbone), options, device)


def _pick_device(choice: DeviceChoice) -> torch.device:
    if choice == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no GPU here; check the driver, or use cpu")
    if choice == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    _warn_of_cpu()
    return torch.device("cpu")


@lru_cache(maxsize=1)
def _warn_of_cpu() -> None:
    log.warning("NO GPU FOUND: embedding on the CPU, which is far slower (--device cpu: no notice)")


def _pick_dtype(device: torch.device, backbone: str) -> torch.dtype:
    if backbone == EXPORTED:  # an exported graph has its types fixed
        return torch.float32
    if device.type == "cuda":
        return torch.float16
    found = torch.cpu.get_capabilities()
    # Without the instructions bfloat16 is emulated, and slower than float32.
    return torch.bfloat16 if found.get("avx512_bf16") or found.get("amx_bf16") else torch.float32


def _prepared(backbone: Backbone, device: torch.device, dtype: torch.dtype) -> nn.Module:
    if backbone.name == EXPORTED:
        return backbone.module.to(device)
    model: nn.Module
    try:
        model = fuse(backbone.module)  # of a copy that it makes itself
    except (TraceError, RuntimeError, KeyError, AttributeError):
        log.info("%s: not traceable, so batch normalisation is not folded", backbone.name)
        model = copy.deepcopy(backbone.module)
    return model.to(device, dtype).to(memory_format=torch.channels_last).eval()
