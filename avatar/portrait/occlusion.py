"""Are eyes, nose and mouth really to be seen, or is something in front of them?

The landmark model puts a complete face on whatever it is given, also on a mask or dark glasses. So each part is asked
for what only the part itself shows: an eye has dark and bright next to each other, a nose has nostrils, lips differ in
colour or lightness from the skin around them. Everything is relative to the lightness of this face's skin, so that
dark and light skin, dim and bright pictures are judged alike. Measured on painted occluders: docs/face/portrait.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.portrait.landmarks import LIDS

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

EYE: Final = 0.185
"""Range of lightness within the lids / lightness of the skin, below which there is no eye to be seen."""
NOSE: Final = 0.1
"""How much darker than the tip the nostrils are / lightness of the skin."""
LIPS: Final = 0.0215
"""Difference of lips and skin / lightness of the skin; where there is no colour (black and white, dark beards), the
range of lightness within the mouth counts for a tenth of itself: its line is dark, its teeth are bright."""
_SIZE: Final = 96
_FACE: Final = 0.8
"""Share of the measured picture's height that the face fills."""
_EYE_RINGS: Final = tuple(
    tuple(lids[i] for i in (0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 14, 13, 12, 11, 10, 9)) for lids in LIDS
)
OUTER_LIPS: Final = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
INNER_LIPS: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
_NOSTRILS: Final = (98, 327)
_SKIN: Final = (50, 280, 5, 151, 205, 425, 195, 108, 337)
"""Cheeks, nose and forehead: the median over them survives something in front of a few."""


@dataclass(frozen=True)
class Visibility:
    """How clearly each part shows, relative to the lightness of the skin. eye_2: the person's right, left."""

    eye_2: tuple[float, float]
    nose: float
    lips: float

    @property
    def hidden(self) -> tuple[str, ...]:
        """Parts that cannot be made out: "eye right", "eye left" (the person's), "nose", "mouth"."""
        parts = {
            "eye right": self.eye_2[0] < EYE,
            "eye left": self.eye_2[1] < EYE,
            "nose": self.nose < NOSE,
            "mouth": self.lips < LIPS,
        }
        return tuple(name for name, missing in parts.items() if missing)

    @property
    def least(self) -> float:
        """The least clear part, 1 = just clear enough."""
        return min(*(eye / EYE for eye in self.eye_2), self.nose / NOSE, self.lips / LIPS)


def visibility(rgb_HW3: U8, landmarks_N3: F32) -> Visibility:
    """Ask each part for its own signs. rgb_HW3: uint8 RGB; landmarks_N3: [468, 3] px in it."""
    M_23 = _upright(landmarks_N3[:, :2].astype(np.float64))
    shrink = float(np.sqrt(abs(np.linalg.det(M_23[:, :2]))))
    smooth = cv2.GaussianBlur(rgb_HW3, (0, 0), max(0.5, 0.5 / shrink))  # as the small picture would show it
    small = cv2.warpAffine(smooth, M_23, (_SIZE, _SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    points = landmarks_N3[:, :2] @ M_23[:, :2].T + M_23[:, 2]
    lab = np.asarray(cv2.cvtColor(small.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB), np.float32)
    skin = max(float(np.median([np.median(_patch(lab, points[i], 2, 2)[:, 0]) for i in _SKIN])), 3.0)
    eyes = []
    for ring in _EYE_RINGS:
        inside = lab[_ring(points, ring, 0)][:, 0]
        eyes.append(float(np.ptp(np.percentile(inside, [8, 92]))) / skin if len(inside) else 0.0)
    nostrils = np.mean([np.percentile(_patch(lab, points[i], 4, 3)[:, 0], 8) for i in _NOSTRILS])
    nose = float(np.median(_patch(lab, points[4], 3, 2)[:, 0]) - nostrils) / skin
    lips = _ring(points, OUTER_LIPS, 0) & ~_ring(points, INNER_LIPS, 0)
    around = _ring(points, OUTER_LIPS, 5) & ~_ring(points, OUTER_LIPS, 2)
    apart = np.median(lab[lips], 0) - np.median(lab[around], 0) if lips.any() and around.any() else np.zeros(3)
    mouth = lab[_ring(points, OUTER_LIPS, 0)][:, 0]
    within = float(np.ptp(np.percentile(mouth, [5, 95]))) if len(mouth) else 0.0
    return Visibility((eyes[0], eyes[1]), nose, max(float(np.hypot(apart[1], 0.5 * apart[0])), 0.1 * within) / skin)


def _upright(points_N2: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2, 3]: picture -> the face upright in the middle of the measured square."""
    across = points_N2[454] - points_N2[234]
    across /= max(float(np.hypot(*across)), 1e-6)
    down = np.array([-across[1], across[0]])
    zoom = _FACE * _SIZE / max(float((points_N2[152] - points_N2[10]) @ down), 1.0)
    turn = np.stack([across, down]) * zoom
    return np.column_stack([turn, _SIZE / 2 - turn @ ((points_N2[10] + points_N2[152]) / 2)])


def _ring(points_N2: NDArray[np.floating], indices: tuple[int, ...], grow: int) -> NDArray[np.bool_]:
    mask = np.zeros((_SIZE, _SIZE), np.uint8)
    cv2.fillPoly(mask, [np.rint(points_N2[list(indices)]).astype(np.int32)], 1)
    return np.asarray(cv2.dilate(mask, np.ones((2 * grow + 1, 2 * grow + 1), np.uint8)) > 0)


def _patch(lab: F32, place_2: NDArray[np.floating], half_width: int, half_height: int) -> F32:
    """The pixels [N, 3] around a place."""
    x, y = (int(np.clip(round(float(v)), 0, _SIZE - 1)) for v in place_2)
    rows = slice(max(0, y - half_height), y + half_height + 1)
    return np.asarray(lab[rows, max(0, x - half_width) : x + half_width + 1].reshape(-1, 3))
