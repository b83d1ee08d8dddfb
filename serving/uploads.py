"""What requests carry: kinds of bodies, and forms with pictures.

How many bytes a body may have is bounded before it comes here (``operations/bounds.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from featurizer.errors import QueryError
from serving.asking import check_uploads
from serving.embedding import Upload
from serving.failures import UnsupportedBodyError
from serving.settings import Settings

JSON, FORM = "application/json", "multipart/form-data"
_FIELD_BYTES = 1 << 20  # `query` may hold a vector, or a polygon
_MAX_FIELDS = 16
_CHARSETS = (b"", b"utf-8", b"utf8", b"us-ascii")


@dataclass(frozen=True, slots=True)
class Form:
    """Pictures by the field that they came in, and texts by theirs."""

    uploads: dict[str, list[Upload]]
    fields: dict[str, str]


def kind_of(request: Request, *kinds: str) -> str:
    """The body's content type; UnsupportedBodyError for any other than ``kinds``."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in kinds:
        raise UnsupportedBodyError(f"content type {kind or 'missing'}: send {' or '.join(kinds)}")
    if (coding := request.headers.get("content-encoding", "identity").lower()) != "identity":
        raise UnsupportedBodyError(f"content encoding {coding}: send the body as it is")
    return kind


async def read_form(request: Request, settings: Settings, *images: str) -> Form:
    """A form whose files may stand in the fields ``images``.

    An empty text counts as absent, as browsers send it.  QueryError for a form that does not
    parse, a file or a text in the wrong field and a field given twice; TooLargeError for too many
    pictures, and for one that is too large.
    """
    _, parameters = parse_options_header(request.headers["content-type"])
    charset = bytes(parameters.get(b"charset", b"")).lower()
    if charset not in _CHARSETS:  # others may decode to what is no text, or not at all
        raise UnsupportedBodyError(f"charset {charset.decode('latin-1')!r}: send UTF-8")
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=settings.max_images + 1,  # one more, so that the refusal can be our own
        max_fields=_MAX_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise QueryError(
            f"the form cannot be read ({error.message.rstrip('.')}): send multipart/form-data with "
            f"files in {_listed(images)}"
        ) from error
    try:
        return Form(await _uploads(form, images, settings), _fields(form, images))
    finally:
        await form.close()


async def _uploads(
    form: FormData, images: Sequence[str], settings: Settings
) -> dict[str, list[Upload]]:
    files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    uploads: dict[str, list[Upload]] = {name: [] for name in images}
    for name, file in files:
        if name not in uploads:
            raise QueryError(f"a file in the field {name!r}: send files in {_listed(images)}")
        uploads[name].append(Upload(file.filename or "image", await file.read()))
    check_uploads([upload for found in uploads.values() for upload in found], settings)
    return uploads


def _fields(form: FormData, images: Sequence[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if not isinstance(value, str) or not value:
            continue
        if name in images:
            raise QueryError(f"the field `{name}` holds text: send it as a file")
        if name in fields:
            raise QueryError(f"the field {name!r} is given twice: give it once")
        fields[name] = value
    return fields


def _listed(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
