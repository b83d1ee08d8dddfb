"""The command line, run as its user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from featurizer.errors import GenerationError, UsageError
from serving import cli
from serving.settings import Settings, default_cache_dir
from tests.serving.archive import build_archive, clustered, plain_rows

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
    for verb in ([], ["run"], ["evaluate"]):
        with pytest.raises(SystemExit) as caught:
            cli.parse([*verb, "--help"])
        assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in ("--port", "--max-upload-pixels", "--nprobe", "--generation", "examples:"):
        assert option in text


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
