"""Errors -> ``application/problem+json`` (RFC 9457): which class gets which status, in one table.

What clients are told is only what was written for them: the message of an exception out of the
table's telling rows.  Others are logged whole and answered with their row's own sentence.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from featurizer.errors import (
    ContractError,
    EmbeddingError,
    QueryError,
    StorageError,
    UnknownTileError,
    WorldsiftError,
)
from serving.failures import (
    BusyError,
    ForbiddenError,
    ImageRefusedError,
    MisdirectedError,
    NotReadyError,
    OverdueError,
    RateLimitedError,
    ReloadRefusedError,
    SlowBodyError,
    SourceGoneError,
    StaleCursorError,
    TooLargeError,
    UnauthorizedError,
    UnsupportedBodyError,
)
from serving.models.answers import Problem
from serving.operations.request_id import request_id

logger = logging.getLogger(__name__)
PROBLEM_JSON = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Rule:
    """How one class is answered; ``detail`` replaces a message that is not for clients."""

    status: int
    slug: str
    title: str
    detail: str | None = None


# The first class that matches counts, so subclasses stand before their parents.
TABLE: dict[type[Exception], Rule] = {
    UnknownTileError: Rule(404, "unknown-tile", "No such tile"),
    ImageRefusedError: Rule(422, "bad-image", "An image could not be read"),
    TooLargeError: Rule(413, "too-large", "Too large"),
    UnsupportedBodyError: Rule(415, "unsupported-body", "Unsupported kind of body"),
    StaleCursorError: Rule(409, "stale-cursor", "The cursor is of another generation"),
    SlowBodyError: Rule(408, "slow-body", "The body stopped arriving"),
    QueryError: Rule(422, "bad-query", "A query that cannot be answered as asked"),
    EmbeddingError: Rule(
        422,
        "no-vector",
        "The picture gave no usable vector",
        "The model made no usable vector of this picture: try another one.",
    ),
    UnauthorizedError: Rule(401, "unauthorized", "An API key is needed"),
    ForbiddenError: Rule(403, "forbidden", "Not allowed"),
    ReloadRefusedError: Rule(409, "reload-refused", "The published generation was refused"),
    MisdirectedError: Rule(421, "misdirected", "Not a name of this server"),
    RateLimitedError: Rule(429, "rate-limited", "Too many requests"),
    NotReadyError: Rule(503, "not-ready", "The archive is not loaded"),
    BusyError: Rule(503, "busy", "Too many requests are waiting"),
    OverdueError: Rule(504, "overdue", "The answer took too long"),
    SourceGoneError: Rule(410, "source-gone", "The tile's source is gone"),
    StorageError: Rule(
        502,
        "storage",
        "The archive's storage did not answer",
        "A file of the archive could not be read. Try again; if it stays so, the server's log "
        "names the file.",
    ),
    ContractError: Rule(
        500,
        "archive-damaged",
        "A file of the archive is not what its manifest says",
        "The server's log names the file and the remedy.",
    ),
    WorldsiftError: Rule(
        500, "failed", "The request failed", "The server's log says what happened."
    ),
    Exception: Rule(
        500, "internal", "An error of the server", "The server's log says what happened."
    ),
}

_RETRY_AFTER_S = 2
_MOST_CHARACTERS, _MOST_ERRORS = 2000, 100  # told of one problem
_CLIENT_GONE = 499  # nginx's number; nobody reads it
_VALIDATION = Rule(422, "bad-request", "A field is wrong")


def rule_of(error: Exception) -> Rule:
    return next(rule for kind, rule in TABLE.items() if isinstance(error, kind))


def problem_response(
    rule: Rule, detail: str, instance: str | None = None, **extra: Any
) -> Response:
    """The answer; it names the request as the log does."""
    known = request_id.get()
    if known is not None:
        extra["request_id"] = known
    problem = Problem(
        type=f"urn:worldsift:problem:{rule.slug}",
        title=rule.title,
        status=rule.status,
        detail=_printable(_short(detail)),
        instance=None if instance is None else _printable(instance),
        **extra,
    )
    headers = {"Cache-Control": "no-store"}
    if rule.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(_RETRY_AFTER_S)
    return Response(
        problem.model_dump_json(exclude_none=True), rule.status, headers, media_type=PROBLEM_JSON
    )


def _short(text: str) -> str:
    """The beginning of a text that holds, say, a tile id of a megabyte."""
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _printable(text: str) -> str:
    """``text`` as UTF-8 can carry it: what clients send may hold half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode()


