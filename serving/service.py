"""What the HTTP routes ask for: queries made of uploads, tiles or vectors, and their answers.

Everything here blocks and belongs in a worker thread; nothing here knows HTTP.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from featurizer import storage
from featurizer.errors import ContractError, PixelError, QueryError
from featurizer.manifest import evaluation_path
from serving.failures import ImageRefusedError
from serving.models import (
    ArchiveOut,
    FeaturizerOut,
    Hit,
    IndexOut,
    LimitsOut,
    QueryOut,
    ResultOut,
    SearchOptions,
    SearchResponse,
    TileOut,
    tile_fields,
)
from serving.thumbnails import Pictures

if TYPE_CHECKING:
    from featurizer.embed import Featurizer
    from serving.engine.search import SearchEngine, Tile
    from serving.settings import Settings

Vector = NDArray[np.float32]  # (d,)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as a client sent it."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Query:
    """One question; ``row`` is set when a tile of the archive asks for its neighbours."""

    kind: Literal["image", "tile", "vector"]
    vector: Vector
    name: str | None = None
    tile_id: str | None = None
    row: int | None = None


class SearchService:
    """A loaded archive and its featurizer.  Safe to share between threads."""

    def __init__(self, settings: Settings, engine: SearchEngine, featurizer: Featurizer) -> None:
        self._settings, self.engine, self._featurizer = settings, engine, featurizer
        self.pictures = Pictures(engine)
        self._evaluation = _read_evaluation(str(settings.root), engine.name)

    @classmethod
    def open(cls, settings: Settings) -> SearchService:
        """Loads the published generation and the featurizer that made it: seconds to minutes."""
        from featurizer.stored import load_featurizer
        from serving.engine.search import SearchEngine

        engine = SearchEngine.open(str(settings.root), settings.cache_dir, progress=True)
        spec = engine.generation.featurizer
        return cls(settings, engine, load_featurizer(str(settings.root), spec.fingerprint))

    def close(self) -> None:
        self.pictures.close()
        self.engine.close()

    def queries_of_images(self, uploads: Sequence[Upload]) -> list[Query]:
        """One query an image; ImageRefusedError names the first that gives no vector."""
        from featurizer.decode import DecodeLimits, decode

        limits = DecodeLimits(
            max_pixels=self._settings.max_upload_pixels, max_bytes=self._settings.max_upload_bytes
        )
        pixels = []
        for upload, decoded in zip(
            uploads, decode([upload.data for upload in uploads], limits), strict=True
        ):
            if isinstance(decoded, PixelError):
                raise ImageRefusedError(upload.name, decoded.reason, decoded.detail)
            pixels.append(decoded.pixels)
        vectors = self._featurizer.embed(pixels)  # (n, d)
        for upload, vector in zip(uploads, vectors, strict=True):
            if not np.isfinite(vector).all():
                raise ImageRefusedError(upload.name, "no-vector", "the model sees nothing in it")
        return [
            Query("image", vector, name=upload.name)
            for upload, vector in zip(uploads, vectors, strict=True)
        ]

    def queries_of_tiles(self, tile_ids: Sequence[str]) -> list[Query]:
        """One query a tile; UnknownTileError for an id that the generation does not have."""
        rows = [self.engine.row_of(tile_id) for tile_id in tile_ids]
        return [
            Query("tile", vector, tile_id=tile_id, row=row)
            for tile_id, row, vector in zip(tile_ids, rows, self.engine.vectors(rows), strict=True)
        ]

    def queries_of_vectors(self, vectors: Sequence[Sequence[float]]) -> list[Query]:
        """One query a vector; QueryError for a wrong length and for NaN or infinity."""
        spec = self.engine.generation.featurizer
        queries = []
        for position, values in enumerate(vectors):
            if len(values) != spec.dim:
                raise QueryError(
                    f"vectors[{position}] has {len(values)} numbers, but this archive's have "
                    f"{spec.dim}: embed with featurizer {spec.fingerprint}, or send the image"
                )
            with np.errstate(over="ignore"):
                vector = np.asarray(values, np.float64).astype(np.float32)
            if not np.isfinite(vector).all():
                raise QueryError(
                    f"vectors[{position}] is not finite: NaN and infinity mean nothing"
                )
            queries.append(Query("vector", vector, name=str(position)))
        return queries

    def search(
        self, queries: Sequence[Query], options: SearchOptions, started: float
    ) -> SearchResponse:
        """The neighbours of each query; ``started`` (``time.perf_counter``) is when work began."""
        if options.k > self._settings.max_k:
            raise QueryError(
                f"k is {options.k}, but this server gives at most {self._settings.max_k}"
            )
        stacked = np.stack([query.vector for query in queries]).astype(np.float32)
        distances, rows = self.engine.search(stacked, options.k, options.nprobe, options.exact)
        results = [
            self._result(query, *self._neighbours(query, row_distances, row_ids, options.k))
            for query, row_distances, row_ids in zip(queries, distances, rows, strict=True)
        ]
        return SearchResponse(
            generation=self.engine.name,
            metric=self.engine.generation.featurizer.metric,
            took_ms=round((time.perf_counter() - started) * 1000, 2),
            results=results,
        )

    def _neighbours(
        self, query: Query, distances: Vector, rows: NDArray[np.int64], k: int
    ) -> tuple[list[float], list[int]]:
        """Distances and row ids without padding; a tile is its own first neighbour.

        The index may miss it, and pictures equal to it may stand before it.
        """
        kept = rows >= 0
        found = list(zip(distances[kept].tolist(), rows[kept].tolist(), strict=True))
        if query.row is not None:
            own = next((pair for pair in found if pair[1] == query.row), (0.0, query.row))
            found = [own, *(pair for pair in found if pair[1] != query.row)][:k]
        return [distance for distance, _ in found], [row for _, row in found]

    def _result(self, query: Query, distances: list[float], rows: list[int]) -> ResultOut:
        metric = self.engine.generation.featurizer.metric
        hits = [
            Hit(
                rank=rank,
                distance=round(distance, 6),
                score=round(1 - distance if metric == "cosine" else 1 / (1 + distance), 6),
                **tile_fields(tile),
            )
            for rank, (distance, tile) in enumerate(
                zip(distances, self.engine.tiles(rows), strict=True), start=1
            )
        ]
        echo = QueryOut(kind=query.kind, name=query.name, tile_id=query.tile_id)
        return ResultOut(query=echo, hits=hits)

    def tile(self, tile_id: str) -> tuple[int, Tile]:
        """The row id and record of a tile; UnknownTileError for any other text."""
        row = self.engine.row_of(tile_id)
        return row, self.engine.tiles([row])[0]

    def sample(self, size: int, seed: int) -> list[TileOut]:
        """``size`` tiles (fewer in a smaller archive) drawn at random, the same for a seed."""
        rows = self.engine.sample(size, seed)
        return [TileOut.of(tile) for tile in self.engine.tiles(rows)]

    def archive(self) -> ArchiveOut:
        generation, settings = self.engine.generation, self._settings
        spec, index = generation.featurizer, generation.index
        return ArchiveOut(
            name=str(settings.root).rstrip("/").rsplit("/", 1)[-1],
            generation=self.engine.name,
            rows=generation.rows - len(generation.tombstones),
            shards=len(generation.shards),
            featurizer=FeaturizerOut(
                backbone=spec.backbone,
                layer=spec.layer,
                dim=spec.dim,
                metric=spec.metric,
                input_px=spec.input_px,
                fingerprint=spec.fingerprint,
            ),
            index=IndexOut(
                factory=index.factory,
                nlist=index.nlist,
                nprobe=index.nprobe,
                rerank_factor=index.rerank_factor,
            ),
            limits=LimitsOut(
                max_upload_bytes=settings.max_upload_bytes,
                max_upload_pixels=settings.max_upload_pixels,
                max_images=settings.max_images,
                max_k=settings.max_k,
            ),
            evaluation=self._evaluation,
        )


def _read_evaluation(root: str, generation: str) -> dict[str, Any] | None:
    """What was measured of this generation; None where nobody has measured."""
    place = evaluation_path(root, generation)
    if not storage.exists(place):
        return None
    try:
        record = json.loads(storage.read_bytes(place))
    except ValueError as error:
        raise ContractError(
            f"{place}: not JSON ({error}); run `python -m serving evaluate {root}` again"
        ) from error
    if not isinstance(record, dict):
        raise ContractError(f"{place}: not an evaluation; run `python -m serving evaluate {root}`")
    return record
