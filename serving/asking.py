"""What clients give to search by -> examples with vectors."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from featurizer.errors import QueryError
from serving.embedding import Upload
from serving.failures import ImageRefusedError, TooLargeError
from serving.models.requests import Ask, ExampleIn
from serving.query import embedding_text
from serving.query.question import Example, Question, Vector

if TYPE_CHECKING:
    from featurizer.spec import FeaturizerSpec
    from serving.engine.search import SearchEngine
    from serving.settings import Settings

Source = ExampleIn | Upload
AnyAsk = TypeVar("AnyAsk", bound=Ask)


@dataclass(frozen=True)
class Asked(Generic[AnyAsk]):
    """A search as it came: what was asked, and the pictures' files that came with it.

    The examples of one side are those of ``ask`` first, then the files.
    """

    ask: AnyAsk
    positive: tuple[Source, ...]
    negative: tuple[Source, ...] = ()
    uploads: tuple[Upload, ...] = field(init=False)

    def __post_init__(self) -> None:
        both = (*self.positive, *self.negative)
        found = tuple(source for source in both if isinstance(source, Upload))
        object.__setattr__(self, "uploads", found)


def asked_of(
    ask: AnyAsk, positive: Sequence[Upload] = (), negative: Sequence[Upload] = (), where: str = ""
) -> Asked[AnyAsk]:
    """What was asked, pictures in base64 decoded; ``where`` begins the names of those.

    QueryError without any positive example, ImageRefusedError for text that is not base64.
    """
    if not ask.positive and not positive:
        raise QueryError(
            "nothing to search by: give examples as `positive`, or files in the field `image`"
        )
    return Asked(
        ask,
        (*_sources(ask.positive, f"{where}positive"), *positive),
        (*_sources(ask.negative, f"{where}negative"), *negative),
    )


def _sources(examples: Sequence[ExampleIn], side: str) -> Iterator[Source]:
    for place, example in enumerate(examples):
        if example.image is None:
            yield example
        else:
            name = f"{side}[{place}]"
            yield Upload(name, _from_base64(example.image, name), example.weight)


def _from_base64(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageRefusedError(name, "not-base64", f"the image is not base64 ({error})") from error


def check_limits(asked: Sequence[Asked[AnyAsk]], settings: Settings) -> None:
    """TooLargeError where one call asks for more than this server takes."""
    most = max(len(one.positive) + len(one.negative) for one in asked)
    if most > settings.max_examples:
        raise TooLargeError(
            f"{most} examples, but this server takes {settings.max_examples} a search: give those "
            "that differ most"
        )
    uploads = [upload for one in asked for upload in one.uploads]
    check_uploads(uploads, settings)


def check_uploads(uploads: Sequence[Upload], settings: Settings) -> None:
    """TooLargeError for too many pictures, and for one of too many bytes."""
    if len(uploads) > settings.max_images:
        raise TooLargeError(
            f"{len(uploads)} images or more, but this server takes {settings.max_images} at a "
            "time: send them in several requests"
        )
    for upload in uploads:
        if len(upload.data) > settings.max_upload_bytes:
            raise TooLargeError(
                f"{upload.name}: {len(upload.data):,} bytes, but this server takes "
                f"{settings.max_upload_bytes:,}: scale the image down"
            )


def question_of(asked: Asked[AnyAsk], vectors: Sequence[Vector], engine: SearchEngine) -> Question:
    """The search's examples with their vectors; ``vectors``: of its uploads, in their order.

    UnknownTileError for an id that the generation does not have, QueryError for a vector that
    cannot be one of this archive.
    """
    embedded = iter(vectors)
    ask = asked.ask
    return Question(
        positive=_examples(asked.positive, embedded, engine, "positive"),
        negative=_examples(asked.negative, embedded, engine, "negative"),
        strategy=ask.strategy,
        negative_weight=ask.negative_weight,
        include_examples=ask.include_examples,
    )


def _examples(
    sources: Sequence[Source], embedded: Iterator[Vector], engine: SearchEngine, side: str
) -> tuple[Example, ...]:
    rows = {
        source.tile_id: engine.row_of(source.tile_id)
        for source in sources
        if isinstance(source, ExampleIn) and source.tile_id is not None
    }
    vectors = dict(zip(rows, engine.vectors(list(rows.values())), strict=True)) if rows else {}
    spec = engine.generation.featurizer
    found = []
    for place, source in enumerate(sources):
        if isinstance(source, Upload):
            found.append(Example("image", next(embedded), source.weight, name=source.name))
        elif source.tile_id is not None:
            tile_id = source.tile_id
            found.append(
                Example(
                    "tile",
                    vectors[tile_id],
                    source.weight,
                    tile_id=tile_id,
                    row=rows[tile_id],
                )
            )
        else:
            found.append(_by_numbers(source, spec, f"{side}[{place}]"))
    return tuple(found)


def _by_numbers(example: ExampleIn, spec: FeaturizerSpec, name: str) -> Example:
    if example.embedding is not None:
        vector = embedding_text.from_text(example.embedding, spec)
        kept = Example("embedding", vector, example.weight)
    else:
        kept = Example("vector", _vector(example.vector or [], spec, name), example.weight)
    if not np.isfinite(kept.vector).all():
        raise QueryError(f"{name}: not finite in float32: NaN and infinity mean nothing")
    if spec.metric == "cosine" and not kept.vector.any():
        raise QueryError(f"{name}: all zero, but cosine distance needs a direction")
    return kept


def _vector(values: Sequence[float], spec: FeaturizerSpec, name: str) -> Vector:
    if len(values) != spec.dim:
        raise QueryError(
            f"{name} has {len(values)} numbers, but this archive's vectors have {spec.dim}: embed "
            f"with featurizer {spec.fingerprint}, or send the image"
        )
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float64).astype(np.float32)
