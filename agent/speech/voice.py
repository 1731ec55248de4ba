"""The seam for voices: a piece of text in, audio with phone times out.

Array legend: S samples.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from agent.speech.clauses import split_text
from avatar.audio.phones import TimedPhone
from avatar.clock import STREAM_RATE
from avatar.motion.asked_text import AskedChange

LEAD_S = 0.05
"""Silence kept before the first phone: synthesisers start with about 0.2 s of it, which the visitor would wait."""

MAX_AUDIO_S = 60.0
"""No piece of at most `clauses.MAX_CHARS` letters sounds longer; a synthesiser that says so has gone astray."""

_LINK = re.compile(r"!?\[([^\]\n]{1,200})\]\([^)\n]{0,500}\)")
_MARKUP = re.compile(r"[*`_~|<>\\^]+|^\s{0,3}#{1,6}\s", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """Audio of one piece of text.

    pcm_S: int16 mono at STREAM_RATE.
    phones: times from the first sample of this chunk, in order, inside the chunk; None when the voice does not
        know them (then the lips follow the sound).
    text: what is said in it.
    changes: what is asked of the face from a sample of this chunk on.
    """

    pcm_S: NDArray[np.int16]
    phones: list[TimedPhone] | None
    text: str = ""
    changes: tuple[tuple[int, AskedChange], ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.pcm_S) / STREAM_RATE


@dataclass(frozen=True, slots=True)
class Utterance:
    """What an engine made of one piece: pcm_S int16 mono at `rate` Hz, phone times from its first sample or None."""

    pcm_S: NDArray[np.int16]
    rate: int
    phones: list[TimedPhone] | None


class Voice(ABC):
    """A synthesiser.

    Subclasses say one cleaned, bounded, speakable piece in `_say`; the cleaning, the cutting of long text, resampling
    and the trimming of leading silence are done here. One instance may be asked for several texts at once.
    """

    sample_rate: int = STREAM_RATE
    """Of everything `synthesize` yields."""

    name: str
    """Engine and voice, such as `flite/slt`."""

    async def synthesize(self, text: str) -> AsyncGenerator[SpeechChunk, None]:
        """Say `text`; one chunk for each sentence, the first as soon as it exists.

        Any text is allowed; what cannot be spoken (control characters, lone punctuation, markup) is left out, so
        nothing may come. Cancel at any point by closing the iterator or cancelling the task: no work stays behind.
        Raises SpeechError when the engine fails.
        """
        for piece in split_text(text):
            spoken = speakable_text(piece)
            if not spoken:
                continue
            yield _to_chunk(await self._say(spoken), spoken)

    @abstractmethod
    async def _say(self, text: str) -> Utterance:
        """One piece: 1 to `clauses.MAX_CHARS` characters, one line, at least one letter or digit."""

    async def aclose(self) -> None:  # noqa: B027 - most voices hold nothing
        """Release everything; safe to call twice."""


async def synthesize_all(voice: Voice, text: str) -> SpeechChunk:
    """The whole text as one chunk (for files and tests; a conversation streams)."""
    async with aclosing(voice.synthesize(text)) as stream:
        return join_chunks([chunk async for chunk in stream])


def join_chunks(chunks: list[SpeechChunk]) -> SpeechChunk:
    """Chunks one after another; phones are None if any chunk's are."""
    phones: list[TimedPhone] | None = []
    start_s = 0.0
    for chunk in chunks:
        if phones is not None:
            phones = None if chunk.phones is None else phones + [phone.shifted(start_s) for phone in chunk.phones]
        start_s += chunk.duration_s
    pcm_S = np.concatenate([chunk.pcm_S for chunk in chunks]) if chunks else np.zeros(0, np.int16)
    return SpeechChunk(pcm_S, phones, " ".join(chunk.text for chunk in chunks))


def speakable_text(text: str) -> str:
    """One line of text without markup, control characters and pictures; empty if nothing in it can be said."""
    text = _LINK.sub(r"\1", text)
    text = _MARKUP.sub(" ", text)
    kept = (" " if char.isspace() else char for char in unicodedata.normalize("NFC", text) if _can_be_said(char))
    text = " ".join("".join(kept).split())
    return text if any(char.isalnum() for char in text) else ""


def _can_be_said(char: str) -> bool:
    if char.isspace() or char == "°":
        return True
    category = unicodedata.category(char)
    # C*: nothing to say, and a NUL would end a C string; So, Sk: pictures, which some engines spell out.
    return category[0] != "C" and category not in ("So", "Sk")


def _to_chunk(utterance: Utterance, text: str) -> SpeechChunk:
    pcm_S, phones, rate = utterance.pcm_S, utterance.phones, utterance.rate
    if len(pcm_S) > MAX_AUDIO_S * rate:
        pcm_S = pcm_S[: int(MAX_AUDIO_S * rate)]
    if phones is not None and phones and phones[0].phone == "sil":
        cut = max(0, round((phones[0].end_s - LEAD_S) * rate))
        cut = min(cut, len(pcm_S))
        pcm_S = pcm_S[cut:]
        phones = [phone.shifted(-cut / rate) for phone in phones]
    pcm_S = resample(pcm_S, rate)
    if phones is not None:
        phones = inside(phones, len(pcm_S) / STREAM_RATE)
    return SpeechChunk(np.ascontiguousarray(pcm_S), phones, text)


def resample(pcm_S: NDArray[np.int16], rate: int) -> NDArray[np.int16]:
    """int16 at `rate` Hz -> int16 at STREAM_RATE, same start, same duration."""
    if rate == STREAM_RATE or len(pcm_S) == 0:
        return pcm_S
    out_S: NDArray[np.int16] = soxr.resample(pcm_S, rate, STREAM_RATE, quality="HQ").astype(np.int16, copy=False)
    return out_S


def inside(phones: list[TimedPhone], duration_s: float) -> list[TimedPhone]:
    """Phones clipped to [0, duration_s]; those wholly outside are dropped."""
    clipped: list[TimedPhone] = []
    for phone in phones:
        start_s, end_s = max(0.0, phone.start_s), min(duration_s, phone.end_s)
        if end_s > start_s:
            clipped.append(TimedPhone(phone.phone, start_s, end_s))
    return clipped
