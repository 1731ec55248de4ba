"""Smooth change: springs for slow targets, offsets that fade for switches between sources."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS

Floats = NDArray[np.float32]
_DT = 1.0 / FPS


class Spring:
    """Critically damped follower of a target, exact for a constant target (continuous velocity).

    settle_s: time after which about 1 % of a step is left.
    """

    def __init__(self, width: int, settle_s: float) -> None:
        self._omega = 6.64 / settle_s
        self.value = np.zeros(width, dtype=np.float64)
        self._velocity = np.zeros(width, dtype=np.float64)

    def step(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """One video frame towards `target` [width]; returns the new value."""
        decay = np.exp(-self._omega * _DT)
        offset = self.value - target
        drive = self._velocity + self._omega * offset
        self.value = target + (offset + drive * _DT) * decay
        self._velocity = (self._velocity - self._omega * drive * _DT) * decay
        return self.value


class FadingOffset:
    """Hides the jump when motion switches to another source.

    At a switch the difference between what was shown and what the new source says becomes an offset,
    which fades to zero on a cubic Hermite curve starting with the shown velocity (the "inertialization"
    of D. Bollo, GDC 2018, with the lower-order curve that two end conditions need).
    """

    def __init__(self, frames_D: NDArray[np.int64]) -> None:
        """frames_D: for each channel, after how many frames the offset is exactly zero."""
        self._frames_D = frames_D.astype(np.float64)
        self._x0_D = np.zeros(len(frames_D))
        self._v0_D = np.zeros(len(frames_D))
        self._age = int(frames_D.max())
        self._shown_D = np.zeros(len(frames_D))
        self._before_D = np.zeros(len(frames_D))

    def apply(self, source_D: Floats, *, switched: bool) -> Floats:
        """The frame to show for the source's frame [D]; `switched` marks a new source's first frame."""
        if switched:
            self._x0_D = self._shown_D - source_D
            self._v0_D = self._shown_D - self._before_D  # per frame
            self._age = 0
        self._age += 1
        s_D = np.minimum(self._age / self._frames_D, 1.0)
        stay_D = (1.0 + 2.0 * s_D) * (1.0 - s_D) ** 2
        drift_D = s_D * (1.0 - s_D) ** 2 * self._frames_D
        shown_D = source_D + stay_D * self._x0_D + drift_D * self._v0_D
        self._before_D, self._shown_D = self._shown_D, shown_D
        return shown_D.astype(np.float32)
