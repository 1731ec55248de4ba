"""Contact of two lines of skin that may touch but never cross: lips, and lids.

Both functions work on pairs: row i of the upper line meets row i of the lower one. Shapes: L pairs, 3 axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

SLIP = 1.5
"""Lips part along their line by at most this many times their gap, so that they meet point on point."""


def gap(upper_L3: NDArray[Any], lower_L3: NDArray[Any], down_2: F32) -> F32:
    """Signed opening [L] in px along `down_2` (unit, towards the chin); negative = crossed."""
    return np.asarray((lower_L3[:, :2] - upper_L3[:, :2]) @ down_2, np.float32)


def meet(upper_L3: NDArray[Any], lower_L3: NDArray[Any], down_2: F32, seal_L: F32) -> tuple[NDArray[Any], NDArray[Any]]:
    """Bring pairs back into the cone gap >= 0, |slip| <= SLIP * gap; `seal_L` in 0..1 closes them further.

    At seal 1, or where the lines had crossed, both points are equal afterwards. A projection: applying it again
    (with seal 0) changes nothing. Returns new upper and lower lines.
    """
    middle = (upper_L3 + lower_L3) * np.float32(0.5)
    apart = lower_L3 - upper_L3
    opening = np.maximum(apart[:, :2] @ down_2, 0.0) * (1.0 - seal_L)
    slip = apart.copy()
    slip[:, :2] -= (apart[:, :2] @ down_2)[:, None] * down_2
    length = np.sqrt(np.einsum("li,li->l", slip, slip))
    slip *= np.minimum(1.0 - seal_L, SLIP * opening / np.maximum(length, 1e-6))[:, None]
    slip[:, :2] += opening[:, None] * down_2
    half = slip * np.float32(0.5)
    return middle - half, middle + half


def smoothstep(low: float, high: float, x: float) -> float:
    """0 below `low`, 1 above `high`, smooth between."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)
