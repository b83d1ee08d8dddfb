"""The OpenAPI document against the server that it describes, by schemathesis.

Requests are made from the document, good and bad: no answer may be a 500, of an undocumented status
or content type, or of another shape than the document says.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def run(client: httpx.Client, folder: Path, *options: str) -> str:
    """Runs schemathesis against the client's server; its report, which a failure shows whole."""
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run"),
        *(f"{client.base_url}/openapi.json", "--checks", ",".join(CHECKS)),
        *("--seed", "1", "--no-color", "--warnings", "off", "--request-timeout", "60"),
        *("--continue-on-failure", "--no-shrink", "--generation-database", "none"),
    ]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, cwd=folder, check=False, timeout=1500
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    return done.stdout


def test_every_operation_answers_as_documented(client: httpx.Client, tmp_path: Path) -> None:
    report = run(client, tmp_path, "--phases", "examples,coverage,fuzzing", "-n", "15")
    tested = re.search(r"Operations:\D*(\d+) selected / (\d+) total", report) or re.search(
        r"Tested:\s+(\d+)", report
    )
    assert tested, report[-3000:]
    assert client.get("/healthz").status_code == 200


@pytest.mark.slow
def test_hundreds_of_requests_for_each_operation(client: httpx.Client, tmp_path: Path) -> None:
    run(client, tmp_path, "--phases", "examples,coverage,fuzzing,stateful", "-n", "300")
    assert client.get("/healthz").status_code == 200
