"""``POST /v1/facets``: how many tiles a filter leaves, by label and by month."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from featurizer.errors import QueryError
from serving.conversion import dumps
from serving.errors import common, documented
from serving.failures import TooLargeError, UnsupportedBodyError
from serving.models.answers import FacetsOut
from serving.models.requests import FacetsRequest
from serving.routes.access import compute, lease
from serving.routes.bodies import DirectRoute, json_body, json_request, json_response

router = APIRouter(prefix="/v1", tags=["archive"], route_class=DirectRoute)


@router.post(
    "/facets",
    summary="What a filter leaves, counted",
    response_model=FacetsOut,
    openapi_extra=json_request(FacetsRequest),
    responses={
        **common(),
        **documented(TooLargeError, UnsupportedBodyError, QueryError, RequestValidationError),
    },
)
async def facets(request: Request) -> Response:
    """Of the whole archive without a filter."""
    asked = await json_body(request, FacetsRequest)
    with lease(request) as service:
        data = await compute(request, lambda: dumps(service.facets(asked)))
    return json_response(data)
