"""Folding against shapely and loops, diversity against the formula, and both under paging."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from featurizer.tiles import Window
from serving.query.answering import answer, everything
from serving.query.diversity import diversified
from serving.query.duplicates import Duplicates
from serving.query.examples import similarity
from serving.query.overlap import boxes_in_source, boxes_on_earth, share
from serving.query.question import Effort, Page, Question, Shape
from serving.query.shaping import pool_size
from tests.serving.archive import clustered
from tests.serving.query.brute import (
    BruteEngine,
    Place,
    by_definition,
    by_tile,
    by_vector,
    pages,
    rows_of,
    selection,
)

METRICS = pytest.mark.parametrize("metric", ["cosine", "euclidean"])
DEGREES = st.integers(-1440, 1440).map(lambda quarter: quarter / 8)  # -180..180
LATITUDES = st.integers(-720, 720).map(lambda quarter: quarter / 8)


@st.composite
def earthly(draw):
    south, north = sorted(draw(st.lists(LATITUDES, min_size=2, max_size=2, unique=True)))
    west, east = draw(st.lists(DEGREES, min_size=2, max_size=2, unique=True))
    return west, south, east, north


def on_earth(bounds):
    """Bounds as shapely has them, in an equal-area projection of its own unit."""
    west, south, east, north = bounds
    low, high = (math.sin(math.radians(value)) for value in (south, north))
    if west <= east:
        return shapely.box(west, low, east, high)
    return shapely.union_all(
        [shapely.box(west, low, 180, high), shapely.box(-180, low, east, high)]
    )


def in_source(window):
    if window is None:
        return shapely.box(-1e9, -1e9, 1e9, 1e9)
    return shapely.box(window.x, window.y, window.x + window.width, window.y + window.height)


def shared(one, other) -> float:
    return one.intersection(other).area / min(one.area, other.area)


@given(earthly(), earthly())
def test_shares_on_earth_are_those_of_shapely(one, other):
    wanted = shared(on_earth(one), on_earth(other))
    assert share(boxes_on_earth(one), boxes_on_earth(other)) == pytest.approx(wanted, abs=1e-9)


def windows(draw, count):
    size = st.integers(1, 40)
    return [
        Window(draw(st.integers(0, 80)), draw(st.integers(0, 80)), draw(size), draw(size))
        for _ in range(count)
    ]


@given(st.data())
def test_shares_of_windows_are_those_of_shapely(data):
    one, other = windows(data.draw, 2)
    wanted = shared(in_source(one), in_source(other))
    assert share(boxes_in_source(one), boxes_in_source(other)) == pytest.approx(wanted, abs=1e-9)
    assert share(boxes_in_source(one), boxes_in_source(None)) == 1
    assert share(boxes_in_source(None), boxes_in_source(None)) == 1


@st.composite
def places(draw, count):
    """Tiles of two scenes and of whole images, some placed on Earth, many of them overlapping."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    made = []
    for i in range(count):
        kind = rng.integers(5)
        size = int(rng.choice([8, 16, 50]))
        window = Window(int(rng.integers(60)), int(rng.integers(60)), size, size)
        west = float(rng.integers(1700, 1900)) / 10
        west = west - 360 if west > 180 else west
        east = west + float(rng.choice([0.5, 2, 30]))
        east = east - 360 if east > 180 else east
        south = float(rng.integers(-80, 80))
        bounds = (west, south, east, south + float(rng.choice([0.5, 2, 9])))
        uri = f"/scene{kind % 2}.tif" if kind < 4 else f"/picture{i}.jpg"
        made.append(
            Place(uri, window if kind < 4 else None, bounds if rng.random() < 0.9 else None)
        )
    return made


def folded_by_loops(order, closest):
    """Greedy suppression by its definition: row -> hit it is folded into; hits -> None."""
    into = {}
    for row in order:
        hits = [hit for hit, target in into.items() if target is None and closest(row, hit)]
        into[row] = hits[0] if hits else None
    return into


