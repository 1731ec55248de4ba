"""How far this portrait's head may move before the picture gives out.

One picture holds no far cheek and no back of the head, and hair that hangs beside the neck is not a part of the head
that turns. Figures: `safe_range`; where they come from: docs/face/portrait.md.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.portrait.landmarks import FACE_OVAL

F32 = NDArray[np.float32]

YAW: Final = 15.0
"""Degrees to either side of the portrait's own pose."""
YAW_CAREFUL: Final = 10.0
"""With hair beside the neck, or a head that is already turned by more than TURNED."""
PITCH: Final = 10.0
ROLL: Final = 10.0
TURNED: Final = 10.0
ABSOLUTE_YAW: Final = 25.0
ABSOLUTE_PITCH: Final = 22.0
ABSOLUTE_ROLL: Final = 25.0
"""Degrees from facing the camera upright, the portrait's own pose included."""
_FULL: Final = 0.9
_HALF: Final = 0.6
_ROWS: Final = 12
_COLUMNS: Final = 8


def safe_range(pose_deg_3: NDArray[Any], hair: bool) -> F32:
    """Lowest and highest yaw, pitch, roll [2, 3] in radians, relative to the portrait's own pose.

    pose_deg_3: the portrait's yaw, pitch, roll in degrees (signs as in motion/space.py). hair: long hair or cloth hangs
    beside the neck. The portrait's own pose (0) is always inside.
    """
    careful = hair or abs(float(pose_deg_3[0])) > TURNED
    most = np.array([YAW_CAREFUL if careful else YAW, PITCH, ROLL])
    absolute = np.array([ABSOLUTE_YAW, ABSOLUTE_PITCH, ABSOLUTE_ROLL])
    own = np.asarray(pose_deg_3, np.float64)
    high = np.clip(np.minimum(most, absolute - own), 0.0, None)
    low = np.clip(np.maximum(-most, -absolute - own), None, 0.0)
    return np.asarray(np.radians(np.stack([low, high])), np.float32)


def has_long_hair(matte_HW: F32, landmarks_N3: F32) -> bool:
    """Whether hair (or a veil) hangs beside the jaw: see `beside_jaw`."""
    shares = beside_jaw(matte_HW, landmarks_N3)
    return bool(shares.max() >= _FULL and shares.min() >= _HALF)


def beside_jaw(matte_HW: F32, landmarks_N3: F32) -> F32:
    """Share [2] of the strip beside the jaw, from nose to chin, that belongs to the person; image left, image right.

    matte_HW: 0..1; landmarks_N3: [468, 3] px. The strip lies 0.06 to 0.2 face widths outside the face's outline. Short
    hair leaves it to the background; shoulders begin below it.
    """
    points = landmarks_N3[:, :2].astype(np.float64)
    width = max(float(np.linalg.norm(points[454] - points[234])), 1.0)
    across = (points[454] - points[234]) / width
    down = np.array([-across[1], across[0]])
    middle = (points[234] + points[454]) / 2
    oval = points[list(FACE_OVAL)] - middle
    along, height = oval @ across, oval @ down
    top, bottom = float((points[2] - middle) @ down), float((points[152] - middle) @ down)
    shares = []
    for side in (-1.0, 1.0):
        values = []
        for y in np.linspace(top, bottom - 0.1 * (bottom - top), _ROWS):
            near = np.abs(height - y) < 0.1 * width
            edge = max(float((side * along[near]).max(initial=0.0)), 0.3 * width)
            x = edge + width * np.linspace(0.06, 0.2, _COLUMNS)
            places = np.rint(middle + side * x[:, None] * across + y * down).astype(int)
            inside = ((places >= 0) & (places < matte_HW.shape[::-1])).all(1)
            values.append(matte_HW[places[inside, 1], places[inside, 0]])
        strip = np.concatenate(values)
        shares.append(float(strip.mean()) if len(strip) else 0.0)
    return np.array(shares, np.float32)
