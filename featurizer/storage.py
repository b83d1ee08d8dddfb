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
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import fsspec

from featurizer.errors import StorageError

PART_SUFFIX = ".part"
_READ_ERRORS = (OSError, ValueError)  # gcsfs and s3fs raise OSError; bad URLs raise ValueError


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
    """The fsspec filesystem of ``url`` and the path inside it; StorageError for an unknown scheme."""
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
    except _READ_ERRORS as error:
        raise StorageError(f"{url}: could not {action}: {_reason(error)}") from error


def exists(url: str) -> bool:
    fs, path = filesystem(url)
    with explained(url, "look it up"):
        return bool(fs.exists(path))


def is_directory(url: str) -> bool:
    fs, path = filesystem(url)
    with explained(url, "look it up"):
        return bool(fs.isdir(path))


def stat(url: str) -> Entry:
    """The entry of one object; StorageError when there is none."""
    fs, path = filesystem(url)
    with explained(url, "look it up"):
        return _local_entry(url) if is_local(url) else _entry(url, fs.info(path))


def _local_entry(uri: str) -> Entry:
    # fsspec rounds times to a float; the nanoseconds tell two quick writes apart.
    status = Path(_strip(uri)).stat()
    return Entry(uri, status.st_size, f"{status.st_size:x}-{status.st_mtime_ns:x}")


def _entry(uri: str, info: dict[str, Any]) -> Entry:
    tag = info.get("etag") or info.get("ETag") or info.get("generation")
    if tag is None:
        changed = info.get("mtime") or info.get("created") or 0
        tag = f"{int(info['size']):x}-{changed}"
    return Entry(uri, int(info["size"]), str(tag).strip('"'))


def walk(url: str) -> Iterator[Entry]:
    """Every object below ``url``, hidden ones left out, in a fixed order, one directory in memory.

    A local directory reached twice through links is walked once.
    """
    fs, path = filesystem(url)
    yield from _walk(fs, path, url, set())


def _walk(fs: Any, path: str, url: str, seen: set[str]) -> Iterator[Entry]:
    if is_local(url):
        real = os.path.realpath(path)
        if real in seen:
            return
        seen.add(real)
    with explained(url, "list it"):
        infos = sorted(fs.ls(path, detail=True), key=lambda info: str(info["name"]))
    for info in infos:
        name = str(info["name"]).rstrip("/").rsplit("/", 1)[-1]
        if name.startswith(".") or str(info["name"]).rstrip("/") == path.rstrip("/"):
            continue
        child = join(url, name)
        if info["type"] == "directory" or (is_local(child) and Path(_strip(child)).is_dir()):
            yield from _walk(fs, str(info["name"]), child, seen)
        elif is_local(child):
            with explained(child, "look it up"):
                entry = _local_entry(child)
            yield entry
        else:
            yield _entry(child, info)


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
                found[url] = StorageError(f"{url}: could not read it: {_reason(error)}")
        else:
            remote.setdefault(url.split("://", 1)[0], []).append(url)
    for group in remote.values():
        found.update(_fetch(group))
    return [found[url] for url in urls]


def _fetch(urls: Sequence[str]) -> dict[str, bytes | StorageError]:
    fs, _ = filesystem(urls[0])
    paths = {_strip(url): url for url in urls}
    fetched = fs.cat(list(paths), on_error="return")
    if not isinstance(fetched, dict):  # fsspec gives bare bytes for a single path
        fetched = {next(iter(paths)): fetched}
    found: dict[str, bytes | StorageError] = {}
    for path, url in paths.items():
        value = fetched.get(path, fetched.get(fs._strip_protocol(url), FileNotFoundError(url)))
        found[url] = (
            StorageError(f"{url}: could not read it: {_reason(value)}")
            if isinstance(value, BaseException)
            else bytes(value)
        )
    return found


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
