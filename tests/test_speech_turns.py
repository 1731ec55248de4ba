"""Voice activity and end of turn run here, on real synthetic speech, with no network to reach."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import numpy as np
import pytest
import soxr
from livekit import rtc
from livekit.agents import LanguageCode, inference, vad
from numpy.typing import NDArray

from agent.speech.flite import FliteVoice, flite_path
from agent.speech.turns import END_OF_TURN_THRESHOLD, make_vad, turn_handling
from agent.speech.voice import synthesize_all
from avatar.clock import MIC_RATE, STREAM_RATE
from config.settings import SpeechSettings

pytestmark = pytest.mark.skipif(flite_path() is None, reason="flite, the speaker here, is not installed")

STEP = MIC_RATE // 50


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.delenv(name, raising=False)

    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"tried to reach {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


async def spoken(text: str) -> NDArray[np.int16]:
    pcm_S = (await synthesize_all(FliteVoice(), text)).pcm_S
    return np.asarray(soxr.resample(pcm_S, STREAM_RATE, MIC_RATE)).astype(np.int16)


def frames(pcm_S: NDArray[np.int16]) -> list[rtc.AudioFrame]:
    parts = [pcm_S[i : i + STEP] for i in range(0, len(pcm_S) - STEP + 1, STEP)]
    return [rtc.AudioFrame(part.tobytes(), MIC_RATE, 1, len(part)) for part in parts]


async def test_voice_activity_starts_and_ends_with_the_voice() -> None:
    sound_S = await spoken("When is the museum open?")
    silence_S = np.zeros(MIC_RATE, np.int16)
    stream = make_vad(SpeechSettings()).stream()
    events: dict[vad.VADEventType, vad.VADEvent] = {}

    async def read() -> None:
        async for event in stream:
            events.setdefault(event.type, event)

    reading = asyncio.create_task(read())
    for frame in frames(np.concatenate([silence_S, sound_S, silence_S])):
        stream.push_frame(frame)
    stream.end_input()
    async with asyncio.timeout(20):
        await reading
    await stream.aclose()
    start_s = events[vad.VADEventType.START_OF_SPEECH].timestamp
    end_s = events[vad.VADEventType.END_OF_SPEECH].timestamp
    assert 1.0 <= start_s < 1.5
    voice_ends_s = 1 + len(sound_S) / MIC_RATE
    assert voice_ends_s - 0.4 < end_s < voice_ends_s + 0.6


async def predict(pcm_S: NDArray[np.int16]) -> tuple[float, float]:
    """Probability that the turn is over after the sound, and the seconds the decision took."""
    detector = turn_handling(SpeechSettings())["turn_detection"]
    assert isinstance(detector, inference.TurnDetector)
    stream = detector.stream()
    for frame in frames(np.concatenate([pcm_S, np.zeros(MIC_RATE // 4, np.int16)])):
        stream.push_audio(frame)
    await asyncio.sleep(0.05)
    started = time.perf_counter()
    async with asyncio.timeout(20):
        event = await stream.predict()
    seconds = time.perf_counter() - started
    await stream.aclose()
    return event.end_of_turn_probability, seconds


async def test_end_of_turn_is_judged_here_and_quickly() -> None:
    detector = turn_handling(SpeechSettings())["turn_detection"]
    assert isinstance(detector, inference.TurnDetector)
    assert await detector.unlikely_threshold(LanguageCode("en")) == END_OF_TURN_THRESHOLD
    # Synthetic voices end every word in the same way, so that which is judged finished is not for this test to say;
    # that it is a judgement of the sound, and no default for a missing model, is.
    sound_S = await spoken("When is the museum open on Sunday?")
    judged = [await predict(sound_S[: len(sound_S) * share // 10]) for share in (4, 6, 8, 10)]
    probabilities = [probability for probability, _ in judged]
    assert all(0 < probability < 1 for probability in probabilities)
    assert len(set(probabilities)) == len(probabilities)
    assert min(seconds for _, seconds in judged) < 1.0  # 50 ms on an idle machine
