"""The embedded dialogue: right passage, source named, honest when it does not know."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import load
from config.settings import DialogueSettings
from dialogue.knowledge import Knowledge
from dialogue.passages import plain, read_folder
from dialogue.protocol import DialogueError, Message

MONDAY = dt.date(2026, 11, 23)


async def opened(profile: str = "kiosk") -> Knowledge:
    knowledge = Knowledge(load(profile, environ={}).settings.dialogue, today=lambda: MONDAY)
    await knowledge.open()
    return knowledge


def ask(knowledge: Knowledge, *turns: str) -> str:
    history = [Message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(turns)]
    return knowledge.answer(history)


@pytest.mark.parametrize(
    ("profile", "question", "expected", "source"),
    [
        ("kiosk", "When are you open on Sunday?", "nine in the morning", "Opening hours"),
        ("kiosk", "What time do you close on Thursday?", "nine in the evening", "Opening hours"),
        ("kiosk", "is the museum open today", "closed", "Opening hours"),
        ("kiosk", "how much is a ticket", "twelve euros", "Tickets and prices"),
        ("kiosk", "is there a lift", "ramp", "Step-free access"),
        ("kiosk", "where can I get a coffee", "left of the entrance", "The cafe"),
        ("kiosk", "tell me about the tornado", "fog", "Exhibits"),
        ("kiosk", "I lost my umbrella", "desk", "Lost property"),
        ("kiosk", "how do I get here by tram", "tram seven", "Getting here"),
        ("customer-service", "my parcel has not arrived", "tracking number", "Tracking"),
        ("customer-service", "can I return a parcel", "return label", "Sending and returns"),
        ("tutor", "how fast is sound in water", "four times faster", "Speed of sound"),
        ("tutor", "why do I see lightning before thunder", "Light arrives", "Speed of sound"),
    ],
)
async def test_questions_find_their_passage(profile: str, question: str, expected: str, source: str) -> None:
    reply = ask(await opened(profile), question)
    assert expected in reply
    assert source in reply


@pytest.mark.parametrize(
    "question",
    [
        "who won the world cup",
        "what is the capital of france",
        "can I bring my dog",
        "how old is the president",
        "xyzzy",
    ],
)
async def test_says_so_when_it_does_not_know(question: str) -> None:
    assert "I do not know" in ask(await opened(), question)


async def test_small_talk() -> None:
    knowledge = await opened()
    assert "Hello" in ask(knowledge, "Good morning!")
    assert "Goodbye" in ask(knowledge, "thanks, bye bye")
    assert "welcome" in ask(knowledge, "Thank you very much.")
    assert "did not catch" in ask(knowledge, "...")
    assert "ask me about" in ask(knowledge, "What can you do?")


async def test_repeats_what_was_said_and_not_what_was_only_composed() -> None:
    knowledge = await opened()
    reply = ask(knowledge, "how much is a ticket")
    again = "could you say that again please"
    assert ask(knowledge, "how much is a ticket", reply, again) == reply
    interrupted = reply[:20]
    assert ask(knowledge, "is there a lift", "There is.", "how much is a ticket", interrupted, again) == interrupted
    assert "not said anything" in ask(knowledge, again)
    unsaid = [Message("user", "how much is a ticket"), Message("assistant", " "), Message("user", again)]
    assert "not said anything" in knowledge.answer(unsaid)


async def test_follow_up_uses_the_previous_question() -> None:
    knowledge = await opened()
    reply = ask(knowledge, "when are you open on sunday", "On Sundays ...", "and on thursday?")
    assert "Thursdays" in reply


async def test_streams_the_same_text_and_can_be_stopped() -> None:
    knowledge = await opened()
    history = [Message("user", "how much is a ticket")]
    pieces = [piece async for piece in knowledge.reply(history, session_id="s")]
    assert len(pieces) > 1
    assert "".join(pieces) == knowledge.answer(history)
    stream = knowledge.reply(history, session_id="s")
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]


async def test_vocabulary_offers_questions_and_answers() -> None:
    sentences = (await opened()).vocabulary()
    assert "When are you open on Sunday?" in sentences
    assert any("Harbour Street" in s for s in sentences)


async def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DialogueError, match="does not exist"):
        await Knowledge(DialogueSettings(knowledge_dir=tmp_path / "no")).open()
    with pytest.raises(DialogueError, match="holds no text"):
        await Knowledge(DialogueSettings(knowledge_dir=tmp_path)).open()
    (tmp_path / "a.md").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(DialogueError, match="UTF-8"):
        await Knowledge(DialogueSettings(knowledge_dir=tmp_path)).open()


def test_markdown_becomes_speech(tmp_path: Path) -> None:
    assert plain("**Bold** [link](http://x) `code`\n- item") == "Bold link code item"
    (tmp_path / "x.md").write_text("intro\n## Q?\nAlso asked: a; b\nAnswer *here*.\n")
    first, second = read_folder(tmp_path)
    assert (first.text, second.title, second.questions, second.text) == ("intro", "Q?", ("a", "b"), "Answer here.")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_question_gets_some_reply(question: str) -> None:
    knowledge = _SHARED
    assert knowledge.answer([Message("user", question)]).strip()


_SHARED = Knowledge(load("kiosk", environ={}).settings.dialogue, today=lambda: MONDAY)


@pytest.fixture(autouse=True, scope="module")
def _open_shared() -> None:
    import asyncio

    asyncio.run(_SHARED.open())
