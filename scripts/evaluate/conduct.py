"""How a source of motion behaves as a stream: interruptions, ends, independence of chunks, determinism.

Shape suffixes: T = frames, D = 52, S = samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion.protocol import Motion
from avatar.motion.state import State
from scripts.evaluate.metrics.closures import CLOSED_MM
from scripts.evaluate.metrics.life import head_turns
from scripts.evaluate.metrics.lips import lip_rig
from scripts.evaluate.systems import System
from scripts.motion_clips import MotionClip

Floats = NDArray[np.float32]
CHUNKS_S: Final = (0.005, 0.037, 0.2, 5.0)
_AFTER: Final = 12
_RESERVE: Final = 10
"""Frames of sound kept ahead of what is shown while pushing in chunks; more than any look-ahead."""


def interruptions(system: System, speech: Sequence[MotionClip], tries: int = 8) -> dict[str, float]:
    """Speech is cleared where the mouth is widest open, `tries` times.

    frames_to_closed: most frames until the lips meet (CLOSED_MM), the first frame after the clear counting as one.
    bend_ratio: largest second difference of the opening around the clear, over the 99th percentile while speaking:
    1 is a movement as in speech, a jump is far above it. head_bend_ratio: the same for the head's turns.
    """
    frames_to_closed, bend, head_bend, usual, head_usual = [], [], [], [], []
    for number in range(tries):
        clip = speech[number % len(speech)]
        whole_TD = speak(system, clip, number, None)
        gap_T = lip_rig().lips(whole_TD).gap_T
        spoken = clip.segments[0].frames
        usual.append(np.abs(np.diff(gap_T[:spoken], 2)))
        head_usual.append(np.abs(np.diff(head_turns(whole_TD[:spoken]), 2, axis=0)).max(1))
        first = 8 + 3 * number
        at = first + int(gap_T[first : min(first + 30, spoken - 2)].argmax()) + 1
        cut_TD = speak(system, clip, number, at)
        np.testing.assert_allclose(cut_TD[: at - 1], whole_TD[: at - 1], atol=1e-5)
        gap_T = lip_rig().lips(cut_TD).gap_T
        closed = np.flatnonzero(gap_T[at:] < CLOSED_MM)
        frames_to_closed.append(float(closed[0] + 1) if len(closed) else np.inf)
        around = slice(at - 2, at + 5)
        bend.append(np.abs(np.diff(gap_T[around], 2)).max())
        head_bend.append(np.abs(np.diff(head_turns(cut_TD[around]), 2, axis=0)).max())
    return {
        "frames_to_closed": float(np.max(frames_to_closed)),
        "frames_to_closed_median": float(np.median(frames_to_closed)),
        "bend_ratio": float(np.max(bend)) / float(np.percentile(np.concatenate(usual), 99)),
        "head_bend_ratio": float(np.max(head_bend)) / float(np.percentile(np.concatenate(head_usual), 99)),
    }


def speak(system: System, clip: MotionClip, seed: int, clear_at: int | None) -> Floats:
    """Motion [T, 52] of a clip's first segment and _AFTER frames; cleared before frame `clear_at`."""
    stream = system.open(seed)
    stream.set_state(State.SPEAKING)
    segment = clip.segments[0]
    stream.push_audio(segment.pcm_S, segment.phones if system.phones else None)
    stream.end_segment()
    frames = []
    for t in range((clear_at if clear_at is not None else segment.frames) + _AFTER):
        if t == clear_at:
            stream.clear()
            stream.set_state(State.LISTENING)
        frames.append(stream.next_motion())
    return np.stack(frames)


def ends(system: System, speech: Sequence[MotionClip]) -> dict[str, float]:
    """After speech that was said to its end: most frames until the lips meet, and the opening one second later (mm)."""
    frames, later = [], []
    for seed, clip in enumerate(speech):
        motion_TD = speak(system, clip, seed, None)
        gap_T = lip_rig().lips(motion_TD[clip.segments[0].frames :]).gap_T
        closed = np.flatnonzero(gap_T < CLOSED_MM)
        frames.append(float(closed[0] + 1) if len(closed) else np.inf)
        later.append(float(gap_T[-1]))
    return {"frames_to_closed_at_end": max(frames), "opening_after_mm": max(later)}


def sameness(system: System, clip: MotionClip) -> dict[str, float]:
    """Largest change of any of the 52 numbers: the same again, and for each size of chunk against all at once."""
    once_TD = in_chunks(system.open(3), clip, 1 << 30, phones=system.phones)
    out = {"repeated": float(np.abs(in_chunks(system.open(3), clip, 1 << 30, phones=system.phones) - once_TD).max())}
    for seconds in CHUNKS_S:
        cut_TD = in_chunks(system.open(3), clip, round(seconds * STREAM_RATE), phones=system.phones)
        out[f"chunks of {seconds * 1000:.0f} ms"] = float(np.abs(cut_TD - once_TD).max())
    other_TD = in_chunks(system.open(4), clip, 1 << 30, phones=system.phones)
    out["another seed"] = float(np.abs(other_TD - once_TD).max())
    return out


def in_chunks(stream: Motion, clip: MotionClip, samples: int, *, phones: bool) -> Floats:
    """Motion of a clip's first segment, pushed `samples` at a time and no further ahead than need be."""
    segment = clip.segments[0]
    stream.set_state(State.SPEAKING)
    at = 0
    frames: list[Floats] = []
    for t in range(segment.frames):
        while at < len(segment.pcm_S) and at < (t + _RESERVE) * FRAME_SAMPLES:
            chunk_S = segment.pcm_S[at : at + samples]
            stream.push_audio(chunk_S, phones_of(segment.phones or [], at, at + len(chunk_S)) if phones else None)
            at += len(chunk_S)
            if at >= len(segment.pcm_S):
                stream.end_segment()
        frames.append(stream.next_motion())
    return np.stack(frames)


def phones_of(phones: Sequence[TimedPhone], first: int, last: int) -> list[TimedPhone]:
    """Phones that start in the samples [first, last), relative to `first`; all later ones come with the last chunk."""
    first_s, last_s = first / STREAM_RATE, last / STREAM_RATE
    return [p.shifted(-first_s) for p in phones if first_s <= p.start_s < last_s]
