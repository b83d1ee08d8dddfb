"""Following CURRENT: what is taken over, what is refused, what is tried again."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featurizer import manifest
from featurizer.errors import ContractError, StorageError
from serving.engine.search import SearchEngine
from serving.failures import ReloadRefusedError
from serving.operations import takeover
from serving.operations.live import Live
from serving.operations.takeover import Takeover, check
from serving.settings import Settings
from tests.serving.archive import Archive, build_archive, clustered, republish
from tests.serving.conftest import make_settings
from tests.serving.server import wait_for


@dataclass(eq=False)
class Service:
    """An engine and, for a featurizer, a mark."""

    engine: SearchEngine
    featurizer: object
    closed: bool = False

    def close(self) -> None:
        self.closed = True
        self.engine.close()


@dataclass
class Openings:
    """Opens generations, remembers which, and raises what it is told to."""

    settings: Settings
    names: list[str] = field(default_factory=list)
    reused: list[object] = field(default_factory=list)
    faults: dict[str, Exception] = field(default_factory=dict)

    def __call__(self, settings: Settings, featurizer: object, name: str) -> Service:
        self.names.append(name)
        self.reused.append(featurizer)
        if name in self.faults:
            raise self.faults[name]
        engine = SearchEngine.open(str(settings.root), settings.cache_dir, name)
        return Service(engine, featurizer or object())


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return build_archive(tmp_path / "root", clustered(60, 8), counts=[30, 30], factory="IVF2,PQ4x4")


@pytest.fixture
def settings(archive: Archive, tmp_path: Path) -> Settings:
    return make_settings(archive.root, tmp_path / "cache", watch_s=0.05)


@pytest.fixture
def openings(settings: Settings) -> Openings:
    return Openings(settings)


@pytest.fixture
def live() -> Live:
    return Live(lambda: None)


@pytest.fixture
def following(settings, live, openings):
    """A takeover that has loaded and follows by itself, looking often."""
    follower = Takeover(settings, live, openings)
    follower.load()
    yield follower
    follower.stop()
    live.swap(None)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(takeover, "_LOOK_S", 0.01)


def another(archive: Archive, removed: int) -> Archive:
    return republish(archive, tombstones=(removed,))


def test_a_new_generation_is_taken_over_with_the_same_featurizer(
    archive, following, live, openings
):
    first = live.require()
    assert following.reload() is False
    changed = another(archive, 3)
    assert following.reload() is True
    assert live.require().engine.name == changed.name
    assert openings.names == [archive.name, changed.name]
    assert openings.reused == [None, first.featurizer]
    wait_for(lambda: first.closed, "the old one was not closed")
    assert following.refused is None
    assert dt.datetime.now(dt.UTC) - following.loaded < dt.timedelta(minutes=1)


def test_it_watches_by_itself(quick, archive, following, live):
    following.start()
    changed = another(archive, 3)
    wait_for(lambda: live.require().engine.name == changed.name, "not taken over")
    manifest.set_current(archive.root, archive.name)
    wait_for(lambda: live.require().engine.name == archive.name, "not rolled back")


def test_a_bad_one_is_refused_once_and_the_old_one_goes_on(
    quick, archive, following, live, openings, caplog
):
    bad = another(archive, 4)
    openings.faults[bad.name] = ContractError("rows.parquet: not what it says")
    following.start()
    wait_for(lambda: following.refused is not None, "not refused")
    assert following.refused.generation == bad.name
    assert "not what it says" in following.refused.reason
    tried = len(openings.names)
    quiet = following.reload
    with pytest.raises(ReloadRefusedError, match="not what it says"):
        quiet()  # asked for: tried again
    assert openings.names[tried:] == [bad.name]
    time.sleep(0.4)  # many looks
    assert len(openings.names) == tried + 1
    assert live.require().engine.name == archive.name
    assert caplog.text.count("is refused") == 2
    good = another(archive, 5)
    wait_for(lambda: live.require().engine.name == good.name, "not taken over")
    assert following.refused is None


def test_a_bad_one_is_tried_again_when_current_has_been_another(following, archive, openings):
    bad = another(archive, 4)
    openings.faults[bad.name] = RuntimeError("faiss is unhappy")
    with pytest.raises(ReloadRefusedError, match="its log says what happened") as caught:
        following.reload()
    assert "faiss" not in str(caught.value) + following.refused.reason  # it may name anything
    assert following._look(again=False) is False
    manifest.set_current(archive.root, archive.name)
    assert following._look(again=False) is False
    manifest.set_current(archive.root, bad.name)
    with pytest.raises(ReloadRefusedError):
        following._look(again=False)
    assert openings.names.count(bad.name) == 2


def test_storage_that_does_not_answer_is_tried_again_more_and_more_rarely(
    quick, archive, following, live, openings, caplog
):
    new = another(archive, 4)
    openings.faults[new.name] = StorageError("bucket: timed out")
    following.start()
    wait_for(lambda: openings.names.count(new.name) >= 3, "not tried again")
    assert following.refused is None and live.require().engine.name == archive.name
    assert "timed out" in caplog.text
    del openings.faults[new.name]
    wait_for(lambda: live.require().engine.name == new.name, "not taken over in the end")


def test_a_generation_with_a_file_missing_is_refused(following, archive, openings):
    new = another(archive, 4)
    error = StorageError("shards/x/vectors.npy: no such file or object")
    error.__cause__ = FileNotFoundError()
    openings.faults[new.name] = error
    with pytest.raises(ReloadRefusedError, match="no such file"):
        following.reload()


def test_current_gone_or_pointing_nowhere_changes_nothing(quick, archive, following, live, caplog):
    following.start()
    place = Path(archive.root, manifest.CURRENT)
    place.write_text("000009-nowhere\n")
    wait_for(lambda: "could not be read" in caplog.text, "nothing was said")
    place.unlink()
    assert live.require().engine.name == archive.name
    new = another(archive, 7)
    wait_for(lambda: live.require().engine.name == new.name, "not taken over")


def test_other_workers_hear_of_a_reload(quick, settings, archive, following):
    asleep = settings.model_copy(update={"watch_s": 0})
    lives = [Live(lambda: None) for _ in range(2)]
    workers = [Takeover(asleep, live, Openings(asleep)) for live in lives]
    for worker in workers:
        worker.load()
        worker.start()
    new = another(archive, 3)
    assert workers[0].reload() is True
    wait_for(lambda: lives[1].require().engine.name == new.name, "the other did not follow")
    for worker, live in zip(workers, lives, strict=True):
        worker.stop()
        live.swap(None)


def test_only_this_generation_and_the_one_before_stay_in_the_cache(following, archive, settings):
    names = [archive.name]
    for removed in range(5):
        names.append(another(archive, removed).name)
        following.reload()
    kept = {folder.name for folder in (settings.cache_dir / "generations").iterdir()}
    assert kept == set(names[-2:])


class TestCheck:
    def test_a_sound_generation_passes(self, archive, settings):
        engine = SearchEngine.open(archive.root, settings.cache_dir)
        check(Service(engine, None))

    def test_an_empty_one_passes(self, archive, settings):
        empty = republish(archive, tombstones=tuple(range(60)))
        check(Service(SearchEngine.open(archive.root, settings.cache_dir, empty.name), None))

    def test_rows_that_are_their_equals_pass(self, tmp_path):
        vectors = np.repeat(clustered(4, 8), 30, axis=0)
        twins = build_archive(tmp_path / "twins", vectors, factory="IVF2,PQ4x4")
        check(Service(SearchEngine.open(twins.root, tmp_path / "cache2"), None))

    def test_codes_of_other_vectors_do_not(self, archive, settings):
        engine = SearchEngine.open(archive.root, settings.cache_dir)
        lost = SimpleNamespace(
            name="g",
            sample=engine.sample,
            vectors=engine.vectors,
            search=lambda vectors, k: engine.search(-vectors, k),
        )
        with pytest.raises(ContractError, match="encode and publish again"):
            check(SimpleNamespace(engine=lost))

    def test_it_is_made_before_a_swap(self, following, archive, live, monkeypatch):
        opened = []

        def doubtful(service):
            opened.append(service)
            raise ContractError("rows do not find themselves")

        monkeypatch.setattr(takeover, "check", doubtful)
        another(archive, 3)
        with pytest.raises(ReloadRefusedError, match="do not find themselves"):
            following.reload()
        assert opened[0].closed and live.require().engine.name == archive.name


def test_a_refusal_of_the_contract_itself(archive, settings, live):
    """The real checks of files, not a stand-in for them."""
    follower = Takeover(settings, live, Openings(settings))
    follower.load()
    shards = archive.generation.shards
    republish(archive, shards=(replace(shards[0], codes="0" * 64), shards[1]))
    with pytest.raises(ReloadRefusedError, match=r"sha256"):
        follower.reload()
    assert live.require().engine.name == archive.name
    live.swap(None)
