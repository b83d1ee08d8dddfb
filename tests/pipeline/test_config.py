"""Jobs that cannot be meant are refused; whatever changes a shard's bytes is in its settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from featurizer.bands import RasterOptions
from featurizer.errors import UsageError
from pipeline.config import EmbedJob, RunnerOptions, SourceOptions
from pipeline.tiling import TilingOptions

JOB = EmbedJob(SourceOptions("/in"), "/out", "f" * 20)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shard_rows": 0},
        {"batch": 0},
        {"threads": 0},
        {"max_reject_share": -0.1},
        {"max_reject_share": 1.1},
        {"max_reject_share": float("nan")},
    ],
)
def test_impossible_jobs_name_the_option(wrong):
    with pytest.raises(UsageError, match="--" + next(iter(wrong)).replace("_", "-")):
        replace(JOB, **wrong)


@pytest.mark.parametrize("workers", [0, -2])
def test_a_job_needs_a_worker(workers):
    with pytest.raises(UsageError, match="--workers"):
        RunnerOptions(workers=workers)


@pytest.mark.parametrize(
    "changed",
    [
        replace(JOB, featurizer="e" * 20),
        replace(JOB, batch=32),
        *(
            replace(JOB, source=replace(JOB.source, **{part: options}))
            for part, options in [
                ("tiling", TilingOptions(tile_px=128)),
                ("tiling", TilingOptions(stride_px=256)),
                ("tiling", TilingOptions(max_null=0.1)),
                ("raster", RasterOptions(bands=(3, 2, 1))),
                ("raster", RasterOptions(scale="none")),
                ("raster", RasterOptions(scale=(0.0, 1.0))),
            ]
        ),
    ],
)
def test_what_changes_vectors_is_in_the_settings(changed):
    assert changed.settings != JOB.settings


@pytest.mark.parametrize(
    "same",
    [
        {"root": "/elsewhere"},
        {"threads": 7},
        {"device": "cpu"},
        {"max_reject_share": 1.0},
        {"progress_port": 9},
        {"shard_rows": 5},
    ],
)
def test_what_leaves_vectors_alone_is_not(same):
    assert replace(JOB, **same).settings == JOB.settings
