"""The demo's imagery: deterministic, told apart by class, complete or absent on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from featurizer.errors import StorageError, UsageError
from featurizer.tiles import place_of_name
from pipeline.synthetic import mosaic, noise
from pipeline.synthetic.__main__ import main
from pipeline.synthetic.archive import ArchiveParameters, plan_shots, write_archive
from pipeline.synthetic.landscapes import LANDSCAPES, RECIPES, generator

SMALL = {"images_per_class": 2, "size_px": 64, "mosaic_px": (700, 512), "progress": False}


def _digest(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): zlib.crc32(path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / "demo"
    write_archive(root, **SMALL)
    return root


@pytest.mark.parametrize("name", LANDSCAPES)
def test_a_seed_gives_the_same_picture_and_another_seed_another(name: str) -> None:
    paint = LANDSCAPES[name]
    first, again = (paint(generator(3, name, 0), 96) for _ in range(2))
    other = paint(generator(4, name, 0), 96)
    assert first.shape == (96, 96, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 5
    assert first.std() > 8, "a landscape is not one flat colour"


@pytest.mark.parametrize("name", LANDSCAPES)
@pytest.mark.parametrize("size_px", [64, 101])
def test_any_size_can_be_painted(name: str, size_px: int) -> None:
    assert LANDSCAPES[name](generator(0, name, 1), size_px).shape == (size_px, size_px, 3)


def _descriptor(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A colour histogram of 4 x 4 x 4 bins and four quantiles of the gradient's energy."""
    codes = (picture // 64).astype(int) @ np.array([16, 4, 1])
    colours = np.bincount(codes.ravel(), minlength=64) / codes.size
    grey = picture.mean(axis=2)
    energy = np.hypot(*np.gradient(grey))
    edges = np.quantile(energy, (0.25, 0.5, 0.75, 0.95)) / 255
    return np.concatenate([np.sqrt(colours), 3 * np.sqrt(edges)])


def test_classes_are_told_apart_by_colour_and_edges() -> None:
    known, count = 6, 10
    vectors = {
        name: np.stack([_descriptor(paint(generator(11, name, i), 96)) for i in range(count)])
        for name, paint in LANDSCAPES.items()
    }
    centroids = np.stack([v[:known].mean(axis=0) for v in vectors.values()])
    hits, labels = 0, range(len(vectors))
    for label, v in zip(labels, vectors.values(), strict=True):
        distance = np.linalg.norm(v[known:, None] - centroids[None], axis=2)
        hits += int((distance.argmin(axis=1) == label).sum())
    accuracy = hits / (len(vectors) * (count - known))
    assert accuracy > 0.6, (
        f"nearest centroid finds {accuracy:.2f}; chance is {1 / len(vectors):.2f}"
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(-5, 5), st.floats(0.1, 5))
def test_cells_match_brute_force(seed: int, corner: float, span: float) -> None:
    x, y = (plane * np.float32(span) + np.float32(corner) for plane in noise.positions(8))
    first, second, owner = noise.cells(np.random.default_rng(seed), x, y)
    points = np.random.default_rng(seed).random((2, 64 * 64), dtype=np.float32)
    for i in np.ndindex(x.shape):
        # Two squares to every side: more than the nine that may hold the nearest.
        near = [(c, r) for c in range(-2, 3) for r in range(-2, 3)]
        column, row = int(np.floor(x[i])), int(np.floor(y[i]))
        found = []
        for c, r in near:
            number = (row + r) % 64 * 64 + (column + c) % 64
            px, py = points[:, number] + np.array([column + c, row + r], np.float32)
            found.append((float(np.hypot(px - x[i], py - y[i])), number))
        found.sort()
        assert first[i] == pytest.approx(found[0][0], abs=1e-4)
        if found[1][0] < 1 and found[1][0] - found[0][0] > 1e-3:
            # Beyond a distance of 1 the second nearest may lie outside the nine squares.
            assert second[i] == pytest.approx(found[1][0], abs=1e-4)
            assert owner[i] == found[0][1]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(1.5, 4), st.floats(1, 8), st.integers(16, 70))
def test_fractal_noise_is_standardised_and_finite(
    seed: int, beta: float, low: float, size_px: int
) -> None:
    plane = noise.fractal(np.random.default_rng(seed), size_px, beta, low)
    assert plane.shape == (size_px, size_px)
    assert plane.dtype == np.float32
    assert abs(float(plane.mean())) < 1e-3
    assert float(plane.std()) == pytest.approx(1, abs=1e-3)


def test_level_ground_is_fully_lit_and_a_slope_to_the_light_more() -> None:
    x, _ = noise.positions(32)
    assert np.allclose(noise.hillshade(np.zeros_like(x), 1.0, 1.0), 1)
    towards, away = noise.hillshade(x, 0.0, 0.5), noise.hillshade(-x, 0.0, 0.5)
    assert (towards > 1).all()
    assert (away < 1).all()


def test_the_folder_holds_what_the_plan_says(archive: Path) -> None:
    found = {str(p.relative_to(archive / "images")) for p in (archive / "images").rglob("*.*")}
    assert found == {s.path for s in plan_shots(ArchiveParameters(2))}
    assert {p.name for p in (archive / "images").iterdir()} == set(RECIPES)
    with Image.open(archive / "images" / "dunes" / "dunes_0000.jpg") as picture:
        assert picture.format == "JPEG"
        assert picture.size == (64, 64)
        assert picture.mode == "RGB"