def is_loop(found, into):
    """Whether hits, and what is folded into each, are those of the loops."""
    hits = [row for row, target in into.items() if target is None]
    assert rows_of(found) == hits
    for page in found:
        for row, folded in zip(page.rows.tolist(), page.folded, strict=True):
            after = [other for other, target in into.items() if target == row]
            assert list(folded) == after[: len(folded)]  # best first, as far as was looked
    return hits


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["window", "place"]), st.sampled_from([0.0, 0.3, 0.75]))
def test_overlapping_tiles_are_folded_into_the_best(data, by, most):
    where = data.draw(places(120))
    engine = BruteEngine(clustered(120, 6, seed=data.draw(st.integers(0, 9))), places=where)
    question = Question((by_tile(engine, 7),))
    order = rows_of(pages(engine, question, 120))
    if by == "window":
        shapes = [in_source(place.window) for place in where]
    else:
        shapes = [None if place.bounds is None else on_earth(place.bounds) for place in where]

    def overlap(row, hit):
        if shapes[row] is None or shapes[hit] is None:
            return False
        if by == "window" and where[row].uri != where[hit].uri:
            return False
        return shared(shapes[row], shapes[hit]) > most + 1e-9

    shape = Shape(max_overlap=most, overlap_by=by)
    k = data.draw(st.integers(5, 130))
    found = pages(engine, question, k, shape=shape)
    hits = is_loop(found, folded_by_loops(order, overlap))
    assert not any(overlap(a, b) for i, a in enumerate(hits) for b in hits[:i])
    folded = [row for page in found for rows in page.folded for row in rows]
    assert len(set(folded)) == len(folded) and not set(folded) & set(hits)
    if len(found) == 1:
        assert set(folded) | set(hits) == set(range(120))


