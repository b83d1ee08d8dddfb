"""``POST /v1/export`` of a real server: what is written, what is refused, how it breaks off."""

from __future__ import annotations

import csv
import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas
import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from featurizer.errors import StorageError
from serving.app import create_app
from serving.export import order
from serving.settings import Settings
from tests.serving.archive import republish
from tests.serving.conftest import make_settings
from tests.serving.gallery import Gallery, cut, decoded_files, file_rows, publish
from tests.serving.problems import problem_of
from tests.serving.server import running, wait_until_ready

TIMEOUT_S = 30
AT_ONCE = 4


def export(client: httpx.Client, **asked: Any) -> httpx.Response:
    return client.post("/v1/export", json=asked)


def csv_of(response: httpx.Response) -> list[dict[str, str]]:
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


def frame_of(response: httpx.Response) -> geopandas.GeoDataFrame:
    assert response.status_code == 200, response.text
    return geopandas.read_parquet(io.BytesIO(response.content))


# ---- what is written ----------------------------------------------------------------------------


def test_a_search_is_exported_in_its_own_order(client: httpx.Client, gallery: Gallery) -> None:
    examples = [{"tile_id": gallery.archive.tile_ids[3]}, {"tile_id": gallery.archive.tile_ids[5]}]
    ask = {"positive": examples[:1], "negative": examples[1:]}
    hits = client.post("/v1/search", json={**ask, "k": 20}).json()["hits"]
    answer = export(client, format="csv", search=ask, limit=20)
    rows = csv_of(answer)
    assert [row["tile_id"] for row in rows] == [hit["tile_id"] for hit in hits]
    assert [float(row["score"]) for row in rows] == [hit["score"] for hit in hits]
    assert [float(row["distance"]) for row in rows] == [hit["distance"] for hit in hits]
    assert [int(row["rank"]) for row in rows] == list(range(1, 21))
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["x-worldsift-generation"] == gallery.archive.name
    name = f"archive-{gallery.archive.name}-search.csv"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


def test_a_search_that_ends_by_score(client: httpx.Client, gallery: Gallery) -> None:
    ask: dict[str, Any] = {"positive": [{"tile_id": gallery.archive.tile_ids[0]}]}
    scores = [float(r["score"]) for r in csv_of(export(client, format="csv", search=ask))]
    assert len(scores) == len(gallery.archive.rows)
    least = scores[4]
    some = csv_of(export(client, format="csv", search={**ask, "min_score": least - 1e-6}))
    assert [float(row["score"]) for row in some] == [s for s in scores if s >= least - 1e-6]


def test_tiles_are_exported_in_the_order_given_and_once(
    client: httpx.Client, gallery: Gallery
) -> None:
    chosen = [gallery.archive.tile_ids[i] for i in (7, 2, 19, 2, 7, 0)]
    rows = csv_of(export(client, format="csv", tile_ids=chosen, limit=1))  # of searches, not this
    assert [row["tile_id"] for row in rows] == list(dict.fromkeys(chosen))
    assert {row["score"] for row in rows} == {""}


def test_a_filter_is_exported_in_row_order(client: httpx.Client, gallery: Gallery) -> None:
    frame = frame_of(export(client, format="geoparquet", filter={"labels": ["class1"]}))
    rows = [row for row in gallery.archive.rows if row.label == "class1"]
    assert frame["uri"].tolist() == [row.uri for row in rows]
    first = frame_of(export(client, format="geoparquet", filter={"labels": ["class1"]}, limit=2))
    assert first["uri"].tolist() == [row.uri for row in rows[:2]]
    everything = frame_of(export(client, format="geoparquet", filter={}))
    assert everything["tile_id"].tolist() == gallery.archive.tile_ids
    assert len(frame_of(export(client, format="geoparquet", filter={"labels": ["no"]}))) == 0


def test_selected_rows_come_block_by_block(
    client: httpx.Client, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "_BLOCK_BYTES", 1)
    for limit in (1, 8, 9, 20, 1000):
        frame = frame_of(export(client, format="geoparquet", filter={}, limit=limit))
        assert frame["tile_id"].tolist() == gallery.archive.tile_ids[:limit]


