"""Where the head is in every frame: weak-perspective pose of a known shape, all frames of a clip at once.

Shape suffixes: T frames, N points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

F64 = NDArray[np.float64]

DEPTH_WEIGHT: Final = 0.15
"""The models' depth is a hint only (as in avatar/rig/fit.py)."""
_ROUNDS: Final = 5


@dataclass(frozen=True)
class Poses:
    """image = scale * R @ point + shift: R_T33, scale_T (px per cm), shift_T3 (px; depth with the same scale)."""

    R_T33: F64
    scale_T: F64
    shift_T3: F64

    def apply(self, points_N3: NDArray[Any]) -> F64:
        """Head points, cm, [N, 3] or [T, N, 3] -> px [T, N, 3]."""
        turned = points_N3 @ self.R_T33.transpose(0, 2, 1)
        return np.asarray(self.scale_T[:, None, None] * turned + self.shift_T3[:, None])

    def undo(self, points_TN2: F64, depth_TN: F64) -> F64:
        """Picture points [T, N, 2] px, whose depth (px) is known from elsewhere -> head axes, cm [T, N, 3]."""
        full = np.concatenate([points_TN2, depth_TN[..., None]], -1) - self.shift_T3[:, None]
        return np.asarray(full @ self.R_T33 / self.scale_T[:, None, None])


def first_poses(points_TN3: F64, shape_N3: F64, weight_N: F64) -> Poses:
    """Similarity (Umeyama 1991) of the shape, cm, to the points, px."""
    share = weight_N / weight_N.sum()
    middle_T3 = np.einsum("n,tni->ti", share, points_TN3)
    centre_3 = share @ shape_N3
    a, b = shape_N3 - centre_3, points_TN3 - middle_T3[:, None]
    u, s, vt = np.linalg.svd(np.einsum("n,tni,nj->tij", share, b, a))
    fix = np.ones_like(s)
    fix[:, 2] = np.sign(np.linalg.det(u @ vt))
    R_T33 = np.einsum("tij,tj,tjk->tik", u, fix, vt)
    scale_T = (s * fix).sum(1) / float(share @ (a**2).sum(1))
    return Poses(R_T33, scale_T, middle_T3 - scale_T[:, None] * (R_T33 @ centre_3))


def fit_poses(points_TN3: F64, shape_TN3: F64, bias_N: F64, start: Poses) -> Poses:
    """Gauss-Newton least squares over rotation, scale and shift of every frame.

    points_TN3: px; shape_TN3: cm, the head with each frame's expression; bias_N: cm, what the models' depth differs
    from the shape's in this head (camera axis).
    """
    R_T33, scale_T, shift_T3 = start.R_T33.copy(), start.scale_T.copy(), start.shift_T3.copy()
    axis_3 = np.array([1.0, 1.0, DEPTH_WEIGHT])
    count, points = points_TN3.shape[:2]
    for _ in range(_ROUNDS):
        turned = shape_TN3 @ R_T33.transpose(0, 2, 1)
        offset = (points_TN3 - shift_T3[:, None]) / scale_T[:, None, None] - turned
        offset[..., 2] -= bias_N
        x, y, z = turned[..., 0], turned[..., 1], turned[..., 2]
        zero, one = np.zeros_like(x), np.ones_like(x)
        # d(turned) for a small turn w: w x turned; for log scale: turned; for shift (cm): unit vectors
        columns = [
            (zero, -z, y), (z, zero, -x), (-y, x, zero), (x, y, z),
            (one, zero, zero), (zero, one, zero), (zero, zero, one),
        ]  # fmt: skip
        J = np.stack([np.stack(c, -1) for c in columns], -1) * axis_3[:, None]
        J = J.reshape(count, points * 3, 7)
        r = (offset * axis_3).reshape(count, points * 3)
        transposed = J.transpose(0, 2, 1)
        step = np.linalg.solve(transposed @ J + 1e-9 * np.eye(7), transposed @ r[..., None])[..., 0]
        R_T33 = Rotation.from_rotvec(step[:, :3]).as_matrix() @ R_T33
        shift_T3 = shift_T3 + scale_T[:, None] * step[:, 4:]
        scale_T = scale_T * np.exp(step[:, 3])
        if float(np.abs(step).max()) < 1e-5:
            break
    return Poses(R_T33, scale_T, shift_T3)


def angles(R_T33: F64) -> F64:
    """Yaw, pitch, roll [T, 3] of rotations, radians, in the order and signs of avatar/rig/deform.py `head_pose`:
    R = yaw about y, then pitch about x, then roll about z."""
    R = R_T33
    yaw = np.arctan2(R[:, 0, 2], R[:, 2, 2])
    pitch = np.arcsin(np.clip(-R[:, 1, 2], -1.0, 1.0))
    roll = np.arctan2(R[:, 1, 0], R[:, 1, 1])
    return np.stack([yaw, pitch, roll], 1)
