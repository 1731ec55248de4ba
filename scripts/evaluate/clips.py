"""The clips that systems are judged on: held-out ones from the motion corpus, and small made ones for trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.motion.controls import CONTROL_INDEX, CONTROLS, USUAL_LIVELINESS
from scripts.evaluate.play import perform
from scripts.evaluate.systems import articulation
from scripts.motion_clips import MotionClip, SpeechSegment, clip_paths, load_clip

MADE: Final = "made"
_VOWELS: Final = ("AA", "IY", "UW", "EH", "OW", "AH")
_CONSONANTS: Final = ("M", "S", "B", "T", "P", "L", "F", "K", "N", "R")


def held_out(
    folder: Path, limits: Mapping[str, int], other: int, sources: Sequence[str] | None = None, limit: int | None = None
) -> list[MotionClip]:
    """Held-out clips below `folder`, spread evenly over each source.

    limits: most clips of a source, `other` of those not named there; `limit` overrules both (0: all). sources: only
    these. ValueError when there are none.
    """
    by_source: dict[str, list[Path]] = {}
    for path in clip_paths(folder, list(sources) if sources else None):
        if is_held_out(path):
            by_source.setdefault(path.parent.name, []).append(path)
    if not by_source:
        raise ValueError(f"no held-out clips below {folder}: make some with scripts/make_motion_corpus.py.")
    most = {name: limit if limit is not None else limits.get(name, other) for name in by_source}
    return [load_clip(path) for name in sorted(by_source) for path in spread(by_source[name], most[name])]


def is_held_out(path: Path) -> bool:
    """Read the mark alone."""
    with np.load(path) as data:
        return bool(data["held_out"])


def spread(paths: Sequence[Path], limit: int) -> list[Path]:
    """At most `limit` of them, evenly spaced; all for 0."""
    if limit <= 0 or len(paths) <= limit:
        return list(paths)
    return [paths[round(i)] for i in np.linspace(0, len(paths) - 1, limit)]


def speaking_controls(frames: int) -> NDArray[np.float32]:
    """Control vectors of somebody who speaks and of whom nothing is asked, float32 [T, C]."""
    control_TC = np.zeros((frames, CONTROLS), np.float32)
    control_TC[:, CONTROL_INDEX["liveliness"]] = USUAL_LIVELINESS
    control_TC[:, CONTROL_INDEX["speaking"]] = 1.0
    return control_TC


def speech_clip(
    source: str, name: str, pcm_S: NDArray[np.int16], phones: list[TimedPhone] | None, tail: int = FPS // 2
) -> MotionClip:
    """A clip of one utterance with `tail` frames after it; its motion is neutral and none of it known."""
    frames = -(-len(pcm_S) // FRAME_SAMPLES)
    motion_TD = np.zeros((frames + tail, 52), np.float32)
    known_D = np.zeros(52, bool)
    segment = SpeechSegment(0, frames, pcm_S, phones)
    return MotionClip(source, name, motion_TD, speaking_controls(frames + tail), [segment], known_D, held_out=True)


def made_clips(count: int = 4, seconds: float = 3.0) -> list[MotionClip]:
    """Clips that need no corpus and no synthesiser: babble of tones with exact phones, moved by motion v1.

    The sound is right in rhythm only (vowels hum, fricatives hiss, closures are silent): for trials and tests.
    """
    teacher = articulation(phones=True)
    out = []
    for number in range(count):
        rng = np.random.default_rng(number)
        pcm_S, phones = babble(rng, seconds)
        clip = speech_clip(MADE, f"{number:02d}", pcm_S, phones)
        motion_TD = perform(teacher.open(number), clip, phones=True)
        known_D = np.ones(52, bool)
        out.append(MotionClip(MADE, clip.name, motion_TD, clip.controls_TC, clip.segments, known_D, held_out=True))
    return out


def babble(rng: np.random.Generator, seconds: float) -> tuple[NDArray[np.int16], list[TimedPhone]]:
    """Consonant, vowel, consonant, vowel ... with silence at both ends; int16 at 24 kHz and its phones."""
    phones = [TimedPhone("sil", 0.0, 0.3)]
    while phones[-1].end_s < seconds - 0.7:
        for name, length_s in ((rng.choice(_CONSONANTS), 0.08), (rng.choice(_VOWELS), rng.uniform(0.1, 0.2))):
            start_s = phones[-1].end_s
            phones.append(TimedPhone(str(name), start_s, start_s + float(length_s)))
    phones.append(TimedPhone("sil", phones[-1].end_s, seconds))
    sound_S = np.zeros(round(seconds * STREAM_RATE))
    for item in phones:
        at = slice(round(item.start_s * STREAM_RATE), round(item.end_s * STREAM_RATE))
        length = len(sound_S[at])
        if item.phone in _VOWELS:
            sound_S[at] = 0.25 * np.sign(np.sin(2 * np.pi * 120.0 * np.arange(length) / STREAM_RATE))
        elif item.phone in {"S", "F", "T", "K"}:
            sound_S[at] = 0.05 * rng.standard_normal(length)
        elif item.phone != "sil":
            sound_S[at] = 0.08 * np.sin(2 * np.pi * 120.0 * np.arange(length) / STREAM_RATE)
    return (sound_S * 32767).astype(np.int16), phones
