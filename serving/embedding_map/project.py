"""Vectors -> places on a plane that keep near what is near, by UMAP or principal components.

``python -m serving.embedding_map.project FOLDER METHOD METRIC`` is how a server has it done:
umap-learn compiles itself at each start and holds half a gigabyte, which goes with this process.
It reads ``FOLDER/vectors.npy``, writes ``FOLDER/places.npy`` and, meanwhile,
``FOLDER/progress.json``; it ends by itself when its standard input is closed, so that it does not
outlive who started it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from featurizer import storage
from featurizer.spec import METRICS, Metric

Method = Literal["umap", "pca"]
METHODS: tuple[Method, ...] = get_args(Method)
Floats = NDArray[np.float32]
Report = Callable[[str, float], None]  # what is being done, and the share that is done, 0 to 1

VECTORS, PLACES, PROGRESS = "vectors.npy", "places.npy", "progress.json"
_NEIGHBOURS = 15  # umap-learn's own default
_SEED = 0
_BLOCK_BYTES = 64 << 20  # of similarities at one time
_NICENESS = 15
# Shares of the time of 5,000 vectors of 128 numbers, compilation included.
_GRAPH, _LAYOUT = 0.05, 0.6


def projected(vectors: Floats, method: Method, metric: Metric, report: Report) -> Floats:
    """(n, d) -> (n, 2) in [-1, 1], the wider of the two ways filled; the same for the same input.

    UMAP: McInnes, Healy and Melville, arXiv 1802.03426, over exact neighbours instead of
    approximate ones: up to 50,000 vectors it takes seconds, and a minute of compilation goes.
    """
    cosine = metric == "cosine"
    prepared: Floats = np.asarray(vectors, np.float32)
    if cosine:
        lengths = np.linalg.norm(prepared, axis=1, keepdims=True)
        prepared = np.asarray(prepared / np.where(lengths, lengths, 1), np.float32)
    places = _by_umap(prepared, cosine, report) if method == "umap" else _by_pca(prepared)
    report("done", 1.0)
    return scaled(places)


def scaled(places: Floats) -> Floats:
    """(n, 2) moved and scaled, both ways alike, into [-1, 1]."""
    if not len(places):
        return np.zeros((0, 2), np.float32)
    low, high = places.min(axis=0), places.max(axis=0)
    reach = float((high - low).max()) / 2
    return np.asarray((places - (low + high) / 2) / (reach or 1.0), np.float32)


def neighbours(vectors: Floats, k: int, cosine: bool) -> tuple[NDArray[np.int32], Floats]:
    """(n, k) nearest rows and their distances, exact; each row is its own first, at 0.

    Unit vectors where ``cosine``.  Memory is that of the answer and of one block.
    """
    count = len(vectors)
    squares = np.einsum("nd,nd->n", vectors, vectors)
    rows = np.empty((count, k), np.int32)
    distances = np.zeros((count, k), np.float32)
    step = max(1, _BLOCK_BYTES // (4 * count))
    for first in range(0, count, step):
        here = np.arange(first, min(first + step, count))
        far = -(vectors[here] @ vectors.T)  # (b, n), ascending from the nearest
        if not cosine:
            far = np.maximum(squares[here, None] + squares + 2 * far, 0)
        far[here - first, here] = np.inf  # itself; its equals stay
        near = np.argpartition(far, k - 2, axis=1)[:, : k - 1]
        measured = np.take_along_axis(far, near, 1)
        order = np.argsort(measured, axis=1, kind="stable")
        measured = np.take_along_axis(measured, order, 1)
        rows[here, 0], rows[here, 1:] = here, np.take_along_axis(near, order, 1)
        distances[here, 1:] = np.maximum(1 + measured, 0) if cosine else np.sqrt(measured)
    return rows, distances


def _by_umap(vectors: Floats, cosine: bool, report: Report) -> Floats:
    report("finding neighbours", 0.0)
    rows, distances = neighbours(vectors, min(_NEIGHBOURS, len(vectors)), cosine)
    report("building the graph", _GRAPH)
    import umap

    model = umap.UMAP(
        n_neighbors=rows.shape[1],
        metric="cosine" if cosine else "euclidean",
        precomputed_knn=(rows, distances, None),
        force_approximation_algorithm=True,  # else what is given is ignored below 4096 rows
        random_state=_SEED,
        n_jobs=1,  # more are not reproducible
        verbose=True,  # the layout says how far it is in no other way
        tqdm_kwds={"file": _Epochs(report), "bar_format": "{n}/{total} ", "mininterval": 0.5},
    )
    with contextlib.redirect_stdout(io.StringIO()):
        return np.asarray(model.fit_transform(vectors), np.float32)


class _Epochs(io.StringIO):
    """What the layout's progress bar is written to: "120/500 " becomes a share of the whole."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def write(self, text: str) -> int:
        if found := re.search(r"(\d+)/(\d+)", text):
            share = int(found[1]) / max(1, int(found[2]))
            self._report("laying out", _LAYOUT + (1 - _LAYOUT) * share)
        return len(text)


def _by_pca(vectors: Floats) -> Floats:
    """The first two principal components, with zeros for those that there are not."""
    places = np.zeros((len(vectors), 2), np.float32)
    kept = min(2, *vectors.shape)
    if len(vectors) > 1 and kept:
        from sklearn.decomposition import PCA

        found = PCA(kept, svd_solver="full").fit_transform(vectors.astype(np.float64))
        places[:, :kept] = found
    return places


def _report_to(file: Path, stage: str, share: float) -> None:
    storage.write_bytes(str(file), json.dumps({"stage": stage, "progress": share}).encode())


def _end_with_parent() -> None:
    """Ends the process when standard input does: whoever started it has gone."""
    while os.read(0, 4096):  # past Python's own stdin, whose lock would be waited for at the end
        pass
    os._exit(1)


def main(folder: str, method: Method, metric: Metric) -> None:
    """Projects the vectors in ``folder`` at low priority."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(_NICENESS)
    work = Path(folder)
    vectors = np.load(work / VECTORS, allow_pickle=False)
    places = projected(vectors, method, metric, partial(_report_to, work / PROGRESS))
    sink = io.BytesIO()
    np.save(sink, places, allow_pickle=False)
    storage.write_bytes(str(work / PLACES), sink.getvalue())


def _choices(argv: Sequence[str]) -> tuple[str, Method, Metric]:
    folder, method, metric = argv
    for known in METHODS:
        for measured in METRICS:
            if (method, metric) == (known, measured):
                return folder, known, measured
    raise SystemExit(f"{method} of {metric}: give one of {METHODS} and one of {METRICS}")


if __name__ == "__main__":
    main(*_choices(sys.argv[1:]))
