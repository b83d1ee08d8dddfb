"""``POST /v1/export``: rows as a file, sent while it is made."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from featurizer.errors import EmbeddingError, QueryError, StorageError, UnknownTileError
from serving import deadline
from serving.errors import common, documented
from serving.export.files import KINDS
from serving.export.order import ExportedFile, check, exported
from serving.export.streaming import StreamedFile
from serving.failures import BusyError, ImageRefusedError, UnsupportedBodyError
from serving.models.requests import ExportRequest
from serving.routes.access import lease
from serving.routes.bodies import parsed
from serving.service import SearchService

router = APIRouter(prefix="/v1", tags=["export"])
Answer = TypeVar("Answer")

_AT_ONCE = 4  # exports of one process: each keeps a thread busy, and a generation from going
_RETRY_AFTER_S = 15
_FORM = "application/x-www-form-urlencoded"

_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/ExportRequest"},
            "example": ExportRequest.model_json_schema()["examples"][0],
        },
        _FORM: {
            "schema": {
                "type": "object",
                "required": ["request"],
                "properties": {
                    "request": {
                        "type": "string",
                        "contentMediaType": "application/json",
                        "description": "The JSON body as text: so a page's form starts a download.",
                    }
                },
            },
            "example": {"request": '{"format": "csv", "filter": {"labels": ["coast"]}}'},
        },
    },
}
_FILE: dict[str, Any] = {
    "description": "The file, in chunks; one that could not be finished ends without the last.",
    "headers": {
        "Content-Disposition": {
            "description": "The file's name.",
            "schema": {"type": "string"},
            "example": 'attachment; filename="archive-000003-5f0c9a11d2e4-search.csv"',
        },
        "X-Worldsift-Generation": {
            "description": "The generation that all of it is of.",
            "schema": {"type": "string"},
        },
    },
    "content": {
        media_type: {"schema": {"type": "string", "format": "binary"}}
        for media_type in sorted({kind.media_type.split(";")[0] for kind in KINDS.values()})
    },
}


class Exports:
    """How many exports this process is writing, and their threads."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        self.threads = anyio.CapacityLimiter(_AT_ONCE)

    def begin(self) -> None:
        """BusyError where as many as may be are being written."""
        if not self._free.acquire(blocking=False):
            raise BusyError(_RETRY_AFTER_S)

    def end(self) -> None:
        self._free.release()

    async def run(self, work: Callable[[], Answer]) -> Answer:
        return await anyio.to_thread.run_sync(work, limiter=self.threads)


def _exports_of(request: Request) -> Exports:
    state = request.app.state
    if not hasattr(state, "exports"):
        state.exports = Exports()
    exports = state.exports
    if not isinstance(exports, Exports):
        raise TypeError(f"app.state.exports is {exports!r}")
    return exports


@router.post(
    "/export",
    summary="Rows as CSV, GeoJSON, GeoParquet, Parquet with vectors, or a ZIP of pictures",
    response_class=Response,
    openapi_extra={"requestBody": _BODY},
    responses={
        **common(),
        **documented(
            UnknownTileError,
            UnsupportedBodyError,
            QueryError,
            ImageRefusedError,
            EmbeddingError,
            RequestValidationError,
            StorageError,
        ),
        200: _FILE,
    },
)
async def export(request: Request) -> Response:
    """What is wrong with the request is answered as a problem before the file begins.

    One generation is read to the end, whatever is published meanwhile.
    """
    held = lease(request)
    with held:  # where nothing is loaded yet, that is said before a body is read
        pass
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    body = await request.body()  # at the client's pace: neither a place nor a generation is held
    exports = _exports_of(request)
    exports.begin()
    try:
        service = held.take()
        file = await exports.run(partial(_opened, service, kind, body))
    except BaseException:
        held.release()
        exports.end()
        raise

    def close() -> None:
        file.pieces.close()
        held.release()
        exports.end()

    return StreamedFile(
        file.pieces,
        close,
        exports.threads,
        {
            "Content-Type": file.media_type,
            "Content-Disposition": f'attachment; filename="{file.name}"',
            "Cache-Control": "no-store",
            "X-Worldsift-Generation": service.engine.name,
        },
    )


def _opened(service: SearchService, kind: str, body: bytes) -> ExportedFile:
    asked, settings = _asked(kind, body), service.settings
    check(asked, settings.max_results)
    with deadline.within(settings.request_timeout_s):
        return exported(service, asked)


def _asked(kind: str, body: bytes) -> ExportRequest:
    """The request in a body of this content type; RequestValidationError names what is wrong."""
    if kind == _FORM:
        body = _form_field(body)
    elif kind != "application/json":
        raise UnsupportedBodyError(
            f"content type {kind or 'missing'}: send application/json, or {_FORM} with the JSON "
            "in the field `request`"
        )
    return parsed(ExportRequest, body, strict=False)


def _form_field(body: bytes) -> bytes:
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=8)
    except ValueError as error:  # UnicodeError too
        raise QueryError(f"not a form that can be read ({error}): send JSON instead") from error
    values = fields.pop("request", [])
    if fields or len(values) != 1:
        raise QueryError("a form for an export has one field, `request`, with the JSON as text")
    return values[0].encode()
