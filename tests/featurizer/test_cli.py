"""``python -m featurizer``: JSON on stdout, one line on stderr when it fails, and the status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featurizer.backbones import BackboneRequest
from featurizer.cli import main
from featurizer.embed import FeaturizerOptions, make_featurizer
from featurizer.projection import Projection
from tests.featurizer.test_backbones import one_thread
from tests.featurizer.test_embed import picture

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ["--backbone", "squeezenet1_1", "--weights", "random:0", "--input-px", "64"]
SMALL += ["--device", "cpu"]


def pictures(folder: Path, count: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    files = [folder / f"{i}.png" for i in range(count)]
    for i, file in enumerate(files):
        Image.fromarray(picture(64, 64, i)).save(file)
    return [str(file) for file in files]


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[Any], str]:
    status = main(list(argv))
    out = capsys.readouterr()
    return status, [json.loads(line) for line in out.out.splitlines()], out.err


def failed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    status, records, errors = run(capsys, *argv)
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert (status, records, len(lines)) == (1, [], 1), errors
    assert "Traceback" not in errors
    return lines[0]


def test_describe(capsys: pytest.CaptureFixture[str]) -> None:
    status, (found,), errors = run(capsys, "describe", *SMALL, "--resize", "crop")
    assert (status, errors) == (0, "")
    request = BackboneRequest("squeezenet1_1", "random:0", input_px=64)
    expected = make_featurizer(FeaturizerOptions(request, "crop"), "cpu").spec
    assert found["fingerprint"] == expected.fingerprint
    assert (found["dim"], found["device"], found["resize"]) == (512, "cpu", "crop")


def test_embed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = pictures(tmp_path, 3)
    status, found, _ = run(capsys, "embed", *SMALL, *files)
    assert status == 0
    assert [record["uri"] for record in found] == files
    request = BackboneRequest("squeezenet1_1", "random:0", input_px=64)
    featurizer = make_featurizer(FeaturizerOptions(request), "cpu")
    for i, record in enumerate(found):
        np.testing.assert_allclose(record["vector"], featurizer.embed([picture(64, 64, i)])[0])


def test_fit_projection(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pictures(tmp_path / "archive", 9)
    (tmp_path / "archive" / "notes.txt").write_text("no picture")
    for name in ("a", "b"):
        output = str(tmp_path / f"{name}.safetensors")
        argv = ["fit-projection", *SMALL, str(tmp_path / "archive"), "--dim", "4"]
        status, (found,), _ = run(capsys, *argv, "--output", output)
        assert status == 0
        assert (found["pictures"], found["from"], found["to"]) == (9, 512, 4)
        assert 0.5 < found["variance_kept"] <= 1
    data = (tmp_path / "a.safetensors").read_bytes()
    assert Projection.from_bytes(data, "a").dims == (512, 4)
    assert data == (tmp_path / "b.safetensors").read_bytes()


def test_fit_projection_writes_to_any_storage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from featurizer import storage

    pictures(tmp_path / "archive", 4)
    argv = ["fit-projection", *SMALL, str(tmp_path / "archive"), "--dim", "2"]
    assert run(capsys, *argv, "--output", "memory://fit/p.safetensors")[0] == 0
    assert storage.exists("memory://fit/p.safetensors")


class TestFailures:
    def test_pictures(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no more")
        missing, bad = str(tmp_path / "gone.jpg"), str(tmp_path / "bad.jpg")
        assert f"{missing}: could not read it: no such file" in failed(
            capsys, "embed", *SMALL, missing
        )
        assert bad in failed(capsys, "embed", *SMALL, bad)

    def test_options(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert "no backbone named 'resnet19'" in failed(
            capsys, "describe", "--backbone", "resnet19"
        )
        assert "write random:SEED" in failed(capsys, "describe", "--weights", "random:x")
        fit = ["fit-projection", *SMALL, "--output", str(tmp_path / "p")]
        assert "no such file" in failed(capsys, *fit, str(tmp_path / "gone"), "--dim", "2")
        assert "both are at least 1" in failed(capsys, *fit, str(tmp_path), "--dim", "0")
        (tmp_path / "empty").mkdir()
        assert "no picture here" in failed(capsys, *fit, str(tmp_path / "empty"), "--dim", "2")
        assert not (tmp_path / "p").exists()

    @pytest.mark.parametrize(
        "argv", [[], ["fly"], ["embed"], ["describe", "--back", "resnet18"], ["describe", "--x"]]
    )
    def test_usage(self, capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 2
        assert "usage: python -m featurizer" in capsys.readouterr().err


def test_as_a_process_help_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys, featurizer.cli, featurizer.manifest, featurizer.shards;"
        "assert not {'torch', 'faiss', 'apache_beam', 'nvidia.dali'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "featurizer", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "fit-projection" in done.stdout
