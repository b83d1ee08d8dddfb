"""Every error that Worldsift raises on purpose.

A message names the thing that failed (file, key or option), gives both sides where two things
disagree, and ends with the remedy.  The command line prints it as one line and exits with 1; the
HTTP edge maps the class to a status in ``serving/errors.py``.
"""

from __future__ import annotations


class WorldsiftError(Exception):
    """Anything that a user can act on; everything else is a bug and keeps its traceback."""


class UsageError(WorldsiftError):
    """An option or argument that cannot be meant."""


class StorageError(WorldsiftError):
    """An object could not be listed, read or written."""


class SourceError(WorldsiftError):
    """A source of imagery is missing, empty or not what it says it is."""


class ContractError(WorldsiftError):
    """A stored file is not what its marker or manifest says: shape, dtype, checksum, schema."""


class FingerprintError(ContractError):
    """Vectors of one featurizer met another featurizer."""


class WeightsError(WorldsiftError):
    """Weights are missing, unreadable or do not fit the architecture."""


class RejectShareError(WorldsiftError):
    """More inputs were rejected than the job allows."""


class EmbeddingError(WorldsiftError):
    """The model gave no usable vector (NaN, zero length, out of memory at batch size one)."""


class IndexBuildError(WorldsiftError):
    """A quantizer could not be trained or codes could not be made."""


class GenerationError(WorldsiftError):
    """A generation is missing, incomplete or may not be published."""


class QueryError(WorldsiftError):
    """A query that cannot be answered as asked: unknown tile, wrong dimension, no image."""


class UnknownTileError(QueryError):
    """No tile of that id is in the published generation."""


class PixelError(WorldsiftError):
    """One image or window gave no pixels.

    ``reason`` is a short slug out of a small set, so that rejects can be counted by it:
    ``empty``, ``unreadable``, ``unknown-format``, ``corrupt``, ``unsupported``, ``too-large``,
    ``null``, ``missing``.  The message says what was seen.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[PixelError], tuple[str, str]]:
        return (PixelError, (self.reason, self.detail))
