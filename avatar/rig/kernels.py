"""The compiled inner loops of a frame: one thread, no allocation beyond the result, the same answer every time.

numpy's own matrix products would wake a thread pool for these small sizes and fight the rest of the process for cores.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@njit(cache=True)
def blend(
    neutral_V3: F32, shared_KV3: F32, turn_33: F32, own_rows_N: NDArray[np.int32], own_KN3: F32, weights_K: F32
) -> F32:
    """neutral + turned sum of weights * shared channels + the portrait's own; channels at exactly 0 cost nothing."""
    out = np.zeros_like(neutral_V3)
    flat = out.reshape(-1)
    for k in range(len(weights_K)):
        weight = weights_K[k]
        if weight != 0.0:
            channel = shared_KV3[k].reshape(-1)
            for i in range(len(flat)):
                flat[i] += weight * channel[i]
    for i in range(len(out)):
        x, y, z = out[i, 0], out[i, 1], out[i, 2]
        for k in range(3):
            out[i, k] = neutral_V3[i, k] + turn_33[k, 0] * x + turn_33[k, 1] * y + turn_33[k, 2] * z
    for n in range(len(own_rows_N)):
        row = own_rows_N[n]
        for k in range(len(weights_K)):
            weight = weights_K[k]
            if weight != 0.0:
                for i in range(3):
                    out[row, i] += weight * own_KN3[k, n, i]
    return out


@njit(cache=True)
def carry(skin_V3: F32, rows_N: NDArray[np.int32], matrix_NH: F32, moved_H3: F32) -> None:
    """skin[rows] += matrix @ moved, in place."""
    for i in range(len(rows_N)):
        x = np.float32(0.0)
        y = np.float32(0.0)
        z = np.float32(0.0)
        for h in range(matrix_NH.shape[1]):
            share = matrix_NH[i, h]
            x += share * moved_H3[h, 0]
            y += share * moved_H3[h, 1]
            z += share * moved_H3[h, 2]
        row = rows_N[i]
        skin_V3[row, 0] += x
        skin_V3[row, 1] += y
        skin_V3[row, 2] += z


@njit(cache=True)
def move(points_N3: F32, turn_33: F32, shift_3: F32, pivot_3: F32, distance: float, middle: float) -> F32:
    """Undo the perspective, turn and shift about the pivot, project again (deform.move_points)."""
    out = np.empty_like(points_N3)
    px, py = pivot_3[0] - middle, pivot_3[1] - middle
    for i in range(len(points_N3)):
        z = points_N3[i, 2]
        near = 1.0 - z / distance
        x, y = (points_N3[i, 0] - middle) * near - px, (points_N3[i, 1] - middle) * near - py
        z -= pivot_3[2]
        tx = turn_33[0, 0] * x + turn_33[0, 1] * y + turn_33[0, 2] * z + px + shift_3[0]
        ty = turn_33[1, 0] * x + turn_33[1, 1] * y + turn_33[1, 2] * z + py + shift_3[1]
        tz = turn_33[2, 0] * x + turn_33[2, 1] * y + turn_33[2, 2] * z + pivot_3[2] + shift_3[2]
        near = 1.0 - tz / distance
        out[i, 0], out[i, 1], out[i, 2] = tx / near + middle, ty / near + middle, tz
    return out


@njit(cache=True)
def turn(vectors_N3: F32, turn_33: F32) -> F32:
    """Each vector turned by the matrix."""
    out = np.empty_like(vectors_N3)
    for i in range(len(vectors_N3)):
        x, y, z = vectors_N3[i, 0], vectors_N3[i, 1], vectors_N3[i, 2]
        for k in range(3):
            out[i, k] = turn_33[k, 0] * x + turn_33[k, 1] * y + turn_33[k, 2] * z
    return out


@njit(cache=True)
def follow_jaw(
    points_P3: F32, normals_P3: F32, jaw_P: F32, tongue_P3: F32, hold_P: F32, tip: float,
    turn_33: F32, shift_3: F32, hinge_3: F32,
) -> tuple[F32, F32]:  # fmt: skip
    """Points and normals after the tongue's own motion and the jaw's rigid one, blended by jaw_P.

    hold_P: share of the jaw's motion that a raised tongue (tip = 1) does not follow.
    """
    points, normals = np.empty_like(points_P3), np.empty_like(normals_P3)
    for i in range(len(points_P3)):
        x = points_P3[i, 0] + tip * tongue_P3[i, 0]
        y = points_P3[i, 1] + tip * tongue_P3[i, 1]
        z = points_P3[i, 2] + tip * tongue_P3[i, 2]
        dx, dy, dz = x - hinge_3[0], y - hinge_3[1], z - hinge_3[2]
        jaw = jaw_P[i] * (1.0 - tip * hold_P[i])
        for k in range(3):
            moved = turn_33[k, 0] * dx + turn_33[k, 1] * dy + turn_33[k, 2] * dz + hinge_3[k] + shift_3[k]
            own = x if k == 0 else (y if k == 1 else z)
            points[i, k] = own + jaw * (moved - own)
            turned = (
                turn_33[k, 0] * normals_P3[i, 0] + turn_33[k, 1] * normals_P3[i, 1] + turn_33[k, 2] * normals_P3[i, 2]
            )
            normals[i, k] = normals_P3[i, k] + jaw * (turned - normals_P3[i, k])
    return points, normals
