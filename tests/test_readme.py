"""What the README tells people to type must be understood."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from featurizer import cli as featurizer_cli
from pipeline import options
from serving import cli as serving_cli
from serving.app import create_app
from serving.models.requests import SearchRequest
from serving.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("featurizer", "pipeline", "serving")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [
    line
    for block in blocks("sh")
    for line in block.splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("python -m ")])
def test_every_command_parses(line: str) -> None:
    words = shlex.split(line, comments=True)[2:]
    parsers = {
        "pipeline": options.parse,
        "featurizer": lambda argv: featurizer_cli.parser().parse_args(argv),
        "serving": lambda argv: serving_cli.parser().parse_args(argv),
    }
    parsers[words[0]](words[1:])


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("make ")])
def test_every_make_target_exists(line: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    target = shlex.split(line)[1]
    assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE), target


def test_every_link_into_the_project_leads_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets
    assert all((ROOT / target).exists() for target in targets), targets


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_are_python(code: str) -> None:
    ast.parse(code)


def names_missing(code: str) -> list[str]:
    """What a program imports from our rooms that is not there."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(ROOMS):
            module = importlib.import_module(node.module)
            found += [alias.name for alias in node.names if not hasattr(module, alias.name)]
    return found


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_import_what_is_there(code: str) -> None:
    assert not names_missing(code)


def calls() -> list[list[str]]:
    """The words of every call of curl, which may run over several lines."""
    words = [shlex.split(block, comments=True) for block in blocks("sh") if "curl" in block]
    starts = [(block, at) for block in words for at, word in enumerate(block) if word == "curl"]
    found = []
    for block, at in starts:
        later = [start for other, start in starts if other is block and start > at]
        found.append(block[at + 1 : min(later, default=len(block))])
    return found


CALLS = calls()


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """The paths of the OpenAPI document, and under each its methods."""
    settings = Settings(root=str(tmp_path_factory.mktemp("readme")))
    paths: dict[str, dict[str, object]] = create_app(settings).openapi()["paths"]
    return paths


def fits(template: str, path: str) -> bool:
    parts = re.split(r"\{[^}]*\}", template)
    return re.fullmatch(".+".join(map(re.escape, parts)), path) is not None


def test_the_api_is_shown_with_curl() -> None:
    assert len(CALLS) >= 2
    assert all(any(urlsplit(word).path.startswith("/v1/") for word in call) for call in CALLS)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: " ".join(call)[:60])
def test_every_curl_call_is_of_a_described_path(
    call: list[str], described: dict[str, dict[str, object]]
) -> None:
    paths = [urlsplit(word).path for word in call if word.startswith("http://")]
    assert paths
    assert all(any(fits(template, path) for template in described) for path in paths), paths


@pytest.mark.parametrize(
    "body",
    [call[call.index("-d") + 1] for call in CALLS if "-d" in call and "/v1/search" in str(call)],
)
def test_every_search_in_a_curl_call_is_understood(body: str) -> None:
    SearchRequest.model_validate_json(body)


def test_every_path_in_a_table_is_described(described: dict[str, dict[str, object]]) -> None:
    rows = re.findall(r"^\| `(GET|POST|DELETE) (/[^`?]*)[^`]*`", README, re.MULTILINE)
    assert rows
    shown = {(method.lower(), path) for method, path in rows}
    there = {(method, path) for path, methods in described.items() for method in methods}
    unknown = {
        (method, path)
        for method, path in shown
        if not any(m == method and same_place(path, known) for m, known in there)
    }
    assert not unknown


def same_place(path: str, other: str) -> bool:
    """Whether two templates differ at most in the names of what varies."""
    return re.sub(r"\{[^}]*\}", "{}", path) == re.sub(r"\{[^}]*\}", "{}", other)


def test_every_verb_is_shown() -> None:
    shown = {tuple(shlex.split(line)[2:4]) for line in COMMANDS if line.startswith("python -m ")}
    for verb in ("embed", "train", "encode", "publish", "verify", "index"):
        assert ("pipeline", verb) in shown
    assert {("serving", "run"), ("serving", "evaluate")} <= shown
