"""The Beam jobs on real pictures: what is made again, what is not, and how they fail."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from featurizer import manifest, shards
from featurizer.errors import (
    ContractError,
    RejectShareError,
    StorageError,
    UsageError,
    WorldsiftError,
)
from pipeline import runner
from pipeline.config import RunnerOptions
from pipeline.embedding import _job
from pipeline.options import parse
from pipeline.plan import plan_shards
from pipeline.sources import list_items
from tests.pipeline.runs import OPTIONS, call, stamps, tree, write_pictures
from tests.serving.gallery import encoded, texture

PORTABLE = ("--", "--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures and the archive indexed from them; only to be copied."""
    folder = tmp_path_factory.mktemp("original")
    write_pictures(folder / "pictures", 40)
    call("index", folder / "pictures", folder / "root", *OPTIONS).record  # noqa: B018
    return folder / "pictures", folder / "root"


@pytest.fixture
def archive(original: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same archive, to be changed: pictures as they were, to the nanosecond."""
    pictures, root = original
    shutil.copytree(root, tmp_path / "root")
    yield pictures, tmp_path / "root"


def rows_of(root: Path) -> dict[str, list[str]]:
    """The uris of each shard of the newest inventory."""
    inventory = manifest.read_inventory(str(root), manifest.latest_inventory(str(root)))
    return {
        shard.name: shards.read_rows(str(root), shards.read_record(str(root), shard.name))[
            "uri"
        ].to_pylist()
        for shard in inventory.shards
    }


def test_every_picture_is_one_row_once(original: tuple[Path, Path]) -> None:
    pictures, root = original
    uris = [uri for shard in rows_of(root).values() for uri in shard]
    assert uris == sorted(str(path) for path in pictures.rglob("*.png"))


def planned(pictures: Path, root: Path) -> set[str]:
    """The names of the shards that the pictures would be divided into."""
    job = _job(parse(["embed", str(pictures), str(root), *OPTIONS]), only_featurizer(root))
    return {p.name for p in plan_shards(list_items(job.source), job.shard_rows, job.settings)}


def only_featurizer(root: Path) -> str:
    (folder,) = (root / "featurizers").iterdir()
    return folder.name


def add_picture(pictures: Path, root: Path) -> Path:
    """Adds one where its shard ends at a boundary that the pictures themselves set, as most do.

    (A shard that is cut for being full moves the next one's start, up to the next such boundary.)
    """
    before = planned(pictures, root)
    for i in range(40):
        added = pictures / f"class{i % 3}" / f"picture{i:03d}x.png"
        added.write_bytes(encoded(texture(500, 48)))
        if len(planned(pictures, root) - before) == 1:
            return added
        added.unlink()
    raise AssertionError("every place for a new picture would change several shards")


def test_a_new_picture_makes_its_own_shard_again(archive: tuple[Path, Path]) -> None:
    pictures, root = archive
    before, times = rows_of(root), stamps(root)
    assert before.keys() == planned(pictures, root)
    added = add_picture(pictures, root)
    try:
        record = call("index", pictures, root, *OPTIONS).record
    finally:
        added.unlink()
    after = rows_of(root)
    (new,) = after.keys() - before.keys()
    assert str(added) in after[new]
    assert record["rows"] == 41
    assert record["embed"]["embedded_now"] == len(after[new]) <= 16
    kept = {path: time for path, time in times.items() if path.startswith("shards/")}
    assert {path: stamps(root)[path] for path in kept} == kept
    generation = manifest.read_generation(str(root), record["generation"])
    assert generation.parent is not None
    # without the picture, all is there already
    again = call("embed", pictures, root, *OPTIONS).record
    assert (again["embedded_now"], again["rows"]) == (0, 40)
    assert rows_of(root) == before


def test_a_damaged_shard_is_made_again_alone(archive: tuple[Path, Path]) -> None:
    pictures, root = archive
    whole = tree(root)
    name = next(iter(rows_of(root)))
    shutil.rmtree(root / "shards" / name)
    record = call("index", pictures, root, *OPTIONS).record
    assert record["embed"]["embedded_now"] == len(rows_of(root)[name])
    assert tree(root) == whole


def test_another_featurizer_never_mixes(archive: tuple[Path, Path]) -> None:
    pictures, root = archive
    first = manifest.read_generation(str(root), manifest.current_generation(str(root)))
    before = tree(root)
    options = (*OPTIONS, "--input-px", "72")
    record = call("embed", pictures, root, *options).record
    assert record["embedded_now"] == 40
    assert record["featurizer"] != first.featurizer.fingerprint
    assert not {shard.name for shard in first.shards} & rows_of(root).keys()
    assert {path: tree(root)[path] for path in before} == before
    assert call("verify", root).record["generation"] == manifest.current_generation(str(root))
    error = call("encode", root, "--no-progress", "--quantizer", first.quantizer).error
    assert record["featurizer"] in error
    assert first.featurizer.fingerprint in error
    assert "train on this inventory" in error
    assert "no quantizer was trained on the newest inventory" in call("encode", root).error
    assert len(list(root.glob("generations/*"))) == 1


class TestRejectShare:
    @pytest.fixture
    def spoilt(self, tmp_path: Path) -> Path:
        write_pictures(tmp_path / "pictures", 18)
        for i in range(6):
            (tmp_path / "pictures" / f"bad{i}.jpg").write_bytes(b"not a picture")
        return tmp_path / "pictures"

    @pytest.mark.parametrize("flags", [(), PORTABLE], ids=["local", "portable"])
    def test_above_it(self, spoilt: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
        done = call("index", spoilt, tmp_path / "root", *OPTIONS, *flags)
        error = done.last_error if flags else done.error
        assert f"{spoilt}: 6 of 24 inputs were rejected (6 unknown-format): 25.0%" in error
        assert "more than --max-reject-share 10.0%" in error
        assert error.endswith("mend them, or allow more")
        assert not (tmp_path / "root" / "inventories").exists()
        assert not (tmp_path / "root" / "CURRENT").exists()

    def test_above_it_the_published_one_stays(self, archive: tuple[Path, Path]) -> None:
        pictures, root = archive
        before = tree(root)
        bad = [pictures / "class0" / f"bad{i}.jpg" for i in range(9)]
        for path in bad:
            path.write_bytes(b"not a picture")
        try:
            error = call("index", pictures, root, *OPTIONS).error
        finally:
            for path in bad:
                path.unlink()
        assert "9 of 49 inputs were rejected" in error
        after = tree(root)
        assert {path: after[path] for path in before} == before
        assert all(path.startswith("shards/") for path in after.keys() - before.keys())
        assert call("verify", root).status == 0

    def test_below_it_they_are_listed(self, spoilt: Path, tmp_path: Path) -> None:
        root = tmp_path / "root"
        options = (*OPTIONS, "--max-reject-share", "0.25")
        record = call("index", spoilt, root, *options).record
        assert (record["rows"], record["embed"]["rejected"]) == (18, 6)
        assert record["embed"]["rejects"] == {"unknown-format": 6}
        found = []
        for marker in root.glob("shards/*/shard.json"):
            shard = shards.read_record(str(root), marker.parent.name)
            found += shards.read_rejects(str(root), shard).to_pylist()
        assert sorted(reject["uri"] for reject in found) == [
            str(spoilt / f"bad{i}.jpg") for i in range(6)
        ]
        assert {(reject["stage"], reject["reason"]) for reject in found} == {
            ("decode", "unknown-format")
        }
        assert call("embed", spoilt, root, *options).record["rejected"] == 6


def test_another_runner_makes_the_same_files(original: tuple[Path, Path], tmp_path: Path) -> None:
    """Over the portability protocol: jobs, pickles and data go through gRPC."""
    pictures, root = original
    record = call("index", pictures, tmp_path / "root", *OPTIONS, *PORTABLE).record
    assert (record["embed"]["embedded_now"], record["rows"]) == (40, 40)
    assert tree(tmp_path / "root") == tree(root)


def test_an_error_of_a_worker_comes_out_as_it_was(archive: tuple[Path, Path]) -> None:
    pictures, root = archive
    marker = sorted(root.glob("shards/*/shard.json"))[0]
    marker.write_text("{")
    for flags in ((), PORTABLE):  # over the protocol, Beam's worker prints a traceback before
        error = call("embed", pictures, root, *OPTIONS, *flags).last_error
        assert error.startswith(f"{marker}: not a shard's marker")
        assert "remove the shard's folder and run the same embed command again" in error
    codes = sorted(root.glob("quantizers/*/trained.faiss"))[0]
    codes.write_bytes(b"x")
    for flags in ((), PORTABLE):
        error = call("encode", root, "--no-progress", *flags).last_error
        assert error.startswith(f"{codes}: its sha256 is not the one in its marker")


def test_a_featurizer_that_was_altered(archive: tuple[Path, Path]) -> None:
    pictures, root = archive
    place = next(root.glob("featurizers/*/weights.safetensors"))
    place.write_bytes(place.read_bytes()[:-100])
    shutil.rmtree(next(iter(root.glob("shards/*"))))
    error = call("embed", pictures, root, *OPTIONS).error
    assert str(place) in error
    assert "run embed again" in error


class TestErrorsOfWorkers:
    @pytest.mark.parametrize("kind", [RejectShareError, StorageError, ContractError])
    def test_their_class_and_text_survive(self, kind: type[WorldsiftError]) -> None:
        plain = runner._plain(kind("a/b: wrong [while running 'EmbedShard']"))
        assert (type(plain), str(plain)) == (kind, "a/b: wrong")
        text = (
            "Traceback (most recent call last):\n  File x\nfeaturizer.errors."
            f"{kind.__name__}: a: b [while running 'WriteInventory/WriteInventory']\n\n"
        )
        found = runner._reported(text)
        assert found is not None
        assert (type(found), str(found)) == (kind, "a: b")

    def test_a_bug_is_not_taken_for_one(self) -> None:
        assert runner._reported("Traceback\nValueError: featurizer.errors are fine") is None
        assert runner._reported("") is None


class TestBeamOptions:
    def test_the_local_runner_is_named(self) -> None:
        options = runner.beam_options(RunnerOptions()).get_all_options()
        assert options["runner"] == "FnApiRunner"

    def test_workers_are_processes(self) -> None:
        options = runner.beam_options(RunnerOptions(workers=3)).get_all_options()
        assert options["direct_num_workers"] == 3
        assert options["direct_running_mode"] == "multi_processing"

    def test_flags_are_passed_on(self) -> None:
        flags = ("--runner=FlinkRunner", "--flink_master=host:8081")
        options = runner.beam_options(RunnerOptions(beam_flags=flags)).get_all_options()
        assert (options["runner"], options["flink_master"]) == ("FlinkRunner", "host:8081")

    @pytest.mark.parametrize("flag", ["--runer=x", "--flink_mastr=h", "extra", "--run=FnApiRunner"])
    def test_unknown_ones_are_refused(self, flag: str) -> None:
        with pytest.raises(UsageError, match="Beam knows no option"):
            runner.beam_options(RunnerOptions(beam_flags=("--runner=FnApiRunner", flag)))


def test_vectors_are_those_of_the_featurizer(original: tuple[Path, Path]) -> None:
    """What the job stored is what the stored featurizer gives for the decoded files."""
    from featurizer.stored import load_featurizer
    from tests.serving.gallery import decoded_files

    _, root = original
    inventory = manifest.read_inventory(str(root), manifest.latest_inventory(str(root)))
    featurizer = load_featurizer(str(root), inventory.featurizer, "cpu")
    record = shards.read_record(str(root), inventory.shards[0].name)
    uris = shards.read_rows(str(root), record)["uri"].to_pylist()

    class Named:
        def __init__(self, uri: str) -> None:
            self.uri = uri

    expected = featurizer.embed(decoded_files([Named(uri) for uri in uris]))
    stored = shards.read_vectors(str(root), record).astype(np.float32)
    assert ((expected * stored).sum(axis=1) > 0.9999).all()
