"""A folder or bucket of pictures, in class folders or not, nested or flat."""

from __future__ import annotations

from collections.abc import Iterator

from featurizer import storage
from featurizer.tiles import place_of_name
from pipeline.config import LabelRule
from pipeline.plan import Item

_COMMON = {"jpg", "jpeg", "jpe", "png", "webp", "bmp", "dib", "gif", "avif"}
_RARE = {"pbm", "pgm", "ppm", "pnm", "tif", "tiff", "jp2", "j2k", "j2c", "jpx", "jpf"}
IMAGE_SUFFIXES = frozenset(_COMMON | _RARE)


def suffix(uri: str) -> str:
    """What follows the last dot of the file's name, in lower case; empty without a dot."""
    _, dot, ending = uri.rsplit("/", 1)[-1].rpartition(".")
    return ending.lower() if dot else ""


def list_folder(root: str, labels: LabelRule) -> Iterator[Item]:
    """Every picture below ``root``, in a fixed order; files of other kinds are passed over."""
    for entry in storage.walk(root):
        if suffix(entry.uri) in IMAGE_SUFFIXES:
            yield item_of(entry, label_of(entry.uri, root, labels))


def item_of(entry: storage.Entry, label: str | None = None) -> Item:
    place = place_of_name(entry.uri)
    return Item(
        uri=entry.uri,
        size=entry.size,
        etag=entry.etag,
        label=label,
        taken=place.taken,
        bounds=place.bounds,
    )


def label_of(uri: str, root: str, rule: LabelRule) -> str | None:
    """The class that the folders say: the innermost (``parent``) or the outermost (``top``) one.

    None for a picture that lies directly in ``root``.
    """
    folders = uri.removeprefix(root).strip("/").split("/")[:-1]
    if rule == "none" or not folders:
        return None
    return folders[-1] if rule == "parent" else folders[0]
