"""Where a portrait that shows teeth has its upper row: the biting edge, found in the picture.

The modelled edge is projected into the portrait and slid up and down, flatter and rounder, until what lies above it is
tooth and what lies below is darker. Where lower teeth show too there are two such lines: the upper one counts.

Shape suffixes: H x W pixels, N places along the edge, P vertices of the mouth's inside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.rig.mouth import UPPER, build_mouth
from avatar.rig.types import MouthGeometry, Part

if TYPE_CHECKING:
    from avatar.rig.fit import Pose

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

LUMA: Final = np.array([0.299, 0.587, 0.114])
CM_PER_FACE: Final = 1 / 14.0
"""Face widths per centimetre of the average head."""
SEARCH_CM: Final = 0.75
"""How far from the model the edge is looked for."""
MOVE_CM: Final = 0.25
"""How far the modelled teeth move after it: a smile's lips, taken back, are only guessed."""
FRONT_CM: Final = 1.9
"""Arc length of the front teeth on either side."""
SHOWN_SHARE: Final = 0.35
"""Share of the places along the edge that must have tooth above them."""
DROP: Final = 0.045
"""Least mean fall of brightness over the edge, of the teeth's own."""


@dataclass(frozen=True)
class OwnTeeth:
    """Teeth seen in a portrait."""

    shift: float
    """px along the face's down direction from the modelled edge to the seen one."""
    bend: float
    """px that the seen row's ends lie lower than a shifted model's, at FRONT_CM from the middle."""
    white_3: F64
    """Median colour of the seen teeth, sRGB 0..255."""


