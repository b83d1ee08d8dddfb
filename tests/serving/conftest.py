"""One gallery and one running app for all HTTP tests: both are only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.app import create_app
from serving.settings import Settings
from tests.serving.gallery import Gallery, build_gallery
from tests.serving.server import ready


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return build_gallery(tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="session")
def settings(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(gallery.root, tmp_path_factory.mktemp("cache"))


def make_settings(root: str, cache_dir: Path, **more: Any) -> Settings:
    """Small limits, so that tests reach them; ``more`` goes before."""
    fields = {
        "max_upload_bytes": 400_000,
        "max_upload_pixels": 1_000_000,
        "max_images": 4,
        "max_k": 100,
        "query_threads": 2,
    }
    return Settings(root=root, cache_dir=cache_dir, **{**fields, **more})


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[httpx.Client]:
    with ready(create_app(settings)) as client:
        yield client
