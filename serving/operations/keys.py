"""API keys: a file of their hashes, and who a presented key is.

A key is 256 random bits, so its plain SHA-256 can stand in the file: the slow, salted hashes that
passwords need are for secrets which people choose and others can guess.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from featurizer.errors import UsageError
from featurizer.storage import PART_SUFFIX

logger = logging.getLogger(__name__)

Scope = Literal["read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "ws_"
_NAME = re.compile(r"[\w.@-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LOOK_EVERY_S = 1.0  # at the file: a revoked key is good for a second more


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; the key itself is nowhere but with its owner."""

    name: str
    scope: Scope
    sha256: str
    created: str

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What it allows: admin includes read."""
        return SCOPES if self.scope == "admin" else ("read",)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file; UsageError when there is none, or it is not one of ours."""
    try:
        records = json.loads(path.read_bytes())["keys"]
        keys = tuple(Key(**record) for record in records)
    except OSError as error:
        raise UsageError(
            f"{path}: no readable file of API keys ({error.strerror}): make the first key with "
            f"`python -m serving key new NAME --scope read --file {path}`"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: not a file of API keys ({error}): remove it and make new keys with "
            "`python -m serving key new`"
        ) from error
    for key in keys:
        if key.scope not in SCOPES or not _DIGEST.fullmatch(str(key.sha256)):
            raise UsageError(f"{path}: the key {key.name!r} is damaged: revoke it and make another")
    return keys


def new_key(path: Path, name: str, scope: Scope) -> str:
    """A new key, whose hash is added to the file; it is told this once and stored nowhere."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r}: name a key with up to 64 letters, digits and . _ @ -")
    text = PREFIX + secrets.token_urlsafe(32)
    with _Changing(path) as change:
        if any(key.name == name for key in change.keys):
            raise UsageError(
                f"{path}: has a key {name!r} already: revoke that one first, or give another name"
            )
        made = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        change.write((*change.keys, Key(name, scope, digest(text), made)))
    return text


def revoke_key(path: Path, name: str) -> None:
    """Removes a key; servers that use the file refuse it within a second or so."""
    read_keys(path)
    with _Changing(path) as change:
        left = tuple(key for key in change.keys if key.name != name)
        if len(left) == len(change.keys):
            there = ", ".join(key.name for key in change.keys) or "none"
            raise UsageError(f"{path}: has no key {name!r}; there: {there}")
        change.write(left)


class _Changing:
    """The file's keys, held by this process alone until it has written them anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.keys: tuple[Key, ...] = ()

    def __enter__(self) -> _Changing:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._path.with_name(f".{self._path.name}.lock").open("ab")
        except OSError as error:
            raise UsageError(
                f"{self._path}: cannot be written ({error.strerror}): give another --file"
            ) from error
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if self._path.exists():
            self.keys = read_keys(self._path)
        return self

    def write(self, keys: Sequence[Key]) -> None:
        part = self._path.with_name(f".{self._path.name}{PART_SUFFIX}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"keys": [asdict(key) for key in keys]}, file, indent=1)
        part.replace(self._path)

    def __exit__(self, *_: object) -> None:
        self._lock.close()


def keys_of_text(text: str) -> tuple[Key, ...]:
    """Keys given as ``name:scope:sha256`` with commas between; UsageError says what is wrong."""
    keys = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        fields = part.split(":")
        if len(fields) != 3 or fields[1] not in SCOPES or not _DIGEST.fullmatch(fields[2]):
            raise UsageError(
                f"api_keys: {fields[0]!r} is not name:scope:sha256 with scope read or admin and "
                "64 hexadecimal digits, as `python -m serving key list` shows them"
            )
        scope: Scope = "admin" if fields[1] == "admin" else "read"
        keys.append(Key(fields[0], scope, fields[2], ""))
    return tuple(keys)


class Keyring:
    """The keys that open this server; none at all means that it asks for none.

    The file is read again when it changes.  One that has become unreadable leaves the keys as
    they were, and the log says so.
    """

    def __init__(self, path: Path | None = None, text: str = "") -> None:
        self._path, self._fixed = path, keys_of_text(text)
        self._keys = self._fixed
        self._seen: tuple[int, int, int] | None = None
        self._next_look = 0.0
        if path is not None:
            self._seen = _version(path)  # before it is read: a change meanwhile is seen later
            self._keys = self._fixed + read_keys(path)
            self._next_look = time.monotonic() + _LOOK_EVERY_S
        self.required = path is not None or bool(self._fixed)

    def find(self, presented: str) -> Key | None:
        """Whose key it is.  Takes the same time whatever part of a key is right."""
        now = time.monotonic()
        if self._path is not None and now >= self._next_look:
            self._next_look = now + _LOOK_EVERY_S
            self._look(self._path)
        found = None
        wanted = digest(presented)
        for key in self._keys:
            if hmac.compare_digest(key.sha256, wanted):
                found = key
        return found

    def _look(self, path: Path) -> None:
        version = _version(path)
        if version == self._seen:
            return
        self._seen = version  # a fault is told once
        try:
            self._keys = self._fixed + read_keys(path)
        except UsageError as error:
            logger.error("the API keys stay as they were: %s", error)
            return
        logger.info("%s: %d API keys", path, len(self._keys))


def _version(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever the file does; None where it is out of reach."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
