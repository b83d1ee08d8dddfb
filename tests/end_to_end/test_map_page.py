"""The map of likeness and the map of the world, in a real browser on a real server."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    CDPSession,
    Locator,
    Page,
    Route,
    expect,
)

from featurizer.schema import Row
from serving.app import create_app
from serving.settings import Settings
from tests.end_to_end.landscapes import publish_landscapes
from tests.end_to_end.pages import DESKTOP, PHONE, eventually, faults, missing, shoot, silent
from tests.serving.gallery import encoded
from tests.serving.server import running, wait_until_ready

GIBS = re.compile(r"https://gibs\.earthdata\.nasa\.gov/.*")
MAP_MS = 120_000  # the first map of an archive is computed when it is asked for

REASON = missing()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return []


@pytest.fixture(scope="module")
def address(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("landscapes")
    rows += publish_landscapes(folder)
    settings = Settings(root=str(folder / "landscapes"), cache_dir=folder / "cache")
    with running(create_app(settings)) as url:
        with httpx.Client(base_url=url) as client:
            wait_until_ready(client)
        yield url


@pytest.fixture
def context(chromium: Browser, address: str) -> Iterator[BrowserContext]:
    made = chromium.new_context(
        base_url=address, viewport=DESKTOP, color_scheme="light", reduced_motion="reduce"
    )
    # No test asks NASA: without a network the map is an outline.
    made.route(GIBS, lambda route: route.abort())
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    with silent(context.new_page()) as made:
        yield made


def open_map(page: Page) -> Locator:
    page.goto("/map")
    stage = page.locator("#stage")
    expect(stage).to_be_visible(timeout=MAP_MS)
    return stage


def middle(place: Locator) -> tuple[float, float]:
    box = place.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def lasso(page: Page, radius_x: float, radius_y: float) -> None:
    """Draws an ellipse around the middle of the stage with the mouse."""
    x, y = middle(page.locator("#stage"))
    page.mouse.move(x + radius_x, y)
    page.mouse.down()
    for degrees in range(0, 360, 10):
        turn = math.radians(degrees)
        page.mouse.move(x + radius_x * math.cos(turn), y + radius_y * math.sin(turn))
    page.mouse.up()


def touch(fingers: CDPSession, steps: list[list[tuple[float, float]]]) -> None:
    """Puts fingers down at the first step's places, moves them through the others, lifts them."""
    for n, places in enumerate(steps):
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        kind = "touchMove" if n else "touchStart"
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def colour_at(place: Locator, dx: int, dy: int) -> tuple[int, ...]:
    """The colour so many pixels right of and below the middle of ``place``."""
    shades = np.asarray(Image.open(io.BytesIO(place.screenshot())).convert("RGB"))
    height, width, _ = shades.shape
    return tuple(int(value) for value in shades[height // 2 + dy, width // 2 + dx])


def answered(page: Page) -> dict[str, Any]:
    """The map as the server tells it."""
    told: dict[str, Any] = page.request.get("/v1/map").json()
    assert told["status"] == "ready"
    return told


class TestMapOfLikeness:
    def test_it_shows_every_tile_by_label(self, page: Page, rows: list[Row]) -> None:
        open_map(page)
        expect(page.locator(".about")).to_contain_text(f"All {len(rows)} pictures")
        expect(page.locator("#status")).to_have_text(f"{len(rows)} pictures shown, 0 selected.")
        labels = {row.label.replace("_", " ") for row in rows if row.label}
        assert set(page.locator(".legend-list .legend-name").all_inner_texts()) == labels
        expect(page).to_have_title("Map of landscapes · Worldsift")
        shoot(page, "map-desktop-light")

    def test_points_are_where_the_server_says(self, page: Page) -> None:
        stage = open_map(page)
        told = answered(page)
        box = stage.bounding_box()
        assert box is not None
        scale = (min(box["width"], box["height"]) - 2 * 28) / 2
        for i in (0, 7, 23):
            x = box["x"] + box["width"] / 2 + told["x"][i] * scale
            y = box["y"] + box["height"] / 2 - told["y"][i] * scale
            page.mouse.move(x, y)
            expect(page.locator(".point-card")).to_have_attribute("data-tile", told["tile_ids"][i])

    def test_a_lasso_selects_what_it_holds(self, page: Page) -> None:
        stage = open_map(page)
        told = answered(page)
        box = stage.bounding_box()
        assert box is not None
        scale = (min(box["width"], box["height"]) - 2 * 28) / 2
        radius_x, radius_y = 180.0, 130.0
        reach = [
            math.hypot(x * scale / radius_x, y * scale / radius_y)
            for x, y in zip(told["x"], told["y"], strict=True)
        ]
        # The drawn loop has corners: points at its very edge may be in or out.
        sure = {told["tile_ids"][i] for i, far in enumerate(reach) if far < 0.96}
        possible = {told["tile_ids"][i] for i, far in enumerate(reach) if far < 1.01}
        page.get_by_role("button", name="Lasso", exact=True).click()
        lasso(page, radius_x, radius_y)
        expect(page.locator("#selection-title")).to_contain_text("selected")
        shoot(page, "map-desktop-light-selection")
        page.select_option(".export select", "csv")
        with page.expect_download() as saved:
            page.get_by_role("button", name="Export").click()
        table = csv.DictReader(io.StringIO(Path(saved.value.path()).read_text()))
        exported = {line["tile_id"] for line in table}
        assert sure <= exported <= possible and sure

    def test_shift_and_drag_adds_to_the_selection_without_the_tool(self, page: Page) -> None:
        open_map(page)
        page.keyboard.down("Shift")
        lasso(page, 120, 120)
        first = int(re.findall(r"\d+", page.locator("#selection-title").inner_text())[0])
        lasso(page, 240, 240)
        page.keyboard.up("Shift")
        then = int(re.findall(r"\d+", page.locator("#selection-title").inner_text())[0])
        assert then > first > 0

    def test_selecting_by_label_needs_no_pointer(self, page: Page, rows: list[Row]) -> None:
        open_map(page)
        label = str(rows[0].label)
        wanted = {row.uri for row in rows if row.label == label}
        button = page.get_by_role("button", name=re.compile(rf"of {label.replace('_', ' ')}$"))
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#selection-title")).to_have_text(f"{len(wanted)} pictures selected")
        expect(page.locator(".thumbnails li")).to_have_count(len(wanted))
        expect(page.locator(".counts li")).to_have_count(1)
        page.get_by_role("link", name="Search by these").click()
        page.wait_for_url(re.compile(r"/\?like="))
        assert set(parse_qs(urlsplit(page.url).query)["like"]) == wanted

    def test_a_hidden_label_is_neither_shown_nor_lassoed(self, page: Page, rows: list[Row]) -> None:
        open_map(page)
        page.get_by_role("button", name="Hide all").click()
        expect(page.locator("#status")).to_have_text("0 pictures shown, 0 selected.")
        box = page.locator(".legend-list input").first
        box.check()
        name = page.locator(".legend-list .legend-name").first.inner_text()
        members = sum(1 for row in rows if row.label and row.label.replace("_", " ") == name)
        page.get_by_role("button", name="Lasso", exact=True).click()
        lasso(page, 455, 360)
        expect(page.locator("#selection-title")).to_have_text(f"{members} pictures selected")

    def test_a_click_keeps_the_card_and_leads_on(self, page: Page, rows: list[Row]) -> None:
        stage = open_map(page)
        told = answered(page)
        i = next(
            i
            for i, tile_id in enumerate(told["tile_ids"])
            if any(row.uri == tile_id and row.bounds for row in rows)
        )
        box = stage.bounding_box()
        assert box is not None
        scale = (min(box["width"], box["height"]) - 2 * 28) / 2
        page.mouse.click(
            box["x"] + box["width"] / 2 + told["x"][i] * scale,
            box["y"] + box["height"] / 2 - told["y"][i] * scale,
        )
        card = page.locator(".point-card.stays")
        expect(card).to_have_attribute("data-tile", told["tile_ids"][i])
        expect(card).to_contain_text("2021")
        worldview = card.get_by_role("link", name="Worldview").get_attribute("href")
        assert str(worldview).startswith("https://worldview.earthdata.nasa.gov/")
        card.get_by_role("button", name="Select").click()
        expect(page.locator("#selection-title")).to_have_text("1 picture selected")
        shoot(page, "map-desktop-light-card")
        page.locator("#stage").focus()
        page.keyboard.press("Escape")
        expect(card).to_have_count(0)

    def test_wheel_and_keys_zoom_until_points_are_pictures(self, page: Page) -> None:
        stage = open_map(page)
        x, y = middle(stage)
        with page.expect_response(re.compile(r"/image\?size=256")):
            for _ in range(8):
                page.mouse.move(x, y)
                page.mouse.wheel(0, -200)
        page.wait_for_load_state("networkidle")
        shoot(page, "map-desktop-light-near")
        near = page.screenshot()
        stage.focus()
        page.keyboard.press("0")
        eventually(page, lambda: page.screenshot() != near)

    def test_progress_is_told_and_the_map_follows(self, page: Page) -> None:
        stages = [
            {"status": "computing", "generation": "g", "stage": "vectors", "progress": 0.25},
            {"status": "computing", "generation": "g", "stage": "layout", "progress": 0.75},
        ]

        def underway(route: Route) -> None:
            if not stages:
                route.continue_()
                return
            told = {"method": None, "x": [], "y": [], "tile_ids": [], "labels": []} | stages.pop(0)
            route.fulfill(status=202, body=json.dumps(told), headers={"Retry-After": "2"})

        page.route("**/v1/map", underway)
        page.goto("/map")
        expect(page.locator(".notice.waiting")).to_contain_text("being laid out")
        expect(page.locator("progress")).to_have_attribute("value", "0.25")
        shoot(page, "map-desktop-light-computing")
        expect(page.locator("progress")).to_have_attribute("value", "0.75")
        expect(page.locator("#stage")).to_be_visible(timeout=MAP_MS)

    def test_a_map_that_failed_says_what_to_do(self, page: Page) -> None:
        failed = {"status": "failed", "generation": "g", "tile_ids": [], "labels": []}
        page.route("**/v1/map", lambda route: route.fulfill(body=json.dumps(failed)))
        page.goto("/map")
        notice = page.get_by_role("alert")
        expect(notice).to_contain_text("could not be laid out")
        expect(notice.get_by_role("link", name="search page")).to_have_attribute("href", "/")
        page.unroute("**/v1/map")
        notice.get_by_role("button", name="Try again").click()
        expect(page.locator("#stage")).to_be_visible(timeout=MAP_MS)

    def test_a_server_that_is_gone_is_said(self, page: Page) -> None:
        page.route("**/v1/map", lambda route: route.abort())
        page.goto("/map")
        expect(page.get_by_role("alert")).to_contain_text("does not answer")

    def test_fingers_pinch_tap_and_draw_loops(self, chromium: Browser, address: str) -> None:
        context = chromium.new_context(
            base_url=address, viewport=PHONE, is_mobile=True, has_touch=True
        )
        page = context.new_page()
        stage = open_map(page)
        told = answered(page)
        box = stage.bounding_box()
        assert box is not None
        x, y = middle(stage)
        scale = (min(box["width"], box["height"]) - 2 * 28) / 2
        page.touchscreen.tap(x + told["x"][0] * scale, y - told["y"][0] * scale)
        expect(page.locator(".point-card.stays")).to_have_attribute(
            "data-tile", told["tile_ids"][0]
        )
        shoot(page, "map-phone-light-card")
        page.get_by_role("button", name="Close").click()
        fingers = context.new_cdp_session(page)
        page.get_by_role("button", name="Lasso", exact=True).click()
        far = scale + 20
        loop = [(x - far, y - far), (x + far, y - far), (x + far, y + far), (x - far, y + far)]
        touch(fingers, [[corner] for corner in loop])
        count = len(told["tile_ids"])
        expect(page.locator("#selection-title")).to_have_text(f"{count} pictures selected")
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("button", name="Move", exact=True).click()
        # Spread to four times the distance, about the middle: points go four times as far from it.
        touch(fingers, [[(x - d, y), (x + d, y)] for d in (20, 30, 40, 60, 80)])
        near = min(range(count), key=lambda i: math.hypot(told["x"][i], told["y"][i]))
        page.touchscreen.tap(x + 4 * told["x"][near] * scale, y - 4 * told["y"][near] * scale)
        expect(page.locator(".point-card.stays")).to_have_attribute(
            "data-tile", told["tile_ids"][near]
        )
        context.close()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
    def test_axe_finds_no_serious_fault_and_nothing_overflows(
        self, chromium: Browser, address: str, scheme: str, phone: bool
    ) -> None:
        size = PHONE if phone else DESKTOP
        context = chromium.new_context(
            base_url=address,
            viewport=size,
            color_scheme="dark" if scheme == "dark" else "light",
            is_mobile=phone,
            has_touch=phone,
        )
        page = context.new_page()
        open_map(page)
        page.locator(".legend-list .button").first.click()
        expect(page.locator(".thumbnails li")).not_to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        shoot(page, f"map-{'phone' if phone else 'desktop'}-{scheme}-selection")
        assert faults(page) == []
        context.close()


class TestMapOfTheWorld:
    """The map beside the results: drawing, numbers, 180 degrees, with a network and without."""

    @pytest.fixture
    def world(self, page: Page) -> Locator:
        page.goto("/")
        surface = page.locator(".map-surface")
        expect(surface).to_have_attribute("aria-label", re.compile(r"\d+ on the map"))
        return surface

    def test_without_a_network_it_is_an_outline_and_says_so(
        self, page: Page, world: Locator
    ) -> None:
        expect(page.locator(".map-note")).to_have_text("Offline map: outlines only")
        shades = np.asarray(Image.open(io.BytesIO(world.screenshot())).convert("RGB"))
        _, counts = np.unique(shades.reshape(-1, 3), axis=0, return_counts=True)
        # Sea and land each cover a good part of what is seen.
        assert (counts > 0.05 * counts.sum()).sum() >= 2

    def test_a_small_footprint_is_a_dot_on_the_land_seen_from_far(
        self, page: Page, rows: list[Row]
    ) -> None:
        west, south = -110, 36  # in the south-west of the United States
        row = next(row for row in rows if row.bounds and row.bounds[:2] == (west, south))
        page.goto(f"/?uri={row.uri}")
        surface = page.locator(".map-surface")
        expect(surface).to_have_attribute("aria-label", re.compile("1 on the map"))
        tools = page.locator(".world-map")
        tools.get_by_role("button", name="Show all results").click()
        page.mouse.move(5, 5)
        mark, land = (0xB8, 0x43, 0x0F), (0xF3, 0xF1, 0xE8)
        # From near it is an area, which lets the land shine through.
        area = tuple(0.14 * above + 0.86 * below for above, below in zip(mark, land, strict=True))
        eventually(page, lambda: colour_at(surface, 0, 0) == pytest.approx(area, abs=8))

        def is_dot() -> bool:
            tools.get_by_role("button", name="Zoom out").click()
            page.mouse.move(5, 5)
            return (
                colour_at(surface, 0, 0) == pytest.approx(mark, abs=6)
                and colour_at(surface, 14, 9) == pytest.approx(land, abs=6)
            )  # fmt: skip

        eventually(page, is_dot)

    def test_a_region_is_shown_whole_though_little_lies_in_it(
        self, page: Page, rows: list[Row]
    ) -> None:
        bounds = next(row.bounds for row in rows if row.bounds)
        assert bounds is not None
        west, south, east, north = bounds
        scale = page.locator(".ol-scale-line-inner")
        page.goto(f"/?box={west},{south},{east},{north}")
        expect(scale).to_have_text(re.compile(r"^[125]0 km$"))
        page.goto(f"/?box={west - 20},{south - 10},{east + 20},{north + 10}")
        expect(scale).to_have_text(re.compile("^[12]000 km$"))

    def test_the_picture_of_the_details_is_brought_into_view(
        self, page: Page, rows: list[Row]
    ) -> None:
        page.set_viewport_size({"width": 1600, "height": 800})
        row = next(row for row in rows if row.bounds)
        page.goto(f"/?like={row.uri}")
        surface = page.locator(".map-surface")
        expect(surface).to_have_attribute("aria-label", re.compile(r"\d+ on the map"))
        x, y = middle(surface)
        ink = (0x13, 0x20, 0x1D)
        page.mouse.move(x, y)
        for _ in range(4):  # to where no picture lies
            page.mouse.down()
            page.mouse.move(x, y + 300, steps=3)
            page.mouse.up()
            page.mouse.move(x, y)
        page.locator(f'.card[data-tile="{row.uri}"] .card-main').click()
        expect(page.locator("#details")).to_be_visible()
        eventually(page, lambda: colour_at(surface, 0, 0) == pytest.approx(ink, abs=6))

    def test_a_drawn_box_is_a_filter(self, page: Page, world: Locator) -> None:
        page.locator(".world-map").get_by_role("button", name="Draw a box").click()
        x, y = middle(world)
        page.mouse.move(x - 60, y - 40)
        page.mouse.down()
        page.mouse.move(x + 60, y + 40, steps=4)
        page.mouse.up()
        page.wait_for_url(re.compile("box="))
        west, south, east, north = map(
            float, parse_qs(urlsplit(page.url).query)["box"][0].split(",")
        )
        assert west < east and south < north
        assert (east - west) / (north - south) == pytest.approx(1.5, rel=0.1)

    def test_numbers_give_a_box_across_the_antimeridian(self, page: Page, world: Locator) -> None:
        page.locator(".world-map").get_by_role("button", name="Box by numbers").click()
        form = page.get_by_role("form", name="Box by numbers")
        for name, value in {"West": "170", "South": "-30", "East": "-165", "North": "x"}.items():
            form.get_by_label(name).fill(value)
        page.keyboard.press("Enter")
        expect(form.get_by_role("alert")).to_contain_text("North must be a number")
        form.get_by_label("North").fill("10")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(re.escape("box=170%2C-30%2C-165%2C10")))
        shoot(page, "world-antimeridian")
        page.locator(".world-map").get_by_role("button", name="Remove the region").click()
        page.wait_for_url(lambda url: "box=" not in url)

    def test_a_polygon_is_clicked_corner_by_corner(self, page: Page, world: Locator) -> None:
        page.locator(".world-map").get_by_role("button", name="Draw a polygon").click()
        x, y = middle(world)
        for dx, dy in ((-60, -40), (60, -40), (0, 60)):
            page.mouse.click(x + dx, y + dy)
            page.wait_for_timeout(350)  # two clicks within 250 ms are a double click
        page.mouse.dblclick(x, y + 60)
        page.wait_for_url(re.compile("area="))
        corners = parse_qs(urlsplit(page.url).query)["area"][0].split()
        assert len(corners) == 3

    def test_escape_ends_a_drawing(self, page: Page, world: Locator) -> None:
        button = page.locator(".world-map").get_by_role("button", name="Draw a polygon")
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".map-note")).to_contain_text("corner by corner")
        page.keyboard.press("Escape")
        expect(button).to_have_attribute("aria-pressed", "false")
        expect(page.locator(".map-note")).not_to_contain_text("corner")
        assert "area=" not in page.url

    def test_footprints_and_cards_are_linked(self, page: Page, rows: list[Row]) -> None:
        row = next(row for row in rows if row.bounds)
        page.goto(f"/?like={row.uri}")
        expect(page.locator(".map-surface")).to_have_attribute(
            "aria-label", re.compile(r"\d+ on the map")
        )
        surface, pictures = page.locator(".map-surface"), [b""]

        def rests() -> bool:
            pictures.append(surface.screenshot())
            return pictures[-1] == pictures[-2]

        eventually(page, rests)
        page.locator(f'[data-tile="{row.uri}"]').first.hover()
        eventually(page, lambda: surface.screenshot() != pictures[-1])

    def test_with_a_network_nasa_is_shown_and_named(self, context: BrowserContext) -> None:
        asked: list[str] = []

        def imagery(route: Route) -> None:
            asked.append(route.request.url)
            blue = encoded(_blue())
            cors = {"Access-Control-Allow-Origin": "*"}
            route.fulfill(body=blue, content_type="image/png", headers=cors)

        context.unroute(GIBS)
        context.route(GIBS, imagery)
        page = context.new_page()
        page.goto("/")
        expect(page.locator(".ol-attribution")).to_contain_text("NASA GIBS", timeout=15_000)
        expect(page.locator(".map-note")).to_be_hidden()
        eventually(page, lambda: len(asked) > 1)
        tiles = [re.search(r"/500m/(\d+)/(\d+)/(\d+)\.jpeg", url) for url in asked[1:]]
        assert tiles
        for tile in tiles:
            assert tile is not None
            z, y, x = map(int, tile.groups())
            # GIBS in EPSG:4326: tiles of 288 / 2^z degrees from 90 north, 180 west.
            side = 288 / 2**z
            assert z >= 2 and x * side < 360 and y * side < 180

    def test_tiles_that_stop_coming_end_the_imagery(self, context: BrowserContext) -> None:
        context.unroute(GIBS)
        cors = {"Access-Control-Allow-Origin": "*"}
        context.route(
            GIBS,
            lambda route: (
                route.fulfill(body=encoded(_blue()), content_type="image/png", headers=cors)
                if route.request.resource_type == "fetch"
                else route.abort()
            ),
        )
        page = context.new_page()
        page.goto("/")
        expect(page.locator(".map-note")).to_have_text("Offline map: outlines only", timeout=15_000)


def _blue() -> np.ndarray:
    return np.full((512, 512, 3), (40, 70, 120), np.uint8)
