"""What the HTTP service refuses or cannot do, beyond what ``featurizer.errors`` names."""

from __future__ import annotations

from featurizer.errors import QueryError, WorldsiftError

REMEDIES = {
    "empty": "choose a file that is not empty",
    "unknown-format": "give JPEG, PNG, TIFF, WebP, GIF, BMP, AVIF or JPEG 2000",
    "corrupt": "the file is damaged or cut short: copy or export it again",
    "unreadable": "the file is damaged or cut short: copy or export it again",
    "unsupported": "export it as an 8-bit RGB JPEG or PNG",
    "too-large": "scale it down, or cut out the part to search by",
    "null": "choose a picture that shows something",
    "no-vector": "choose a picture that shows something",
}


class ImageRefusedError(QueryError):
    """An uploaded image without a vector: ``file`` as the client named it, ``reason`` a slug."""

    def __init__(self, file: str, reason: str, detail: str) -> None:
        remedy = REMEDIES.get(reason, "give another picture")
        super().__init__(f"{file}: {detail.rstrip('.')}; {remedy}")
        self.file, self.reason = file, reason


class TooLargeError(QueryError):
    """More bytes, images or neighbours than this server takes."""


class UnsupportedBodyError(QueryError):
    """A body of a content type that the route does not read."""


class NotReadyError(WorldsiftError):
    """The archive is not loaded: not yet, or it cannot be."""


class SourceGoneError(WorldsiftError):
    """An indexed tile whose source can no longer be read."""
