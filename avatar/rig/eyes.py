"""Eyeballs of a portrait, from the irises found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.rig.basis import Basis
from avatar.rig.types import EyeGeometry

if TYPE_CHECKING:
    from avatar.rig.fit import Pose

F64 = NDArray[np.float64]

TRAVEL_PER_IRIS: Final = 1.7
"""Distance of the iris from the ball's centre / radius of the iris (about 10 mm / 5.9 mm)."""
CONTACT_RAD: Final = 0.07
"""Gaze nearer to the camera than this counts as eye contact: the estimate is no better."""
BALL_DROP: Final = 0.13
"""The model's ball centre lies this much (iris travels) too high: median over portraits that look at the camera."""
MAX_SOURCE_GAZE: Final = 0.35


def fit_eyes(basis: Basis, pose: Pose, snap_shift_V3: F64, iris_2K3: F64) -> EyeGeometry:
    """Ball centres and the portrait's own gaze.

    iris_2K3: px [2, 5, 3], centre first, then four points of its rim. The model's ball centre, carried along with
    the lids' snap, gives a raw gaze per eye; both eyes then share the mean gaze, and each ball is set so that its
    iris is exactly where the portrait has it.
    """
    centre = iris_2K3[:, 0, :2]
    radius = np.linalg.norm(iris_2K3[:, 1:, :2] - centre[:, None], axis=2).mean(1)
    radius = np.full(2, radius.mean()) if np.ptp(radius) < 0.25 * radius.mean() else radius
    travel = TRAVEL_PER_IRIS * radius
    rings = basis.topology.eye_ring_2E
    ball = pose.apply(basis.eyeball_23) + np.stack([snap_shift_V3[ring].mean(0) for ring in rings])
    offset = ((centre - ball[:, :2]) / travel[:, None]).mean(0) - [0.0, BALL_DROP]
    gaze = np.array([np.arcsin(np.clip(offset[0], -0.9, 0.9)), np.arcsin(np.clip(-offset[1], -0.9, 0.9))])
    size = float(np.linalg.norm(gaze))
    gaze *= min(max(size - CONTACT_RAD, 0.0) * 1.5, size, MAX_SOURCE_GAZE) / max(size, 1e-6)
    axis = gaze_axis(gaze)
    ball[:, :2] = centre - travel[:, None] * axis[:2]
    iris = ball + travel[:, None] * axis
    return EyeGeometry(
        ball_centre_23=ball.astype(np.float32),
        ball_radius_2=travel.astype(np.float32),
        iris_centre_23=iris.astype(np.float32),
        iris_radius_2=radius.astype(np.float32),
        source_gaze_2=gaze.astype(np.float32),
    )


def gaze_axis(gaze_2: NDArray[Any]) -> NDArray[Any]:
    """Unit vector (x right, y down, z to the viewer) of azimuth and elevation."""
    azimuth, elevation = float(gaze_2[0]), float(gaze_2[1])
    return np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
