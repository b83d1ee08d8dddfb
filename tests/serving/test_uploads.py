"""Searches by uploaded pictures: every good kind, and every way to be refused."""

from __future__ import annotations

import base64
import io
import logging
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from featurizer.schema import Row
from serving.app import create_app
from serving.settings import Settings
from tests.serving.gallery import Gallery, encoded, texture
from tests.serving.problems import problem_of
from tests.serving.server import running, wait_until_ready

CORRUPT = Path(__file__).parents[3] / "shared" / "data" / "corrupt"


def upload(client: httpx.Client, *files: tuple[str, bytes], **fields: Any) -> httpx.Response:
    parts = [("image", (name, data)) for name, data in files]
    return client.post("/v1/search", files=parts, data=fields)


def test_every_indexed_file_finds_itself_first(client: httpx.Client, gallery: Gallery) -> None:
    for row in gallery.archive.rows:
        if row.window is not None:
            continue
        answer = upload(client, ("query", Path(row.uri).read_bytes()), k=1)
        result = answer.json()
        (example,) = result["query"]["positive"]
        assert (example["kind"], example["name"], example["tile_id"]) == ("image", "query", None)
        assert result["hits"][0]["tile_id"] == row.uri
        assert result["hits"][0]["distance"] < 1e-3


def test_several_images_are_examples_of_one_search(client: httpx.Client, gallery: Gallery) -> None:
    uris = [row.uri for row in gallery.archive.rows[:4]]
    files = [(f"q{i}", Path(uri).read_bytes()) for i, uri in enumerate(uris)]
    answer = upload(client, *files, k=4, strategy="best").json()
    assert [one["name"] for one in answer["query"]["positive"]] == ["q0", "q1", "q2", "q3"]
    assert sorted(hit["tile_id"] for hit in answer["hits"]) == sorted(uris)
    assert all(hit["distance"] < 1e-3 for hit in answer["hits"])


def test_fields_beside_the_image_are_heeded(client: httpx.Client, gallery: Gallery) -> None:
    data = Path(gallery.archive.rows[0].uri).read_bytes()
    answer = upload(client, ("a", data), k="5", nprobe="", exact="true", min_score="-1")
    assert len(answer.json()["hits"]) == 5


def test_a_short_form_goes_before_the_query(client: httpx.Client, gallery: Gallery) -> None:
    data = Path(gallery.archive.rows[0].uri).read_bytes()
    query = '{"k": 9, "filter": {"labels": ["class1"]}, "exact": true}'
    answer = upload(client, ("a", data), query=query, k="3").json()
    assert len(answer["hits"]) == 3 and {hit["label"] for hit in answer["hits"]} == {"class1"}


def test_many_clients_uploads_each_get_their_own_answer(
    client: httpx.Client, gallery: Gallery
) -> None:
    rows = [row for row in gallery.archive.rows if row.window is None]

    def first_hit(row: Row) -> str:
        answer = upload(client, ("a", Path(row.uri).read_bytes()), k=1)
        return str(answer.json()["hits"][0]["tile_id"])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(first_hit, rows * 3)) == [row.uri for row in rows * 3]


GOOD: list[tuple[str, str, dict[str, Any]]] = [
    ("RGB", "JPEG", {}),
    ("L", "JPEG", {}),
    ("CMYK", "JPEG", {}),
    ("RGB", "JPEG", {"progressive": True}),
    ("RGB", "PNG", {}),
    ("RGBA", "PNG", {}),
    ("P", "PNG", {}),
    ("1", "PNG", {}),
    ("LA", "PNG", {}),
    ("RGB", "TIFF", {}),
    ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    ("1", "TIFF", {}),
    ("RGB", "WEBP", {}),
    ("RGB", "BMP", {}),
    ("P", "GIF", {}),
]


@pytest.mark.parametrize(("mode", "kind", "options"), GOOD)
def test_a_good_kind_is_answered(
    client: httpx.Client, mode: str, kind: str, options: dict[str, Any]
) -> None:
    sink = io.BytesIO()
    Image.fromarray(texture(3)).convert(mode).save(sink, kind, **options)
    answer = upload(client, (f"picture.{kind.lower()}", sink.getvalue()))
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["hits"]) == 10


