"""The same page in a LiveKit room: a real livekit-server, `visavis room`, a real Chromium."""

from __future__ import annotations

import asyncio
import base64
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.transports.livekit_server import find_binary, free_port
from tests.browser.chromium import browser, need_page, open_page, until
from tests.browser.mouth import mouth_gap
from tests.browser.server import RunningVisavis
from tests.speak import speak

pytestmark = [
    pytest.mark.browser,
    pytest.mark.room,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_binary() is None, reason="no livekit-server (scripts/install_livekit.sh builds it)"),
]

LISTEN = """() => {
  const video = document.getElementById("avatar-video");
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 2048 });
  new MediaStreamAudioSourceNode(context, { mediaStream: video.srcObject }).connect(analyser);
  const canvas = new OffscreenCanvas(512, 512);
  const wave = new Float32Array(2048);
  window.looks = [];
  setInterval(async () => {
    analyser.getFloatTimeDomainData(wave);
    const level = Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0) / wave.length);
    const state = document.getElementById("app").dataset.state;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
    const bytes = new Uint8Array(await blob.arrayBuffer());
    window.looks.push([state, level, btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""))]);
  }, 150);
}"""


@pytest.fixture(scope="module")
def room() -> Iterator[RunningVisavis]:
    need_page()
    url = f"ws://127.0.0.1:{free_port()}"
    options = ("--url", url, "--set", "room.port=0", "--set", "session.greeting=Hello and welcome!")
    with RunningVisavis("room", *options) as running:
        yield running


def said(speaker: str, pattern: str) -> str:
    return f"[...document.querySelectorAll('#captions .{speaker} p')].some(p => /{pattern}/i.test(p.textContent))"


async def test_a_conversation_through_the_room(room: RunningVisavis, tmp_path: Path) -> None:
    microphone = tmp_path / "question.wav"
    with wave.open(str(microphone), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        silence = np.zeros(16_000, np.int16)
        question = await speak("When are you open on Sunday?")
        file.writeframes(np.concatenate([*[silence] * 20, question, *[silence] * 90]).tobytes())
    link = room.next_link()
    async with browser(microphone_wav=microphone) as running:
        page, errors = await open_page(running, link, probed=True)
        await page.wait_for_selector("#panel[data-panel=start]")
        assert "key=" not in page.url
        assert await page.is_visible("#disclosure")
        await asyncio.sleep(3)
        await page.click("#panel-action")
        await until(page, "document.getElementById('app').dataset.picture === 'live'", 40)
        await page.evaluate(LISTEN)
        await until(page, said("visitor", "sunday"), 60)
        await until(page, said("avatar", "Sundays.*nine"), 20)
        await page.wait_for_selector("[data-state=listening]", timeout=30_000)
        await asyncio.sleep(2)
        looks = [(state, level, base64.b64decode(jpeg)) for state, level, jpeg in await page.evaluate("looks")]
        size = await page.evaluate("(v => [v.videoWidth, v.videoHeight])(document.getElementById('avatar-video'))")
        assert size == [512, 512]

        # Typed text is answered as well, and can be stopped.
        await page.fill("#message", "Is there a cafe?")
        await page.keyboard.press("Enter")
        await until(page, said("avatar", "ground floor"), 20)
        await page.click("#stop")
        await page.wait_for_selector("[data-state=listening]", timeout=5_000)
        await page.click("#end")
        await page.wait_for_selector("#panel[data-panel=ended]")
    assert errors == []

    loud = [jpeg for state, level, jpeg in looks if state == "speaking" and level > 0.02]
    quiet = [jpeg for state, level, jpeg in looks if state == "listening" and level < 0.002]
    assert len(loud) > 10
    assert len(quiet) > 10
    speaking = np.array([mouth_gap(jpeg) for jpeg in loud[:: max(1, len(loud) // 25)]])
    silent = np.array([mouth_gap(jpeg) for jpeg in quiet[-8:]])
    assert np.percentile(speaking, 85) > 0.08, "the mouth opens"
    assert np.median(silent) < 0.04, "and is closed after"


async def test_without_a_key_the_page_says_so(room: RunningVisavis) -> None:
    async with browser() as running:
        page, errors = await open_page(running, room.link.partition("&key=")[0] + "&key=wrong")
        await page.wait_for_selector("#panel[data-panel=refused]")
        assert "link" in (await page.inner_text("#panel")).lower()
    assert errors == []
