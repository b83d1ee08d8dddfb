"""clip-retrieval's back end, started by its own entry point over the codes that we serve.

Its environment is another one (it needs NumPy 1 and PyArrow 15), so it is driven as a process.
Queries are vectors, so its CLIP model is left out: weights are not to be had without a network, and
no query would use them.  It answers from codes alone (it does not re-rank) and returns the url.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import pyarrow as pa

from tests.benchmarks import load
from tests.benchmarks.raw_faiss import K, RawIndex

_START_TIMEOUT_S = 300
_DRIVER = """
import sys
import all_clip
all_clip.load_clip = lambda *args, **kwargs: (None, None, None)
from clip_retrieval.clip_back import clip_back
clip_back(
    indices_paths=sys.argv[1], port=int(sys.argv[2]), enable_mclip_option=False, use_arrow=True,
    provide_aesthetic_embeddings=False, columns_to_return=["url"],
)
"""


@dataclass(frozen=True, slots=True)
class ClipRetrieval:
    """The running back end, and requests for it."""

    port: int
    requests: list[bytes]

    @classmethod
    @contextlib.contextmanager
    def running(cls, python: str, raw: RawIndex, folder: Path) -> Iterator[ClipRetrieval]:
        paths = _write(raw, folder)
        port = _free_port()
        process = subprocess.Popen(
            [python, "-c", _DRIVER, str(paths), str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        try:
            _wait(port, process)
            yield cls(port, [_request(vector) for vector in raw.vectors(500).tolist()])
        finally:
            process.terminate()
            process.wait(30)


def _request(vector: list[float]) -> bytes:
    asked = {
        "embedding_input": vector,
        "indice_name": "archive",
        "modality": "image",
        "num_images": K,
        "num_result_ids": K,
        "deduplicate": False,
        "use_safety_model": False,
        "use_violence_detector": False,
    }
    return load.post("/knn-service", json.dumps(asked).encode(), "application/json")


def _write(raw: RawIndex, folder: Path) -> Path:
    """Its folder of one index in memory and one table of metadata; the file that lists it."""
    metadata = folder / "index" / "metadata"
    metadata.mkdir(parents=True)
    faiss.write_index(raw.base, str(folder / "index" / "image.index"))
    urls = [column.to_pylist() for column in raw.engine._rows.ids()]
    table = pa.table({"url": [url for part in urls for url in part]})
    with pa.ipc.new_file(str(metadata / "0.arrow"), table.schema) as writer:
        writer.write_table(table)
    paths = folder / "indices_paths.json"
    paths.write_text(json.dumps({"archive": str(folder / "index")}))
    return paths


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise SystemExit("clip-retrieval's back end did not start")