def test_vectors_are_those_of_the_archive(client: httpx.Client, gallery: Gallery) -> None:
    answer = export(client, format="parquet", filter={})
    table = pq.read_table(io.BytesIO(answer.content))
    vectors = np.stack(table["vector"].to_numpy(zero_copy_only=False))
    np.testing.assert_array_equal(vectors.astype(np.float16), gallery.archive.vectors)
    facts = json.loads(table.schema.metadata[b"worldsift"])
    assert facts["featurizer"] == gallery.featurizer.spec.fingerprint
    assert facts["generation"] == gallery.archive.name


def test_labels_of_ones_own_replace_those_of_the_archive(
    client: httpx.Client, gallery: Gallery
) -> None:
    first, second = gallery.archive.tile_ids[:2]
    answer = export(
        client, format="geojson", tile_ids=[first, second], labels={first: "mine", "x": "y"}
    )
    labels = [feature["properties"]["label"] for feature in answer.json()["features"]]
    assert labels == ["mine", gallery.archive.rows[1].label]
    assert answer.headers["content-type"] == "application/geo+json"


def test_a_zip_holds_the_sources_themselves(client: httpx.Client, gallery: Gallery) -> None:
    """Files byte for byte, windows as exactly their pixels."""
    answer = export(client, format="zip", filter={})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        text = archive.read("tiles.csv").decode()
        listed = {row["tile_id"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
        assert list(listed) == gallery.archive.tile_ids
        assert archive.read("unreadable.csv").decode().count("\r\n") == 1
        for row, tile_id in zip(gallery.archive.rows, gallery.archive.tile_ids, strict=True):
            name = listed[tile_id]["file"]
            assert name.startswith(f"{row.label or 'unlabelled'}/")
            data = archive.read(name)
            if row.window is None:
                assert data == Path(row.uri).read_bytes()
                assert name.endswith(".jpg" if row.uri.endswith("jpg") else ".png")
            else:
                with Image.open(io.BytesIO(data)) as image:
                    np.testing.assert_array_equal(np.asarray(image), cut(gallery.scene, row))


def test_a_source_that_is_gone_is_listed(client: httpx.Client, gallery: Gallery) -> None:
    row = gallery.archive.rows[4]
    hidden = Path(row.uri).with_suffix(".hidden")
    Path(row.uri).rename(hidden)
    try:
        answer = export(client, format="zip", tile_ids=gallery.archive.tile_ids[3:6])
    finally:
        hidden.rename(row.uri)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        (missing,) = csv.DictReader(io.StringIO(archive.read("unreadable.csv").decode()))
        assert missing["uri"] == row.uri
        assert "no such file" in missing["reason"]
        files = [r["file"] for r in csv.DictReader(io.StringIO(archive.read("tiles.csv").decode()))]
        assert [bool(file) for file in files] == [True, False, True]


def test_a_page_can_ask_by_a_form(client: httpx.Client, gallery: Gallery) -> None:
    """As a browser sends it, which then saves the file by itself."""
    asked = {"format": "csv", "tile_ids": gallery.archive.tile_ids[-6:]}  # é and & among them
    answer = client.post("/v1/export", data={"request": json.dumps(asked, ensure_ascii=False)})
    assert [row["tile_id"] for row in csv_of(answer)] == asked["tile_ids"]


def test_an_uploaded_picture_can_be_searched_by(client: httpx.Client, gallery: Gallery) -> None:
    import base64

    picture = base64.b64encode(Path(gallery.archive.rows[6].uri).read_bytes()).decode()
    ask = {"positive": [{"image": picture}]}
    rows = csv_of(export(client, format="csv", search=ask, limit=3))
    assert rows[0]["tile_id"] == gallery.archive.tile_ids[6]
    assert float(rows[0]["distance"]) < 1e-3


# ---- what is refused, before the file begins ----------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "slug"),
    [
        ({"format": "csv"}, 422, "bad-request"),
        ({"format": "csv", "filter": {}, "tile_ids": ["a"]}, 422, "bad-request"),
        ({"format": "xlsx", "filter": {}}, 422, "bad-request"),
        ({"format": "csv", "filter": {}, "limit": 0}, 422, "bad-request"),
        ({"format": "csv", "tile_ids": []}, 422, "bad-request"),
        ({"format": "csv", "filter": {}, "limit": 100_001}, 413, "too-large"),
        ({"format": "csv", "tile_ids": ["x"] * 100_001}, 413, "too-large"),
        ({"format": "csv", "tile_ids": ["nowhere.png"]}, 404, "unknown-tile"),
        ({"format": "zip", "search": {"positive": [{"tile_id": "no"}]}}, 404, "unknown-tile"),
        ({"format": "csv", "search": {"positive": [{"vector": [1.0]}]}}, 422, "bad-query"),
        ({"format": "csv", "search": {"positive": [{"image": "AAAA"}]}}, 422, "bad-image"),
        ({"format": "csv", "filter": {"bbox": [0, 10, 1, -10]}}, 422, "bad-query"),
    ],
)
def test_what_cannot_be_meant_is_a_problem(
    client: httpx.Client, asked: dict[str, Any], status: int, slug: str
) -> None:
    problem_of(export(client, **asked), status, slug)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"format": "csv", "labels": {"a": "\\ud800"}, "filter": {}}']
)
def test_a_body_that_is_no_request_is_a_problem(client: httpx.Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    problem_of(client.post("/v1/export", content=body, headers=headers), 422, "bad-request")


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (b"", "bad-query"),
        (b"request=%7B%7D&request=%7B%7D", "bad-query"),
        (b"request=%7B%7D&format=csv", "bad-query"),
        (b"request=%FF", "bad-query"),
        (b"\xff", "bad-query"),
        (b"&".join(b"a%d=1" % i for i in range(100)), "bad-query"),
        (b"request=%7B%7D", "bad-request"),
    ],
)
def test_a_form_that_is_no_request_is_a_problem(
    client: httpx.Client, body: bytes, slug: str
) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    problem_of(client.post("/v1/export", content=body, headers=headers), 422, slug)


