"""One generation and its featurizer as the HTTP routes ask for them.

Everything here blocks and belongs in a worker thread; nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from serving import deadline
from serving.asking import AnyAsk, Asked, asked_of, check_limits, question_of
from serving.conversion import (
    effort_of,
    facets_dict,
    filter_of,
    shape_of,
    tile_dict,
)
from serving.embedding import Upload, checked, prepared
from serving.statistics import read_evaluation
from serving.thumbnails import Pictures, shared_raster_options

if TYPE_CHECKING:
    from featurizer.bands import RasterOptions
    from featurizer.embed import Featurizer
    from serving.engine.search import SearchEngine, Tile
    from serving.engine.selection import Selection
    from serving.models.requests import Ask, FacetsRequest, FilterIn
    from serving.query.question import Effort, Question, Shape, Vector
    from serving.settings import Settings

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A search understood: what the query layer needs besides the page."""

    question: Question
    effort: Effort
    within: Selection | None
    shape: Shape
    min_score: float | None


class SearchService:
    """A loaded generation and its featurizer.  Safe to share between threads."""

    def __init__(self, settings: Settings, engine: SearchEngine, featurizer: Featurizer) -> None:
        self.settings, self.engine, self.featurizer = settings, engine, featurizer
        self.pictures = Pictures(engine)
        self.loaded = datetime.now(UTC)
        self.removed = len(set(engine.generation.tombstones))
        self.evaluation = read_evaluation(str(settings.root), engine.name)

    @classmethod
    def open(
        cls,
        settings: Settings,
        featurizer: Featurizer | None = None,
        generation: str | None = None,
    ) -> SearchService:
        """Loads ``generation``, or the published one, and the featurizer that made it.

        Seconds to minutes.  A ``featurizer`` that is at hand is taken where it is the one.
        """
        from featurizer.stored import load_featurizer
        from serving.engine.search import SearchEngine

        root = str(settings.root)
        engine = SearchEngine.open(root, settings.cache_dir, generation, progress=True)
        fingerprint = engine.generation.featurizer.fingerprint
        try:
            if featurizer is None or featurizer.spec.fingerprint != fingerprint:
                featurizer = load_featurizer(root, fingerprint)
            return cls(settings, engine, featurizer)
        except BaseException:
            engine.close()
            raise

    def close(self) -> None:
        self.pictures.close()
        self.engine.close()

    # ---- pictures to search by ------------------------------------------------------------------

    @cached_property
    def _raster_options(self) -> RasterOptions | None:
        return shared_raster_options(self.engine)

    def prepare(self, uploads: Sequence[Upload]) -> list[Any]:
        """Each picture as the featurizer takes it; ImageRefusedError for the first that is bad."""
        from featurizer.decode import DecodeLimits

        settings = self.settings
        limits = DecodeLimits(settings.max_upload_pixels, settings.max_upload_bytes)
        options = self._raster_options if uploads else None
        found = []
        for upload in uploads:
            deadline.check()
            found.append(prepared(upload, self.featurizer, limits, options))
        return found

    def vectors_of(self, uploads: Sequence[Upload], embedded: Sequence[Vector]) -> list[Vector]:
        """What the model gave for each picture, checked and rounded as its text is."""
        spec = self.featurizer.spec
        return [checked(one, vector, spec) for one, vector in zip(uploads, embedded, strict=True)]

    # ---- searches -------------------------------------------------------------------------------

    def question(self, asked: Asked[AnyAsk], vectors: Sequence[Vector]) -> Question:
        """The examples with their vectors; ``vectors``: of the uploads, from ``vectors_of``."""
        return question_of(asked, vectors, self.engine)

    def effort(self, ask: Ask) -> Effort:
        return effort_of(ask, self.engine.generation.index.nprobe)

    def select(self, asked: FilterIn | None) -> Selection | None:
        """The rows that a filter leaves; None without one."""
        return None if asked is None else self.engine.select(filter_of(asked))

    def plan(self, ask: Ask) -> Plan:
        """A whole search understood, pictures in base64 embedded here."""
        asked = asked_of(ask)
        check_limits([asked], self.settings)
        vectors: list[Vector] = []
        if asked.uploads:
            embedded = self.featurizer.forward_together(self.prepare(asked.uploads))
            vectors = self.vectors_of(asked.uploads, list(embedded))
        return self.understood(asked, vectors)

    def understood(self, asked: Asked[AnyAsk], vectors: Sequence[Vector]) -> Plan:
        """A whole search understood; ``vectors``: of its uploads, from ``vectors_of``."""
        ask = asked.ask
        return Plan(
            question=self.question(asked, vectors),
            effort=self.effort(ask),
            within=self.select(ask.filter),
            shape=shape_of(ask.shape),
            min_score=ask.min_score,
        )

    # ---- tiles and counts -----------------------------------------------------------------------

    def tile(self, tile_id: str) -> tuple[int, Tile]:
        """The row id and record of a tile; UnknownTileError for any other text."""
        row = self.engine.row_of(tile_id)
        return row, self.engine.tiles([row])[0]

    def sample(self, size: int, seed: int) -> Json:
        """``size`` tiles (fewer in a smaller archive) drawn at random, the same for a seed."""
        rows = self.engine.sample(size, seed)
        return {"tiles": [tile_dict(tile) for tile in self.engine.tiles(rows)]}

    def nearby(self, tile_id: str, limit: int) -> Json:
        """The fields of ``NearbyOut``; UnknownTileError."""
        row, tile = self.tile(tile_id)
        same_place, adjacent = self.engine.nearby(row, limit)
        tiles = [tile_dict(one) for one in self.engine.tiles([*same_place, *adjacent])]
        middle = len(same_place)
        return {
            "tile": tile_dict(tile),
            "same_place": tiles[:middle],
            "adjacent": tiles[middle:],
        }

    def facets(self, asked: FacetsRequest) -> Json:
        """The fields of ``FacetsOut``."""
        found = self.engine.facets(self.select(asked.filter), asked.max_labels)
        return facets_dict(found, self.engine.name)
