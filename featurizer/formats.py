"""What an encoded image says of itself in its first bytes, and which decoder it therefore goes to.

Nothing here decodes.  The headers are read by hand because the decoders disagree on them: one
calls every TIFF with alpha plain RGB, another refuses each bit depth that it cannot show.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from featurizer.errors import PixelError

Format = Literal["jpeg", "png", "tiff", "webp", "jp2", "bmp", "gif", "avif", "pnm"]

# rgb, rgba: nvImageCodec to 8 bits.  deep: nvImageCodec at 16 bits.  raster: GDAL.
Route = Literal["rgb", "rgba", "deep", "pillow", "raster"]


@dataclass(frozen=True, slots=True)
class Header:
    """Format, decoder and size in pixels before any rotation; (0, 0) where the header hides it."""

    format: Format
    route: Route
    width: int = 0
    height: int = 0


_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"BM", "bmp"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
)


def sniff(data: bytes) -> Format | None:
    """The format that these bytes begin like; None for none that is known here."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and any(brand in data[8:40] for brand in (b"avif", b"avis")):
        return "avif"
    if data[:1] == b"P" and data[1:2] in b"1234567fF" and data[2:3].isspace():
        return "pnm"
    return None


def probe(data: bytes) -> Header:
    """The header of an encoded image.  Costs microseconds, allocates nothing, trusts nothing.

    PixelError ``unknown-format`` where ``sniff`` knows none.  A known format whose header does
    not parse goes to Pillow, which says what is wrong with it.
    """
    name = sniff(data)
    if name is None:
        raise PixelError("unknown-format", "its first bytes are those of no known image")
    reader = _READERS.get(name)
    if reader is None:
        return Header(name, "pillow")
    try:
        return reader(data)
    except (struct.error, LookupError):
        return Header(name, "pillow")


# ---- JPEG (ITU-T T.81, B.1 and B.2.2) ------------------------------------------------------------

_FRAMES = {0xC0 + n for n in range(16)} - {0xC4, 0xC8, 0xCC}  # start of frame; not tables
_JPEG_SEGMENTS_MAX = 1000


def _jpeg(data: bytes) -> Header:
    """Always nvImageCodec, which also knows what to do with a size that stands nowhere."""
    offset = 2
    for _ in range(_JPEG_SEGMENTS_MAX):
        if offset + 9 > len(data) or data[offset] != 0xFF:
            break
        if data[offset + 1] in _FRAMES:
            height, width = struct.unpack_from(">HH", data, offset + 5)
            return Header("jpeg", "rgb", width, height)
        fill = data[offset + 1] == 0xFF  # before a marker there may be any number of these
        offset += 1 if fill else 2 + struct.unpack_from(">H", data, offset + 2)[0]
    return Header("jpeg", "rgb")


# ---- PNG (ISO/IEC 15948, 5.3 and 11.2) ----------------------------------------------------------

_PNG_ALPHA = (4, 6)  # colour types: grey with alpha, RGB with alpha
_PNG_CHUNKS_MAX = 100_000


def _png_chunks(data: bytes) -> Iterator[bytes]:
    offset = 8
    for _ in range(_PNG_CHUNKS_MAX):
        if offset + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, offset)
        yield kind
        offset += 12 + length


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise LookupError("no IHDR first")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    chunks = set(_png_chunks(data))
    return Header("png", _png_route(depth, colour, chunks), width, height)


def _png_route(depth: int, colour: int, chunks: set[bytes]) -> Route:
    if b"acTL" in chunks:
        return "pillow"  # nvImageCodec shows another frame than the still image
    keyed = b"tRNS" in chunks
    alpha = colour in _PNG_ALPHA
    if alpha and b"eXIf" in chunks:
        return "pillow"  # nvImageCodec garbles four channels when it turns them
    if depth == 16:
        return "raster" if keyed or colour == 4 else "deep"
    if keyed:
        return "pillow"  # nvImageCodec drops the transparency
    return "rgba" if alpha else "rgb"


# ---- WebP (RFC 9649, 2.5 to 2.7; RFC 6386, 9.1) -------------------------------------------------


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8X":
        flags = data[20]
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        animated, exif, alpha = flags & 0x02, flags & 0x08, flags & 0x10
        route: Route = "rgba" if alpha else "rgb"
        return Header("webp", "pillow" if animated or (alpha and exif) else route, width, height)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        return Header("webp", "rgba" if bits >> 28 & 1 else "rgb", width, height)
    if data[23:26] != b"\x9d\x01\x2a":
        return Header("webp", "rgb")
    width, height = struct.unpack_from("<HH", data, 26)
    return Header("webp", "rgb", width & 0x3FFF, height & 0x3FFF)


# ---- JPEG 2000 (ISO/IEC 15444-1, A.5.1) ---------------------------------------------------------


