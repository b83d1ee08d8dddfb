"""How good a generation's answers are: against exact search, against labels, and by the clock.

Queries are rows of the archive, and each is left out of its own answer: finding oneself is no
merit.  Recall is tie-aware, as FAISS's own benchmarks count it: a row found counts when it is as
near as the k-th row of the exact answer, whichever of equals it is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import GenerationError
from featurizer.sampling import sample_rows
from serving.engine.bases import Ids
from serving.engine.progress import bar
from serving.engine.ranking import Floats
from serving.engine.search import SearchEngine, skip

K = 10
_TIE = np.float32(1e-6)
_WARM_UP = 20  # queries before the clock counts: they bring the files into memory
_DISTANCE_BYTES = 256 << 20  # of distances to all rows, held at one time


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """Over queries whose label another row has: mean precision at 10, mean average precision."""

    queries: int
    precision_at_10: float
    map: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured; figures by label are None where no query has a label.

    ``held_out`` says whether the queries are rows that did not train the quantizer.  Times are of
    one query (index and re-ranking, k = 10) in one thread, in milliseconds.
    """

    generation: str
    metric: str
    rows: int
    queries: int
    held_out: bool
    seed: int
    k: int
    nprobe: int
    rerank_factor: int
    recall_at_10: float
    recall_at_1: float
    labelled_queries: int
    precision_at_10: float | None
    map: float | None
    classes: dict[str, LabelFigures]
    query_ms_median: float
    query_ms_p99: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_line(self) -> str:
        """One line of JSON, keys in a fixed order."""
        return json.dumps(self.to_json(), ensure_ascii=False)


def evaluate(
    engine: SearchEngine,
    queries: int = 1000,
    seed: int = 0,
    nprobe: int | None = None,
    progress: bool = False,
) -> Evaluation:
    """The figures of up to ``queries`` rows, drawn by ``seed``; GenerationError below two rows.

    Reads every vector several times; memory is bounded by 256 MiB, or one distance a row where
    that is more, and the labels' four bytes a row.
    """
    generation = engine.generation
    alive = generation.rows - len(set(generation.tombstones))
    if alive < 2:
        raise GenerationError(
            f"generation {engine.name} has {alive} rows: evaluating needs two or more; embed more"
        )
    own, held_out = query_rows(engine, queries, seed)
    vectors = engine.vectors(own)
    k = min(K, alive - 1)
    found = without(own, *engine.search(vectors, k + 1, nprobe), k)
    exact = without(own, *engine.search(vectors, k + 1, exact=True), k)
    times = _times(engine, vectors, nprobe, progress)
    by_label = _by_label(engine, own, vectors, found[1], progress)
    classes = _classes(by_label)
    return Evaluation(
        generation=engine.name,
        metric=generation.featurizer.metric,
        rows=alive,
        queries=len(own),
        held_out=held_out,
        seed=seed,
        k=k,
        nprobe=nprobe or generation.index.nprobe,
        rerank_factor=generation.index.rerank_factor,
        recall_at_10=recall(found[0], exact[0]),
        recall_at_1=recall(found[0][:, :1], exact[0][:, :1]),
        labelled_queries=len(by_label),
        precision_at_10=_mean(figures[1] for figures in by_label),
        map=_mean(figures[2] for figures in by_label),
        classes=classes,
        query_ms_median=round(float(np.median(times)), 4),
        query_ms_p99=round(float(np.percentile(times, 99)), 4),
    )


def query_rows(engine: SearchEngine, count: int, seed: int) -> tuple[Ids, bool]:
    """Sorted row ids to ask with, and whether all are rows that did not train the quantizer."""
    generation = engine.generation
    removed = np.unique(np.asarray(generation.tombstones, np.int64))
    index = generation.index
    trained = sample_rows(generation.rows, index.training_rows, index.sample_seed)
    excluded = np.union1d(trained, removed)
    held_out = len(excluded) < generation.rows
    if not held_out:
        excluded = removed
    left = generation.rows - len(excluded)
    return skip(sample_rows(left, count, seed), excluded), held_out


