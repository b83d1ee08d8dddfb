"""Signing in: an API key in a cookie that scripts cannot read, for pages and their pictures."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError

from serving.errors import common, documented
from serving.failures import UnauthorizedError, UnsupportedBodyError
from serving.models.answers import SessionIn, SessionOut
from serving.operations.guard import CALLER, COOKIE, Caller
from serving.operations.keys import SCOPES
from serving.routes.access import access_of
from serving.routes.bodies import json_body, json_request

router = APIRouter(prefix="/v1/session", tags=["session"])
_KEPT_S = 30 * 24 * 3600


@router.get(
    "", summary="Whether a key is asked for, and what the caller may do", responses=common()
)
async def session(request: Request) -> SessionOut:
    caller = cast(Caller, request.scope[CALLER])
    return _session(request, caller.scopes)


@router.post(
    "",
    summary="Sign in: keeps the key in a cookie",
    openapi_extra=json_request(SessionIn),
    responses={**common(), **documented(UnsupportedBodyError, RequestValidationError)},
)
async def sign_in(request: Request, response: Response) -> SessionOut:
    keyring = access_of(request).keyring
    key = (await json_body(request, SessionIn)).key
    if not keyring.required:
        return _session(request, cast(Caller, request.scope[CALLER]).scopes)
    found = keyring.find(key)
    if found is None:
        raise UnauthorizedError("this server does not know that key: check it, or ask for another")
    response.set_cookie(
        COOKIE,
        key,
        max_age=_KEPT_S,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return _session(request, found.scopes)


@router.delete("", summary="Sign out: drops the cookie", responses=common())
async def sign_out(request: Request, response: Response) -> SessionOut:
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    keyring = access_of(request).keyring
    scopes = () if keyring.required else cast(Caller, request.scope[CALLER]).scopes
    return _session(request, scopes)


def _session(request: Request, scopes: tuple[str, ...]) -> SessionOut:
    return SessionOut(
        required=access_of(request).keyring.required,
        scopes=[scope for scope in SCOPES if scope in scopes],
    )
