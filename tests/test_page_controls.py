"""The motion's controls in the page's technical panel: offered with `session.debug`, labelled, and obeyed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agent.transports.protocol import Offer, parse_text
from avatar.motion.controls import Asked
from tests.browser.chromium import DESKTOP, PHONE, browser, need_page, open_page, until
from tests.browser.stage import Stage

pytestmark = [pytest.mark.browser]

CONFIGURED = Asked(warm=0.3, concerned=0.1)
SLIDERS = ("motion-strength", "motion-liveliness", "motion-azimuth", "motion-elevation", "motion-distance")


@pytest.fixture(autouse=True)
def _page() -> None:
    need_page()


def hello(now: Asked = CONFIGURED) -> dict[str, Any]:
    return {"debug": True, "controls": Offer.of(now, CONFIGURED).model_dump(mode="json")}


async def test_moving_a_control_asks_for_it_and_reset_takes_it_back() -> None:
    async with Stage(hello=hello(Asked(happy=0.5, gaze_azimuth_deg=-8.0))) as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await page.wait_for_selector("#motion:visible")
        assert await page.input_value("#motion-emotion") == "happy"
        assert await page.input_value("#motion-strength") == "0.5"
        assert await page.inner_text("#motion-azimuth ~ output") == "8° left"
        await page.select_option("#motion-emotion", "surprised")
        told = await stage.wait_for("controls")
        assert told["emotion"] == "surprised:0.5" and told["gaze"] == [-8, 0]
        await page.focus("#motion-elevation")
        for _ in range(3):
            await page.keyboard.press("ArrowRight")
        await until(page, "document.querySelector('#motion-elevation ~ output').textContent === '3° up'")
        await asyncio.sleep(0.3)
        messages = [
            parse_text(json.dumps({key: value for key, value in message.items() if key != "at"}))
            for message in stage.texts
            if message["type"] == "controls"
        ]
        assert messages[-1].change().over(Asked()) == Asked(  # type: ignore[union-attr]
            surprised=0.5, gaze_azimuth_deg=-8.0, gaze_elevation_deg=3.0
        )
        await page.click("text=As configured")
        await asyncio.sleep(0.3)
        last = [message for message in stage.texts if message["type"] == "controls"][-1]
        assert last["emotion"] == "warm:0.3+concerned:0.1" and last["gaze"] == [0, 0]
        assert await page.is_disabled("#motion-strength"), "a mixture has no single strength"
        assert await page.input_value("#motion-emotion") == "warm:0.3+concerned:0.1"
        await page.focus("#motion-emotion")
        await page.keyboard.press("d")
        assert await page.is_visible("#debug"), "a letter chooses in the list, it does not close the panel"
    assert errors == []


async def test_a_dragged_slider_does_not_flood_the_server() -> None:
    async with Stage(hello=hello()) as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        box = await page.locator("#motion-azimuth").bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        await page.mouse.down()
        for step in range(60):
            await page.mouse.move(box["x"] + box["width"] * (0.5 + step / 130), box["y"] + 5)
            await asyncio.sleep(0.01)
        await page.mouse.up()
        await asyncio.sleep(0.3)
        moments = [message["at"] for message in stage.texts if message["type"] == "controls"]
        seconds = moments[-1] - moments[0]
        assert 2 <= len(moments) <= 10 * seconds + 3
        shown = float(await page.input_value("#motion-azimuth"))
        last = [message for message in stage.texts if message["type"] == "controls"][-1]
        assert last["gaze"][0] == shown > 15, "the last place is what is asked"
    assert errors == []


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_every_control_is_named_and_within_reach(viewport: dict[str, int]) -> None:
    async with Stage(hello=hello()) as stage, browser() as running:
        page, errors = await open_page(running, stage.link, viewport=viewport)
        await page.click("#panel-action")
        await stage.wait_for("start")
        if not await page.is_visible("#debug"):
            await page.click("#details")
        for name in ("motion-emotion", *SLIDERS):
            labels = f"[...document.getElementById('{name}').labels].map(l => l.innerText).join()"
            assert await page.evaluate(labels)
            await page.locator(f"#{name}").scroll_into_view_if_needed()
            middle = f"(b => document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2).id)({_box(name)})"
            assert await page.evaluate(middle) == name, "nothing lies over it"
        for name in SLIDERS[1:]:
            assert await page.get_attribute(f"#{name}", "aria-valuetext")
        over = "(e => e.scrollWidth > e.clientWidth)(document.documentElement)"
        assert not await page.evaluate(over)
        face = await page.evaluate(
            "(b => b.y + b.height * 0.62)(document.querySelector('.frame').getBoundingClientRect())"
        )
        panel = await page.evaluate("(b => [b.x, b.y])(document.getElementById('debug').getBoundingClientRect())")
        assert panel[1] > face or panel[0] > 600, "the face is seen while its controls are moved"
    assert errors == []


async def test_on_a_phone_the_panel_waits_for_its_button() -> None:
    async with Stage(hello=hello()) as stage, browser() as running:
        page, errors = await open_page(running, stage.link, viewport={"width": 320, "height": 640})
        await page.wait_for_selector("#panel-action")
        assert not await page.is_visible("#debug"), "it would lie over the Start button"
        await page.click("#panel-action", timeout=5000)
        await stage.wait_for("start")
        await page.click("#details")
        assert await page.is_visible("#motion")
    assert errors == []


async def test_without_debug_or_an_offer_there_are_no_controls() -> None:
    async with browser() as running:
        for offered in ({}, {"debug": True}, {"controls": hello()["controls"]}):
            async with Stage(hello=offered) as stage:
                page, errors = await open_page(running, stage.link)
                await page.click("#panel-action")
                await stage.wait_for("start")
                await page.wait_for_timeout(500)  # with debug the panel opens by itself
                if not await page.is_visible("#debug"):
                    await page.click("#details")
                await page.wait_for_selector("#figures")
                assert not await page.is_visible("#motion")
                assert errors == []
                await page.context.close()


def _box(name: str) -> str:
    return f"document.getElementById('{name}').getBoundingClientRect()"
