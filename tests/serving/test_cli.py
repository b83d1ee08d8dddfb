"""The command line, run as its user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from featurizer.errors import GenerationError, UsageError
from serving import cli
from serving.settings import Settings, default_cache_dir
from tests.serving.archive import build_archive, clustered, plain_rows, republish

REPOSITORY = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "serving", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORLDSIFT_")}
    return {**kept, **more}


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=REPOSITORY,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    return build_archive(root, clustered(120, 16), counts=[60, 60], training_rows=100)


def test_evaluate_prints_one_line_and_writes_the_same(archive, tmp_path):
    done = run("evaluate", archive.root, "--cache-dir", tmp_path, "--queries", "15")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    record = json.loads(done.stdout)
    written = Path(archive.root) / "generations" / f"{archive.name}.evaluation.json"
    assert json.loads(written.read_text()) == record
    assert (record["generation"], record["queries"], record["held_out"]) == (archive.name, 15, True)
    assert record["recall_at_10"] > 0.9
    assert f"written: {written}" in done.stderr


def test_evaluate_writes_elsewhere_and_takes_names(archive, tmp_path):
    for name in ("latest", "current", archive.name):
        output = tmp_path / f"{name}.json"
        done = run(
            *("evaluate", archive.root, "--cache-dir", tmp_path, "--generation", name),
            *("--output", output, "--queries", "5", "--nprobe", "3", "--seed", "4"),
        )
        record = json.loads(done.stdout)
        assert json.loads(output.read_text()) == record
        assert (record["nprobe"], record["seed"]) == (3, 4)
    done = run("evaluate", archive.root, "--cache-dir", tmp_path, "--generation", "000009-x")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: .*000009-x\.json: no such generation.*\n", done.stderr)


def test_generation_names(tmp_path):
    with pytest.raises(GenerationError, match="no generation here yet"):
        cli.generation_name(str(tmp_path), None)
    archive = build_archive(tmp_path, clustered(40, 8), plain_rows(40), factory="IVF2,PQ4x4")
    assert cli.generation_name(archive.root, None) == archive.name
    (tmp_path / "CURRENT").unlink()
    assert cli.generation_name(archive.root, None) == archive.name
    with pytest.raises(GenerationError, match="nothing is published"):
        cli.generation_name(archive.root, "current")
    assert cli.generation_name(archive.root, "000009-x") == "000009-x"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serve"],
        ["run"],
        ["run", "/a", "--prot", "1"],
        ["run", "/a", "--port", "many"],
        ["run", "/a", "--max-k", "0"],
        ["evaluate"],
        ["evaluate", "/a", "--queries", "0"],
        ["evaluate", "/a", "b"],
    ],
)
def test_options_that_cannot_be_meant_exit_with_2(arguments, capsys, monkeypatch):
    monkeypatch.delenv("WORLDSIFT_ROOT", raising=False)
    with pytest.raises(SystemExit) as caught:
        cli.parse(arguments)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_settings_come_from_options_then_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLDSIFT_PORT", "1234")
    monkeypatch.setenv("WORLDSIFT_HOST", "::1")
    parsed = cli.parse(["run", str(tmp_path / "a" / ".." / "b"), "--port", "77"])
    assert isinstance(parsed, Settings)
    assert (parsed.port, parsed.host) == (77, "::1")
    assert parsed.cache_dir == default_cache_dir(parsed.root)
    monkeypatch.setenv("WORLDSIFT_ROOT", "gs://bucket/archive/")
    from_environment = cli.parse(["run"])
    assert (from_environment.root, from_environment.port) == ("gs://bucket/archive", 1234)
    assert from_environment.cache_dir != parsed.cache_dir
    monkeypatch.setenv("WORLDSIFT_CACHE_DIR", "~/x")
    assert cli.parse(["run"]).cache_dir == Path.home() / "x"


def test_help_teaches_every_option(capsys):
    for verb in ([], ["run"], ["evaluate"], ["map"], ["key"], ["key", "new"]):
        with pytest.raises(SystemExit) as caught:
            cli.parse([*verb, "--help"])
        assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "--port",
        "--max-upload-pixels",
        "--nprobe",
        "--generation",
        "examples:",
        "--scope",
    ):
        assert option in text
    assert "examples:" in text


@pytest.mark.parametrize("verb", ["run", "evaluate"])
def test_nothing_published_is_one_line(verb, tmp_path):
    done = run(verb, tmp_path, "--cache-dir", tmp_path / "cache")
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"error: .*run `python -m pipeline .*\n", done.stderr)


def test_a_port_in_use_is_one_line_with_a_remedy():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UsageError, match=r"is in use: .* --port"),
    ):
        cli.listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1"):
        cli.listen("192.0.2.1", 0)


def test_addresses():
    assert cli.page_address("127.0.0.1", 80) == "http://127.0.0.1:80/"
    assert cli.page_address("0.0.0.0", 80) == "http://localhost:80/"
    assert cli.page_address("::1", 80) == "http://[::1]:80/"


def test_what_python_prints_is_all_that_reaches_stdout():
    code = (
        "import ctypes, sys, serving.__main__ as m; m._prepare_process();"
        "ctypes.CDLL(None).puts(b'chatter'); print('result')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("result\n", "")


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A running ``python -m serving run`` and the lines of its stderr so far."""
    process = subprocess.Popen(
        command("run", *arguments),
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    try:
        yield process, lines
    finally:
        process.terminate()
        out, rest = process.communicate(timeout=60)
        lines.extend(rest.splitlines())
        assert out == ""


def read_address(process: subprocess.Popen[str], lines: list[str]) -> str:
    for line in process.stderr:
        lines.append(line)
        if found := re.fullmatch(r"Search page: (http://127\.0\.0\.1:\d+)/\n", line):
            return found[1]
    raise AssertionError("".join(lines))


def test_truths_may_stand_as_bare_flags():
    assert cli.parse(["run", "x"]).access_log is False
    assert cli.parse(["run", "x", "--access-log", "--allow-anonymous"]).access_log is True
    assert cli.parse(["run", "--access-log", "false", "x"]).access_log is False
    with pytest.raises(SystemExit):
        cli.parse(["run", "x", "--cors-origins", "example.org/path"])


def test_keys_are_made_listed_and_revoked(tmp_path):
    file = str(tmp_path / "keys.json")
    made = run("key", "new", "alice", "--scope", "admin", "--file", file)
    assert made.returncode == 0
    record = json.loads(made.stdout)
    assert record["key"].startswith("ws_") and record["scope"] == "admin"
    run("key", "new", "bob", WORLDSIFT_API_KEYS_FILE=file)
    listed = run("key", "list", "--file", file)
    assert [json.loads(line)["name"] for line in listed.stdout.splitlines()] == ["alice", "bob"]
    assert record["key"] not in listed.stdout
    assert run("key", "revoke", "alice", "--file", file).returncode == 0
    again = run("key", "revoke", "alice", "--file", file)
    assert again.returncode == 1 and "there: bob" in again.stderr
    missing = run("key", "list", "--file", str(tmp_path / "none.json"))
    assert missing.returncode == 1 and "serving key new" in missing.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_public_address_without_keys_is_refused(archive, tmp_path, workers):
    options = ("--host", "0.0.0.0", "--port", "0", "--workers", workers)
    done = run("run", archive.root, "--cache-dir", tmp_path, *options)
    assert done.returncode == 1
    assert done.stderr.startswith("error: --host 0.0.0.0 lets other machines in")


def test_a_map_is_made_ahead(archive, tmp_path):
    done = run("map", archive.root, "--size", "40", "--cache-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["generation"] == archive.name and told["tiles"] == 40


def test_sigterm_ends_a_server_whose_open_request_is_answered(gallery, tmp_path):
    arguments = (gallery.root, "--port", "0", "--cache-dir", str(tmp_path), "--notice-s", "1")
    with started(*arguments) as (process, lines):
        address = read_address(process, lines)
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as open_request:
            body = json.dumps({"positive": [{"tile_id": gallery.archive.tile_ids[0]}]}).encode()
            head = f"POST /v1/search HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json"
            head += f"\r\nContent-Length: {len(body)}\r\n\r\n"
            open_request.sendall(head.encode())  # its body follows after the signal
            time.sleep(0.3)
            process.terminate()
            time.sleep(0.3)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"{address}/readyz", timeout=10)
            assert caught.value.code == 503
            caught.value.close()
            open_request.sendall(body)
            assert open_request.recv(65_536).startswith(b"HTTP/1.1 200")
        assert process.wait(60) == 0


def fetched(url: str, body: object = None) -> str:
    """An answer over a connection of its own, so that any worker may take it."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def test_two_workers_share_the_work_and_end_together(gallery, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(gallery.root, root)
    archive = replace(gallery.archive, root=str(root))
    options = ("--port", "0", "--cache-dir", str(tmp_path / "cache"), "--workers", "2")
    logging = ("--watch-s", "0", "--access-log", "--log-format", "json")
    with started(str(root), *options, *logging) as (process, lines):
        address = read_address(process, lines)
        search = {"positive": [{"tile_id": archive.tile_ids[0]}]}
        with ThreadPoolExecutor(8) as pool:
            url = f"{address}/v1/search"
            assert len(list(pool.map(lambda _: fetched(url, search), range(80)))) == 80
        metrics = fetched(f"{address}/metrics")
        counted = re.search(
            r'seconds_count\{method="POST",route="/v1/search",status="2xx"\} (\S+)', metrics
        )
        assert float(counted[1]) == 80  # of both, whichever answers
        changed = republish(archive, tombstones=(3,))
        assert json.loads(fetched(f"{address}/v1/admin/reload", {}))["changed"] is True
        time.sleep(3)  # the other worker looks four times a second
        serving = {json.loads(fetched(f"{address}/v1/stats"))["generation"] for _ in range(30)}
        assert serving == {changed.name}
        process.terminate()
        assert process.wait(60) == 0
    records = [json.loads(line) for line in lines if line.startswith("{")]
    answered = {record["pid"] for record in records if "POST /v1/search" in record["event"]}
    assert len(answered) == 2 and process.pid not in answered
    assert not any(Path(f"/proc/{pid}").exists() for pid in answered)
    assert not [line for line in lines if "Traceback" in line]


def test_workers_with_a_damaged_archive_end_with_one_line(tmp_path):
    archive = build_archive(tmp_path / "root", clustered(40, 8), factory="IVF2,PQ4x4")
    path = tmp_path / "root" / "shards" / "shard0000" / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-1])
    options = ("--port", "0", "--cache-dir", str(tmp_path / "cache"), "--workers", "2")
    done = run("run", archive.root, *options)
    assert done.returncode == 1
    assert len(re.findall(r"error: .*vectors\.npy", done.stderr)) == 1


def test_run_says_where_the_page_is_when_it_can_answer(gallery, tmp_path):
    arguments = (gallery.root, "--port", "0", "--cache-dir", str(tmp_path))
    with started(*arguments) as (process, lines):
        address = read_address(process, lines)
        for path in ("/readyz", "/"):
            with urllib.request.urlopen(address + path, timeout=60) as answer:
                assert answer.status == 200
        port = address.rsplit(":", 1)[1]
        second = run("run", gallery.root, "--port", port, "--cache-dir", tmp_path)
        assert second.returncode == 1
        assert re.fullmatch(rf"error: port {port} of 127.0.0.1 is in use: .*\n", second.stderr)
    assert not [line for line in lines if "Traceback" in line]


def test_run_ends_with_one_line_when_a_file_was_altered(tmp_path):
    archive = build_archive(tmp_path / "root", clustered(40, 8), factory="IVF2,PQ4x4")
    path = tmp_path / "root" / "shards" / "shard0000" / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-1])
    done = run("run", archive.root, "--port", "0", "--cache-dir", tmp_path / "cache")
    assert done.returncode == 1
    assert re.match(r"error: .*vectors\.npy: 767 bytes with sha256 ", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
