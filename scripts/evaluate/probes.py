"""Speech to try a model's hearing on: languages, voices, tempi, whispering, noise, rooms, singing.

Every probe carries the synthesiser's own phone times, so that motion by ear can be held against motion by phones.
Shape suffix: S = samples at 24 kHz.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import STREAM_RATE
from scripts.evaluate.clips import speech_clip
from scripts.make_speech_corpus import room
from scripts.motion_clips import MotionClip
from scripts.speech_sources import Espeak, Utterance, flite

Sound = NDArray[np.float32]

ENGLISH: Final = (
    "Please bring the big blue map from the table before lunch.",
    "My brother Bob bought five purple balloons for the parade.",
    "When the sunlight strikes raindrops in the air, they act as a prism.",
    "Mother made a pot of warm apple soup, maybe too much pepper.",
)
TEXTS: Final[dict[str, tuple[str, ...]]] = {
    "en": ENGLISH,
    "cmn": (
        "爸爸妈妈明天买八本白皮书。",
        "我们跑步以后喝一杯苹果汁，怕不怕胖？",
        "北京的冬天比上海冷，不过房间里很暖和。",
        "朋友们把面包放在木盘子上面。",
    ),
    "de": (
        "Mein Bruder Peter kaufte am Bahnhof ein paar blaue Blumen.",
        "Bitte bringen Sie mir morgen früh einen Becher Milch und Butterbrot.",
        "Im Museum hängen viele prächtige Bilder aus dem Mittelalter.",
        "Der Apfelbaum blüht im April, aber nur bei mildem Wetter.",
    ),
    "es": (
        "Mi padre compró pan blanco, muchos plátanos y un mapa grande.",
        "Por la mañana bebemos café con un poco de pimienta y miel.",
        "El barco pequeño pasó bajo el puente sin problemas.",
        "También buscamos una bomba de agua para el pueblo.",
    ),
}
_FOREIGN: Final = {
    "ph": "P", "th": "T", "kh": "K", "ts": "S", "tsh": "S", "ts.": "CH", "ts.h": "CH", "tS;": "CH", "tS;h": "CH",
    "s.": "SH", "S;": "SH", "z.": "R", "**": "R", "B": "W", "pF": "P", "x": "HH", "X": "HH", "Q": "HH", "l^": "L",
    "iE": "EH", "Au": "AW", "uo": "OW", "y": "UW", "yE": "EH", "i@": "IY", "o-": "ER", "W": "ER", "Y:": "ER",
}  # fmt: skip
"""Phones of Mandarin, German and Spanish that English does not have, as the English ones that look most like them."""
_LETTERS: Final = {"a": "AA", "e": "EH", "i": "IY", "o": "OW", "u": "UW", "A": "AA", "E": "EH", "I": "IH", "O": "AO"}


class Polyglot(Espeak):
    """espeak-ng with a phone for every label of any language, the nearest English one by looks."""

    def _phone(self, label: str) -> str | None:
        bare = label.lstrip("',%=")
        if bare.startswith("("):  # a change of language
            return "sil"
        if bare in _FOREIGN:
            return _FOREIGN[bare]
        return super()._phone(label) or _LETTERS.get(bare[:1]) or super()._phone(bare[:1]) or "AH"


@dataclass(frozen=True)
class Condition:
    """How the speech of one row comes about. change: what happens to the sound afterwards (times stay)."""

    name: str
    language: str
    say: Callable[[str], Utterance]
    change: Callable[[Sound, np.random.Generator], Sound] | None = None


@cache
def polyglot() -> Polyglot:
    """One espeak-ng per process: it has one global state."""
    return Polyglot()


def _espeak(voice: str, rate: int = 165, pitch: int = 50, spread: int = 50) -> Callable[[str], Utterance]:
    def say(text: str) -> Utterance:
        spoken = polyglot().speak(text, voice, rate, pitch, spread)
        if spoken is None:
            raise ValueError(f"espeak-ng has no voice {voice!r}.")
        return spoken

    return say


def flite_voice(voice: str, stretch: float = 1.0, pitch_hz: float | None = None) -> Callable[[str], Utterance]:
    """What says a text in one of flite's voices; `stretch` above 1 is slower."""
    return lambda text: flite(text, voice, stretch, pitch_hz)


