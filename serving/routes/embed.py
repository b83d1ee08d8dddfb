"""``POST /v1/embed``: uploaded pictures as the archive's featurizer sees them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from featurizer.errors import EmbeddingError, QueryError
from serving.conversion import dumps
from serving.errors import common, documented
from serving.failures import ImageRefusedError, TooLargeError, UnsupportedBodyError
from serving.models.answers import EmbedResponse
from serving.query import embedding_text
from serving.routes.access import access_of, embed_pictures, lease
from serving.routes.bodies import DirectRoute, json_response
from serving.uploads import FORM, kind_of, read_form

router = APIRouter(prefix="/v1", tags=["search"], route_class=DirectRoute)

_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {
                    "image": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                    }
                },
                "additionalProperties": False,
            },
            "encoding": {"image": {"contentType": "image/*"}},
            "example": {"image": ["(a file)"]},
        }
    },
}


@router.post(
    "/embed",
    summary="The vectors of pictures",
    response_model=EmbedResponse,
    openapi_extra={"requestBody": _BODY},
    responses={
        **common(),
        **documented(
            TooLargeError,
            UnsupportedBodyError,
            QueryError,
            ImageRefusedError,
            EmbeddingError,
            RequestValidationError,
        ),
    },
)
async def embed(request: Request) -> Response:
    """In the order of the files; nothing is searched or kept."""
    kind_of(request, FORM)
    with lease(request):  # where nothing is loaded yet, that is said before a body is read
        pass
    form = await read_form(request, access_of(request).settings, "image")
    uploads = form.uploads["image"]
    if form.fields:
        raise QueryError(f"no field {next(iter(form.fields))!r} here: send files as `image` alone")
    if not uploads:
        raise QueryError("no image: send one or several files in the field `image`")
    with lease(request) as service:
        embedded = await embed_pictures(request, service, uploads)
        vectors = service.vectors_of(uploads, list(embedded))
        spec = service.featurizer.spec
    answer = {
        "featurizer": spec.fingerprint,
        "dim": spec.dim,
        "embeddings": [
            {
                "name": upload.name,
                "vector": vector,
                "embedding": embedding_text.to_text(vector, spec.fingerprint),
            }
            for upload, vector in zip(uploads, vectors, strict=True)
        ],
    }
    return json_response(dumps(answer))