@METRICS
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_near_duplicates_are_folded_into_the_best(metric, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scale = 1 if metric == "cosine" else 4
    originals = clustered(40, 6, seed=3) * scale
    noise = rng.choice([0, 1e-3, 0.1], size=(200, 1)) * rng.normal(size=(200, 6)) * scale
    engine = BruteEngine(originals[rng.integers(40, size=200)] + noise)
    engine = BruteEngine(engine._vectors, metric)
    question = Question((by_tile(engine, 7),))
    order = rows_of(pages(engine, question, 200))
    distances = by_definition(engine._vectors, engine._vectors, metric).astype(np.float64)
    limit = data.draw(st.sampled_from([0.0, 0.001, 0.05, 0.5])) * scale
    assume(limit == 0 or np.abs(distances - limit).min() > 1e-7)  # clear of rounding

    def near(row, hit):
        return distances[row, hit] <= limit + 1e-12

    k = data.draw(st.integers(10, 200))
    found = pages(engine, question, k, shape=Shape(duplicate_distance=limit))
    is_loop(found, folded_by_loops(order, near))


@METRICS
def test_duplicates_are_found_across_blocks(metric):
    """Blocks of any cut give what one comparison of all with all gives."""
    vectors = np.repeat(clustered(60, 5, seed=2), 4, axis=0)
    vectors = (vectors + 0.02 * np.random.default_rng(0).normal(size=vectors.shape)).astype("f4")
    limit = 0.002 if metric == "cosine" else 0.06
    distances = by_definition(vectors, vectors, metric)
    wanted = folded_by_loops(range(240), lambda row, hit: distances[row, hit] <= limit)
    assert 60 < sum(hit is None for hit in wanted.values()) < 200
    for cut in (1, 7, 64, 240):
        duplicates, hits, into = Duplicates(limit, metric), [], {}
        for first in range(0, 240, cut):
            block = vectors[first : first + cut]
            duplicates.load(block)
            for place in range(len(block)):
                hit = duplicates.first(place)
                into[first + place] = None if hit is None else hits[hit]
                if hit is None:
                    duplicates.keep(place)
                    hits.append(first + place)
        assert into == wanted


def diverse_by_loops(vectors, scores, diversity, metric):
    chosen = [0]
    alike = similarity(by_definition(vectors, vectors, metric), metric)
    while len(chosen) < len(scores):
        rest = [i for i in range(len(scores)) if i not in chosen]
        gains = [
            (1 - diversity) * scores[i] - diversity * max(alike[i, j] for j in chosen) for i in rest
        ]
        chosen.append(rest[int(np.argmax(gains))])
    return chosen


def ranked(metric, query, vectors):
    """The vectors in order of likeness to the query, and their scores."""
    distances = by_definition(query[None], vectors, metric)[0]
    order = np.argsort(distances)
    return vectors[order], similarity(distances[order], metric)


@METRICS
@pytest.mark.parametrize("diversity", [0.1, 0.5, 1.0])
def test_diversity_is_maximal_marginal_relevance(metric, diversity):
    vectors = clustered(60, 6, seed=4) * (1 if metric == "cosine" else 3)
    vectors, scores = ranked(metric, np.ones(6, np.float32), vectors)
    assert diversified(vectors, scores, diversity, metric).tolist() == diverse_by_loops(
        vectors, scores, diversity, metric
    )


@METRICS
@pytest.mark.parametrize("diversity", [0.1, 0.5, 1.0])
def test_likeness_to_the_tile_that_asks_is_not_held_against_hits(metric, diversity):
    vectors = clustered(60, 6, seed=4) * (1 if metric == "cosine" else 3)
    vectors, scores = ranked(metric, vectors[11], vectors)
    others = diverse_by_loops(vectors[1:], scores[1:], diversity, metric)
    order = diversified(vectors, scores, diversity, metric, own_first=True)
    assert order.tolist() == [0, *(place + 1 for place in others)]


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("own_first", [True, False])
def test_so_few_rows_have_no_other_order(count, own_first):
    vectors, scores = clustered(3, 6)[:count], np.ones(count, np.float32)
    order = diversified(vectors, scores, 0.5, "cosine", own_first)
    assert order.tolist() == list(range(count))


def test_no_diversity_is_the_order_by_likeness():
    vectors = clustered(50, 6)
    scores = np.linspace(1, 0, 50, dtype=np.float32)
    assert diversified(vectors, scores, 0.0, "cosine").tolist() == list(range(50))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_shaped_pages_are_one_order(data):
    where = data.draw(places(400))
    engine = BruteEngine(
        clustered(400, 6),
        data.draw(st.sampled_from(["cosine", "euclidean"])),
        missing=data.draw(st.sampled_from([0.0, 0.5])),
        places=where,
    )
    examples = (by_tile(engine, 7), by_vector(np.ones(6)))
    question = Question(
        examples[: data.draw(st.integers(1, 2))],
        strategy=data.draw(st.sampled_from(["mean", "best"])),
        include_examples=data.draw(st.booleans()),
    )
    shape = Shape(
        data.draw(st.sampled_from([None, 0.2])),
        data.draw(st.sampled_from(["window", "place"])),
        data.draw(st.sampled_from([None, 0.01])),
        data.draw(st.sampled_from([None, 0.3, 1.0])),
    )
    min_score = data.draw(st.sampled_from([None, 0.3]))
    within = data.draw(st.sampled_from([None, selection(400, range(250))]))
    k = data.draw(st.integers(20, 90))
    found = pages(engine, question, k, Effort(), within, shape, min_score)
    rows = rows_of(found)
    assert len(set(rows)) == len(rows)
    assert all(len(page.rows) == k for page in found[:-1])
    assert len(found) == 1 or len(found[-1].rows)
    deep = answer(engine, question, Effort(), within, shape, Page(1000, 0, k, min_score))
    assert deep.rows.tolist() == rows and not deep.more
    folded = [row for into in deep.folded for row in into]
    assert len(set(folded)) == len(folded) and not set(folded) & set(rows)
    if min_score is None:
        able = set(range(400)) if within is None else set(range(250))
        assert set(rows) | set(folded) == able - (set() if question.include_examples else {7})
    ten = answer(engine, question, Effort(), within, shape, Page(90, 0, 10, min_score))
    parts = list(everything(engine, question, Effort(), within, shape, 90, min_score))
    assert rows_of(parts) == ten.rows.tolist()


def test_the_order_goes_on_plainly_after_the_pool():
    engine = BruteEngine(clustered(1300, 8))
    question = Question((by_tile(engine, 7),))
    plain = answer(engine, question, Effort(), None, Shape(), Page(1300)).rows
    found = answer(engine, question, Effort(), None, Shape(diversity=0.4), Page(1300, 0, 10)).rows
    assert pool_size(10) == 1000
    assert set(found[:1000]) == set(plain[:1000]) and found[1:20].tolist() != plain[1:20].tolist()
    assert found[1000:].tolist() == plain[1000:].tolist()


@pytest.mark.parametrize(("first_k", "size"), [(1, 1000), (500, 2000), (10_000, 4096)])
def test_the_pool_follows_the_page_within_bounds(first_k, size):
    assert pool_size(first_k) == size


def test_an_archive_of_one_place_has_one_hit_by_place():
    engine = BruteEngine(
        clustered(700, 6), places=[Place(f"/{i}.tif", None, (1, 2, 3, 4)) for i in range(700)]
    )
    question = Question((by_tile(engine, 7),))
    shape = Shape(max_overlap=0.5, overlap_by="place")
    found = answer(engine, question, Effort(), None, shape, Page(10))
    assert found.rows.tolist() == [7] and not found.more
    assert set(found.folded[0]) == set(range(700)) - {7}
