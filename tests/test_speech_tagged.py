"""From tags between words to samples of real speech."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.speech.clauses import split_text
from agent.speech.flite import FliteVoice
from agent.speech.tagged import TaggedPiece, TaggedSplitter, TagPlacer, split_tagged
from agent.speech.tts import speak_chunks
from agent.speech.voice import SpeechChunk
from agent.tags import strip_tags
from avatar.audio.phones import TimedPhone
from avatar.clock import STREAM_RATE
from avatar.motion.asked_text import AskedChange, parse_change

WARM, SAD = parse_change({"emotion": "warm"}), parse_change({"emotion": "sad"})
PARTS = st.sampled_from(
    ["Hello", " there", ". ", "! ", ", ", "\n", " and so on", "{emotion=warm}", "{gaze=5,0}", "{name}", "…", " Mr. X"]
)


async def spoken(*pieces: str | None) -> list[SpeechChunk]:
    """What flite says; None is a flush."""

    async def text() -> AsyncGenerator[str | object, None]:
        for piece in pieces:
            yield object() if piece is None else piece

    return [chunk async for chunk in speak_chunks(FliteVoice("kal16"), text())]


def changes_of(chunks: list[SpeechChunk]) -> list[tuple[float, AskedChange]]:
    """Seconds from the first chunk's start, and what is asked then."""
    found, start = [], 0
    for chunk in chunks:
        found += [((start + sample) / STREAM_RATE, change) for sample, change in chunk.changes]
        start += len(chunk.pcm_S)
    return found


@given(st.lists(PARTS, max_size=14).map("".join), st.lists(st.integers(0, 200), max_size=8))
def test_pieces_are_the_text_and_every_change_keeps_its_place(text: str, cuts: list[int]) -> None:
    splitter = TaggedSplitter()
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [piece for a, b in pairwise(edges) for piece in splitter.push(text[a:b])]
    pieces += splitter.flush()
    clean = strip_tags(text)
    assert "".join(piece.text for piece in pieces) == clean
    start, found = 0, []
    for piece in pieces:
        found += [start + at for at, _ in piece.changes]
        assert all(0 <= at < len(piece.text) for at, _ in piece.changes)
        start += len(piece.text)
    expected = [len(strip_tags(text[:match] + "|")) - 1 for match in _starts(text)]
    assert found == [at for at in expected if at < len(clean)]


def _starts(text: str) -> list[int]:
    return sorted(i for tag in ("{emotion=warm}", "{gaze=5,0}") for i in range(len(text)) if text.startswith(tag, i))


def test_a_whole_text_is_cut_as_without_tags() -> None:
    text = "Good morning, {emotion=warm}everybody. It is late, is it not? {emotion=sad}Yes."
    assert [piece.text for piece in split_tagged(text)] == list(split_text(strip_tags(text)))


async def test_a_tag_at_the_head_of_a_sentence_is_exact() -> None:
    chunks = await spoken("{emotion=warm}Hello there. ", "{emotion=", "sad} It is late.")
    assert [chunk.text for chunk in chunks] == ["Hello there.", "It is late."]
    assert [chunk.changes for chunk in chunks] == [((0, WARM),), ((0, SAD),)]


@pytest.mark.parametrize(
    ("text", "phone"),
    [
        ("I went home early and {emotion=warm}jumped into my bed.", "JH"),
        ("We are closed today, {emotion=warm}but please come on Monday.", "B"),
        ("No. It is a long and very winding road, {emotion=warm}choose it if you must.", "CH"),
        ("A {emotion=warm}judge was there among many other people.", "JH"),
    ],
)
async def test_a_tag_within_a_sentence_is_at_its_word(text: str, phone: str) -> None:
    chunks = await spoken(text)
    ((moment_s, change),) = changes_of(chunks)
    start, word_s = 0, []
    for chunk in chunks:
        assert chunk.phones is not None
        word_s += [start / STREAM_RATE + item.start_s for item in chunk.phones if item.phone == phone]
        start += len(chunk.pcm_S)
    assert change == WARM
    assert moment_s == pytest.approx(word_s[0], abs=0.2)


async def test_what_cannot_be_said_passes_its_change_on() -> None:
    chunks = await spoken("{emotion=warm}… \n", None, "— \n", "Hello.", "{emotion=sad}")
    assert changes_of(chunks) == [(0.0, WARM)], "and a change after the last word is nobody's"


async def test_a_flush_loses_no_tag() -> None:
    chunks = await spoken("Hello. {emotion=sad}", None, "It is late.")
    ((moment_s, change),) = changes_of(chunks)
    assert change == SAD and moment_s == len(chunks[0].pcm_S) / STREAM_RATE


@given(st.integers(0, 30), st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_without_phones_the_letters_say_when(at: int, lengths: list[int]) -> None:
    """A piece that becomes several chunks: each change is in one of them, and in order of the text."""
    text = " ".join("a" * length for length in lengths)
    change = AskedChange(liveliness=0.1)
    placer, piece = TagPlacer(), TaggedPiece(text, ((min(at, len(text) - 1), change),))
    chunks = [
        placer.place(piece, SpeechChunk(np.zeros(100 * length, np.int16), None, "a" * length)) for length in lengths
    ]
    placer.end(piece)
    before = text[: piece.changes[0][0]].count("a")
    position = sum(100 * length for length in lengths[: next((i for i, c in enumerate(chunks) if c.changes), 99)])
    assert sum(len(chunk.changes) for chunk in chunks) == 1
    ((sample, _),) = next(chunk.changes for chunk in chunks if chunk.changes)
    assert position + sample == pytest.approx(100 * before, abs=1)


def test_after_a_comma_the_words_begin_where_the_pause_ends() -> None:
    phones = [TimedPhone("AA", 0.0, 0.5), TimedPhone("sil", 0.5, 0.7), TimedPhone("IY", 0.7, 1.0)]
    for text, moment_s in (("aaaaa, iii", 0.7), ("aa iiiiii", 0.0)):
        piece = TaggedPiece(text, ((text.index("i"), WARM),))
        chunk = TagPlacer().place(piece, SpeechChunk(np.zeros(STREAM_RATE, np.int16), phones, piece.text))
        assert chunk.changes == ((round(moment_s * STREAM_RATE), WARM),)
