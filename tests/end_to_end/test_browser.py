"""The search page in a real browser, on a real server over a real archive."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from featurizer.schema import Row
from pipeline.synthetic.landscapes import LANDSCAPES
from serving.app import create_app
from serving.settings import Settings
from tests.end_to_end.landscapes import publish_landscapes
from tests.serving.gallery import encoded
from tests.serving.server import running, wait_until_ready

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = Path(__file__).parents[2] / "var" / "screenshots"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
CARDS = ".card:not(.skeleton)"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here: apt-get install chromium to run the browser tests"
)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return []


@pytest.fixture(scope="module")
def address(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("landscapes")
    rows += publish_landscapes(folder)
    settings = Settings(
        root=str(folder / "landscapes"), cache_dir=folder / "cache", max_upload_bytes=500_000
    )
    with running(create_app(settings)) as url:
        with httpx.Client(base_url=url) as client:
            wait_until_ready(client)
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser, address: str) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=address, viewport=DESKTOP, color_scheme="light")
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that must not log anything of its own, such as a refusal by the content policy."""
    made, complaints = context.new_page(), []
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type in ("error", "warning")
            and "Failed to load resource" not in message.text
            else None
        ),
    )
    yield made
    assert not complaints


def shoot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    pictures_shown(page)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def pictures_shown(page: Page) -> None:
    """Waits until what is in view has pixels."""
    page.wait_for_function(
        """() => [...document.querySelectorAll('img')]
            .filter((i) => i.getBoundingClientRect().top < innerHeight)
            .every((i) => i.complete && i.naturalWidth > 0)"""
    )


def tile_in_address(page: Page) -> str:
    return parse_qs(urlsplit(page.url).query)["tile"][0]


def first_tile(page: Page) -> str:
    return str(page.locator(CARDS).first.get_attribute("data-tile"))


class TestStartPage:
    def test_it_shows_a_sample_and_says_what_the_archive_is(
        self, page: Page, rows: list[Row]
    ) -> None:
        page.goto("/")
        expect(page.locator(CARDS)).to_have_count(24)
        expect(page.locator("#facts")).to_contain_text(f"{len(rows)} pictures")
        expect(page.locator("#facts")).to_contain_text("terra128")
        expect(page).to_have_title("landscapes · Worldsift")
        expect(page.locator("#about")).to_contain_text("cosine")
        shown = {card.get_attribute("data-tile") for card in page.locator(CARDS).all()}
        assert len(shown) == 24 and shown <= {row.uri for row in rows}
        shoot(page, "desktop-light-start")

    def test_other_pictures_can_be_asked_for(self, page: Page) -> None:
        page.goto("/")
        before = first_tile(page)
        page.get_by_role("button", name="Show others").click()
        expect(page.locator(CARDS).first).not_to_have_attribute("data-tile", before)


