"""The lips of the default presenter, deformed by a motion: where each point of them is, in millimetres.

63 mm lie between the pupils. The head is held still: this is about the mouth, not about where it is.
Shape suffixes: T = frames, D = 52, N = lip vertices (40 of the mouth's opening, 40 of the lips' outer edge).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.identity import load_identity
from avatar.motion import space
from avatar.rig.types import FittedRig

Floats = NDArray[np.float32]

PUPILS_MM: Final = 63.0


@dataclass(frozen=True)
class Lips:
    """points_TN3: mm, presenter's frame. gap_T: largest distance between the lips, mm, 0 = sealed. width_T: distance
    of the corners, mm."""

    points_TN3: Floats
    gap_T: Floats
    width_T: Floats


class LipRig:
    """The default presenter's lips."""

    def __init__(self) -> None:
        self._rig = FittedRig.unpack(load_identity().arrays)
        pupils = self._rig.eyes.iris_centre_23
        self.mm_per_px: Final = PUPILS_MM / float(np.linalg.norm(pupils[1] - pupils[0]))
        self._points_N = np.concatenate([self._rig.mouth_ring_M, self._rig.lip_outer_M])
        self._corners = self._rig.lip_upper_L[[0, -1]]
        self.rest_width_mm: Final = float(self.lips(space.neutral()[None]).width_T[0])

    def lips(self, motion_TD: NDArray[Any]) -> Lips:
        """Lips for each frame of [T, 52]."""
        frames = len(motion_TD)
        points_TN3 = np.empty((frames, len(self._points_N), 3), np.float32)
        gap_T, width_T = np.empty(frames, np.float32), np.empty(frames, np.float32)
        for t, row_D in enumerate(motion_TD):
            still_D = space.neutral()
            still_D[: space.EXPRESSION_DIM] = row_D[: space.EXPRESSION_DIM]
            face = self._rig.deform(still_D)
            points_TN3[t] = face.skin_V3[self._points_N]
            gap_T[t] = face.mouth_gap
            width_T[t] = np.linalg.norm(np.subtract(*face.skin_V3[self._corners]))
        scale = np.float32(self.mm_per_px)
        return Lips(points_TN3 * scale, gap_T * scale, width_T * scale)


@lru_cache(maxsize=1)
def lip_rig() -> LipRig:
    """The rig, prepared once."""
    return LipRig()


def vertex_error(ours: Lips, theirs: Lips, *, own_rest: bool = False) -> Floats:
    """Lip-vertex error of each frame in mm, [T]: mean over the lip vertices of the distance between both motions.

    own_rest: each clip's mean lips are subtracted first, so that a different resting mouth does not count.
    """
    a_TN3, b_TN3 = ours.points_TN3, theirs.points_TN3
    if own_rest:
        a_TN3, b_TN3 = a_TN3 - a_TN3.mean(0), b_TN3 - b_TN3.mean(0)
    error_T: Floats = np.linalg.norm(a_TN3 - b_TN3, axis=2).mean(1)
    return error_T


def channel_opening(motion_TD: NDArray[Any]) -> Floats:
    """Mouth opening from channels alone, [T]: jawOpen - mouthClose + 0.25 (mean lowerDown + mean upperUp)."""
    index = space.INDEX
    lips_T = sum(motion_TD[:, index[f"mouth{n}{s}"]] for n in ("LowerDown", "UpperUp") for s in ("Left", "Right"))
    opening_T: Floats = motion_TD[:, index["jawOpen"]] - motion_TD[:, index["mouthClose"]] + 0.125 * lips_T
    return opening_T
