"""How many lists, how many bytes a code, how many lists a query looks into.  Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from featurizer.errors import UsageError
from featurizer.manifest import IndexParameters

# Re-ranking from exact vectors, not longer codes, buys recall; ten candidates a result do.
RERANK_FACTOR = 10
_POINTS_PER_LIST = 64  # k-means of FAISS wants 39 at least and uses 256 at most
_HELD_OUT = 0.1  # share of the rows that never trains, so that recall can be measured on them
_MAX_SAMPLE_BYTES = 1 << 30
_HNSW_FROM = 1 << 16  # above so many centroids a graph finds the nearest faster than a scan
_SEED = 20_240_229


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """The user's choices; None is chosen from the number of rows and dimensions."""

    nlist: int | None = None
    code_bytes: int | None = None
    nprobe: int | None = None
    training_rows: int | None = None

    def __post_init__(self) -> None:
        for name in ("nlist", "code_bytes", "nprobe", "training_rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least 1")


def choose(rows: int, dim: int, options: IndexOptions) -> IndexParameters:
    """Parameters for ``rows`` vectors of ``dim`` dimensions; rows must be at least 1.

    Lists: the last power of two up to 4 * sqrt(rows), as FAISS's guide to choosing an index
    advises, but no more than the training rows can place (39 points a list).
    """
    sample = options.training_rows or _sample_size(rows, dim)
    sample = min(sample, rows)
    nlist = options.nlist or _lists(rows, sample)
    code_bytes = options.code_bytes or subquantizers(dim)
    if dim % code_bytes:
        raise UsageError(f"--code-bytes {code_bytes} does not divide the {dim} dimensions evenly")
    if nlist > sample:
        raise UsageError(f"--nlist {nlist}: more lists than the {sample} training rows")
    coarse = f"IVF{nlist}_HNSW32" if nlist >= _HNSW_FROM else f"IVF{nlist}"
    return IndexParameters(
        # np: without polysemous training, simulated annealing that no search here makes use of
        factory=f"{coarse},PQ{code_bytes}x{code_bits(sample)}np",
        nlist=nlist,
        nprobe=min(nlist, options.nprobe or max(8, math.ceil(1.5 * math.sqrt(nlist)))),
        rerank_factor=RERANK_FACTOR,
        training_rows=sample,
        sample_seed=_SEED,
    )


def _sample_size(rows: int, dim: int) -> int:
    wanted = _POINTS_PER_LIST * _power_of_two(4 * math.sqrt(rows))
    most = min(rows - int(rows * _HELD_OUT), _MAX_SAMPLE_BYTES // (4 * dim))
    # A small sample trains bad codes: then every row but the held-out ones is used.
    return max(1, min(most, max(wanted, 256 * 39)))


def _lists(rows: int, sample: int) -> int:
    return max(1, min(_power_of_two(4 * math.sqrt(rows)), _power_of_two(sample / 39)))


def _power_of_two(value: float) -> int:
    return 1 << max(0, math.floor(math.log2(max(1.0, value))))


def subquantizers(dim: int) -> int:
    """Bytes a code: the largest divisor of ``dim`` up to 64 that leaves 4 dimensions to each."""
    most = min(64, max(1, dim // 4))
    return next(count for count in range(most, 0, -1) if dim % count == 0)


def code_bits(sample: int) -> int:
    """Bits a sub-quantizer: 8, fewer only where the sample has fewer points than 256 centroids."""
    return max(1, min(8, math.floor(math.log2(sample)))) if sample >= 2 else 1
