"""The Python client of the HTTP API: the wire models in, the wire models out.

    from serving.client import Client

    with Client("http://127.0.0.1:8000") as archive:
        found = archive.search(["picture.jpg"], k=50)
        found = archive.refine(found, more=[found.hits[3]], less=[found.hits[7]])
        archive.export("coasts.zip", search=found, limit=5000)

An example to search by is a picture (a path, or its bytes), a vector, or a tile out of an answer.
``TileId("...")`` and ``Embedding("...")`` mark texts, since a plain text is a path.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from featurizer.errors import WorldsiftError
from featurizer.storage import PART_SUFFIX
from serving.models.answers import (
    BatchResponse,
    EmbeddingOut,
    EmbedResponse,
    ExampleOut,
    FacetsOut,
    NearbyOut,
    ReloadOut,
    SearchResponse,
    StatsOut,
    TileOut,
    TilesOut,
)
from serving.models.requests import (
    ExampleIn,
    ExportFormat,
    ExportRequest,
    FacetsRequest,
    FilterIn,
    SearchRequest,
)

Model = TypeVar("Model", bound=BaseModel)


class TileId(str):
    """The id of a tile of the archive."""

    __slots__ = ()


class Embedding(str):
    """The text that an answer gave for an uploaded picture."""

    __slots__ = ()


Example = (
    str | Path | bytes | TileId | Embedding | TileOut | EmbeddingOut | ExampleIn
    | Sequence[float] | NDArray[np.floating[Any]]
)  # fmt: skip

_BUSY = (429, 503)
_LONGEST_WAIT_S = 30.0


class ApiError(WorldsiftError):
    """The server's refusal: ``status``, ``slug`` of the problem's type, and all its fields."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('title', '')}: {problem.get('detail', '')}")
        self.status, self.problem = status, dict(problem)
        self.slug = str(problem.get("type", "")).rsplit(":", 1)[-1]


class UnreachableError(WorldsiftError):
    """No answer came: nothing listens there, or the connection broke."""


def example(of: Example, weight: float = 1.0) -> ExampleIn:
    """``of`` as the API takes it; FileNotFoundError for the path of a picture that is not there."""
    if isinstance(of, ExampleIn):
        return of
    if isinstance(of, TileOut):
        return ExampleIn(tile_id=of.tile_id, weight=weight)
    if isinstance(of, TileId):
        return ExampleIn(tile_id=str(of), weight=weight)
    if isinstance(of, EmbeddingOut):
        return ExampleIn(embedding=of.embedding, weight=weight)
    if isinstance(of, Embedding):
        return ExampleIn(embedding=str(of), weight=weight)
    if isinstance(of, str | Path):
        of = Path(of).expanduser().read_bytes()
    if isinstance(of, bytes):
        return ExampleIn(image=base64.b64encode(of).decode(), weight=weight)
    return ExampleIn(vector=np.asarray(of, np.float64).tolist(), weight=weight)


