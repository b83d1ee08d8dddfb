"""From nothing, or from a folder or bucket, to a search page: runs the verbs one after another.

Without --data, imagery is generated first: fifteen kinds of landscape as an ImageFolder, most of it
georeferenced and seen on six dates from 2019 to 2023, and one mosaic with null areas.  Everything
is kept under --root; what is finished is not done again, so a second call only starts the page.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# What the generated imagery was made for: one line for each part of the page.
_TO_TRY = """things to try:
  click a snowy street grid, then give it a green one as a counter-example
  dates: keep July only, or one year; each place is seen in all seasons, 2019 to 2023
  map: draw a box round Europe, or one across 180 degrees (the atolls of Fiji lie on both sides)
  a result's details: the same place on other dates, and its neighbours
  select some results and export them, as GeoJSON or as a labelled folder of pictures
  /map shows the whole archive at once, like beside like
"""


def main() -> int:
    args = _parser().parse_args()
    begin = time.perf_counter()
    try:
        root = _prepare(args)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)  # the verb has said in one line what is wrong
    _say(f"ready after {time.perf_counter() - begin:.0f} s")
    if args.no_serve:
        return 0
    if args.data is None:
        _say(_TO_TRY.rstrip())
    where = f"at http://{args.host}:{args.port}/" if args.port else "at the address below"
    _say(f"the page opens {where}; stop it with Ctrl-C")
    command = [sys.executable, "-m", "serving", "run", str(root), "--port", str(args.port)]
    try:
        return subprocess.run([*command, "--host", args.host], check=False).returncode
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", help="folder, raster, list or URL; default: generated imagery")
    parser.add_argument("--root", type=Path, default=Path("var/demo"), help="where all is kept")
    parser.add_argument("--host", default="127.0.0.1", help="address of the page")
    parser.add_argument("--port", type=int, default=8000, help="port of the page; 0: any free one")
    parser.add_argument("--images-per-class", type=int, default=120, help="of generated imagery")
    parser.add_argument("--no-serve", action="store_true", help="stop once the index is published")
    return parser


def _prepare(args: argparse.Namespace) -> str:
    """Makes the imagery and the index; returns the index's root."""
    source, name = args.data, "generated"
    if source is None:
        source = str(args.root / "imagery")
        _say("1/5 generating imagery")
        _verb("pipeline.synthetic", source, "--images-per-class", str(args.images_per_class))
    else:
        name = hashlib.sha256(source.encode()).hexdigest()[:12]
    root = str(args.root / f"index-{name}")
    _say(f"2/5 embedding {source}")
    embed = _verb("pipeline", "embed", source, root)
    _say("3/5 training the quantizer and encoding")
    _verb("pipeline", "train", root)
    generation = _verb("pipeline", "encode", root)["generation"]
    _say("4/5 evaluating against exact search")
    evaluation = _verb("serving", "evaluate", root, "--generation", generation)
    _say("5/5 publishing")
    _verb("pipeline", "publish", root, "--generation", generation)
    _report(embed, evaluation)
    return root


def _verb(module: str, *arguments: str) -> dict[str, Any]:
    """Runs a verb, its progress on our stderr; what it printed as JSON."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def _report(embed: dict[str, Any], evaluation: dict[str, Any]) -> None:
    _say(
        f"{embed['rows']:,} tiles in {embed['shards']} shards, {embed['rejected']} rejected, "
        f"{embed['dropped_null']} null windows dropped, {embed['images_per_s']} images/s"
    )
    for key in ("recall_at_10", "precision_at_10", "map"):
        value = evaluation.get(key)
        _say(f"{key:>16}: {'no labels' if value is None else f'{value:.3f}'}")


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
