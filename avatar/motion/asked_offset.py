"""What is asked, laid over motion that knows nothing of it: how the articulation honours `Asked`.

Gaze and distance are offsets, emotions are those of emotion.py, liveliness scales what head and brows do. Everything
glides (a change is no jump), and with nothing asked the motion is the one that came in, number for number. The
resting style of an identity (`Asked.rest_*`) is the diffusion motion's alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.controls import EMOTIONS, Asked
from avatar.motion.emotion import activity, dynamics, express
from avatar.motion.smooth import Spring

Floats = NDArray[np.float32]

_I: Final = space.INDEX
_TURNS: Final = slice(_I["headYaw"], _I["headY"] + 1)
_BROWS: Final = [_I[name] for name in space.ARKIT_NAMES if name.startswith("brow")]
_FOLLOW: Final = 0.25
"""Share of the asked gaze that the head turns too: eyes that look aside from a still head look shifty."""
_GAZE_S, _DISTANCE_S, _FEELING_S = 0.4, 0.9, 0.8


class AskedOffset:
    """Add what is asked to one frame after another."""

    def __init__(self) -> None:
        self._asked = Asked()
        self._gaze = Spring(2, settle_s=_GAZE_S)
        self._follow = Spring(2, settle_s=_DISTANCE_S)
        self._distance = Spring(1, settle_s=_DISTANCE_S)
        self._feeling = Spring(len(EMOTIONS) + 1, settle_s=_FEELING_S)
        self._feeling.value = self._targets()[2]
        self._shown = False

    def set(self, asked: Asked) -> None:
        """From the next frame on; before the first frame the face starts with it, afterwards it glides there."""
        self._asked = asked
        if not self._shown:
            self._gaze.value, self._distance.value, self._feeling.value = self._targets()
            self._follow.value = _FOLLOW * self._gaze.value

    def apply(self, motion_D: Floats) -> Floats:
        """The frame with what is asked, float32 [52] inside the ranges of motion/space.py."""
        self._shown = True
        gaze_2, distance_1, feeling_N = self._targets()
        gaze_2, follow_2 = self._gaze.step(gaze_2), self._follow.step(_FOLLOW * gaze_2)
        distance_1, feeling_N = self._distance.step(distance_1), self._feeling.step(feeling_N)
        weights_E = feeling_N[: len(EMOTIONS)].astype(np.float32)
        liveliness = float(feeling_N[-1])
        manner = dynamics(weights_E)
        out_D = motion_D.copy()
        out_D[_TURNS] *= activity(liveliness) * manner.head
        out_D[_BROWS] *= activity(liveliness) * manner.brows
        out_D[space.GAZE] += gaze_2.astype(np.float32)
        out_D[_I["headYaw"]] += follow_2[0]
        out_D[_I["headPitch"]] += follow_2[1]
        out_D[_I["headLogScale"]] += distance_1[0]
        return express(out_D, weights_E)

    def _targets(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Gaze [2] in radians, log scale [1], emotions and liveliness [7]."""
        asked = self._asked
        return (
            np.radians([asked.gaze_azimuth_deg, asked.gaze_elevation_deg]),
            np.array([-np.log(asked.distance)]),
            np.array([*(getattr(asked, name) for name in EMOTIONS), asked.liveliness]),
        )