def tooth_mask(rgb_HW3: NDArray[np.uint8], ring_M2: NDArray[Any], face_width: float) -> tuple[F32, F64]:
    """How much each pixel looks like tooth, 0..1 [H, W], and the median colour of those that surely do.

    Tooth is the palest of what the opening shows: bright, and less red than the lips. All 0 where nothing is.
    """
    count = len(ring_M2)
    height = np.abs((ring_M2 - ring_M2[(-np.arange(count)) % count])[:, 1]).max()
    inside = np.zeros(rgb_HW3.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(ring_M2 * 16).astype(np.int32)], 1, shift=4)
    none = np.zeros(rgb_HW3.shape[:2], np.float32), np.zeros(3)
    if height < 0.025 * face_width or inside.sum() < 30:
        return none
    rgb = cv2.GaussianBlur(rgb_HW3, (0, 0), 0.5).astype(np.float64)
    luma = rgb @ LUMA
    red = (rgb[..., 0] - rgb[..., 1]) / np.maximum(luma, 1.0)
    reach = max(1, round(0.012 * face_width))
    around = cv2.dilate(inside, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    core = inside > 0
    pale = core & (red <= np.quantile(red[core], 0.5)) & (luma >= np.quantile(luma[core], 0.5))
    if pale.sum() < 12:
        return none
    white = np.median(rgb[pale], axis=0)
    white_luma, white_red = float(white @ LUMA), float(np.median(red[pale]))
    lip = cv2.dilate(inside, np.ones((4 * reach + 1, 4 * reach + 1), np.uint8)) - around.astype(np.uint8)
    lip_red, lip_luma = float(np.median(red[lip > 0])), float(np.median(luma[lip > 0]))
    if lip_red - white_red < 0.06 and white_luma < 1.25 * lip_luma:
        return none  # nothing there is paler than the lips
    slack = max(0.5 * (lip_red - white_red), 0.06)
    looks = np.clip((white_red + slack - red) / (0.5 * slack), 0, 1) * np.clip((luma / white_luma - 0.52) / 0.16, 0, 1)
    looks = np.asarray(looks * around, np.float32)
    sure = looks > 0.9
    return looks, np.median(rgb[sure], axis=0) if sure.sum() >= 12 else white


def find_teeth(
    rgb_HW3: NDArray[np.uint8], mouth: MouthGeometry, ring_M2: NDArray[Any], down_2: NDArray[Any], face_width: float
) -> OwnTeeth | None:
    """Find the upper row's edge in a portrait; None where the lips hide it. ring_M2: the opening, px."""
    looks, white = tooth_mask(rgb_HW3, ring_M2, face_width)
    if looks.max() < 0.5:
        return None
    cm = face_width * CM_PER_FACE
    edge, along = front_edge(mouth)
    luma = cv2.GaussianBlur(rgb_HW3, (0, 0), 0.6).astype(np.float64) @ LUMA
    bright = float(white @ LUMA)
    curve = (along / FRONT_CM) ** 2
    shifts = np.arange(-SEARCH_CM * cm, SEARCH_CM * cm + 0.1, 0.5)
    tries: list[tuple[float, float, float]] = []
    for bend in np.arange(-0.35, 0.36, 0.07) * cm:
        at = edge + (bend * curve)[:, None] * down_2 + shifts[:, None, None] * down_2  # [shifts, N, 2]
        tooth = _look(looks, at - 0.12 * cm * down_2)
        above = _look(luma, at - 0.10 * cm * down_2)
        below = np.minimum(_look(luma, at + 0.05 * cm * down_2), _look(luma, at + 0.10 * cm * down_2))
        fall = np.clip((above - below) / bright, -0.1, 0.2) * tooth
        score = fall.mean(1) + 0.025 * (fall > 0).mean(1)
        enough = (tooth > 0.5).mean(1) >= SHOWN_SHARE
        tries += [(float(score[k]), float(shifts[k]), float(bend)) for k in np.flatnonzero(enough & (score > DROP))]
    if not tries:
        return None
    top = max(score for score, _, _ in tries)
    peak = (0.0, 0.0, 0.0)
    for shift in sorted({shift for score, shift, _ in tries if score > 0.4 * top}):  # downwards: the first line counts
        best = max(entry for entry in tries if entry[1] == shift)
        if best[0] < 0.75 * peak[0]:
            break
        peak = max(peak, best)
    return OwnTeeth(peak[1], peak[2], white)


def front_edge(mouth: MouthGeometry) -> tuple[F64, F64]:
    """px (x, y) [N, 2] of the upper front teeth's biting edge, and arc length (cm) from the middle [N]."""
    rows = np.flatnonzero((mouth.part_P == Part.TEETH_UPPER) & (mouth.uv_P2[:, 1] == 1.0))
    along = (mouth.uv_P2[rows, 0].astype(np.float64) * 2 - 1) * UPPER.half_length
    front = np.abs(along) <= FRONT_CM
    return mouth.vertices_P3[rows[front], :2].astype(np.float64), along[front]


def move_teeth(mouth: MouthGeometry, own: OwnTeeth, down_2: NDArray[Any], face_width: float) -> MouthGeometry:
    """Both rows and the tongue go along with the seen edge, within MOVE_CM."""
    limit = MOVE_CM * face_width * CM_PER_FACE
    shift = float(np.clip(own.shift, -limit, limit))
    teeth = np.isin(mouth.part_P, [Part.TEETH_UPPER, Part.TEETH_LOWER])
    along = (mouth.uv_P2[:, 0] * 2 - 1) * UPPER.half_length
    curve = np.minimum((along / FRONT_CM) ** 2, 2.5) * np.clip(own.bend, -0.5 * limit, 0.5 * limit)
    vertices = mouth.vertices_P3.copy()
    vertices[teeth, :2] += curve[teeth, None] * down_2
    vertices[teeth | (mouth.part_P == Part.TONGUE), :2] += shift * down_2
    return replace(mouth, vertices_P3=vertices.astype(np.float32))


def lower_teeth_hidden() -> F64:
    """How much lower (face widths) the lower row and the tongue lie at full weight of each channel [K].

    Rounded lips and a lower lip that is rolled in stand before the lower teeth; the kit's open them instead.
    """
    out = np.zeros(EXPRESSION_DIM)
    for name, centimetres in (("mouthPucker", 0.45), ("mouthFunnel", 0.3), ("mouthRollLower", 0.3)):
        out[INDEX[name]] = centimetres * CM_PER_FACE
    return out


def fit_mouth(
    pose: Pose,
    neutral_V3: F64,
    rgb_HW3: NDArray[np.uint8],
    ring_M2: NDArray[Any],
    down_2: NDArray[Any],
    face_width: float,
) -> MouthGeometry:
    """The mouth's inside for a fitted head, with the teeth where a portrait with open lips (`ring_M2`) shows them."""
    mouth = build_mouth(pose, neutral_V3)
    own = find_teeth(rgb_HW3, mouth, ring_M2, down_2, face_width)
    return mouth if own is None else move_teeth(mouth, own, down_2, face_width)


def _look(picture_HW: NDArray[Any], at_SN2: NDArray[Any]) -> F64:
    """Bilinear look-up [S, N] at px positions."""
    x, y = (np.ascontiguousarray(at_SN2[..., axis], np.float32) for axis in (0, 1))
    found = cv2.remap(np.asarray(picture_HW, np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float64)
