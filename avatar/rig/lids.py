"""The lids of one rig: blinks that close exactly on this portrait's own lower lid, and lids that follow the gaze."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.rig import kernels, mesh
from avatar.rig.contact import gap, meet
from avatar.rig.spread import biharmonic
from avatar.rig.types import FittedRig

F32 = NDArray[np.float32]

REACH: Final = 4
"""Edges from the lid margin that a blink moves."""
REST: Final = 0.12
"""Closed lids meet this share of the opening above the lower lid."""
UPPER_FOLLOW: Final = 0.8
"""Share of the iris' up-and-down way that the upper lid goes along."""
LOWER_FOLLOW: Final = 0.3
FOLLOW_RANGE: Final = (-0.35, 0.55)
"""Least and largest share of the opening by which following the gaze may open or close the upper lid."""


def closing_line(upper_L3: NDArray[Any], lower_L3: NDArray[Any]) -> NDArray[Any]:
    """Where the lids of an eye meet; the same line however far the eye is closed."""
    return np.asarray(lower_L3 + REST * (upper_L3 - lower_L3))


class Lids:
    """Precomputed operators for both eyes."""

    def __init__(self, rig: FittedRig, down_2: F32) -> None:
        self._rig, self._down = rig, down_2
        count = len(rig.rest_V3)
        self._spread = []
        self._gap_2: list[float] = []
        self._bulge_2: list[F32] = []
        for eye in range(2):
            near = mesh.rings_from(rig.triangles_T3, count, rig.eye_ring_2E[eye]) <= REACH
            self._spread.append(biharmonic(rig.neutral_V3, rig.triangles_T3, rig.eye_ring_2E[eye], near))
            upper, lower = rig.neutral_V3[rig.lid_upper_2L[eye]], rig.neutral_V3[rig.lid_lower_2L[eye]]
            self._gap_2.append(max(float(gap(upper, lower, down_2).max()), 1e-3))
            half = np.linalg.norm(upper - lower, axis=1) / 2
            radius = max(1.15 * float(rig.eyes.ball_radius_2[eye]), 1.2 * float(half.max()))
            # how far the ball stands out over the straight way of the closing lid
            self._bulge_2.append(np.asarray(radius - np.sqrt(radius**2 - half**2), np.float32))
        self._no_seal = np.zeros(rig.lid_upper_2L.shape[1], np.float32)

    def move(self, skin_V3: F32, blink_2: NDArray[Any], drop_2: NDArray[Any]) -> None:
        """Close each eye by `blink_2` (0..1) and let its lids follow the iris, `drop_2` px down; in place.

        At blink 1 both lids lie on the closing line, whatever the gaze. At blink 0 and drop 0 nothing moves.
        """
        rig = self._rig
        for eye in range(2):
            upper, lower = rig.lid_upper_2L[eye], rig.lid_lower_2L[eye]
            spread, opening = self._spread[eye], self._gap_2[eye]
            open_share = np.float32(1.0 - float(blink_2[eye]))
            drop = float(drop_2[eye]) / opening
            follow = np.float32(min(max(UPPER_FOLLOW * drop, FOLLOW_RANGE[0]), FOLLOW_RANGE[1]))
            sag = np.float32(min(max(LOWER_FOLLOW * drop, FOLLOW_RANGE[0]), FOLLOW_RANGE[1]))
            before = skin_V3[spread.handles_H]
            top, bottom = meet(skin_V3[upper], skin_V3[lower], self._down, self._no_seal)
            height = top - bottom
            closing = bottom + np.float32(REST) * height
            top = closing + (top - closing) * (open_share * (1.0 - follow))
            bottom = closing + (bottom - closing) * open_share - (sag * open_share) * height
            top[:, 2] += self._bulge_2[eye] * (4.0 * open_share * (1.0 - open_share))
            skin_V3[upper], skin_V3[lower] = top, bottom
            kernels.carry(skin_V3, spread.rows_N, spread.matrix_NH, skin_V3[spread.handles_H] - before)
