"""Uploaded rasters, read as the archive's own rasters were."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from featurizer.bands import RasterOptions
from featurizer.decode import DecodeLimits
from featurizer.errors import PixelError
from serving.embedding import Upload, prepared
from serving.failures import ImageRefusedError
from serving.thumbnails import shared_raster_options
from tests.serving.gallery import Gallery, encoded, texture


class TestArchivesOptions:
    """A raster that is uploaded is read by the bands and scale that the archive was read by."""

    LIMITS = DecodeLimits(max_pixels=10_000)

    def shown(self, featurizer: Any, data: bytes, options: RasterOptions | None) -> np.ndarray:
        return np.asarray(prepared(Upload("a", data), featurizer, self.LIMITS, options))

    def test_bands_and_scale(self, gallery: Gallery) -> None:
        values = np.random.default_rng(0).integers(0, 4000, (5, 40, 60)).astype(np.uint16)
        data = geotiff(values)
        options = RasterOptions(bands=(5, 3, 1), scale=(0.0, 3000.0))
        found = self.shown(gallery.featurizer, data, options)
        scaled = np.rint(np.clip(values[[4, 2, 0]] / 3000, 0, 1) * 255).astype(np.uint8)
        expected = np.asarray(gallery.featurizer.preprocess([scaled.transpose(1, 2, 0)]))
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
        plain = self.shown(gallery.featurizer, data, None)
        assert np.abs(found.astype(int) - plain.astype(int)).mean() > 10

    def test_pictures_without_those_bands_are_shown_as_they_are(self, gallery: Gallery) -> None:
        options = RasterOptions(bands=(5, 3, 1))
        rgb = texture(4, 64)
        for data in (encoded(rgb), encoded(rgb, "TIFF")):
            found = self.shown(gallery.featurizer, data, options)
            np.testing.assert_array_equal(found, gallery.featurizer.preprocess([rgb]))

    @pytest.mark.parametrize(
        ("tilings", "expected"),
        [
            ([{"bands": [4, 3, 2], "scale": [0, 3000]}] * 3, RasterOptions((4, 3, 2), (0, 3000))),
            ([{"bands": [4, 3, 2], "scale": "auto"}] * 40, RasterOptions((4, 3, 2))),
            ([{"bands": None, "scale": "auto"}] * 3, None),
            ([{"bands": [1]}, {"bands": [2]}], None),
            ([], None),
        ],
    )
    def test_they_are_the_shards_own_where_all_agree(
        self, tilings: list[dict[str, Any]], expected: RasterOptions | None
    ) -> None:
        # Each shard has ten rows, and an empty one is before it.
        sizes = [rows for _ in tilings for rows in (0, 10)]
        engine: Any = SimpleNamespace(
            generation=SimpleNamespace(shards=[SimpleNamespace(rows=rows) for rows in sizes]),
            tiling_of=lambda row: tilings[row // 10],
        )
        assert shared_raster_options(engine) == expected

    def test_limits_hold(self, gallery: Gallery) -> None:
        data = geotiff(np.zeros((3, 101, 100), np.uint8))
        with pytest.raises(ImageRefusedError, match="101"):
            self.shown(gallery.featurizer, data, RasterOptions(bands=(3, 2, 1)))
        cut = geotiff(np.ones((3, 90, 90), np.uint8))[:2000]
        with pytest.raises(ImageRefusedError) as refusal:
            self.shown(gallery.featurizer, cut, RasterOptions(bands=(3, 2, 1)))
        assert isinstance(refusal.value.__cause__, PixelError)


def geotiff(planes: np.ndarray) -> bytes:
    """(bands, h, w) as a file."""
    bands, height, width = planes.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": bands}
    with rasterio.MemoryFile() as file:
        transform = Affine(0.01, 0.0, 10.0, 0.0, -0.01, 50.0)
        with file.open(
            **profile, dtype=str(planes.dtype), crs="EPSG:4326", transform=transform
        ) as raster:
            raster.write(planes)
        return bytes(file.read())
