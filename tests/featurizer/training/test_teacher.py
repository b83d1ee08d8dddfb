"""Targets from a teacher."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import mobilenet_v2

from featurizer.errors import WeightsError
from featurizer.training.folders import read_folder
from featurizer.training.teacher import TAUGHT_DIM, teacher_targets
from tests.featurizer.training.textures import make_textures


def test_training_rows_have_unit_targets_and_held_out_rows_have_none(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(mobilenet_v2().state_dict(), tmp_path / "teacher.pth")
    folder = read_folder(make_textures(tmp_path / "made", per_class=8))
    (targets,) = teacher_targets([folder], tmp_path / "teacher.pth", torch.device("cpu"))
    assert targets.shape == (24, TAUGHT_DIM)
    lengths = targets.float().norm(dim=1)
    assert (lengths[folder.held] == 0).all()
    torch.testing.assert_close(
        lengths[~folder.held], torch.ones(int((~folder.held).sum())), rtol=0.01, atol=0.01
    )


def test_other_weights_are_refused(tmp_path: Path) -> None:
    folder = read_folder(make_textures(tmp_path / "made", per_class=8))
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not a state dict of torchvision's mobilenet_v2"):
        teacher_targets([folder], tmp_path / "other.pth", torch.device("cpu"))
