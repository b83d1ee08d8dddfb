"""Where the next page of a search begins, as a text that clients hand back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from featurizer.errors import QueryError
from serving.query.opaque import from_base64, to_base64

_VERSION = "c1."
_CHECK = 8  # bytes
_MOST_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Cursor:
    """The page after rank ``offset`` of one search in one generation.

    ``first_k`` is the k of the first page, which fixes the order; ``digest`` tells searches apart.
    """

    generation: str
    offset: int
    first_k: int
    digest: str


def encode(cursor: Cursor) -> str:
    """The cursor's text: letters, digits, ``.``, ``-`` and ``_``."""
    fields = (cursor.generation, cursor.offset, cursor.first_k, cursor.digest)
    content = json.dumps(fields, separators=(",", ":")).encode()
    return _VERSION + to_base64(_check(content) + content)


def decode(text: str) -> Cursor:
    """The cursor of a text; QueryError for any that ``encode`` does not give.

    The check is against damage: whoever forges one reads a page that was anyone's to ask for.
    """
    try:
        if not text.startswith(_VERSION) or len(text) > _MOST_CHARACTERS:
            raise ValueError("of another form")
        data = from_base64(text.removeprefix(_VERSION))
        if _check(data[_CHECK:]) != data[:_CHECK]:
            raise ValueError("altered")
        generation, offset, first_k, digest = json.loads(data[_CHECK:])
        return _checked(Cursor(generation, offset, first_k, digest))
    except (ValueError, TypeError, RecursionError) as error:
        raise QueryError(
            "the cursor is damaged: send it as the answer before gave it, or leave it out to "
            "begin again"
        ) from error


def _checked(cursor: Cursor) -> Cursor:
    texts = isinstance(cursor.generation, str) and isinstance(cursor.digest, str)
    numbers = type(cursor.offset) is int and type(cursor.first_k) is int
    if not (texts and numbers and cursor.offset >= 0 and cursor.first_k >= 1):
        raise ValueError("holds what no page has")
    return cursor


def _check(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECK, person=b"cursor").digest()
