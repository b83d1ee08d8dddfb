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
    "not-base64": "encode the file's bytes in base64, without `data:` before it",
}


class ImageRefusedError(QueryError):
    """An uploaded image without a vector: ``file`` as the client named it, ``reason`` a slug."""

    def __init__(self, file: str, reason: str, detail: str) -> None:
        remedy = REMEDIES.get(reason, "give another picture")
        super().__init__(f"{file}: {detail.rstrip('.')}; {remedy}")
        self.file, self.reason = file, reason


class TooLargeError(QueryError):
    """More bytes, images or neighbours than this server takes."""


class StaleCursorError(QueryError):
    """A cursor of a generation that serves no longer."""


class UnsupportedBodyError(QueryError):
    """A body of a content type that the route does not read."""


class NotReadyError(WorldsiftError):
    """The archive is not loaded: not yet, or it cannot be."""


class SourceGoneError(WorldsiftError):
    """An indexed tile whose source can no longer be read."""


class BusyError(WorldsiftError):
    """Too many requests wait already; ``retry_after_s`` is when to come back."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            f"more requests are waiting than this server takes: come back in {retry_after_s} s"
        )
        self.retry_after_s = retry_after_s


class OverdueError(WorldsiftError):
    """An answer that took longer than this server allows, ``limit_s``."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"no answer within {limit_s:g} s: ask for fewer results, or without `exact`"
        )


class SlowBodyError(QueryError):
    """A request whose body stopped arriving."""


class UnauthorizedError(WorldsiftError):
    """A request without an API key, or with one that is not known."""


class ForbiddenError(WorldsiftError):
    """A request that its key, its origin or its address does not allow."""


class MisdirectedError(WorldsiftError):
    """A request under a host name that is not this server's."""


class RateLimitedError(WorldsiftError):
    """More requests than the caller has; ``retry_after_s`` is when there are some again."""

    def __init__(self, limit: str, retry_after_s: int) -> None:
        super().__init__(
            f"more than {limit} from this key or address: come back in {retry_after_s} s"
        )
        self.retry_after_s = retry_after_s


class ReloadRefusedError(WorldsiftError):
    """A published generation that cannot be served; the one before goes on."""


class BrokenTransferError(WorldsiftError):
    """A streamed answer that could not be finished: the connection is closed instead."""


class ProjectionError(WorldsiftError):
    """An embedding map that could not be computed; the message holds what was said."""
