"""Head and brows that go with the voice.

Speakers move their heads on pitch accents and at phrase boundaries (H. C. Yehia et al. 2002; H. P. Graf
et al. 2002): a nod or a brow raise peaks on the accented syllable, a phrase has its own posture, and a
rising end lifts the brows. Accents are peaks of loudness and pitch against the speaker's own running
values, found a little ahead so that the stroke lands on the syllable and not after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.loudness import Loudness
from avatar.audio.pitch import pitch
from avatar.audio.rows import Rows
from avatar.clock import FPS, FRAME_SAMPLES
from avatar.motion import space
from avatar.motion.articulation import BINS_PER_FRAME
from avatar.motion.smooth import Spring

Floats = NDArray[np.float32]
_I: Final = space.INDEX
_DEG: Final = np.pi / 180.0

LEAD_FRAMES: Final = 4
"""How far ahead accents are looked for (160 ms)."""
_ACCENT_GAP_FRAMES: Final = 13
_PAUSE_FRAMES: Final = 4
_QUIET_DB: Final = -17.0


@dataclass(slots=True)
class _Stroke:
    """A movement that starts and ends at rest: channel amplitudes times a sin^2 bump."""

    start: int
    frames: int
    amplitude_D: Floats

    def at(self, frame: int) -> Floats:
        s = (frame - self.start) / self.frames
        # an early peak: attack takes 40 % of the stroke, release 60 %
        warped = 0.5 * s / 0.4 if s < 0.4 else 0.5 + 0.5 * (s - 0.4) / 0.6
        shown_D: Floats = (np.sin(np.pi * warped) ** 2 * self.amplitude_D).astype(np.float32)
        return shown_D


class Prosody:
    """Speech-linked head and brow motion, one frame at a time, deterministic in (seed, audio)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._posture = Spring(4, settle_s=1.1)
        self._beat = Spring(1, settle_s=0.35)
        self.reset()

    def reset(self) -> None:
        """Forget the audio (a new speech timeline starts)."""
        self.loudness = Loudness()
        self._pitch = Rows(1)
        self._rest_S = np.zeros(0, dtype=np.int16)
        self._strokes: list[_Stroke] = []
        self._last_accent = -_ACCENT_GAP_FRAMES
        self._quiet_run = _PAUSE_FRAMES
        self._peak_level = 2.0
        self._target_4 = np.zeros(4)

    def push(self, pcm_S: NDArray[np.int16]) -> None:
        """Append the avatar's speech, int16 at 24 kHz."""
        self.loudness.push(pcm_S)
        pcm_S = np.concatenate([self._rest_S, pcm_S])
        frames = len(pcm_S) // FRAME_SAMPLES
        self._rest_S = pcm_S[frames * FRAME_SAMPLES :].copy()
        if frames:
            frame_TS = pcm_S[: frames * FRAME_SAMPLES].reshape(frames, FRAME_SAMPLES)
            self._pitch.append(np.array([[pitch(row_S)] for row_S in frame_TS], dtype=np.float32))

    def frame(self, index: int) -> tuple[Floats, bool]:
        """Motion [52] to add in frame `index` of the speech timeline, and whether a phrase has just ended."""
        energy_T = self._energy(index)
        now_db = float(energy_T[-1 - LEAD_FRAMES])
        boundary = self._phrase(now_db)
        self._accent(index, energy_T)

        motion_D = space.neutral()
        self._strokes = [s for s in self._strokes if index < s.start + s.frames]
        for stroke in self._strokes:
            if index >= stroke.start:
                motion_D += stroke.at(index)
        yaw, pitch_deg, roll, brow = self._posture.step(self._target_4)
        voiced = float(np.clip((now_db + 12.0) / 14.0, 0.0, 1.0))
        beat = float(self._beat.step(np.array([voiced]))[0])
        motion_D[_I["headYaw"]] += yaw * _DEG
        motion_D[_I["headPitch"]] += (pitch_deg - 0.9 * beat) * _DEG
        motion_D[_I["headRoll"]] += roll * _DEG
        motion_D[_I["headY"]] += 0.004 * beat
        for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"):
            motion_D[_I[name]] += max(0.0, brow)
        self.forget(index)
        return motion_D, boundary

    def forget(self, index: int) -> None:
        """Drop audio features that no later frame needs."""
        self.loudness.rows.forget((index - FPS) * BINS_PER_FRAME)
        self._pitch.forget(index - 2 * FPS)

    def _energy(self, index: int) -> NDArray[np.float32]:
        """Relative loudness in dB of the frames [index - 6, index + LEAD_FRAMES]."""
        first, last = (index - 6) * BINS_PER_FRAME, (index + LEAD_FRAMES + 1) * BINS_PER_FRAME
        bins_TB = self.loudness.relative(first, last).reshape(-1, BINS_PER_FRAME)
        energy_T: Floats = np.maximum(bins_TB.mean(1), -40.0)
        return energy_T

    def _phrase(self, now_db: float) -> bool:
        """Track pauses; choose a new posture for every phrase. True in the frame where a phrase has ended."""
        rng = self._rng
        if now_db < _QUIET_DB:
            self._quiet_run += 1
            if self._quiet_run == _PAUSE_FRAMES:
                self._target_4 = self._target_4 * (0.3, 0.3, 0.3, 0.0)
                return True
            return False
        if self._quiet_run >= _PAUSE_FRAMES:
            self._target_4 = np.abs(rng.normal(0.0, 0.05)) * np.array([0.0, 0.0, 0.0, 1.0])
            self._target_4 += rng.normal((0.0, -0.3, 0.0, 0.0), (1.7, 0.7, 1.2, 0.0))
        self._quiet_run = 0
        return False

    def _accent(self, index: int, energy_T: NDArray[np.float32]) -> None:
        """Look for an accented syllable LEAD_FRAMES - 1 ahead and schedule a stroke that peaks there."""
        ahead = index + LEAD_FRAMES - 1
        recent_T = self._pitch.window(ahead - FPS, ahead + 2)[:, 0]
        voiced_T = recent_T[recent_T > 0]
        if len(voiced_T) < 4:
            return
        here_T = energy_T[-4:]
        peak = float(here_T[-2])
        is_peak = peak >= float(here_T.max()) and peak > float(energy_T[:-3].min()) + 4.0 and peak > -2.0
        if not is_peak:
            return
        above_db = peak - self._peak_level
        self._peak_level += 0.25 * above_db
        if ahead - self._last_accent < _ACCENT_GAP_FRAMES:
            return
        around_T = recent_T[-4:]
        around_T = around_T[around_T > 0]
        rise = float(np.log2(around_T.max() / np.median(voiced_T))) if len(around_T) else 0.0
        strength = float(np.clip(0.2 + 0.15 * above_db + 2.0 * rise, 0.0, 1.4))
        if strength < 0.3 or self._rng.random() > 0.35 + 0.5 * strength:
            return
        self._last_accent = ahead
        amplitude_D = space.neutral()
        amplitude_D[_I["headPitch"]] = -(0.8 + 1.7 * strength) * self._rng.uniform(0.6, 1.15) * _DEG
        amplitude_D[_I["headYaw"]] = self._rng.normal(0.0, 0.7) * strength * _DEG
        amplitude_D[_I["headRoll"]] = self._rng.normal(0.0, 0.5) * strength * _DEG
        if self._rng.random() < 0.25 + 0.3 * strength:
            raised = self._rng.uniform(0.12, 0.28) * strength
            amplitude_D[_I["browInnerUp"]] = raised
            amplitude_D[_I["browOuterUpLeft"]] = amplitude_D[_I["browOuterUpRight"]] = 0.8 * raised
        frames = int(self._rng.integers(11, 15))
        # the stroke cannot start in the past: it peaks on the accent when 40 % of it fits before
        self._strokes.append(_Stroke(max(index, ahead - round(0.4 * frames)), frames, amplitude_D))
