"""The verbs of ``python -m serving``: results as one JSON line on stdout, the rest on stderr."""

from __future__ import annotations

import argparse
import errno
import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from featurizer import manifest, storage
from featurizer.errors import UsageError, WorldsiftError
from serving.settings import Settings, default_cache_dir

if TYPE_CHECKING:
    import uvicorn

_EPILOG = """examples:
  python -m serving run /data/archive               search page of the published generation
  python -m serving run gs://bucket/archive --host 0.0.0.0 --port 8080
  python -m serving evaluate /data/archive          recall, precision and query time, as JSON
"""
_RUN = """Serves the published generation: a search page and an HTTP API (described at
/openapi.json). The first start verifies every file against the manifest and merges the shards'
codes into one index in the cache folder; later starts find both and take a moment. Every option
may also be set in the environment, as WORLDSIFT_PORT and so on."""
_EVALUATE = """Asks with rows of the archive that did not train the index and writes what it
measured beside the generation: recall at 10 and 1 against exact search, precision at 10 and mean
average precision by label (null where there are no labels), and the time of one query."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    root: str
    generation: str | None
    queries: int
    seed: int
    nprobe: int | None
    output: str | None
    cache_dir: Path


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return value


def parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        "python -m serving",
        description="Answers queries over an archive that `python -m pipeline` made.",
        epilog=_EPILOG,
        formatter_class=formatter,
        allow_abbrev=False,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser(
        "run",
        help="serve the search page and the HTTP API",
        description=_RUN,
        formatter_class=formatter,
        allow_abbrev=False,
    )
    run.add_argument("root", nargs="?", help="folder or URL of the archive (or WORLDSIFT_ROOT)")
    for name, setting in Settings.model_fields.items():
        if name != "root":
            option = f"--{name.replace('_', '-')}"
            shown = "" if setting.default_factory else f" (default {setting.default})"
            run.add_argument(option, dest=name, help=f"{setting.description}{shown}")
    _add_evaluate(verbs, formatter)
    return top


def _add_evaluate(verbs: Any, formatter: type[argparse.HelpFormatter]) -> None:
    evaluate = verbs.add_parser(
        "evaluate",
        help="measure recall, precision by label and query time",
        description=_EVALUATE,
        formatter_class=formatter,
        allow_abbrev=False,
    )
    evaluate.add_argument("root", help="folder or URL of the archive")
    evaluate.add_argument(
        "--generation",
        metavar="NAME",
        help="a generation's name, `current` or `latest` (default: the published one; the latest "
        "where none is published)",
    )
    evaluate.add_argument(
        "--queries", type=_positive, default=1000, help="rows to ask with (default 1000)"
    )
    evaluate.add_argument("--seed", type=int, default=0, help="which rows (default 0)")
    evaluate.add_argument(
        "--nprobe", type=_positive, help="lists to read a query (default: the generation's)"
    )
    evaluate.add_argument(
        "--output", metavar="FILE", help="where to write (default: beside the generation)"
    )
    evaluate.add_argument(
        "--cache-dir", type=Path, help="local folder for the merged index and fetched files"
    )


def parse(argv: Sequence[str] | None = None) -> Settings | EvaluateOptions:
    """What to do; exits with 2, saying why, for options that cannot be meant."""
    top = parser()
    given = {key: value for key, value in vars(top.parse_args(argv)).items() if value is not None}
    if given.pop("verb") == "run":
        try:
            return Settings(**given)
        except ValidationError as error:
            top.error("; ".join(_explain(problem) for problem in error.errors()))
    root = storage.normalise(given.pop("root"))
    cache_dir = given.pop("cache_dir", None) or default_cache_dir(root)
    defaults = {"generation": None, "nprobe": None, "output": None}
    return EvaluateOptions(**{**defaults, **given}, root=root, cache_dir=cache_dir)


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    option = "ROOT" if name == "root" else f"--{name.replace('_', '-')}"
    return f"{option} (WORLDSIFT_{name.upper()}): {problem['msg']}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; its exit status."""
    options = parse(argv)
    try:
        if isinstance(options, Settings):
            run(options)
        else:
            evaluate(options)
    except WorldsiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def generation_name(root: str, asked: str | None) -> str:
    """The name behind ``current``, ``latest`` or None; GenerationError where there is none."""
    if asked == "current":
        return manifest.current_generation(root)
    if asked == "latest":
        return manifest.latest_generation(root)
    if asked is not None:
        return asked
    published = storage.exists(storage.join(root, manifest.CURRENT))
    return manifest.current_generation(root) if published else manifest.latest_generation(root)


def evaluate(options: EvaluateOptions) -> None:
    """Measures, writes the figures as JSON and prints them as one line."""
    from serving import evaluation
    from serving.engine.search import SearchEngine

    name = generation_name(options.root, options.generation)
    engine = SearchEngine.open(options.root, options.cache_dir, name, progress=True)
    result = evaluation.evaluate(
        engine, options.queries, options.seed, options.nprobe, progress=True
    )
    place = options.output or manifest.evaluation_path(options.root, name)
    data = json.dumps(result.to_json(), indent=1, ensure_ascii=False).encode()
    storage.write_bytes(storage.normalise(place), data)
    print(f"written: {place}", file=sys.stderr)
    print(result.to_line(), flush=True)


@dataclass(slots=True)
class _Outcome:
    """Why loading failed, and the server to stop then."""

    server: uvicorn.Server | None = None
    failures: list[Exception] = field(default_factory=list)

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        if self.server is not None:
            self.server.should_exit = True


def run(settings: Settings) -> None:
    """Serves until it is told to stop; raises what keeps the archive from being loaded."""
    import uvicorn

    from serving.app import create_app
    from serving.service import SearchService

    manifest.current_generation(settings.root)  # nothing published: say so before listening
    outcome = _Outcome()
    listener = listen(settings.host, settings.port)
    address = page_address(settings.host, listener.getsockname()[1])

    def load(given: Settings) -> SearchService:
        service = SearchService.open(given)
        print(f"Search page: {address}", file=sys.stderr, flush=True)
        return service

    with listener:
        app = create_app(settings, on_failure=outcome.fail, load=load)
        config = uvicorn.Config(
            app, loop="uvloop", http="httptools", log_level="warning", access_log=False
        )
        outcome.server = uvicorn.Server(config)
        outcome.server.run(sockets=[listener])
    if outcome.failures:
        raise outcome.failures[0]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; UsageError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} of {host} is in use: stop what listens there, or give another "
                "--port (0 for any free one)"
            ) from error
        raise UsageError(
            f"cannot listen on {host} port {port} ({error.strerror or error}): give an address "
            "of this machine as --host and a free --port above 1023"
        ) from error


def page_address(host: str, port: int) -> str:
    """The page's URL as typed on this machine."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared with, not listened on
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
