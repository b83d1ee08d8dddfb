"""The examples that the OpenAPI document shows of answers."""

from __future__ import annotations

from typing import Any

from serving.models.requests import TILE_EXAMPLE

_IMAGE_EXAMPLE = (
    "/v1/tiles/gs%3A%2F%2Fimagery%2F2021%2Fscene.tif%23512%2C256%2C256%2C256/image?v=5f0c9a11d2e4"
)
TILE: dict[str, Any] = {
    "tile_id": TILE_EXAMPLE,
    "uri": "gs://imagery/2021/scene.tif",
    "window": {"x": 512, "y": 256, "width": 256, "height": 256},
    "bounds": [129.5, -13.25, 130.0, -12.75],
    "datetime": "2021-07-14T00:00:00Z",
    "label": "coast",
    "valid_fraction": 0.98,
    "image_url": _IMAGE_EXAMPLE,
    "thumbnail_url": f"{_IMAGE_EXAMPLE}&size=256",
    "worldview_url": "https://worldview.earthdata.nasa.gov/?v=129.25,-13.5,130.25,-12.5&t=2021-07-14",
}
HIT: dict[str, Any] = {
    "rank": 1,
    "distance": 0.0831,
    "score": 0.9169,
    "folded": [],
    **TILE,
}
SEARCH: dict[str, Any] = {
    "generation": "000003-5f0c9a11d2e4",
    "metric": "cosine",
    "took_ms": 3.4,
    "query": {
        "strategy": "mean",
        "negative_weight": 0.5,
        "positive": [{"kind": "tile", "name": None, "tile_id": TILE_EXAMPLE, "weight": 1.0}],
        "negative": [],
    },
    "matching": 1204,
    "hits": [HIT],
    "cursor": "c1.zwKj4OaUZ3pbIjAwMDAwMy01ZjBjOWExMWQyZTQiLDMsMywiNDhkYzMwMTE4NzdlNDhkMCJd",
}
EMBEDDED: dict[str, Any] = {
    "featurizer": "5f0c9a11d2e45f0c9a11",
    "dim": 4,
    "embeddings": [
        {
            "name": "coast.jpg",
            "vector": [0.5, -0.5, 0.5, 0.5],
            "embedding": "e1.XwyaEdLkXwwAOAC4ADgAONO3cbg",
        }
    ],
}
FACETS: dict[str, Any] = {
    "generation": "000003-5f0c9a11d2e4",
    "matching": 1204,
    "labels": [{"label": "coast", "count": 900}, {"label": "ice", "count": 204}],
    "unlabelled": 100,
    "months": [{"month": "2021-06", "count": 700}, {"month": "2021-07", "count": 504}],
    "undated": 0,
    "first": "2021-06-01T00:00:00Z",
    "last": "2021-07-31T00:00:00Z",
    "bounds": [110.0, -45.0, 155.0, -10.0],
    "unplaced": 0,
}
STATS: dict[str, Any] = {
    "name": "archive",
    "generation": "000003-5f0c9a11d2e4",
    "loaded": "2026-11-20T12:00:00Z",
    "rows": 1_000_000,
    "shards": 64,
    "removed": 0,
    "featurizer": {
        "backbone": "terra128",
        "layer": "embedding",
        "dim": 128,
        "metric": "cosine",
        "input_px": 128,
        "fingerprint": "5f0c9a11d2e45f0c9a11",
    },
    "index": {"factory": "IVF1024,PQ16", "nlist": 1024, "nprobe": 32, "rerank_factor": 10},
    "limits": {
        "max_upload_bytes": 33_554_432,
        "max_upload_pixels": 100_000_000,
        "max_images": 16,
        "max_examples": 256,
        "max_k": 10_000,
        "max_results": 100_000,
        "max_batch": 64,
    },
    "evaluation": None,
    "live_recall": {"recall_at_10": 0.994, "samples": 200, "last": "2026-11-20T12:30:00Z"},
    "refused": None,
}
