"""The search page: searching and refining, in a real browser on a real server and archive."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, BrowserContext, Page, expect

from pipeline.synthetic.landscapes import LANDSCAPES
from tests.end_to_end.pages import (
    CARDS,
    PHONE,
    SAMPLE,
    asked,
    like,
    posted,
    searched,
    shoot,
    tiles_shown,
)
from tests.end_to_end.world import World
from tests.serving.gallery import encoded

CHIP_NAME = ".chip[data-example] .chip-name"


def _picture(seed: int = 77) -> bytes:
    return encoded(LANDSCAPES["coast"](np.random.default_rng(seed), 128))


def _give(page: Page, name: str, data: bytes) -> None:
    page.set_input_files("#file", files=[{"name": name, "mimeType": "image/png", "buffer": data}])


def _chips(page: Page, side: str) -> list[str]:
    chips = page.locator(f".tray-group.{side} .chip[data-example]").all()
    return [str(chip.get_attribute("data-example")) for chip in chips]


def _card(page: Page, uri: str) -> str:
    return f'{CARDS}[data-tile="{uri}"]'


class TestStart:
    def test_it_shows_a_sample_and_says_what_the_archive_is(
        self, sheet: Page, world: World
    ) -> None:
        sheet.goto("/")
        expect(sheet.locator(CARDS)).to_have_count(SAMPLE)
        expect(sheet.locator("#facts")).to_contain_text(f"{len(world.rows)} pictures")
        expect(sheet.locator("#facts")).to_contain_text("terra128")
        expect(sheet).to_have_title("world · Worldsift")
        expect(sheet.locator("#about")).to_contain_text("cosine")
        shown = set(tiles_shown(sheet))
        assert len(shown) == SAMPLE and shown <= {row.uri for row in world.rows}

    def test_other_pictures_can_be_asked_for(self, sheet: Page) -> None:
        sheet.goto("/")
        expect(sheet.locator(CARDS)).to_have_count(SAMPLE)
        before = tiles_shown(sheet)
        sheet.locator("#shuffle").click()
        expect(sheet.locator(CARDS).first).not_to_have_attribute("data-tile", before[0])
        assert tiles_shown(sheet) != before

    def test_a_click_searches_by_that_picture_and_the_address_says_so(self, sheet: Page) -> None:
        sheet.goto("/")
        chosen = sheet.locator(CARDS).nth(5)
        wanted = str(chosen.get_attribute("data-tile"))
        chosen.locator(".card-main").click()
        searched(sheet)
        assert asked(sheet, "like") == [wanted] == tiles_shown(sheet)[:1]
        expect(sheet.locator(CARDS).first.locator(".score")).to_have_text("1.000")
        expect(sheet.locator(CARDS).first).to_have_attribute("data-side", "positive")

    def test_enter_does_as_a_click_and_the_keyboard_goes_on_in_the_results(
        self, sheet: Page
    ) -> None:
        sheet.goto("/")
        sheet.locator(".card-main").nth(2).focus()
        sheet.keyboard.press("Enter")
        searched(sheet)
        expect(sheet.locator(".card-main").first).to_be_focused()


class TestUploads:
    def test_one_becomes_an_example_and_finds_itself(self, sheet: Page, world: World) -> None:
        sheet.goto("/")
        sheet.set_input_files("#file", world.rows[9].uri)
        searched(sheet)
        assert tiles_shown(sheet)[0] == world.rows[9].uri
        expect(sheet.locator(CARDS).first.locator(".score")).to_have_text("1.000")
        expect(sheet.locator(CHIP_NAME)).to_have_text(Path(world.rows[9].uri).name)
        preview = sheet.locator(".chip img")
        assert preview.evaluate("(i) => i.decode().then(() => i.naturalWidth)") == 128

    def test_it_stays_through_refinement_without_being_sent_again(
        self, sheet: Page, world: World
    ) -> None:
        sheet.goto("/")
        _give(sheet, "mine.png", _picture())
        searched(sheet)
        sent: list[str] = []
        sheet.on("request", lambda made: sent.append(made.url) if "/embed" in made.url else None)
        other = world.of("forest")[0].uri
        with sheet.expect_request("**/v1/search") as refined:
            sheet.locator(_card(sheet, other)).hover()
            sheet.locator(_card(sheet, other)).locator(".unlike").click()
        body = posted(refined.value)
        assert len(body["positive"]) == 1 and body["positive"][0]["embedding"].startswith("e1.")
        assert body["negative"] == [{"tile_id": other}]
        assert not sent
        expect(sheet.locator(".tray-group.positive .chip-name")).to_have_text("mine.png")

    def test_one_can_be_dropped_and_pasted(self, sheet: Page, world: World) -> None:
        for event, transfer in (("drop", "dataTransfer"), ("paste", "clipboardData")):
            sheet.goto("/")
            expect(sheet.locator(CARDS)).to_have_count(SAMPLE)
            sheet.evaluate(
                """async ([event, transfer, source]) => {
                    const bytes = await (await fetch(source)).blob();
                    const data = new DataTransfer();
                    data.items.add(new File([bytes], "given.png", { type: "image/png" }));
                    const kind = event === "drop" ? DragEvent : ClipboardEvent;
                    document.body.dispatchEvent(
                        new kind(event, { bubbles: true, cancelable: true, [transfer]: data }));
                }""",
                [event, transfer, sheet.locator(".card img").nth(4).get_attribute("src")],
            )
            expect(sheet.locator(CHIP_NAME)).to_have_text("given.png")
            searched(sheet)

    def test_dropped_on_the_second_half_it_is_one_to_be_unlike(
        self, sheet: Page, world: World
    ) -> None:
        sheet.goto(like(world.rows[0].uri))
        searched(sheet)
        drag = """([kind, where, text]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))],
                "not this.png", { type: "image/png" }));
            document.querySelector(where).dispatchEvent(
                new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data }));
        }"""
        text = sheet.evaluate("(bytes) => btoa(String.fromCharCode(...bytes))", list(_picture(3)))
        sheet.evaluate(drag, ["dragenter", "body", text])
        expect(sheet.locator(".drop-zone")).to_have_count(2)
        sheet.evaluate(drag, ["drop", '.drop-zone[data-side="negative"]', text])
        expect(sheet.locator(".tray-group.negative .chip-name")).to_have_text("not this.png")
        expect(sheet.locator(".dropping")).to_be_hidden()

    def test_a_part_can_be_cut_out_by_mouse_and_keys(self, sheet: Page) -> None:
        sheet.goto("/")
        _give(sheet, "whole.png", _picture())
        searched(sheet)
        whole = tiles_shown(sheet)
        sheet.get_by_role("button", name="Cut a part out of whole.png").click()
        cut = sheet.locator("#cut")
        expect(sheet.locator("#snip")).to_contain_text("64 × 64 px")
        expect(cut).to_be_focused()
        for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown"):
            sheet.keyboard.press(key)
        expect(sheet.locator("#snip")).to_contain_text("67 × 67 px")
        shoot(sheet, "desktop-light-snip")
        stage = sheet.locator(".stage").bounding_box()
        assert stage is not None
        sheet.mouse.move(stage["x"] + 2, stage["y"] + 2)
        sheet.mouse.down()
        sheet.mouse.move(stage["x"] + stage["width"] / 4, stage["y"] + stage["height"] / 4)
        sheet.mouse.up()
        told = re.search(r"(\d+) × \d+ px", sheet.locator("#snip").inner_text())
        assert told is not None and 28 <= int(told[1]) <= 32  # a quarter of 128
        sheet.locator("#snip-use").click()
        expect(sheet.locator(CHIP_NAME)).to_have_text("part of whole.png")
        preview = sheet.locator(".chip img")
        assert preview.evaluate("(i) => i.decode().then(() => i.naturalWidth)") == int(told[1])
        searched(sheet)
        assert tiles_shown(sheet) != whole

    def test_a_part_can_be_cut_out_by_touch(self, chromium: Browser, site: str) -> None:
        phone = chromium.new_context(
            base_url=site, viewport=PHONE, is_mobile=True, has_touch=True, reduced_motion="reduce"
        )
        page = phone.new_page()
        page.goto("/")
        _give(page, "whole.png", _picture())
        searched(page)
        page.get_by_role("button", name="Cut a part out of whole.png").tap()
        expect(page.locator("#cut")).to_be_focused()
        stage = page.locator(".stage").bounding_box()
        assert stage is not None
        finger = phone.new_cdp_session(page)
        for kind, share in (
            ("touchStart", 0.02),
            ("touchMove", 0.1),
            ("touchMove", 0.2),
            ("touchEnd", None),
        ):
            at = {"x": stage["x"], "y": stage["y"]}
            points = (
                [] if share is None else [{k: v + share * stage["width"] for k, v in at.items()}]
            )
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            page.wait_for_timeout(150)  # all at once would be a fling, which swallows the next tap
        told = re.compile(r"(2[1-4]) × \1 px")  # 0.18 of 128, and the pixels of a screen
        expect(page.locator("#snip")).to_contain_text(told)
        shoot(page, "phone-light-snip")
        page.locator("#snip-use").tap()
        expect(page.locator(CHIP_NAME)).to_have_text("part of whole.png")
        phone.close()

    def test_in_a_shared_link_a_placeholder_stands_for_it(
        self, sheet: Page, visit: BrowserContext
    ) -> None:
        sheet.goto("/")
        _give(sheet, "mine.png", _picture())
        searched(sheet)
        found = tiles_shown(sheet)
        assert "e1." not in sheet.url.split("#")[0]  # what servers are sent
        elsewhere = visit.new_page()
        elsewhere.goto(sheet.url)
        searched(elsewhere)
        assert tiles_shown(elsewhere) == found
        expect(elsewhere.locator(".chip .broken")).to_have_text("upload")
        expect(elsewhere.locator(".chip-name")).to_have_text("mine.png")
        sheet.reload()
        searched(sheet)
        assert sheet.locator(".chip img").evaluate("(i) => i.decode().then(() => true)")


class TestRefining:
    def test_results_move_to_positives_and_negatives_by_one_click(
        self, sheet: Page, world: World
    ) -> None:
        first = world.rows[0].uri
        sheet.goto(like(first))
        searched(sheet)
        good, bad = tiles_shown(sheet)[3], tiles_shown(sheet)[8]
        sheet.locator(_card(sheet, good)).hover()
        sheet.locator(_card(sheet, good)).locator(".like").click()
        expect(sheet.locator(".tray-group.positive .chip[data-example]")).to_have_count(2)
        sheet.locator(_card(sheet, bad)).hover()
        sheet.locator(_card(sheet, bad)).locator(".unlike").click()
        expect(sheet.locator(".tray-group.negative .chip[data-example]")).to_have_count(1)
        searched(sheet)
        assert _chips(sheet, "positive") == [first, good] == asked(sheet, "like")
        assert _chips(sheet, "negative") == [bad] == asked(sheet, "unlike")
        score = float(sheet.locator(_card(sheet, good)).locator(".score").inner_text())
        worse = float(sheet.locator(_card(sheet, bad)).locator(".score").inner_text())
        assert score > worse
        sheet.locator(_card(sheet, good)).hover()
        shoot(sheet, "desktop-light-refined")

    def test_and_by_keys(self, sheet: Page, world: World) -> None:
        first = world.rows[0].uri
        sheet.goto(like(first))
        searched(sheet)
        shown = tiles_shown(sheet)
        sheet.locator(".card-main").first.focus()
        sheet.keyboard.press("ArrowRight")
        expect(sheet.locator(".card-main").nth(1)).to_be_focused()
        sheet.keyboard.press("p")
        expect(sheet.locator(".chip[data-example]")).to_have_count(2)
        searched(sheet)
        focused = "document.activeElement.closest('.card').dataset.tile"
        assert sheet.evaluate(focused) == shown[1], "the focus stays with the picture"
        sheet.locator(_card(sheet, shown[5])).locator(".card-main").focus()
        sheet.keyboard.press("n")
        expect(sheet.locator(".tray-group.negative .chip[data-example]")).to_have_count(1)
        expect(sheet.locator("#said")).to_contain_text("unlike")
        sheet.locator(_card(sheet, shown[5])).locator(".card-main").focus()
        sheet.keyboard.press("x")
        expect(sheet.locator(".tray-group.negative .chip[data-example]")).to_have_count(0)

    def test_arrows_walk_rows_and_columns(self, sheet: Page, world: World) -> None:
        sheet.goto(like(world.rows[0].uri))
        searched(sheet)
        tops = [card.bounding_box() for card in sheet.locator(CARDS).all()[:12]]
        columns = sum(box is not None and box["y"] == tops[0]["y"] for box in tops)  # type: ignore[index]
        sheet.locator(".card-main").first.focus()
        for key, index in (
            ("ArrowDown", columns),
            ("ArrowRight", columns + 1),
            ("ArrowUp", 1),
            ("End", 47),
            ("Home", 0),
        ):
            sheet.keyboard.press(key)
            expect(sheet.locator(".card-main").nth(index)).to_be_focused()
        assert sheet.locator(".card-main[tabindex='0']").count() == 1

    def test_weights_sides_and_strategy_are_in_the_request_and_the_address(
        self, sheet: Page, world: World
    ) -> None:
        one, two = world.rows[0].uri, world.rows[40].uri
        sheet.goto(like(one, two))
        searched(sheet)
        with sheet.expect_request("**/v1/search") as weighed:
            sheet.locator(".chip select").first.select_option("3")
        assert posted(weighed.value)["positive"][0] == {"tile_id": one, "weight": 3}
        with sheet.expect_request("**/v1/search") as joined:
            sheet.get_by_role("button", name="Any of them").click()
        assert posted(joined.value)["strategy"] == "best"
        with sheet.expect_request("**/v1/search") as moved:
            sheet.get_by_role("button", name=re.compile("^Move .* to unlike")).last.click()
        assert posted(moved.value)["negative"] == [{"tile_id": two}]
        assert asked(sheet, "like") == [f"3*{one}"] and asked(sheet, "strategy") == ["best"]
        sheet.get_by_role("button", name=re.compile("^Move .* to unlike")).click()
        expect(sheet.locator(".toast")).to_contain_text("needs one picture to be like")

    def test_the_last_example_taken_away_leads_to_the_start(
        self, sheet: Page, world: World
    ) -> None:
        sheet.goto(like(world.rows[0].uri))
        searched(sheet)
        sheet.get_by_role("button", name=re.compile("^Remove ")).click()
        expect(sheet.locator("#hero")).to_be_visible()
        expect(sheet.locator(CARDS)).to_have_count(SAMPLE)


class TestAddress:
    def test_back_and_forward_go_through_searches_and_uploads(
        self, sheet: Page, world: World
    ) -> None:
        sheet.goto("/")
        sheet.set_input_files("#file", world.rows[3].uri)
        expect(sheet.locator(CARDS).first).to_have_attribute("data-tile", world.rows[3].uri)
        searched(sheet)
        second = tiles_shown(sheet)[4]
        sheet.locator(_card(sheet, second)).locator(".card-main").focus()
        sheet.keyboard.press("s")
        expect(sheet.locator(CARDS).first).to_have_attribute("data-tile", second)
        sheet.go_back()
        expect(sheet.locator(CARDS).first).to_have_attribute("data-tile", world.rows[3].uri)
        expect(sheet.locator(CHIP_NAME)).to_have_text(Path(world.rows[3].uri).name)
        sheet.go_back()
        expect(sheet.locator("#hero")).to_be_visible()
        sheet.go_forward()
        sheet.go_forward()
        expect(sheet.locator(CARDS).first).to_have_attribute("data-tile", second)
        sheet.locator("#home").click()
        expect(sheet.locator("#hero")).to_be_visible()

    def test_a_shared_one_shows_the_same(self, sheet: Page, visit: BrowserContext) -> None:
        sheet.goto("/")
        sheet.locator(".card-main").nth(1).click()
        searched(sheet)
        sheet.locator("#quality").select_option("exact")
        sheet.locator("#count").select_option("24")
        expect(sheet.locator(CARDS)).to_have_count(24)
        searched(sheet)
        elsewhere = visit.new_page()
        elsewhere.goto(sheet.url)
        searched(elsewhere)
        assert tiles_shown(elsewhere) == tiles_shown(sheet)
        expect(elsewhere.locator("#quality")).to_have_value("exact")
        expect(elsewhere.locator("#count")).to_have_value("24")

    def test_more_results_follow_on_demand(self, sheet: Page, world: World) -> None:
        sheet.goto(like(world.rows[0].uri) + "&k=24&quality=exact")
        searched(sheet)
        expect(sheet.locator(CARDS)).to_have_count(24)
        for shown in (48, 72, 96):
            sheet.locator("#more").click()
            expect(sheet.locator(CARDS)).to_have_count(min(shown, len(world.rows)))
        assert sorted(tiles_shown(sheet)) == sorted(row.uri for row in world.rows)
        expect(sheet.locator("#more")).to_be_hidden()
