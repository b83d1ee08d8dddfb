"""Inventories, generations and CURRENT."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizer import manifest, storage
from featurizer.errors import ContractError, GenerationError
from tests.featurizer.test_spec import a_spec


def an_inventory(rows: int = 10) -> manifest.Inventory:
    return manifest.Inventory(
        source="gs://b/archive",
        featurizer="f" * 20,
        shards=(
            manifest.InventoryShard("s1", rows, "a" * 64),
            manifest.InventoryShard("s2", 5, "b" * 64),
        ),
        rejects={"corrupt": 2},
        dropped_null=1,
        source_bytes=1000,
    )


def a_generation(rows: int = 10, parent: str | None = None) -> manifest.Generation:
    return manifest.Generation(
        inventory="000001-" + "a" * 12,
        quantizer="q",
        quantizer_sha256="c" * 64,
        featurizer=a_spec(),
        index=manifest.IndexParameters("IVF64,PQ16", 64, 8, 10, 1000, 7),
        shards=(
            manifest.GenerationShard("s1", rows, "v" * 64, "r" * 64, "c" * 64),
            manifest.GenerationShard("s2", 5, "w" * 64, "s" * 64, "d" * 64),
        ),
        parent=parent,
        tombstones=(3, 11),
    )


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path)


class TestRecords:
    def test_come_back(self, root: str) -> None:
        inventory = manifest.write_inventory(root, an_inventory())
        assert manifest.read_inventory(root, inventory) == an_inventory()
        generation = manifest.write_generation(root, a_generation(parent="000001-x"))
        assert manifest.read_generation(root, generation) == a_generation(parent="000001-x")

    def test_rows_are_summed(self) -> None:
        assert an_inventory(10).rows == a_generation(10).rows == 15

    @given(st.lists(st.integers(0, 2**40), max_size=8))
    def test_any_tombstones(
        self, tmp_path_factory: pytest.TempPathFactory, tombstones: list[int]
    ) -> None:
        root = str(tmp_path_factory.getbasetemp() / "tombstones")
        made = replace(a_generation(), tombstones=tuple(tombstones))
        assert manifest.read_generation(root, manifest.write_generation(root, made)) == made


class TestNumbering:
    def test_names_grow_and_the_last_is_the_newest(self, root: str) -> None:
        names = [manifest.write_inventory(root, an_inventory(rows)) for rows in range(12)]
        assert [name.split("-")[0] for name in names] == [f"{i:06d}" for i in range(1, 13)]
        assert manifest.latest_inventory(root) == names[-1]

    def test_the_same_content_again_writes_nothing(self, root: str) -> None:
        first = manifest.write_generation(root, a_generation())
        file = Path(root, manifest.GENERATIONS, f"{first}.json")
        before = file.stat().st_mtime_ns
        assert manifest.write_generation(root, a_generation()) == first
        assert file.stat().st_mtime_ns == before
        assert len(list(file.parent.iterdir())) == 1

    def test_going_back_to_older_content_is_new(self, root: str) -> None:
        first = manifest.write_inventory(root, an_inventory(1))
        manifest.write_inventory(root, an_inventory(2))
        third = manifest.write_inventory(root, an_inventory(1))
        assert third.startswith("000003-")
        assert third.split("-")[1] == first.split("-")[1]

    def test_more_than_six_digits(self, root: str) -> None:
        storage.write_bytes(f"{root}/inventories/999999-{'0' * 12}.json", b"{}")
        assert manifest.write_inventory(root, an_inventory()).startswith("1000000-")
        assert manifest.latest_inventory(root).startswith("1000000-")

    def test_other_files_are_no_generations(self, root: str) -> None:
        name = manifest.write_generation(root, a_generation())
        storage.write_bytes(manifest.evaluation_path(root, name), b"{}")
        for stray in ("notes.json", "README", f"{name}.json.bak", f"{name}.json (copy).json"):
            storage.write_bytes(f"{root}/generations/{stray}", b"")
        assert manifest.latest_generation(root) == name
        assert manifest.write_generation(root, a_generation()) == name

    def test_nothing_there_yet(self, root: str) -> None:
        with pytest.raises(GenerationError, match="python -m pipeline embed SOURCE"):
            manifest.latest_inventory(root)
        with pytest.raises(GenerationError, match="python -m pipeline train"):
            manifest.latest_generation(root)
        with pytest.raises(GenerationError, match="nothing is published here"):
            manifest.current_generation(root)
        with pytest.raises(GenerationError, match="no such generation; there: none"):
            manifest.read_generation(root, "000001-" + "a" * 12)


class TestCurrent:
    def test_names_the_published_one(self, root: str) -> None:
        first = manifest.write_generation(root, a_generation(1))
        second = manifest.write_generation(root, a_generation(2))
        for name in (first, second, first):
            manifest.set_current(root, name)
            assert manifest.current_generation(root) == name
        assert Path(root, "CURRENT").read_text() == f"{first}\n"

    @pytest.mark.parametrize(
        "content", [b"000009-aaaaaaaaaaaa\n", b"", b"\xff\xfe", b"../../etc/passwd\n", b"a\nb\n"]
    )
    def test_naming_none_that_exists(self, root: str, content: bytes) -> None:
        manifest.write_generation(root, a_generation())
        storage.write_bytes(f"{root}/CURRENT", content)
        with pytest.raises(GenerationError, match=r"which is not in .*: run `python -m pipeline"):
            manifest.current_generation(root)

    def test_twelve_writers_at_once(self, root: str) -> None:
        names = [manifest.write_generation(root, a_generation(rows)) for rows in range(12)]
        manifest.set_current(root, names[0])
        fork = multiprocessing.get_context("fork")
        start = fork.Event()

        def publish(name: str) -> None:
            start.wait(20)
            for _ in range(10):
                manifest.set_current(root, name)

        children = [fork.Process(target=publish, args=(name,)) for name in names]
        for child in children:
            child.start()
        start.set()
        while any(child.is_alive() for child in children):
            assert manifest.current_generation(root) in names  # never torn, never away
        assert [child.exitcode for child in children] == [0] * 12
        assert sorted(path.name for path in Path(root).iterdir()) == ["CURRENT", "generations"]


class TestDamage:
    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "null", "7", "{}", '{"format": 1}', "\x00\xff"]
    )
    def test_unreadable(self, root: str, text: str) -> None:
        for folder, read in (
            (manifest.GENERATIONS, manifest.read_generation),
            (manifest.INVENTORIES, manifest.read_inventory),
        ):
            place = f"{root}/{folder}/000001-aaaaaaaaaaaa.json"
            storage.write_bytes(place, text.encode("latin-1"))
            with pytest.raises(ContractError) as caught:
                read(root, "000001-aaaaaaaaaaaa")
            assert place in str(caught.value)
            assert "\n" not in str(caught.value)

    def test_another_format(self, root: str) -> None:
        name = manifest.write_generation(root, a_generation())
        self.change(root, name, format=2)
        with pytest.raises(ContractError, match="format 2, but this version reads 1; make it"):
            manifest.read_generation(root, name)

    @pytest.mark.parametrize("change", [{"novelty": 1}, {"shards": [1]}, {"index": {}}])
    def test_fields_of_another_version(self, root: str, change: dict[str, object]) -> None:
        name = manifest.write_generation(root, a_generation())
        self.change(root, name, **change)
        with pytest.raises(ContractError, match="another version"):
            manifest.read_generation(root, name)

    def change(self, root: str, name: str, **change: object) -> None:
        file = Path(root, manifest.GENERATIONS, f"{name}.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
