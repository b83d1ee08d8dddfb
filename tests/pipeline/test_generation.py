"""Generations: what makes a new one, whose child it is, and when it may be published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featurizer import manifest
from featurizer.errors import ContractError, GenerationError
from pipeline.config import RunnerOptions
from pipeline.index.generation import faults, publish, read_spec, write_generation
from pipeline.index.parameters import IndexOptions
from pipeline.index.train import QuantizerRecord
from pipeline.jobs import run_encode, run_train
from tests.pipeline.runs import call, embedded_archive, stamps, tree

QUIET = RunnerOptions(progress=False)


def trained(root: Path, nlist: int = 4) -> QuantizerRecord:
    return run_train(str(root), IndexOptions(nlist=nlist, code_bytes=4), progress=False)


def encoded(root: Path, nlist: int = 4) -> str:
    return run_encode(str(root), trained(root, nlist).name, QUIET)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    embedded_archive(tmp_path)
    return tmp_path


def test_the_manifest_is_of_the_inventory_in_its_order(root: Path) -> None:
    record = trained(root)
    name = run_encode(str(root), None, QUIET)
    inventory = manifest.read_inventory(str(root), manifest.latest_inventory(str(root)))
    generation = manifest.read_generation(str(root), name)
    assert [(s.name, s.rows) for s in generation.shards] == [
        (s.name, s.rows) for s in inventory.shards
    ]
    assert generation.inventory == manifest.latest_inventory(str(root))
    assert (generation.quantizer, generation.quantizer_sha256) == (record.name, record.sha256)
    assert generation.index == record.index
    assert generation.featurizer.fingerprint == inventory.featurizer
    assert list(faults(str(root), generation)) == []


def test_the_same_again_is_the_same_and_writes_nothing(root: Path) -> None:
    name = encoded(root)
    times = stamps(root)
    assert encoded(root) == name
    publish(str(root), name, None)
    assert encoded(root) == name  # though its parent would now be itself
    assert stamps(root).keys() - times.keys() == {"CURRENT"}
    assert {path: stamps(root)[path] for path in times} == times


def test_the_parent_is_the_published_one(root: Path) -> None:
    first = encoded(root)
    assert manifest.read_generation(str(root), first).parent is None
    second = encoded(root, nlist=2)
    assert manifest.read_generation(str(root), second).parent is None  # none was published
    publish(str(root), second, None)
    third = encoded(root, nlist=3)
    assert manifest.read_generation(str(root), third).parent == second
    assert [name.split("-")[0] for name in (first, second, third)] == ["000001", "000002", "000003"]


def test_publishing_again_leaves_current_alone(root: Path) -> None:
    name = encoded(root)
    publish(str(root), name, None)
    times = stamps(root)
    publish(str(root), name, None)
    assert stamps(root) == times


def test_publish_goes_back_and_forth(root: Path) -> None:
    first, second = encoded(root), encoded(root, nlist=2)
    for name in (second, first, second):
        record = call("publish", root, "--generation", name).record
        assert record["generation"] == name
        assert manifest.current_generation(str(root)) == name
    assert call("publish", root, "--generation", first).record["generation"] == first
    assert call("publish", root).record["generation"] == second  # the newest


def test_a_current_that_names_nothing_is_mended_by_publish(root: Path) -> None:
    name = encoded(root)
    (root / "CURRENT").write_text("000009-000000000000\n")
    publish(str(root), name, None)
    assert manifest.current_generation(str(root)) == name


def test_an_unknown_generation(root: Path) -> None:
    name = encoded(root)
    for verb in ("publish", "verify"):
        error = call(verb, root, "--generation", "000007-000000000000").error
        assert f"000007-000000000000.json: no such generation; there: {name}" in error
    assert not (root / "CURRENT").exists()


class TestMinimalRecall:
    def test_without_an_evaluation(self, root: Path) -> None:
        encoded(root)
        error = call("publish", root, "--min-recall", "0.9").error
        assert f"run `python -m serving evaluate {root}` first" in error
        assert not (root / "CURRENT").exists()

    @pytest.mark.parametrize("recall", [0.89, None])
    def test_below_it(self, root: Path, recall: float | None) -> None:
        place = manifest.evaluation_path(str(root), encoded(root))
        Path(place).write_text(json.dumps({"recall_at_10": recall}))
        error = call("publish", root, "--min-recall", "0.9").error
        assert f"recall@10 is {recall}, below --min-recall 0.9: raise --nprobe" in error
        assert not (root / "CURRENT").exists()

    def test_at_it(self, root: Path) -> None:
        place = manifest.evaluation_path(str(root), encoded(root))
        Path(place).write_text(json.dumps({"recall_at_10": 0.9}))
        assert call("publish", root, "--min-recall", "0.9").status == 0

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"recall_at_10": "high"}'])
    def test_an_evaluation_that_means_nothing(self, root: Path, text: str) -> None:
        place = manifest.evaluation_path(str(root), encoded(root))
        Path(place).write_text(text)
        error = call("publish", root, "--min-recall", "0.9").error
        assert f"{place}: holds no recall_at_10" in error
        assert f"run `python -m serving evaluate {root}` again" in error
        assert not (root / "CURRENT").exists()


class TestCodesThatChanged:
    """A code file's checksum stands in the manifest alone: damage must not become the truth."""

    def test_encode_does_not_take_them_over(self, root: Path) -> None:
        name = encoded(root)
        publish(str(root), name, None)
        before = tree(root)
        place = sorted(root.glob("quantizers/*/codes/*.faiss"))[0]
        data = bytearray(place.read_bytes())
        data[-1] ^= 1
        place.write_bytes(data)
        error = call("encode", root, "--no-progress").error
        assert f"{place}: its sha256 is not the one in the manifest; remove it and" in error
        assert tree(root).keys() == before.keys()
        place.unlink()
        assert call("encode", root, "--no-progress").record["generation"] == name
        assert tree(root) == before

    def test_the_old_generation_stays_published(self, root: Path) -> None:
        first = encoded(root)
        publish(str(root), first, None)
        second = encoded(root, nlist=2)
        quantizer = manifest.read_generation(str(root), second).quantizer
        place = sorted(root.glob(f"quantizers/{quantizer}/codes/*.faiss"))[1]
        place.write_bytes(place.read_bytes()[:-8])
        with pytest.raises(
            GenerationError, match=f"{second} is not published: {place}: its sha256"
        ):
            publish(str(root), second, None)
        assert manifest.current_generation(str(root)) == first
        assert list(faults(str(root), manifest.read_generation(str(root), first))) == []


def test_several_faults_are_counted(root: Path) -> None:
    name = encoded(root)
    for place in root.glob("shards/*/rows.parquet"):
        place.write_bytes(b"")
    with pytest.raises(GenerationError, match=r"\(and 2 more: `python -m pipeline verify "):
        publish(str(root), name, None)


def test_the_featurizer_must_be_stored(root: Path) -> None:
    inventory = manifest.read_inventory(str(root), manifest.latest_inventory(str(root)))
    record = trained(root)
    place = root / "featurizers" / inventory.featurizer / "spec.json"
    for text in ("{", "[]", "{}"):
        place.write_text(text)
        with pytest.raises((GenerationError, ContractError), match=r"spec\.json"):
            read_spec(str(root), inventory.featurizer)
        with pytest.raises((GenerationError, ContractError)):
            write_generation(str(root), manifest.latest_inventory(str(root)), record, {})
    assert not (root / "generations").exists()