class TestSearching:
    def test_an_upload_becomes_a_grid_with_itself_first(self, page: Page, rows: list[Row]) -> None:
        page.goto("/")
        page.set_input_files("#file", rows[9].uri)
        expect(page.locator("#status")).to_contain_text(f"of {len(rows)} in")
        expect(page.locator(CARDS)).to_have_count(24)
        assert first_tile(page) == rows[9].uri
        expect(page.locator(CARDS).first.locator(".distance")).to_have_text("0.000")
        expect(page.locator("#query-name")).to_have_text(Path(rows[9].uri).name)
        preview = page.locator("#query-picture img")
        assert preview.evaluate("(i) => i.decode().then(() => i.naturalWidth)") == 128

    def test_a_click_searches_by_that_picture_and_the_address_says_so(self, page: Page) -> None:
        page.goto("/")
        page.set_input_files(
            "#file", files=[{"name": "q.png", "mimeType": "image/png", "buffer": _picture()}]
        )
        expect(page.locator("#status")).to_contain_text(" in ")
        chosen = page.locator(CARDS).nth(5)
        wanted = str(chosen.get_attribute("data-tile"))
        chosen.locator("a").click()
        expect(page.locator(".card.self")).to_have_attribute("data-tile", wanted)
        assert tile_in_address(page) == wanted == first_tile(page)
        shoot(page, "desktop-light-results")

    def test_enter_does_as_a_click(self, page: Page) -> None:
        page.goto("/")
        link = page.locator(f"{CARDS} > a").nth(2)
        link.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".card.self")).to_have_count(1)
        assert page.evaluate("document.activeElement.id") == "results"

    def test_back_and_forward_go_through_searches_and_uploads(
        self, page: Page, rows: list[Row]
    ) -> None:
        page.goto("/")
        page.set_input_files("#file", rows[3].uri)
        expect(page.locator("#query-name")).to_have_text(Path(rows[3].uri).name)
        expect(page.locator(CARDS).first).to_have_attribute("data-tile", rows[3].uri)
        wanted = str(page.locator(CARDS).nth(2).get_attribute("data-tile"))
        page.locator(f"{CARDS} > a").nth(2).click()
        expect(page.locator(".card.self")).to_have_attribute("data-tile", wanted)
        page.go_back()
        expect(page.locator(CARDS).first).to_have_attribute("data-tile", rows[3].uri)
        page.go_back()
        expect(page.locator("#hero")).to_be_visible()
        page.go_forward()
        page.go_forward()
        expect(page.locator(".card.self")).to_have_attribute("data-tile", wanted)

    def test_an_address_can_be_shared(self, page: Page, rows: list[Row]) -> None:
        page.goto(f"/?tile={quote(rows[7].uri, safe='')}&k=48&exact=1")
        expect(page.locator(".card.self")).to_have_attribute("data-tile", rows[7].uri)
        expect(page.locator(CARDS)).to_have_count(48)
        expect(page.locator("#exact")).to_be_checked()
        expect(page.locator("#count")).to_have_value("48")

    def test_options_search_again(self, page: Page, rows: list[Row]) -> None:
        page.goto(f"/?tile={quote(rows[7].uri, safe='')}")
        expect(page.locator(CARDS)).to_have_count(24)
        page.select_option("#count", "48")
        expect(page.locator(CARDS)).to_have_count(48)
        with page.expect_request("**/v1/search") as asked:
            page.check("#exact")
        assert json.loads(asked.value.post_data or "")["exact"] is True
        expect(page).to_have_url(re.compile("k=48&exact=1"))

    def test_a_picture_can_be_dropped_and_pasted(self, page: Page, rows: list[Row]) -> None:
        for event, transfer in (("drop", "dataTransfer"), ("paste", "clipboardData")):
            page.goto("/")
            expect(page.locator(CARDS)).to_have_count(24)
            page.evaluate(
                """async ([event, transfer, source]) => {
                    const bytes = await (await fetch(source)).blob();
                    const data = new DataTransfer();
                    data.items.add(new File([bytes], "given.png", { type: "image/png" }));
                    const kind = event === "drop" ? DragEvent : ClipboardEvent;
                    document.body.dispatchEvent(
                        new kind(event, { bubbles: true, cancelable: true, [transfer]: data }));
                }""",
                [event, transfer, f"/v1/tiles/{quote(rows[4].uri, safe='')}/image?format=png"],
            )
            expect(page.locator("#query-name")).to_have_text("given.png")
            expect(page.locator(CARDS).first).to_have_attribute("data-tile", rows[4].uri)


def _picture() -> bytes:
    return encoded(LANDSCAPES["coast"](np.random.default_rng(77), 128))


class TestDetails:
    def test_they_tell_all_and_lead_on(self, page: Page, rows: list[Row]) -> None:
        row = next(row for row in rows if row.bounds)
        page.goto(f"/?tile={quote(row.uri, safe='')}")
        card = page.locator(CARDS).first
        card.hover()
        card.get_by_role("button", name="Details").click()
        dialog = page.locator("#details")
        expect(dialog).to_be_visible()
        for text in (row.uri, "the whole picture", "°S", "°W", "2021", str(row.label)):
            expect(dialog).to_contain_text(text)
        shoot(page, "desktop-light-details")
        with page.expect_download() as saved:
            dialog.get_by_role("link", name="Download PNG").click()
        assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
        with page.expect_download() as saved:
            dialog.get_by_role("link", name="GeoJSON").click()
        feature = json.loads(Path(saved.value.path()).read_text())
        west, south = feature["geometry"]["coordinates"][0][0]
        assert row.bounds is not None and (west, south) == row.bounds[:2]
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()


