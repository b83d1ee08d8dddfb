"""``POST /v1/search``: the tiles that look like the examples, by one search or several."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from featurizer.errors import EmbeddingError, QueryError, UnknownTileError
from serving.asking import Asked, asked_of
from serving.conversion import dumps
from serving.embedding import Upload
from serving.errors import common, documented
from serving.failures import (
    ImageRefusedError,
    StaleCursorError,
    TooLargeError,
    UnsupportedBodyError,
)
from serving.models.answers import BatchResponse, SearchResponse
from serving.models.requests import BatchRequest, FormFields, FormSearch, SearchRequest
from serving.query.question import Vector
from serving.routes.access import access_of, compute, embed_pictures, lease, read
from serving.routes.bodies import (
    DirectRoute,
    from_fields,
    json_body,
    json_content,
    json_request,
    json_response,
    parsed_aside,
)
from serving.searching import check, is_plain, plain, search_all
from serving.searching import search as page
from serving.service import SearchService
from serving.uploads import FORM, JSON, kind_of, read_form

router = APIRouter(prefix="/v1", tags=["search"], route_class=DirectRoute)

_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "image": {**_FILES, "description": "Pictures to be like."},
        "negative_image": {**_FILES, "description": "Pictures to be unlike."},
        "query": {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": {"$ref": "#/components/schemas/FormSearch"},
            "description": "All else of the search as JSON; it may name more examples.",
        },
        **FormFields.model_json_schema()["properties"],
    },
    "additionalProperties": False,
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        JSON: json_content(SearchRequest),
        FORM: {
            "schema": _FORM_SCHEMA,
            "encoding": {
                "image": {"contentType": "image/*"},
                "negative_image": {"contentType": "image/*"},
            },
            "example": {"image": ["(a file)"], "k": 10, "query": '{"filter": {"labels": ["ice"]}}'},
        },
    },
}
_ERRORS = documented(
    UnknownTileError,
    StaleCursorError,
    TooLargeError,
    UnsupportedBodyError,
    QueryError,
    ImageRefusedError,
    EmbeddingError,
    RequestValidationError,
)


@router.post(
    "/search",
    summary="The pictures that look like these",
    response_model=SearchResponse,
    openapi_extra={"requestBody": _BODY},
    responses={**common(), **_ERRORS},
)
async def search(request: Request) -> Response:
    """Give examples as JSON, or pictures' files as ``multipart/form-data``.

    A tile that is the only positive example is its own first hit; so is an uploaded picture that
    the archive holds.
    """
    with lease(request):  # where nothing is loaded yet, that is said before a body is read
        pass
    asked = await _asked(request)
    started = time.perf_counter()
    with lease(request) as service:
        check([asked], service.settings)
        (vectors,) = await _embedded(request, service, [asked])
        if is_plain(asked):
            data = await access_of(request).search(plain(service, asked, vectors, started))
        else:
            data = await compute(request, lambda: dumps(page(service, asked, vectors, started)))
    return json_response(data)


@router.post(
    "/search/batch",
    summary="Several searches in one call",
    response_model=BatchResponse,
    openapi_extra=json_request(BatchRequest),
    responses={**common(), **_ERRORS},
)
async def search_batch(request: Request) -> Response:
    """Answered of one generation, in their order; where one is refused, all are."""
    batch = await json_body(request, BatchRequest)
    started = time.perf_counter()
    with lease(request) as service:
        asked = await read(
            request,
            lambda: [
                asked_of(one, where=f"searches[{place}].")
                for place, one in enumerate(batch.searches)
            ],
        )
        check(asked, service.settings)
        vectors = await _embedded(request, service, asked)
        data = await compute(
            request,
            lambda: dumps({"results": search_all(service, asked, vectors, started)}),
        )
    return json_response(data)


async def _asked(request: Request) -> Asked[SearchRequest]:
    """The search as it came; pictures in base64 are decoded in a thread."""
    if kind_of(request, JSON, FORM) == JSON:
        return await _understood(request, await json_body(request, SearchRequest))
    form = await read_form(request, access_of(request).settings, "image", "negative_image")
    text = form.fields.pop("query", "{}")
    fields = from_fields(FormFields, form.fields).model_dump(exclude_unset=True)
    query = (await parsed_aside(request, FormSearch, text)).model_copy(update=fields)
    uploads = form.uploads
    return await _understood(request, query, uploads["image"], uploads["negative_image"])


async def _understood(
    request: Request,
    ask: SearchRequest,
    positive: Sequence[Upload] = (),
    negative: Sequence[Upload] = (),
) -> Asked[SearchRequest]:
    if any(one.image is not None for one in (*ask.positive, *ask.negative)):
        return await read(request, lambda: asked_of(ask, positive, negative))
    return asked_of(ask, positive, negative)


async def _embedded(
    request: Request, service: SearchService, asked: Sequence[Asked[SearchRequest]]
) -> list[list[Vector]]:
    """Vectors of each search's uploads: decoded in a thread, embedded with those of others."""
    uploads = [upload for one in asked for upload in one.uploads]
    if not uploads:
        return [[] for _ in asked]
    embedded = await embed_pictures(request, service, uploads)
    vectors = iter(service.vectors_of(uploads, list(embedded)))
    return [list(islice(vectors, len(one.uploads))) for one in asked]
