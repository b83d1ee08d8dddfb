"""Pages of a search: one order, refused cursors, the least score, and the bounds of it all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.app import create_app
from serving.query.cursor import Cursor, decode, encode
from tests.serving.archive import republish
from tests.serving.atlas import ROWS, Atlas, served_atlas
from tests.serving.conftest import make_settings
from tests.serving.gallery import Gallery, build_gallery
from tests.serving.problems import problem_of
from tests.serving.server import running, wait_until_ready

MAX_RESULTS = 200


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    with served_atlas(tmp_path_factory.mktemp("atlas"), max_results=MAX_RESULTS) as made:
        yield made


def pages(atlas: Atlas, **body: Any) -> list[dict[str, Any]]:
    """All pages of a search, each asked for with the cursor of the one before."""
    found = [atlas.search(**body)]
    while found[-1]["cursor"] is not None:
        assert len(found) < 100
        found.append(atlas.search(**body, cursor=found[-1]["cursor"]))
    return found


SEARCHES: list[dict[str, Any]] = [
    {"positive": [5]},
    {"positive": [5], "exact": True},
    {"positive": [5], "quality": "fast"},
    {"positive": [5, 17], "negative": [], "strategy": "best"},
    {"positive": [5, 30]},
    {"positive": [5], "include_examples": False},
    {"positive": [5], "filter": {"labels": ["ice"]}},
    {"positive": [5], "min_score": 0.3},
    {"positive": [5], "shape": {"max_overlap": 0.2}},
    {"positive": [5], "shape": {"diversity": 0.4}},
]


@pytest.mark.parametrize("body", SEARCHES, ids=str)
@pytest.mark.parametrize("k", [7, 40])
def test_pages_are_one_order_without_repeats(atlas: Atlas, body: dict[str, Any], k: int) -> None:
    found = pages(atlas, **body, k=k)
    hits = [hit for page in found for hit in page["hits"]]
    ids = [hit["tile_id"] for hit in hits]
    assert len(ids) == len(set(ids)) <= MAX_RESULTS
    assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))
    assert all(len(page["hits"]) == k for page in found[:-1])
    repeated = pages(atlas, **body, k=k)
    assert [page["hits"] for page in repeated] == [page["hits"] for page in found]


def test_exact_pages_are_brute_forces_order(atlas: Atlas) -> None:
    hits = [hit for page in pages(atlas, positive=[8], k=33, exact=True) for hit in page["hits"]]
    similar = sorted((atlas.units @ atlas.units[8]).tolist(), reverse=True)
    assert [hit["score"] for hit in hits] == pytest.approx(similar[:MAX_RESULTS], abs=1e-4)


def test_the_next_page_may_be_of_another_length(atlas: Atlas) -> None:
    first = atlas.search(positive=[1], k=5, exact=True)
    second = atlas.search(positive=[1], k=50, exact=True, cursor=first["cursor"])
    assert second["hits"][0]["rank"] == 6 and len(second["hits"]) == 50
    assert not {h["tile_id"] for h in first["hits"]} & {h["tile_id"] for h in second["hits"]}


def test_all_above_a_score_are_found(atlas: Atlas) -> None:
    similar = atlas.units @ atlas.units[12]
    least = float(sorted(similar)[-60]) - 1e-4
    found = pages(atlas, positive=[12], min_score=least, k=25, exact=True)
    ids = {hit["tile_id"] for page in found for hit in page["hits"]}
    assert ids == {atlas.ids[row] for row in range(ROWS) if similar[row] >= least}


def test_the_last_page_has_no_cursor(atlas: Atlas) -> None:
    found = pages(atlas, positive=[0], filter={"uri_prefix": "/imagery/south/scene9"}, k=3)
    assert sum(len(page["hits"]) for page in found) == found[0]["matching"] > 3
    assert atlas.search(positive=[0], k=MAX_RESULTS)["cursor"] is None


class TestRefusals:
    def refused(self, atlas: Atlas, status: int, slug: str, **body: Any) -> dict[str, Any]:
        body = {"positive": [{"tile_id": atlas.ids[0]}], "k": 10, **body}
        return problem_of(atlas.client.post("/v1/search", json=body), status, slug)

    def test_a_cursor_of_another_search(self, atlas: Atlas) -> None:
        cursor = atlas.search(positive=[0], k=10)["cursor"]
        assert atlas.search(positive=[0], k=10, cursor=cursor)["hits"][0]["rank"] == 11
        others: list[dict[str, Any]] = [
            {"positive": [{"tile_id": atlas.ids[1]}]},
            {"positive": [{"tile_id": atlas.ids[0], "weight": 2}]},
            {"negative": [{"tile_id": atlas.ids[1]}]},
            {"filter": {"labels": ["ice"]}},
            {"shape": {"diversity": 0.5}},
            {"min_score": 0.1},
            {"exact": True},
            {"nprobe": 3},
            {"quality": "high"},
            {"strategy": "best"},
            {"negative_weight": 0.4},
            {"include_examples": False},
        ]
        for other in others:
            assert (
                "another search"
                in self.refused(atlas, 422, "bad-query", **other, cursor=cursor)["detail"]
            )

    @pytest.mark.parametrize("text", ["", "x", "c1.", "c1.AAAA", "c1." + "A" * 5000, "\x00", "é"])
    def test_a_damaged_cursor(self, atlas: Atlas, text: str) -> None:
        assert "damaged" in self.refused(atlas, 422, "bad-query", cursor=text)["detail"]

    def test_a_forged_cursor_reaches_no_further_than_the_server(self, atlas: Atlas) -> None:
        cursor = decode(atlas.search(positive=[0], k=10)["cursor"])
        for offset, first_k in ((MAX_RESULTS, 10), (10**18, 10), (10, 10**15)):
            forged = encode(Cursor(cursor.generation, offset, first_k, cursor.digest))
            self.refused(atlas, 422, "bad-query", cursor=forged)


def test_a_search_by_an_upload_goes_on_by_its_text(client: httpx.Client, gallery: Gallery) -> None:
    data = Path(gallery.archive.rows[6].uri).read_bytes()
    whole = client.post("/v1/search", files={"image": ("a", data)}, data={"k": 25}).json()
    first = client.post("/v1/search", files={"image": ("a", data)}, data={"k": 5}).json()
    text, cursor = first["query"]["positive"][0]["embedding"], first["cursor"]
    body = {"positive": [{"embedding": text}], "k": 20, "cursor": cursor}
    by_text = client.post("/v1/search", json=body).json()
    fields = {"k": 20, "cursor": cursor}
    by_file = client.post("/v1/search", files={"image": ("a", data)}, data=fields).json()
    assert by_text["hits"] == by_file["hits"]
    ids = {hit["tile_id"] for hit in (*first["hits"], *by_text["hits"])}
    assert len(ids) == 25 == len(whole["hits"])


def test_a_cursor_of_another_generation_is_stale(tmp_path: Path) -> None:
    gallery = build_gallery(tmp_path)
    body = {"positive": [{"tile_id": gallery.archive.tile_ids[0]}], "k": 5}
    cache = tmp_path / "cache"
    with (
        running(create_app(make_settings(gallery.root, cache))) as address,
        httpx.Client(base_url=address) as client,
    ):
        wait_until_ready(client)
        cursor = client.post("/v1/search", json=body).json()["cursor"]
        following = client.post("/v1/search", json={**body, "cursor": cursor}).json()
        assert following["hits"][0]["rank"] == 6
    published = republish(gallery.archive, tombstones=(3,))
    with (
        running(create_app(make_settings(gallery.root, cache))) as address,
        httpx.Client(base_url=address) as client,
    ):
        wait_until_ready(client)
        answer = client.post("/v1/search", json={**body, "cursor": cursor})
        detail = problem_of(answer, 409, "stale-cursor")["detail"]
        assert gallery.archive.name in detail and published.name in detail
