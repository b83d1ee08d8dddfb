"""The featurizer against plain torchvision code in float32."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import v2

from featurizer import storage
from featurizer.backbones import BUNDLED_TERRA, BackboneRequest, build
from featurizer.embed import (
    Featurizer,
    FeaturizerOptions,
    make_featurizer,
    resize,
    use_one_torch_thread,
)
from featurizer.errors import (
    ContractError,
    EmbeddingError,
    FingerprintError,
    StorageError,
    UsageError,
    WeightsError,
)
from featurizer.pixels import Rgb
from featurizer.projection import Projection, fit_pca
from featurizer.spec import Metric, ResizeRule
from featurizer.stored import load_featurizer, save_featurizer
from tests.featurizer.test_backbones import export, one_thread, small_network

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SMALL = BackboneRequest("resnet18", "random:0", input_px=64)


def picture(height: int, width: int, seed: int = 0, grey: bool = False) -> Rgb:
    """Smooth noise, as photographs are: bilinear between a few random colours."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.integers(0, 256, (1, 1 if grey else 3, 5, 6)).astype(np.float32))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    fine = fine + torch.from_numpy(rng.normal(0, 6, fine.shape).astype(np.float32))
    values = fine.clamp(0, 255).to(torch.uint8)[0].permute(1, 2, 0).numpy()
    return np.broadcast_to(values, (height, width, 3)).copy()


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / lengths)


@cache
def small() -> Featurizer:
    return make_featurizer(FeaturizerOptions(SMALL), "cpu")


