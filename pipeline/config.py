"""What a job was asked to do, as frozen records; ``options.py`` makes them of arguments."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

from featurizer.bands import RasterOptions
from featurizer.errors import UsageError
from pipeline.tiling import TilingOptions

TileMode = Literal["auto", "always", "never"]
LabelRule = Literal["parent", "top", "none"]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Where the imagery is and how names become labels and large pictures become tiles."""

    uri: str
    tile: TileMode = "auto"
    labels: LabelRule = "parent"
    tiling: TilingOptions = TilingOptions()  # noqa: RUF009 - frozen
    raster: RasterOptions = RasterOptions()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class EmbedJob:
    """All that a worker needs to make shards; travels to it as it is."""

    source: SourceOptions
    root: str
    featurizer: str
    shard_rows: int = 4096
    batch: int = 64
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_reject_share: float = 0.1
    progress_port: int | None = None

    def __post_init__(self) -> None:
        if self.shard_rows < 1 or self.batch < 1 or self.threads < 1:
            raise UsageError("--shard-rows, --batch and --threads must be at least 1")
        if not 0 <= self.max_reject_share <= 1:
            raise UsageError(f"--max-reject-share {self.max_reject_share}: a share is 0 to 1")

    @property
    def settings(self) -> str:
        """What changes a shard's bytes besides its inputs, in a fixed form for its name."""
        record = {**self.tiling_record, "featurizer": self.featurizer, "batch": self.batch}
        return json.dumps(record, sort_keys=True)

    @property
    def tiling_record(self) -> dict[str, object]:
        """What ``shard.json`` says of tiling, bands and scale."""
        return {**asdict(self.source.tiling), **asdict(self.source.raster)}


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """Where a Beam job runs: this machine with N processes, or whatever ``beam_flags`` say."""

    workers: int = 1
    beam_flags: tuple[str, ...] = ()
    progress: bool = True

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"--workers {self.workers}: must be at least 1")
