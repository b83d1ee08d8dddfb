"""A folder of pictures and a mosaic, two commands, and the answers of the server over HTTP."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio import Affine

from tests.pipeline.runs import OPTIONS, REPOSITORY, run, write_pictures
from tests.serving.gallery import texture

STARTS_WITHIN_S = 120
SIDE, STRIDE = 64, 32
MOSAIC_PX = (256, 192)  # width, height


@dataclass(frozen=True, slots=True)
class Site:
    """A running server over an archive that the command made."""

    client: httpx.Client
    pictures: list[Path]
    mosaic: Path
    pixels: np.ndarray  # (h, w, 3) uint8, what the mosaic holds
    record: dict[str, Any]

    def search(self, **options: Any) -> list[dict[str, Any]]:
        """The hits of one search, by upload (``image``) or by tile (``tile_id``)."""
        image = options.pop("image", None)
        if image is None:
            positive = [{"tile_id": options.pop("tile_id")}]
            answer = self.client.post("/v1/search", json={"positive": positive, **options})
        else:
            answer = self.client.post(
                "/v1/search", files={"image": ("query.png", image)}, data=options
            )
        assert answer.status_code == 200, answer.text
        return list(answer.json()["hits"])

    def picture(self, tile_id: str) -> np.ndarray:
        answer = self.client.get(f"/v1/tiles/{quote(tile_id, safe='')}/image?format=png")
        assert answer.status_code == 200, answer.text
        return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def write_mosaic(path: Path) -> np.ndarray:
    """A georeferenced mosaic whose right quarter is null; its pixels."""
    width, height = MOSAIC_PX
    parts = [texture(70 + i, height)[:, :64] for i in range(3)]
    pixels = np.concatenate([*parts, np.zeros((height, 64, 3), np.uint8)], axis=1)
    pixels[:, :192] = pixels[:, :192].clip(1)  # 0 is null
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 3, "dtype": "uint8"}
    transform = Affine(0.01, 0.0, 10.0, 0.0, -0.01, 50.0)
    with rasterio.open(
        path, "w", crs="EPSG:4326", transform=transform, nodata=0, **profile
    ) as raster:
        raster.write(pixels.transpose(2, 0, 1))
    return pixels


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    pictures = write_pictures(folder / "imagery", 24)
    mosaic = folder / "imagery" / "scenes" / "mosaic.tif"
    mosaic.parent.mkdir()
    pixels = write_mosaic(mosaic)
    tiles = ("--tile-px", str(SIDE), "--stride-px", str(STRIDE))
    record = run("index", folder / "imagery", folder / "archive", *OPTIONS, *tiles).record
    with (
        served(folder / "archive", folder / "cache") as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        wait_until_ready(client)
        yield Site(client, pictures, mosaic, pixels, record)


class served:
    """``python -m serving run`` on a free port; its address."""

    def __init__(self, root: Path, cache: Path) -> None:
        self._command = [sys.executable, "-m", "serving", "run", str(root)]
        self._command += ["--port", "0", "--cache-dir", str(cache)]

    def __enter__(self) -> str:
        kept = {name: value for name, value in os.environ.items() if "WORLDSIFT" not in name}
        self._process = subprocess.Popen(
            self._command,
            cwd=REPOSITORY,
            env=kept,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = []
        for line in self._process.stderr:
            said.append(line)
            if found := re.fullmatch(r"Search page: (http://127\.0\.0\.1:\d+)/\n", line):
                return found[1]
        raise AssertionError("".join(said))

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        out, err = self._process.communicate(timeout=60)
        assert out == ""
        assert "Traceback" not in err


def wait_until_ready(client: httpx.Client) -> None:
    end = time.monotonic() + STARTS_WITHIN_S
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < end, "the archive did not load"
        time.sleep(0.05)


def window_of(hit: dict[str, Any]) -> tuple[slice, slice]:
    window = hit["window"]
    x, y = window["x"], window["y"]
    return slice(y, y + window["height"]), slice(x, x + window["width"])


def test_the_archive_holds_pictures_and_windows(site: Site) -> None:
    # Windows start at 0, 32, ... 192 across and 0, 32, ... 128 down; those whose left edge is at
    # 192 are all null and dropped, those at 160 are half null and kept.
    across, down = 6, 5
    assert site.record["embed"]["dropped_null"] == down
    assert site.record["rows"] == len(site.pictures) + across * down
    stats = site.client.get("/v1/stats").json()
    assert stats["rows"] == site.record["rows"]
    assert stats["generation"] == site.record["generation"]


def test_every_picture_uploaded_finds_itself(site: Site) -> None:
    for path in site.pictures:
        first = site.search(image=path.read_bytes(), k=3)[0]
        assert first["uri"] == str(path)
        assert first["distance"] < 1e-3
        assert (first["rank"], first["label"], first["window"]) == (1, path.parent.name, None)


def test_every_tile_finds_itself(site: Site) -> None:
    tiles = site.client.get("/v1/tiles", params={"sample": 60, "seed": 1}).json()["tiles"]
    assert len(tiles) == site.record["rows"]
    for tile in tiles:
        for exact in (False, True):
            hits = site.search(tile_id=tile["tile_id"], k=60, exact=exact)
            distances = [hit["distance"] for hit in hits]
            assert distances == sorted(distances)
            assert hits[0]["tile_id"] == tile["tile_id"]
            assert hits[0]["distance"] < 1e-3
            if exact:
                assert len(hits) == len(tiles)


def test_a_window_shows_the_pixels_that_were_cut(site: Site) -> None:
    tiles = site.client.get("/v1/tiles", params={"sample": 60}).json()["tiles"]
    windows = [tile for tile in tiles if tile["window"] is not None]
    assert len(windows) == 30
    for tile in windows:
        np.testing.assert_array_equal(site.picture(tile["tile_id"]), site.pixels[window_of(tile)])
        assert tile["uri"] == str(site.mosaic)
        window = tile["window"]
        assert tile["tile_id"].endswith(f"#{window['x']},{window['y']},{SIDE},{SIDE}")


def test_a_window_cut_by_hand_and_uploaded_finds_its_place(site: Site) -> None:
    for x, y in ((0, 0), (96, 64), (128, 128)):
        sink = io.BytesIO()
        Image.fromarray(site.pixels[y : y + SIDE, x : x + SIDE]).save(sink, "PNG")
        first = site.search(image=sink.getvalue(), k=1)[0]
        assert first["tile_id"] == f"{site.mosaic}#{x},{y},{SIDE},{SIDE}"
        assert first["distance"] < 1e-3
        west, south, east, north = first["bounds"]
        expected = (10 + 0.01 * x, 50 - 0.01 * (y + SIDE), 10 + 0.01 * (x + SIDE), 50 - 0.01 * y)
        np.testing.assert_allclose((west, south, east, north), expected, atol=1e-6)


def test_pictures_are_shown_as_they_are(site: Site) -> None:
    for path in site.pictures[:3]:
        np.testing.assert_array_equal(site.picture(str(path)), np.asarray(Image.open(path)))


def test_windows_of_the_mosaic_lie_side_by_side(site: Site) -> None:
    name = quote(f"{site.mosaic}#0,0,{SIDE},{SIDE}", safe="")
    beside = site.client.get(f"/v1/tiles/{name}/nearby").json()["adjacent"]
    starts = {(tile["window"]["x"], tile["window"]["y"]) for tile in beside}
    assert {(STRIDE, 0), (0, STRIDE), (SIDE, 0)} <= starts
    assert all(x <= SIDE and y <= SIDE for x, y in starts) and (0, 0) not in starts


def test_the_page_is_there_or_says_how_it_is_made(site: Site) -> None:
    answer = site.client.get("/")
    assert answer.status_code == 200 or "make web" in answer.text
    assert answer.headers["content-type"].startswith("text/html")
