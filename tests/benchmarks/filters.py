"""``python -m tests.benchmarks.filters``: searches among the rows that a filter leaves.

Over ``--root`` or synthetic vectors that are labelled, dated and placed.  Labels go with clusters
of vectors, so that a label leaves a corner of their space; times and boxes leave rows anywhere.
Recall is against the exact order of the same rows, ties counted, one query at a time.

  filter ms  the filter evaluated over all rows, the first time; it is kept for the searches after
  rows       by comparison with each, up to ten thousand; beyond, by the index
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import faiss
import numpy as np

from serving.engine.search import Facets, Filter, SearchEngine
from serving.evaluation import K, query_rows, recall
from tests.benchmarks.raw_faiss import RawIndex
from tests.benchmarks.search import milliseconds
from tests.benchmarks.table import machine, table, verdict

LEAST = ((0.02, 0.99), (0.6, 0.95))  # share that matches, at most: what recall is asked for
_EXACT_AT_ONCE = 50


def filters(facets: Facets) -> dict[str, Filter]:
    """Filters from narrow to wide, by what the archive holds."""
    labels = [label for label, _ in facets.labels]
    found = {
        f"{count} of {len(labels)} labels": Filter(labels=tuple(labels[:count]))
        for count in (1, len(labels) // 10, len(labels) // 2)
        if count
    }
    if facets.first is not None and facets.last is not None:
        for share in (0.01, 0.5):
            found[f"the first {share:.0%} of time"] = Filter(end=_at(facets, share))
    if facets.bounds is not None:
        for half_deg in (10.0, 18.0, 60.0):
            box = (-half_deg, -half_deg, half_deg, half_deg)
            found[f"a box of {2 * half_deg:g} degrees"] = Filter(bbox=box)
    return found


def _at(facets: Facets, share: float) -> datetime:
    assert facets.first is not None and facets.last is not None
    return facets.first + share * (facets.last - facets.first)


def measure(engine: SearchEngine, count: int) -> None:
    """Prints a line for each filter, and whether recall is what is asked for."""
    own, _ = query_rows(engine, count, seed=0)
    queries = engine.vectors(own)
    total = engine.facets(None, 1).matching
    rows, worst = [], dict.fromkeys(LEAST, 1.0)
    for name, wanted in filters(engine.facets(None, 10_000)).items():
        begin = time.perf_counter()
        within = engine.select(wanted)
        evaluated = (time.perf_counter() - begin) * 1000
        if not within.count:
            continue
        exact = np.concatenate(
            [
                engine.search(queries[i : i + _EXACT_AT_ONCE], K, exact=True, within=within)[0]
                for i in range(0, count, _EXACT_AT_ONCE)
            ]
        )
        found = engine.search(queries, K, within=within)[0]
        hit, share = recall(found, exact), within.count / total
        times = milliseconds(lambda query, w=within: engine.search(query, K, within=w), queries)
        for most, least in LEAST:
            if share <= most:
                worst[most, least] = min(worst[most, least], hit)
                break
        cells = (f"{hit:.4f}", f"{np.median(times):.2f}", f"{np.percentile(times, 99):.2f}")
        rows.append([name, f"{within.count:,}", f"{share:.2%}", f"{evaluated:.1f}", *cells])
    print(table(("filter", "rows", "share", "filter ms", "recall@10", "ms", "p99 ms"), rows))
    for (most, least), hit in worst.items():
        print(f"  worst recall@10 up to {most:.0%}: {verdict(hit, least)}")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.filters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", help="an archive with labels, dates and places")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the synthetic archive")
    parser.add_argument("--queries", type=int, default=200)
    args = parser.parse_args(argv)
    print(machine(), flush=True)
    faiss.omp_set_num_threads(1)  # in the calling thread, which is the one that is timed
    with tempfile.TemporaryDirectory(prefix="worldsift-benchmark-") as place:
        root = args.root or RawIndex.archive(Path(place) / "root", args.rows)
        engine = SearchEngine.open(root, Path(place) / "cache")
        print(f"\n{engine.generation.rows:,} rows, {engine.generation.index.factory}\n")
        measure(engine, args.queries)
        engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
