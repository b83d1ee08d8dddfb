"""Shards: what is written comes back, and nothing else is let in."""

from __future__ import annotations

import io
import json
import pickle
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer import schema, shards, storage
from featurizer.errors import ContractError, StorageError

NAME = "0123456789abcdef"


def content(rows: int = 7, dim: int = 16, seed: int = 0) -> shards.ShardContent:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float16)
    rejects = [schema.Reject("bad.jpg", "decode", "corrupt", "ends early")]
    return shards.ShardContent(
        vectors, [schema.Row(f"{i}.jpg", f"etag{i}") for i in range(rows)], rejects
    )


def record(rows: int = 7, dim: int = 16) -> shards.ShardRecord:
    return shards.ShardRecord(
        name=NAME,
        rows=rows,
        dim=dim,
        featurizer="f" * 20,
        files={},
        inputs=[{"uri": "0.jpg", "etag": "etag0", "size": 12}],
        rejects={"corrupt": 1, "empty": 2},
        dropped_null=4,
        source_bytes=99,
        tiling={"tile_px": 256},
    )


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path)


@pytest.fixture
def done(root: str) -> shards.ShardRecord:
    return shards.write(root, record(), content())


def file_of(root: str, name: str) -> Path:
    return Path(shards.directory(root, NAME), name)


def rewrite(root: str, name: str, data: bytes) -> shards.ShardRecord:
    """Replaces a file and makes the marker vouch for it, as whoever wants us to read it would."""
    marker = json.loads(file_of(root, shards.MARKER).read_bytes())
    file_of(root, name).write_bytes(data)
    marker["files"][name] = {"sha256": storage.sha256(data), "size": len(data)}
    file_of(root, shards.MARKER).write_text(json.dumps(marker))
    return shards.read_record(root, NAME)


class TestRoundTrip:
    def test_everything_comes_back(self, root: str, done: shards.ShardRecord) -> None:
        back = shards.read_record(root, NAME)
        assert back == done
        assert back.reject_count == 3
        np.testing.assert_array_equal(shards.read_vectors(root, back), content().vectors)
        assert shards.read_rows(root, back)["uri"].to_pylist() == [f"{i}.jpg" for i in range(7)]
        assert shards.read_rejects(root, back)["reason"].to_pylist() == ["corrupt"]

    def test_the_vectors_can_be_mapped(self, root: str, done: shards.ShardRecord) -> None:
        mapped = np.load(file_of(root, shards.VECTORS), mmap_mode="r", allow_pickle=False)
        assert mapped.dtype == np.float16
        np.testing.assert_array_equal(mapped, content().vectors)

    def test_a_second_write_gives_the_same_bytes(self, root: str, tmp_path: Path) -> None:
        other = str(tmp_path / "other")
        shards.write(root, record(), content())
        shards.write(other, record(), content())
        for name in (shards.VECTORS, shards.ROWS, shards.REJECTS, shards.MARKER):
            assert file_of(root, name).read_bytes() == file_of(other, name).read_bytes()

    def test_an_empty_shard(self, root: str) -> None:
        done = shards.write(root, record(rows=0), content(rows=0))
        assert shards.read_vectors(root, done).shape == (0, 16)
        assert shards.read_rows(root, done).num_rows == 0

    def test_transposed_vectors_are_written_row_by_row(self, root: str) -> None:
        given = content()
        turned = replace(given, vectors=np.asfortranarray(given.vectors))
        done = shards.write(root, record(), turned)
        assert not np.isfortran(shards.read_vectors(root, done))
        assert file_of(root, shards.VECTORS).read_bytes() == shards.encode_vectors(given.vectors)

    def test_on_other_storage(self) -> None:
        url = f"memory://{uuid.uuid4().hex}"
        done = shards.write(url, record(), content())
        assert shards.complete(url, NAME)
        np.testing.assert_array_equal(shards.read_vectors(url, done), content().vectors)

    @given(st.integers(0, 40), st.integers(1, 70), st.integers(0, 2**32))
    @settings(max_examples=20, deadline=None)
    def test_any_shape(
        self, tmp_path_factory: pytest.TempPathFactory, rows: int, dim: int, seed: int
    ) -> None:
        root = str(tmp_path_factory.getbasetemp() / "shapes")
        made = content(rows, dim, seed)
        done = shards.write(root, record(rows, dim), made)
        np.testing.assert_array_equal(shards.read_vectors(root, done), made.vectors)


class TestCompletion:
    def test_the_marker_is_written_last(self, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
        order: list[str] = []
        write = storage.write_bytes

        def watched(url: str, data: bytes) -> None:
            assert not shards.complete(root, NAME)
            order.append(url.rsplit("/", 1)[-1])
            write(url, data)

        monkeypatch.setattr(storage, "write_bytes", watched)
        shards.write(root, record(), content())
        assert order[-1] == shards.MARKER
        assert sorted(order) == sorted([shards.VECTORS, shards.ROWS, shards.REJECTS, shards.MARKER])

    def test_without_a_marker_there_is_no_shard(self, root: str, done: shards.ShardRecord) -> None:
        assert shards.complete(root, NAME)
        file_of(root, shards.MARKER).unlink()
        assert not shards.complete(root, NAME)
        with pytest.raises(ContractError, match=r"shard.json: is missing; remove the shard's"):
            shards.read_record(root, NAME)


def truncated(data: bytes) -> bytes:
    return data[:-1]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


READERS: dict[str, Callable[[str, shards.ShardRecord], Any]] = {
    shards.VECTORS: shards.read_vectors,
    shards.ROWS: shards.read_rows,
    shards.REJECTS: shards.read_rejects,
}


@pytest.mark.parametrize("name", READERS)
class TestDamage:
    def check(self, root: str, done: shards.ShardRecord, name: str, words: str) -> None:
        with pytest.raises(ContractError, match=words) as caught:
            READERS[name](root, done)
        message = str(caught.value)
        assert message.startswith(str(file_of(root, name)))
        assert "run the same embed command again" in message
        assert "\n" not in message

    def test_truncated(self, root: str, done: shards.ShardRecord, name: str) -> None:
        file = file_of(root, name)
        file.write_bytes(truncated(file.read_bytes()))
        self.check(root, done, name, r"bytes, but its marker says .*truncated")

    def test_a_flipped_bit(self, root: str, done: shards.ShardRecord, name: str) -> None:
        file = file_of(root, name)
        file.write_bytes(flipped(file.read_bytes()))
        self.check(root, done, name, "sha256 .* but its marker says")

    def test_missing(self, root: str, done: shards.ShardRecord, name: str) -> None:
        file_of(root, name).unlink()
        self.check(root, done, name, "is missing")

    def test_out_of_reach_is_not_damage(
        self, root: str, done: shards.ShardRecord, name: str
    ) -> None:
        file_of(root, name).unlink()
        file_of(root, name).mkdir()
        with pytest.raises(StorageError):
            READERS[name](root, done)


def npy(array: Any, allow_pickle: bool = False) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=allow_pickle)
    return sink.getvalue()


