"""Index parameters: valid for FAISS whatever the size, and trained where an archive is tiny."""

from __future__ import annotations

import re

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.errors import UsageError
from featurizer.sampling import sample_rows
from pipeline.index.parameters import IndexOptions, choose, code_bits, subquantizers
from pipeline.index.train import train_index

FACTORY = re.compile(r"IVF(\d+)(_HNSW32)?,PQ(\d+)x(\d)np")
sizes = st.integers(1, 400) | st.integers(1, 10**10)
dims = st.sampled_from([1, 2, 3, 7, 128, 512, 1000, 2048, 25_088]) | st.integers(1, 25_088)
relaxed = settings(max_examples=200, deadline=None)  # the machine may be busy


@relaxed
@given(sizes, dims)
def test_the_defaults_are_valid_for_any_archive(rows, dim):
    made = choose(rows, dim, IndexOptions())
    nlist, _, code_bytes, bits = FACTORY.fullmatch(made.factory).groups()
    assert int(nlist) == made.nlist
    assert dim % int(code_bytes) == 0
    assert 1 <= int(code_bytes) <= 64
    assert 1 <= int(bits) <= 8
    assert 1 <= made.nlist <= made.training_rows <= rows
    assert 2 ** int(bits) <= max(2, made.training_rows)
    assert 1 <= made.nprobe <= made.nlist
    assert made.rerank_factor >= 1
    assert made.training_rows * dim * 4 <= 2**30 or made.training_rows == 1
    if rows >= 100:
        assert rows - made.training_rows >= rows // 10


@relaxed
@given(sizes, dims)
def test_more_rows_never_bring_fewer_lists(rows, dim):
    fewer, more = (choose(n, dim, IndexOptions()) for n in (rows, rows * 2))
    assert fewer.nlist <= more.nlist
    assert fewer.training_rows <= more.training_rows


@relaxed
@given(st.integers(1, 25_088))
def test_code_bytes_divide_the_dimensions(dim):
    count = subquantizers(dim)
    assert dim % count == 0
    assert count <= 64
    larger = [n for n in range(count + 1, 65) if dim % n == 0 and dim // n >= 4]
    assert not larger


@relaxed
@given(st.integers(1, 10**10))
def test_code_bits_leave_a_point_to_each_centroid(sample):
    bits = code_bits(sample)
    assert 1 <= bits <= 8
    assert 2**bits <= max(2, sample)
    assert bits == 8 or 2 ** (bits + 1) > sample


def test_figures_for_sizes_that_users_have():
    small = choose(27_000, 128, IndexOptions())
    assert (small.factory, small.training_rows) == ("IVF512,PQ32x8np", 24_300)
    assert choose(10**6, 512, IndexOptions()).factory == "IVF2048,PQ64x8np"
    assert choose(10**8, 128, IndexOptions()).nlist >= 16_384


def test_choices_of_the_user_hold():
    options = IndexOptions(nlist=100, code_bytes=16, nprobe=7, training_rows=5000)
    made = choose(10_000, 128, options)
    assert made.factory == "IVF100,PQ16x8np"
    assert (made.nlist, made.nprobe, made.training_rows) == (100, 7, 5000)
    assert choose(10_000, 128, IndexOptions(nlist=4, nprobe=99)).nprobe == 4
    assert choose(300_000, 1, IndexOptions(nlist=1 << 16)).factory.startswith("IVF65536_HNSW32,")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"code_bytes": 5}, r"--code-bytes 5 does not divide the 128 dimensions"),
        ({"nlist": 1001}, r"--nlist 1001: more lists than the 900 training rows"),
        ({"nlist": 11, "training_rows": 10}, r"--nlist 11"),
    ],
)
def test_choices_that_cannot_be_are_refused(options, says):
    with pytest.raises(UsageError, match=says):
        choose(1000, 128, IndexOptions(**options))


@pytest.mark.parametrize("name", ["nlist", "code_bytes", "nprobe", "training_rows"])
def test_choices_are_at_least_one(name):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} 0"):
        IndexOptions(**{name: 0})


def unit(rows, dim, seed=0):
    found = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 128, 512])
@pytest.mark.parametrize("rows", [1, 2, 3, 10, 100, 300])
def test_a_tiny_archive_trains_and_finds(rows, dim, capfd):
    vectors = unit(rows, dim)
    made = choose(rows, dim, IndexOptions())
    sample = vectors[sample_rows(rows, made.training_rows, made.sample_seed)]
    index = train_index(sample, made)
    assert (index.d, index.ntotal) == (dim, 0)
    index.add(vectors)
    wanted = min(rows, 10 * made.rerank_factor)
    probes = faiss.SearchParametersIVF(nprobe=made.nprobe)
    _, found = index.search(vectors, wanted, params=probes)
    # as a search does: candidates by codes, then exact distances; brute force is the oracle
    exact = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    nearest = np.array([exact[i, found[i]].min() for i in range(rows)])
    assert (found >= 0).all()
    at_home = np.isclose(nearest, exact.min(axis=1), atol=1e-6)
    assert at_home.mean() >= (1.0 if dim > 3 else 0.95)
    assert "WARNING" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("rows", [1, 5, 300])
def test_an_archive_of_one_picture_many_times(rows):
    vectors = np.repeat(unit(1, 16), rows, axis=0)
    index = train_index(vectors, choose(rows, 16, IndexOptions()))
    index.add(vectors)
    distances, found = index.search(vectors[:1], rows)
    assert sorted(found[0]) == list(range(rows))
    np.testing.assert_allclose(distances, 0, atol=1e-5)


def test_training_is_repeatable():
    vectors = unit(600, 32)
    made = choose(600, 32, IndexOptions())
    first, second = (faiss.serialize_index(train_index(vectors, made)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