class Client:
    """One server; may be shared between threads, closed by ``close`` or by leaving ``with``.

    ``key`` is an API key (also taken from WORLDSIFT_API_KEY).  A server that is busy or still
    loading is asked again, up to ``retries`` times, when it says.  Refusals raise ApiError, and
    a server that cannot be reached UnreachableError.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        key: str | None = None,
        timeout_s: float = 60.0,
        retries: int = 5,
    ) -> None:
        key = key or os.environ.get("WORLDSIFT_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)
        self._retries = retries

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def search(
        self, positive: Sequence[Example], negative: Sequence[Example] = (), **options: Any
    ) -> SearchResponse:
        """The first page of hits; ``options`` are the other fields of ``SearchRequest``."""
        return self.ask(
            SearchRequest(
                positive=[example(one) for one in positive],
                negative=[example(one) for one in negative],
                **options,
            )
        )

    def ask(self, request: SearchRequest) -> SearchResponse:
        """The page of hits that ``request`` asks for."""
        return self._post("/v1/search", request, SearchResponse)

    def pages(self, request: SearchRequest) -> Iterator[SearchResponse]:
        """Every page from that of ``request`` on; pictures are uploaded with the first alone."""
        while True:
            page = self.ask(request)
            yield page
            if page.cursor is None:
                return
            again = {"positive": _again(page.query.positive), "cursor": page.cursor}
            again["negative"] = _again(page.query.negative)
            request = request.model_copy(update=again)

    def refine(
        self,
        found: SearchResponse,
        more: Sequence[Example] = (),
        less: Sequence[Example] = (),
        **options: Any,
    ) -> SearchResponse:
        """The search again, with more examples on either side; all earlier ones are kept."""
        kept = {
            "strategy": found.query.strategy,
            "negative_weight": found.query.negative_weight,
        }
        return self.search(
            [*_again(found.query.positive), *more],
            [*_again(found.query.negative), *less],
            **{**kept, **options},
        )

    def search_batch(self, searches: Sequence[SearchRequest]) -> list[SearchResponse]:
        """The answers to several searches, in their order."""
        body = {"searches": [search.model_dump(exclude_none=True) for search in searches]}
        return BatchResponse.model_validate(self._json("POST", "/v1/search/batch", body)).results

    def embed(self, pictures: Sequence[str | Path | bytes]) -> EmbedResponse:
        """What the archive's featurizer makes of pictures."""
        files = []
        for position, picture in enumerate(pictures):
            name = f"picture{position}" if isinstance(picture, bytes) else Path(picture).name
            data = (
                picture if isinstance(picture, bytes) else Path(picture).expanduser().read_bytes()
            )
            files.append(("image", (name, data)))
        return EmbedResponse.model_validate(self._send("POST", "/v1/embed", files=files).json())

    def facets(self, tiles: FilterIn | None = None, max_labels: int = 100) -> FacetsOut:
        """How many tiles pass the filter, and what they are."""
        asked = FacetsRequest(filter=tiles, max_labels=max_labels)
        return self._post("/v1/facets", asked, FacetsOut)

    def tile(self, tile_id: str) -> TileOut:
        return TileOut.model_validate(self._json("GET", _place(tile_id)))

    def nearby(self, tile_id: str, limit: int = 24) -> NearbyOut:
        """Other dates over the tile's place, and the tiles beside it."""
        path = f"{_place(tile_id)}/nearby?limit={limit}"
        return NearbyOut.model_validate(self._json("GET", path))

    def picture(self, tile_id: str, size_px: int | None = None) -> bytes:
        """The tile's picture as a JPEG file."""
        size = "" if size_px is None else f"?size={size_px}"
        return self._send("GET", f"{_place(tile_id)}/image{size}").content

    def sample(self, size: int = 24, seed: int = 0) -> list[TileOut]:
        """Tiles drawn at random."""
        path = f"/v1/tiles?sample={size}&seed={seed}"
        return TilesOut.model_validate(self._json("GET", path)).tiles

    def stats(self) -> StatsOut:
        return StatsOut.model_validate(self._json("GET", "/v1/stats"))

    def reload(self) -> ReloadOut:
        """Has the server look for a newly published generation now; needs an admin key."""
        return ReloadOut.model_validate(self._json("POST", "/v1/admin/reload"))

    def export(
        self, target: str | Path, request: ExportRequest | None = None, **options: Any
    ) -> Path:
        """Writes a result set to ``target``, whole or not at all; the path.

        The format is that of the file's ending unless given; ``options`` are the fields of
        ``ExportRequest``, and ``search`` may also be an answer: its search is made again.
        """
        place = Path(target).expanduser()
        if request is None:
            options.setdefault("format", _format_of(place))
            if isinstance(options.get("search"), SearchResponse):
                options["search"] = _ask_of(options["search"])
            request = ExportRequest(**options)
        part = place.with_name(f".{place.name}{PART_SUFFIX}")
        body = request.model_dump(exclude_none=True, mode="json")
        try:
            with self._stream("/v1/export", body) as answer, part.open("wb") as file:
                for data in answer.iter_bytes():
                    file.write(data)
            part.replace(place)
        except httpx.TransportError as error:
            raise UnreachableError(
                f"the export to {place} broke off ({error}): nothing was kept; ask again"
            ) from error
        finally:
            part.unlink(missing_ok=True)
        return place

    def _post(self, path: str, body: BaseModel, answer: type[Model]) -> Model:
        record = body.model_dump(exclude_none=True, mode="json")
        return answer.model_validate(self._json("POST", path, record))

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._send(method, path, json=body).json()

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        for left in range(self._retries, -1, -1):
            try:
                answer = self._http.request(method, path, **content)
            except httpx.TransportError as error:
                raise UnreachableError(
                    f"{self._http.base_url}: {error or type(error).__name__}: is "
                    "`python -m serving run ROOT` running there?"
                ) from error
            if answer.status_code not in _BUSY or not left:
                break
            time.sleep(_wait_of(answer))
        _refuse(answer)
        return answer

    @contextlib.contextmanager
    def _stream(self, path: str, body: Mapping[str, Any]) -> Iterator[httpx.Response]:
        with self._http.stream("POST", path, json=body) as answer:
            if answer.is_error:
                answer.read()
            _refuse(answer)
            yield answer


def _place(tile_id: str) -> str:
    return f"/v1/tiles/{quote(tile_id, safe='')}"


def _again(examples: Sequence[ExampleOut]) -> list[ExampleIn]:
    """Examples of an answer, as the next request gives them."""
    return [
        ExampleIn(tile_id=one.tile_id, weight=one.weight)
        if one.tile_id is not None
        else ExampleIn(embedding=one.embedding, weight=one.weight)
        for one in examples
    ]


def _ask_of(found: SearchResponse) -> dict[str, Any]:
    return {
        "positive": _again(found.query.positive),
        "negative": _again(found.query.negative),
        "strategy": found.query.strategy,
        "negative_weight": found.query.negative_weight,
    }


def _format_of(place: Path) -> ExportFormat:
    formats: dict[str, ExportFormat] = {
        ".csv": "csv",
        ".geojson": "geojson",
        ".parquet": "geoparquet",
        ".zip": "zip",
    }
    if place.suffix.lower() not in formats:
        raise ValueError(f"{place}: end it in {', '.join(formats)}, or give format=")
    return formats[place.suffix.lower()]


def _wait_of(answer: httpx.Response) -> float:
    asked = answer.headers.get("retry-after", "")
    return min(float(asked), _LONGEST_WAIT_S) if asked.isdigit() else 1.0


def _refuse(answer: httpx.Response) -> None:
    """ApiError for anything but success."""
    if not answer.is_error:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = {"title": answer.reason_phrase, "detail": answer.text[:200]}
    raise ApiError(answer.status_code, problem if isinstance(problem, dict) else {})
