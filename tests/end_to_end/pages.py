"""Looking at the built pages in a real browser: sizes, screenshots, accessibility."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from playwright.sync_api import Page, expect

ROOT = Path(__file__).parents[2]
WEB = ROOT / "serving" / "web"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = ROOT / "var" / "screenshots"
CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
CARDS = ".card:not(.ghost)"
SAMPLE = 36


def missing() -> str:
    """Why pages cannot be looked at here; empty when they can."""
    if CHROMIUM is None:
        return "no chromium here: apt-get install chromium to run the browser tests"
    if not (WEB / "dist" / "index.html").is_file():
        return "the pages are not built: run `make web`"
    return ""


@contextmanager
def silent(page: Page) -> Iterator[Page]:
    """A page that must not log anything of its own, such as a refusal by the content policy."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type in ("error", "warning")
            # Of the network, which some tests cut and which the satellite's map may not have.
            and "Failed to load resource" not in message.text
            else None
        ),
    )
    yield page
    assert not complaints


def shoot(page: Page, name: str) -> None:
    """Keeps what is in view as var/screenshots/NAME.png, once its pictures have pixels."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_function(
        """() => [...document.querySelectorAll('img')]
            .filter((i) => i.checkVisibility() && i.getBoundingClientRect().top < innerHeight)
            .every((i) => i.complete && i.naturalWidth > 0)"""
    )
    page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")


def faults(page: Page) -> list[dict[str, Any]]:
    """What axe calls serious or critical, with where it is."""
    # A rule of colour that is read in the middle of a transition would see neither colour.
    page.wait_for_function("() => document.getAnimations().every((a) => a.playState !== 'running')")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        {"rule": one["id"], "nodes": [node["html"][:160] for node in one["nodes"]]}
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def eventually(page: Page, holds: Callable[[], bool], within_s: float = 15) -> None:
    """Waits until ``holds`` does, for what no element of the page tells: a map drawn on canvas."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        page.wait_for_timeout(50)


def like(*uris: str) -> str:
    """The address of a search by these tiles."""
    return "/?" + "&".join(f"like={quote(uri, safe='')}" for uri in uris)


def asked(page: Page, key: str) -> list[str]:
    """What the address says of ``key`` in its query."""
    return parse_qs(urlsplit(page.url).query).get(key, [])


def tiles_shown(page: Page) -> list[str]:
    return [str(card.get_attribute("data-tile")) for card in page.locator(CARDS).all()]


def searched(page: Page) -> None:
    """Waits until hits stand on the page and no search is on its way."""
    expect(page.locator("#results")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#status")).to_contain_text(" ms")


def posted(request: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.post_data or "{}")
    return body
