"""Tiles over HTTP: records, pictures against the sources' own pixels, hostile ids."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio import Affine

from featurizer.errors import PixelError
from featurizer.pixels import Stretch, apply_stretch
from featurizer.schema import Row
from featurizer.tiles import Window, tile_id
from serving.app import create_app
from serving.engine.search import Tile
from serving.models.answers import NearbyOut, TileOut
from serving.thumbnails import Pictures, Scenes
from tests.serving.conftest import make_settings
from tests.serving.gallery import Gallery, build_gallery, cut
from tests.serving.problems import problem_of
from tests.serving.server import running, wait_until_ready


def path_of(tile: str, picture: bool = False) -> str:
    return f"/v1/tiles/{quote(tile, safe='')}{'/image' if picture else ''}"


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


class TestRecords:
    def test_every_tile_is_found_by_its_id(self, client: httpx.Client, gallery: Gallery) -> None:
        for row, known in zip(gallery.archive.rows, gallery.archive.tile_ids, strict=True):
            record = client.get(path_of(known)).json()
            assert record["tile_id"] == known == tile_id(row.uri, row.window)
            assert record["uri"] == row.uri and record["label"] == row.label
            assert client.get(record["image_url"]).headers["content-type"] == "image/jpeg"
            small = opened(client.get(record["thumbnail_url"]).content)
            assert max(small.shape) <= 256
            assert TileOut.model_validate(record).model_dump(mode="json") == record

    def test_a_window_and_its_bounds(self, client: httpx.Client, gallery: Gallery) -> None:
        row = gallery.archive.rows[-1]
        record = client.get(path_of(gallery.archive.tile_ids[-1])).json()
        assert record["window"] == {"x": 96, "y": 96, "width": 96, "height": 96}
        assert record["bounds"] == pytest.approx(row.bounds)
        assert record["valid_fraction"] == 1.0

    def test_an_id_may_come_with_its_slashes(self, client: httpx.Client, gallery: Gallery) -> None:
        known = gallery.archive.rows[0].uri
        assert client.get(f"/v1/tiles/{quote(known)}").json()["tile_id"] == known
        assert client.get(f"/v1/tiles/{quote(known)}/image").status_code == 200

    def test_an_id_that_ends_like_a_picture(self, client: httpx.Client, gallery: Gallery) -> None:
        known = next(row.uri for row in gallery.archive.rows if row.uri.endswith("/image"))
        assert client.get(path_of(known)).json()["tile_id"] == known
        assert client.get(path_of(known, True)).headers["content-type"] == "image/jpeg"

    @pytest.mark.parametrize(
        "hostile",
        [
            "/etc/passwd",
            "../../etc/passwd",
            "..%2f..%2fetc%2fpasswd",
            "file:///etc/passwd",
            "http://169.254.169.254/latest/meta-data",
            "/etc/passwd#0,0,10,10",
            "\x00",
            "a" * 5000,
            "#",
            " ",
        ],
    )
    def test_what_is_not_indexed_is_not_opened(self, client: httpx.Client, hostile: str) -> None:
        for picture in (False, True):
            answer = client.get(path_of(hostile, picture))
            problem_of(answer, 404, "unknown-tile")
            assert "root:" not in answer.text

    def test_a_window_of_an_indexed_raster_that_is_no_tile(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        uri = gallery.archive.rows[-1].uri
        problem_of(client.get(path_of(f"{uri}#1,2,96,96", True)), 404, "unknown-tile")


class TestNearby:
    def around(self, client: httpx.Client, tile: str, **query: Any) -> dict[str, Any]:
        answer = client.get(f"{path_of(tile)}/nearby", params=query)
        assert answer.status_code == 200, answer.text
        return NearbyOut.model_validate(answer.json()).model_dump(mode="json")

    def test_windows_of_a_scene_are_side_by_side(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        windows = gallery.archive.tile_ids[-4:]
        for known in windows:
            said = self.around(client, known)
            assert said["tile"]["tile_id"] == known
            adjacent = [tile["tile_id"] for tile in said["adjacent"]]
            assert set(adjacent) == set(windows) - {known}
            assert len(self.around(client, known, limit=1)["adjacent"]) == 1

    def test_a_picture_of_nowhere_has_none(self, client: httpx.Client, gallery: Gallery) -> None:
        said = self.around(client, gallery.archive.tile_ids[0])
        assert said["same_place"] == said["adjacent"] == []

    def test_what_is_refused(self, client: httpx.Client, gallery: Gallery) -> None:
        known = path_of(gallery.archive.tile_ids[0])
        for limit in ("0", "201", "x"):
            problem_of(client.get(f"{known}/nearby?limit={limit}"), 422, "bad-request")
        problem_of(client.get(f"{path_of('nowhere')}/nearby"), 404, "unknown-tile")

    def test_an_id_that_ends_like_it(self, client: httpx.Client) -> None:
        detail = problem_of(client.get(path_of("x/nearby")), 404, "unknown-tile")["detail"]
        assert "'x/nearby'" in detail


class TestSample:
    def test_it_is_random_distinct_and_the_same_for_a_seed(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        def drawn(seed: int) -> list[str]:
            tiles = client.get(f"/v1/tiles?sample=8&seed={seed}").json()["tiles"]
            return [tile["tile_id"] for tile in tiles]

        assert drawn(0) == drawn(0) != drawn(1)
        assert len(set(drawn(0))) == 8 and set(drawn(0)) <= set(gallery.archive.tile_ids)

    def test_a_sample_beyond_the_archive_is_the_archive(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        tiles = client.get("/v1/tiles?sample=200").json()["tiles"]
        assert sorted(t["tile_id"] for t in tiles) == sorted(gallery.archive.tile_ids)


class TestPictures:
    def test_a_window_has_the_rasters_own_pixels(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        for row, known in zip(gallery.archive.rows, gallery.archive.tile_ids, strict=True):
            if row.window is not None:
                answer = client.get(path_of(known, True), params={"format": "png"})
                assert answer.headers["content-type"] == "image/png"
                np.testing.assert_array_equal(opened(answer.content), cut(gallery.scene, row))

    def test_a_whole_picture_has_pillows_pixels(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        for row in gallery.archive.rows:
            if row.window is None:
                answer = client.get(path_of(row.uri, True), params={"format": "png"})
                expected = opened(Path(row.uri).read_bytes())
                np.testing.assert_array_equal(opened(answer.content), expected)

    def test_jpeg_is_close(self, client: httpx.Client, gallery: Gallery) -> None:
        row = gallery.archive.rows[0]
        found = opened(client.get(path_of(row.uri, True)).content).mean(axis=2)
        # Colours are stored at half the resolution; their sum is what must survive.
        assert np.abs(found - opened(Path(row.uri).read_bytes()).mean(axis=2)).mean() < 12

    @pytest.mark.parametrize("size", [8, 50, 191])
    def test_size_bounds_the_longer_side(
        self, client: httpx.Client, gallery: Gallery, size: int
    ) -> None:
        wide = next(row.uri for row in gallery.archive.rows if row.uri.endswith("wide.png"))
        answer = client.get(path_of(wide, True), params={"size": size})
        assert opened(answer.content).shape == (round(96 * size / 192), size, 3)

    def test_a_picture_is_never_enlarged(self, client: httpx.Client, gallery: Gallery) -> None:
        answer = client.get(path_of(gallery.archive.rows[0].uri, True), params={"size": 4096})
        assert opened(answer.content).shape == (96, 96, 3)

    @pytest.mark.parametrize("query", ["size=0", "size=5000", "size=x", "format=gif", "sise=9"])
    def test_a_wrong_wish_is_refused(
        self, client: httpx.Client, gallery: Gallery, query: str
    ) -> None:
        known = gallery.archive.tile_ids[0]
        problem_of(client.get(f"{path_of(known, True)}?{query}"), 422, "bad-request")

    def test_browsers_may_keep_what_names_its_version(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        record = client.get(path_of(gallery.archive.tile_ids[0])).json()
        kept = client.get(record["image_url"])
        assert "immutable" in kept.headers["cache-control"]
        asked = client.get(path_of(gallery.archive.tile_ids[0], True))
        assert "no-cache" in asked.headers["cache-control"]
        tag = {"If-None-Match": asked.headers["etag"]}
        again = client.get(path_of(gallery.archive.tile_ids[0], True), headers=tag)
        assert again.status_code == 304 and again.content == b""
        smaller = client.get(f"{path_of(gallery.archive.tile_ids[0], True)}?size=20", headers=tag)
        assert smaller.status_code == 200


class TestChosenBands:
    """Pictures of a raster of which bands and scale were chosen, against numpy."""

    STRETCH = Stretch((100.0, 0.0, 50.0), (3000.0, 4000.0, 2050.0))

    @pytest.fixture
    def values(self, tmp_path: Path) -> np.ndarray:
        values = np.random.default_rng(0).integers(0, 4000, (40, 60, 5)).astype(np.uint16)
        profile = {"driver": "GTiff", "height": 40, "width": 60, "count": 5, "dtype": "uint16"}
        transform = Affine(0.01, 0.0, 10.0, 0.0, -0.01, 50.0)
        with rasterio.open(
            tmp_path / "deep.tif", "w", crs="EPSG:4326", transform=transform, **profile
        ) as raster:
            raster.write(values.transpose(2, 0, 1))
        return values

    @pytest.mark.parametrize("window", [None, Window(8, 4, 32, 32)])
    def test_they_are_shown_as_they_were_indexed(
        self, tmp_path: Path, values: np.ndarray, window: Window | None
    ) -> None:
        engine: Any = SimpleNamespace(
            is_raster=lambda _: True,
            stretch_of=lambda _: self.STRETCH,
            tiling_of=lambda _: {"bands": [5, 3, 1], "scale": "auto", "tile_px": 32},
        )
        uri = str(tmp_path / "deep.tif")
        tile = Tile(tile_id(uri, window), uri, window, None, None, None, 1.0, "e")
        pictures = Pictures(engine)
        found = opened(pictures.of(0, tile, None, "png").data)
        pictures.close()
        expected = apply_stretch(values[:, :, [4, 2, 0]], self.STRETCH)
        if window is not None:
            expected = expected[4:36, 8:40]
        np.testing.assert_array_equal(found, expected)


class TestScenes:
    def test_two_threads_never_hold_one_scene_and_few_stay_open(self) -> None:
        opened: list[Recorded] = []

        def opener() -> Any:
            opened.append(Recorded())
            return opened[-1]

        scenes = Scenes(kept=2)
        with scenes.lent("a", opener) as first, scenes.lent("a", opener) as second:
            assert first is not second
        with scenes.lent("a", opener) as again:
            assert again is first  # the last given back
        for key in ("b", "c"):
            with scenes.lent(key, opener):
                pass
        assert len(opened) == 4
        assert sum(not scene.closed for scene in opened) == 2
        scenes.close()
        assert all(scene.closed for scene in opened)

    def test_a_scene_that_failed_is_not_lent_again(self) -> None:
        scenes, failing = Scenes(), Recorded()
        opener: Any = lambda: failing  # noqa: E731
        with pytest.raises(PixelError), scenes.lent("a", opener):
            raise PixelError("corrupt", "half a block")
        assert failing.closed

    def test_many_threads_get_right_pixels(self, client: httpx.Client, gallery: Gallery) -> None:
        windows = [row for row in gallery.archive.rows if row.window]

        def fetched(row: Row) -> np.ndarray:
            known = path_of(tile_id(row.uri, row.window), True)
            return opened(client.get(known, params={"format": "png"}).content)

        with ThreadPoolExecutor(8) as pool:
            asked = windows * 8
            for row, pixels in zip(asked, pool.map(fetched, asked), strict=True):
                np.testing.assert_array_equal(pixels, cut(gallery.scene, row))


class Recorded:
    """Stands for a raster; says whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class TestGoneSources:
    @pytest.fixture
    def losing(self, tmp_path: Path) -> Iterator[tuple[httpx.Client, Gallery]]:
        gallery = build_gallery(tmp_path)
        settings = make_settings(gallery.root, tmp_path / "cache")
        with running(create_app(settings)) as address, httpx.Client(base_url=address) as client:
            wait_until_ready(client)
            yield client, gallery

    def test_searching_goes_on_and_pictures_say_so(
        self, losing: tuple[httpx.Client, Gallery]
    ) -> None:
        client, gallery = losing
        whole, window = gallery.archive.tile_ids[0], gallery.archive.tile_ids[-1]
        Path(gallery.archive.rows[1].uri).write_bytes(b"overwritten with something else")
        changed = gallery.archive.tile_ids[1]
        Path(whole).unlink()
        Path(gallery.archive.rows[-1].uri).unlink()
        for known in (whole, window, changed):
            problem = problem_of(client.get(path_of(known, True)), 410, "source-gone")
            assert known.split("#")[0] in problem["detail"]
            assert client.get(path_of(known)).status_code == 200
        shutil.rmtree(gallery.pictures)
        answer = client.post("/v1/search", json={"positive": [{"tile_id": whole}], "k": 5})
        assert len(answer.json()["hits"]) == 5
