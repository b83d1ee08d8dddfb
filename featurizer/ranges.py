"""A file for reading over an object in storage, of which only what is asked for is fetched."""

from __future__ import annotations

import io
import os
from typing import Any

from fsspec.caching import BlockCache

from featurizer import storage

RANGE_BYTES = 2**21  # one request
RANGES_KEPT = 32


class RangedObject:
    """One object's bytes by ranges, the last ones read kept (64 MiB); one request fetches 2 MiB.

    Raises StorageError when there is no such object.  Files over it, which foreign code may read
    that cannot pass on exceptions, instead end early and leave the exception in ``faults``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.size = storage.stat(url).size
        self.faults: list[Exception] = []
        self._fs, self._path = storage.filesystem(url)
        self._cache: Any = BlockCache(RANGE_BYTES, self._fetch, self.size, maxblocks=RANGES_KEPT)

    def _fetch(self, start: int, end: int) -> bytes:
        with storage.explained(self.url, "read it"):
            return bytes(self._fs.cat_file(self._path, start=start, end=end))

    def range(self, start: int, end: int) -> bytes:
        """Bytes [start, end), fewer at the object's end; StorageError when a request fails."""
        return bytes(self._cache._fetch(start, min(end, self.size)))

    def open(self) -> RangedFile:
        """A new file at position 0; several may be open at once, in one thread."""
        return RangedFile(self)


class RangedFile(io.RawIOBase):
    """Reads and seeks in a ``RangedObject``."""

    def __init__(self, source: RangedObject) -> None:
        self._source, self._position = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size}
        self._position = max(0, start[whence] + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        end = self._source.size if size < 0 else self._position + size
        try:
            data = self._source.range(self._position, end) if self._position < end else b""
        except Exception as error:  # noqa: BLE001 - the caller is C: raised after it returns
            self._source.faults.append(error)
            return b""
        self._position += len(data)
        return data
