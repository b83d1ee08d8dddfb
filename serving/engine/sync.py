"""A generation's files on local disk, each compared with the manifest before it is used.

Files of a local root are used where they are; those of a remote one are fetched into the cache,
several at a time, each whole or not at all, so that an interrupted start goes on where it stopped.
What was verified is remembered by path, size and time of change: a restart reads no file again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from featurizer import shards, storage
from featurizer.errors import ContractError, StorageError
from featurizer.manifest import Generation
from serving.engine.progress import cores, for_each

_DOWNLOADS = 16  # requests under way at one time: each waits far longer than it computes
_LEDGER = "verified.jsonl"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file of a generation, by its path below the root."""

    relative: str
    sha256: str
    remedy: str


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Where the verified files of one generation lie."""

    base: Path
    quantizer: str

    def trained(self) -> Path:
        return self.base / trained_path(self.quantizer)

    def codes(self, shard: str) -> Path:
        return self.base / codes_path(self.quantizer, shard)

    def vectors(self, shard: str) -> Path:
        return self.base / shard_path(shard, shards.VECTORS)

    def rows(self, shard: str) -> Path:
        return self.base / shard_path(shard, shards.ROWS)


def trained_path(quantizer: str) -> str:
    return f"quantizers/{quantizer}/trained.faiss"


def codes_path(quantizer: str, shard: str) -> str:
    return f"quantizers/{quantizer}/codes/{shard}.faiss"


def shard_path(shard: str, file: str) -> str:
    return f"shards/{shard}/{file}"


@contextlib.contextmanager
def locked(cache_dir: Path) -> Iterator[None]:
    """The cache held by this process alone; another one that starts on it waits."""
    with storage.explained(str(cache_dir), "use it as the cache folder (--cache-dir)"):
        cache_dir.mkdir(parents=True, exist_ok=True)
        lock = (cache_dir / ".lock").open("a+b")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def wanted_files(name: str, generation: Generation, root: str) -> Iterator[Wanted]:
    """Every file that a search of the generation reads."""
    q = generation.quantizer
    train = f"remove it and run `python -m pipeline train {root}` and `encode` again"
    encode = f"remove it and run `python -m pipeline encode {root}` again"
    embed = "remove the shard's folder and run the same embed command again: it is remade alone"
    yield Wanted(trained_path(q), generation.quantizer_sha256, train)
    for shard in generation.shards:
        yield Wanted(codes_path(q, shard.name), shard.codes, encode)
        yield Wanted(shard_path(shard.name, shards.VECTORS), shard.vectors, embed)
        yield Wanted(shard_path(shard.name, shards.ROWS), shard.rows_file, embed)


class Ledger:
    """What was verified: lines of path, size, time of change and sha256 in one growing file."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._known: dict[str, list[object]] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            with contextlib.suppress(ValueError):  # a line that a killed process left half written
                file, *facts = json.loads(line)
                self._known[file] = facts

    def holds(self, file: Path, sha256: str) -> bool:
        """Whether ``file`` is unchanged since it was found to have this checksum."""
        facts = self._known.get(str(file))
        return facts is not None and facts == _facts(file, sha256)

    def add(self, file: Path, facts: list[object]) -> None:
        """Remembers the facts that stood while the file was read."""
        line = json.dumps([str(file), *facts])
        with self._lock, self._path.open("a") as ledger:
            ledger.write(f"{line}\n")


def _facts(file: Path, sha256: str) -> list[object]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, sha256]


def local_files(
    root: str, name: str, generation: Generation, cache_dir: Path, progress: bool = False
) -> LocalFiles:
    """The generation's files, all present and verified.

    ContractError names the first file that is not what the manifest says, StorageError one that
    is missing or unreadable.  Callers hold ``locked``.
    """
    local = storage.is_local(root)
    base = Path(root) if local else cache_dir / "objects"
    ledger = Ledger(cache_dir / _LEDGER)
    wanted = [
        file
        for file in wanted_files(name, generation, root)
        if not _is_verified(base / file.relative, file, ledger)
    ]

    def ensure(file: Wanted) -> None:
        if local:
            _verify(base / file.relative, file, name, ledger)
        else:
            _fetch(root, file, base / file.relative, name, ledger)

    title = "verifying" if local else "fetching"
    for_each(wanted, ensure, min(8, cores()) if local else _DOWNLOADS, title, progress)
    return LocalFiles(base, generation.quantizer)


def _is_verified(path: Path, file: Wanted, ledger: Ledger) -> bool:
    try:
        return ledger.holds(path, file.sha256)
    except OSError:
        return False  # missing: it is fetched, or named in the error of reading it


def _verify(path: Path, file: Wanted, name: str, ledger: Ledger) -> None:
    with storage.explained(str(path), f"read it ({file.remedy})"):
        facts = _facts(path, file.sha256)
        found = storage.sha256_of_file(path)
    if found != file.sha256:
        raise ContractError(_mismatch(str(path), path, found, file, name))
    ledger.add(path, facts)


def _mismatch(place: str, path: Path, found: str, file: Wanted, name: str) -> str:
    return (
        f"{place}: {path.stat().st_size} bytes with sha256 {found[:12]}…, but generation {name} "
        f"says {file.sha256[:12]}… (truncated or altered?): {file.remedy}"
    )


def _fetch(root: str, file: Wanted, target: Path, name: str, ledger: Ledger) -> None:
    """Puts the object at ``target`` unless it is there already, verified either way."""
    if target.exists():
        with contextlib.suppress(ContractError, StorageError):
            _verify(target, file, name, ledger)
            return
    url = storage.join(root, file.relative)
    fs, path = storage.filesystem(url)
    part = target.with_name(f".{target.name}{storage.PART_SUFFIX}")
    with storage.explained(url, "fetch it"):
        target.parent.mkdir(parents=True, exist_ok=True)
        fs.get_file(path, str(part))
        found = storage.sha256_of_file(part)
        if found != file.sha256:
            message = _mismatch(url, part, found, file, name)
            part.unlink()
            raise ContractError(message)
        part.replace(target)
        ledger.add(target, _facts(target, file.sha256))
