"""Results that are made once from given inputs and then found again: whole, or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from featurizer import storage

_MARKER = "complete.json"


def built(folder: Path, inputs: str, make: Callable[[Path], None]) -> Path:
    """``folder``, holding what ``make`` makes of ``inputs``: their digest, in any form.

    ``make`` gets an empty folder, which takes the place of ``folder`` when it is complete.  What
    an interrupted run left, or one with other inputs, is removed.  Callers hold ``sync.locked``.
    """
    if _is_complete(folder, inputs):
        return folder
    part = folder.with_name(f".{folder.name}{storage.PART_SUFFIX}")
    with storage.explained(str(folder), "make it"):
        for stale in (part, folder):
            if stale.exists():
                shutil.rmtree(stale)
        part.mkdir(parents=True)
        make(part)
        sizes = {file.name: file.stat().st_size for file in sorted(part.iterdir())}
        (part / _MARKER).write_text(json.dumps({"inputs": inputs, "files": sizes}, indent=1))
        for file in part.iterdir():
            _to_disk(file)
        part.rename(folder)
    return folder


def _is_complete(folder: Path, inputs: str) -> bool:
    try:
        marker = json.loads((folder / _MARKER).read_text())
        return bool(marker["inputs"] == inputs) and all(
            (folder / name).stat().st_size == size for name, size in marker["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _to_disk(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
