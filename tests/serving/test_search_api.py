"""Searches by tile, by vector and by embedding, over HTTP, against brute force."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from serving.models.answers import BatchResponse, SearchResponse
from serving.query import embedding_text
from tests.serving.gallery import Gallery
from tests.serving.problems import problem_of

JSON = {"Content-Type": "application/json"}


def search(client: httpx.Client, positive: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/search", json={"positive": [positive], **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def exact_distances(gallery: Gallery, vector: np.ndarray) -> np.ndarray:
    vectors = gallery.archive.vectors.astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return 1 - vectors @ (vector / np.linalg.norm(vector))


class TestByTile:
    def test_every_tile_is_its_own_first_hit(self, client: httpx.Client, gallery: Gallery) -> None:
        for tile_id in gallery.archive.tile_ids:
            answer = search(client, {"tile_id": tile_id}, k=3)
            assert answer["query"] == {
                "strategy": "mean",
                "negative_weight": 0.5,
                "positive": [
                    {
                        "kind": "tile",
                        "name": None,
                        "tile_id": tile_id,
                        "embedding": None,
                        "weight": 1.0,
                    }
                ],
                "negative": [],
            }
            first = answer["hits"][0]
            assert first["tile_id"] == tile_id and first["distance"] < 1e-3

    def test_hits_are_brute_forces_nearest(self, client: httpx.Client, gallery: Gallery) -> None:
        vector = gallery.archive.vectors[5].astype(np.float64)
        expected = np.sort(exact_distances(gallery, vector))[:10]
        hits = search(client, {"tile_id": gallery.archive.tile_ids[5]}, k=10, exact=True)["hits"]
        np.testing.assert_allclose([hit["distance"] for hit in hits], expected, atol=2e-3)
        assert [hit["rank"] for hit in hits] == list(range(1, 11))
        for hit in hits:
            assert hit["score"] == pytest.approx(1 - hit["distance"], abs=2e-6)

    def test_k_beyond_the_archive_gives_all_of_it(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        ids = gallery.archive.tile_ids
        answer = search(client, {"tile_id": ids[0]}, k=100, exact=True)
        assert sorted(hit["tile_id"] for hit in answer["hits"]) == sorted(ids)
        assert answer["cursor"] is None and answer["matching"] is None

    def test_answer_names_generation_metric_and_time(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        answer = search(client, {"tile_id": gallery.archive.tile_ids[0]})
        assert answer["generation"] == gallery.archive.name and answer["metric"] == "cosine"
        assert 0 < answer["took_ms"] < 60_000

    def test_a_hit_says_what_and_where(self, client: httpx.Client, gallery: Gallery) -> None:
        row = next(row for row in gallery.archive.rows if row.bounds and row.taken)
        hit = search(client, {"tile_id": row.uri}, k=1)["hits"][0]
        assert hit["bounds"] == list(row.bounds or ())
        assert hit["datetime"] == f"{row.taken:%Y-%m-%dT%H:%M:%SZ}"
        assert hit["label"] == row.label and hit["window"] is None and hit["uri"] == row.uri
        assert hit["worldview_url"].endswith(f"&t={row.taken:%Y-%m-%d}")
        for url in (hit["image_url"], hit["thumbnail_url"]):
            picture = client.get(url)
            assert picture.status_code == 200 and "immutable" in picture.headers["cache-control"]

    @pytest.mark.parametrize("quality", ["fast", "balanced", "high"])
    def test_every_quality_answers(
        self, client: httpx.Client, gallery: Gallery, quality: str
    ) -> None:
        tile_id = gallery.archive.tile_ids[2]
        hits = search(client, {"tile_id": tile_id}, k=5, quality=quality)["hits"]
        assert hits[0]["tile_id"] == tile_id


class TestWireForm:
    """Answers are written without the models, and must be what the models say."""

    BODIES: tuple[dict[str, Any], ...] = (
        {"k": 27},
        {"k": 27, "exact": True, "strategy": "best"},
        {"k": 5, "filter": {"labels": ["class0"]}},
        {"k": 5, "shape": {"duplicate_distance": 0.5}},
        {"k": 5, "min_score": -2},
    )

    @pytest.mark.parametrize("body", BODIES, ids=str)
    def test_a_search(self, client: httpx.Client, gallery: Gallery, body: dict[str, Any]) -> None:
        vector = gallery.archive.vectors[1].astype(float).tolist()
        asked = {"positive": [{"vector": vector}], **body}
        data = client.post("/v1/search", json=asked).content
        model = SearchResponse.model_validate_json(data, strict=True)
        assert model.model_dump(mode="json") == json.loads(data)

    def test_a_batch(self, client: httpx.Client, gallery: Gallery) -> None:
        examples = [{"tile_id": one} for one in gallery.archive.tile_ids[:5]]
        searches = [{"positive": [one], **body} for one in examples for body in self.BODIES[:3]]
        data = client.post("/v1/search/batch", json={"searches": searches}).content
        model = BatchResponse.model_validate_json(data, strict=True)
        assert model.model_dump(mode="json") == json.loads(data)


class TestByNumbers:
    def test_a_stored_vector_finds_its_tile_whatever_its_length(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        vector = (gallery.archive.vectors[7].astype(np.float64) * 3).tolist()
        answer = search(client, {"vector": vector}, k=1, nprobe=2)
        assert answer["query"]["positive"][0]["kind"] == "vector"
        assert answer["hits"][0]["tile_id"] == gallery.archive.tile_ids[7]
        assert answer["hits"][0]["distance"] < 1e-3

    def test_an_embedding_is_its_vector(self, client: httpx.Client, gallery: Gallery) -> None:
        vector = gallery.archive.vectors[7].astype(np.float32)
        text = embedding_text.to_text(vector, gallery.featurizer.spec.fingerprint)
        by_text = search(client, {"embedding": text}, k=9)
        assert by_text["hits"] == search(client, {"vector": vector.tolist()}, k=9)["hits"]


def test_searches_at_the_same_time_get_the_answers_that_they_get_alone(
    client: httpx.Client, gallery: Gallery
) -> None:
    bodies: list[dict[str, Any]] = [
        {"positive": [{"tile_id": tile_id}], "k": k, "quality": quality}
        for tile_id in gallery.archive.tile_ids
        for k in (1, 3, 27)
        for quality in ("fast", "balanced")
    ]

    def asked(body: dict[str, Any]) -> Any:
        answer = client.post("/v1/search", json=body)
        assert answer.status_code == 200, answer.text
        return {**answer.json(), "took_ms": None}

    alone = [asked(body) for body in bodies]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(asked, bodies)) == alone


class TestBatch:
    def test_each_answer_is_that_of_the_search_alone(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        ids = gallery.archive.tile_ids
        searches: list[dict[str, Any]] = [{"positive": [{"tile_id": one}], "k": 4} for one in ids]
        searches[3]["filter"] = {"labels": ["class1"]}
        searches[5] = {"positive": [{"tile_id": ids[0]}, {"tile_id": ids[1]}], "k": 7}
        searches[8]["quality"] = "high"
        results = client.post("/v1/search/batch", json={"searches": searches}).json()["results"]
        assert len(results) == len(ids)
        for asked, result in zip(searches, results, strict=True):
            alone = client.post("/v1/search", json=asked).json()
            for part in ("hits", "cursor", "query", "matching", "generation"):
                assert result[part] == alone[part]

    def test_one_that_is_refused_is_named(self, client: httpx.Client, gallery: Gallery) -> None:
        good = {"positive": [{"tile_id": gallery.archive.tile_ids[0]}]}
        body = {"searches": [good, {"positive": [{"tile_id": "nowhere"}]}]}
        problem = problem_of(client.post("/v1/search/batch", json=body), 404, "unknown-tile")
        assert "searches[1]" in problem["detail"] and "nowhere" in problem["detail"]

    def test_more_than_the_server_takes(self, client: httpx.Client) -> None:
        one = {"positive": [{"tile_id": "x"}]}
        answer = client.post("/v1/search/batch", json={"searches": [one] * 65})
        assert "65" in problem_of(answer, 413, "too-large")["detail"]
        problem_of(client.post("/v1/search/batch", json={"searches": []}), 422, "bad-request")


def refused(client: httpx.Client, status: int, slug: str, **body: Any) -> dict[str, Any]:
    return problem_of(client.post("/v1/search", json=body), status, slug)


class TestRefusals:
    def test_an_unknown_tile(self, client: httpx.Client) -> None:
        problem = refused(client, 404, "unknown-tile", positive=[{"tile_id": "/etc/passwd"}])
        assert "/etc/passwd" in problem["detail"]

    @pytest.mark.parametrize("tile_id", ["", "\x00", "#", "\u2028", "a" * 100_000, "😀#1,2,3,4"])
    def test_odd_ids_are_unknown(self, client: httpx.Client, tile_id: str) -> None:
        refused(client, 404, "unknown-tile", positive=[{"tile_id": tile_id}])

    def test_a_vector_of_another_dimension(self, client: httpx.Client) -> None:
        problem = refused(client, 422, "bad-query", positive=[{"vector": [1.0, 2.0, 3.0]}])
        assert "3 numbers" in problem["detail"] and "128" in problem["detail"]

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e300", "1e999"])
    def test_a_vector_that_is_not_finite(self, client: httpx.Client, value: str) -> None:
        numbers = ", ".join([value] + ["0.5"] * 127)
        body = f'{{"positive": [{{"vector": [{numbers}]}}]}}'
        answer = client.post("/v1/search", content=body, headers=JSON)
        slug = "bad-query" if value == "1e300" else "bad-request"
        assert "finite" in problem_of(answer, 422, slug)["detail"]

    def test_a_vector_without_direction(self, client: httpx.Client) -> None:
        refused(client, 422, "bad-query", positive=[{"vector": [0.0] * 128}])

    @pytest.mark.parametrize("text", ["", "x", "e1.", "e1.AAAA", "é", "\x00"])
    def test_a_damaged_embedding(self, client: httpx.Client, text: str) -> None:
        problem = refused(client, 422, "bad-query", positive=[{"embedding": text}])
        assert "damaged" in problem["detail"]

    def test_an_embedding_of_another_featurizer(self, client: httpx.Client) -> None:
        text = embedding_text.to_text(np.ones(128, np.float32), "0123456789abcdef0123")
        problem = refused(client, 422, "bad-query", positive=[{"embedding": text}])
        assert "0123456789abcdef" in problem["detail"]

    @pytest.mark.parametrize("text", ["", "!!", "data:image/png;base64,AAAA", "abc"])
    def test_what_is_not_base64(self, client: httpx.Client, text: str) -> None:
        problem = refused(client, 422, "bad-image", positive=[{"image": text}])
        assert problem["file"] == "positive[0]"

    def test_k_beyond_the_servers_bound(self, client: httpx.Client, gallery: Gallery) -> None:
        example = {"tile_id": gallery.archive.tile_ids[0]}
        problem = refused(client, 422, "bad-query", positive=[example], k=101)
        assert "101" in problem["detail"] and "100" in problem["detail"]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"k": 0}, "k"),
            ({"k": "many"}, "k"),
            ({"k": "5"}, "k"),
            ({"k": 1.5}, "k"),
            ({"k": True}, "k"),
            ({"k": 10**40}, "k"),
            ({"nprobe": 0}, "nprobe"),
            ({"nprobe": 10**12}, "nprobe"),
            ({"quality": "best"}, "quality"),
            ({"strategy": "median"}, "strategy"),
            ({"negative_weight": -1}, "negative_weight"),
            ({"positive": "x"}, "positive"),
            ({"positive": []}, "positive"),
            ({"positive": [{}]}, "positive.0"),
            ({"positive": [{"tile_id": "x", "vector": [1]}]}, "positive.0"),
            ({"positive": [{"tile_id": "x", "weight": 0}]}, "positive.0.weight"),
            ({"positive": [{"vector": ["a"]}]}, "positive.0.vector.0"),
            ({"top": 3}, "top"),
            ({"shape": {"max_overlap": 1}}, "shape.max_overlap"),
            ({"shape": {"diversity": 2}}, "shape.diversity"),
        ],
        ids=str,
    )
    def test_a_wrong_field_is_named(
        self, client: httpx.Client, change: dict[str, Any], field: str
    ) -> None:
        problem = refused(client, 422, "bad-request", **{"positive": [{"tile_id": "x"}], **change})
        assert problem["errors"][0]["field"] == field

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff\xfe",
            b"null",
            b"[]",
            b"[" * 100_000,
            b'{"positive": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
            b'{"positive": [{"tile_id": "\\ud800"}]}',
            b'{"positive": [{"tile_id": "x"}], "k": ' + b"9" * 10_000 + b"}",
            b'{"positive": [{"tile_id": "x"}], "min_score": NaN}',
            b'{"positive": [{"tile_id": "x", "weight": Infinity}]}',
        ],
        ids=lambda body: repr(body[:40]),
    )
    def test_a_body_that_is_no_search(self, client: httpx.Client, body: bytes) -> None:
        answer = client.post("/v1/search", content=body, headers=JSON)
        problem_of(answer, 422, "bad-request")

    def test_more_examples_than_the_server_takes(self, client: httpx.Client) -> None:
        refused(client, 413, "too-large", positive=[{"tile_id": "x"}] * 257)

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_another_content_type(self, client: httpx.Client, kind: str) -> None:
        answer = client.post("/v1/search", content=b"x=1", headers={"Content-Type": kind})
        problem_of(answer, 415, "unsupported-body")

    def test_a_compressed_body(self, client: httpx.Client) -> None:
        headers = {**JSON, "Content-Encoding": "gzip"}
        answer = client.post("/v1/search", content=b"\x1f\x8b", headers=headers)
        assert "gzip" in problem_of(answer, 415, "unsupported-body")["detail"]
