"""The training command, whole, on made-up textures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision.models import mobilenet_v2

from featurizer.terra import Terra128
from featurizer.training import terra128
from featurizer.training.snapshots import save_weights
from tests.featurizer.training.textures import make_textures

SMALL = ["--batch", "8", "--seed", "3"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_textures(tmp_path / "made")


def command(data: Path, out: Path, *more: str) -> list[str]:
    return ["--data", str(data), "--out", str(out), *SMALL, *more]


def call(capsys: pytest.CaptureFixture[str], argv: list[str], status: int = 0) -> tuple[dict, str]:
    """The result's JSON (empty after a failure) and what went to stderr."""
    assert terra128.main(argv) == status
    out, err = capsys.readouterr()
    assert out.count("\n") == (status == 0)
    return (json.loads(out) if status == 0 else {}), err


def test_two_epochs_beat_random_weights(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    random, trained = tmp_path / "random.safetensors", tmp_path / "trained.safetensors"
    torch.manual_seed(3)
    save_weights(random, Terra128(), {})
    before, _ = call(capsys, command(data, random, "--measure-only"))
    after, _ = call(capsys, command(data, trained, "--epochs", "2"))
    assert before["held_out"]["made"]["images"] == after["held_out"]["made"]["images"]
    assert after["held_out"]["made"]["mAP"] > before["held_out"]["made"]["mAP"] + 0.1
    assert after["seconds"] > 0
    Terra128().load_state_dict(load_file(trained))
    with safe_open(trained, "pt") as file:
        assert file.metadata()["training_data"] == "made"
        assert file.metadata()["seed"] == "3"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "made",
        "random.safetensors",
        "trained.safetensors",
    ]


class Stopped(Exception):
    """Stands for a kill between two epochs."""


def stop_after_first_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    save = terra128.save_checkpoint

    def save_and_stop(*args: object) -> None:
        save(*args)  # type: ignore[arg-type]
        raise Stopped

    monkeypatch.setattr(terra128, "save_checkpoint", save_and_stop)


def test_a_resumed_run_ends_where_an_undisturbed_one_does(
    capsys: pytest.CaptureFixture[str],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    call(capsys, command(data, whole, "--epochs", "2"))
    with monkeypatch.context() as patch:
        stop_after_first_epoch(patch)
        with pytest.raises(Stopped):
            terra128.main(command(data, resumed, "--epochs", "2"))
    assert not resumed.exists()
    _, err = call(capsys, command(data, resumed, "--epochs", "2", "--resume"))
    assert "epoch 2/2" in err
    assert "epoch 1/2" not in err.split("reading")[-1]
    expected, got = load_file(whole), load_file(resumed)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-2, atol=1e-2)


def test_resuming_with_other_settings_is_refused(
    capsys: pytest.CaptureFixture[str],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "w.safetensors"
    with monkeypatch.context() as patch:
        stop_after_first_epoch(patch)
        with pytest.raises(Stopped):
            terra128.main(command(data, out, "--epochs", "2"))
    _, err = call(capsys, command(data, out, "--resume", "--learning-rate", "0.01"), status=1)
    assert "learning_rate 0.0015, this run has 0.01" in err


def test_resuming_from_something_else_is_refused(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    (tmp_path / "w.safetensors.checkpoint").write_bytes(b"no checkpoint")
    _, err = call(capsys, command(data, tmp_path / "w.safetensors", "--resume"), status=1)
    assert "w.safetensors.checkpoint: not a checkpoint" in err


def test_a_teacher_is_learnt_from(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    torch.save(mobilenet_v2().state_dict(), tmp_path / "teacher.pth")
    teacher = ["--teacher", str(tmp_path / "teacher.pth")]
    found, _ = call(capsys, command(data, tmp_path / "w.safetensors", "--epochs", "1", *teacher))
    assert 0 < found["held_out"]["made"]["mAP"] <= 1


def test_a_dry_run_counts_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    found, _ = call(capsys, command(data, tmp_path / "w.safetensors", "--dry-run"))
    counts = found["training"]["made"]
    assert counts["classes"] == 3
    assert counts["train"] + counts["held_out"] == 120
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--epochs", "0"], "--epochs is 0"),
        (["--batch", "1"], "--batch is 1"),
        (["--threads", "0"], "--threads is 0"),
        (["--learning-rate", "nan"], "--learning-rate is nan"),
        (["--data", "elsewhere/made"], "share a name"),
        (["--teacher", "none.pth"], "none.pth: not a state dict"),
        (["--measure-only"], "w.safetensors: not Terra128 weights"),
    ],
)
def test_what_cannot_be_meant_fails_in_one_line(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    _, err = call(capsys, command(data, tmp_path / "w.safetensors", *more), status=1)
    assert message in err
    assert err.splitlines()[-1].startswith("error: ")


def test_a_folder_for_the_weights_that_is_not_there(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    _, err = call(capsys, command(data, tmp_path / "none" / "w.safetensors"), status=1)
    assert "no such folder for --out" in err


def test_unknown_options_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        terra128.main(command(data, tmp_path / "w.safetensors", "--epoch", "1"))
    assert stopped.value.code == 2


def test_help_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        terra128.main(["--help"])
    assert stopped.value.code == 0
    assert "--measure-only" in capsys.readouterr().out
