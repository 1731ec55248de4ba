"""The motion space: 52 numbers per frame at 25 fps.

0-42   ARKit blendshape weights in 0..1 (the 52 of ARKit without the eight eyeLook* and tongueOut)
43     tongue height, 0 (low) .. 1 (tip at the upper teeth)
44-46  head yaw, pitch, roll in radians, relative to the portrait's own pose. Positive yaw turns the
       face towards image right, positive pitch tips it up, positive roll tips the crown towards image right.
47-48  head shift tx, ty as a fraction of the face width (x right, y down)
49     natural log of the head's scale (distance): > 0 is nearer
50-51  gaze azimuth, elevation in radians relative to the visitor (0, 0 looks into the camera);
       positive azimuth looks towards image right, positive elevation up

"Left" and "right" in ARKit names are the person's own.
Shape suffixes: D = 52, T = frames, K = 44 expression channels.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

ARKIT_NAMES: Final[tuple[str, ...]] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
"""The 43 ARKit shapes, in ARKit's own order."""

NAMES: Final[tuple[str, ...]] = (
    *ARKIT_NAMES, "tongueHeight",
    "headYaw", "headPitch", "headRoll", "headX", "headY", "headLogScale",
    "gazeAzimuth", "gazeElevation",
)  # fmt: skip

DIM: Final = len(NAMES)
EXPRESSION_DIM: Final = len(ARKIT_NAMES) + 1
INDEX: Final[dict[str, int]] = {name: i for i, name in enumerate(NAMES)}

HEAD: Final = slice(INDEX["headYaw"], INDEX["headLogScale"] + 1)
GAZE: Final = slice(INDEX["gazeAzimuth"], INDEX["gazeElevation"] + 1)

_DEG = np.pi / 180.0
LOW_D: Final[NDArray[np.float32]] = np.array(
    [0.0] * EXPRESSION_DIM + [-15 * _DEG, -10 * _DEG, -10 * _DEG, -0.25, -0.25, -0.25] + [-20 * _DEG, -12 * _DEG],
    dtype=np.float32,
)
HIGH_D: Final[NDArray[np.float32]] = np.array(
    [1.0] * EXPRESSION_DIM + [15 * _DEG, 10 * _DEG, 10 * _DEG, 0.25, 0.25, 0.25] + [20 * _DEG, 12 * _DEG],
    dtype=np.float32,
)
HIGH_D[INDEX["jawOpen"]] = 0.6


def neutral() -> NDArray[np.float32]:
    """The face at rest, looking at the visitor: zeros, float32 [52]."""
    return np.zeros(DIM, dtype=np.float32)


def clamp(motion_TD: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Bring motion into the safe range (design figures for one-portrait rigs).

    motion_TD: numbers [..., 52] of any float type; NaN becomes the neutral value.
    Returns the clamped copy and how many numbers had to be changed.
    """
    with np.errstate(over="ignore"):  # a number too large for 32 bits is infinite, and so clamped
        motion_TD = np.asarray(motion_TD, np.float32)
    clean_TD = np.nan_to_num(motion_TD, nan=0.0, posinf=1e9, neginf=-1e9)
    clamped_TD = np.clip(clean_TD, LOW_D, HIGH_D)
    changed = int(np.count_nonzero(clamped_TD != motion_TD))
    return clamped_TD, changed