def _jp2(data: bytes) -> Header:
    """Never nvImageCodec: its CPU decoder crashes the process on damaged JPEG 2000."""
    start = data.index(b"\xff\x4f\xff\x51") if b"\xff\x4f\xff\x51" in data else len(data)
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    components = struct.unpack_from(">H", data, start + 40)[0]
    depths = [1 + (data[start + 42 + 3 * i] & 0x7F) for i in range(components)]
    deep = components > 4 or max(depths, default=8) > 8
    return Header("jp2", "raster" if deep else "pillow", max(right - left, 0), max(bottom - top, 0))


# ---- TIFF 6.0 and BigTIFF -----------------------------------------------------------------------

_TIFF_SIZES = {1: (1, "B"), 2: (1, "B"), 3: (2, "H"), 4: (4, "I"), 13: (4, "I"), 16: (8, "Q")}
_TIFF_ENTRIES_MAX = 4096
_TIFF_VALUES_MAX = 16
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_SAMPLES, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _NODATA = 277, 338, 339, 42113

# none, LZW, JPEG, deflate (both numbers), PackBits, zstd: what nvImageCodec decodes right
_TIFF_CODEC_COMPRESSIONS = {1, 5, 7, 8, 32773, 32946, 50000}
# LERC, WebP, JPEG XL (twice): Pillow's libtiff is built without them
_TIFF_GDAL_COMPRESSIONS = {34887, 50001, 50002, 52546}

Tags = dict[int, tuple[int, ...]]


def _tiff_tags(data: bytes, order: str, big: bool, offset: int) -> tuple[Tags, int]:
    """The integer tags of the directory at ``offset``, and the next one's offset (0: none)."""
    if offset > len(data):
        raise LookupError(f"a directory at {offset} of {len(data)} bytes")
    entry, inline, pointer = (20, 8, "Q") if big else (12, 4, "I")
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
    first = offset + (8 if big else 2)
    if count > _TIFF_ENTRIES_MAX:
        raise LookupError(f"{count} tags in one directory")
    tags: Tags = {}
    for at in range(first, first + count * entry, entry):
        tag, kind, number = struct.unpack_from(f"{order}HH{pointer}", data, at)
        if kind not in _TIFF_SIZES or not number:
            continue
        size, letter = _TIFF_SIZES[kind]
        start = at + entry - inline
        if size * number > inline:
            (start,) = struct.unpack_from(order + pointer, data, start)
        number = min(number, _TIFF_VALUES_MAX)
        if start + size * number <= len(data):
            tags[tag] = struct.unpack_from(f"{order}{number}{letter}", data, start)
    end = first + count * entry
    following = data[end : end + inline]
    return tags, struct.unpack(order + pointer, following)[0] if len(following) == inline else 0


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in (data[2], data[3])
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    tags, following = _tiff_tags(data, order, big, offset)
    width, height = tags[_WIDTH][0], tags[_HEIGHT][0]
    masked = _NODATA in tags or _is_mask(data, order, big, following)
    return Header("tiff", "raster" if masked else _tiff_route(tags), width, height)


def _is_mask(data: bytes, order: str, big: bool, offset: int) -> bool:
    """Whether the directory at ``offset`` is the first image's transparency mask."""
    if not offset:
        return False
    try:
        tags, _ = _tiff_tags(data, order, big, offset)
    except (struct.error, LookupError):
        return False
    return bool(tags.get(_SUBFILE, (0,))[0] & 4)


def _tiff_route(tags: Tags) -> Route:
    bits = set(tags.get(_BITS, (1,)))
    formats = set(tags.get(_SAMPLE_FORMAT, (1,)))
    samples = tags.get(_SAMPLES, (1,))[0]
    compression = tags.get(_COMPRESSION, (1,))[0]
    photometric = tags.get(_PHOTOMETRIC, (-1,))[0]
    if bits not in ({1}, {2}, {4}, {8}) or formats != {1} or samples > 4:
        return "raster"
    if compression in _TIFF_GDAL_COMPRESSIONS:
        return "raster"
    if photometric < 2 and samples > 2:
        return "raster"  # bands without a colour: which three to show is GDAL's to say
    # Alpha, palette and CMYK come out of nvImageCodec wrong or a level off: planar RGBA,
    # premultiplied RGBA and grey with alpha differ from the truth by up to 254.
    plain = samples in (1, 3) and photometric in (0, 1, 2, 6) and _EXTRA_SAMPLES not in tags
    if bits == {8} and plain and compression in _TIFF_CODEC_COMPRESSIONS:
        return "rgb"
    return "pillow"


_READERS = {"jpeg": _jpeg, "png": _png, "webp": _webp, "jp2": _jp2, "tiff": _tiff}
