"""What colour the person is where hair is half transparent, so that the cut-out sits on any background.

After Germer, Uelwer, Conrad, Harmeling: Fast Multi-Level Foreground Estimation, ICPR 2020: the colours F and B of
person and background with I = a F + (1 - a) B that are smooth where opacity a is, found from coarse to fine.

Shape suffixes: H x W frame pixels.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

STIFFNESS: Final = 2e-3
"""Weight of smoothness against the compositing equation, where opacity is even."""
EDGE: Final = 0.3
"""The same per unit of change in opacity."""
ROUNDS: Final = (12, 3)
"""Sweeps on levels up to 32 px wide, and on larger ones."""


def rim_colours(rgb_HW3: U8, alpha_HW: F32) -> tuple[F32, F32]:
    """Person's and background's colours everywhere; two float32 [H, W, 3], 0..255. alpha_HW: 0..1."""
    picture = rgb_HW3.astype(np.float32)
    height, width = alpha_HW.shape
    front = np.broadcast_to(picture.mean((0, 1)), (1, 1, 3)).astype(np.float32)
    back = front.copy()
    levels = int(np.ceil(np.log2(max(height, width))))
    for level in range(1, levels + 1):
        size = (max(2, round(width * 2.0 ** (level - levels))), max(2, round(height * 2.0 ** (level - levels))))
        # whole pixels are picked, not averaged: means mix the two colours before they are told apart
        small = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
        alpha = cv2.resize(np.asarray(alpha_HW, np.float32), size, interpolation=cv2.INTER_NEAREST)
        front = np.ascontiguousarray(cv2.resize(front, size, interpolation=cv2.INTER_NEAREST), np.float32)
        back = np.ascontiguousarray(cv2.resize(back, size, interpolation=cv2.INTER_NEAREST), np.float32)
        for _ in range(ROUNDS[0] if max(size) <= 32 else ROUNDS[1]):
            _sweep(np.asarray(small, np.float32), np.asarray(alpha, np.float32), front, back)
    return front, back


@njit(cache=True, nogil=True, error_model="numpy")
def _sweep(picture: F32, alpha: F32, front: F32, back: F32) -> None:
    """One Gauss-Seidel pass, in place: each pixel's two colours from its own mixture and its four neighbours."""
    height, width = alpha.shape
    for y in range(height):
        for x in range(width):
            a = alpha[y, x]
            weights = np.float32(0.0)
            f0 = f1 = f2 = b0 = b1 = b2 = np.float32(0.0)
            for side in range(4):
                j = y + (side == 0) - (side == 1)
                i = x + (side == 2) - (side == 3)
                if j < 0 or i < 0 or j >= height or i >= width:
                    continue
                w = np.float32(STIFFNESS) + np.float32(EDGE) * abs(a - alpha[j, i])
                weights += w
                f0 += w * front[j, i, 0]
                f1 += w * front[j, i, 1]
                f2 += w * front[j, i, 2]
                b0 += w * back[j, i, 0]
                b1 += w * back[j, i, 1]
                b2 += w * back[j, i, 2]
            r = np.float32(1.0) - a
            m00, m01, m11 = a * a + weights, a * r, r * r + weights
            scale = np.float32(1.0) / (m00 * m11 - m01 * m01)
            for c in range(3):
                f = (f0, f1, f2)[c] + a * picture[y, x, c]
                b = (b0, b1, b2)[c] + r * picture[y, x, c]
                front[y, x, c] = min(max((m11 * f - m01 * b) * scale, np.float32(0.0)), np.float32(255.0))
                back[y, x, c] = min(max((m00 * b - m01 * f) * scale, np.float32(0.0)), np.float32(255.0))