def response_to(error: Exception, path: str) -> Response:
    """The problem that an exception is answered with; ``path`` of the request."""
    rule = rule_of(error)
    extra: dict[str, Any] = {}
    if isinstance(error, ImageRefusedError):
        extra = {"file": _printable(_short(error.file)), "reason": error.reason}
    response = problem_response(rule, rule.detail or str(error), path, **extra)
    if isinstance(error, BusyError | RateLimitedError):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, UnauthorizedError):
        response.headers["WWW-Authenticate"] = 'Bearer realm="worldsift"'
    return response


def install(app: FastAPI) -> None:
    """Lets ``app`` answer every error, its framework's own included, as a problem."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(WorldsiftError, _failed)
    app.add_exception_handler(Exception, _failed)


async def _gone(_: Request, __: Exception) -> Response:
    """For the log and the figures alone: the client left before it had sent its body."""
    return Response(status_code=_CLIENT_GONE)


async def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, WorldsiftError) and rule_of(error).detail is not None:
        # What is nobody's intention is logged with its traceback where it arrives at last.
        logger.error("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
    return response_to(error, request.url.path)


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError(f"not a validation error: {error!r}")
    errors = [
        {
            "field": _printable(".".join(map(str, item["loc"])) or "body"),
            "message": _printable(item["msg"]),
        }
        for item in error.errors()[:_MOST_ERRORS]
    ]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors[:5])
    return problem_response(_VALIDATION, detail, request.url.path, errors=errors)


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError(f"not an HTTP error: {error!r}")
    title = HTTPStatus(error.status_code).phrase
    rule = Rule(error.status_code, title.lower().replace(" ", "-"), title)
    response = problem_response(rule, str(error.detail), request.url.path)
    response.headers.update(error.headers or {})
    return response


def common() -> dict[int | str, dict[str, Any]]:
    """OpenAPI's ``responses`` that any route below /v1 may give, whatever it does."""
    return documented(
        UnauthorizedError,
        ForbiddenError,
        SlowBodyError,
        TooLargeError,
        MisdirectedError,
        RateLimitedError,
        NotReadyError,
        BusyError,
        OverdueError,
    )


def documented(*kinds: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's ``responses`` for these classes, with an example each."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        rule = _VALIDATION if kind is RequestValidationError else TABLE[kind]
        entry = responses.setdefault(
            rule.status,
            {
                "description": HTTPStatus(rule.status).phrase,
                "content": {
                    PROBLEM_JSON: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        entry["content"][PROBLEM_JSON]["examples"][rule.slug] = {
            "value": {
                "type": f"urn:worldsift:problem:{rule.slug}",
                "title": rule.title,
                "status": rule.status,
                "detail": rule.detail or _DETAIL_EXAMPLES[rule.slug],
                "instance": "/v1/search",
            }
        }
    return responses


_DETAIL_EXAMPLES = {
    "stale-cursor": "the cursor is of generation 000002-1f0c, but 000003-5f0c is published now",
    "unknown-tile": "scene.tif#0,0,256,256: no tile of that id is in this archive",
    "bad-image": "holiday.txt: not an image that is known here: give JPEG, PNG, TIFF, WebP or GIF",
    "too-large": "the body is more than 33554432 bytes: send fewer or smaller images",
    "unsupported-body": "content type text/plain: send multipart/form-data or application/json",
    "bad-query": "a vector of 3 numbers, but the archive's have 128",
    "bad-request": "k: Input should be greater than or equal to 1",
    "not-ready": "the archive is being loaded: ask again in a moment",
    "slow-body": "nothing of the body came for 30 s: send it without pauses",
    "unauthorized": "this server asks for an API key: send it as Authorization: Bearer KEY",
    "forbidden": "this needs a key of scope admin",
    "reload-refused": "generation 000004-5f0c9a11d2e4: rows.parquet is not what it says",
    "misdirected": "the host imagery.example is not this server's: ask localhost",
    "rate-limited": "more than 600 per 1 minute from this key or address: come back in 12 s",
    "busy": "more requests are waiting than this server takes: come back in 2 s",
    "overdue": "no answer within 60 s: ask for fewer results, or without `exact`",
    "source-gone": "gs://imagery/scene.tif: could not read it: no such file or object",
}
