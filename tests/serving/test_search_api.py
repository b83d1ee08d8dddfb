"""Searches by tile and by vector, over HTTP, against brute force."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serving.gallery import Gallery
from tests.serving.problems import problem_of


def search(client: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["results"])


def exact_distances(gallery: Gallery, vector: np.ndarray) -> np.ndarray:
    vectors = gallery.archive.vectors.astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return 1 - vectors @ (vector / np.linalg.norm(vector))


class TestByTile:
    def test_every_tile_is_its_own_first_hit(self, client: httpx.Client, gallery: Gallery) -> None:
        for start in range(0, len(gallery.archive.tile_ids), 4):
            ids = gallery.archive.tile_ids[start : start + 4]
            for tile_id, result in zip(ids, search(client, tile_ids=ids, k=3), strict=True):
                assert result["query"] == {"kind": "tile", "name": None, "tile_id": tile_id}
                first = result["hits"][0]
                assert first["tile_id"] == tile_id and first["distance"] < 1e-3

    def test_hits_are_brute_forces_nearest(self, client: httpx.Client, gallery: Gallery) -> None:
        vector = gallery.archive.vectors[5].astype(np.float64)
        expected = np.sort(exact_distances(gallery, vector))[:10]
        (result,) = search(client, tile_ids=[gallery.archive.tile_ids[5]], k=10, exact=True)
        found = [hit["distance"] for hit in result["hits"]]
        np.testing.assert_allclose(found, expected, atol=2e-3)
        assert [hit["rank"] for hit in result["hits"]] == list(range(1, 11))
        for hit in result["hits"]:
            assert hit["score"] == pytest.approx(1 - hit["distance"], abs=1e-6)

    def test_k_beyond_the_archive_gives_all_of_it(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        ids = gallery.archive.tile_ids
        (result,) = search(client, tile_ids=[ids[0]], k=100, exact=True)
        assert sorted(hit["tile_id"] for hit in result["hits"]) == sorted(ids)

    def test_answer_names_generation_metric_and_time(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        answer = client.post("/v1/search", json={"tile_ids": [gallery.archive.tile_ids[0]]}).json()
        assert answer["generation"] == gallery.archive.name and answer["metric"] == "cosine"
        assert 0 < answer["took_ms"] < 60_000

    def test_a_hit_says_what_and_where(self, client: httpx.Client, gallery: Gallery) -> None:
        row = next(row for row in gallery.archive.rows if row.bounds and row.taken)
        (result,) = search(client, tile_ids=[row.uri], k=1)
        hit = result["hits"][0]
        assert hit["bounds"] == list(row.bounds or ())
        assert hit["datetime"].startswith("20") and hit["datetime"].endswith("Z")
        assert hit["label"] == row.label and hit["window"] is None and hit["uri"] == row.uri
        assert client.get(hit["image_url"]).status_code == 200


class TestByVector:
    def test_a_stored_vector_finds_its_tile_whatever_its_length(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        vector = (gallery.archive.vectors[7].astype(np.float64) * 3).tolist()
        (result,) = search(client, vectors=[vector], k=1, nprobe=2)
        assert result["query"] == {"kind": "vector", "name": "0", "tile_id": None}
        assert result["hits"][0]["tile_id"] == gallery.archive.tile_ids[7]
        assert result["hits"][0]["distance"] < 1e-3

    def test_tiles_come_before_vectors(self, client: httpx.Client, gallery: Gallery) -> None:
        vector = gallery.archive.vectors[1].astype(float).tolist()
        results = search(client, vectors=[vector], tile_ids=[gallery.archive.tile_ids[0]], k=1)
        assert [result["query"]["kind"] for result in results] == ["tile", "vector"]


class TestRefusals:
    def test_an_unknown_tile(self, client: httpx.Client) -> None:
        problem = problem_of(
            client.post("/v1/search", json={"tile_ids": ["/etc/passwd"]}), 404, "unknown-tile"
        )
        assert "/etc/passwd" in problem["detail"]

    def test_a_vector_of_another_dimension(self, client: httpx.Client) -> None:
        answer = client.post("/v1/search", json={"vectors": [[1.0, 2.0, 3.0]]})
        problem = problem_of(answer, 422, "bad-query")
        assert "3 numbers" in problem["detail"] and "128" in problem["detail"]

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e300"])
    def test_a_vector_that_is_not_finite(self, client: httpx.Client, value: str) -> None:
        body = f'{{"vectors": [[{", ".join([value] + ["0.5"] * 127)}]]}}'
        answer = client.post(
            "/v1/search", content=body, headers={"Content-Type": "application/json"}
        )
        assert "finite" in problem_of(answer, 422, "bad-query")["detail"]

    def test_a_vector_without_direction(self, client: httpx.Client) -> None:
        problem_of(client.post("/v1/search", json={"vectors": [[0.0] * 128]}), 422, "bad-query")

    def test_k_beyond_the_servers_bound(self, client: httpx.Client, gallery: Gallery) -> None:
        body = {"tile_ids": [gallery.archive.tile_ids[0]], "k": 101}
        problem = problem_of(client.post("/v1/search", json=body), 422, "bad-query")
        assert "101" in problem["detail"] and "100" in problem["detail"]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"tile_ids": ["x"], "k": 0}, "k"),
            ({"tile_ids": ["x"], "k": "many"}, "k"),
            ({"tile_ids": ["x"], "nprobe": 0}, "nprobe"),
            ({"tile_ids": "x"}, "tile_ids"),
            ({"tile_ids": ["x"], "top": 3}, "top"),
            ({"vectors": [["a"]]}, "vectors.0.0"),
            ([], "body"),
        ],
    )
    def test_a_wrong_field_is_named(self, client: httpx.Client, body: Any, field: str) -> None:
        problem = problem_of(client.post("/v1/search", json=body), 422, "bad-request")
        assert problem["errors"][0]["field"] == field

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"null"])
    def test_a_body_that_is_not_json(self, client: httpx.Client, body: bytes) -> None:
        answer = client.post(
            "/v1/search", content=body, headers={"Content-Type": "application/json"}
        )
        problem_of(answer, 422, "bad-request")

    def test_nothing_to_search_by(self, client: httpx.Client) -> None:
        problem_of(
            client.post("/v1/search", json={"tile_ids": [], "vectors": []}), 422, "bad-query"
        )

    def test_more_queries_than_the_server_takes(self, client: httpx.Client) -> None:
        problem_of(client.post("/v1/search", json={"tile_ids": ["x"] * 5}), 413, "too-large")

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_another_content_type(self, client: httpx.Client, kind: str) -> None:
        answer = client.post("/v1/search", content=b"x=1", headers={"Content-Type": kind})
        problem_of(answer, 415, "unsupported-body")

    def test_a_body_beyond_the_limit_is_not_read_to_its_end(self, client: httpx.Client) -> None:
        seen = 0

        def endless() -> Any:
            nonlocal seen
            while seen < 50_000_000:  # sent in chunks, so that no length announces it
                seen += 100_000
                yield b" " * 100_000

        answer = client.post(
            "/v1/search", content=endless(), headers={"Content-Type": "application/json"}
        )
        problem_of(answer, 413, "too-large")
        announced = json.dumps({"tile_ids": ["x" * 2_000_000]})
        problem_of(
            client.post(
                "/v1/search", content=announced, headers={"Content-Type": "application/json"}
            ),
            413,
            "too-large",
        )