def test_another_kind_of_body_is_a_problem(client: httpx.Client) -> None:
    answer = client.post("/v1/export", content=b"{}", headers={"content-type": "text/plain"})
    problem_of(answer, 415, "unsupported-body")


# ---- how it ends when it is not the end ---------------------------------------------------------


class Source:
    """Pieces that a test lets an export be made of, in place of rows."""

    def __init__(self, pieces: int, failure: Exception | None = None) -> None:
        self.pieces, self.failure = pieces, failure
        self.made = 0
        self.closed = threading.Event()

    def written(self, *_: object) -> Iterator[bytes]:
        try:
            while self.made < self.pieces:
                self.made += 1
                yield bytes(64 << 10)
            if self.failure is not None:
                raise self.failure
        finally:
            self.closed.set()


@pytest.fixture
def place_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], Source]:
    def put(source: Source) -> Source:
        monkeypatch.setattr(order, "written", source.written)
        return source

    return put


ALL = {"format": "csv", "filter": {}}


@pytest.mark.parametrize("failure", [StorageError("gs://b: gone"), RuntimeError("a fault")])
def test_a_fault_in_mid_stream_breaks_the_transfer(
    client: httpx.Client, place_of: Callable[[Source], Source], failure: Exception
) -> None:
    """The status line has gone by then: without the last chunk no client takes it for whole."""
    source = place_of(Source(20, failure))
    got = 0
    with (
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
        client.stream("POST", "/v1/export", json=ALL) as answer,
    ):
        assert answer.status_code == 200
        for piece in answer.iter_raw():
            got += len(piece)
    assert 0 < got <= 20 * (64 << 10)
    assert source.closed.wait(TIMEOUT_S)
    assert client.get("/healthz").status_code == 200


def test_nothing_ends_in_a_zero_chunk_after_a_fault(
    client: httpx.Client, place_of: Callable[[Source], Source]
) -> None:
    """On the wire, whatever a client library makes of it."""
    place_of(Source(3, StorageError("gone")))
    data = raw_answer(client, ALL)
    assert data.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding: chunked" in data.lower()
    assert not data.endswith(b"0\r\n\r\n")
    place_of(Source(3))
    assert raw_answer(client, ALL).endswith(b"0\r\n\r\n")


def raw_answer(client: httpx.Client, asked: dict[str, Any]) -> bytes:
    body = json.dumps(asked).encode()
    with connection(client) as opened:
        opened.sendall(head(client, len(body), "close") + body)
        return b"".join(iter(lambda: opened.recv(1 << 16), b""))


def head(client: httpx.Client, length: int, kept: str) -> bytes:
    return (
        f"POST /v1/export HTTP/1.1\r\nHost: {client.base_url.host}:{client.base_url.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: {kept}\r\n\r\n"
    ).encode()


