"""Which labelled images are held out of training: a quarter of them, by the hash of their path."""

from __future__ import annotations

import hashlib

HELD_OUT_SHARE = 0.25


def held_out(relative_path: str) -> bool:
    """Whether the image at "<folder name>/<class>/<file>" is in the quarter kept for measurement.

    A property of the path alone: the answer is the same on every machine, in every order, and
    stays when other images come or go.
    """
    digest = hashlib.sha256(relative_path.encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64
