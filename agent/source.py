"""Where the speech of a clip comes from: a sound file or a text, read on demand and chunk by chunk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.captions import Cue
from avatar.audio.phones import TimedPhone
from avatar.clock import STREAM_RATE
from avatar.errors import AudioError
from config import Settings

MAX_TEXT = 100_000
"""Longest text in characters; about two hours of speech."""


@dataclass(slots=True)
class Chunk:
    """Some speech at 24 kHz, with its phones when the synthesiser told them."""

    pcm_S: NDArray[np.int16]
    phones: list[TimedPhone] | None = None


@dataclass(slots=True)
class Source:
    """Where the speech comes from; `cues` and `warnings` fill while `chunks` is read."""

    chunks: Iterator[Chunk]
    total_samples: int | None
    cues: list[Cue] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


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
    source.chunks = _spoken(voice, text, cues)
    return source


def _spoken(voice: Any, text: str, cues: list[Cue]) -> Iterator[Chunk]:
    """Synthesise sentence by sentence, on demand, from synchronous code."""
    from agent.speech.clauses import split_text

    position = 0
    with asyncio.Runner() as runner:
        try:
            for sentence in split_text(text):
                chunks = runner.run(_collect(voice, sentence))
                start = position
                for chunk in chunks:
                    position += len(chunk.pcm_S)
                    yield chunk
                cues.append(Cue(start, position, sentence))
        finally:
            runner.run(voice.aclose())


async def _collect(voice: Any, sentence: str) -> list[Chunk]:
    return [Chunk(c.pcm_S, c.phones) async for c in voice.synthesize(sentence)]
