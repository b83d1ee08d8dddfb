"""Networks: widths, weights, layers, exported programs, and what is refused."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from featurizer import backbones
from featurizer.backbones import BUNDLED_TERRA, BackboneRequest, build
from featurizer.errors import UsageError, WeightsError

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "weights"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small batches on one thread: several would wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pixels(side: int = 64, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


def forward(module: nn.Module, batch: Tensor) -> Tensor:
    with torch.inference_mode():
        found: Tensor = module(batch)
        return found.flatten(1)


class TestWidths:
    @pytest.mark.parametrize(
        ("name", "dim"),
        [
            ("terra128", 128),
            ("resnet18", 512),
            ("resnet50", 2048),
            ("mobilenet_v2", 1280),
            ("squeezenet1_1", 512),
            ("shufflenet_v2_x0_5", 1024),
        ],
    )
    def test_penultimate(self, name: str, dim: int) -> None:
        made = build(BackboneRequest(name, "random:0"))
        assert forward(made.module, pixels()).shape == (2, dim)
        assert not made.module.training

    def test_vgg16(self) -> None:
        made = build(BackboneRequest("vgg16", "random:0"))
        assert forward(made.module, pixels(224, 1)).shape == (1, 25_088)

    @pytest.mark.parametrize(
        ("layer", "dim"), [("layer3", 256), ("avgpool", 512), ("layer2.0", 128)]
    )
    def test_an_inner_layer_is_averaged_over_its_map(self, layer: str, dim: int) -> None:
        made = build(BackboneRequest("resnet18", "random:0", layer))
        whole = build(BackboneRequest("resnet18", "random:0"))
        plain = models.resnet18(weights=None)
        plain.load_state_dict(whole.module.state_dict(), strict=False)
        seen: list[Tensor] = []
        plain.get_submodule(layer).register_forward_hook(lambda m, i, out: seen.append(out))
        forward(plain.eval(), pixels())
        expected = seen[0].mean(dim=(2, 3))
        assert expected.shape == (2, dim)
        assert torch.allclose(forward(made.module, pixels()), expected, atol=1e-5)
        assert made.layer == layer


class TestWeights:
    def test_random_is_the_same_for_a_seed(self) -> None:
        first, again = (build(BackboneRequest("resnet18", "random:7")) for _ in range(2))
        assert first.sha256 == again.sha256
        assert first.weights_bytes == again.weights_bytes
        assert torch.equal(forward(first.module, pixels()), forward(again.module, pixels()))
        assert build(BackboneRequest("resnet18", "random:8")).sha256 != first.sha256

    def test_random_leaves_torchs_own_generator_out(self) -> None:
        torch.manual_seed(1)
        first = build(BackboneRequest("mobilenet_v3_small", "random:7")).sha256
        torch.manual_seed(2)
        assert build(BackboneRequest("mobilenet_v3_small", "random:7")).sha256 == first

    def test_random_leaves_tables_of_indices_alone(self) -> None:
        name = "blocks.0.layers.0.layers.window_attention.attn_layer.1.relative_position_index"
        made = build(BackboneRequest("maxvit_t", "random:0"))
        plain = models.maxvit_t(weights=None)
        assert torch.equal(made.module.get_buffer(name), plain.get_buffer(name))

    def test_random_keeps_the_scale_of_activations(self) -> None:
        made = build(BackboneRequest("resnet18", "random:0"))
        assert forward(made.module, pixels()).isfinite().all()

    def test_a_file_with_a_head_gives_torchvisions_own_features(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        plain = models.resnet18(weights=None).eval()
        torch.save(plain.state_dict(), tmp_path / "w.pth")
        made = build(BackboneRequest("resnet18", str(tmp_path / "w.pth")))
        plain.fc = nn.Identity()
        assert torch.equal(forward(made.module, pixels()), forward(plain, pixels()))

    def test_weights_bytes_rebuild_it(self, tmp_path: Path) -> None:
        made = build(BackboneRequest("mobilenet_v2", "random:3"))
        (tmp_path / "w.safetensors").write_bytes(made.weights_bytes)
        again = build(BackboneRequest("mobilenet_v2", str(tmp_path / "w.safetensors")))
        assert again.sha256 == made.sha256
        assert torch.equal(forward(again.module, pixels()), forward(made.module, pixels()))

    @pytest.mark.parametrize(
        ("name", "file", "dim"),
        [
            ("mobilenet_v2", "mobilenet_v2_features.pth", 1280),
            ("squeezenet1_1", "squeezenet1_1.pth", 512),
        ],
    )
    def test_real_ones(self, name: str, file: str, dim: int) -> None:
        if not (WEIGHTS / file).exists():
            pytest.skip(f"{WEIGHTS / file} is not here")
        made = build(BackboneRequest(name, str(WEIGHTS / file)))
        plain = models.get_model(name, weights=None)
        plain.load_state_dict(torch.load(WEIGHTS / file, weights_only=True))
        plain.eval()
        with torch.inference_mode():
            expected = plain.features(pixels()).mean(dim=(2, 3))
        assert expected.shape == (2, dim)
        assert torch.allclose(forward(made.module, pixels()), expected, atol=1e-4)

    def test_the_bundled_ones(self) -> None:
        if not BUNDLED_TERRA.exists():
            pytest.skip(f"{BUNDLED_TERRA.name} is not here yet")
        assert BUNDLED_TERRA.stat().st_size <= 12e6
        made = build(BackboneRequest())
        assert forward(made.module, pixels(made.input_px)).shape == (2, 128)

    @pytest.mark.parametrize("wanted", ["random:", "random:x", "random:-1", "random:1.5"])
    def test_a_seed_is_a_whole_number(self, wanted: str) -> None:
        with pytest.raises(UsageError, match="write random:SEED"):
            build(BackboneRequest("resnet18", wanted))

    def test_of_another_architecture(self, tmp_path: Path) -> None:
        torch.save(models.resnet18(weights=None).state_dict(), tmp_path / "w.pth")
        with pytest.raises(WeightsError, match=r"w.pth: weights of another architecture"):
            build(BackboneRequest("resnet50", str(tmp_path / "w.pth")))

    def test_no_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def unreachable(*_: Any, **__: Any) -> None:
            raise urllib.error.URLError("no route to host")

        monkeypatch.setattr(urllib.request, "urlopen", unreachable)
        monkeypatch.setattr(torch.hub, "urlopen", unreachable)
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        with pytest.raises(WeightsError) as caught:
            build(BackboneRequest("resnet18"))
        message = str(caught.value)
        assert "resnet18: torchvision's weights could not be downloaded" in message
        assert "https://download.pytorch.org/models/resnet18-" in message
        assert "--weights FILE" in message
        assert "--backbone terra128" in message
        assert not list(tmp_path.rglob("*.pth"))


class TestNames:
    @pytest.mark.parametrize(
        "name", ["resnet19", "", "ResNet18", "deeplabv3_resnet50", "raft_large", "load", "__init__"]
    )
    def test_unknown(self, name: str) -> None:
        with pytest.raises(
            UsageError, match=f"no backbone named '{name}': one of terra128, resnet18"
        ):
            build(BackboneRequest(name, "random:0"))

    def test_every_name_is_a_torchvision_classifier_or_ours(self) -> None:
        found = backbones.names()
        assert found[:2] == ["terra128", "exported"]
        assert {"resnet18", "resnet50", "vgg16", "mobilenet_v2", "squeezenet1_1"} <= set(found)

    def test_unknown_layer(self) -> None:
        with pytest.raises(UsageError, match="resnet18 has no layer 'layer9'"):
            build(BackboneRequest("resnet18", "random:0", "layer9"))


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()


def export(file: Path, dynamic: bool = True) -> Path:
    batch = torch.export.Dim("batch", min=1, max=256)
    shapes = ({0: batch},) if dynamic else None
    program = torch.export.export(
        small_network(), (torch.ones(2, 3, 32, 32),), dynamic_shapes=shapes
    )
    torch.export.save(program, file)
    return file


class TestExported:
    @pytest.mark.parametrize("count", [1, 2, 9])
    def test_any_batch(self, tmp_path: Path, count: int) -> None:
        file = export(tmp_path / "m.pt2")
        made = build(BackboneRequest("exported", str(file), input_px=32))
        batch = pixels(32, count)
        assert torch.allclose(
            forward(made.module, batch), forward(small_network(), batch), atol=1e-6
        )
        assert made.weights_bytes == file.read_bytes()

    @pytest.mark.parametrize(
        "request_", [BackboneRequest("exported"), BackboneRequest("exported", "m.pt2")]
    )
    def test_needs_a_file_and_a_size(self, request_: BackboneRequest) -> None:
        with pytest.raises(UsageError, match=r"needs --weights FILE.pt2 and --input-px N"):
            build(request_)

    def test_no_archive(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no such weights file"):
            build(BackboneRequest("exported", str(tmp_path / "m.pt2"), input_px=32))
        torch.save(small_network().state_dict(), tmp_path / "w.pt2")
        with pytest.raises(WeightsError, match=r"not a torch.export archive"):
            build(BackboneRequest("exported", str(tmp_path / "w.pt2"), input_px=32))
        whole = export(tmp_path / "m.pt2").read_bytes()
        (tmp_path / "m.pt2").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(WeightsError, match=r"not a torch.export archive"):
            build(BackboneRequest("exported", str(tmp_path / "m.pt2"), input_px=32))