def test_sixteen_bits_are_answered(client: httpx.Client) -> None:
    sink = io.BytesIO()
    Image.fromarray(texture(3)[:, :, 0].astype(np.uint16) * 200).save(sink, "PNG")
    assert upload(client, ("deep.png", sink.getvalue())).status_code == 200


class TestBadImages:
    def refused(self, client: httpx.Client, name: str, data: bytes) -> dict[str, Any]:
        good = ("good.png", encoded(texture(1)))
        problem = problem_of(upload(client, good, (name, data)), 422, "bad-image")
        assert problem["file"] == name and problem["detail"].startswith(f"{name}: ")
        assert ";" in problem["detail"], "a remedy follows the reason"
        return problem

    def test_an_empty_file(self, client: httpx.Client) -> None:
        assert self.refused(client, "empty.png", b"")["reason"] == "empty"

    def test_a_text_file(self, client: httpx.Client) -> None:
        problem = self.refused(client, "letter.jpg", b"Dear archive, please find this place. " * 9)
        assert problem["reason"] == "unknown-format"

    def test_an_image_cut_short(self, client: httpx.Client) -> None:
        data = encoded(texture(1), "JPEG")
        assert self.refused(client, "cut.jpg", data[: len(data) // 2])["reason"] == "corrupt"

    def test_more_pixels_than_allowed_however_few_bytes(self, client: httpx.Client) -> None:
        sink = io.BytesIO()
        Image.new("RGB", (1001, 1000)).save(sink, "PNG")
        assert self.refused(client, "bomb.png", sink.getvalue())["reason"] == "too-large"

    def test_real_damaged_files_never_cost_the_server(self, client: httpx.Client) -> None:
        if not CORRUPT.is_dir():
            pytest.skip(f"no {CORRUPT}: the folder of damaged files is not on this machine")
        files = sorted(path for path in CORRUPT.rglob("*") if path.is_file())[::6]
        for path in files:
            data = path.read_bytes()
            answer = upload(client, (path.name, data))
            assert answer.status_code in (200, 413, 422), (path.name, answer.text)
        assert client.get("/healthz").status_code == 200


class TestBadForms:
    def test_no_image(self, client: httpx.Client) -> None:
        answer = client.post("/v1/search", data={"k": "3"}, files=[("k2", (None, b"x"))])
        assert answer.status_code == 422
        boundary = {"Content-Type": "multipart/form-data; boundary=x"}
        empty = client.post("/v1/search", content=b"--x--\r\n", headers=boundary)
        assert "image" in problem_of(empty, 422, "bad-query")["detail"]

    def test_a_file_in_another_field(self, client: httpx.Client) -> None:
        answer = client.post("/v1/search", files={"file": ("a.png", encoded(texture(1)))})
        problem = problem_of(answer, 422, "bad-query")
        assert "'file'" in problem["detail"] and "`image`" in problem["detail"]

    @pytest.mark.parametrize("query", ["{", "[]", '{"k": "3"}', '{"positive": [{}]}'])
    def test_a_wrong_query(self, client: httpx.Client, query: str) -> None:
        problem_of(upload(client, ("a.png", encoded(texture(1))), query=query), 422, "bad-request")

    def test_a_negative_image_alone(self, client: httpx.Client) -> None:
        files = {"negative_image": ("a.png", encoded(texture(1)))}
        problem_of(client.post("/v1/search", files=files), 422, "bad-query")

    def test_a_field_given_twice(self, client: httpx.Client) -> None:
        files = {"image": ("a.png", encoded(texture(1)))}
        answer = client.post("/v1/search", files=files, data={"k": ["3", "4"]})
        assert "'k'" in problem_of(answer, 422, "bad-query")["detail"]

    @pytest.mark.parametrize("charset", ["utf-16", "unicode_escape", "idna", "hex", "nonsense"])
    def test_texts_that_may_be_none_in_another_charset(
        self, client: httpx.Client, charset: str
    ) -> None:
        kind = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
        answer = client.post("/v1/search", content=b"--x--\r\n", headers=kind)
        assert charset in problem_of(answer, 415, "unsupported-body")["detail"]

    def test_text_in_the_images_field(self, client: httpx.Client) -> None:
        answer = client.post("/v1/search", files={"image": (None, b"http://example.org/a.png")})
        problem_of(answer, 422, "bad-query")

    @pytest.mark.parametrize(
        "fields",
        [
            {"k": "0"},
            {"k": "x"},
            {"exact": "maybe"},
            {"nprobe": "-1"},
            {"kk": "3"},
            {"min_score": "nan"},
            {"positive": "x"},
        ],
    )
    def test_a_wrong_field_is_named(self, client: httpx.Client, fields: dict[str, str]) -> None:
        answer = upload(client, ("a.png", encoded(texture(1))), **fields)
        problem = problem_of(answer, 422, "bad-request")
        assert problem["errors"][0]["field"] == next(iter(fields))

    def test_too_many_images(self, client: httpx.Client) -> None:
        image = ("a.png", encoded(texture(1, 16)))
        assert upload(client, *[image] * 4, k=1).status_code == 200
        problem = problem_of(upload(client, *[image] * 5), 413, "too-large")
        assert "4" in problem["detail"]

    def test_one_image_of_too_many_bytes(self, client: httpx.Client) -> None:
        answer = upload(client, ("fat.png", b"x" * 400_001))
        assert "fat.png" in problem_of(answer, 413, "too-large")["detail"]

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("multipart/form-data", b"anything"),
            ("multipart/form-data; boundary=x", b"not a multipart body"),
            (
                "multipart/form-data; boundary=x",
                b"--x\r\nContent-Type: image/png\r\n\r\nzz\r\n--x--",
            ),
        ],
    )
    def test_a_broken_envelope(self, client: httpx.Client, kind: str, body: bytes) -> None:
        answer = client.post("/v1/search", content=body, headers={"Content-Type": kind})
        problem_of(answer, 422, "bad-query")


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_a_client_that_leaves_is_no_error(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    head = f"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    left_before = figure(client, "4xx")
    failed_before = figure(client, "5xx")
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as caller:
        caller.sendall(f"{head}Content-Length: 1000\r\n\r\n--x\r\n".encode())
        time.sleep(0.1)
    end = time.monotonic() + 10
    while figure(client, "4xx") == left_before:
        assert time.monotonic() < end, "the request that was left has not ended"
        time.sleep(0.02)
    assert figure(client, "5xx") == failed_before
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def figure(client: httpx.Client, status: str) -> float:
    """How many searches were answered with such a status."""
    name = "worldsift_request_seconds_count"
    labels = f'{{method="POST",route="/v1/search",status="{status}"}}'
    lines = client.get("/metrics").text.splitlines()
    found = [line.split()[-1] for line in lines if line.startswith(f"{name}{labels}")]
    return float(found[0]) if found else 0.0


@pytest.fixture(scope="module")
def small(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(
        root=gallery.root,
        cache_dir=tmp_path_factory.mktemp("cache"),
        max_upload_bytes=50_000,
        max_images=2,
        max_json_bytes=100_000,
    )
    with running(create_app(settings)) as address, httpx.Client(base_url=address) as client:
        wait_until_ready(client)
        yield client


class TestBodyLimits:
    """Bodies are read no further than what the server takes, announced or not."""

    def test_json(self, small: httpx.Client) -> None:
        kind = {"Content-Type": "application/json"}
        for path in ("/v1/search", "/v1/search/batch", "/v1/facets"):
            announced = small.post(path, content=b" " * 100_001, headers=kind)
            problem_of(announced, 413, "too-large")
            chunks = (b" " * 10_000 for _ in range(100))
            problem_of(small.post(path, content=chunks, headers=kind), 413, "too-large")

    def test_a_form(self, small: httpx.Client) -> None:
        two = [("image", ("a.png", b"x" * 50_000))] * 2
        problem_of(small.post("/v1/search", files=two), 422, "bad-image")
        fat = {"image": ("fat.png", b"x" * 50_001)}
        assert (
            "fat.png" in problem_of(small.post("/v1/search", files=fat), 413, "too-large")["detail"]
        )
        huge = {"image": ("huge.png", b"x" * 3_000_000)}
        problem_of(small.post("/v1/search", files=huge), 413, "too-large")
        problem_of(small.post("/v1/embed", files=huge), 413, "too-large")

    def test_a_picture_in_base64(self, small: httpx.Client) -> None:
        text = base64.b64encode(b"x" * 50_001).decode()
        answer = small.post("/v1/search", json={"positive": [{"image": text}]})
        assert "positive[0]" in problem_of(answer, 413, "too-large")["detail"]
