"""Names of a ZIP's members, made of labels and ids that may be any text.

A name never leads out of the folder that the ZIP is unpacked into, is legal on Windows, macOS and
Linux, and is no other member's, also where a file system does not tell letters by their case.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from featurizer.tiles import parse_tile_id

UNLABELLED = "unlabelled"
_NOT_SAFE = re.compile(r"[^\w .,()+=@-]")  # \w: letters and digits of any script, underscore
_WINDOWS_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com\d|lpt\d)(\..*)?")
_LONGEST_BYTES = 80


def safe(text: str) -> str:
    """The text as one part of a path; "" where nothing of it can stand there."""
    normal = unicodedata.normalize("NFC", text)
    name = _NOT_SAFE.sub("_", normal).encode()[:_LONGEST_BYTES].decode(errors="ignore")
    # Windows drops dots and spaces at the end; at the start, a dot hides and a hyphen is an option.
    name = name.rstrip(" .").lstrip(" .-")
    return f"_{name}" if _WINDOWS_DEVICE.fullmatch(name) else name


class Folders:
    """The folder of each label: its own text where it can be, and never another label's."""

    def __init__(self) -> None:
        self._of_label: dict[str | None, str] = {None: UNLABELLED}
        self._taken = {UNLABELLED}

    def of(self, label: str | None) -> str:
        if label not in self._of_label:
            name = self._free(label or "")
            self._taken.add(self._key(name))
            self._of_label[label] = name
        return self._of_label[label]

    def _free(self, label: str) -> str:
        name, length = safe(label), 12
        # A text that had to change could be another label's, so it says whose it is.
        clear = bool(name) and name == label
        while not clear or self._key(name) in self._taken:
            digest = hashlib.sha256(label.encode()).hexdigest()[:length]
            name, length, clear = f"{safe(label)}-{digest}".lstrip("-"), length + 4, True
        return name

    @staticmethod
    def _key(name: str) -> str:
        return unicodedata.normalize("NFKC", name).casefold()


class FileNames:
    """A name without extension for each tile: the same for a tile in every export."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}

    def of(self, tile_id: str) -> str:
        """The source's own name, the window, and a hash of the id; "-2" for the id's second row."""
        digest = hashlib.sha256(tile_id.encode()).digest()[:8]
        again = self._seen[digest] = self._seen.get(digest, 0) + 1
        uri, window = parse_tile_id(tile_id)
        last = re.split(r"[/\\]", uri)[-1]
        stem = safe(last.rpartition(".")[0] or last) or "tile"
        place = "" if window is None else f"_{window.x}_{window.y}_{window.width}_{window.height}"
        return f"{stem}{place}_{digest.hex()}" + (f"-{again}" if again > 1 else "")
