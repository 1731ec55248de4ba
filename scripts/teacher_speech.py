"""Voices for the teacher's clips: what the avatar says, with exact phone times, and what visitors say.

Used by make_motion_corpus.py. Held-out clips are spoken half by voices that no other clip has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import MIC_RATE, STREAM_RATE
from scripts.make_speech_corpus import ACCENTS, FLITE, room
from scripts.real_speech import read
from scripts.speech_sources import Espeak, Utterance, festival, flite
from scripts.speech_texts import Texts, dictionary_words

HELD_OUT_FLITE: Final = "kal16"
_ENGINES: Final = (("espeak", 0.42), ("flite", 0.46), ("festival", 0.12))
_FLITE_SHARES: Final = {"slt": 0.4, "rms": 0.3, "awb": 0.15, "kal": 0.15}
_SHORTEST_S: Final = 0.3


@dataclass(frozen=True)
class Voice:
    """One speaker. rate: words a minute (espeak) or stretch (flite); warp > 1 shortens the vocal tract and quickens."""

    engine: str
    name: str
    rate: float
    pitch: float | None
    spread: int
    warp: float


@dataclass
class Speech:
    """pcm_S: int16 at 24 kHz; phones from its first sample, None when nobody knows them."""

    pcm_S: NDArray[np.int16]
    phones: list[TimedPhone] | None
    voice: str


class Talkers:
    """Speech for clips: synthesised for the avatar, recorded or synthesised for the visitor."""

    def __init__(self, *, engines: tuple[str, ...] = ("espeak", "flite", "festival"), recorded: list[Path]) -> None:
        """engines: those that are installed; recorded: real speech that a visitor may say (may be empty)."""
        self._espeak = Espeak() if "espeak" in engines else None  # one per process
        self._engines = [(name, share) for name, share in _ENGINES if name in engines]
        self._recorded = recorded
        self._words = dictionary_words()

    def voice(self, rng: np.random.Generator, *, unheard: bool) -> Voice:
        """A random speaker; `unheard`: one of those kept for testing."""
        names, shares = zip(*self._engines, strict=True)
        engine = str(rng.choice(names, p=np.array(shares) / sum(shares)))
        warp = float(np.exp(rng.normal(0.0, 0.09)))
        if unheard and engine == "festival" and self._espeak is not None:
            engine = "espeak"
        if engine == "flite":
            name = HELD_OUT_FLITE if unheard else str(rng.choice(list(_FLITE_SHARES), p=list(_FLITE_SHARES.values())))
            pitch = float(rng.uniform(*FLITE[name])) if rng.random() < 0.7 else None
            return Voice(engine, name, float(rng.uniform(0.72, 1.4)), pitch, 50, warp)
        if engine == "festival":
            return Voice(engine, "slt", 1.0, None, 50, float(np.exp(rng.normal(0.0, 0.14))))
        assert self._espeak is not None
        variants = [v for i, v in enumerate(self._espeak.variants) if (i % 10 == 9) == unheard]
        variant = "+" + variants[int(rng.integers(len(variants)))]
        if not unheard and rng.random() < 0.2:
            variant = str(rng.choice(["", "", "+whisper", "+whisperf"]))
        rate = float(
            rng.choice([rng.uniform(85, 120), rng.uniform(120, 230), rng.uniform(230, 320)], p=[0.12, 0.74, 0.14])
        )
        accent = ACCENTS[int(rng.integers(len(ACCENTS)))]
        return Voice(engine, accent + variant, rate, float(rng.integers(15, 85)), int(rng.integers(20, 80)), warp)

    def speak(self, voice: Voice, count: int, rng: np.random.Generator) -> list[Speech]:
        """`count` replies of 2 to 8 seconds or so, in one voice at one level in one room."""
        texts = Texts(int(rng.integers(1 << 31)), self._words)
        spoken = self._utterances(voice, [texts.next() for _ in range(count)])
        level = rng.uniform(0.2, 0.9)
        in_room, noise_db = rng.random() < 0.15, rng.uniform(-60, -38) if rng.random() < 0.15 else None
        out = []
        for utterance in spoken:
            pcm_S = soxr.resample(utterance.pcm_S, utterance.rate * voice.warp, STREAM_RATE).astype(np.float32)
            phones = [replace(p, start_s=p.start_s / voice.warp, end_s=p.end_s / voice.warp) for p in utterance.phones]
            if in_room:
                pcm_S = room(pcm_S, rng)
            pcm_S *= level / max(1e-3, float(np.abs(pcm_S).max()))
            if noise_db is not None:
                pcm_S += 10.0 ** (noise_db / 20.0) * rng.standard_normal(len(pcm_S)).astype(np.float32)
            out.append(Speech((np.clip(pcm_S, -1.0, 1.0) * 32767).astype(np.int16), phones, utterance.voice))
        return out

    def visitor(self, seconds: float, rng: np.random.Generator) -> NDArray[np.int16]:
        """A visitor speaking for about `seconds`, int16 at 16 kHz, with the noise of a room."""
        samples = int(seconds * MIC_RATE)
        if self._recorded and rng.random() < 0.7:
            path = self._recorded[int(rng.integers(len(self._recorded)))]
            pcm_S = soxr.resample(read(path), STREAM_RATE, MIC_RATE)
            start = int(rng.integers(max(1, len(pcm_S) - samples)))
            pcm_S = pcm_S[start : start + samples].astype(np.float32) / 32768.0
        else:
            voice = self.voice(rng, unheard=False)
            parts = [soxr.resample(s.pcm_S, STREAM_RATE, MIC_RATE) for s in self.speak(voice, 2, rng)]
            gap_S = np.zeros(int(rng.uniform(0.2, 0.9) * MIC_RATE), np.int16)
            pcm_S = np.concatenate([parts[0], gap_S, parts[1]])[:samples].astype(np.float32) / 32768.0
        out_S = np.zeros(samples, np.float32)
        out_S[: len(pcm_S)] = pcm_S * rng.uniform(0.3, 1.0)
        out_S += 10.0 ** (rng.uniform(-75, -45) / 20.0) * rng.standard_normal(samples).astype(np.float32)
        return (np.clip(out_S, -1.0, 1.0) * 32767).astype(np.int16)

    def _utterances(self, voice: Voice, texts: list[str]) -> list[Utterance]:
        if voice.engine == "festival":
            return festival(texts)
        if voice.engine == "flite":
            return [flite(text, voice.name, voice.rate, voice.pitch) for text in texts]
        assert self._espeak is not None
        pitch = int(voice.pitch or 50)
        spoken = [self._espeak.speak(text, voice.name, round(voice.rate), pitch, voice.spread) for text in texts]
        return [u for u in spoken if u is not None and len(u.pcm_S) > _SHORTEST_S * u.rate]
