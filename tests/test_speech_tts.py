"""A voice in LiveKit: the first clause before the reply is complete, at most a little ahead, stopped when closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest
from livekit.agents import APIConnectionError, APIConnectOptions

from agent.speech.errors import SpeechError
from agent.speech.espeak import EspeakVoice
from agent.speech.tts import PHONES_KEY, TEXT_KEY, VisavisTTS, speak
from agent.speech.voice import Utterance, Voice
from avatar.clock import STREAM_RATE


class CountingVoice(Voice):
    """A real, trivial voice: 10 ms of a constant for each letter."""

    name = "counting"

    def __init__(self) -> None:
        self.said: list[str] = []

    async def _say(self, text: str) -> Utterance:
        self.said.append(text)
        await asyncio.sleep(0)
        return Utterance(np.full(len(text) * STREAM_RATE // 100, 1000, np.int16), STREAM_RATE, None)


class BrokenVoice(Voice):
    """An engine that is not there any more."""

    name = "broken"

    async def _say(self, text: str) -> Utterance:
        raise SpeechError("voice_missing", "The engine is gone.")


@pytest.fixture
async def voice() -> AsyncIterator[EspeakVoice]:
    made = EspeakVoice()
    yield made
    await made.aclose()


async def test_the_first_sentence_sounds_before_the_second_is_written(voice: EspeakVoice) -> None:
    more = asyncio.Event()

    async def reply() -> AsyncIterator[str]:
        yield "Yes. "
        await more.wait()
        yield "We are open today."

    async with asyncio.timeout(20), aclosing(speak(voice, reply())) as frames:
        first = await anext(frames)
        assert first.userdata[TEXT_KEY] == "Yes."
        assert first.sample_rate == STREAM_RATE
        phones = first.userdata[PHONES_KEY]
        assert [p.phone for p in phones if p.phone != "sil"] == ["Y", "EH", "S"]
        assert phones[-1].end_s <= first.duration + 1e-9
        more.set()
        assert [frame.userdata[TEXT_KEY] async for frame in frames] == ["We are open today."]


async def test_it_is_never_more_than_a_few_clauses_ahead() -> None:
    voice = CountingVoice()

    async def endless() -> AsyncIterator[str]:
        number = 0
        while True:
            number += 1
            yield f"Sentence {number}. "
            await asyncio.sleep(0)

    async with aclosing(speak(voice, endless())) as frames:
        await anext(frames)
        await asyncio.sleep(0.05)
        assert len(voice.said) <= 4
    said = len(voice.said)
    await asyncio.sleep(0.05)
    assert len(voice.said) == said, "closing stops the work"
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "speak"]


async def test_an_error_of_the_text_reaches_the_listener_after_what_was_said() -> None:
    async def reply() -> AsyncIterator[str]:
        yield "One moment. "
        raise ConnectionError("backend")

    heard = []
    with pytest.raises(ConnectionError):
        async for frame in speak(CountingVoice(), reply()):
            heard += [frame.userdata[TEXT_KEY]]
    assert heard == ["One moment."]


async def test_livekit_streaming_and_whole(voice: EspeakVoice) -> None:
    tts = VisavisTTS(voice)
    stream = tts.stream()
    for word in ["Hello ", "there. ", "How ", "are you?"]:
        stream.push_text(word)
    stream.end_input()
    streamed_s = sum([event.frame.duration async for event in stream])
    await stream.aclose()
    async with tts.synthesize("Hello there. How are you?") as whole:
        whole_s = (await whole.collect()).duration
    assert streamed_s == pytest.approx(whole_s, abs=0.03)
    assert whole_s > 1


async def test_livekit_text_without_words_is_no_failure() -> None:
    async with VisavisTTS(CountingVoice()).synthesize("... !") as stream:
        assert (await stream.collect()).duration < 0.1


async def test_livekit_is_told_of_a_broken_voice() -> None:
    async with VisavisTTS(BrokenVoice()).synthesize("Hello.", conn_options=APIConnectOptions(max_retry=0)) as stream:
        with pytest.raises(APIConnectionError, match="gone"):
            await stream.collect()
