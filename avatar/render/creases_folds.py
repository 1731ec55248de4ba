"""Which folds a face makes, where they run, and which expressions make them.

A fold runs through MediaPipe landmarks (a point may lie between two of them). Folds that the same muscles make form a
group; a group's drive, 0..1, is a saturating sum of expression channels: the first bit of a smile folds more than the
last. The choice of channels follows the facial action coding system (Ekman and Friesen 1978: zygomatic major -
nasolabial fold, orbicularis oculi - below the eyes and beside them, frontalis - forehead, corrugator - glabella).

Shape suffixes: K = 44 expression channels, G groups, P points of a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.rig import basis

F32 = NDArray[np.float32]

Point = int | tuple[int, int, float]
"""A landmark, or (a, b, share): between a and b, `share` of the way to b."""


@dataclass(frozen=True)
class Fold:
    """One line on the person's right half of the face (image left) and, unless `middle`, its mirror image."""

    name: str
    line: tuple[Point, ...]
    group: str
    reach: float
    """Face widths on both sides of the line in which the portrait's own fold is looked for."""
    width: float
    """Face widths: standard deviation of the fold across."""
    strength: float
    """How much darker (logarithm) the middle of a new fold gets at drive 1 on average skin."""
    bulge: float = 0.0
    """How much lighter the side of positive normals (see creases.py) gets, as a share of `strength`."""
    own: bool = True
    """Whether the portrait's own fold may be taken away with the expression."""
    many: bool = False
    """Whether the portrait may show several of them side by side."""
    middle: bool = False


FOLDS: Final = (
    Fold(
        "nasolabial",
        ((129, 209, 0.5), (102, 36, 0.15), (203, 36, 0.1), 206, 216, 212),
        "smile", 0.075, 0.0145, 0.20, bulge=0.3,
    ),
    Fold("nasolabial, inner", (203, (206, 92, 0.55), (216, 186, 0.7), (57, 61, 0.5)), "smile", 0.04, 0.011, 0.0),
    Fold("cheek", (207, 214, (210, 135, 0.3)), "smile", 0.05, 0.013, 0.0),
    Fold("mouth corner", (186, 57, 43, 106), "smile", 0.04, 0.011, 0.07),
    Fold("under eye", (31, 228, 229, 230, 231, 232), "squint", 0.05, 0.012, 0.12, bulge=0.25, many=True),
    Fold("lower lid", (25, 110, 24, 23, 22, 26), "squint", 0.022, 0.007, 0.08),
    Fold("crow's foot, upper", ((113, 226, 0.5), (124, 35, 0.3)), "squint", 0.022, 0.006, 0.07),
    Fold("crow's foot", ((226, 31, 0.4), 35, (143, 111, 0.2)), "squint", 0.022, 0.006, 0.07),
    Fold("crow's foot, lower", (31, (111, 35, 0.3), (116, 111, 0.5)), "squint", 0.022, 0.006, 0.06),
    Fold(
        "forehead, low",
        ((63, 68, 0.42), (105, 104, 0.45), (66, 69, 0.5), (107, 108, 0.52), (9, 151, 0.5), (336, 337, 0.52),
         (296, 299, 0.5), (334, 333, 0.45), (293, 298, 0.42)),
        "raise", 0.045, 0.009, 0.11, middle=True,
    ),
    Fold(
        "forehead, middle",
        ((68, 104, 0.3), 104, 69, 108, (151, 10, 0.06), 337, 299, 333, (298, 333, 0.3)),
        "raise", 0.045, 0.009, 0.12, middle=True,
    ),
    Fold(
        "forehead, high",
        ((104, 103, 0.5), (69, 67, 0.5), (108, 109, 0.5), (151, 10, 0.52), (337, 338, 0.5), (299, 297, 0.5),
         (333, 332, 0.5)),
        "raise", 0.045, 0.009, 0.08, middle=True,
    ),
    Fold("glabella", ((9, 107, 0.42), (8, 55, 0.45), (168, 193, 0.5)), "frown", 0.04, 0.009, 0.20),
    Fold("nose root", (193, 168, 417), "sneer", 0.03, 0.010, 0.14, middle=True),
    Fold("nose side", ((193, 122, 0.5), (196, 174, 0.4), (3, 236, 0.6)), "sneer", 0.025, 0.009, 0.09),
    Fold("chin", (182, (83, 18, 0.0), 18, 313, 406), "chin", 0.03, 0.022, 0.10, own=False, middle=True),
)  # fmt: skip