def without(own: Ids, distances: Floats, ids: Ids, k: int) -> tuple[Floats, Ids]:
    """(q, k + 1) answers -> (q, k) without each query's own row, or without the last."""
    order = np.argsort(ids == own[:, None], axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)


def recall(found: Floats, exact: Floats) -> float:
    """Share of the (q, k) ascending distances found that are within the k-th exact one."""
    return float((found <= exact[:, -1:] + _TIE).mean())


def average_precision(distances: Floats, relevant: NDArray[np.bool_]) -> float:
    """Mean, over relevant rows, of the precision among all rows at most as far.

    (n,) distances, inf for rows that do not count.  Rows at equal distance are taken together,
    as in scikit-learn's ``average_precision_score``: no order among them is better than another.
    """
    wanted = np.sort(distances[relevant & np.isfinite(distances)])
    among = np.searchsorted(np.sort(distances), wanted, side="right")
    return float(np.mean(np.searchsorted(wanted, wanted, side="right") / among))


def _times(
    engine: SearchEngine, vectors: Floats, nprobe: int | None, progress: bool
) -> NDArray[np.float64]:
    """(q,) milliseconds of each query alone."""
    for vector in vectors[:_WARM_UP]:
        engine.search(vector[None], K, nprobe)
    times = []
    for vector in bar(vectors, len(vectors), "timing", progress, unit="query"):
        started = time.perf_counter()
        engine.search(vector[None], K, nprobe)
        times.append((time.perf_counter() - started) * 1000)
    return np.asarray(times)


def label_codes(
    labels: Iterable[list[str | None]], rows: int
) -> tuple[NDArray[np.int32], list[str]]:
    """(n,) positions in the list of names that follows, -1 where a row has no label."""
    codes = np.full(rows, -1, np.int32)
    known: dict[str, int] = {}
    start = 0
    for part in labels:
        codes[start : start + len(part)] = [
            -1 if label is None else known.setdefault(label, len(known)) for label in part
        ]
        start += len(part)
    return codes, list(known)


def _by_label(
    engine: SearchEngine, own: Ids, vectors: Floats, found: Ids, progress: bool
) -> list[tuple[str, float, float]]:
    """Label, precision at 10 and average precision of each query whose label another row has."""
    rows = engine.generation.rows
    codes, names = label_codes(engine.labels(), rows)
    codes[np.asarray(engine.generation.tombstones, np.int64)] = -1
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    asked = np.flatnonzero((codes[own] >= 0) & (counts[codes[own]] > 1)) if names else own[:0]
    step = max(1, _DISTANCE_BYTES // (4 * rows))
    figures = []
    steps = range(0, len(asked), step)
    for first in bar(steps, len(steps), "ranking by label", progress, unit="part"):
        part = asked[first : first + step]
        for query, distances in zip(
            part.tolist(), engine.all_distances(vectors[part]), strict=True
        ):
            relevant = codes == codes[own[query]]
            distances[own[query]] = np.inf
            hits = found[query][found[query] >= 0]
            precision = float(relevant[hits].mean()) if len(hits) else 0.0
            name = names[codes[own[query]]]
            figures.append((name, precision, average_precision(distances, relevant)))
    return figures


def _classes(figures: list[tuple[str, float, float]]) -> dict[str, LabelFigures]:
    """Figures of each label, by name."""
    grouped: dict[str, list[tuple[float, float]]] = {}
    for name, precision, average in figures:
        grouped.setdefault(name, []).append((precision, average))
    return {
        name: LabelFigures(
            queries=len(pairs),
            precision_at_10=float(np.mean([pair[0] for pair in pairs])),
            map=float(np.mean([pair[1] for pair in pairs])),
        )
        for name, pairs in sorted(grouped.items())
    }


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.mean(found)) if found else None
