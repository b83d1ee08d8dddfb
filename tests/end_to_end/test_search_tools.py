"""The search page's filters, map, details, selection and export, in a real browser."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import shapely
from playwright.sync_api import Page, expect

from tests.end_to_end.pages import (
    CARDS,
    SAMPLE,
    asked,
    eventually,
    like,
    posted,
    searched,
    shoot,
    tiles_shown,
)
from tests.end_to_end.world import DATES, World


def _query(sheet: Page, world: World, more: str = "") -> None:
    sheet.goto(like(world.rows[0].uri) + more)
    searched(sheet)


def _matching(sheet: Page, count: int) -> None:
    expect(sheet.locator("#matching b")).to_have_text(str(count))


class TestFilters:
    def test_the_time_sliders_filter_by_month(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        _matching(sheet, len(world.rows))
        low = sheet.get_by_label("From month")
        low.focus()
        sheet.keyboard.press("ArrowRight")
        left = {row.uri for row in world.placed if row.taken and str(row.taken)[:10] != DATES[0]}
        _matching(sheet, len(left))
        searched(sheet)
        assert asked(sheet, "from") == ["2020-02-01"]
        assert tiles_shown(sheet) and set(tiles_shown(sheet)) <= left
        high = sheet.get_by_label("To month")
        high.focus()
        sheet.keyboard.press("Home")  # not further than the other thumb
        _matching(sheet, 0)
        expect(sheet.locator("#notice")).to_contain_text("No picture passes all filters")
        sheet.get_by_role("button", name="Clear when").click()
        _matching(sheet, len(world.rows))

    def test_days_and_seasons(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        sheet.locator("#from-day").fill("2021-07-15")
        sheet.locator("#to-day").fill("2021-07-15")
        wanted = {row.uri for row in world.placed if str(row.taken)[:10] == DATES[1]}
        _matching(sheet, len(wanted))
        searched(sheet)
        assert set(tiles_shown(sheet)) == wanted
        sheet.locator("#clear-filters").click()
        _matching(sheet, len(world.rows))
        sheet.locator("#season-from").select_option("12-01")
        sheet.locator("#season-to").select_option("02-29")
        _matching(sheet, sum(str(row.taken)[5:7] == "01" for row in world.placed))
        assert asked(sheet, "season") == ["12-01..02-29"]

    def test_labels_by_choice_with_counts(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        labels = sheet.get_by_role("group", name="Labels")
        expect(labels.get_by_role("checkbox")).to_have_count(16)
        sheet.get_by_label("Find a label").fill("ca")
        expect(labels.get_by_role("checkbox")).to_have_count(1)
        labels.get_by_text("canyon").click()
        _matching(sheet, 6)
        sheet.get_by_label("Find a label").fill("")
        labels.get_by_text("without a label").click()
        _matching(sheet, 12)
        searched(sheet)
        found = Counter(world.row(uri).label for uri in tiles_shown(sheet))
        assert found == {"canyon": 6, None: 6}
        expect(labels.locator("li", has_text="coast")).to_contain_text("6")  # not 0
        assert asked(sheet, "label") == ["canyon"] and asked(sheet, "unlabelled") == ["1"]
        shoot(sheet, "desktop-light-filters")

    def test_the_source_and_what_it_measured(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        prefix = world.of("delta")[0].uri.rsplit("/", 1)[0] + "/"
        sheet.locator("#uri-prefix").fill(prefix)
        sheet.keyboard.press("Enter")
        _matching(sheet, 6)
        searched(sheet)
        assert {world.row(uri).label for uri in tiles_shown(sheet)} == {"delta"}

    def test_they_leave_something_to_look_at_without_an_example(
        self, sheet: Page, world: World
    ) -> None:
        sheet.goto("/?label=dunes")
        expect(sheet.locator("#results-title")).to_have_text("Matching the filters")
        expect(sheet.locator(CARDS)).to_have_count(6)
        assert sorted(tiles_shown(sheet)) == sorted(row.uri for row in world.of("dunes"))
        expect(sheet.locator("#status")).to_have_text("6 pictures")
        # The pictures are what is to be seen now; where one of one's own goes in is told in short.
        expect(sheet.locator("#hero")).to_be_hidden()
        expect(sheet.locator("#drop")).to_be_visible()
        sheet.locator("#clear-filters").click()
        expect(sheet.locator(CARDS)).to_have_count(SAMPLE)
        expect(sheet.locator("#hero")).to_be_visible()

    def test_all_that_they_leave_can_be_gone_through(self, sheet: Page, world: World) -> None:
        sheet.goto(f"/?from={DATES[0]}")
        wanted = sorted(row.uri for row in world.placed)
        status, shown = sheet.locator("#status"), SAMPLE
        while shown < len(wanted):
            expect(status).to_have_text(f"{shown} of {len(wanted)} pictures")
            sheet.locator("#more").click()
            shown = min(shown + SAMPLE, len(wanted))
        expect(status).to_have_text(f"{len(wanted)} pictures")
        expect(sheet.locator("#more")).to_have_count(0)
        assert sorted(tiles_shown(sheet)) == wanted


class TestRanking:
    def test_the_similarity_slider_finds_them_all(self, sheet: Page, world: World) -> None:
        _query(sheet, world, "&quality=exact&k=24")
        scores = [float(text) for text in sheet.locator(".score").all_text_contents()]
        least = round(scores[-1] - 0.02, 2)
        sheet.locator("#least").fill(str(least))
        expect(sheet.locator("#status")).to_contain_text(f"all {_count(sheet, least)} at least")
        found = [float(text) for text in sheet.locator(".score").all_text_contents()]
        assert len(found) > 24 and min(found) >= least - 0.0005
        assert asked(sheet, "least") == [f"{least:g}"]

    def test_the_rest_of_the_question(self, sheet: Page, world: World) -> None:
        _query(sheet, world, f"&unlike={world.rows[50].uri}")
        for change, wanted in (
            (lambda: sheet.locator("#quality").select_option("high"), {"quality": "high"}),
            (lambda: sheet.locator("#against").fill("1.5"), {"negative_weight": 1.5}),
            (lambda: sheet.locator("#own").check(), {"include_examples": False}),
            (lambda: sheet.locator("#diversity").fill("0.4"), {"shape": {"diversity": 0.4}}),
        ):
            with sheet.expect_request("**/v1/search") as sent:
                change()
            body = posted(sent.value)
            assert {key: body[key] for key in wanted} == wanted
        searched(sheet)
        assert world.rows[0].uri not in tiles_shown(sheet)

    def test_overlapping_ones_are_grouped_and_counted(self, sheet: Page, world: World) -> None:
        _query(sheet, world, f"&from={DATES[0]}&quality=exact&k=192")
        expect(sheet.locator(CARDS)).to_have_count(len(world.placed))
        sheet.locator("#overlap").select_option("place")
        expect(sheet.locator(CARDS)).to_have_count(len(world.placed) // len(DATES))
        expect(sheet.locator(CARDS).first.locator(".folded")).to_have_text("+2")
        sheet.locator(".card-main").first.click()
        strip = sheet.get_by_role("region", name="Grouped into this one")
        expect(strip.get_by_role("button")).to_have_count(2)


def _count(sheet: Page, least: float) -> int:
    """How many the API says there are."""
    answer = sheet.request.post(
        "/v1/search",
        data={
            "positive": [{"tile_id": asked(sheet, "like")[0]}],
            "k": 1000,
            "exact": True,
            "min_score": least,
        },
    )
    return len(answer.json()["hits"])


class TestMap:
    def test_a_box_by_numbers_filters_and_is_searched_by(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        target = world.of("forest")[0]
        assert target.bounds is not None
        west, south, east, north = target.bounds
        pane = sheet.locator("#map-pane")
        pane.get_by_role("button", name="Box by numbers").click()
        form = pane.get_by_role("form", name="Box by numbers")
        for name, value in (
            ("West", west + 0.5),
            ("South", south + 0.5),
            ("East", east - 0.5),
            ("North", north - 0.5),
        ):
            form.get_by_label(name).fill(str(value))
        form.get_by_role("button", name="Use this box").click()
        inside = {
            row.uri
            for row in world.placed
            if shapely.box(*(row.bounds or ())).intersects(
                shapely.box(west + 0.5, south + 0.5, east - 0.5, north - 0.5)
            )
        }
        _matching(sheet, len(inside))
        searched(sheet)
        assert set(tiles_shown(sheet)) == inside
        shoot(sheet, "desktop-light-region")
        parts = [one.bounding_box() for one in sheet.locator(".region-bar > *").all()]
        middles = [part["y"] + part["height"] / 2 for part in parts if part]
        assert len(middles) == 3 and max(middles) - min(middles) < 2  # one line
        sheet.get_by_role("button", name="Search by what is in it").click()
        expect(sheet.locator(".chip[data-example]")).to_have_count(len(inside))
        searched(sheet)
        assert set(asked(sheet, "like")) == inside and not asked(sheet, "box")

    def test_a_box_is_drawn_with_the_mouse(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        surface = sheet.locator("#map-pane .map-surface")
        sheet.get_by_role("region", name="Where").get_by_role("button", name="Draw a box").click()
        frame = surface.bounding_box()
        assert frame is not None
        middle = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
        expect(sheet.locator("#map-pane .is-drawing")).to_be_visible()
        sheet.mouse.move(middle[0] - 90, middle[1] - 90)
        sheet.mouse.down()
        sheet.mouse.move(middle[0] + 90, middle[1] + 90, steps=5)
        sheet.mouse.up()
        expect(sheet.locator(".region-bar")).to_be_visible()
        west, south, east, north = (float(side) for side in asked(sheet, "box")[0].split(","))
        assert south < north and (west < east or east < west)
        sheet.locator(".region-bar").get_by_role("button", name="Clear").click()
        expect(sheet.locator(".region-bar")).to_be_hidden()
        assert not asked(sheet, "box")

    def test_grid_and_map_point_at_each_other(self, sheet: Page, world: World) -> None:
        only = f"&label=atoll&from={DATES[0]}&to={DATES[0]}"
        row = world.of("atoll")[0]
        assert row.bounds is not None
        west, south, east, north = row.bounds
        _query(sheet, world, only + f"&box={west},{south},{east},{north}")
        expect(sheet.locator(CARDS)).to_have_count(1)
        surface = sheet.locator("#map-pane .map-surface")
        expect(surface).to_have_attribute("aria-label", re.compile("1 on the map"))
        sheet.get_by_role("button", name="Show all results").click()
        frame = surface.bounding_box()
        assert frame is not None
        middle = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)

        def pointed() -> bool:  # once the map has come to the place
            sheet.mouse.move(middle[0] - 5, middle[1])
            sheet.mouse.move(*middle)
            return sheet.locator(CARDS).first.get_attribute("data-pointed") is not None

        eventually(sheet, pointed)
        sheet.mouse.click(*middle)
        expect(sheet.locator("#details")).to_contain_text(row.uri)

    def test_it_can_be_put_away_and_alone(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        views = sheet.get_by_role("group", name="View")
        views.get_by_role("button", name="Grid", exact=True).click()
        expect(sheet.locator("#map-pane")).to_be_hidden()
        views.get_by_role("button", name="Map", exact=True).click()
        expect(sheet.locator("#map-pane")).to_be_visible()
        expect(sheet.locator(CARDS)).to_have_count(0)
        assert asked(sheet, "view") == ["map"]
        sheet.go_back()
        expect(sheet.locator(CARDS)).to_have_count(48)


class TestDetails:
    def test_they_tell_all_and_lead_on(self, sheet: Page, world: World) -> None:
        row = world.placed[0]
        _query(sheet, world)
        sheet.locator(".card-main").first.click()
        panel = sheet.locator("#details")
        expect(panel).to_be_focused()
        for text in (row.uri, "the whole picture", "°S", "°W", "2020", "atoll", "rank 1"):
            expect(panel).to_contain_text(text)
        dates = panel.get_by_role("region", name="Other dates of this place").get_by_role("button")
        expect(dates).to_have_count(len(DATES) - 1)
        assert re.search(
            r"worldview\.earthdata\.nasa\.gov",
            str(panel.get_by_role("link", name="NASA Worldview").get_attribute("href")),
        )
        shoot(sheet, "desktop-light-details")
        dates.first.click()
        expect(panel).to_contain_text("15 Jul 2021")
        panel.get_by_role("button", name="Like", exact=True).click()
        expect(sheet.locator(".chip[data-example]")).to_have_count(2)
        sheet.keyboard.press("Escape")
        expect(panel).to_be_hidden()

    def test_files_of_it_are_to_be_had(self, sheet: Page, world: World) -> None:
        row = world.placed[0]
        _query(sheet, world)
        sheet.locator(".card-main").first.click()
        panel = sheet.locator("#details")
        with sheet.expect_download() as saved:
            panel.get_by_role("link", name="PNG").click()
        assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
        with sheet.expect_download() as saved:
            panel.get_by_role("button", name="GeoJSON").click()
        feature = json.loads(Path(saved.value.path()).read_text())
        assert row.bounds is not None
        assert shapely.geometry.shape(feature["geometry"]).bounds == row.bounds
        assert feature["properties"]["tile_id"] == row.uri

    def test_its_id_is_copied(self, sheet: Page, world: World) -> None:
        sheet.context.grant_permissions(["clipboard-read", "clipboard-write"])
        _query(sheet, world)
        sheet.locator(".card-main").first.click()
        sheet.get_by_role("button", name="Copy id").click()
        expect(sheet.get_by_role("button", name="Copied")).to_be_visible()
        assert sheet.evaluate("navigator.clipboard.readText()") == world.rows[0].uri

    def test_the_next_and_the_keyboards_way_back(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        shown = tiles_shown(sheet)
        sheet.locator(".card-main").nth(1).focus()
        sheet.keyboard.press("i")
        panel = sheet.locator("#details")
        expect(panel).to_contain_text(shown[1])
        panel.get_by_role("button", name="The next one").click()
        expect(panel).to_contain_text(shown[2])
        sheet.keyboard.press("ArrowRight")
        expect(panel).to_contain_text(shown[3])
        sheet.keyboard.press("n")
        expect(sheet.locator(".tray-group.negative .chip[data-example]")).to_have_count(1)
        assert asked(sheet, "unlike") == [shown[3]]
        sheet.keyboard.press("Escape")
        expect(panel).to_be_hidden()
        came_from = f'{CARDS}[data-tile="{shown[1]}"] .card-main'
        expect(sheet.locator(came_from)).to_be_focused()


class TestSelection:
    def test_by_click_shift_click_keys_and_all(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        bar = sheet.locator("#selection")
        mains = sheet.locator(".card-main")
        mains.nth(1).click(modifiers=["Control"])
        expect(bar).to_contain_text("1 picture")
        mains.nth(4).click(modifiers=["Shift"])
        expect(bar).to_contain_text("4 pictures")
        sheet.locator(CARDS).nth(2).locator("input").click()
        expect(bar).to_contain_text("3 pictures")
        mains.nth(7).focus()
        sheet.keyboard.press(" ")
        expect(bar).to_contain_text("4 pictures")
        sheet.keyboard.press("Control+a")
        expect(bar).to_contain_text("48 pictures")
        sheet.keyboard.press("Escape")
        expect(bar).to_be_hidden()

    def test_it_becomes_examples(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        shown = tiles_shown(sheet)
        sheet.locator(".card-main").nth(2).click(modifiers=["Control"])
        sheet.locator(".card-main").nth(3).click(modifiers=["Control"])
        shoot(sheet, "desktop-light-selection")
        sheet.get_by_role("button", name="Unlike these").click()
        expect(sheet.locator(".tray-group.negative .chip[data-example]")).to_have_count(2)
        assert asked(sheet, "unlike") == shown[2:4]
        expect(sheet.locator("#selection")).to_be_hidden()


class TestExport:
    def _export(self, sheet: Page, which: str, name: str) -> bytes:
        sheet.locator("#export-button").click()
        dialog = sheet.locator("#export")
        dialog.get_by_label(re.compile(which)).check()
        dialog.get_by_label(re.compile(rf"^{name}\b")).check()
        with sheet.expect_download() as saved:
            sheet.locator("#export-start").click()
        expect(dialog).to_be_hidden()
        return Path(saved.value.path()).read_bytes()

    def test_of_the_selection_as_csv(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        shown = tiles_shown(sheet)
        for i in (5, 2):
            sheet.locator(".card-main").nth(i).click(modifiers=["Control"])
        table = list(csv.DictReader(io.StringIO(self._export(sheet, "selected", "CSV").decode())))
        assert [row["tile_id"] for row in table] == [shown[5], shown[2]]

    def test_of_the_whole_search_in_every_format(self, sheet: Page, world: World) -> None:
        import pyarrow.parquet as pq

        _query(sheet, world, "&label=coast&quality=exact")
        shown = tiles_shown(sheet)
        assert len(shown) == 6
        features = json.loads(self._export(sheet, "whole search", "GeoJSON"))["features"]
        assert [one["properties"]["tile_id"] for one in features] == shown
        for name in ("GeoParquet", "Parquet"):
            table = pq.read_table(io.BytesIO(self._export(sheet, "whole search", name)))
            assert table["tile_id"].to_pylist() == shown
        with zipfile.ZipFile(io.BytesIO(self._export(sheet, "whole search", "ZIP"))) as archive:
            pictures = [name for name in archive.namelist() if name.startswith("coast/")]
        assert len(pictures) == 6

    def test_a_refusal_says_what_to_do(self, sheet: Page, world: World) -> None:
        _query(sheet, world)
        problem = {"title": "Too large", "detail": "ask for fewer rows", "status": 413}
        sheet.route("**/v1/export", lambda route: route.fulfill(status=413, json=problem))
        sheet.locator("#export-button").click()
        shoot(sheet, "desktop-light-export")
        sheet.locator("#export-start").click()
        expect(sheet.locator("#export [role=alert]")).to_have_text("Too large. Ask for fewer rows.")
        sheet.unroute("**/v1/export")
        sheet.route("**/v1/export", lambda route: route.abort())
        sheet.locator("#export-start").click()
        expect(sheet.locator("#export [role=alert]")).to_contain_text("does not answer")
        sheet.locator("#export").get_by_role("button", name="Close").click()
        expect(sheet.locator("#export")).to_be_hidden()
