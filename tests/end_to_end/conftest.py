"""A real server over a real archive, and a browser on it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from serving.app import create_app
from serving.settings import Settings
from tests.end_to_end.pages import CHROMIUM, DESKTOP, FLAGS, missing, silent
from tests.end_to_end.world import World, publish_world
from tests.serving.server import running, wait_until_ready


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return publish_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def site(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that has loaded ``world``."""
    settings = Settings(
        root=str(world.root),
        cache_dir=tmp_path_factory.mktemp("site"),
        max_upload_bytes=500_000,
        recall_sample_s=0,
    )
    with running(create_app(settings)) as url:
        with httpx.Client(base_url=url) as client:
            wait_until_ready(client)
        yield url


# For a module only: Playwright's blocking API can be started but once in a thread at a time.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if reason := missing():
        pytest.skip(reason)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def visit(chromium: Browser, site: str) -> Iterator[BrowserContext]:
    made = chromium.new_context(
        base_url=site, viewport=DESKTOP, color_scheme="light", reduced_motion="reduce"
    )
    made.set_default_timeout(15_000)
    yield made
    made.close()


@pytest.fixture
def sheet(visit: BrowserContext) -> Iterator[Page]:
    with silent(visit.new_page()) as made:
        yield made