def raw(images: list[Rgb], side: int = 64, rule: ResizeRule = "stretch") -> NDArray[np.float32]:
    """What one writes first: torchvision's network and transforms, float32, picture by picture."""
    network = models.resnet18(weights=None)
    network.load_state_dict(build(SMALL).module.state_dict(), strict=False)
    network.fc = nn.Identity()
    network.eval()
    sized = [v2.Resize((side, side), antialias=True)]
    if rule == "crop":
        sized = [v2.Resize(side, antialias=True), v2.CenterCrop(side)]
    prepare = v2.Compose([*sized, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    with torch.inference_mode():
        stacked = torch.stack([prepare(torch.from_numpy(i).permute(2, 0, 1)) for i in images])
        return np.asarray(network(stacked).numpy())


PICTURES = [
    picture(64, 64),
    picture(200, 200, 1),
    picture(97, 150, 2, grey=True),
    picture(640, 400, 3),
    picture(20, 33, 4),
    picture(1, 1, 5),
    np.zeros((64, 64, 3), np.uint8),
    np.full((50, 70, 3), 255, np.uint8),
]


class TestAgainstTorchvision:
    @pytest.mark.parametrize("rule", ["stretch", "crop"])
    def test_vectors(self, rule: ResizeRule) -> None:
        ours = make_featurizer(FeaturizerOptions(SMALL, resize=rule), "cpu")
        found = ours.embed(PICTURES)
        assert found.dtype == np.float32
        assert found.shape == (len(PICTURES), 512)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        assert cosines(found, raw(PICTURES, rule=rule)).min() > 0.999

    def test_raw_vectors_keep_their_length(self) -> None:
        ours = make_featurizer(FeaturizerOptions(SMALL, metric="euclidean"), "cpu")
        found, expected = ours.embed(PICTURES[:5]), raw(PICTURES[:5])
        apart = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
        assert apart.max() < 0.03
        assert ours.spec.metric == "euclidean"
        assert ours.spec.fingerprint != small().spec.fingerprint

    def test_the_spec_says_all_of_it(self) -> None:
        spec = small().spec
        assert (spec.backbone, spec.dim, spec.input_px) == ("resnet18", 512, 64)
        assert (list(spec.mean), list(spec.std)) == (MEAN, STD)
        assert (spec.resize, spec.metric, spec.projection_sha256) == ("stretch", "cosine", None)


class TestResize:
    @pytest.mark.parametrize("size", [(64, 64), (97, 150), (150, 97), (400, 64), (20, 33), (1, 7)])
    def test_stretch_is_torchvisions(self, size: tuple[int, int]) -> None:
        image = torch.from_numpy(picture(*size)).permute(2, 0, 1)
        expected = v2.functional.resize(image, [64, 64], antialias=True)
        assert torch.equal(resize(image[None], 64, "stretch")[0], expected)

    @pytest.mark.parametrize(
        "size", [(64, 64), (128, 192), (192, 128), (97, 150), (20, 33), (5, 99)]
    )
    def test_crop_is_torchvisions_up_to_a_pixel(self, size: tuple[int, int]) -> None:
        """torchvision rounds the longer side down, this to the nearest, as DALI does."""
        image = torch.from_numpy(picture(*size)).permute(2, 0, 1)
        scale = 64 / min(size)
        whole = [max(64, round(side * scale)) for side in size]
        resized = v2.functional.resize(image, whole, antialias=True)
        top, left = (whole[0] - 64) // 2, (whole[1] - 64) // 2
        expected = resized[:, top : top + 64, left : left + 64]
        found = resize(image[None], 64, "crop")[0]
        assert torch.equal(found, expected)
        if [int(side * scale) for side in size] == whole and (whole[0] - whole[1]) % 2 == 0:
            plain = v2.Compose([v2.Resize(64, antialias=True), v2.CenterCrop(64)])
            assert torch.equal(found, plain(image))

    def test_an_extreme_strip(self) -> None:
        found = resize(torch.zeros(1, 3, 2, 3_000, dtype=torch.uint8), 64, "crop")
        assert found.shape == (1, 3, 64, 64)


class TestBatches:
    def test_a_picture_alone_is_as_in_a_batch(self) -> None:
        together = small().embed(PICTURES)
        alone = np.concatenate([small().embed([image]) for image in PICTURES])
        assert cosines(together, alone).min() > 0.99999

    def test_more_than_a_batch_in_order(self) -> None:
        images = [picture(64, 64, seed) for seed in range(70)]
        found = small().embed(images)
        assert found.shape == (70, 512)
        some = small().embed([images[i] for i in (0, 63, 64, 69)])
        assert cosines(found[[0, 63, 64, 69]], some).min() > 0.99999

    def test_chunks_are_one_batch(self) -> None:
        chunks = [PICTURES[:3], [], PICTURES[3:]]
        np.testing.assert_array_equal(small().embed_batch(chunks), small().embed(PICTURES))

    def test_none_at_all(self) -> None:
        for found in (small().embed([]), small().embed_batch([]), small().embed_batch([[]])):
            assert found.shape == (0, 512)
            assert found.dtype == np.float32

    def test_pixels_are_not_written_to(self) -> None:
        image = picture(64, 64)
        image.setflags(write=False)
        before = image.copy()
        small().embed([image])
        np.testing.assert_array_equal(image, before)

    def test_shared_by_threads(self) -> None:
        expected = small().embed(PICTURES)
        found: dict[int, list[NDArray[np.float32]]] = {0: [], 1: []}

        def work(number: int) -> None:
            use_one_torch_thread()
            found[number] = [small().embed(PICTURES) for _ in range(4)]

        threads = [threading.Thread(target=work, args=(number,)) for number in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for vectors in found[0] + found[1]:
            np.testing.assert_array_equal(vectors, expected)


class Scaled(nn.Module):
    """A network that gives the mean colour, times ``factor``; what it gives is known by hand."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(2, 3)) * self.factor


def scaled(
    factor: float, metric: Metric = "cosine", projection: Projection | None = None
) -> Featurizer:
    plain = replace(build(SMALL), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    made = replace(plain, module=Scaled(factor))
    return Featurizer(made, FeaturizerOptions(metric=metric, projection=projection), "cpu")


class TestUnusableVectors:
    @pytest.mark.parametrize("factor", [float("nan"), float("inf"), 0.0])
    def test_come_back_as_nan_rows(self, factor: float) -> None:
        assert np.isnan(scaled(factor).embed(PICTURES[:2])).all()

    def test_only_the_row_that_is_bad(self) -> None:
        black, grey = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 128, np.uint8)
        found = scaled(1.0).embed([grey, black, grey])
        assert np.isnan(found).all(axis=1).tolist() == [False, True, False]
        np.testing.assert_allclose(found[0], 3**-0.5, atol=1e-5)

    def test_finite_features_whose_squares_are_not(self) -> None:
        found = scaled(1e30).embed([np.full((8, 8, 3), 128, np.uint8)])
        np.testing.assert_allclose(found, 3**-0.5, atol=1e-5)

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_nan_weights(self, tmp_path: Path, metric: Metric) -> None:
        state = dict(build(SMALL).module.state_dict())
        state["conv1.weight"] = torch.full_like(state["conv1.weight"], float("nan"))
        torch.save(state, tmp_path / "w.pth")
        request = BackboneRequest("resnet18", str(tmp_path / "w.pth"), input_px=64)
        made = make_featurizer(FeaturizerOptions(request, metric=metric), "cpu")
        assert np.isnan(made.embed(PICTURES[:2])).all()

    def test_nan_through_a_projection(self) -> None:
        projection = Projection(np.zeros(3, np.float32), np.eye(3, 2, dtype=np.float32))
        made = scaled(float("inf"), projection=projection)
        assert np.isnan(made.embed([picture(8, 8)])).all()

    def test_raw_features_that_float16_cannot_hold(self) -> None:
        with pytest.raises(EmbeddingError, match="do not fit the stored float16: use --metric"):
            scaled(1e6, "euclidean").embed([picture(8, 8)])


class TestProjection:
    def test_is_applied_before_normalising(self) -> None:
        images = [picture(64, 64, seed) for seed in range(12)]
        plain = make_featurizer(FeaturizerOptions(SMALL, metric="euclidean"), "cpu").embed(images)
        projection = fit_pca(plain, 4)
        made = make_featurizer(FeaturizerOptions(SMALL, projection=projection), "cpu")
        expected = projection.apply(plain)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(made.embed(images), expected, atol=1e-5)
        assert made.spec.dim == 4
        assert made.spec.projection_sha256 == projection.sha256

    def test_of_another_width(self) -> None:
        projection = Projection(np.zeros(3, np.float32), np.eye(3, 2, dtype=np.float32))
        with pytest.raises(UsageError, match="takes 3 features, but resnet18 gives 512"):
            make_featurizer(FeaturizerOptions(SMALL, projection=projection), "cpu")


class TestSizes:
    def test_pictures_too_small_for_the_network(self) -> None:
        request = BackboneRequest("squeezenet1_1", "random:0", input_px=4)
        with pytest.raises(UsageError, match="squeezenet1_1 takes no pictures of 4 px"):
            make_featurizer(FeaturizerOptions(request), "cpu")

    def test_exported(self, tmp_path: Path) -> None:
        request = BackboneRequest("exported", str(export(tmp_path / "m.pt2")), input_px=32)
        made = make_featurizer(FeaturizerOptions(request), "cpu")
        assert made.dtype == torch.float32
        found = made.embed([picture(32, 32, seed) for seed in range(3)])
        prepare = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
        images = [torch.from_numpy(picture(32, 32, seed)).permute(2, 0, 1) for seed in range(3)]
        with torch.inference_mode():
            expected = small_network()(torch.stack([prepare(image) for image in images]))
        assert cosines(found, expected.numpy()).min() > 0.99999
        root = str(tmp_path / "root")
        save_featurizer(root, made)
        again = load_featurizer(root, made.spec.fingerprint, "cpu")
        np.testing.assert_array_equal(again.embed([picture(40, 32)]), made.embed([picture(40, 32)]))

    def test_exported_without_a_dynamic_batch_or_for_another_size(self, tmp_path: Path) -> None:
        fixed = BackboneRequest("exported", str(export(tmp_path / "f.pt2", False)), input_px=32)
        with pytest.raises(UsageError, match="dynamic batch dimension"):
            make_featurizer(FeaturizerOptions(fixed), "cpu")
        other = BackboneRequest("exported", str(export(tmp_path / "d.pt2")), input_px=48)
        with pytest.raises(UsageError, match="takes no pictures of 48 px"):
            make_featurizer(FeaturizerOptions(other), "cpu")


@pytest.fixture
def root() -> Iterator[str]:
    url = f"memory://{uuid.uuid4().hex}"
    yield url
    fs, path = storage.filesystem(url)
    fs.rm(path, recursive=True)


class TestStored:
    def saved(self, root: str, projection: Projection | None = None) -> Featurizer:
        request = BackboneRequest("squeezenet1_1", "random:0", input_px=64)
        options = FeaturizerOptions(request, "crop", "euclidean", projection)
        made = make_featurizer(options, "cpu")
        save_featurizer(root, made)
        return made

    def place(self, root: str, made: Featurizer, name: str) -> str:
        return storage.join(root, "featurizers", made.spec.fingerprint, name)

    @pytest.mark.parametrize("projected", [False, True])
    def test_round_trip(self, root: str, projected: bool) -> None:
        rng = np.random.default_rng(0)
        components = rng.normal(size=(512, 8)).astype(np.float32)
        projection = Projection(np.zeros(512, np.float32), components) if projected else None
        made = self.saved(root, projection)
        again = load_featurizer(root, made.spec.fingerprint, "cpu")
        assert again.spec == made.spec
        np.testing.assert_array_equal(again.embed(PICTURES), made.embed(PICTURES))

    def test_a_second_save_writes_nothing(self, root: str) -> None:
        made = self.saved(root)
        before = list(storage.walk(root))
        save_featurizer(root, made)
        assert list(storage.walk(root)) == before

    def test_truncated_weights(self, root: str) -> None:
        made = self.saved(root)
        place = self.place(root, made, "weights.safetensors")
        storage.write_bytes(place, storage.read_bytes(place)[:-100])
        with pytest.raises(WeightsError, match="not readable as weights alone") as caught:
            load_featurizer(root, made.spec.fingerprint, "cpu")
        assert str(caught.value).startswith(place)
        assert "run embed again" in str(caught.value)

    def test_changed_weights(self, root: str) -> None:
        made = self.saved(root)
        place = self.place(root, made, "weights.safetensors")
        data = storage.read_bytes(place)
        storage.write_bytes(place, data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(FingerprintError, match="weights_sha256"):
            load_featurizer(root, made.spec.fingerprint, "cpu")

    def test_another_spec_or_none(self, root: str) -> None:
        made = self.saved(root)
        place = self.place(root, made, "spec.json")
        text = storage.read_bytes(place)
        storage.write_bytes(place, text.replace(b"crop", b"stretch"))
        with pytest.raises(ContractError, match="is of featurizer"):
            load_featurizer(root, made.spec.fingerprint, "cpu")
        storage.write_bytes(place, text[:-3])
        with pytest.raises(ContractError, match="not JSON"):
            load_featurizer(root, made.spec.fingerprint, "cpu")
        with pytest.raises(StorageError, match="no such file or object"):
            load_featurizer(root, "0" * 20, "cpu")


class TestTerra:
    def test_the_bundled_default(self, root: str) -> None:
        if not BUNDLED_TERRA.exists():
            pytest.skip(f"{BUNDLED_TERRA.name} is not here yet")
        made = make_featurizer(FeaturizerOptions(), "cpu")
        assert made.spec.dim == 128
        found = made.embed(PICTURES[:5])
        backbone = build(BackboneRequest())
        side = backbone.input_px
        prepare = v2.Compose(
            [
                v2.Resize((side, side), antialias=True),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(backbone.mean), list(backbone.std)),
            ]
        )
        stack = torch.stack([prepare(torch.from_numpy(i).permute(2, 0, 1)) for i in PICTURES[:5]])
        with torch.inference_mode():
            assert cosines(found, backbone.module(stack).numpy()).min() > 0.999
        save_featurizer(root, made)
        again = load_featurizer(root, made.spec.fingerprint, "cpu")
        np.testing.assert_array_equal(again.embed(PICTURES[:5]), found)


class TestDevices:
    def test_no_gpu_is_said_aloud(self, caplog: pytest.LogCaptureFixture) -> None:
        if torch.cuda.is_available():
            pytest.skip("there is a GPU, so nothing falls back")
        from featurizer.embed import _warn_of_cpu

        _warn_of_cpu.cache_clear()
        for _ in range(2):
            make_featurizer(FeaturizerOptions(SMALL), "auto")
        assert [record.message for record in caplog.records].count(
            "NO GPU FOUND: embedding on the CPU, which is far slower (--device cpu: no notice)"
        ) == 1
        with pytest.raises(UsageError, match="torch sees no GPU"):
            make_featurizer(FeaturizerOptions(SMALL), "cuda")

    @pytest.mark.parametrize("rule", ["stretch", "crop"])
    def test_gpu_and_cpu_agree(self, rule: ResizeRule) -> None:
        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU here")
        options = FeaturizerOptions(SMALL, resize=rule)
        gpu = make_featurizer(options, "cuda")
        assert gpu.dtype == torch.float16
        found = gpu.embed(PICTURES)
        assert cosines(found, make_featurizer(options, "cpu").embed(PICTURES)).min() > 0.9999
        assert cosines(found, raw(PICTURES, rule=rule)).min() > 0.999