def noise(level_db: float) -> Callable[[Sound, np.random.Generator], Sound]:
    """Adds noise with the spectrum of a busy room (1/f), `level_db` below the speech."""

    def change(pcm_S: Sound, rng: np.random.Generator) -> Sound:
        spectrum = np.fft.rfft(rng.standard_normal(len(pcm_S)))
        hz = np.fft.rfftfreq(len(pcm_S), 1.0 / STREAM_RATE)
        hum_S = np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 50.0)), len(pcm_S))
        speech = np.sqrt(np.mean(pcm_S[np.abs(pcm_S) > 0.01] ** 2))
        return np.asarray(pcm_S + hum_S / hum_S.std() * speech * 10.0 ** (-level_db / 20.0), np.float32)

    return change


def telephone(pcm_S: Sound, rng: np.random.Generator) -> Sound:
    """300-3400 Hz at 8 kHz, 8 bits of mu-law."""
    spectrum = np.fft.rfft(pcm_S)
    hz = np.fft.rfftfreq(len(pcm_S), 1.0 / STREAM_RATE)
    spectrum[(hz < 300.0) | (hz > 3400.0)] = 0.0
    narrow_S = np.clip(np.fft.irfft(spectrum, len(pcm_S)), -1.0, 1.0)
    squeezed_S = np.round(np.sign(narrow_S) * np.log1p(255.0 * np.abs(narrow_S)) / np.log(256.0) * 127.0) / 127.0
    return np.asarray(np.sign(squeezed_S) * np.expm1(np.abs(squeezed_S) * np.log(256.0)) / 255.0, np.float32)


def quiet(pcm_S: Sound, rng: np.random.Generator) -> Sound:
    """30 dB softer."""
    return (pcm_S * 0.0316).astype(np.float32)


def vibrato(pcm_S: Sound, rng: np.random.Generator) -> Sound:
    """Six swings of the pitch a second, half a semitone each way; phone times change by 1 ms at most."""
    at_S = np.arange(len(pcm_S)) / STREAM_RATE
    warped_S = at_S + 0.03 / (2 * np.pi * 6.0) * np.sin(2 * np.pi * 6.0 * at_S)
    return np.interp(warped_S, at_S, pcm_S).astype(np.float32)


CONDITIONS: Final = (
    Condition("English, flite slt", "en", flite_voice("slt")),
    Condition("English, flite awb", "en", flite_voice("awb")),
    Condition("English, espeak", "en", _espeak("en-us")),
    Condition("Mandarin, espeak", "cmn", _espeak("cmn")),
    Condition("German, espeak", "de", _espeak("de")),
    Condition("Spanish, espeak", "es", _espeak("es")),
    Condition("fast (x 1.9)", "en", flite_voice("slt", 0.53)),
    Condition("slow (x 0.55)", "en", flite_voice("slt", 1.8)),
    Condition("whispered", "en", _espeak("en-us+whisper", 150)),
    Condition("high and sung-like", "en", _espeak("en-us+f3", 95, 95, 10), vibrato),
    Condition("noise, 15 dB", "en", flite_voice("slt"), noise(15.0)),
    Condition("noise, 5 dB", "en", flite_voice("slt"), noise(5.0)),
    Condition("reverberant room", "en", flite_voice("slt"), room),
    Condition("telephone", "en", flite_voice("slt"), telephone),
    Condition("30 dB softer", "en", flite_voice("slt"), quiet),
)


def probe(condition: Condition, sentences: int = 4) -> list[MotionClip]:
    """Clips of one condition, one a sentence, with phone times and nothing known of their motion."""
    return probe_of(condition, TEXTS[condition.language][:sentences])


def probe_of(condition: Condition, texts: Sequence[str]) -> list[MotionClip]:
    """The same of any texts."""
    out = []
    for number, text in enumerate(texts):
        spoken = condition.say(text)
        sound_S: Sound = soxr.resample(spoken.pcm_S, spoken.rate, STREAM_RATE).astype(np.float32)
        sound_S = np.asarray(0.5 * sound_S / max(1e-3, float(np.abs(sound_S).max())), np.float32)
        if condition.change is not None:
            sound_S = condition.change(sound_S, np.random.default_rng(number))
        pcm_S = np.clip(sound_S * 32767.0, -32768, 32767).astype(np.int16)
        out.append(speech_clip("probe", f"{condition.name} {number}", pcm_S, joined(spoken.phones)))
    return out


def joined(phones: list[TimedPhone]) -> list[TimedPhone]:
    """Neighbouring silences as one."""
    out: list[TimedPhone] = []
    for item in phones:
        if out and item.phone == "sil" == out[-1].phone:
            out[-1] = TimedPhone("sil", out[-1].start_s, item.end_s)
        else:
            out.append(item)
    return out