_SIDED: Final = {
    "smile": {"mouthSmile": 1.5, "mouthDimple": 0.7, "mouthStretch": 0.45, "mouthUpperUp": 0.5, "noseSneer": 0.7,
              "cheekSquint": 0.25},
    "squint": {"cheekSquint": 1.3, "eyeSquint": 0.8, "mouthSmile": 0.7},
}  # fmt: skip
_MIDDLE: Final = {
    "raise": {"browInnerUp": 1.0, "browOuterUpLeft": 0.5, "browOuterUpRight": 0.5},
    "frown": {"browDownLeft": 0.75, "browDownRight": 0.75},
    "sneer": {"noseSneerLeft": 0.8, "noseSneerRight": 0.8},
    "chin": {"mouthShrugLower": 1.4, "mouthRollLower": 0.4, "mouthFrownLeft": 0.4, "mouthFrownRight": 0.4,
             "mouthPressLeft": 0.15, "mouthPressRight": 0.15},
}  # fmt: skip


def _groups() -> dict[str, dict[str, float]]:
    sided = {
        name + side: {channel + side: share for channel, share in channels.items()}
        for name, channels in _SIDED.items()
        for side in ("Right", "Left")
    }
    return {**sided, **_MIDDLE}


GROUPS: Final[Mapping[str, Mapping[str, float]]] = _groups()
"""Group -> channels with their shares; a name without a side drives folds across the middle or on both halves."""


def drive_matrix() -> F32:
    """Shares of the channels in each group's drive, float32 [G, K]."""
    matrix = np.zeros((len(GROUPS), EXPRESSION_DIM), np.float32)
    for row, channels in zip(matrix, GROUPS.values(), strict=True):
        for channel, share in channels.items():
            row[INDEX[channel]] = share
    return matrix


def drives(matrix_GK: F32, channels_K: NDArray[Any]) -> F32:
    """How strongly each group's muscles pull, float32 [G] in 0..1: 1 - exp(-shares . channels)."""
    return np.asarray(1.0 - np.exp(-(matrix_GK @ np.asarray(channels_K, np.float32))), np.float32)


def lines(fold: Fold, landmarks_N2: NDArray[Any]) -> list[tuple[int, NDArray[Any]]]:
    """(group number, points [P, 2]) of a fold: one line across the middle, or one per half of the face.

    landmarks_N2: where the landmarks are, px. A mirrored line has its points in the same order (its normals point
    to the same side of the anatomy once their sign is turned).
    """
    names = list(GROUPS)
    if fold.middle:
        return [(names.index(fold.group), _place(fold.line, landmarks_N2, None))]
    mirror = basis.load().topology.mirror_V
    return [
        (names.index(fold.group + side if fold.group in _SIDED else fold.group), _place(fold.line, landmarks_N2, to))
        for side, to in (("Right", None), ("Left", mirror))
    ]


def _place(line: tuple[Point, ...], landmarks_N2: NDArray[Any], mirror_V: NDArray[Any] | None) -> NDArray[Any]:
    def at(landmark: int) -> NDArray[Any]:
        return np.asarray(landmarks_N2[landmark if mirror_V is None else int(mirror_V[landmark])], np.float64)

    return np.stack([at(p) if isinstance(p, int) else at(p[0]) + p[2] * (at(p[1]) - at(p[0])) for p in line])


def resample(points_P2: NDArray[Any], count: int) -> NDArray[Any]:
    """`count` points at even distances along a Catmull-Rom curve through the given ones; [count, 2]."""
    padded = np.concatenate([2 * points_P2[:1] - points_P2[1:2], points_P2, 2 * points_P2[-1:] - points_P2[-2:-1]])
    t = np.linspace(0.0, 1.0, 16, endpoint=False)[:, None]
    pieces = []
    for (a, b), (before, after) in zip(pairwise(padded[1:-1]), zip(padded[:-3], padded[3:], strict=True), strict=True):
        m0, m1 = (b - before) / 2, (after - a) / 2
        pieces.append(
            (2 * t**3 - 3 * t**2 + 1) * a + (t**3 - 2 * t**2 + t) * m0 + (3 * t**2 - 2 * t**3) * b + (t**3 - t**2) * m1
        )
    curve = np.concatenate([*pieces, points_P2[-1:]])
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))]
    even = np.linspace(0.0, length[-1], count)
    return np.stack([np.interp(even, length, curve[:, c]) for c in range(2)], -1)
