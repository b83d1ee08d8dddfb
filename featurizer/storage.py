"""Objects under a root that may be a local folder or any fsspec URL (``gs://``, ``s3://``, ...).

What is written here is complete or absent: a local file is written under a temporary name and
renamed, a remote object is uploaded in one request.  Temporary names are fixed by the target's
name and guarded by a lock, so that a killed job leaves nothing that its re-run does not replace.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat as modes
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO, Any

import fsspec

from featurizer.errors import StorageError

PART_SUFFIX = ".part"

# What the drivers raise beside OSError, and ValueError for bad URLs.
_DRIVER_ERRORS = (
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("aiohttp", "ClientError"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as its listing describes it; ``etag`` changes whenever the bytes do."""

    uri: str
    size: int
    etag: str


def is_local(url: str) -> bool:
    return "://" not in url or url.startswith("file://")


def normalise(url: str | os.PathLike[str]) -> str:
    """A local path made absolute, a URL without its trailing slash."""
    text = os.fspath(url)
    if is_local(text):
        return str(Path(text.removeprefix("file://")).expanduser().absolute())
    return text.rstrip("/")


def join(root: str, *parts: str) -> str:
    return "/".join([root.rstrip("/"), *parts])


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of ``url`` and the path in it; StorageError for an unknown scheme."""
    try:
        return _filesystem(url.split("://", 1)[0] if "://" in url else "file"), _strip(url)
    except (ImportError, ValueError) as error:
        raise StorageError(
            f"{url}: no driver for this kind of storage ({error}); install the fsspec package "
            "that the message names, or use a local path, gs:// or s3://"
        ) from error


@cache
def _filesystem(protocol: str) -> Any:
    # Listings must be fresh: a cached one would hide objects that another worker just wrote.
    return fsspec.filesystem(protocol, use_listings_cache=False)


def _strip(url: str) -> str:
    return url.removeprefix("file://") if is_local(url) else url.split("://", 1)[1]


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            return "the disk is full: free some space and run the same command again"
        if isinstance(error, FileNotFoundError):
            return "no such file or object"
        if isinstance(error, PermissionError):
            return "permission denied: check the file's mode or the account's rights"
    return f"{type(error).__name__}: {error}".splitlines()[0]


@contextlib.contextmanager
def explained(url: str, action: str) -> Iterator[None]:
    """Turns what storage drivers raise into a StorageError that names the object and the remedy."""
    try:
        yield
    except _driver_errors() as error:
        raise StorageError(f"{url}: could not {action}: {_reason(error)}") from error


def _driver_errors() -> tuple[type[Exception], ...]:
    # Only of drivers that are loaded: another one cannot have raised, and is slow to import.
    loaded = (getattr(sys.modules.get(module), name, None) for module, name in _DRIVER_ERRORS)
    return (OSError, ValueError, *(kind for kind in loaded if kind is not None))


def is_missing(error: StorageError) -> bool:
    """Whether the object was not there, rather than out of reach."""
    return isinstance(error.__cause__, FileNotFoundError)


def exists(url: str) -> bool:
    """Whether there is such an object; StorageError where that could not be found out."""
    fs, path = filesystem(url)
    with explained(url, "look it up"):
        if is_local(url):
            return Path(path).exists()
        try:  # fsspec's own exists() answers False to any error
            fs.info(path)
        except FileNotFoundError:
            return False
        return True


def is_directory(url: str) -> bool:
    fs, path = filesystem(url)
    with explained(url, "look it up"):
        return bool(fs.isdir(path))


def stat(url: str) -> Entry:
    """The entry of one object; StorageError when there is none."""
    fs, path = filesystem(url)
    with explained(url, "look it up"):
        if is_local(url):
            return _local_entry(url, Path(path).stat())
        return _entry(url, fs.info(path))


def _local_entry(uri: str, status: os.stat_result) -> Entry:
    # fsspec rounds times to a float; the nanoseconds tell two quick writes apart.
    return Entry(uri, status.st_size, f"{status.st_size:x}-{status.st_mtime_ns:x}")


def _entry(uri: str, info: dict[str, Any]) -> Entry:
    tag = info.get("etag") or info.get("ETag") or info.get("generation")
    if tag is None:
        changed = info.get("mtime") or info.get("created") or 0
        if isinstance(changed, datetime):  # some drivers list numbers and look up datetimes
            changed = changed.timestamp()
        tag = f"{int(info['size']):x}-{changed}"
    return Entry(uri, int(info["size"]), str(tag).strip('"'))


def walk(url: str) -> Iterator[Entry]:
    """Every object below ``url``, hidden ones left out, in a fixed order, one directory in memory.

    A local directory reached twice through links is walked once; a link to nothing is listed, for
    its reader to say so; pipes and devices are not.  StorageError for a name that is not UTF-8.
    """
    fs, path = filesystem(url)
    return _walk_local(path, set()) if is_local(url) else _walk(fs, path, url)


def _walk_local(folder: str, seen: set[str]) -> Iterator[Entry]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    with explained(folder, "list it"), os.scandir(folder) as listing:
        found = sorted(listing, key=lambda entry: entry.name)
    for entry in found:
        if entry.name.startswith("."):
            continue
        if not entry.name.isprintable():
            _require_utf8(folder, entry.name)
        with explained(entry.path, "look it up"):
            status = _status(entry)
        if modes.S_ISDIR(status.st_mode):
            yield from _walk_local(entry.path, seen)
        elif modes.S_ISREG(status.st_mode) or modes.S_ISLNK(status.st_mode):
            yield _local_entry(entry.path, status)


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    """What the entry or its link's target is; the link itself where it leads nowhere."""
    try:
        return entry.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise
        return entry.stat(follow_symlinks=False)


