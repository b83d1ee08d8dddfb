"""The search page in trouble, on small and dark screens, and for those who do not see it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from serving.app import create_app
from serving.operations.keys import new_key
from serving.settings import Settings
from tests.end_to_end.pages import (
    AXE,
    CARDS,
    DESKTOP,
    PHONE,
    SAMPLE,
    faults,
    like,
    searched,
    shoot,
)
from tests.end_to_end.world import World
from tests.serving.server import running

NOT_READY = {"type": "urn:worldsift:problem:not-ready", "title": "t", "detail": "being loaded"}


def _give(page: Page, name: str, data: bytes) -> None:
    page.set_input_files("#file", files=[{"name": name, "mimeType": "image/png", "buffer": data}])


class TestTrouble:
    def test_a_bad_file_says_what_to_do(self, sheet: Page) -> None:
        sheet.goto("/")
        _give(sheet, "letter.jpg", b"Dear archive, hello")
        notice = sheet.locator("#notice")
        expect(notice).to_contain_text("letter.jpg")
        expect(notice).not_to_contain_text("b'")
        expect(notice).to_contain_text("JPEG, PNG")
        expect(notice.get_by_role("button", name="Choose another picture")).to_be_visible()
        expect(sheet.locator(".chip")).to_have_count(0)
        shoot(sheet, "desktop-light-error")

    def test_a_file_beyond_the_limit_is_not_even_sent(self, sheet: Page) -> None:
        sheet.goto("/")
        expect(sheet.locator("#facts")).to_contain_text("pictures")
        sent: list[str] = []
        sheet.on("request", lambda made: sent.append(made.url) if "embed" in made.url else None)
        _give(sheet, "fat.tif", b"x" * 500_001)
        expect(sheet.locator("#notice")).to_contain_text("fat.tif has 488 KB")
        assert not sent

    def test_an_unknown_tile(self, sheet: Page) -> None:
        sheet.goto("/?like=nowhere.png")
        expect(sheet.locator("#notice")).to_contain_text("nowhere.png")
        sheet.get_by_role("button", name="To the start page").click()
        expect(sheet.locator(CARDS)).to_have_count(SAMPLE)
        expect(sheet.locator("#notice")).to_be_hidden()

    def test_a_damaged_link(self, sheet: Page) -> None:
        sheet.goto("/#like=e1.AAAA mine.png")
        expect(sheet.locator("#notice")).to_be_visible()
        expect(sheet.locator("#notice p")).not_to_be_empty()

    def test_a_server_that_is_gone(self, sheet: Page) -> None:
        sheet.goto("/")
        expect(sheet.locator(CARDS)).to_have_count(SAMPLE)
        sheet.route("**/v1/search", lambda route: route.abort())
        sheet.locator(".card-main").first.click()
        expect(sheet.locator("#notice")).to_contain_text("does not answer")
        sheet.unroute("**/v1/search")
        sheet.get_by_role("button", name="Try again").click()
        searched(sheet)
        expect(sheet.locator("#notice")).to_be_hidden()

    @pytest.mark.parametrize("asked", ["tiles?*", "search"])
    def test_an_archive_that_is_still_loading(self, sheet: Page, world: World, asked: str) -> None:
        refusals = [503]

        def once(route: Route) -> None:
            if refusals:
                route.fulfill(status=refusals.pop(), body=json.dumps(NOT_READY))
            else:
                route.continue_()

        sheet.route(f"**/v1/{asked}", once)
        sheet.goto("/" if asked != "search" else like(world.rows[0].uri))
        expect(sheet.locator("#notice")).to_contain_text("One moment")
        expect(sheet.locator(".ghost").first).to_be_attached()
        expect(sheet.locator(CARDS).first).to_be_visible()
        expect(sheet.locator("#notice")).to_be_hidden()

    def test_an_archive_published_anew_between_two_pages(self, sheet: Page, world: World) -> None:
        sheet.goto(like(world.rows[0].uri) + "&k=24")
        searched(sheet)
        stale = {"type": "urn:worldsift:problem:stale-cursor", "title": "t", "detail": "d"}

        def refuse(route: Route) -> None:
            if "cursor" in (route.request.post_data or ""):
                route.fulfill(status=409, body=json.dumps(stale))
            else:
                route.continue_()

        sheet.route("**/v1/search", refuse)
        sheet.locator("#more").click()
        expect(sheet.locator(".toast")).to_contain_text("begins again")
        searched(sheet)
        expect(sheet.locator(CARDS)).to_have_count(24)

    def test_a_picture_that_cannot_be_shown(self, sheet: Page, world: World) -> None:
        sheet.route("**/image?*", lambda route: route.fulfill(status=410, body="{}"))
        sheet.goto(like(world.rows[0].uri))
        expect(sheet.locator(".card .broken").first).to_contain_text("cannot be read")
        # It is asked for again with the next answer: the server may be back.
        sheet.unroute("**/image?*")
        sheet.locator("#quality").select_option("exact")
        searched(sheet)
        expect(sheet.locator(CARDS).first.locator("img")).to_be_visible()

    def test_what_is_wrong_is_seen_at_the_end_of_a_long_page(
        self, sheet: Page, world: World
    ) -> None:
        sheet.goto(like(world.rows[0].uri) + "&k=24")
        searched(sheet)
        sheet.route("**/v1/search", lambda route: route.abort())
        sheet.locator("#more").click()
        expect(sheet.locator("#notice")).to_be_in_viewport(ratio=1)
        sheet.unroute("**/v1/search")
        sheet.get_by_role("button", name="Try again").click()
        searched(sheet)
        expect(sheet.locator(CARDS)).to_have_count(24)


class TestSignIn:
    @pytest.fixture
    def locked(self, world: World, tmp_path: Path) -> Iterator[tuple[str, str]]:
        """The address of a server that asks for a key, and a key."""
        keys = tmp_path / "keys.json"
        key = new_key(keys, "reader", "read")
        settings = Settings(root=str(world.root), cache_dir=tmp_path / "cache", api_keys_file=keys)
        with running(create_app(settings)) as url:
            yield url, key

    def test_a_key_is_asked_for_once(self, sheet: Page, locked: tuple[str, str]) -> None:
        url, key = locked
        sheet.goto(url)
        dialog = sheet.locator("#sign-in")
        expect(sheet.locator("#key")).to_be_focused()
        sheet.keyboard.press("Escape")
        sheet.locator("#notice").get_by_role("button", name="Sign in").click()
        sheet.locator("#key").fill("ws_wrong")
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog.get_by_role("alert")).to_contain_text("does not know that key")
        sheet.locator("#key").fill(key)
        sheet.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(sheet.locator(CARDS)).to_have_count(SAMPLE)
        assert sheet.evaluate("document.cookie") == "", "no script can read the key"
        sheet.reload()
        expect(sheet.locator(CARDS)).to_have_count(SAMPLE)
        sheet.get_by_role("button", name="Sign out").click()
        expect(dialog).to_be_visible()
        expect(sheet.locator(CARDS)).to_have_count(0)
        expect(sheet.locator("#facts")).to_be_empty()


class TestTheme:
    def test_it_follows_the_system_until_one_is_chosen_and_kept(self, sheet: Page) -> None:
        ground = "getComputedStyle(document.body).backgroundColor"
        sheet.goto("/")
        light = sheet.evaluate(ground)
        sheet.emulate_media(color_scheme="dark")
        sheet.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
        assert sheet.evaluate(ground) != light
        sheet.get_by_role("button", name="Switch to light").click()
        assert sheet.evaluate(ground) == light
        sheet.reload()
        expect(sheet.get_by_role("button", name="Switch to dark")).to_be_visible()
        assert sheet.evaluate(ground) == light


class TestKeys:
    def test_they_are_told(self, sheet: Page) -> None:
        sheet.goto("/")
        expect(sheet.locator(CARDS)).to_have_count(SAMPLE)
        sheet.keyboard.press("?")
        expect(sheet.locator("#keys")).to_contain_text("more like this")
        sheet.keyboard.press("Escape")
        expect(sheet.locator("#keys")).to_be_hidden()

    def test_the_first_stop_skips_to_the_pictures(self, sheet: Page) -> None:
        sheet.goto("/")
        expect(sheet.locator(CARDS)).to_have_count(SAMPLE)
        sheet.keyboard.press("Tab")
        expect(sheet.get_by_role("link", name="Skip to the pictures")).to_be_focused()
        sheet.keyboard.press("Enter")
        expect(sheet.locator(".card-main").first).to_be_focused()


def _at_rest(page: Page, name: str, width: int) -> None:
    """Nothing overflows, axe finds no serious fault, and a screenshot is kept."""
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"{name}: {wide} px wide"
    shoot(page, name)
    assert not faults(page), (name, faults(page))


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: run `make web`")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_every_state_fits_and_has_no_serious_fault(
    chromium: Browser, site: str, world: World, scheme: str, device: str, size: dict[str, int]
) -> None:
    phone = device == "phone"
    context = chromium.new_context(
        base_url=site,
        viewport=size,
        color_scheme="dark" if scheme == "dark" else "light",
        is_mobile=phone,
        has_touch=phone,
        reduced_motion="reduce",
    )
    page, prefix, width = context.new_page(), f"{device}-{scheme}", size["width"]
    page.goto("/")
    expect(page.locator(CARDS)).to_have_count(SAMPLE)
    expect(page.get_by_role("button", name="Take a photo")).to_be_visible(visible=phone)
    _at_rest(page, f"{prefix}-start", width)
    page.locator(".card-main").nth(1).click()
    searched(page)
    page.locator(CARDS).nth(3).locator(".like").click(force=True)
    expect(page.locator(".chip[data-example]")).to_have_count(2)
    searched(page)
    page.locator(CARDS).nth(9).locator(".unlike").click(force=True)
    expect(page.locator(".chip[data-example]")).to_have_count(3)
    searched(page)
    page.evaluate("scrollTo(0, 0); document.querySelector('.results').scrollTo(0, 0)")
    _at_rest(page, f"{prefix}-results", width)
    page.locator(".card-main").nth(2).click()
    expect(page.get_by_role("region", name="Other dates of this place")).to_be_visible()
    _at_rest(page, f"{prefix}-details", width)
    page.get_by_role("button", name="Close the details").click()
    if phone:
        page.locator("#filters-button").click()
        expect(page.locator("#matching b")).to_have_text(str(len(world.rows)))
        _at_rest(page, f"{prefix}-filters", width)
        page.get_by_role("button", name="Close the filters").click()
        page.get_by_role("button", name="Map", exact=True).click()
        surface = page.locator("#map-pane .map-surface")
        expect(surface).to_have_attribute("aria-label", re.compile(r"\d+ on the map"))
        _at_rest(page, f"{prefix}-map", width)
    page.locator("#export-button").click()
    _at_rest(page, f"{prefix}-export", width)
    context.close()
