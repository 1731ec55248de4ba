"""The visitor's voice: packets, mute, and a page that works without a microphone."""

from __future__ import annotations

import asyncio
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.browser.chromium import browser, need_page, open_page
from tests.browser.stage import Stage

pytestmark = pytest.mark.browser
SENTENCE = "Good morning. When does the museum open on Sunday, and how much is a family ticket?"


@pytest.fixture(autouse=True)
def _page_is_built() -> None:
    need_page()


@pytest.fixture
def spoken_wav(tmp_path: Path) -> Path:
    """A second of silence, a spoken sentence, silence."""
    raw, padded = tmp_path / "raw.wav", tmp_path / "spoken.wav"
    subprocess.run(["flite", "-voice", "slt", "-t", SENTENCE, "-o", raw], check=True)
    with wave.open(str(raw)) as file:
        rate, speech = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16)
    silence = np.zeros(rate, np.int16)
    with wave.open(str(padded), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.concatenate([silence, speech, silence]).tobytes())
    return padded


async def test_microphone_packets_carry_the_speech(spoken_wav: Path) -> None:
    async with Stage(stream=False) as stage, browser(microphone_wav=spoken_wav) as running:
        page, errors = await open_page(running, stage.link)
        await page.click("#panel-action")
        assert (await stage.wait_for("start"))["microphone"] is True
        await asyncio.sleep(6.5)
        packets = list(stage.microphone)
    assert errors == []
    assert {len(pcm) for _, _, pcm in packets} == {640}, "40 ms a packet"
    starts = [sample for _, sample, _ in packets]
    assert starts == list(range(starts[0], starts[0] + 640 * len(packets), 640)), "no gap, no repeat"
    seconds = packets[-1][0] - packets[0][0]
    assert 640 * (len(packets) - 1) / seconds == pytest.approx(16_000, rel=0.03)
    sound = np.concatenate([pcm for _, _, pcm in packets]).astype(np.float64)
    levels = np.sqrt(np.mean(sound[: len(sound) // 1600 * 1600].reshape(-1, 1600) ** 2, axis=1))
    assert np.percentile(levels, 90) > 500, "speech is there"
    assert np.percentile(levels, 10) < 50, "and silence"
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / 16_000)
    assert spectrum[hertz < 4000].sum() > 0.8 * spectrum.sum()


async def test_mute_stops_the_packets_and_says_so(spoken_wav: Path) -> None:
    async with Stage(stream=False) as stage, browser(microphone_wav=spoken_wav) as running:
        page, errors = await open_page(running, stage.link)
        await page.click("#panel-action")
        await stage.wait_for("start")
        await asyncio.sleep(0.5)
        assert stage.microphone
        await page.click("#mute")
        assert (await stage.wait_for("mute"))["muted"] is True
        assert await page.get_attribute("#mute", "aria-pressed") == "true"
        await asyncio.sleep(0.2)
        count = len(stage.microphone)
        await asyncio.sleep(0.5)
        assert len(stage.microphone) == count

        # M held down mutes only as long as it lasts; it is muted now, so a press ends the mute.
        await page.keyboard.press("m")
        assert (await stage.wait_for("mute", 2))["muted"] is False
        await asyncio.sleep(0.4)
        assert len(stage.microphone) > count
        await page.keyboard.down("m")
        assert (await stage.wait_for("mute", 3))["muted"] is True
        await asyncio.sleep(0.6)
        await page.keyboard.up("m")
        assert (await stage.wait_for("mute", 4))["muted"] is False
    assert errors == []


async def test_refused_microphone_has_a_banner_and_typing_works() -> None:
    async with Stage() as stage, browser(allow_microphone=False) as running:
        page, errors = await open_page(running, stage.link)
        await page.click("#panel-action")
        assert (await stage.wait_for("start"))["microphone"] is False
        banner = page.locator("[data-notice=refused]")
        await banner.wait_for()
        assert "type" in await banner.inner_text()
        assert await page.inner_text("#mute-label") == "No mic"
        await page.fill("#message", "Where is the cafe?")
        await page.keyboard.press("Enter")
        assert (await stage.wait_for("text"))["text"] == "Where is the cafe?"
        assert await page.inner_text("#captions .visitor p") == "Where is the cafe?"
        assert await page.input_value("#message") == ""
        # Trying again asks again, and says so again.
        await banner.get_by_role("button").click()
        await stage.wait_for("start", 2)
        await banner.wait_for()
        assert stage.microphone == []
    assert errors == []


async def test_typing_before_the_start_begins_without_a_microphone() -> None:
    async with Stage() as stage, browser() as running:
        page, errors = await open_page(running, stage.link)
        await page.wait_for_selector("#panel-action:visible")
        await page.fill("#message", "Hello?")
        await page.keyboard.press("Enter")
        assert (await stage.wait_for("start"))["microphone"] is False
        assert (await stage.wait_for("text"))["text"] == "Hello?"
        order = [message["type"] for message in stage.texts if message["type"] in ("start", "text")]
        assert order == ["start", "text"]
        assert stage.microphone == []
        # The microphone can still be had.
        await page.click("#mute")
        assert (await stage.wait_for("start", 2))["microphone"] is True
    assert errors == []