def test_the_mosaic_is_a_georeferenced_cog_with_null_areas(archive: Path) -> None:
    (path,) = (archive / "scenes").iterdir()
    named = place_of_name(path.name)
    assert named.taken == datetime(2022, 6, 18, tzinfo=UTC)
    with rasterio.open(path) as scene:
        assert named.bounds == pytest.approx(tuple(scene.bounds), abs=1e-6)
        assert (scene.width, scene.height, scene.count) == (700, 512, 3)
        assert scene.crs.to_epsg() == 4326
        assert scene.nodata == 0
        assert scene.block_shapes[0] == (256, 256)
        assert scene.compression.value == "DEFLATE"
        assert scene.overviews(1)
        assert scene.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert scene.bounds.left == mosaic.WEST
        assert scene.bounds.top == mosaic.NORTH
        pixels = scene.read()
        null = scene.dataset_mask() == 0
    assert np.array_equal(null, (pixels == 0).any(axis=0))
    assert 0.05 < null.mean() < 0.3


@pytest.mark.parametrize("seed", range(5))
def test_null_share_of_any_seed(seed: int) -> None:
    assert 0.05 < mosaic.null_area(1024, 768, seed).mean() < 0.3


def test_a_patch_far_from_its_seams_is_the_landscape_itself() -> None:
    patches = mosaic.plan_patches(1024, 1024, seed=2)
    pictures = [mosaic.paint_patch(p) for p in patches]
    scene = mosaic.assemble(patches, pictures, (1024, 1024), seed=2)
    patch, picture = patches[4], pictures[4]
    window = scene[patch.y + 226 : patch.y + 286, patch.x + 226 : patch.x + 286]
    valid = (window > 0).all(axis=2)
    assert valid.any()
    difference = np.abs(window.astype(int) - picture[226:286, 226:286])[valid]
    assert difference.max() <= 1


def test_the_same_parameters_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    write_archive(tmp_path, **SMALL)
    assert _digest(tmp_path) == _digest(archive)


def test_processes_give_the_bytes_of_one_thread(archive: Path, tmp_path: Path) -> None:
    # 15 classes x 8 is past the size from which processes are used; pictures do not depend on it.
    write_archive(tmp_path, **(SMALL | {"images_per_class": 8}))
    many, few = _digest(tmp_path), _digest(archive)
    shared = [name for name in few if name in many and name.startswith("images/")]
    assert len(shared) == 2 * len(RECIPES)  # one dated and one plain picture of each class
    assert all(many[name] == few[name] for name in shared)
    (scene,) = (name for name in few if name.startswith("scenes/"))
    assert many[scene] == few[scene]


def test_a_second_call_does_nothing(archive: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in archive.rglob("*")}
    summary = write_archive(archive, **SMALL)
    assert not summary.created
    assert summary.image_count == 2 * len(RECIPES)
    assert summary.seconds < 1
    assert {p: p.stat().st_mtime_ns for p in archive.rglob("*")} == before


def test_other_parameters_in_the_same_folder_are_refused(archive: Path) -> None:
    before = _digest(archive)
    with pytest.raises(UsageError, match=r"other parameters.*delete"):
        write_archive(archive, **(SMALL | {"seed": 1}))
    assert _digest(archive) == before


def test_what_a_killed_run_left_is_replaced(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "demo"
    write_archive(root, **SMALL)
    (root / "archive.json").rename(root / "archive.started.json")
    (root / "images" / "coast" / "coast_0000.jpg").write_bytes(b"half a pict")
    (root / "images" / "coast" / "coast_9999.jpg.part").write_bytes(b"stray")
    next((root / "scenes").iterdir()).unlink()
    assert write_archive(root, **SMALL).created
    assert _digest(root) == _digest(archive)


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:  # gone, even between opening and reading
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see processes")
def test_a_run_killed_at_work_leaves_no_marker_and_no_process_and_is_made_good(
    archive: Path, tmp_path: Path
) -> None:
    root, repository = tmp_path / "demo", Path(__file__).parents[2]
    command = [sys.executable, "-m", "pipeline.synthetic", str(root), "--quiet"]
    with subprocess.Popen([*command, "--images-per-class", "40"], cwd=repository) as process:
        while process.poll() is None and not list(root.rglob("*.jpg")):
            time.sleep(0.01)
        workers = _children(process.pid)
        process.kill()
    assert len(workers) >= 2 or os.cpu_count() == 1
    deadline = time.monotonic() + 20
    while any(map(_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [pid for pid in workers if _running(pid)]
    assert list(root.rglob("*.jpg"))
    assert not (root / "archive.json").exists()
    write_archive(root, **SMALL)
    assert _digest(root) == _digest(archive)


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(UsageError, match="empty folder"):
        write_archive(tmp_path, **SMALL)
    assert (tmp_path / "images" / "holiday.jpg").read_bytes() == b"mine"


def test_a_root_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="writable folder"):
        write_archive(tmp_path / "file", **SMALL)


@pytest.mark.parametrize(
    "wrong",
    [{"images_per_class": 0}, {"size_px": 8}, {"seed": -1}, {"mosaic_px": (100, 4096)}],
)
def test_values_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="give "):
        write_archive(tmp_path, **(SMALL | wrong))
    assert not list(tmp_path.iterdir())


def test_the_command_prints_one_json_line(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--images-per-class", "2", "--size-px", "64", "--mosaic-px", "700", "512"]
    assert main([str(archive), *sizes]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["image_count"] == 2 * len(RECIPES)
    assert summary["created"] is False
    assert Path(summary["mosaic"]).is_file()


def test_the_command_says_in_one_line_what_is_wrong(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(archive), "--seed", "9"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    with pytest.raises(SystemExit, match="2"):
        main([str(archive), "--seed-value", "9"])
