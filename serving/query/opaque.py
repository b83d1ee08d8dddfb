"""Bytes as text that may stand in a URL."""

from __future__ import annotations

import base64


def to_base64(data: bytes) -> str:
    """Base64 in the URL alphabet (RFC 4648, section 5) without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64(text: str) -> bytes:
    """The bytes of such a text; ValueError for any text that ``to_base64`` does not give."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if to_base64(data) != text:
        raise ValueError("bits beyond the last byte are set")
    return data
