"""Logs: one form for all that is logged, and the request that it belongs to."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from serving.operations import logs
from serving.operations.edge import Edge
from serving.operations.request_id import chosen, request_id


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """The root logger, put back as it was."""
    root, quiet = logging.getLogger(), logging.getLogger("uvicorn")
    handlers, level, quiet_level = root.handlers[:], root.level, quiet.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    quiet.setLevel(quiet_level)


def test_json_lines_hold_what_was_logged_and_for_which_request(capsys):
    logs.configure("json")
    token = request_id.set("abc")
    logging.getLogger("serving.x").warning("%d rows, %s", 3, "näïve\nline", extra={"key": "alice"})
    request_id.reset(token)
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["event"] == "3 rows, näïve\nline"
    assert (first["level"], first["logger"], first["key"]) == ("warning", "serving.x", "alice")
    assert first["request_id"] == "abc" and first["timestamp"].endswith("Z") and first["pid"]
    assert "request_id" not in second
    assert second["exception"][0]["exc_type"] == "ValueError"


def test_text_is_one_line_a_record(capsys):
    logs.configure("text")
    token = request_id.set("abc")
    logging.getLogger("serving.x").info("hello")
    request_id.reset(token)
    told = capsys.readouterr().err
    assert re.fullmatch(r"\S+ \[info\s*\] hello .*request_id=abc.*\n", told)
    logging.getLogger("uvicorn.error").info("started a server")
    logging.getLogger("httpx").info("chatter")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        (b"a-b.c_d~1", True),
        (b"x" * 64, True),
        (b"x" * 65, False),
        (b"a\r\nb", False),
        (None, False),
    ],
)
def test_names_of_requests(offered, kept):
    name = chosen(offered)
    assert (name.encode("latin-1") == offered) is kept
    assert kept or re.fullmatch("[0-9a-f]{16}", name)


def test_the_access_log_is_one_line_a_request(caplog):
    import asyncio

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        pass

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/x\r\ny",
        "headers": [],
        "client": ("127.0.0.1", 1),
    }
    caplog.set_level(logging.INFO)
    asyncio.run(Edge(app, access_log=True)(dict(scope), None, send))
    asyncio.run(Edge(app, access_log=False)(dict(scope), None, send))
    (record,) = [record for record in caplog.records if record.name == "serving.access"]
    assert record.client == "127.0.0.1" and record.ms >= 0
    assert record.getMessage() == "GET /v1/x%0D%0Ay 204"