class TestTrouble:
    def test_a_bad_file_says_what_to_do(self, page: Page) -> None:
        page.goto("/")
        letter = {"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear archive, hello"}
        page.set_input_files("#file", files=[letter])
        notice = page.locator("#notice")
        expect(notice).to_contain_text("letter.jpg")
        expect(notice).to_contain_text("JPEG, PNG")
        expect(notice.get_by_role("button", name="Choose another picture")).to_be_visible()
        shoot_plain(page, "desktop-light-error")

    def test_a_file_beyond_the_limit_is_not_even_sent(self, page: Page) -> None:
        page.goto("/")
        expect(page.locator(CARDS)).to_have_count(24)
        fat = {"name": "fat.tif", "mimeType": "image/tiff", "buffer": b"x" * 500_001}
        page.on("request", lambda sent: pytest.fail("sent") if sent.method == "POST" else None)
        page.set_input_files("#file", files=[fat])
        expect(page.locator("#notice")).to_contain_text("fat.tif")

    def test_an_unknown_tile(self, page: Page) -> None:
        page.goto("/?tile=nowhere.png")
        expect(page.locator("#notice")).to_contain_text("nowhere.png")
        page.get_by_role("link", name="To the start page").click()
        expect(page.locator(CARDS)).to_have_count(24)

    def test_a_server_that_is_gone(self, page: Page) -> None:
        page.goto("/")
        expect(page.locator(CARDS)).to_have_count(24)
        page.route("**/v1/search", lambda route: route.abort())
        page.locator(f"{CARDS} > a").first.click()
        expect(page.locator("#notice")).to_contain_text("does not answer")
        page.unroute("**/v1/search")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".card.self")).to_have_count(1)

    def test_an_archive_that_is_still_loading(self, page: Page) -> None:
        refusals = [503]

        def once(route: Route) -> None:
            if refusals:
                problem = {
                    "type": "urn:worldsift:problem:not-ready",
                    "title": "t",
                    "detail": "wait",
                }
                route.fulfill(status=refusals.pop(), body=json.dumps(problem))
            else:
                route.continue_()

        page.route("**/v1/archive", once)
        page.goto("/")
        expect(page.locator("#notice")).to_contain_text("One moment")
        expect(page.locator(CARDS)).to_have_count(24)
        expect(page.locator("#notice")).to_be_hidden()

    def test_a_picture_that_cannot_be_shown(self, page: Page) -> None:
        page.route("**/image?*", lambda route: route.fulfill(status=410, body="{}"))
        page.goto("/")
        expect(page.locator(".card .broken").first).to_contain_text("cannot be read")


def shoot_plain(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_layout_has_no_horizontal_scroll(
    browser: Browser, address: str, scheme: str, device: str, size: dict[str, int]
) -> None:
    phone = device == "phone"
    context = browser.new_context(
        base_url=address,
        viewport=size,
        color_scheme="dark" if scheme == "dark" else "light",
        is_mobile=phone,
        has_touch=phone,
    )
    page = context.new_page()
    page.goto("/")
    for state in ("start", "results"):
        expect(page.locator(CARDS)).to_have_count(24)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"], f"{state}: {width} px wide"
        shoot(page, f"{device}-{scheme}-{state}")
        if state == "start":
            page.locator(f"{CARDS} > a").nth(1).click()
            expect(page.locator(".card.self")).to_have_count(1)
    camera = page.get_by_role("button", name="Take a photo")
    page.goto("/")
    expect(camera).to_be_visible(visible=phone)
    context.close()
