"""Bodies of requests as models, and answers as responses."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from serving.routes.access import read
from serving.uploads import JSON, kind_of

Model = TypeVar("Model", bound=BaseModel)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_AT_ONCE_BYTES = 16_384  # parsed in 0.1 ms; more is parsed in a thread


class DirectRoute(APIRoute):
    """A route whose endpoint takes the request and nothing else, and gives a response.

    FastAPI then has only to describe it: what it does for parameters and answers costs 20 us.
    """

    def get_route_handler(self) -> Handler:
        handler: Handler = self.endpoint
        return handler


def parsed(model: type[Model], data: bytes | str) -> Model:
    """The model out of JSON, types taken strictly; RequestValidationError names what is wrong."""
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise _invalid(error) from error


def from_fields(model: type[Model], fields: dict[str, str]) -> Model:
    """The model out of a form's texts, numbers and truths read out of them."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _invalid(error) from error


def _invalid(error: ValidationError) -> RequestValidationError:
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
