"""What a server that others can reach must withstand, over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from featurizer.errors import UsageError
from serving.app import create_app
from serving.operations import keys
from serving.operations.keys import new_key, revoke_key
from serving.operations.protocol import MAX_HEAD_BYTES
from serving.settings import Settings
from tests.serving.conftest import make_settings
from tests.serving.gallery import Gallery
from tests.serving.problems import problem_of
from tests.serving.server import ready

Served = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def served(gallery: Gallery, settings: Settings) -> Iterator[Served]:
    """Servers over the gallery by their settings; each is started once."""
    with contextlib.ExitStack() as stack:
        started: dict[str, httpx.Client] = {}

        def serve(**more: Any) -> httpx.Client:
            name = repr(more)
            if name not in started:
                app = create_app(make_settings(gallery.root, settings.cache_dir, **more))
                started[name] = stack.enter_context(ready(app))
            return started[name]

        yield serve


@pytest.fixture
def impatient(served: Served) -> httpx.Client:
    return served(header_timeout_s=0.5, body_timeout_s=0.5, max_json_bytes=20_000)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def reader(file: Path) -> str:
    return new_key(file, "reader", "read")


@pytest.fixture(scope="module")
def admin(file: Path) -> str:
    return new_key(file, "admin", "admin")


def connected(client: httpx.Client) -> socket.socket:
    url = client.base_url
    return socket.create_connection((url.host, url.port), timeout=10)


def spoken(client: httpx.Client, data: bytes) -> tuple[int, bytes]:
    """Status and all of what a server says to these bytes, until it hangs up; 0: nothing."""
    with connected(client) as connection:
        connection.sendall(data)
        answer = read_all(connection)
    return (int(answer.split(b" ")[1]) if answer else 0), answer


def read_all(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def head(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "/assets/../app.py",
            "/assets/%2e%2e/%2e%2e/app.py",
            "/assets/..%2f..%2fapp.py",
            "/assets/%2e%2e%2f%2e%2e%2f%2e%2e%2fsetup.py",
            "/assets//etc/passwd",
            "/assets/%2fetc%2fpasswd",
            "/assets/..%5c..%5capp.py",
            "/assets/%00",
            "/assets/a%00.js",
            "/assets/" + "a" * 5000,
            "/../etc/passwd",
            "//etc/passwd",
        ],
    )
    def test_files_stay_in_their_folder(self, client: httpx.Client, path: str) -> None:
        status, answer = spoken(client, head("GET", path))
        assert status in (400, 404), answer
        assert b"root:" not in answer and b"import" not in answer

    @pytest.mark.parametrize(
        "tile_id",
        [
            "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "%2Fetc%2Fpasswd",
            "file%3A%2F%2F%2Fetc%2Fpasswd",
            "/etc/passwd",
            "http%3A%2F%2Flocalhost%2F",
            "%00",
            "a%00b",
            "%ff%fe",
            "%ED%A0%80",  # half a surrogate pair
            "x%0d%0aSet-Cookie:%20a=b",
        ],
    )
    @pytest.mark.parametrize("suffix", ["", "/image", "/nearby"])
    def test_only_tiles_of_the_archive_are_read(
        self, client: httpx.Client, tile_id: str, suffix: str
    ) -> None:
        status, answer = spoken(client, head("GET", f"/v1/tiles/{tile_id}{suffix}"))
        assert status in (404, 422), answer
        assert b"root:x" not in answer and b"\r\nSet-Cookie" not in answer


class TestHeaders:
    def test_a_sane_request_id_comes_back_and_stands_in_the_problem(
        self, client: httpx.Client
    ) -> None:
        answer = client.get("/v1/tiles/none", headers={"X-Request-ID": "abc-1.2_3~"})
        assert answer.headers["x-request-id"] == "abc-1.2_3~"
        assert problem_of(answer, 404, "unknown-tile")["request_id"] == "abc-1.2_3~"

    @pytest.mark.parametrize("offered", ["a b", "<script>", "x" * 65, "", "é", "a\tb"])
    def test_any_other_is_replaced(self, client: httpx.Client, offered: str) -> None:
        answer = client.get("/healthz", headers={"X-Request-ID": offered.encode("latin-1")})
        assert answer.headers["x-request-id"] != offered
        assert len(answer.headers["x-request-id"]) == 16

    def test_requests_have_names_of_their_own(self, client: httpx.Client) -> None:
        names = {client.get("/healthz").headers["x-request-id"] for _ in range(20)}
        assert len(names) == 20

    @pytest.mark.parametrize(
        "data",
        [
            b"GET / HTTP/1.1\r\nHost: localhost\r\nA\x00B: c\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n: c\r\n\r\n",
            b"GET /a\x01b HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
            b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"nonsense\r\n\r\n",
        ],
    )
    def test_what_is_not_http_is_refused_and_hung_up_on(
        self, client: httpx.Client, data: bytes
    ) -> None:
        status, answer = spoken(client, data)
        assert status == 400
        problem = json.loads(answer.split(b"\r\n\r\n", 1)[1])
        assert problem["type"] == "urn:worldsift:problem:bad-http" and problem["status"] == 400
        assert b"content-security-policy" in answer

    @pytest.mark.parametrize(
        "data",
        [
            head("GET", "/healthz", f"X: {'a' * (MAX_HEAD_BYTES + 1)}"),
            head("GET", "/healthz", *(f"X-{i}: {'a' * 100}" for i in range(1000))),
            head("GET", "/healthz?" + "a" * (MAX_HEAD_BYTES + 1)),
        ],
        ids=["one", "many", "url"],
    )
    def test_a_head_beyond_bounds_is_refused(self, client: httpx.Client, data: bytes) -> None:
        status, answer = spoken(client, data)
        assert status == 431
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["status"] == 431

    def test_a_head_without_end_is_cut_off(self, client: httpx.Client) -> None:
        with connected(client) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 100 * MAX_HEAD_BYTES:
                    connection.sendall(b"X: " + b"a" * 4000 + b"\r\n")
                    sent += 4005
            assert sent < 100 * MAX_HEAD_BYTES
        assert client.get("/healthz").status_code == 200

    def test_a_long_but_lawful_head_passes(self, client: httpx.Client) -> None:
        assert client.get("/healthz", headers={"X": "a" * 30_000}).status_code == 200

    def test_security_headers_stand_on_errors_of_the_outermost_layer(
        self, gallery: Gallery, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = create_app(settings)

        @app.get("/v1/fault")
        async def fault() -> None:
            raise ZeroDivisionError("secret")

        with ready(app) as client:
            answer = client.get("/v1/fault", headers={"X-Request-ID": "it-broke"})
            assert problem_of(answer, 500, "internal")["request_id"] == "it-broke"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "secret" not in answer.text
            assert client.get("/healthz").status_code == 200
        assert "ZeroDivisionError" in caplog.text


class TestBodies:
    def body(self, size: int) -> bytes:
        return b'{"positive":[{"tile_id":"' + b"a" * size + b'"}]}'

    def test_a_body_announced_too_large_is_refused_before_it_is_read(
        self, impatient: httpx.Client
    ) -> None:
        status, answer = spoken(
            impatient,
            head("POST", "/v1/search", "Content-Type: application/json", "Content-Length: 20001"),
        )
        assert status == 413 and b"too-large" in answer and b"connection: close" in answer

    def test_a_body_that_grows_too_large_is_refused(self, impatient: httpx.Client) -> None:
        def chunks() -> Iterator[bytes]:
            yield from (self.body(8_000) for _ in range(20))

        answer = impatient.post(
            "/v1/search", content=chunks(), headers={"Content-Type": "application/json"}
        )
        problem_of(answer, 413, "too-large")
        answer = impatient.post(
            "/v1/search", content=self.body(50_000), headers={"Content-Type": "application/json"}
        )
        problem_of(answer, 413, "too-large")
        assert impatient.get("/healthz").status_code == 200

    def test_a_form_may_be_larger_but_not_without_bounds(self, client: httpx.Client) -> None:
        def chunks() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            yield from (b"a" * 65_536 for _ in range(80))

        answer = client.post(
            "/v1/search",
            content=chunks(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
        problem_of(answer, 413, "too-large")

    @pytest.mark.parametrize("kind", ["Content-Length: 100", "Transfer-Encoding: chunked"])
    def test_a_body_that_stops_is_408(self, impatient: httpx.Client, kind: str) -> None:
        started = time.monotonic()
        status, answer = spoken(
            impatient, head("POST", "/v1/search", "Content-Type: application/json", kind) + b"2\r\n"
        )
        assert status == 408 and b"slow-body" in answer
        assert 0.3 < time.monotonic() - started < 8

    def test_a_body_that_trickles_is_408(self, impatient: httpx.Client) -> None:
        with connected(impatient) as connection:
            connection.sendall(
                head(
                    "POST", "/v1/search", "Content-Type: application/json", "Content-Length: 10000"
                )
            )
            started = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - started < 10:
                    connection.sendall(b" ")
                    time.sleep(0.1)
                    connection.settimeout(0.001)
                    with contextlib.suppress(TimeoutError):
                        answer = connection.recv(65_536)
                        break
                    connection.settimeout(10)
            assert answer.startswith(b"HTTP/1.1 408")

    def test_a_client_that_hangs_up_leaves_nothing_behind(self, impatient: httpx.Client) -> None:
        for _ in range(20):
            with connected(impatient) as connection:
                connection.sendall(head("POST", "/v1/search", "Content-Length: 100") + b"x")
        assert impatient.get("/healthz").status_code == 200


class TestSlowClients:
    @pytest.mark.parametrize("begun", [b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
    def test_a_head_that_never_ends_is_hung_up_on(
        self, impatient: httpx.Client, begun: bytes
    ) -> None:
        started = time.monotonic()
        assert spoken(impatient, begun)[1] == b""
        assert 0.3 < time.monotonic() - started < 8

    def test_bytes_that_trickle_do_not_set_the_clock_back(self, impatient: httpx.Client) -> None:
        with connected(impatient) as connection:
            started = time.monotonic()
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET /healthz HTTP/1.1\r\n")
                while time.monotonic() - started < 10:
                    connection.sendall(b"X: y\r\n")
                    time.sleep(0.05)
            assert time.monotonic() - started < 5

    def test_the_second_request_of_a_connection_is_timed_too(self, impatient: httpx.Client) -> None:
        with connected(impatient) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            started = time.monotonic()
            connection.sendall(b"GET /heal")
            assert read_all(connection) == b""
            assert time.monotonic() - started < 5

    def test_a_body_that_outlasts_its_answer_is_hung_up_on(self, impatient: httpx.Client) -> None:
        with connected(impatient) as connection:
            request = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
            connection.sendall(request + b"x")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 404")
            started = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - started < 10:
                    connection.sendall(b"x")
                    time.sleep(0.05)
            assert time.monotonic() - started < 5

    def test_a_body_that_ends_after_its_answer_leaves_the_connection_usable(
        self, impatient: httpx.Client
    ) -> None:
        with connected(impatient) as connection:
            request = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n"
            connection.sendall(request + b"x")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 404")
            connection.sendall(b"x" + head("GET", "/healthz"))
            assert b'{"status":"alive"}' in read_all(connection)

    def test_queries_are_answered_beside_many_idle_connections(
        self, client: httpx.Client, gallery: Gallery
    ) -> None:
        with contextlib.ExitStack() as stack:
            for i in range(300):
                idle = stack.enter_context(connected(client))
                idle.sendall(b"GET /healthz HTTP/1.1\r\n" if i % 2 else b"")
            started = time.monotonic()
            answer = client.post(
                "/v1/search", json={"positive": [{"tile_id": gallery.archive.tile_ids[0]}]}
            )
            assert answer.status_code == 200 and answer.json()["hits"]
            assert time.monotonic() - started < 5


class TestKeys:
    @pytest.fixture
    def locked(self, served: Served, file: Path, reader: str, admin: str) -> httpx.Client:
        client = served(api_keys_file=file)
        client.cookies.clear()
        return client

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/stats"),
            ("GET", "/v1/tiles"),
            ("GET", "/v1/tiles/x/image"),
            ("POST", "/v1/search"),
            ("POST", "/v1/admin/reload"),
            ("GET", "/v1/nowhere"),
            ("GET", "/metrics"),
            ("GET", "/openapi.json"),
        ],
    )
    def test_without_a_known_key_nothing_is_told(
        self, locked: httpx.Client, method: str, path: str
    ) -> None:
        wrong = ({}, {"Authorization": "Bearer ws_wrong"}, {"X-API-Key": ""}, {"Cookie": "a=b"})
        for headers in (*wrong, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
            answer = locked.request(method, path, headers=headers)
            problem_of(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")

    def test_pages_health_and_the_session_need_none(self, locked: httpx.Client) -> None:
        for path in ("/healthz", "/readyz", "/", "/map", "/assets/none.js"):
            assert locked.get(path).status_code in (200, 404, 503)
        assert locked.get("/v1/session").json() == {"required": True, "scopes": []}

    def test_a_key_opens_what_its_scope_says(
        self, locked: httpx.Client, reader: str, admin: str
    ) -> None:
        for headers in (
            {"Authorization": f"Bearer {reader}"},
            {"Authorization": f"bearer  {reader}"},
            {"X-API-Key": reader},
        ):
            assert locked.get("/v1/stats", headers=headers).status_code == 200
            assert locked.get("/metrics", headers=headers).status_code == 200
            problem = problem_of(locked.post("/v1/admin/reload", headers=headers), 403, "forbidden")
            assert "admin" in problem["detail"]
            assert locked.get("/v1/session", headers=headers).json()["scopes"] == ["read"]
        headers = {"X-API-Key": admin}
        assert locked.post("/v1/admin/reload", headers=headers).json()["changed"] is False
        assert locked.get("/v1/stats", headers=headers).status_code == 200
        assert locked.get("/v1/session", headers=headers).json()["scopes"] == ["read", "admin"]

    def test_signing_in_and_out(self, locked: httpx.Client, reader: str) -> None:
        problem_of(locked.post("/v1/session", json={"key": "ws_wrong"}), 401, "unauthorized")
        answer = locked.post("/v1/session", json={"key": reader})
        assert answer.json() == {"required": True, "scopes": ["read"]}
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
        assert "secure" not in cookie
        assert locked.get("/v1/stats").status_code == 200
        assert locked.get("/v1/session").json()["scopes"] == ["read"]
        assert locked.delete("/v1/session").json() == {"required": True, "scopes": []}
        assert locked.get("/v1/stats").status_code == 401

    def test_the_cookie_is_secure_behind_https(self, locked: httpx.Client, reader: str) -> None:
        answer = locked.post(
            "/v1/session", json={"key": reader}, headers={"X-Forwarded-Proto": "https"}
        )
        assert "; secure" in answer.headers["set-cookie"].lower()

    def test_a_cookie_serves_pages_of_this_server_only(
        self, locked: httpx.Client, reader: str
    ) -> None:
        cookie = {"Cookie": f"worldsift_key={reader}"}
        body = {"positive": [{"tile_id": "x"}]}
        own = {**cookie, "Origin": str(locked.base_url).rstrip("/")}
        assert locked.post("/v1/search", json=body, headers=own).status_code == 404
        for origin in ("https://evil.example", "http://127.0.0.1:1", "null"):
            foreign = {**cookie, "Origin": origin}
            problem_of(locked.post("/v1/search", json=body, headers=foreign), 403, "forbidden")
        keyed = {"X-API-Key": reader, "Origin": "https://evil.example"}
        assert locked.post("/v1/search", json=body, headers=keyed).status_code == 404

    def test_a_revoked_key_is_good_for_nothing(
        self,
        locked: httpx.Client,
        file: Path,
        reader: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(keys, "_LOOK_EVERY_S", 0.0)
        key = new_key(file, "passing", "read")
        time.sleep(1.1)  # the server looked at the file less than a second ago
        assert locked.get("/v1/stats", headers={"X-API-Key": key}).status_code == 200
        revoke_key(file, "passing")
        problem_of(locked.get("/v1/stats", headers={"X-API-Key": key}), 401, "unauthorized")
        assert locked.get("/v1/stats", headers={"X-API-Key": reader}).status_code == 200

    def test_a_public_address_wants_keys_or_a_word(self, settings: Settings, file: Path) -> None:
        for host in ("0.0.0.0", "::", "192.0.2.1", "imagery.example"):
            public = settings.model_copy(update={"host": host})
            with pytest.raises(UsageError, match="--allow-anonymous"):
                create_app(public)
            create_app(public.model_copy(update={"allow_anonymous": True}))
            create_app(public.model_copy(update={"api_keys_file": file}))
        for host in ("127.0.0.1", "::1", "localhost"):
            create_app(settings.model_copy(update={"host": host}))


class TestCallers:
    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "10.0.0.1", "[::"]
    )
    def test_other_names_are_refused_where_there_are_no_keys(
        self, client: httpx.Client, host: str
    ) -> None:
        for path in ("/v1/stats", "/", "/metrics"):
            problem_of(client.get(path, headers={"Host": host}), 421, "misdirected")
        assert client.get("/healthz", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.2", "[::1]:8000"])
    def test_names_of_this_machine_pass(self, client: httpx.Client, host: str) -> None:
        assert client.get("/v1/stats", headers={"Host": host}).status_code == 200

    def test_two_hosts_do_not_smuggle_one_in(self, client: httpx.Client) -> None:
        status, _ = spoken(client, head("GET", "/v1/stats", "Host: evil.example"))
        assert status in (400, 421)

    def test_pages_of_other_sites_cannot_send_anything(self, client: httpx.Client) -> None:
        for origin in ("https://evil.example", "null"):
            answer = client.post("/v1/admin/reload", headers={"Origin": origin})
            problem_of(answer, 403, "forbidden")
        for origin in (str(client.base_url).rstrip("/"), "http://localhost:5173"):
            answer = client.post("/v1/admin/reload", headers={"Origin": origin})
            assert answer.status_code == 200

    def test_without_keys_only_this_machine_is_admin(self, served: Served) -> None:
        open_to_all = served(allow_anonymous=True)
        assert open_to_all.get("/v1/stats", headers={"Host": "a.example"}).status_code == 200
        assert open_to_all.post("/v1/admin/reload").status_code == 200
        # The test's own address is a trusted proxy, which tells whom it asks for.
        far = {"X-Forwarded-For": "203.0.113.9"}
        problem_of(open_to_all.post("/v1/admin/reload", headers=far), 403, "forbidden")
        assert open_to_all.get("/v1/session", headers=far).json()["scopes"] == ["read"]

    def test_rates(self, served: Served) -> None:
        limited = served(rate_limit="5/minute")
        answers = [limited.get("/v1/tiles?sample=1") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert [a.headers["ratelimit-remaining"] for a in answers[:5]] == list("43210")
        assert answers[0].headers["ratelimit-limit"] == "5"
        assert 1 <= int(answers[0].headers["ratelimit-reset"]) <= 60
        problem_of(answers[5], 429, "rate-limited")
        assert 1 <= int(answers[5].headers["retry-after"]) <= 60
        assert limited.get("/healthz").status_code == 200  # probes and pages are not counted
        another = {"X-Forwarded-For": "203.0.113.9"}
        assert limited.get("/v1/tiles?sample=1", headers=another).status_code == 200

    def test_rates_go_by_key(self, served: Served, tmp_path: Path) -> None:
        file = tmp_path / "keys.json"
        one, two = new_key(file, "one", "read"), new_key(file, "two", "read")
        limited = served(rate_limit="2/minute", api_keys_file=file)
        statuses = [
            limited.get("/v1/session", headers={"X-API-Key": key}).status_code
            for key in (one, one, one, two, two, two)
        ]
        assert statuses == [200, 200, 429, 200, 200, 429]

    def test_origins(self, served: Served) -> None:
        origin = "https://maps.example"
        shared = served(cors_origins=f"{origin}, http://other.example:8080")
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,authorization",
        }
        preflight = shared.options("/v1/search", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        answer = shared.get("/v1/stats", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in answer.headers
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
        body = {"positive": [{"tile_id": "x"}]}
        refused = shared.post("/v1/search", json=body, headers={"Origin": origin})
        problem_of(refused, 404, "unknown-tile")
        assert refused.headers["access-control-allow-origin"] == origin
        other = shared.get("/v1/stats", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        asked["Origin"] = "https://evil.example"
        refused = shared.options("/v1/search", headers=asked)
        assert "access-control-allow-origin" not in refused.headers
