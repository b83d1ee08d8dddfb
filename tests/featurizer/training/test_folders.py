"""Reading labelled folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featurizer.errors import SourceError
from featurizer.training.folders import MAX_SIDE_PX, read_folder
from featurizer.training.split import held_out
from tests.featurizer.training.textures import make_textures


def test_rows_are_the_files_in_order(tmp_path: Path) -> None:
    folder = read_folder(make_textures(tmp_path / "made", per_class=6, side=20))
    files = sorted((tmp_path / "made").glob("*/*"))
    assert folder.name == "made"
    assert folder.classes == ("fine", "middle", "wide")
    assert folder.pixels.shape == (18, 20, 20, 3)
    for row, file in enumerate(files):
        np.testing.assert_array_equal(folder.pixels[row].numpy(), np.asarray(Image.open(file)))
        assert folder.classes[int(folder.labels[row])] == file.parent.name
        assert bool(folder.held[row]) is held_out(f"made/{file.parent.name}/{file.name}")


def test_the_two_sides_of_the_split_are_all_rows_and_share_none(tmp_path: Path) -> None:
    folder = read_folder(make_textures(tmp_path / "made", per_class=10, side=8))
    held, free = folder.rows(held=True), folder.rows(held=False)
    assert sorted([*held, *free]) == list(range(30))


def test_a_batch_is_channels_first_and_in_the_order_asked_for(tmp_path: Path) -> None:
    folder = read_folder(make_textures(tmp_path / "made", per_class=6, side=8))
    batch = folder.batch([5, 2])
    assert batch.shape == (2, 3, 8, 8)
    np.testing.assert_array_equal(batch[1].permute(1, 2, 0).numpy(), folder.pixels[2].numpy())


def test_odd_sizes_take_the_commonest_side_and_large_ones_are_reduced(tmp_path: Path) -> None:
    made = make_textures(tmp_path / "made", per_class=6, side=300)
    Image.new("L", (31, 17)).save(made / "fine" / "odd.png")
    assert read_folder(made).pixels.shape == (19, MAX_SIDE_PX, MAX_SIDE_PX, 3)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        read_folder(tmp_path / "none")


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "only").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "only" / "a.png")
    with pytest.raises(SourceError, match="1 class folders"):
        read_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image", "truncated"])
def test_a_file_that_does_not_decode_is_named(tmp_path: Path, content: bytes | str) -> None:
    made = make_textures(tmp_path / "made", per_class=6, side=32)
    bad = made / "wide" / "zz.png"
    if isinstance(content, str):
        content = (made / "wide" / "0.png").read_bytes()[:-400]
    bad.write_bytes(content)
    with pytest.raises(SourceError, match=r"zz\.png.*remove or repair"):
        read_folder(made)