def connection(client: httpx.Client) -> socket.socket:
    assert client.base_url.port is not None
    return socket.create_connection((client.base_url.host, client.base_url.port), TIMEOUT_S)


def test_a_fault_before_the_first_piece_is_a_problem(
    client: httpx.Client, place_of: Callable[[Source], Source]
) -> None:
    place_of(Source(0, StorageError("gone")))
    problem_of(export(client, **ALL), 502, "storage")


def test_it_stops_when_the_client_goes_away(
    client: httpx.Client, place_of: Callable[[Source], Source]
) -> None:
    source = place_of(Source(1_000_000))
    with client.stream("POST", "/v1/export", json=ALL) as answer:
        next(answer.iter_raw())
    assert source.closed.wait(TIMEOUT_S)
    assert source.made < 1000
    assert export(client, format="csv", tile_ids=["no"]).status_code == 404  # its place is free


def test_a_slow_client_is_waited_for(
    client: httpx.Client, place_of: Callable[[Source], Source]
) -> None:
    """What is made ahead of it fits the sockets' own buffers, however long it pauses."""
    source = place_of(Source(1_000_000))
    body = json.dumps(ALL).encode()
    with connection(client) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        slow.sendall(head(client, len(body), "keep-alive") + body)
        time.sleep(1.0)
        made = source.made
        time.sleep(1.0)
        assert source.made == made < 200
        taken = 0
        while taken < made * (64 << 10):
            taken += len(slow.recv(1 << 20))
        end = time.monotonic() + TIMEOUT_S
        while source.made == made:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert source.closed.wait(TIMEOUT_S)


def test_there_are_only_so_many_at_once(
    client: httpx.Client, place_of: Callable[[Source], Source]
) -> None:
    source = place_of(Source(1_000_000))
    body = json.dumps(ALL).encode()
    opened = [connection(client) for _ in range(AT_ONCE)]
    try:
        for each in opened:
            each.sendall(head(client, len(body), "keep-alive") + body)
            assert each.recv(12) == b"HTTP/1.1 200"
        answer = export(client, **ALL)
        problem_of(answer, 503, "busy")
        assert int(answer.headers["retry-after"]) > 0
    finally:
        for each in opened:
            each.close()
    assert source.closed.wait(TIMEOUT_S)
    end = time.monotonic() + TIMEOUT_S
    while export(client, format="csv", tile_ids=["no"]).status_code == 503:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def small(gallery: Gallery, tmp_path: Path) -> Iterator[tuple[Any, Settings]]:
    """A published archive of its own, which a test may replace."""
    names = [f"class{i % 3}/picture{i}.png" for i in range(16)]
    rows = file_rows(gallery.pictures, names)
    archive = publish(tmp_path / "own", gallery.featurizer, decoded_files(rows), rows)
    yield archive, make_settings(archive.root, tmp_path / "cache")


def test_an_export_is_of_one_generation(
    small: tuple[Any, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one is published and swapped in while the rows of the first are being written."""
    archive, settings = small
    go_on = threading.Event()
    whole = order.parts

    def gated(*args: Any) -> Iterator[Any]:
        for number, part in enumerate(whole(*args)):
            if number == 2:
                assert go_on.wait(TIMEOUT_S)
            yield part

    monkeypatch.setattr(order, "parts", gated)
    monkeypatch.setattr("serving.export.parts._PART_ROWS", 3)
    monkeypatch.setattr(order, "_PIECE_BYTES", 64)
    with running(create_app(settings)) as address, httpx.Client(base_url=address) as client:
        wait_until_ready(client)
        with client.stream("POST", "/v1/export", json=ALL) as answer:
            pieces = answer.iter_raw()
            text = next(pieces)
            after = republish(archive, tombstones=(0, 1, 2, 9))
            assert client.post("/v1/admin/reload").json()["changed"]
            assert client.get("/v1/stats").json()["generation"] == after.name
            go_on.set()
            text += b"".join(pieces)
        found = list(csv.DictReader(io.StringIO(text.decode(), newline="")))
        assert [row["tile_id"] for row in found] == archive.tile_ids
        assert answer.headers["x-worldsift-generation"] == archive.name
        assert len(csv_of(export(client, **ALL))) == len(archive.tile_ids) - 4
