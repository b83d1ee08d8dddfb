"""Codes as bare inverted lists: merged, they are the index that all vectors at once would make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from featurizer import shards, storage
from featurizer.errors import ContractError
from featurizer.manifest import Inventory
from pipeline.index.encode import TrainedQuantizer, codes_path, encode_shard, load_quantizer
from pipeline.index.parameters import IndexOptions
from pipeline.jobs import run_train
from tests.pipeline.runs import call, embedded_archive, stamps
from tests.serving.archive import clustered, plain_rows, write_shard

OPTIONS = IndexOptions(nlist=6, code_bytes=8, training_rows=150)


@pytest.fixture
def archive(tmp_path: Path) -> tuple[str, Inventory, TrainedQuantizer]:
    inventory = embedded_archive(tmp_path)
    record = run_train(str(tmp_path), OPTIONS, progress=False)
    return str(tmp_path), inventory, load_quantizer(str(tmp_path), record.name)


def read_lists(data: bytes) -> Any:
    reader = faiss.VectorIOReader()
    faiss.copy_array_to_vector(np.frombuffer(data, np.uint8), reader.data)
    return faiss.read_InvertedLists(reader)


def list_of(lists: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
    size = lists.list_size(number)
    if not size:
        return np.empty(0, np.int64), np.empty((0, lists.code_size), np.uint8)
    ids = faiss.rev_swig_ptr(lists.get_ids(number), size).copy()
    codes = faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size).copy()
    return ids, codes.reshape(size, lists.code_size)


def test_merged_they_are_one_index_made_at_once(
    archive: tuple[str, Inventory, TrainedQuantizer],
) -> None:
    root, inventory, trained = archive
    merged = faiss.clone_index(trained.index)
    whole = faiss.clone_index(trained.index)
    base, everything = 0, []
    for shard in inventory.shards:
        rows, sha256 = encode_shard(root, trained, shard.name)
        data = storage.read_bytes(codes_path(root, trained.record.name, shard.name))
        assert (rows, sha256) == (shard.rows, storage.sha256(data))
        lists = read_lists(data)
        for number in range(lists.nlist):
            ids, codes = list_of(lists, number)
            merged.invlists.add_entries(
                number, len(ids), faiss.swig_ptr(ids + base), faiss.swig_ptr(codes)
            )
        merged.ntotal += rows
        base += rows
        record = shards.read_record(root, shard.name)
        everything.append(shards.read_vectors(root, record).astype(np.float32))
    whole.add(np.concatenate(everything))
    for number in range(whole.nlist):
        for ours, theirs in zip(
            list_of(merged.invlists, number), list_of(whole.invlists, number), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    queries = clustered(40, 16, seed=9)
    for ours, theirs in zip(merged.search(queries, 10), whole.search(queries, 10), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_ids_are_local_and_each_is_in_its_nearest_list(
    archive: tuple[str, Inventory, TrainedQuantizer],
) -> None:
    root, inventory, trained = archive
    shard = inventory.shards[1]
    encode_shard(root, trained, shard.name)
    lists = read_lists(storage.read_bytes(codes_path(root, trained.record.name, shard.name)))
    vectors = shards.read_vectors(root, shards.read_record(root, shard.name)).astype(np.float32)
    centroids = trained.index.quantizer.reconstruct_n(0, lists.nlist)
    nearest = ((vectors[:, None] - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)
    found = np.full(shard.rows, -1)
    for number in range(lists.nlist):
        found[list_of(lists, number)[0]] = number
    np.testing.assert_array_equal(found, nearest)


def test_the_trained_index_stays_empty(archive: tuple[str, Inventory, TrainedQuantizer]) -> None:
    root, inventory, trained = archive
    for shard in inventory.shards:
        encode_shard(root, trained, shard.name)
    assert trained.index.ntotal == 0


def test_what_is_there_is_not_made_again(archive: tuple[str, Inventory, TrainedQuantizer]) -> None:
    root, inventory, trained = archive
    name = inventory.shards[0].name
    first = encode_shard(root, trained, name)
    times = stamps(root)
    assert encode_shard(root, trained, name) == first
    assert stamps(root) == times


@pytest.mark.parametrize("cut", [0, 3, 20, -1])
def test_a_truncated_file_is_not_taken_for_done(
    archive: tuple[str, Inventory, TrainedQuantizer], cut: int
) -> None:
    root, inventory, trained = archive
    name = inventory.shards[0].name
    encode_shard(root, trained, name)
    place = Path(codes_path(root, trained.record.name, name))
    place.write_bytes(place.read_bytes()[:cut])
    error = call("encode", root, "--no-progress").error
    assert f"{place}: does not hold the 70 codes of its shard" in error
    assert error.endswith("remove it and encode again")
    assert not (Path(root) / "generations").exists()
    place.unlink()
    assert call("encode", root, "--no-progress").record["rows"] == 160


def test_codes_of_another_shard_are_not_taken(
    archive: tuple[str, Inventory, TrainedQuantizer],
) -> None:
    root, inventory, trained = archive
    first, second = (
        Path(codes_path(root, trained.record.name, shard.name)) for shard in inventory.shards[:2]
    )
    encode_shard(root, trained, inventory.shards[0].name)
    second.write_bytes(first.read_bytes())
    with pytest.raises(ContractError, match="does not hold the 50 codes of its shard"):
        encode_shard(root, trained, inventory.shards[1].name)


def test_vectors_of_another_featurizer_are_refused(
    archive: tuple[str, Inventory, TrainedQuantizer],
) -> None:
    root, inventory, trained = archive
    stranger = write_shard(root, "stranger", clustered(9, 8).astype(np.float16), plain_rows(9), {})
    assert stranger.featurizer != inventory.featurizer
    with pytest.raises(ContractError) as caught:
        encode_shard(root, trained, "stranger")
    assert stranger.featurizer in str(caught.value)
    assert inventory.featurizer in str(caught.value)
    assert "train on this inventory" in str(caught.value)
    assert not Path(codes_path(root, trained.record.name, "stranger")).exists()


def test_a_damaged_shard_is_not_encoded(archive: tuple[str, Inventory, TrainedQuantizer]) -> None:
    root, inventory, _ = archive
    place = Path(shards.directory(root, inventory.shards[0].name), shards.VECTORS)
    place.write_bytes(place.read_bytes()[:-2])
    error = call("encode", root, "--no-progress").error
    assert f"{place}: " in error
    assert "(truncated?)" in error
    assert not list(Path(root).glob("generations/*"))
