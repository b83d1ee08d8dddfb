"""``POST /v1/search``: neighbours of uploaded images, of tiles, or of vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message, Receive

from featurizer.errors import EmbeddingError, QueryError, UnknownTileError
from serving.errors import documented
from serving.failures import ImageRefusedError, NotReadyError, TooLargeError, UnsupportedBodyError
from serving.models import SearchOptions, SearchRequest, SearchResponse
from serving.routes.access import access_of, compute, service_of
from serving.service import Query, SearchService, Upload

router = APIRouter(prefix="/v1", tags=["search"])

_FIELD_BYTES = 1024  # k, nprobe and exact are short
_ENVELOPE_BYTES = 16_384  # part headers and boundaries around the images
_FORM_FIELDS = tuple(SearchOptions.model_fields)
Model = TypeVar("Model", bound=BaseModel)

_FORM_SCHEMA = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "One or several images; each is a query of its own.",
        },
        "k": {"type": "integer", "minimum": 1, "default": 10},
        "nprobe": {"type": "integer", "minimum": 1},
        "exact": {"type": "boolean", "default": False},
    },
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": _FORM_SCHEMA,
            "encoding": {"image": {"contentType": "image/*"}},
            "example": {"image": ["(a file)"], "k": 10, "exact": False},
        },
        "application/json": {
            "schema": {"$ref": "#/components/schemas/SearchRequest"},
            "example": SearchRequest.model_json_schema()["examples"][0],
        },
    },
}


@router.post(
    "/search",
    summary="The pictures that look like these",
    response_model=SearchResponse,
    openapi_extra={"requestBody": _BODY},
    responses=documented(
        UnknownTileError,
        TooLargeError,
        UnsupportedBodyError,
        QueryError,
        ImageRefusedError,
        EmbeddingError,
        RequestValidationError,
        NotReadyError,
    ),
)
async def search(request: Request) -> Response:
    """Give images as ``multipart/form-data``, or tile ids and vectors as JSON.

    A tile is its own first neighbour; so is an uploaded image that the archive holds.
    """
    service = service_of(request)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    bounded = _bounded(request)
    if kind == "multipart/form-data":
        return await _by_images(bounded, service)
    if kind == "application/json":
        return await _by_json(bounded, service)
    raise UnsupportedBodyError(
        f"content type {kind or 'missing'}: send images as multipart/form-data, or tile ids and "
        "vectors as application/json"
    )


async def _by_images(request: Request, service: SearchService) -> Response:
    # One more file than allowed is let through, so that the refusal can be our own.
    limits = access_of(request).settings
    async with request.form(
        max_files=limits.max_images + 1, max_fields=16, max_part_size=_FIELD_BYTES
    ) as form:
        options = _options_of(form)
        uploads = [Upload(file.filename or "image", await file.read()) for file in _files(form)]
    _check_uploads(uploads, limits.max_images, limits.max_upload_bytes)

    def answer() -> Response:
        started = time.perf_counter()
        return _answer(service, service.queries_of_images(uploads), options, started)

    return await compute(request, answer)


async def _by_json(request: Request, service: SearchService) -> Response:
    body = await request.body()

    def answer() -> Response:
        started = time.perf_counter()
        asked = _validated(SearchRequest, body)
        count = len(asked.tile_ids) + len(asked.vectors)
        if not count:
            raise QueryError("nothing to search by: give tile_ids, vectors or both")
        if count > access_of(request).settings.max_images:
            raise TooLargeError(
                f"{count} queries, but this server takes {access_of(request).settings.max_images} "
                "at a time: ask in several requests"
            )
        queries = service.queries_of_tiles(asked.tile_ids)
        queries += service.queries_of_vectors(asked.vectors)
        return _answer(service, queries, asked, started)

    return await compute(request, answer)


def _answer(
    service: SearchService, queries: Sequence[Query], options: SearchOptions, started: float
) -> Response:
    found = service.search(queries, options, started)
    return Response(found.model_dump_json(), media_type="application/json")


def _validated(model: type[Model], data: bytes | dict[str, Any]) -> Model:
    """The model of JSON bytes or of form fields; RequestValidationError names what is wrong."""
    try:
        if isinstance(data, bytes):
            return model.model_validate_json(data)
        return model.model_validate(data)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from error


def _options_of(form: FormData) -> SearchOptions:
    """k, nprobe and exact; an empty field counts as absent, as browsers send it."""
    fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    for name, _ in fields:
        if name == "image":
            raise QueryError("the field `image` holds text: send it as a file")
    return _validated(SearchOptions, {name: value for name, value in fields if value != ""})


def _files(form: FormData) -> list[UploadFile]:
    """The images; QueryError names a file in any other field, and their absence."""
    files = []
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            continue
        if name != "image":
            raise QueryError(
                f"a file in the field {name!r}: send images in the field `image` (others are "
                f"{', '.join(_FORM_FIELDS)})"
            )
        files.append(value)
    if not files:
        raise QueryError("no image: send one or several files in the field `image`")
    return files


def _check_uploads(uploads: Sequence[Upload], max_images: int, max_bytes: int) -> None:
    if len(uploads) > max_images:
        raise TooLargeError(
            f"{len(uploads)} images or more, but this server takes {max_images} at a time: send "
            "them in several requests"
        )
    for upload in uploads:
        if len(upload.data) > max_bytes:
            raise TooLargeError(
                f"{upload.name}: {len(upload.data):,} bytes, but this server takes {max_bytes:,}: "
                "scale the image down"
            )


def _bounded(request: Request) -> Request:
    """The request, read no further than its limit: TooLargeError out of whatever reads it."""
    settings = access_of(request).settings
    limit = settings.max_upload_bytes * settings.max_images + _ENVELOPE_BYTES
    refusal = TooLargeError(f"the body is more than {limit:,} bytes: send fewer or smaller images")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise refusal
    return Request(request.scope, _counted(request.receive, limit, refusal))


def _counted(receive: Receive, limit: int, refusal: TooLargeError) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise refusal
        return message

    return counted
