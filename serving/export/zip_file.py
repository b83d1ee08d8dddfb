"""Parts as a ZIP in ImageFolder layout: a folder of pictures for each label, and two tables.

    <label or "unlabelled">/<name>.<jpg, png or webp>
    tiles.csv         the columns of the CSV export and ``file``, the picture's place in the ZIP
    unreadable.csv    tiles whose source could not be read: tile_id, uri, reason

Members are written one after the other and each is complete, with its size and checksum, before
its first byte leaves: readers that never see the end can unpack it too.  The same rows and sources
give the same bytes.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from serving.export.csv_file import COLUMNS, csv_lines, guarded, records
from serving.export.names import FileNames, Folders
from serving.export.parts import Part
from serving.export.pictures import PictureFile, Read, Unreadable, read_ahead

if TYPE_CHECKING:
    from serving.engine.search import Tile

_SPOOL_BYTES = 4 << 20  # of a table or a member in memory; the rest waits in a temporary file
_PIECE_BYTES = 256 << 10


class MemberSink(io.RawIOBase):
    """A file without an end that can be sought in back to what was last taken out of it.

    So ``zipfile``, which goes back to a member's header once its size is known, can write to a
    stream.
    """

    def __init__(self) -> None:
        super().__init__()
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115
        self._base = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._spool.write(data)

    def tell(self) -> int:
        return self._base + self._spool.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._base:
            raise OSError(f"cannot seek to {offset} (from {whence}): {self._base} bytes are gone")
        self._spool.seek(offset - self._base)
        return offset

    def take(self) -> Iterator[bytes]:
        """All that was written since it was last asked, in pieces."""
        self._base += self._spool.seek(0, io.SEEK_END)
        self._spool.seek(0)
        while piece := self._spool.read(_PIECE_BYTES):
            yield piece
        self._spool.seek(0)
        self._spool.truncate()

    def close(self) -> None:
        self._spool.close()
        super().close()


def zip_file(parts: Iterable[Part], read: Read) -> Iterator[bytes]:
    """The file in pieces.  Memory is that of a few pictures and of the ZIP's own directory."""
    with ExitStack() as stack:
        tables = [
            stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_BYTES)) for _ in range(2)
        ]
        listed, missing = tables
        listed.write(csv_lines([(*COLUMNS, "file")]))
        missing.write(csv_lines([("tile_id", "uri", "reason")]))
        sink = stack.enter_context(MemberSink())
        archive = stack.enter_context(zipfile.ZipFile(sink, "w", allowZip64=True))
        folders, names = Folders(), FileNames()
        for part in parts:
            files: dict[int, str] = {}
            order = _order(part)
            with closing(_pictures(part, order, read)) as pictures:
                for place, found in zip(order, pictures, strict=True):
                    tile = part.tiles[place]
                    if isinstance(found, Unreadable):
                        missing.write(csv_lines([_unreadable(tile, found)]))
                        continue
                    name = f"{folders.of(tile.label)}/{names.of(tile.tile_id)}.{found.extension}"
                    files[place] = name
                    archive.writestr(_member(name), found.data)
                    yield from sink.take()
            listed.write(csv_lines(_listed(part, files)))
        for name, table in (("tiles.csv", listed), ("unreadable.csv", missing)):
            _write_table(archive, name, table)
            yield from sink.take()
        archive.close()
        yield from sink.take()


def _order(part: Part) -> list[int]:
    """Places in the part by row id: rows of one shard, and windows of one source, follow each
    other so, and what was opened for one serves the next."""
    return [int(place) for place in np.argsort(part.rows, kind="stable")]


def _pictures(
    part: Part, order: list[int], read: Read
) -> Generator[PictureFile | Unreadable, None, None]:
    return read_ahead(lambda place: read(int(part.rows[place]), part.tiles[place]), order)


def _listed(part: Part, files: dict[int, str]) -> Iterator[list[str | int | float | None]]:
    for place, record in enumerate(records(part)):
        yield [*record, files.get(place)]


def _unreadable(tile: Tile, found: Unreadable) -> tuple[str, str, str]:
    return guarded(tile.tile_id), guarded(tile.uri), guarded(found.reason)


def _member(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """A member's record.  Pictures are stored: deflating them again gains nothing."""
    info = zipfile.ZipInfo(name)  # dated 1980, so that the same rows give the same bytes
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    info.create_system = 3  # Unix, whose file modes these are
    return info


def _write_table(archive: zipfile.ZipFile, name: str, table: IO[bytes]) -> None:
    info = _member(name, zipfile.ZIP_DEFLATED)
    info.file_size = table.seek(0, io.SEEK_END)
    table.seek(0)
    with archive.open(info, "w") as member:
        while piece := table.read(_PIECE_BYTES):
            member.write(piece)
