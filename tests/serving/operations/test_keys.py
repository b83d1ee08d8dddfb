"""API keys: what is kept of them, who they open for, what is said when something is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from featurizer.errors import UsageError
from serving.operations import keys
from serving.operations.keys import Keyring, keys_of_text, new_key, read_keys, revoke_key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "keys.json"


def test_the_file_holds_the_hash_of_256_random_bits_and_not_the_key(file):
    key = new_key(file, "alice", "read")
    assert key.startswith("ws_") and len(key) == len("ws_") + 43  # 32 bytes in base64
    assert key not in file.read_text()
    (kept,) = read_keys(file)
    assert kept.sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert (kept.name, kept.scope, kept.scopes) == ("alice", "read", ("read",))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert new_key(file, "bob", "admin") != key
    assert [k.name for k in read_keys(file)] == ["alice", "bob"]


def test_find_and_revoke(file, monkeypatch):
    monkeypatch.setattr(keys, "_LOOK_EVERY_S", 0.0)
    alice, bob = new_key(file, "alice", "read"), new_key(file, "bob", "admin")
    ring = Keyring(file)
    assert ring.required
    assert ring.find(alice).name == "alice"
    assert ring.find(bob).scopes == ("read", "admin")
    for wrong in ("", "ws_", alice[:-1], alice + "a", alice.upper(), "ü\udce4"):
        assert ring.find(wrong) is None
    revoke_key(file, "alice")
    assert ring.find(alice) is None and ring.find(bob) is not None
    carol = new_key(file, "carol", "read")
    assert ring.find(carol).name == "carol"


def test_the_file_is_not_read_for_every_request(file):
    key = new_key(file, "alice", "read")
    ring = Keyring(file)
    file.unlink()
    for _ in range(1000):
        assert ring.find(key) is not None


def test_a_file_that_went_bad_leaves_the_keys_and_is_told_once(file, monkeypatch, caplog):
    monkeypatch.setattr(keys, "_LOOK_EVERY_S", 0.0)
    key = new_key(file, "alice", "read")
    ring = Keyring(file)
    file.write_text("{")
    for _ in range(3):
        assert ring.find(key).name == "alice"
    assert caplog.text.count("stay as they were") == 1
    file.unlink()
    assert ring.find(key).name == "alice"


def test_keys_of_the_settings(file):
    key = new_key(file, "alice", "admin")
    (record,) = read_keys(file)
    ring = Keyring(text=f" ci:read:{'0' * 64}, alice:admin:{record.sha256}")
    assert ring.find(key).scope == "admin"
    assert not Keyring().required and Keyring().find(key) is None
    for bad in ("alice", "alice:root:" + "0" * 64, "alice:read:" + "0" * 63, "a:read:" + "Z" * 64):
        with pytest.raises(UsageError, match="name:scope:sha256"):
            keys_of_text(bad)


def test_faults_say_what_to_do(file):
    with pytest.raises(UsageError, match="serving key new"):
        Keyring(file)
    new_key(file, "alice", "read")
    with pytest.raises(UsageError, match="already"):
        new_key(file, "alice", "admin")
    with pytest.raises(UsageError, match="letters, digits"):
        new_key(file, "al ice\n", "read")
    with pytest.raises(UsageError, match="there: alice"):
        revoke_key(file, "bob")
    record = json.loads(file.read_text())
    for text in ("[]", "{}", '{"keys": [{"name": 1}]}', "\x00"):
        file.write_text(text)
        with pytest.raises(UsageError, match="not a file of API keys"):
            read_keys(file)
    record["keys"][0]["scope"] = "root"
    file.write_text(json.dumps(record))
    with pytest.raises(UsageError, match="damaged"):
        read_keys(file)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="another --file"):
        new_key(tmp_path / "keys.json", "alice", "read")


def test_keys_made_at_the_same_time_are_all_there(file):
    threads = [threading.Thread(target=new_key, args=(file, f"key{i}", "read")) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in read_keys(file)} == {f"key{i}" for i in range(12)}
