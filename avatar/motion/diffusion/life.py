"""The head's own life, laid over what the network makes: sway, breath, accents of the voice, nods.

Where the sound leaves the head free, the one-step network shows the mean of what heads do, and that is a head that
hardly moves (docs/models/motion.md has the figures). So what is random about it is drawn here, by processes that never
repeat and cannot wander off. The network does not see this layer: its past is its own motion.

Shape suffixes: D = 52, S = samples at 24 kHz.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS
from avatar.motion import space
from avatar.motion.controls import Asked
from avatar.motion.diffusion.layout import LOOK
from avatar.motion.emotion import activity, dynamics
from avatar.motion.idle import Sway
from avatar.motion.prosody import Prosody
from avatar.motion.smooth import FadingOffset, Spring

Floats = NDArray[np.float32]
_I: Final = space.INDEX
_DEG: Final = np.pi / 180.0
_BROWS: Final = [i for i, name in enumerate(space.NAMES) if name.startswith("brow")]

SWAY: Final = np.array([0.75 * _DEG, 0.42 * _DEG, 0.48 * _DEG, 0.0040, 0.0024, 0.0035])
"""Standard deviation of the drift of yaw, pitch, roll, x, y and log scale at the usual liveliness."""
ACCENT_SHARE, BROW_SHARE = 0.55, 0.6
"""How much of the strokes of prosody.py is shown: a filmed speaker moves head and brows less than the rules would."""
_SETTLE_FRAMES: Final = FPS * 3 // 4
_BREATH_DEG, _BREATH_SHIFT = 0.18, 0.003


class Life:
    """One frame of head and brow motion after another, to be added to the network's."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._sway = Sway(rng, len(SWAY))
        self._breath_hz = float(rng.uniform(0.21, 0.27))
        self._breath_phase = float(rng.uniform(0.0, 2.0 * np.pi))
        self._prosody = Prosody(rng, lead=LOOK)
        self._offset = FadingOffset(np.full(space.DIM, _SETTLE_FRAMES))
        self._size = Spring(2, settle_s=0.8)  # a change of manner must not jerk the head
        self._size.value[:] = 1.0
        self._target_2 = np.ones(2)
        self._frame = 0
        self._speaking = False

    def set_controls(self, asked: Asked) -> None:
        """Liveliness and emotions set how far head and brows go."""
        manner = dynamics(asked.emotion_weights())
        self._target_2 = activity(asked.liveliness) * np.array([manner.head, manner.brows])

    def push(self, pcm_S: NDArray[np.int16]) -> None:
        """Append the avatar's speech, int16 at 24 kHz."""
        self._prosody.push(pcm_S)

    def clear(self) -> None:
        """Forget the speech."""
        self._prosody.reset()

    def frame(self, speech: int | None, nod_deg: float) -> Floats:
        """What to add to the next frame, float32 [52]. speech: the frame of the speech timeline that it shows."""
        voice_D = space.neutral()
        if speech is not None:
            voice_D = self._prosody.frame(speech)[0]
            voice_D[space.HEAD] *= ACCENT_SHARE
            voice_D[_BROWS] *= BROW_SHARE
        voice_D = self._offset.apply(voice_D, switched=self._speaking != (speech is not None))
        self._speaking = speech is not None
        head, brows = self._size.step(self._target_2)
        now_s = (self._frame + 0.5) / FPS
        self._frame += 1
        breath = np.sin(2.0 * np.pi * self._breath_hz * now_s + self._breath_phase)
        out_D: Floats = np.zeros(space.DIM, np.float32)
        out_D[_BROWS] = brows * voice_D[_BROWS]
        out_D[space.HEAD] = head * (voice_D[space.HEAD] + SWAY * self._sway.at(now_s))
        out_D[_I["headPitch"]] += (_BREATH_DEG * breath - nod_deg) * _DEG
        out_D[_I["headY"]] -= _BREATH_SHIFT * breath
        return out_D
