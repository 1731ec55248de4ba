"""A visitor talks to the real thing: `visavis run` and its page in a real Chromium."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Page

from tests.browser import probe
from tests.browser.chromium import browser, need_page, open_page, until
from tests.browser.mouth import mouth_gap
from tests.browser.server import RunningVisavis
from tests.speak import speak

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

QUESTION = "When are you open on Sunday?"
INTERRUPTION = "Is there a cafe?"
LOUD, HUSHED = 0.02, 0.002
"""Root mean square of speech and of silence."""


@pytest.fixture(scope="module")
def kiosk() -> Iterator[RunningVisavis]:
    need_page()
    with RunningVisavis("run", "--port", "0", "--set", "session.greeting=Hello and welcome!") as running:
        yield running


async def wav_of(text: str, path: Path, before_s: float, after_s: float) -> Path:
    pcm_S = await speak(text)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        before, after = (np.zeros(int(seconds * 16_000), np.int16) for seconds in (before_s, after_s))
        file.writeframes(np.concatenate([before, pcm_S, after]).tobytes())
    return path


async def state_is(page: Page, state: str, within_s: float = 30) -> None:
    await until(page, f"document.getElementById('app').dataset.state === '{state}'", within_s)


def caption(speaker: str, pattern: str) -> str:
    """True in the page when somebody has said that."""
    return f"[...document.querySelectorAll('#captions .{speaker} p')].some(p => /{pattern}/i.test(p.textContent))"


async def greeted(page: Page) -> None:
    """Start, and let the greeting pass."""
    await page.click("#panel-action")
    await until(page, caption("avatar", "welcome"), 30)
    await state_is(page, "listening")


async def test_a_spoken_question_is_answered_by_a_face_that_moves(kiosk: RunningVisavis, tmp_path: Path) -> None:
    question_wav = await wav_of(QUESTION, tmp_path / "question.wav", before_s=9, after_s=60)
    link = kiosk.next_link()
    async with browser(microphone_wav=question_wav) as running:
        page, errors = await open_page(running, link, probed=True)
        await greeted(page)
        await until(page, caption("visitor", "sunday"), 30)
        await probe.keep_pictures(page)
        await state_is(page, "speaking")
        await until(page, caption("avatar", "Sundays? .*nine"), 30)
        await state_is(page, "listening")
        await asyncio.sleep(2)
        recording = await probe.collect(page)
        looks = await probe.pictures(page)
    assert errors == []

    loud = [look for look in looks if recording.loudness(look.context_s) > LOUD]
    quiet = [look for look in looks if recording.loudness(look.context_s, 0.6) < HUSHED]
    assert len(loud) >= 15, "the reply was heard"
    assert len(quiet) >= 8, "and it ended"
    speaking = np.array([mouth_gap(look.jpeg) for look in loud[:: max(1, len(loud) // 25)]])
    silent = np.array([mouth_gap(look.jpeg) for look in quiet[-10:]])
    assert np.percentile(speaking, 85) > 0.1, "the mouth opens"
    assert np.ptp(speaking) > 0.08, "and moves"
    assert np.median(silent) < 0.06, "and is closed after (a warm smile counts a little)"
    assert silent.max() < np.percentile(speaking, 85)


async def test_the_visitor_interrupts_by_voice(kiosk: RunningVisavis) -> None:
    question, interruption = await speak(QUESTION), await speak(INTERRUPTION)
    link = kiosk.next_link()
    async with browser() as running:
        page, errors = await open_page(running, link, probed=True, voice=True)
        await greeted(page)
        await asyncio.sleep(1)
        await probe.speak_now(page, question)
        await state_is(page, "speaking")
        await until(page, caption("avatar", "Sundays"), 30)
        await probe.watch(page)
        await asyncio.sleep(0.7)
        began_ms = await probe.speak_now(page, interruption)
        await until(page, caption("avatar", "ground floor"), 30)
        await asyncio.sleep(1)
        recording = await probe.collect(page)
        cut = await page.locator("#captions .avatar:has(.cut)").inner_text()
    assert errors == []
    assert "On Sundays" in cut and "six in the evening" not in cut, "the reply was cut short"

    # From the first loud sample of the interruption to silence at the loudspeaker.
    onset_ms = began_ms + np.nonzero(np.abs(interruption) > 1000)[0][0] / 16
    page_ms, context_s = recording.sights[:, 0], recording.sights[:, 1]
    known = context_s > 0
    onset_s = float(np.interp(onset_ms, page_ms[known], context_s[known]))
    silent_after = next(
        delay for delay in np.arange(0, 5, 0.02) if recording.loudness(onset_s + delay + 0.15, 0.15) < HUSHED
    )
    # Speech shorter than 0.25 s does not interrupt (settings), the rest is the way there and back.
    assert silent_after < 1.2


async def test_typed_text_is_answered_and_stop_stops(kiosk: RunningVisavis) -> None:
    link = kiosk.next_link()
    async with browser(allow_microphone=False) as running:
        page, errors = await open_page(running, link, probed=True)
        await greeted(page)
        await page.wait_for_selector("[data-notice=refused]")
        await page.fill("#message", QUESTION)
        await page.keyboard.press("Enter")
        await until(page, caption("avatar", "Sundays"), 30)
        await probe.watch(page)
        await asyncio.sleep(1)
        stopped_ms = await page.evaluate("(document.getElementById('stop').click(), performance.now())")
        await state_is(page, "listening", within_s=5)
        await asyncio.sleep(1)
        recording = await probe.collect(page)
        # The next question is answered as if nothing had happened.
        await page.fill("#message", INTERRUPTION)
        await page.keyboard.press("Enter")
        await until(page, caption("avatar", "ground floor"), 30)
    assert errors == []
    page_ms, context_s = recording.sights[:, 0], recording.sights[:, 1]
    known = context_s > 0
    loud = np.nonzero(np.abs(recording.sound) > 0.01)[0]
    last_loud_s = (recording.first_frame + loud[-1]) / recording.rate
    silent_ms = float(np.interp(last_loud_s, context_s[known], page_ms[known]))
    assert silent_ms - stopped_ms < 400


async def test_a_second_window_is_refused_until_the_first_is_closed(kiosk: RunningVisavis) -> None:
    link = kiosk.next_link()
    async with browser() as running:
        first, errors = await open_page(running, link)
        await first.wait_for_selector("#panel[data-panel=start]")
        second, second_errors = await open_page(running, link)
        await second.wait_for_selector("#panel[data-panel=busy]")
        assert "another window" in await second.inner_text("#panel")
        # The first goes on undisturbed, also over a reload.
        await first.reload()
        await first.wait_for_selector("#panel[data-panel=start]")
        await until(first, "document.getElementById('app').dataset.picture === 'live'", 10)
        await first.close()
        fresh = await asyncio.to_thread(kiosk.next_link)
        await second.goto(fresh)
        await second.wait_for_selector("#panel[data-panel=start]")
    assert errors == second_errors == []
