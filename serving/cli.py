"""The verbs of ``python -m serving``: results as one JSON line on stdout, the rest on stderr."""

from __future__ import annotations

import argparse
import errno
import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from featurizer import manifest, storage
from featurizer.errors import UsageError, WorldsiftError
from serving.operations import keys
from serving.operations.keys import SCOPES, Scope
from serving.settings import Settings, default_cache_dir

_EPILOG = """examples:
  python -m serving run /data/archive               search page of the published generation
  python -m serving run gs://bucket/archive --host 0.0.0.0 --port 8080
  python -m serving run /data/archive --workers 4   several processes over one mapped index
  python -m serving evaluate /data/archive          recall, precision and query time, as JSON
  python -m serving key new alice --scope read      an API key; its hash goes into keys.json
"""
_RUN = """Serves the published generation: a search page and an HTTP API (described at
/openapi.json). The first start verifies every file against the manifest and merges the shards'
codes into one index in the cache folder; later starts find both and take a moment. Every option
may also be set in the environment, as WORLDSIFT_PORT and so on."""
_EVALUATE = """Asks with rows of the archive that did not train the index and writes what it
measured beside the generation: recall at 10 and 1 against exact search, precision at 10 and mean
average precision by label (null where there are no labels), and the time of one query."""
_MAP = """Projects a sample of the archive to two dimensions, which takes a minute or so, and keeps
it in the cache folder, so that the first reader of the embedding map need not wait for it."""
_KEY = """API keys for a server that others may reach. The file holds their SHA-256 hashes: start
the server with --api-keys-file FILE. It reads the file again whenever it changes."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    root: str
    generation: str | None
    queries: int
    seed: int
    nprobe: int | None
    output: str | None
    cache_dir: Path


@dataclass(frozen=True, slots=True)
class MapOptions:
    root: str
    generation: str | None
    size: int
    cache_dir: Path


@dataclass(frozen=True, slots=True)
class KeyOptions:
    action: str
    file: Path
    name: str = ""
    scope: Scope = "read"


Options = Settings | EvaluateOptions | MapOptions | KeyOptions


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
    _add_settings(run)
    _add_evaluate(verbs, formatter)
    _add_map(verbs, formatter)
    _add_key(verbs, formatter)
    return top


def _add_settings(run: argparse.ArgumentParser) -> None:
    for name, setting in Settings.model_fields.items():
        if name == "root":
            continue
        option = f"--{name.replace('_', '-')}"
        silent = setting.default_factory or setting.default in ("", None)
        shown = "" if silent else f" (default {setting.default})"
        text = f"{setting.description}{shown}".replace("%", "%%")
        if setting.annotation is bool:
            run.add_argument(
                option, dest=name, nargs="?", const="true", metavar="true|false", help=text
            )
        else:
            run.add_argument(option, dest=name, help=text)


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


def _add_map(verbs: Any, formatter: type[argparse.HelpFormatter]) -> None:
    verb = verbs.add_parser(
        "map",
        help="make the embedding map ahead of its first reader",
        description=_MAP,
        formatter_class=formatter,
        allow_abbrev=False,
    )
    verb.add_argument("root", help="folder or URL of the archive")
    verb.add_argument("--size", type=_positive, default=5000, help="tiles on it (default 5000)")
    verb.add_argument(
        "--generation",
        metavar="NAME",
        help="a generation's name, `current` or `latest` (default: the published one)",
    )
    verb.add_argument("--cache-dir", type=Path, help="local folder that `run` uses too")


def _add_key(verbs: Any, formatter: type[argparse.HelpFormatter]) -> None:
    key = verbs.add_parser(
        "key", help="make, list and revoke API keys", description=_KEY, formatter_class=formatter
    )
    actions = key.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, text in (
        ("new", "make a key: it is printed once and stored nowhere"),
        ("list", "the keys of a file, as their hashes"),
        ("revoke", "remove a key"),
    ):
        each = actions.add_parser(action, help=text, description=text, allow_abbrev=False)
        if action != "list":
            each.add_argument("name", help="whose key it is")
        if action == "new":
            each.add_argument(
                "--scope",
                choices=SCOPES,
                default="read",
                help="admin may also take over generations (default read)",
            )
        each.add_argument(
            "--file",
            type=Path,
            default=Path(os.environ.get("WORLDSIFT_API_KEYS_FILE", "keys.json")),
            help="where the hashes stand (default WORLDSIFT_API_KEYS_FILE, or keys.json)",
        )


def parse(argv: Sequence[str] | None = None) -> Options:
    """What to do; exits with 2, saying why, for options that cannot be meant."""
    top = parser()
    given = {key: value for key, value in vars(top.parse_args(argv)).items() if value is not None}
    verb = given.pop("verb")
    if verb == "run":
        try:
            return Settings(**given)
        except ValidationError as error:
            top.error("; ".join(_explain(problem) for problem in error.errors()))
    if verb == "key":
        return KeyOptions(**given)
    root = storage.normalise(given.pop("root"))
    cache_dir = given.pop("cache_dir", None) or default_cache_dir(root)
    if verb == "map":
        return MapOptions(root, given.get("generation"), given["size"], cache_dir)
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
        elif isinstance(options, KeyOptions):
            key(options)
        elif isinstance(options, MapOptions):
            make_map(options)
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


def make_map(options: MapOptions) -> None:
    """Makes the embedding map, or finds it made, and says what it is."""
    from serving.embedding_map.computing import project
    from serving.engine.search import SearchEngine

    name = generation_name(options.root, options.generation)
    engine = SearchEngine.open(options.root, options.cache_dir, name, progress=True)
    found = project(engine, options.cache_dir, options.size)
    engine.close()
    told = {"generation": found.generation, "method": found.method, "tiles": len(found.rows)}
    print(json.dumps(told), flush=True)


def key(options: KeyOptions) -> None:
    """Makes, lists or revokes keys; one JSON line a key."""
    if options.action == "new":
        text = keys.new_key(options.file, options.name, options.scope)
        print(f"the key of {options.name} is shown this once: keep it", file=sys.stderr)
        made = {"name": options.name, "scope": options.scope, "key": text}
        print(json.dumps({**made, "file": str(options.file)}, ensure_ascii=False))
    elif options.action == "revoke":
        keys.revoke_key(options.file, options.name)
        print(json.dumps({"revoked": options.name, "file": str(options.file)}))
    else:
        for each in keys.read_keys(options.file):
            print(json.dumps(asdict(each), ensure_ascii=False))


def run(settings: Settings) -> None:
    """Serves until it is told to stop; raises what keeps the archive from being loaded."""
    from serving.operations import server

    manifest.current_generation(settings.root)  # nothing published: say so before listening
    listener = listen(settings.host, settings.port)
    address = page_address(settings.host, listener.getsockname()[1])

    def ready() -> None:
        print(f"Search page: {address}", file=sys.stderr, flush=True)

    with listener:
        if settings.workers > 1:
            server.serve_with_workers(settings, listener, ready)
        else:
            server.serve_alone(settings, listener, ready)


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
