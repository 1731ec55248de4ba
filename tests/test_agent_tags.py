"""A reply that smiles: from a streamed HTTP answer to the face, while nobody reads or hears a tag."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from avatar.clock import FRAME_SAMPLES
from avatar.motion import space
from avatar.motion.asked_text import parse_change
from avatar.motion.controls import Asked
from dialogue.openai import OpenAIDialogue
from dialogue.protocol import Message
from dialogue.tags import INSTRUCTION
from tests.test_agent_session import FailingVoice, Scene, scene
from tests.test_dialogue_remote import endpoint, opened_openai, sse

SMILE = [space.INDEX["mouthSmileLeft"], space.INDEX["mouthSmileRight"]]
FIRST, SECOND = "The museum is closed today.", "But tomorrow we are open again, and we look forward to you!"
REPLY = f"{FIRST} {{emotion=happy:0.9}} {SECOND}"
HAPPY = parse_change({"emotion": "happy:0.9"})


def streaming(text: str, seen: list[Any]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """An endpoint that writes `text` in pieces of three characters, so that every tag is cut."""

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for at in range(0, len(text), 3):
            await response.write(sse(text[at : at + 3]))
        await response.write(b"data: [DONE]\n\n")
        return response

    return handler


def asking(dialogue: OpenAIDialogue) -> Callable[[str], AsyncIterator[str]]:
    async def answer(question: str) -> AsyncIterator[str]:
        async for piece in dialogue.reply([Message("user", question)], session_id="s"):
            yield piece

    return answer


def smile(s: Scene, first: int, last: int) -> float:
    """Mean smile of the frames from `first` to before `last`."""
    return float(np.mean([frame.motion[SMILE].mean() for frame in s.sink.frames if first <= frame.index < last]))


def watch_pushes(s: Scene) -> list[tuple[int, Any]]:
    """Samples and changes of everything that is said from now on."""
    pushed: list[tuple[int, Any]] = []
    push = s.runner.push

    def note(pcm_S: Any, phones: Any = None, text: str = "", changes: Any = ()) -> int:
        pushed.append((len(pcm_S), tuple(changes)))
        return push(pcm_S, phones, text, changes)

    s.runner.push = note  # type: ignore[method-assign]
    return pushed


async def passed(s: Scene, frames: int) -> None:
    """Let that many frames go by after the speech so far."""
    last = s.spoken[-1]
    await s.until(lambda: s.sink.frames[-1].index > last + frames)


async def test_a_reply_over_http_smiles_where_it_says_so() -> None:
    seen: list[Any] = []
    async with endpoint(streaming(REPLY, seen)) as url:
        dialogue = await opened_openai(url, emotion_tags=True)
        async with scene(asking(dialogue), **{"avatar.emotion": "neutral"}) as s:
            pushed = watch_pushes(s)
            await s.conversation.type("Are you open?")
            await s.until(lambda: s.notes.captions and s.notes.captions[-1][2], 15)
            await passed(s, 40)
            start, end = s.spoken[0], s.spoken[-1]
            (first, none), (_, change) = pushed
            assert none == () and change == ((0, HAPPY),)
            turn = start + first // FRAME_SAMPLES
            before, after = smile(s, start, turn), smile(s, turn + 12, end)
            assert after > before + 0.3, "what comes after the tag is said with a smile"
            assert smile(s, turn - 3, turn) < before + 0.1, "and nothing before it"
            assert smile(s, end + 30, end + 40) < before + 0.1, "the reply's end ends it"

            said = f"{FIRST} {SECOND}"
            assert s.notes.captions[-1][1] == said
            assert s.conversation.history == [("user", "Are you open?"), ("assistant", said)]
            await s.conversation.type("Sure?")
            await s.until(lambda: len(s.dialogue.asked) == 2)
            assert [message.text for message in s.dialogue.asked[1]] == ["Are you open?", said, "Sure?"]
        await dialogue.aclose()
    assert seen[0]["messages"][0]["content"].endswith(INSTRUCTION)


async def test_the_prompt_says_nothing_of_tags_unless_asked_to() -> None:
    seen: list[Any] = []
    async with endpoint(streaming("Yes.", seen)) as url:
        dialogue = await opened_openai(url, system_prompt="Be kind.")
        assert [piece async for piece in asking(dialogue)("Hi")] == ["Yes", "."]
        await dialogue.aclose()
    assert seen[0]["messages"][0] == {"role": "system", "content": "Be kind."}


async def test_an_interruption_drops_the_smile_and_those_to_come() -> None:
    calm_words = "Yes, it is quite all right now, thank you for asking me."

    async def answer(question: str) -> AsyncIterator[str]:
        if question == "Hi":
            yield "{emotion=sad}This is a long sad story about a parcel. {emotion=happy}It has a happy end after all."
        else:
            yield calm_words

    async with scene(answer) as s:
        pushed = watch_pushes(s)
        s.runner.set_controls(Asked())
        await s.conversation.type("Hi")
        await s.until(lambda: len(pushed) == 2 and len(s.spoken) > 10)
        await s.conversation.type("Are you all right?")
        await s.until(lambda: s.notes.captions[-1][1:3] == (calm_words, True), 12)
        await passed(s, 10)
        inner = space.INDEX["browInnerUp"]
        brows = [frame.motion[inner] for frame in s.sink.frames if frame.speech]
        cut = next(i for i, frame in enumerate(s.sink.frames) if frame.epoch > 0)
        assert max(brows[:10]) > 0.4, "sad as long as it was heard"
        calm = s.sink.frames[cut + 40 :]
        assert calm and max(frame.motion[inner] for frame in calm) < 0.3
        assert max(frame.motion[SMILE].mean() for frame in calm) < 0.3, "the happy end was never reached"


async def test_greeting_and_lost_voice_show_no_tags() -> None:
    voice = FailingVoice("kal16")
    voice.fails = False

    async def answer(question: str) -> AsyncIterator[str]:
        yield "{emotion=concerned}I have "
        yield "lost {mood=odd}my voice."

    async with scene(answer, voice=voice, **{"session.greeting": "{emotion=warm}Welcome!"}) as s:
        await s.until(lambda: s.notes.captions and s.notes.captions[-1][2])
        assert s.notes.captions[-1][1] == "Welcome!"
        voice.fails = True
        await s.conversation.type("Well?")
        await s.until(lambda: len(s.conversation.history) == 3)
        assert s.notes.captions[-1][1] == "I have lost my voice."
        assert [text for _, text in s.conversation.history] == ["Welcome!", "Well?", "I have lost my voice."]


async def test_a_reply_of_nothing_but_tags_does_not_leave_it_thinking() -> None:
    async def answer(question: str) -> AsyncIterator[str]:
        yield "{emotion=warm} {gaze=5,0}"

    async with scene(answer) as s:
        await s.conversation.type("Hi")
        await s.until(lambda: len(s.notes.states) > 2 and s.notes.states[-1][1] == "listening")


async def test_controls_take_effect_at_once_and_a_reply_may_ask_otherwise() -> None:
    async def answer(question: str) -> AsyncIterator[str]:
        yield "{gaze=-15,0}Look over there, to the left of the picture, please."

    azimuth = space.INDEX["gazeAzimuth"]

    def gaze(s: Scene, first: int) -> float:
        return float(np.degrees(np.median([frame.motion[azimuth] for frame in s.sink.frames[first:]])))

    async with scene(answer) as s:
        s.runner.set_controls(Asked(gaze_azimuth_deg=12.0))
        start = len(s.sink.frames)
        await asyncio.sleep(1.5)
        assert gaze(s, start + 15) == pytest.approx(12.0, abs=4)
        await s.conversation.type("Where?")
        await s.until(lambda: s.notes.captions and s.notes.captions[-1][2], 10)
        spoken = s.spoken
        talking = [frame.motion[azimuth] for frame in s.sink.frames if spoken[0] + 15 < frame.index <= spoken[-1]]
        assert np.degrees(np.median(talking)) == pytest.approx(-15.0, abs=4)
        after = len(s.sink.frames)
        await passed(s, 45)
        assert gaze(s, after + 15) == pytest.approx(12.0, abs=4)
