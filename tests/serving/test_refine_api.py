"""Several examples, liked and disliked, over HTTP, against the formulas in numpy."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.serving.atlas import Atlas, served_atlas
from tests.serving.gallery import Gallery
from tests.serving.problems import problem_of


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    with served_atlas(tmp_path_factory.mktemp("atlas")) as made:
        yield made


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))


def scores_of(answer: dict[str, Any]) -> list[float]:
    return [hit["score"] for hit in answer["hits"]]


class TestMean:
    def test_scores_are_rocchios(self, atlas: Atlas) -> None:
        positive = [
            {"tile_id": atlas.ids[4], "weight": 3},
            {"vector": atlas.archive.vectors[9].astype(float).tolist()},
        ]
        negative = [{"tile_id": atlas.ids[20], "weight": 2}, {"tile_id": atlas.ids[21]}]
        answer = atlas.search(
            positive=positive, negative=negative, negative_weight=0.7, k=30, exact=True
        )
        liked = (3 * atlas.units[4] + atlas.units[9]) / 4
        disliked = (2 * atlas.units[20] + atlas.units[21]) / 3
        similar = np.sort(atlas.units @ unit(liked - 0.7 * disliked))[::-1]
        assert scores_of(answer) == pytest.approx(similar[:30], abs=2e-4)
        for hit in answer["hits"]:
            assert hit["score"] == pytest.approx(1 - hit["distance"], abs=2e-6)
        assert [one["weight"] for one in answer["query"]["negative"]] == [2, 1]

    def test_opposed_examples_are_refused(self, atlas: Atlas) -> None:
        vector = atlas.archive.vectors[0].astype(float)
        body = {"positive": [{"vector": vector.tolist()}, {"vector": (-vector).tolist()}]}
        problem_of(atlas.client.post("/v1/search", json=body), 422, "bad-query")


class TestBest:
    def test_scores_are_of_the_best_example_less_what_a_negative_has_more(
        self, atlas: Atlas
    ) -> None:
        liked, disliked = [1, 14, 200], [33, 40]
        answer = atlas.search(
            positive=liked,
            negative=[{"tile_id": atlas.ids[one]} for one in disliked],
            strategy="best",
            k=40,
            exact=True,
        )
        p = (atlas.units @ atlas.units[liked].T).max(axis=1)
        n = (atlas.units @ atlas.units[disliked].T).max(axis=1)
        expected = np.sort(p - np.maximum(0, n - p))[::-1][:40]
        assert scores_of(answer) == pytest.approx(expected, abs=2e-4)


class TestExamplesAsHits:
    def test_they_may_be_left_out(self, atlas: Atlas) -> None:
        body = {"positive": [2], "negative": [{"tile_id": atlas.ids[14]}], "k": 600}
        found = atlas.found(**body, exact=True, include_examples=False)
        assert len(found) == 598 and not {2, 14} & set(found)

    def test_a_lone_one_is_its_own_first_hit(self, atlas: Atlas) -> None:
        for row in range(0, 600, 37):
            assert atlas.found(positive=[row], k=2)[0] == row


class TestUploadsAreKept:
    """A picture that was sent once goes on by the text that came back for it."""

    def test_the_text_finds_what_the_file_found(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        data = Path(gallery.archive.rows[3].uri).read_bytes()
        first = client.post("/v1/search", files={"image": ("a.png", data)}, data={"k": 20}).json()
        (example,) = first["query"]["positive"]
        assert example["kind"] == "image" and example["name"] == "a.png"
        again = client.post(
            "/v1/search", json={"positive": [{"embedding": example["embedding"]}], "k": 20}
        ).json()
        assert again["hits"] == first["hits"]
        (kept,) = again["query"]["positive"]
        assert kept == {**example, "kind": "embedding", "name": None}

    def test_base64_in_json_is_the_same_picture(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        data = Path(gallery.archive.rows[3].uri).read_bytes()
        by_file = client.post("/v1/search", files={"image": ("a.png", data)}, data={"k": 9}).json()
        text = base64.b64encode(data).decode()
        by_text = client.post("/v1/search", json={"positive": [{"image": text}], "k": 9}).json()
        assert by_text["hits"] == by_file["hits"]
        assert by_text["query"]["positive"][0]["name"] == "positive[0]"

    def test_three_steps_keep_the_first_picture(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        data = Path(gallery.archive.rows[0].uri).read_bytes()
        answer = client.post("/v1/search", files={"image": ("a.png", data)}).json()
        first = answer["query"]["positive"][0]["embedding"]
        liked: list[dict[str, Any]] = [{"embedding": first}]
        disliked: list[dict[str, Any]] = []
        for _ in range(3):
            liked.append({"tile_id": answer["hits"][2]["tile_id"]})
            disliked.append({"tile_id": answer["hits"][-1]["tile_id"]})
            body = {"positive": liked, "negative": disliked, "strategy": "best"}
            response = client.post("/v1/search", json=body)
            assert response.status_code == 200, response.text
            answer = response.json()
        assert answer["query"]["positive"][0]["embedding"] == first
        assert len(answer["query"]["positive"]) == 4 and len(answer["query"]["negative"]) == 3

    def test_files_join_the_examples_of_the_query(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        ids = gallery.archive.tile_ids
        files = [
            ("image", ("liked.png", Path(gallery.archive.rows[1].uri).read_bytes())),
            ("negative_image", ("not.png", Path(gallery.archive.rows[2].uri).read_bytes())),
        ]
        query = json.dumps({"positive": [{"tile_id": ids[0]}], "k": 3, "strategy": "best"})
        answer = client.post("/v1/search", files=files, data={"query": query, "k": "5"}).json()
        assert [one["kind"] for one in answer["query"]["positive"]] == ["tile", "image"]
        assert [one["name"] for one in answer["query"]["negative"]] == ["not.png"]
        assert answer["query"]["strategy"] == "best" and len(answer["hits"]) == 5
        assert {hit["tile_id"] for hit in answer["hits"][:2]} == {ids[0], ids[1]}


class TestEmbed:
    def test_vectors_texts_and_searches_agree(self, client: httpx.Client, gallery: Gallery) -> None:
        rows = gallery.archive.rows[:3]
        files = [("image", (f"{n}.png", Path(row.uri).read_bytes())) for n, row in enumerate(rows)]
        said = client.post("/v1/embed", files=files).json()
        spec = gallery.featurizer.spec
        assert (said["featurizer"], said["dim"]) == (spec.fingerprint, spec.dim)
        assert [one["name"] for one in said["embeddings"]] == ["0.png", "1.png", "2.png"]
        for number, one in enumerate(said["embeddings"]):
            stored = gallery.archive.vectors[number].astype(np.float64)
            assert one["vector"] == pytest.approx(stored, abs=1e-3)
            by_vector = {"positive": [{"vector": one["vector"]}], "k": 5}
            by_text = {"positive": [{"embedding": one["embedding"]}], "k": 5}
            hits = [client.post("/v1/search", json=b).json()["hits"] for b in (by_vector, by_text)]
            assert hits[0] == hits[1]

    def test_a_vectors_text_asks_the_same(self, atlas: Atlas) -> None:
        vector = (atlas.archive.vectors[5].astype(np.float64) * 1e6).tolist()
        answer = atlas.search(positive=[{"vector": vector}], k=10)
        text = answer["query"]["positive"][0]["embedding"]
        again = atlas.search(positive=[{"embedding": text}], k=10)
        assert scores_of(again) == pytest.approx(scores_of(answer), abs=1e-3)
        assert again["hits"][0]["tile_id"] == atlas.ids[5]

    def test_nothing_else_is_taken(self, client: httpx.Client) -> None:
        problem_of(client.post("/v1/embed", json={"image": "x"}), 415, "unsupported-body")
        problem_of(client.post("/v1/embed", files={"file": b"x"}), 422, "bad-query")
        boundary = {"Content-Type": "multipart/form-data; boundary=x"}
        none = client.post("/v1/embed", content=b"--x--\r\n", headers=boundary)
        problem_of(none, 422, "bad-query")
        both = client.post("/v1/embed", files={"image": b"x"}, data={"k": "3"})
        problem_of(both, 422, "bad-query")


class TestShapes:
    def test_neighbouring_windows_fold_into_the_best(self, atlas: Atlas) -> None:
        # Windows of 128 px every 64 px: neighbours share half of their area.
        answer = atlas.search(positive=[6], k=300, exact=True, shape={"max_overlap": 0.25})
        windows: dict[str, list[int]] = {}
        for hit in answer["hits"]:
            windows.setdefault(hit["uri"], []).append(hit["window"]["x"])
        for starts in windows.values():
            assert all(abs(a - b) >= 128 for a in starts for b in starts if a != b)
        folded = [name for hit in answer["hits"] for name in hit["folded"]]
        shown = {hit["tile_id"] for hit in answer["hits"]}
        assert folded and not shown & set(folded) and len(folded) == len(set(folded))

    def test_near_duplicates_fold(self, atlas: Atlas) -> None:
        answer = atlas.search(positive=[0], k=5, exact=True, shape={"duplicate_distance": 0.3})
        kept = [atlas.ids.index(hit["tile_id"]) for hit in answer["hits"]]
        distances = 1 - atlas.units[kept] @ atlas.units[kept].T
        assert (distances[~np.eye(len(kept), dtype=bool)] > 0.3 - 1e-3).all()

    def test_diversity_brings_in_what_is_different(self, atlas: Atlas) -> None:
        def spread(**shape: float) -> float:
            found = atlas.found(positive=[0], k=10, exact=True, shape=shape)
            return float((1 - atlas.units[found] @ atlas.units[found].T).mean())

        assert spread(diversity=0.7) > spread(diversity=0.0)
