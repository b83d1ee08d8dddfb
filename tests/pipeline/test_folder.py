"""A folder or bucket of pictures: which files, in which order, with which class, when and where."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest

from featurizer import storage
from featurizer.errors import SourceError
from pipeline.config import LabelRule, SourceOptions
from pipeline.plan import Item
from pipeline.sources import list_items
from pipeline.sources.folder import IMAGE_SUFFIXES, label_of, suffix
from tests.featurizer.test_object_storage import bucket
from tests.pipeline.imagery import picture, save

__all__ = ["bucket"]


def names(root: Path | str, labels: LabelRule = "parent") -> dict[str, str | None]:
    return {item.uri.removeprefix(f"{root}/"): item.label for item in listed(str(root), labels)}


def listed(root: str, labels: LabelRule = "parent") -> list[Item]:
    return list(list_items(SourceOptions(root, labels=labels)))


def test_nested_flat_and_unlabelled_in_one_fixed_order(tmp_path):
    for name in ("b/2.png", "b/1.png", "a.png", "a/x/3.png", "z.png", "b.png"):
        save(tmp_path / name, b"x")
    assert list(names(tmp_path)) == ["a/x/3.png", "a.png", "b/1.png", "b/2.png", "b.png", "z.png"]
    assert list(names(tmp_path)) == list(names(tmp_path))


@pytest.mark.parametrize(
    ("rule", "found"),
    [("parent", ["x", "b", None]), ("top", ["a", "b", None]), ("none", [None, None, None])],
)
def test_label_rules(tmp_path, rule, found):
    for name in ("a/x/1.png", "b/1.png", "c.png"):
        save(tmp_path / name, b"x")
    assert list(names(tmp_path, rule).values()) == found


@pytest.mark.parametrize("root", ["/data/in", "/data/in/", "gs://in", "gs://in/"])
def test_the_root_is_no_class(root):
    base = root.rstrip("/")
    assert label_of(f"{base}/1.png", root, "parent") is None
    assert label_of(f"{base}/a b/ü/1.png", root, "parent") == "ü"
    assert label_of(f"{base}/a b/ü/1.png", root, "top") == "a b"


def test_hidden_and_foreign_files_are_passed_over(tmp_path):
    save(tmp_path / "good.JPG", b"x")
    for name in (
        ".hidden.png",
        ".git/a.png",
        "notes.txt",
        "png",
        "a.d/jpg",
        "scene.tif.aux.xml",
        ".jpg",
        "archive.zip",
    ):
        save(tmp_path / name, b"x")
    os.mkfifo(tmp_path / "pipe.png")
    assert list(names(tmp_path)) == ["good.JPG"]


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("/a.b/c", ""),
        ("/a/b.JPEG", "jpeg"),
        ("gs://x/a.tar.gz", "gz"),
        ("/a/.png", "png"),
        ("a.", ""),
    ],
)
def test_suffix(uri, found):
    assert suffix(uri) == found


@pytest.mark.parametrize("ending", sorted(IMAGE_SUFFIXES))
def test_every_suffix_counts(tmp_path, ending):
    save(tmp_path / f"x.{ending}", b"not really")
    assert list(names(tmp_path)) == [f"x.{ending}"]


def test_names_as_gibs_downloader_writes_them_give_date_and_bounds(tmp_path):
    save(tmp_path / "2024-05-31_-10.5,20,-8.5,22.jpg", b"x")
    save(tmp_path / "2024-02-31_0,0,1,1.jpg", b"x")
    no_date, placed = listed(str(tmp_path))
    assert placed.bounds == (20.0, -10.5, 22.0, -8.5)  # the name has south first
    assert placed.taken == datetime(2024, 5, 31, tzinfo=UTC)
    assert (no_date.bounds, no_date.taken) == (None, None)


def test_links_are_followed_once_and_a_dead_one_is_listed(tmp_path):
    save(tmp_path / "a/1.png", b"x")
    (tmp_path / "a/back").symlink_to(tmp_path)
    (tmp_path / "link.png").symlink_to(tmp_path / "a/1.png")
    (tmp_path / "dead.png").symlink_to(tmp_path / "nowhere")
    assert list(names(tmp_path)) == ["a/1.png", "dead.png", "link.png"]


def test_etags_follow_the_bytes(tmp_path):
    save(tmp_path / "a.png", b"x")
    (before,) = listed(str(tmp_path))
    assert listed(str(tmp_path)) == [before]
    save(tmp_path / "a.png", b"y")
    assert listed(str(tmp_path)) != [before]
    assert before.size == 1


def test_nothing_there_and_nothing_in_it(tmp_path):
    with pytest.raises(SourceError, match="nothing is there"):
        listed(str(tmp_path / "missing"))
    save(tmp_path / "notes.txt", b"x")
    with pytest.raises(SourceError, match=r"no pictures here.*jpg.*csv"):
        listed(str(tmp_path))
    with pytest.raises(SourceError, match="neither a folder"):
        listed(str(tmp_path / "notes.txt"))


def test_a_folder_may_be_called_like_a_file(tmp_path):
    for folder in ("odd.csv", "odd.png"):
        save(tmp_path / folder / "a.png", b"x")
        assert list(names(tmp_path / folder)) == ["a.png"]


def test_one_picture_is_a_source_too(tmp_path):
    place = save(tmp_path / "one.png", picture(1))
    assert [item.uri for item in listed(place)] == [place]


def fill(root: str) -> None:
    for name in ("c/2.png", "c/1.png", "d/deep/3.JPG", "top.webp", "notes.txt", ".hidden/4.png"):
        storage.write_bytes(f"{root}/{name}", name.encode())


EXPECTED = {"c/1.png": "c", "c/2.png": "c", "d/deep/3.JPG": "deep", "top.webp": None}


def test_in_memory_objects():
    root = f"memory://{uuid.uuid4().hex}"
    fill(root)
    assert names(root) == EXPECTED
    first = listed(root)
    assert [item.size for item in first] == [7, 7, 12, 8]
    assert len({item.etag for item in first} - {""}) >= 1
    fsspec.filesystem("memory").rm(root, recursive=True)
    with pytest.raises(SourceError, match="nothing is there"):
        listed(root)


def test_google_cloud_storage(bucket):
    root = f"{bucket}/{uuid.uuid4().hex}"
    fill(root)
    assert names(root) == EXPECTED
    first = listed(root)
    storage.write_bytes(f"{root}/c/1.png", b"other bytes")
    second = listed(root)
    assert second[1:] == first[1:]
    assert replace(second[0], etag=first[0].etag, size=first[0].size) == first[0]
    assert second[0].etag != first[0].etag
    with pytest.raises(SourceError, match="nothing is there"):
        listed(f"{bucket}/none")
