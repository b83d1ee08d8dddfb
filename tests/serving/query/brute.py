"""An engine that compares with every row, and may be told to miss some as an index does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from featurizer.manifest import Generation, GenerationShard, IndexParameters
from featurizer.spec import Metric
from featurizer.tiles import Bounds, Window, tile_id
from serving.engine.rows import Tile
from serving.engine.selection import Selection
from serving.query.answering import answer
from serving.query.question import Effort, Example, Found, Page, Question, Shape
from tests.serving.archive import QUANTIZER, clustered, spec

NOTHING = Shape()


@dataclass(frozen=True, slots=True)
class Place:
    """What a tile of the test archive has, beside its vector."""

    uri: str
    window: Window | None = None
    bounds: Bounds | None = None


class BruteEngine:
    """Satisfies ``serving.query.engine_port.Engine``.

    Without ``exact``, a search for k rows misses a share ``missing`` of them, which ones depends
    on k, unless fewer than k would be left; with ``nprobe``, it sees rows of the first cells only,
    row i being in cell i % 10, and may give fewer.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        metric: Metric = "cosine",
        missing: float = 0.0,
        tombstones: Sequence[int] = (),
        places: Sequence[Place] | None = None,
    ) -> None:
        self._vectors = vectors.astype(np.float16).astype(np.float32)
        self._metric, self._missing = metric, missing
        self._places = places or [Place(f"/picture{i}.jpg") for i in range(len(vectors))]
        self._dead = np.isin(np.arange(len(vectors)), list(tombstones))
        self.asked: list[int] = []  # the k of each search
        self.generation = Generation(
            inventory="000001-000000000000",
            quantizer=QUANTIZER,
            quantizer_sha256="0" * 64,
            featurizer=spec(vectors.shape[1], metric),
            index=IndexParameters("IVF10,PQ8x4", 10, 4, 10, len(vectors), 0),
            shards=(GenerationShard("s", len(vectors), "", "", ""),),
            tombstones=tuple(tombstones),
        )

    def search(self, queries, k, nprobe=None, exact=False, within=None):
        self.asked.append(k)
        count = len(self._vectors)
        open_rows = ~self._dead
        if within is not None:
            open_rows &= within.holds(np.arange(count))
        if nprobe is not None:
            open_rows &= np.arange(count) % 10 < nprobe
        distances = np.full((len(queries), k), np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        for i, query in enumerate(queries):
            seen = open_rows.copy()
            if not exact:
                luck = np.random.default_rng(k).random(count)
                seen &= luck >= self._missing
                seen = seen if seen.sum() >= k else open_rows
            found = np.flatnonzero(seen)
            measured = self.distances(query[None], found)[0]
            order = np.lexsort((found, measured))[:k]
            distances[i, : len(order)], rows[i, : len(order)] = measured[order], found[order]
        return distances, rows

    def distances(self, queries, rows, /):
        return by_definition(queries, self._vectors[rows], self._metric)

    def vectors(self, row_ids, /):
        return self._vectors[row_ids]

    def tiles(self, row_ids, /):
        return [self._tile(self._places[row]) for row in row_ids]

    def _tile(self, place: Place) -> Tile:
        return Tile(
            tile_id=tile_id(place.uri, place.window),
            uri=place.uri,
            window=place.window,
            label=None,
            taken=datetime(2021, 7, 14, tzinfo=UTC),
            bounds=place.bounds,
            valid_fraction=None,
            etag="e",
        )


def by_definition(queries, vectors, metric):
    """(q, d), (m, d) -> (q, m) float32 distances, computed in double precision."""
    queries, vectors = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "euclidean":
        return np.linalg.norm(queries[:, None] - vectors[None], axis=2).astype(np.float32)
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    # A sum of products, not a matrix product: a pair's value must not depend on its neighbours.
    cosines = (queries[:, None] * vectors[None]).sum(axis=2)
    return np.maximum(1 - cosines, 0).astype(np.float32)


def selection(count: int, rows: Sequence[int]) -> Selection:
    chosen = np.isin(np.arange(count), list(rows))
    return Selection(np.packbits(chosen, bitorder="little"), int(chosen.sum()))


def by_tile(engine: BruteEngine, row: int, weight: float = 1.0) -> Example:
    vector = engine.vectors(np.array([row]))[0]
    return Example("tile", vector, weight, tile_id=f"t{row}", row=row)


def by_vector(vector: np.ndarray, weight: float = 1.0) -> Example:
    return Example("vector", np.asarray(vector, np.float32), weight)


def pages(
    engine: BruteEngine,
    question: Question,
    k: int,
    effort: Effort = Effort(),  # noqa: B008
    within: Selection | None = None,
    shape: Shape = NOTHING,
    min_score: float | None = None,
) -> list[Found]:
    """Every page of the search, up to the one that says that there is no more."""
    found = []
    while True:
        page = Page(k, k * len(found), k, min_score)
        found.append(answer(engine, question, effort, within, shape, page))
        if not found[-1].more:
            return found


def rows_of(found: Sequence[Found]) -> list[int]:
    return [row for page in found for row in page.rows.tolist()]


def small_engine(count: int = 300, dim: int = 8, seed: int = 0, **options) -> BruteEngine:
    scale = 5.0 if options.get("metric") == "euclidean" else 1.0
    return BruteEngine(clustered(count, dim, seed) * scale, **options)
