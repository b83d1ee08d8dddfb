"""Bodies of requests as models, and answers as responses."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from serving.failures import TooLargeError
from serving.routes.access import read
from serving.uploads import JSON, kind_of

Model = TypeVar("Model", bound=BaseModel)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_MOST_VALUES = 1 << 20  # 1,024 vectors of 1,024 numbers
_MOST_ERRORS = 1000
_AT_ONCE_BYTES = 16_384  # parsed in 0.1 ms; more is parsed in a thread


class DirectRoute(APIRoute):
    """A route whose endpoint takes the request and nothing else, and gives a response.

    FastAPI then has only to describe it: what it does for parameters and answers costs 20 us.
    """

    def get_route_handler(self) -> Handler:
        handler: Handler = self.endpoint
        return handler


def parsed(model: type[Model], data: bytes | str, strict: bool = True) -> Model:
    """The model out of JSON, types taken strictly; RequestValidationError names what is wrong.

    TooLargeError for JSON of more values than any request has: each takes up to a hundred times
    its bytes of memory.
    """
    values = data.count(b",") if isinstance(data, bytes) else data.count(",")
    if values > _MOST_VALUES:
        raise TooLargeError(
            f"the JSON holds {values:,} values or more, but this server takes {_MOST_VALUES:,}: "
            "send pictures as files, or vectors as `embedding`"
        )
    try:
        return model.model_validate_json(data, strict=strict)
    except ValidationError as error:
        raise _invalid(error) from error


def from_fields(model: type[Model], fields: dict[str, str]) -> Model:
    """The model out of a form's texts, numbers and truths read out of them."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _invalid(error) from error


def _invalid(error: ValidationError) -> RequestValidationError:
    count = error.error_count()
    if count > _MOST_ERRORS:  # each would be a kilobyte
        told = f"{count:,} fields are wrong: compare the body with the schema in /openapi.json"
        return RequestValidationError([{"type": "many", "loc": ("body",), "msg": told}])
    return RequestValidationError(error.errors(include_url=False, include_input=False))


async def json_body(request: Request, model: type[Model]) -> Model:
    """The request's body as the model; UnsupportedBodyError where it is not JSON."""
    kind_of(request, JSON)
    return await parsed_aside(request, model, await request.body())


async def parsed_aside(request: Request, model: type[Model], data: bytes | str) -> Model:
    """What ``parsed`` gives, in a thread where that takes its time."""
    if len(data) <= _AT_ONCE_BYTES:
        return parsed(model, data)
    return await read(request, lambda: parsed(model, data))


def json_response(data: bytes) -> Response:
    return Response(data, media_type=JSON)


def json_request(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's extra for a route that reads ``model`` out of its body by itself."""
    return {"requestBody": {"required": True, "content": {JSON: json_content(model)}}}


def json_content(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's media type of ``model``, with the model's own first example."""
    return {
        "schema": {"$ref": f"#/components/schemas/{model.__name__}"},
        "example": model.model_json_schema()["examples"][0],
    }
