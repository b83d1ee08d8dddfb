"""The Python client against a real server."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.client import ApiError, Client, Embedding, TileId, UnreachableError, example
from serving.models.requests import FilterIn, SearchRequest
from tests.serving.gallery import Gallery


@pytest.fixture
def archive(client: httpx.Client) -> Iterator[Client]:
    with Client(str(client.base_url)) as made:
        yield made


def picture_of(gallery: Gallery) -> Path:
    return gallery.pictures / "class0" / "picture0.png"


def test_every_kind_of_example_finds_the_same_picture(archive: Client, gallery: Gallery) -> None:
    path = picture_of(gallery)
    tile = archive.tile(str(path))
    (embedded,) = archive.embed([path]).embeddings
    kinds = [path, str(path), path.read_bytes(), TileId(tile.tile_id), tile, embedded]
    kinds += [Embedding(embedded.embedding), np.asarray(embedded.vector), embedded.vector]
    for kind in kinds:
        found = archive.search([kind], k=3)
        assert found.hits[0].tile_id == tile.tile_id
        assert found.hits[0].distance < 1e-3


def test_refinement_keeps_every_earlier_example(archive: Client, gallery: Gallery) -> None:
    first = archive.search([picture_of(gallery)], k=8)
    second = archive.refine(first, more=[first.hits[2]], less=[first.hits[7]], k=8)
    third = archive.refine(second, more=[second.hits[3]], strategy="best", k=8)
    assert [one.kind for one in third.query.positive] == ["embedding", "tile", "tile"]
    assert [one.tile_id for one in third.query.negative] == [first.hits[7].tile_id]
    assert third.query.strategy == "best"
    assert third.hits[0].tile_id in {str(picture_of(gallery)), first.hits[2].tile_id}


def test_pages_join_to_the_whole_order(archive: Client, gallery: Gallery) -> None:
    request = SearchRequest(positive=[example(picture_of(gallery))], k=7, exact=True)
    pages = list(archive.pages(request))
    ids = [hit.tile_id for page in pages for hit in page.hits]
    assert len(ids) == len(set(ids)) == archive.stats().rows
    assert [hit.rank for page in pages for hit in page.hits] == list(range(1, len(ids) + 1))
    assert ids == [
        hit.tile_id for hit in archive.search([picture_of(gallery)], k=100, exact=True).hits
    ]


def test_filters_and_facets_agree(archive: Client) -> None:
    everything = archive.facets()
    for entry in everything.labels:
        wanted = FilterIn(labels=[entry.label])
        assert archive.facets(wanted).matching == entry.count
        found = archive.search([archive.sample(1)[0]], k=100, filter=wanted)
        assert len(found.hits) == entry.count == found.matching
        assert {hit.label for hit in found.hits} == {entry.label}


def test_a_batch_answers_in_order(archive: Client) -> None:
    tiles = archive.sample(3)
    asked = [SearchRequest(positive=[example(tile)], k=2) for tile in tiles]
    answers = archive.search_batch(asked)
    assert [answer.hits[0].tile_id for answer in answers] == [tile.tile_id for tile in tiles]


@pytest.mark.parametrize("ending", ["csv", "geojson", "parquet", "zip"])
def test_exports_are_written_whole(archive: Client, tmp_path: Path, ending: str) -> None:
    found = archive.search([archive.sample(1)[0]])
    place = archive.export(tmp_path / f"found.{ending}", search=found, limit=5)
    assert place.stat().st_size > 100
    assert list(tmp_path.iterdir()) == [place]


def test_a_refused_export_leaves_nothing(archive: Client, tmp_path: Path) -> None:
    with pytest.raises(ApiError) as caught:
        archive.export(tmp_path / "found.csv", tile_ids=["no such tile"])
    assert caught.value.slug == "unknown-tile"
    assert not list(tmp_path.iterdir())


def test_pictures_and_neighbours(archive: Client, gallery: Gallery) -> None:
    tile_id = f"{gallery.pictures / 'scene.tif'}#0,0,96,96"
    pixels = Image.open(io.BytesIO(archive.picture(tile_id, 48)))
    assert pixels.size == (48, 48)
    around = {tile.tile_id.rsplit("#")[-1] for tile in archive.nearby(tile_id).adjacent}
    assert around == {"96,0,96,96", "0,96,96,96", "96,96,96,96"}


def test_a_refusal_carries_the_problem(archive: Client) -> None:
    with pytest.raises(ApiError, match="404") as caught:
        archive.tile("no such tile")
    assert (caught.value.status, caught.value.slug) == (404, "unknown-tile")


def test_an_absent_server_is_said_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        Client(f"http://127.0.0.1:{port}") as nobody,
        pytest.raises(UnreachableError, match="python -m serving run"),
    ):
        nobody.stats()


def test_the_client_needs_no_heavy_library() -> None:
    heavy = ("faiss", "torch", "fastapi", "apache_beam", "pyarrow")
    code = f"import serving.client, sys; sys.exit(any(name in sys.modules for name in {heavy}))"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