def npz() -> bytes:
    sink = io.BytesIO()
    np.savez(sink, vectors=content().vectors)
    return sink.getvalue()


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


@pytest.mark.usefixtures("done")
class TestVouchedForButWrong:
    """Files whose checksum is right but whose content is not what a shard holds."""

    @pytest.mark.parametrize(
        "array",
        [
            content().vectors.astype(np.float32),
            content().vectors[:-1],
            content().vectors[:, :-1],
            content().vectors.ravel(),
            content().vectors.astype(">f2"),
            content().vectors.view(np.int16),
        ],
        ids=lambda array: f"{array.dtype.str}{array.shape}",
    )
    def test_dtype_and_shape(self, root: str, array: Any) -> None:
        claimed = rewrite(root, shards.VECTORS, npy(array))
        with pytest.raises(ContractError, match=r"its marker says float16 \(7, 16\)"):
            shards.read_vectors(root, claimed)

    def test_a_pickled_array_is_not_run(self, root: str, tmp_path: Path) -> None:
        sprung = tmp_path / "sprung"
        trap = np.array([Trap(sprung)], dtype=object)
        data = npy(trap, allow_pickle=True)
        np.load(io.BytesIO(data), allow_pickle=True)
        assert sprung.exists()  # so the trap works
        sprung.unlink()
        for planted in (data, pickle.dumps(Trap(sprung))):
            claimed = rewrite(root, shards.VECTORS, planted)
            with pytest.raises(ContractError, match=r"not a .npy array"):
                shards.read_vectors(root, claimed)
        assert not sprung.exists()

    @pytest.mark.parametrize("data", [b"", b"\x93NUMPY", npz(), npy(content().vectors)[:-9]])
    def test_no_npy(self, root: str, data: bytes) -> None:
        claimed = rewrite(root, shards.VECTORS, data)
        with pytest.raises(ContractError, match=r"not a .npy array"):
            shards.read_vectors(root, claimed)

    def test_fewer_rows_than_vectors(self, root: str) -> None:
        table = schema.rows_table(content(rows=6).rows)
        claimed = rewrite(root, shards.ROWS, schema.encode_table(table))
        with pytest.raises(ContractError, match="6 rows for 7 vectors"):
            shards.read_rows(root, claimed)

    def test_another_schema(self, root: str) -> None:
        claimed = rewrite(root, shards.ROWS, schema.encode_table(schema.rejects_table([])))
        with pytest.raises(ContractError, match="written by another version"):
            shards.read_rows(root, claimed)


class TestMarkers:
    @pytest.fixture
    def marker(self, root: str, done: shards.ShardRecord) -> Iterator[dict[str, Any]]:
        yield json.loads(file_of(root, shards.MARKER).read_bytes())

    def check(self, root: str, marker: object, words: str) -> None:
        file_of(root, shards.MARKER).write_text(
            marker if isinstance(marker, str) else json.dumps(marker)
        )
        with pytest.raises(ContractError, match=words) as caught:
            shards.read_record(root, NAME)
        assert str(file_of(root, shards.MARKER)) in str(caught.value)

    def test_of_another_shard(self, root: str, marker: dict[str, Any]) -> None:
        self.check(root, {**marker, "name": "other"}, f"says it is shard other, not {NAME}")

    def test_of_another_format(self, root: str, marker: dict[str, Any]) -> None:
        self.check(root, {**marker, "format": 2}, "format 2, but this version reads 1")

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"format": 1}', "\x00"])
    def test_that_is_no_marker(self, root: str, marker: dict[str, Any], text: str) -> None:
        self.check(root, text, "not a shard's marker")

    @pytest.mark.parametrize("change", [{"rows": -1}, {"rows": "7"}, {"dim": 0}, {"dim": None}])
    def test_with_impossible_counts(
        self, root: str, marker: dict[str, Any], change: dict[str, Any]
    ) -> None:
        self.check(root, {**marker, **change}, "not a shard's marker .* rows of .* dimensions")

    def test_with_fields_missing_or_surplus(self, root: str, marker: dict[str, Any]) -> None:
        self.check(root, {**marker, "novelty": 1}, "unexpected keyword argument 'novelty'")
        short = dict(marker)
        del short["tiling"]
        self.check(root, short, "missing .* 'tiling'")
        few = {**marker, "files": {shards.ROWS: marker["files"][shards.ROWS]}}
        self.check(root, few, r"no checksum of rejects.parquet, vectors.npy")
