"""Weights from files: tensors alone, whatever the wrapping."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from featurizer import checkpoint
from featurizer.errors import WeightsError


def network(width: int = 4) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, width, 3),
            norm=nn.BatchNorm2d(width),
            flat=nn.Flatten(),
            fc=nn.Linear(width, 2),
        )
    )


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.file, "w"))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in network().state_dict().items()}


class TestReading:
    @pytest.mark.parametrize(
        "content",
        [
            network().state_dict(),
            {"state_dict": network().state_dict(), "epoch": 3, "optimizer": {"lr": 0.1}},
            {"model": network().state_dict()},
            {"model_state_dict": network().state_dict()},
            {"model": {"state_dict": network().state_dict()}},
            prefixed("module."),
            prefixed("_orig_mod."),
            {"state_dict": prefixed("module._orig_mod.")},
            prefixed("_orig_mod.module."),
        ],
        ids=lambda content: "/".join(list(content)[:1]),
    )
    def test_wrappings_come_off(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / "w.pth")
        assert same(checkpoint.read_state(tmp_path / "w.pth"), dict(network().state_dict()))

    def test_safetensors_and_the_old_format(self, tmp_path: Path) -> None:
        state = dict(network().state_dict())
        safetensors.torch.save_file(state, tmp_path / "w.safetensors")
        assert same(checkpoint.read_state(tmp_path / "w.safetensors"), state)
        torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
        assert same(checkpoint.read_state(str(tmp_path / "w.pt")), state)

    def test_a_submodule_named_model_stays(self, tmp_path: Path) -> None:
        torch.save(prefixed("model."), tmp_path / "w.pth")
        assert checkpoint.read_state(tmp_path / "w.pth").keys() == prefixed("model.").keys()

    def test_a_name_with_module_inside_stays(self, tmp_path: Path) -> None:
        torch.save({"a.module.b": torch.ones(1)}, tmp_path / "w.pth")
        assert list(checkpoint.read_state(tmp_path / "w.pth")) == ["a.module.b"]


class TestRefusals:
    def check(self, file: Path, words: str) -> None:
        with pytest.raises(WeightsError, match=words) as caught:
            checkpoint.read_state(file)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_code_in_a_checkpoint_is_not_run(self, tmp_path: Path) -> None:
        sprung, file = tmp_path / "sprung", tmp_path / "w.pth"
        torch.save({"conv.weight": torch.ones(1), "extra": Trap(sprung)}, file)
        torch.load(file, weights_only=False)["extra"].close()
        assert sprung.exists()  # so the trap works
        sprung.unlink()
        self.check(file, r"not readable as weights alone .* save `model.state_dict\(\)`")
        file.write_bytes(pickle.dumps(Trap(sprung)))
        self.check(file, "not readable as weights alone")
        assert not sprung.exists()

    def test_a_whole_pickled_model(self, tmp_path: Path) -> None:
        torch.save(network(), tmp_path / "w.pth")
        self.check(tmp_path / "w.pth", "not readable as weights alone")

    @pytest.mark.parametrize(
        "content", [[1, 2], torch.ones(3), {"a": 1}, {"state_dict": {"a": ""}}]
    )
    def test_other_things_than_a_state_dict(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / "w.pth")
        self.check(tmp_path / "w.pth", "not a state dict of tensors")

    def test_no_file(self, tmp_path: Path) -> None:
        self.check(tmp_path / "gone.pth", "no such weights file")
        self.check(tmp_path, "no such weights file")

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_damage_is_never_another_error(self, tmp_path: Path, suffix: str) -> None:
        file = tmp_path / f"w{suffix}"
        if suffix == ".pth":
            torch.save(network().state_dict(), file)
        else:
            file.write_bytes(checkpoint.write_state(network().state_dict()))
        whole = file.read_bytes()
        for size in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:size])
            self.check(file, "not readable as weights alone")
        for position in range(0, min(len(whole), 3_000), 61):
            file.write_bytes(whole[:position] + b"\xff" + whole[position + 1 :])
            try:
                checkpoint.read_state(file)  # values may change unseen: the fingerprint sees it
            except WeightsError as error:
                assert str(file) in str(error)


class TestFitting:
    def test_weights_are_copied_and_cast(self) -> None:
        state = {name: value.half() for name, value in network().state_dict().items()}
        module = network()
        nn.init.zeros_(module.conv.weight)
        checkpoint.fit(module, state, None, "w.pth")
        assert module.conv.weight.dtype == torch.float32
        assert torch.equal(module.conv.weight, state["conv.weight"].float())

    def test_a_head_is_ignored_and_counts_of_batches_may_be_missing(self) -> None:
        trunk = network()
        trunk.fc = nn.Identity()
        state = network().state_dict()
        del state["norm.num_batches_tracked"]
        checkpoint.fit(trunk, state, "fc", "w.pth")
        with pytest.raises(WeightsError, match=r"2 unexpected \(fc.weight, fc.bias\)"):
            checkpoint.fit(trunk, state, None, "w.pth")

    def test_another_architecture_is_named_by_its_first_tensors(self) -> None:
        state = {f"encoder.{name}": value for name, value in network().state_dict().items()}
        with pytest.raises(WeightsError) as caught:
            checkpoint.fit(network(), state, None, "w.pth")
        message = str(caught.value)
        assert message.startswith("w.pth: weights of another architecture: 8 missing")
        assert "7 unexpected" not in message
        assert "encoder.conv.weight" in message
        assert ", …)" in message
        assert "--backbone" in message

    def test_another_width(self) -> None:
        with pytest.raises(WeightsError, match=r"conv.weight \(5, 3, 3, 3\) for \(4, 3, 3, 3\)"):
            checkpoint.fit(network(4), network(5).state_dict(), None, "w.pth")

    def test_nothing_is_loaded_when_something_is_wrong(self) -> None:
        module = network()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        state = {name: value + 1 for name, value in before.items() if name != "fc.bias"}
        with pytest.raises(WeightsError):
            checkpoint.fit(module, state, None, "w.pth")
        assert same(dict(module.state_dict()), before)


class TestDigest:
    def test_is_that_of_values_not_of_containers(self, tmp_path: Path) -> None:
        state = network().state_dict()
        torch.save(state, tmp_path / "w.pth")
        (tmp_path / "w.safetensors").write_bytes(checkpoint.write_state(state))
        found = {
            checkpoint.digest(state),
            checkpoint.digest(checkpoint.read_state(tmp_path / "w.pth")),
            checkpoint.digest(checkpoint.read_state(tmp_path / "w.safetensors")),
            checkpoint.digest(dict(reversed(state.items()))),
            checkpoint.digest(
                {n: v.contiguous(memory_format=torch.preserve_format) for n, v in state.items()}
            ),
        }
        assert len(found) == 1

    @pytest.mark.parametrize("change", ["value", "name", "dtype", "shape"])
    def test_changes_with_everything(self, change: str) -> None:
        weight = torch.tensor([[1.0, 2.0]])
        other = {
            "value": {"a": torch.tensor([[1.0, 2.0000002]])},
            "name": {"b": weight},
            "dtype": {"a": weight.half()},
            "shape": {"a": weight.T},
        }[change]
        assert checkpoint.digest(other) != checkpoint.digest({"a": weight})

    def test_odd_tensors(self) -> None:
        odd = {
            "scalar": torch.tensor(3),
            "empty": torch.empty(0, 4),
            "brain": torch.ones(2, dtype=torch.bfloat16),
            "truth": torch.tensor([True]),
            "strided": torch.arange(12).reshape(3, 4)[:, ::2],
        }
        assert checkpoint.digest(odd) == checkpoint.digest({n: v.clone() for n, v in odd.items()})

    def test_the_same_state_gives_the_same_bytes(self) -> None:
        state = network().state_dict()
        assert checkpoint.write_state(state) == checkpoint.write_state(
            dict(reversed(state.items()))
        )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("archive") / "model.pt2"
    program = torch.export.export(nn.Linear(3, 2), (torch.ones(1, 3),))
    torch.export.save(program, file)
    return file


class TestArchives:
    """``.pt2`` archives: ``torch.export.load`` would unpickle what these hold."""

    def planted(self, archive: Path, to: Path, change: dict[str, bytes]) -> Path:
        with zipfile.ZipFile(archive) as old, zipfile.ZipFile(to, "w") as new:
            for name in old.namelist():
                new.writestr(name, change.pop(name.split("/", 1)[1], old.read(name)))
            for name, data in change.items():
                new.writestr(f"model/{name}", data)
        return to

    def test_an_ordinary_one_passes(self, archive: Path) -> None:
        checkpoint.refuse_pickles(archive)

    @pytest.mark.parametrize(
        "place",
        [
            "data/sample_inputs/model.pt",
            "data/weights/model.pt",
            "data/constants/model.pt",
            "data/constants/custom_obj_0",
            "data/constants/opaque_obj_0",
        ],
    )
    def test_pickles_are_refused_and_not_run(
        self, archive: Path, tmp_path: Path, place: str
    ) -> None:
        torch.save({"a": Trap(tmp_path / "sprung")}, tmp_path / "trap.pt")
        trap = (tmp_path / "trap.pt").read_bytes()
        file = self.planted(archive, tmp_path / "x.pt2", {place: trap})
        with pytest.raises(
            WeightsError, match=r"x.pt2: not a torch.export archive of tensors alone"
        ):
            checkpoint.refuse_pickles(file)
        assert not (tmp_path / "sprung").exists()

    def test_weights_marked_as_pickled_are_refused(self, archive: Path, tmp_path: Path) -> None:
        place = "data/weights/model_weights_config.json"
        with zipfile.ZipFile(archive) as old:
            (name,) = [name for name in old.namelist() if name.endswith(place)]
            config = old.read(name).replace(b'"use_pickle": false', b'"use_pickle": true')
            config = config.replace(b'"use_pickle":false', b'"use_pickle":true')
        assert b"true" in config
        file = self.planted(archive, tmp_path / "x.pt2", {place: config})
        with pytest.raises(WeightsError, match="names pickled objects"):
            checkpoint.refuse_pickles(file)

    @pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x02}."])
    def test_no_archive(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "x.pt2").write_bytes(data)
        with pytest.raises(WeightsError, match=r"write one with torch.export.save"):
            checkpoint.refuse_pickles(tmp_path / "x.pt2")
