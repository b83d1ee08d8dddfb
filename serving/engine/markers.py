"""What the shards' markers say of how their scenes were read; each is read when first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from featurizer import shards, storage
from featurizer.errors import ContractError
from featurizer.manifest import Generation
from featurizer.pixels import Stretch


@dataclass(frozen=True, slots=True)
class _Marker:
    tiling: dict[str, Any]
    stretches: dict[str, Stretch]
    rasters: frozenset[str]  # uris that the raster reader read, not the image decoder


class Markers:
    """Stretches and tiling of a generation's shards; the last few markers are kept."""

    def __init__(self, root: str, generation: Generation) -> None:
        self._root, self._shards = root, generation.shards
        self._marker = lru_cache(maxsize=16)(self._read)

    def _read(self, shard: int) -> _Marker:
        expected = self._shards[shard]
        record = shards.read_record(self._root, expected.name)
        if record.files[shards.VECTORS].sha256 != expected.vectors:
            place = storage.join(shards.directory(self._root, expected.name), shards.MARKER)
            raise ContractError(
                f"{place}: not the shard that this generation was made of: its vectors have "
                "another checksum; publish a generation of the shards as they are now"
            )
        stretches = {
            str(item["uri"]): Stretch(tuple(item["stretch"]["low"]), tuple(item["stretch"]["high"]))
            for item in record.inputs
            if item.get("stretch") is not None
        }
        rasters = frozenset(str(i["uri"]) for i in record.inputs if i.get("kind") != "image")
        return _Marker(dict(record.tiling), stretches, rasters)

    def stretch(self, shard: int, uri: str) -> Stretch | None:
        """The stretch recorded for a scene of the shard; None where it was 8-bit already."""
        return self._marker(shard).stretches.get(uri)

    def is_raster(self, shard: int, uri: str) -> bool:
        """Whether the raster reader read it when the archive was made."""
        return uri in self._marker(shard).rasters

    def tiling(self, shard: int) -> dict[str, Any]:
        return dict(self._marker(shard).tiling)
