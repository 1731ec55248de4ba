"""Nodding along: small nods where the visitor's voice pauses."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS
from avatar.motion.ear import VoiceDetector

_PAUSE_BINS: Final = 22
_SPEECH_BINS: Final = 70
_STALE_FRAMES: Final = 15


def nod_curve(t_s: float, duration_s: float) -> float:
    """Head dip 0..1: down and back within `duration_s`, smooth at both ends."""
    s = t_s / duration_s
    return float(np.sin(np.pi * s) ** 2) if 0.0 < s < 1.0 else 0.0


class Nods:
    """Listens to the energy of the visitor's voice; after enough speech and a short pause, nods."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._detector = VoiceDetector()
        self._speech_bins = 0
        self._quiet_bins = 0
        self._frame = 0
        self._nod: tuple[int, float, float, float] | None = None
        self._earliest_frame = 0
        self._due_until = -1

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """Take the visitor's voice, int16 mono at 16 kHz, any length."""
        for voiced, _ in self._detector.push(pcm_S):
            if voiced:
                self._speech_bins += 1
                self._quiet_bins = 0
            else:
                self._quiet_bins += 1
            if self._quiet_bins == _PAUSE_BINS and self._speech_bins >= _SPEECH_BINS:
                self._speech_bins = 0
                self._due_until = self._frame + _STALE_FRAMES

    def step(self) -> float:
        """Degrees of downward pitch for the next frame."""
        frame = self._frame
        self._frame += 1
        if frame < self._due_until and self._nod is None and frame >= self._earliest_frame:
            self._due_until = -1
            if self.rng.random() < 0.8:
                second = self.rng.uniform(0.3, 0.7) if self.rng.random() < 0.4 else 0.0
                self._nod = (frame, self.rng.uniform(2.0, 4.0), self.rng.uniform(0.45, 0.6), second)
        if self._nod is None:
            return 0.0
        start, depth_deg, duration_s, second = self._nod
        t_s = (frame - start) / FPS
        if t_s > duration_s * (1.9 if second else 1.0):
            self._nod = None
            self._earliest_frame = frame + 2 * FPS
            return 0.0
        dip = nod_curve(t_s, duration_s) + second * nod_curve(t_s - 0.9 * duration_s, duration_s)
        return depth_deg * dip
