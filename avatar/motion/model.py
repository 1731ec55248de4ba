"""What turns speech into motion: the seam a learned model slots into, and the procedural one behind it.

A model owns one *speech timeline*: frames 0, 1, 2 ... of 960 samples, fed by pushes, read once each and
in order. `MotionStream` decides when frames are shown and adds everything that is not speech.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES
from avatar.motion.articulation import AHEAD_BINS, BIN_SAMPLES, BINS_PER_FRAME, PAST_BINS, UnitTrack, blend, to_motion
from avatar.motion.heard import lips_heard
from avatar.motion.prosody import Prosody

Floats = NDArray[np.float32]

LOOKAHEAD_FRAMES: Final = 5
"""Speech that must lie beyond a frame before it is shown (200 ms), unless the segment has ended."""


@dataclass(frozen=True, slots=True)
class SpeechMotion:
    """One frame of speech motion.

    motion_D: float32 [52], added to the idle motion (zeros: no speech).
    boundary: a phrase has just ended; a natural moment to blink.
    """

    motion_D: Floats
    boundary: bool = False


class MotionModel(Protocol):
    """Speech in, motion out; one speech timeline until `reset`."""

    def push(self, pcm_S: NDArray[np.int16], phones: Sequence[TimedPhone] | None) -> None:
        """Append int16 speech at 24 kHz; phones are relative to its first sample, None when unknown."""

    def end_segment(self) -> None:
        """The speech pushed so far is complete (MotionStream has padded it to whole frames)."""

    def frame(self, index: int, *, last_known: bool) -> SpeechMotion:
        """Frame `index`; each is asked for once, in order, with LOOKAHEAD_FRAMES of speech beyond it.

        last_known: no speech is known beyond what was pushed, because the segment has ended.
        """

    def reset(self) -> None:
        """Forget everything pushed; the next push starts a new timeline at frame 0."""


class VisemeSource(Protocol):
    """Streaming sound-to-viseme classifier (see viseme_net.py)."""

    def push(self, pcm_S: NDArray[np.int16]) -> Floats:
        """Feed int16 at 24 kHz; returns the posteriors [bins, 15] that have become final."""

    def flush(self) -> Floats:
        """Posteriors of the bins still open, as if silence followed; then starts afresh."""

    def reset(self) -> None:
        """Forget the past."""


class ProceduralMotion:
    """Articulation from phone times, from the viseme network, or, lacking both, from loudness; plus prosody."""

    def __init__(self, rng: np.random.Generator, viseme_net: VisemeSource | None = None) -> None:
        self._net = viseme_net
        self._prosody = Prosody(rng)
        self.reset()

    def reset(self) -> None:
        self._track = UnitTrack()
        self._prosody.reset()
        if self._net is not None:
            self._net.reset()
        self._pushed = 0
        self._net_bin = 0
        self._listening: bool | None = None
        self._net_segments: list[tuple[int, int]] = []  # bins [from, to) driven by the network, in order

    def push(self, pcm_S: NDArray[np.int16], phones: Sequence[TimedPhone] | None) -> None:
        if self._listening is None:  # the first push of a segment decides what drives it
            self._listening = phones is None
            if self._listening:
                self._net_bin = self._pushed // BIN_SAMPLES
                self._net_segments.append((self._net_bin, 1 << 62))
        if phones:
            self._track.add_phones(phones, self._pushed)
        self._prosody.push(pcm_S)
        self._pushed += len(pcm_S)
        if self._listening:
            self._add_posteriors(self._net.push(pcm_S) if self._net is not None else self._guess_from_loudness())

    def end_segment(self) -> None:
        if self._listening:
            if self._net is not None:
                self._add_posteriors(self._net.flush())
            start, _ = self._net_segments[-1]
            self._net_segments[-1] = (start, self._pushed // BIN_SAMPLES)
        self._listening = None

    def frame(self, index: int, *, last_known: bool) -> SpeechMotion:
        assert self._pushed % BIN_SAMPLES == 0 or not last_known
        first = index * BINS_PER_FRAME
        known = self._pushed // BIN_SAMPLES
        limit = first + BINS_PER_FRAME + AHEAD_BINS
        if self._by_net(first):
            # What the network has said beyond this depends on how the audio was cut; do not look at it.
            limit = first + BINS_PER_FRAME + NET_AHEAD_BINS
        window_BU = self._track.window(
            first - PAST_BINS,
            first + BINS_PER_FRAME + AHEAD_BINS,
            known=min(known, limit),
            silent_after=last_known and known <= limit,
        )
        value_A = blend(window_BU)
        prosody_D, boundary = self._prosody.frame(index)
        motion_D = to_motion(value_A, self._effort(first)) + prosody_D
        self._track.rows.forget(first - PAST_BINS)
        return SpeechMotion(motion_D, boundary)

    def _by_net(self, bin_index: int) -> bool:
        while self._net_segments and self._net_segments[0][1] <= bin_index:
            self._net_segments.pop(0)
        return bool(self._net_segments) and self._net_segments[0][0] <= bin_index

    def _effort(self, first_bin: int) -> float:
        """How far the mouth moves for the loudness around a frame: 1 at the speaker's usual level."""
        around_B = self._prosody.loudness.relative(first_bin - 6, first_bin + BINS_PER_FRAME + 6)
        weight_B = np.hanning(len(around_B) + 2)[1:-1]
        level_db = float((np.maximum(around_B, -30.0) * weight_B).sum() / weight_B.sum())
        return float(np.clip(1.0 + 0.045 * level_db, 0.55, 1.35))

    def _add_posteriors(self, posterior_BV: Floats) -> None:
        """Lay the network's posteriors on the track; where nothing sounds, the mouth rests whatever they say."""
        last = self._net_bin + len(posterior_BV)
        if last == self._net_bin:
            return
        lips_BV = lips_heard(posterior_BV, self._prosody.loudness, self._net_bin)
        self._track.add_visemes(lips_BV, self._net_bin)
        self._net_bin = last

    def _guess_from_loudness(self) -> Floats:
        """Without a network: loud is an open mouth, quiet a closed one; float32 [bins, 15]."""
        known = self._pushed // BIN_SAMPLES
        relative_B = self._prosody.loudness.relative(self._net_bin, known)
        open_B = np.clip((relative_B + 20.0) / 16.0, 0.0, 1.0)
        guess_BV = np.zeros((len(open_B), 15), dtype=np.float32)
        guess_BV[:, 10] = open_B
        guess_BV[:, 0] = 1.0 - open_B
        return guess_BV


NET_AHEAD_BINS: Final = 4
"""Posteriors that exist beyond a frame when it is shown, however the audio was cut."""
assert LOOKAHEAD_FRAMES * FRAME_SAMPLES >= AHEAD_BINS * BIN_SAMPLES
