"""The page when things go wrong: lost connection, second tab, old link, errors, the end."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page

from tests.browser.chromium import browser, need_page, open_page
from tests.browser.stage import Stage

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def _page_is_built() -> None:
    need_page()


async def start(page: Page, stage: Stage) -> None:
    await page.click("#panel-action")
    await stage.wait_for("start")


async def test_a_lost_connection_is_told_and_comes_back_by_itself() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await start(page, stage)
        await page.click("#mute")
        await stage.wait_for("mute")
        await stage.say({"type": "caption", "segment": "1", "text": "We open at ten.", "final": True})
        await page.wait_for_selector("text=We open at ten.")
        port = stage.port
        await stage.hang_up()
        await page.wait_for_selector("[data-notice=reconnecting]")
        assert await page.is_disabled("#send")
        await asyncio.sleep(1)
        await stage.listen(port)
        await page.wait_for_selector("[data-notice=reconnecting]", state="detached", timeout=15_000)
        await stage.wait_for("start", 2)
        # The same visitor: with the session's secret, still muted, with what was said.
        assert f"session={stage.session}" in stage.connections[-1]
        assert (await stage.wait_for("mute", 2))["muted"] is True
        assert await page.is_visible("text=We open at ten.")
        assert await page.is_enabled("#send")
    assert errors == []


async def test_retry_now_does_not_wait() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await start(page, stage)
        port = stage.port
        await stage.hang_up()
        await page.wait_for_selector("[data-notice=reconnecting]")
        await asyncio.sleep(4)  # the delays have grown to seconds
        await stage.listen(port)
        await page.click("[data-notice=reconnecting] button")
        await stage.wait_for("start", 2, within_s=3)
    assert errors == []


async def test_a_reload_comes_back_to_the_same_session_without_the_token_in_the_address() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await page.wait_for_selector("#panel-action:visible")
        assert "token" not in page.url
        await page.reload()
        await page.wait_for_selector("#panel-action:visible")
        assert stage.connections[-1] == f"/ws?token={stage.token}&session={stage.session}"
    assert errors == []


async def test_a_second_tab_is_told_so_and_can_try_again() -> None:
    busy = {"type": "error", "code": "busy", "message": "Somebody is talking in another window.", "fatal": True}
    async with Stage() as stage, browser() as running:
        stage.refuse = busy
        page, errors = await open_page(running, stage.link)
        await page.wait_for_selector("#panel[data-panel=busy]")
        assert "Somebody is talking in another window." in await page.inner_text("#panel")
        assert await page.is_visible("#disclosure")
        await asyncio.sleep(1.5)
        assert len(stage.connections) == 1, "a refused page knocks only when asked to"
        stage.refuse = None
        await page.click("#panel-action")
        await page.wait_for_selector("#panel[data-panel=start]")
    assert errors == []


async def test_an_old_link_says_what_to_do() -> None:
    async with Stage() as stage, browser() as running:
        stage.refuse = {
            "type": "error", "code": "link_invalid", "message": "This link is not valid.",
            "hint": "Use the printed one.", "fatal": True,
        }  # fmt: skip
        page, errors = await open_page(running, stage.link)
        await page.wait_for_selector("#panel[data-panel=refused]")
        assert "Use the printed one." in await page.inner_text("#panel")
    assert errors == []


async def test_a_server_error_is_shown_and_the_conversation_goes_on() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await start(page, stage)
        await stage.say(
            {"type": "error", "code": "dialogue", "message": "I cannot reach my knowledge.", "hint": "Later."}
        )
        banner = page.locator("[data-notice=problem-dialogue]")
        await banner.wait_for()
        assert await banner.get_attribute("role") == "alert"
        await banner.get_by_role("button").click()
        await banner.wait_for(state="detached")
        await page.fill("#message", "Still there?")
        await page.keyboard.press("Enter")
        await stage.wait_for("text")
    assert errors == []


async def test_the_end_frees_the_microphone_and_one_press_starts_again() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await start(page, stage)
        await stage.say({"type": "caption", "segment": "1", "text": "Private words.", "final": True})
        await page.wait_for_selector("text=Private words.")
        await stage.say({"type": "bye", "reason": "idle"})
        await page.wait_for_selector("#panel[data-panel=ended]")
        assert "quiet" in await page.inner_text("#panel")
        # The next person at a public screen reads nothing of the last one.
        assert not await page.is_visible("text=Private words.")
        await asyncio.sleep(0.3)
        count = len(stage.microphone)
        await asyncio.sleep(0.4)
        assert len(stage.microphone) == count
        await page.click("#panel-action")
        await stage.wait_for("start", 2)
        await page.wait_for_selector("#panel", state="hidden")
    assert errors == []


async def test_the_visitor_ends_it() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await start(page, stage)
        await page.click("#end")
        await stage.wait_for("bye")
        await page.wait_for_selector("#panel[data-panel=ended]")
    assert errors == []


async def test_nonsense_from_the_server_does_not_stop_the_page() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await start(page, stage)
        for socket in list(stage.sockets):
            await socket.send("not json")
            await socket.send(b"short")
            await socket.send(bytes([3, 0, 0, 0]) + bytes(12) + b"not a jpeg")
            await socket.send('{"type":"state","state":"dancing"}')
            await socket.send('{"type":"from_the_future"}')
        await stage.say({"type": "state", "state": "thinking"})
        await page.wait_for_selector("[data-state=thinking]")
        assert await page.inner_text("#state") == "Thinking"
    assert errors == []
