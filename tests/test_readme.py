"""What the README tells people to type must be understood."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from featurizer import cli as featurizer_cli
from pipeline import options
from serving import cli as serving_cli

ROOT = Path(__file__).resolve().parents[1]
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


def test_every_verb_is_shown() -> None:
    shown = {tuple(shlex.split(line)[2:4]) for line in COMMANDS if line.startswith("python -m ")}
    for verb in ("embed", "train", "encode", "publish", "verify", "index"):
        assert ("pipeline", verb) in shown
    assert {("serving", "run"), ("serving", "evaluate")} <= shown
