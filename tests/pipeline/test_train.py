"""Training: a uniform sample over all shards, a quantizer that is written once."""

from __future__ import annotations

import json
from pathlib import Path

import faiss
import numpy as np
import pytest

from featurizer import manifest, shards
from featurizer.errors import ContractError, IndexBuildError, UsageError
from featurizer.manifest import Inventory
from pipeline.index import train as module
from pipeline.index.encode import load_quantizer
from pipeline.index.parameters import IndexOptions, choose
from pipeline.index.train import quantizer_name, read_record, read_sample, train, train_index
from pipeline.jobs import find_quantizer, run_train
from tests.pipeline.runs import call, embedded_archive, stamps, tree
from tests.serving.archive import clustered

FEW = IndexOptions(nlist=4, code_bytes=4, training_rows=120)


@pytest.fixture
def archive(tmp_path: Path) -> tuple[str, Inventory]:
    return str(tmp_path), embedded_archive(tmp_path)


def every_vector(root: str, inventory: Inventory) -> np.ndarray:
    parts = [shards.read_vectors(root, shards.read_record(root, s.name)) for s in inventory.shards]
    return np.concatenate(parts).astype(np.float32)


def test_the_sample_is_of_all_shards_and_leaves_rows_out(archive: tuple[str, Inventory]) -> None:
    root, inventory = archive
    parameters = choose(160, 16, IndexOptions(nlist=4, training_rows=120))
    sample = read_sample(root, inventory, parameters, progress=False)
    vectors = every_vector(root, inventory)
    # the oracle draws from the whole matrix at once
    from featurizer.sampling import sample_rows

    chosen = sample_rows(160, 120, parameters.sample_seed)
    np.testing.assert_array_equal(sample, vectors[chosen])
    bases = np.cumsum([0, *(shard.rows for shard in inventory.shards)])
    counts = np.histogram(chosen, bases)[0]
    assert counts.sum() == 120
    assert (counts > 0).all()
    assert (counts < [70, 50, 40]).all()


def test_by_default_a_tenth_is_held_out(archive: tuple[str, Inventory]) -> None:
    root, _ = archive
    assert run_train(root, IndexOptions(), progress=False).index.training_rows == 144


def test_it_is_written_once_and_the_same_each_time(
    archive: tuple[str, Inventory], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, inventory = archive
    record = run_train(root, FEW, progress=False)
    made, times = tree(root), stamps(root)
    assert run_train(root, FEW, progress=False) == record
    assert stamps(root) == times
    other = tmp_path_factory.mktemp("other")
    embedded_archive(other)
    run_train(str(other), FEW, progress=False)
    assert tree(other) == made
    assert record == read_record(root, record.name)
    assert record.name == quantizer_name(inventory, record.index)
    assert record.featurizer == inventory.featurizer


def test_what_is_stored_is_trained_and_empty(archive: tuple[str, Inventory]) -> None:
    root, _ = archive
    record = run_train(root, FEW, progress=False)
    index = load_quantizer(root, record.name).index
    assert (index.is_trained, index.ntotal, index.d, index.nlist) == (True, 0, 16, 4)
    assert index.metric_type == faiss.METRIC_L2
    assert faiss.downcast_index(index).pq.M == 4


def test_other_parameters_or_vectors_get_another_quantizer(
    archive: tuple[str, Inventory], tmp_path: Path
) -> None:
    root, inventory = archive
    first = run_train(root, FEW, progress=False)
    second = run_train(root, IndexOptions(nlist=2, code_bytes=4), progress=False)
    assert first.name != second.name
    embedded_archive(tmp_path, seed=1)
    third = run_train(root, FEW, progress=False)
    assert third.name not in (first.name, second.name)
    assert len(list(tmp_path.glob("quantizers/*/trained.faiss"))) == 3
    assert find_quantizer(root, inventory, first.name) == first
    with pytest.raises(UsageError, match=r"several quantizers fit .*: name one with --quantizer"):
        find_quantizer(root, inventory, None)
    latest = manifest.read_inventory(root, manifest.latest_inventory(root))
    assert find_quantizer(root, latest, None) == third


def test_no_quantizer_of_the_newest_inventory(archive: tuple[str, Inventory]) -> None:
    root, inventory = archive
    with pytest.raises(UsageError, match="no quantizer was trained on the newest inventory: run"):
        find_quantizer(root, inventory, None)
    with pytest.raises(ContractError, match=r"nosuch/quantizer\.json: .*train"):
        find_quantizer(root, inventory, "nosuch")


def test_a_quantizer_without_its_marker_is_trained_again(archive: tuple[str, Inventory]) -> None:
    root, inventory = archive
    record = run_train(root, FEW, progress=False)
    made = tree(root)
    folder = Path(root, module.FOLDER, record.name)
    (folder / module.MARKER).unlink()
    (folder / module.TRAINED).write_bytes(b"half")
    with pytest.raises(UsageError, match="no quantizer was trained"):
        find_quantizer(root, inventory, None)
    run_train(root, FEW, progress=False)
    assert tree(root) == made


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}', "{", "null"])
def test_a_marker_that_means_nothing(archive: tuple[str, Inventory], text: str) -> None:
    root, inventory = archive
    record = run_train(root, FEW, progress=False)
    Path(root, module.FOLDER, record.name, module.MARKER).write_text(text)
    with pytest.raises(ContractError, match=r"quantizer\.json: not a quantizer's marker"):
        find_quantizer(root, inventory, record.name)


def test_an_altered_index_is_not_loaded(archive: tuple[str, Inventory]) -> None:
    root, _ = archive
    record = run_train(root, FEW, progress=False)
    place = Path(root, module.FOLDER, record.name, module.TRAINED)
    place.write_bytes(place.read_bytes() + b"x")
    with pytest.raises(ContractError, match=r"trained\.faiss: its sha256 .* run train and encode"):
        load_quantizer(root, record.name)
    place.unlink()
    with pytest.raises(ContractError, match=r"trained\.faiss: is missing: .* run train and encode"):
        load_quantizer(root, record.name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--nlist", "0"), "--nlist 0: must be at least 1"),
        (("--nlist", "200"), "--nlist 200: more lists than the 144 training rows"),
        (("--code-bytes", "5"), "--code-bytes 5 does not divide the 16 dimensions"),
        (("--training-rows", "-4"), "--training-rows -4: must be at least 1"),
    ],
)
def test_choices_that_do_not_fit(
    archive: tuple[str, Inventory], options: tuple[str, ...], message: str
) -> None:
    root, _ = archive
    before = tree(root)
    assert message in call("train", root, "--no-progress", *options).error
    assert tree(root) == before


def test_what_faiss_refuses_is_said_in_one_line() -> None:
    parameters = choose(160, 16, FEW)
    with pytest.raises(
        IndexBuildError, match=r"could not be trained on \(2, 16\) vectors"
    ) as caught:
        train_index(clustered(2, 16), parameters)
    assert "--nlist" in str(caught.value)


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_tiny_archives_train(tmp_path: Path, rows: int) -> None:
    inventory = embedded_archive(tmp_path, (rows,))
    record = run_train(str(tmp_path), IndexOptions(), progress=False)
    assert record.index.nlist == 1
    assert train(str(tmp_path), inventory, 16, record.index, progress=False) == record
    assert json.loads((tmp_path / "quantizers" / record.name / "quantizer.json").read_text())
