"""What a visitor sees and can reach: sizes, keyboard, names, captions, states."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from playwright.async_api import Page

from agent.transports.visit import encode_jpeg
from tests.browser.chromium import DESKTOP, PHONE, browser, need_page, open_page, until
from tests.browser.stage import RATE, Stage

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def _page_is_built() -> None:
    need_page()


async def boxes_inside(page: Page, *selectors: str) -> None:
    """Each element lies wholly inside the window, and nothing scrolls sideways."""
    size = page.viewport_size
    assert size is not None
    assert await page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    for selector in selectors:
        box = await page.locator(selector).bounding_box()
        assert box is not None, selector
        assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"] + 0.5, selector
        assert box["y"] >= 0 and box["y"] + box["height"] <= size["height"] + 0.5, selector


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE, {"width": 1920, "height": 1080}, {"width": 1080, "height": 1920}])
@pytest.mark.parametrize("allow_microphone", [True, False], ids=["microphone", "refused"])
async def test_everything_fits(viewport: dict[str, int], allow_microphone: bool) -> None:
    async with Stage() as stage, browser(allow_microphone=allow_microphone) as running:
        page, errors = await open_page(running, stage.link, viewport=viewport)
        await page.wait_for_selector("#panel-action:visible")
        await boxes_inside(page, ".frame", "#panel-action", "#form", "#disclosure")
        await page.click("#panel-action")
        await stage.wait_for("start")
        long = "We are open from ten to six on Sundays. " * 12
        for number in range(8):
            await stage.say({"type": "transcript", "segment": f"v{number}", "text": "When do you open?", "final": True})
            await stage.say({"type": "caption", "segment": f"a{number}", "text": long, "final": True})
        await page.wait_for_selector("#captions li:nth-child(16)")
        await boxes_inside(page, ".frame", "#mute", "#stop", "#end", "#form", "#disclosure", "#details")
        frame = await page.locator(".frame").bounding_box()
        assert frame is not None and abs(frame["width"] - frame["height"]) < 1
        assert frame["width"] >= 280
        # The newest words are in view.
        at_end = "e => e.scrollHeight - e.scrollTop - e.clientHeight"
        assert await page.locator("#log").evaluate(at_end) < 3
        # They stay there when a phone's keyboard takes a third of the height.
        await page.set_viewport_size(viewport | {"height": viewport["height"] * 2 // 3})
        await asyncio.sleep(0.4)
        assert await page.locator("#log").evaluate(at_end) < 3
    assert errors == []


async def test_the_keyboard_is_enough() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await page.wait_for_selector("#panel-action:visible")
        for _ in range(6):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.id") == "panel-action":
                break
        await page.keyboard.press("Enter")
        await stage.wait_for("start")
        await until(page, "document.activeElement.id === 'mute'")
        await page.keyboard.press("Space")
        await stage.wait_for("mute")
        await stage.say({"type": "state", "state": "speaking"})
        await page.wait_for_selector("#stop:enabled")
        await page.keyboard.press("Escape")
        await stage.wait_for("stop")
        await page.keyboard.press("d")
        assert await page.is_visible("#debug")
        await page.focus("#message")
        await page.keyboard.type("dmd")
        assert await page.is_visible("#debug"), "letters in the text box are text"
        assert await page.input_value("#message") == "dmd"
    assert errors == []


async def test_every_control_has_a_name_and_captions_are_announced() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await page.click("#panel-action")
        await stage.wait_for("start")
        await page.wait_for_selector("#mute:enabled")
        for control in await page.locator("button:visible, input:visible").all():
            named = await control.evaluate(
                "e => (e.innerText || e.ariaLabel || e.labels?.[0]?.innerText || e.textContent).trim()"
            )
            assert named, await control.get_attribute("id")
        assert await page.get_attribute("#announcer", "aria-live") == "polite"
        await stage.say({"type": "caption", "segment": "1", "text": "Wel", "final": False})
        await page.wait_for_selector("#captions >> text=Wel")
        assert await page.inner_text("#announcer") == "", "growing words are not read out"
        await stage.say({"type": "caption", "segment": "1", "text": "Welcome.", "final": True})
        await until(page, "document.getElementById('announcer').textContent === 'Welcome.'")
    assert errors == []


async def test_captions_wait_for_their_sound_and_end_with_the_interruption() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await page.click("#panel-action")
        await stage.wait_for("played", 2)
        later = (stage.frame + 50) * 960
        await stage.say({"type": "caption", "segment": "1", "text": "Now.", "final": False, "start_sample": 0})
        await stage.say({"type": "caption", "segment": "2", "text": "Later.", "final": False, "start_sample": later})
        await page.wait_for_selector("text=Now.")
        assert not await page.is_visible("text=Later.")
        await page.wait_for_selector("text=Later.", timeout=5000)
        heard = [message["sample"] for message in stage.texts if message["type"] == "played"][-1]
        assert heard >= later - RATE / 2
        future = (stage.frame + 200) * 960
        await stage.say({"type": "caption", "segment": "3", "text": "Never.", "final": False, "start_sample": future})
        await stage.clear()
        await page.wait_for_selector("text=interrupted")
        await asyncio.sleep(0.3)
        assert await page.locator("#captions li").count() == 2
    assert errors == []


async def test_states_details_and_the_stop_button() -> None:
    async with Stage(hello={"debug": True, "disclosure": "This is a machine.", "title": "Lumen"}) as stage:
        async with browser() as running:
            page, errors = await open_page(running, stage.link)
            await page.click("#panel-action")
            await stage.wait_for("start")
            assert await page.inner_text("#title") == "Lumen"
            assert await page.inner_text("#disclosure") == "This is a machine."
            for state, word in [("listening", "Listening"), ("thinking", "Thinking"), ("speaking", "Speaking")]:
                await stage.say({"type": "state", "state": state})
                await page.wait_for_selector(f"text={word}")
            await page.click("#stop")
            await stage.wait_for("stop")
            assert await page.is_visible("#debug"), "the server asked for details"
            await stage.say({"type": "latency", "turn": "1", "marks_ms": {"transcript": 312.4, "first_frame": 655.0}})
            await stage.say({"type": "stats", "late_frames": 3})
            await page.wait_for_selector("#debug >> text=655 ms")
            await page.wait_for_selector("#debug >> text=late_frames")
        assert errors == []


def folded_jpeg(width: int, height: int) -> bytes:
    """A red disc that is solid in the middle and clear around it, as the kiosk sends it."""
    y, x = np.mgrid[:height, :width]
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (width / 3) ** 2
    image = np.zeros((height, width, 4), np.uint8)
    image[inside] = (220, 30, 30, 255)
    return encode_jpeg(image, 90)


async def test_upright_transparent_pictures_show_the_page_behind_them() -> None:
    hello = {"width": 144, "height": 256, "alpha": True}
    async with Stage(hello=hello, still=folded_jpeg(144, 256)) as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await page.wait_for_selector("[data-picture=live]")
        read = "[...document.getElementById('avatar').getContext('2d').getImageData({}, {}, 1, 1).data]"
        red, green, _, opacity = await page.evaluate(read.format(72, 128))
        assert red > 200 and green < 60 and opacity == 255
        assert (await page.evaluate(read.format(3, 3)))[3] == 0
        shape = "(e => e.clientWidth / e.clientHeight)(document.querySelector('.frame'))"
        assert abs(await page.evaluate(shape) - 9 / 16) < 0.01
        assert await page.evaluate("getComputedStyle(document.querySelector('.frame')).backgroundImage") == "none"
    assert errors == []


async def test_reduced_motion_is_respected() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await page.emulate_media(reduced_motion="reduce")
        await page.click("#panel-action")
        await stage.wait_for("start")
        await stage.say({"type": "state", "state": "speaking"})
        await page.wait_for_selector("[data-state=speaking]")
        moving = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).animationName !== 'none').length"
        assert await page.evaluate(moving) == 0
    assert errors == []