def _walk(fs: Any, path: str, url: str) -> Iterator[Entry]:
    with explained(url, "list it"):
        infos = sorted(fs.ls(path, detail=True), key=lambda info: str(info["name"]))
    for info in infos:
        place = str(info["name"]).rstrip("/")
        name = place.rsplit("/", 1)[-1]
        if name.startswith(".") or place.strip("/") == path.strip("/"):
            continue
        child = join(url, name)
        if info["type"] == "directory":
            yield from _walk(fs, place, child)
        else:
            yield _entry(child, info)


def _require_utf8(folder: str, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise StorageError(
            f"{folder}: holds a file whose name is not UTF-8: {os.fsencode(name)!r}; rename it"
        ) from error


def names(url: str) -> list[str]:
    """Names directly below ``url``, sorted; empty when there is nothing."""
    fs, path = filesystem(url)
    with explained(url, "list it"):
        try:
            listing = fs.ls(path, detail=False)
        except FileNotFoundError:
            return []
    found = {str(name).rstrip("/").rsplit("/", 1)[-1] for name in listing}
    return sorted(name for name in found if name and not name.startswith("."))


def read_bytes(url: str) -> bytes:
    fs, path = filesystem(url)
    with explained(url, "read it"):
        return bytes(fs.cat_file(path))


def read_many(urls: Sequence[str]) -> list[bytes | StorageError]:
    """The bytes of each object, or why not, in order; remote objects are fetched concurrently."""
    found: dict[str, bytes | StorageError] = {}
    remote: dict[str, list[str]] = {}
    for url in urls:
        if is_local(url):
            try:
                found[url] = Path(_strip(url)).read_bytes()
            except OSError as error:
                found[url] = _unread(url, error)
        else:
            remote.setdefault(url.split("://", 1)[0], []).append(url)
    for group in remote.values():
        found.update(_fetch(group))
    return [found[url] for url in urls]


def _fetch(urls: Sequence[str]) -> dict[str, bytes | StorageError]:
    fs, _ = filesystem(urls[0])
    # fsspec takes these characters in a list for a pattern, and would fetch other objects.
    found = {url: _fetch_one(url) for url in urls if any(mark in url for mark in "*?[")}
    paths = {fs._strip_protocol(url): url for url in urls if url not in found}
    if not paths:
        return found
    with explained(urls[0], "read it and others"):
        fetched = fs.cat(list(paths), on_error="return")
    for path, url in paths.items():
        value = fetched.get(path, FileNotFoundError(url))
        found[url] = _unread(url, value) if isinstance(value, BaseException) else bytes(value)
    return found


def _unread(url: str, cause: BaseException) -> StorageError:
    error = StorageError(f"{url}: could not read it: {_reason(cause)}")
    error.__cause__ = cause
    return error


def _fetch_one(url: str) -> bytes | StorageError:
    try:
        return read_bytes(url)
    except StorageError as error:
        return error


def write_bytes(url: str, data: bytes) -> None:
    write_with(url, lambda file: _write_all(file, data))


def _write_all(file: IO[bytes], data: bytes) -> None:
    file.write(data)


def write_with(url: str, write: Callable[[IO[bytes]], None]) -> None:
    """Lets ``write`` fill a file that then appears at ``url`` whole, or not at all.

    StorageError when the disk is full or the place may not be written; what stood there stays.
    """
    with explained(url, "write it"):
        if is_local(url):
            _write_local(Path(_strip(url)), write)
            return
        fs, path = filesystem(url)
        with tempfile.NamedTemporaryFile() as spool:
            write(spool)
            spool.flush()
            fs.put_file(spool.name, path)


def _write_local(target: Path, write: Callable[[IO[bytes]], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}{PART_SUFFIX}")
    with _locked(part) as file:
        try:
            file.truncate(0)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        part.replace(target)


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[IO[bytes]]:
    """``part`` opened for writing by this process alone."""
    while True:
        with part.open("a+b") as probe:
            fcntl.flock(probe, fcntl.LOCK_EX)
            # While we waited, the file may have been renamed to its target: take a new one then.
            try:
                same = part.stat().st_ino == os.fstat(probe.fileno()).st_ino
            except FileNotFoundError:
                same = False
            if same:
                with part.open("r+b") as file:
                    yield file
                return


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """The checksum of a local file, read in bounded memory."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
