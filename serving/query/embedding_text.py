"""A vector as text, so that an uploaded picture can be asked by again without its file.

``e1.`` and base64 (URL alphabet, no padding) of: 8 bytes of the featurizer's fingerprint, the
vector as little-endian float16, CRC-32 of both.  Stored vectors are float16 too.
"""

from __future__ import annotations

import zlib

import numpy as np

from featurizer.errors import QueryError
from featurizer.spec import FeaturizerSpec
from serving.query.opaque import from_base64, to_base64
from serving.query.question import Vector

_VERSION = "e1."
_MARK = 8  # bytes of the fingerprint
_CHECK = 4
_REMEDY = "send the picture again, or the whole text as /v1/embed or a search gave it"


def to_text(vector: Vector, fingerprint: str) -> str:
    """The text of a (d,) vector; QueryError for one that float16 cannot hold."""
    with np.errstate(over="ignore"):
        values = np.asarray(vector, "<f2")
    if not np.isfinite(values).all():
        raise QueryError("a vector with numbers beyond 65,504 has no text: send it as `vector`")
    content = bytes.fromhex(fingerprint)[:_MARK] + values.tobytes()
    return _VERSION + to_base64(content + _crc(content))


def from_text(text: str, spec: FeaturizerSpec) -> Vector:
    """The (d,) float32 vector of such a text.

    QueryError when the text is damaged or was made by another featurizer than ``spec``.
    """
    data = _checked(text)
    mark = data[:_MARK].hex()
    if mark != spec.fingerprint[: 2 * _MARK]:
        raise QueryError(
            f"an embedding was made by featurizer {mark}..., but this archive's is "
            f"{spec.fingerprint}: send the picture itself"
        )
    values = data[_MARK:-_CHECK]
    if len(values) != 2 * spec.dim:
        raise QueryError(
            f"an embedding holds {len(values) // 2} numbers, but this archive's vectors have "
            f"{spec.dim}: {_REMEDY}"
        )
    vector = np.frombuffer(values, "<f2").astype(np.float32)
    if not np.isfinite(vector).all():
        raise QueryError(f"an embedding holds NaN or infinity: {_REMEDY}")
    return vector


def _checked(text: str) -> bytes:
    try:
        data = from_base64(text.removeprefix(_VERSION))
        whole = len(data) >= _MARK + _CHECK and _crc(data[:-_CHECK]) == data[-_CHECK:]
        if not text.startswith(_VERSION) or not whole:
            raise ValueError("of another form, or altered")
    except ValueError as error:
        raise QueryError(f"the text of an embedding is damaged: {_REMEDY}") from error
    return data


def _crc(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECK, "little")
