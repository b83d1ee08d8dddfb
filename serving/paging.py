"""Pages of a search: which rows one asks for, and the text that asks for the next.

Nothing is kept between pages.  A cursor says how far its search is and which it is, so that it is
refused for another search, and for another generation, instead of giving hits twice or never.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

import orjson

from featurizer.errors import QueryError
from serving.failures import StaleCursorError
from serving.query import cursor
from serving.query.cursor import Cursor
from serving.query.question import Effort, Page, Question

if TYPE_CHECKING:
    from serving.models.requests import Ask, SearchRequest
    from serving.query.question import Found
    from serving.settings import Settings

# Vectors, effort and place stand in the digest or the cursor as they were understood.
_BESIDE = {"positive", "negative", "quality", "nprobe", "exact", "k", "cursor"}


def digest_of(ask: Ask, question: Question, effort: Effort) -> str:
    """A name of what is searched for, whatever the page; the same in every process."""
    options = {}
    if not ask.model_fields_set <= _BESIDE:
        options = ask.model_dump(mode="json", exclude=_BESIDE, exclude_defaults=True)
    hashed = hashlib.sha256(
        orjson.dumps([options, effort.nprobe, effort.exact], option=orjson.OPT_SORT_KEYS)
    )
    for side in (question.positive, question.negative):
        for example in side:
            row = -1 if example.row is None else example.row
            hashed.update(struct.pack("<dq", example.weight, row))
            hashed.update(example.vector.tobytes())
        hashed.update(b"|")
    return hashed.hexdigest()[:16]


def page_of(request: SearchRequest, digest: str, generation: str, settings: Settings) -> Page:
    """The page asked for.

    QueryError for a cursor of another search, and for one past what this server gives;
    StaleCursorError for one of another generation.
    """
    if request.cursor is None:
        return Page(min(request.k, settings.max_results), min_score=request.min_score)
    place = cursor.decode(request.cursor)
    if place.generation != generation:
        raise StaleCursorError(
            f"the cursor is of generation {place.generation}, but {generation} is published now: "
            "search again from the first page"
        )
    if place.digest != digest:
        raise QueryError(
            "the cursor is of another search: send it with the same examples, weights, filter, "
            "shape and options as the page before (an uploaded image may be given by its embedding)"
        )
    # A cursor is no secret: what it says must be what this server may have said.
    possible = 0 <= place.offset < settings.max_results and 1 <= place.first_k <= settings.max_k
    if not possible:
        raise QueryError(
            f"the cursor is past the {settings.max_results:,} hits that this server gives"
        )
    k = min(request.k, settings.max_results - place.offset)
    return Page(k, place.offset, place.first_k, request.min_score)


def next_cursor(
    page: Page, found: Found, digest: str, generation: str, max_results: int
) -> str | None:
    """The text that asks for the page after this one; None on the last."""
    offset = page.offset + len(found.rows)
    if not found.more or offset >= max_results:
        return None
    return cursor.encode(Cursor(generation, offset, page.first_k or page.k, digest))
