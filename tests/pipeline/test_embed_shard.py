"""One shard from its inputs to its files: nothing comes apart, and a retry writes the same."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featurizer import shards, storage
from featurizer.backbones import BackboneRequest
from featurizer.embed import FeaturizerOptions, make_featurizer, use_one_torch_thread
from featurizer.errors import EmbeddingError, StorageError
from featurizer.tiles import parse_tile_id
from pipeline.embed_shard import _decoded_bytes, embed_shard
from pipeline.tiling import TilingOptions, tile_windows
from tests.featurizer.test_backbones import one_thread
from tests.pipeline.imagery import (
    CORRUPT,
    MeanColours,
    a_job,
    embed_all,
    encoded,
    mean_colours,
    photo_folder,
    picture,
    plans_of,
    save,
    save_raster,
)

__all__ = ["one_thread"]


def tree(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(Path(root).rglob("*"))
        if path.is_file()
    }


def stored(root, record):
    """(uri, window or None) -> vector, and the rejects."""
    rows = shards.read_rows(root, record).to_pylist()
    vectors = shards.read_vectors(root, record).astype(np.float32)
    assert len(rows) == len(vectors) == record.rows
    found = {row["tile_id"]: vector for row, vector in zip(rows, vectors, strict=True)}
    assert len(found) == len(rows)
    return found, shards.read_rejects(root, record).to_pylist()


def test_each_vector_is_that_of_its_picture_though_a_third_is_broken_or_gone(tmp_path):
    source, root = tmp_path / "in", tmp_path / "out"
    good = photo_folder(source, 60, bad_every=3)
    job = a_job(source, root, threads=3)
    (plan,) = plans_of(job)
    gone = sorted(good)[5]
    Path(gone).unlink()
    with ThreadPoolExecutor(3) as pool:
        record = embed_shard(plan, job, MeanColours(), pool, lambda _: None)
    found, rejects = stored(str(root), record)
    assert list(found) == [uri for uri in sorted(good) if uri != gone]
    for uri, vector in found.items():
        np.testing.assert_allclose(vector, mean_colours(good[uri]), atol=1e-3)
    assert len(rejects) == 21
    for reject in rejects:
        assert reject["reason"] in ("empty", "unknown-format", "corrupt", "missing")
        assert reject["stage"] == ("read" if reject["uri"] == gone else "decode")
        assert reject["detail"]
    assert {r["uri"] for r in rejects} == {i.uri for i in plan.items} - set(found)
    assert record.rejects["missing"] == 1
    assert record.reject_count == 21


def test_a_real_network_gives_each_picture_its_own_vector(tmp_path, one_thread):
    source, root = tmp_path / "in", tmp_path / "out"
    good = photo_folder(source, 24, bad_every=3)
    request = BackboneRequest("resnet18", "random:0", input_px=64)
    network = make_featurizer(FeaturizerOptions(backbone=request), "cpu")
    job = a_job(source, root, featurizer=network.spec.fingerprint, threads=2)
    with ThreadPoolExecutor(2, initializer=use_one_torch_thread) as pool:
        record = embed_shard(plans_of(job)[0], job, network, pool, lambda _: None)
    found, rejects = stored(str(root), record)
    assert (len(found), len(rejects)) == (16, 8)
    alone = np.stack([network.embed([good[uri]])[0] for uri in found])
    cosines = np.stack(list(found.values())) @ alone.T
    assert (cosines.argmax(axis=1) == np.arange(16)).all()
    assert cosines.diagonal().min() > 0.999


@pytest.mark.parametrize("rows", [16, 1000])
def test_threads_change_no_byte(tmp_path, rows):
    source = tmp_path / "in"
    photo_folder(source, 50, bad_every=7)
    save_raster(source / "scene.tif", scene(90, 120))
    trees, told = [], []
    for threads in (1, 4):
        done = []
        job = a_job(
            source,
            tmp_path / f"out{threads}",
            threads=threads,
            shard_rows=rows,
            tiling=TilingOptions(32, 16),
        )
        embed_all(job, told=done)
        trees.append(tree(job.root))
        told.append([(len(one.rows), len(one.rejects)) for one in done])
    assert trees[0] == trees[1]
    assert told[0] == told[1]
    assert all(name.startswith("shards/") for name in trees[0])


def test_doing_it_again_writes_the_same_bytes(tmp_path):
    photo_folder(tmp_path / "in", 20, bad_every=4)
    job = a_job(tmp_path / "in", tmp_path / "out", threads=2)
    embed_all(job)
    before = tree(job.root)
    embed_all(job)
    assert tree(job.root) == before


def test_what_the_model_cannot_place_is_rejected_with_its_window(tmp_path):
    source, root = tmp_path / "in", tmp_path / "out"
    values = scene(32, 96)
    values[:, :, 32:64] = 0  # black, but not null: MeanColours answers NaN
    raster = save_raster(source / "scene.tif", values)
    black = save(source / "black.png", np.zeros((8, 8, 3), np.uint8))
    save(source / "other.png", picture(3))
    (record,) = embed_all(a_job(source, root, tiling=TilingOptions(32, 32)))
    found, rejects = stored(str(root), record)
    assert list(found) == [str(source / "other.png"), f"{raster}#0,0,32,32", f"{raster}#64,0,32,32"]
    assert np.isfinite(np.stack(list(found.values()))).all()
    assert [(r["uri"], r["stage"], r["reason"], r["x"]) for r in rejects] == [
        (black, "embed", "no-vector", None),
        (raster, "embed", "no-vector", 32),
    ]


def scene(height, width, seed=0):
    return np.random.default_rng(seed).integers(1, 256, (3, height, width), np.uint8)


def test_rows_of_a_raster_have_their_windows_places_and_vectors(tmp_path):
    values = scene(96, 128)
    uri = save_raster(tmp_path / "in/scene.tif", values)
    job = a_job(tmp_path / "in", tmp_path / "out", tiling=TilingOptions(32, 32))
    (record,) = embed_all(job)
    found, rejects = stored(job.root, record)
    assert not rejects
    windows = tile_windows(128, 96, 32, 32)
    assert list(found) == [f"{uri}#{w.x},{w.y},32,32" for w in windows]
    for w, vector in zip(windows, found.values(), strict=True):
        cut = values[:, w.y : w.y + 32, w.x : w.x + 32].transpose(1, 2, 0)
        np.testing.assert_allclose(vector, mean_colours(cut), atol=1e-3)
    table = shards.read_rows(job.root, record).to_pylist()
    assert table[5]["west"] == pytest.approx(10.32)
    assert table[5]["north"] == pytest.approx(49.68)
    assert table[5]["bbox"]["xmax"] == pytest.approx(10.64)


def test_the_marker_says_what_is_needed_to_cut_again(tmp_path):
    deep = scene(64, 64).astype(np.uint16) * 100
    raster = save_raster(tmp_path / "in/deep.tif", deep)
    photo = save(tmp_path / "in/photo.png", picture(0))
    job = a_job(tmp_path / "in", tmp_path / "out", tiling=TilingOptions(32, 32))
    (record,) = embed_all(job)
    marker = json.loads((tmp_path / "out/shards" / record.name / "shard.json").read_bytes())
    first, second = marker["inputs"]
    assert (first["uri"], first["kind"], first["windows"], first["kept"]) == (
        raster,
        "windows",
        [0, 4],
        4,
    )
    assert len(first["stretch"]["low"]) == 3
    assert (second["uri"], second["size"]) == (photo, storage.stat(photo).size)
    assert second["etag"] == storage.stat(photo).etag
    assert "stretch" not in second
    assert marker["tiling"]["tile_px"] == 32
    assert marker["featurizer"] == job.featurizer
    assert marker["source_bytes"] == sum(storage.stat(uri).size for uri in (raster, photo))


def test_a_shard_of_nothing_but_rejects_is_complete_and_empty(tmp_path):
    for i, data in enumerate(CORRUPT):
        save(tmp_path / f"in/{i}.jpg", data)
    job = a_job(tmp_path / "in", tmp_path / "out")
    (record,) = embed_all(job)
    assert (record.rows, record.reject_count) == (0, len(CORRUPT))
    assert shards.read_vectors(job.root, record).shape == (0, 12)
    assert shards.complete(job.root, record.name)


class Failing(MeanColours):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def embed_batch(self, chunks):
        if len(self.batches) == 2:
            raise self.error
        return super().embed_batch(chunks)


@pytest.mark.parametrize("error", [EmbeddingError("too small a GPU"), StorageError("gone")])
def test_a_fault_of_the_job_leaves_no_shard(tmp_path, error):
    photo_folder(tmp_path / "in", 40)
    job = a_job(tmp_path / "in", tmp_path / "out", threads=2)
    with pytest.raises(type(error), match=str(error)):
        embed_all(job, Failing(error))
    assert not shards.complete(job.root, plans_of(job)[0].name)


def test_pictures_of_every_kind_in_one_batch(tmp_path):
    """Against Pillow: what a grey, palette, alpha, CMYK or turned picture shows."""
    folder = tmp_path / "in"
    image = Image.fromarray(picture(7, 64, 48))
    expected = {}
    for name, made, options in [
        ("grey.png", image.convert("L"), {}),
        ("palette.png", image.convert("P"), {}),
        ("alpha.png", image.convert("RGBA"), {}),
        ("cmyk.jpg", image.convert("CMYK"), {"quality": 95}),
        ("photo.webp", image, {"lossless": True}),
        ("photo.gif", image, {}),
        ("photo.bmp", image, {}),
    ]:
        folder.mkdir(exist_ok=True)
        made.save(folder / name, **options)
        with Image.open(folder / name) as shown:
            expected[str(folder / name)] = mean_colours(np.asarray(shown.convert("RGB")))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif, quality=95)
    turned = image.rotate(-90, expand=True)
    expected[str(folder / "turned.jpg")] = mean_colours(np.asarray(turned))
    (record,) = embed_all(a_job(folder, tmp_path / "out"))
    found, rejects = stored(str(tmp_path / "out"), record)
    assert not rejects
    assert set(found) == set(expected)
    for uri, vector in found.items():
        np.testing.assert_allclose(vector, expected[uri], atol=0.01, err_msg=uri)


DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not (DATA / "corrupt").is_dir(), reason="no ../shared/data/corrupt")
def test_the_corrupt_files_cost_their_neighbours_nothing(tmp_path):
    bad = sorted(path for path in (DATA / "corrupt").iterdir() if path.suffix != ".tsv")
    lines = ["uri"]
    good = {}
    for i, path in enumerate(bad):
        uri = save(tmp_path / f"in/{i:03d}.png", picture(i))
        good[uri] = picture(i)
        lines += [f'"{uri}"', f'"{path}"']
    table = save(tmp_path / "list.csv", "\n".join(lines).encode())
    job = a_job(table, tmp_path / "out", batch=64, threads=2)
    (record,) = embed_all(job)
    found, rejects = stored(job.root, record)
    for uri, pixels in good.items():
        np.testing.assert_allclose(found[uri], mean_colours(pixels), atol=1e-3)
    shown = {parse_tile_id(name)[0] for name in found} - good.keys()
    rejected = {reject["uri"] for reject in rejects}
    assert shown | rejected == {str(path) for path in bad}
    assert all(reject["reason"] and reject["stage"] for reject in rejects)
    assert len(rejected) > 50
    assert record.reject_count == len(rejects)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"icc_profile": bytes(150_000)}),  # in three segments before the frame
        ("PNG", {}),
        ("TIFF", {}),
        ("WEBP", {}),
        ("JPEG2000", {}),
    ],
)
def test_the_size_of_a_picture_is_known_before_it_is_decoded(form, options):
    data = encoded(picture(0, 61, 83), form, **options)
    assert _decoded_bytes(data) == 3 * 61 * 83
    for cut in range(0, min(len(data), 200)):
        assert _decoded_bytes(data[:cut]) >= 0


MEMORY_LIMIT_MB = 300  # above what is in use before the first batch

PHOTOS = """
import resource, sys
from tests.pipeline.imagery import a_job, embed_all
from featurizer.decode import decode
from pathlib import Path
job = a_job(sys.argv[1], sys.argv[2], batch=64, threads=2, tile="never")
decode([Path(sys.argv[3]).read_bytes()])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(record,) = embed_all(job)
assert record.rows == 64, record.rejects
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_a_batch_of_photographs_stays_within_its_bound(tmp_path):
    """64 of 12 megapixels, 36 MB each when decoded: 2.3 GB in one batch."""
    flat = np.full((3000, 4000, 3), 90, np.uint8)
    flat[::50] = 200
    photo = io.BytesIO()
    Image.fromarray(flat).save(photo, "JPEG", quality=60)
    save(tmp_path / "in/0.jpg", photo.getvalue())
    for i in range(1, 64):
        (tmp_path / f"in/{i}.jpg").hardlink_to(tmp_path / "in/0.jpg")
    small = save(tmp_path / "small.jpg", encoded(picture(0), "JPEG"))
    done = subprocess.run(
        [sys.executable, "-c", PHOTOS, str(tmp_path / "in"), str(tmp_path / "out"), small],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < MEMORY_LIMIT_MB
