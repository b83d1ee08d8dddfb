"""Searches by uploaded pictures: every good kind, and every way to be refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.serving.gallery import Gallery, encoded, texture
from tests.serving.problems import problem_of

CORRUPT = Path(__file__).parents[3] / "shared" / "data" / "corrupt"


def upload(client: httpx.Client, *files: tuple[str, bytes], **fields: Any) -> httpx.Response:
    parts = [("image", (name, data)) for name, data in files]
    return client.post("/v1/search", files=parts, data=fields)


def test_every_indexed_file_finds_itself_first(client: httpx.Client, gallery: Gallery) -> None:
    for row in gallery.archive.rows:
        if row.window is not None:
            continue
        answer = upload(client, ("query", Path(row.uri).read_bytes()), k=1)
        (result,) = answer.json()["results"]
        assert result["query"] == {"kind": "image", "name": "query", "tile_id": None}
        assert result["hits"][0]["tile_id"] == row.uri
        assert result["hits"][0]["distance"] < 1e-3


def test_several_images_are_answered_in_order(client: httpx.Client, gallery: Gallery) -> None:
    uris = [row.uri for row in gallery.archive.rows[:4]]
    answer = upload(client, *((f"q{i}", Path(u).read_bytes()) for i, u in enumerate(uris)), k=2)
    results = answer.json()["results"]
    assert [result["query"]["name"] for result in results] == ["q0", "q1", "q2", "q3"]
    assert [result["hits"][0]["tile_id"] for result in results] == uris
    assert all(len(result["hits"]) == 2 for result in results)


def test_fields_beside_the_image_are_heeded(client: httpx.Client, gallery: Gallery) -> None:
    data = Path(gallery.archive.rows[0].uri).read_bytes()
    answer = upload(client, ("a", data), k="5", nprobe="", exact="true")
    assert len(answer.json()["results"][0]["hits"]) == 5


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
    assert len(answer.json()["results"][0]["hits"]) == 10


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

    def test_text_in_the_images_field(self, client: httpx.Client) -> None:
        answer = client.post("/v1/search", files={"image": (None, b"http://example.org/a.png")})
        problem_of(answer, 422, "bad-query")

    @pytest.mark.parametrize(
        "fields", [{"k": "0"}, {"k": "x"}, {"exact": "maybe"}, {"nprobe": "-1"}, {"kk": "3"}]
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

    def test_a_body_of_too_many_bytes(self, client: httpx.Client) -> None:
        problem_of(upload(client, ("huge.png", b"x" * 2_000_000)), 413, "too-large")

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
        assert answer.status_code in (400, 422)
        assert answer.headers["content-type"] == "application/problem+json"
