"""Where the speech of a clip comes from: a sound file or a text, read on demand and chunk by chunk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agent.captions import Cue
from avatar.audio.phones import TimedPhone
from avatar.clock import STREAM_RATE
from avatar.errors import AudioError
from avatar.motion.asked_text import AskedChange
from config import Settings

if TYPE_CHECKING:
    from agent.speech.voice import SpeechChunk, Voice

MAX_TEXT = 100_000
"""Longest text in characters; about two hours of speech."""


@dataclass(slots=True)
class Chunk:
    """Some speech at 24 kHz, its phones when the synthesiser told them, and what its tags ask from which sample on."""

    pcm_S: NDArray[np.int16]
    phones: list[TimedPhone] | None = None
    changes: Sequence[tuple[int, AskedChange]] = ()


@dataclass(slots=True)
class Source:
    """Where the speech comes from; `cues` and `warnings` fill while `chunks` is read."""

    chunks: Iterator[Chunk]
    total_samples: int | None
    cues: list[Cue] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    close: Callable[[], None] = lambda: None
    """Lets go of the voice, for who leaves chunks untaken."""


def silence() -> Source:
    """No speech at all."""
    return Source(iter(()), 0)


def from_audio(path: Path) -> Source:
    """The sound of a file of any kind. Raises AudioError."""
    from avatar.audio.load import load_audio

    opened = load_audio(path)
    total = round(opened.duration_s * STREAM_RATE) if opened.duration_s is not None else None
    return Source((Chunk(pcm_S) for pcm_S in opened), total, warnings=opened.warnings)


def from_text(settings: Settings, text: str) -> Source:
    """A text, spoken by the voice of the settings. Raises AudioError or SpeechError."""
    from agent.speech.select import choose_voice

    if not text.strip():
        raise AudioError("empty", "The text is empty.", "Give some words to speak.")
    if len(text) > MAX_TEXT:
        raise AudioError("too_long", f"The text has {len(text)} characters.", f"At most {MAX_TEXT} are spoken at once.")
    voice = choose_voice(settings.speech)
    cues: list[Cue] = []
    source = Source(iter(()), None, cues)
    source.chunks = spoken = _spoken(voice, text, cues)
    source.close = spoken.close
    return source


def _spoken(voice: Voice, text: str, cues: list[Cue]) -> Generator[Chunk]:
    """Synthesise sentence by sentence, on demand, from synchronous code."""
    from agent.speech.tagged import TagPlacer, split_tagged

    position = 0
    placer = TagPlacer()
    with asyncio.Runner() as runner:
        try:
            for sentence in split_tagged(text):
                chunks = [placer.place(sentence, chunk) for chunk in runner.run(_collect(voice, sentence.text))]
                placer.end(sentence)
                start = position
                for chunk in chunks:
                    position += len(chunk.pcm_S)
                    yield Chunk(chunk.pcm_S, chunk.phones, chunk.changes)
                cues.append(Cue(start, position, sentence.text))
        finally:
            runner.run(voice.aclose())


async def _collect(voice: Voice, sentence: str) -> list[SpeechChunk]:
    return [chunk async for chunk in voice.synthesize(sentence)]
