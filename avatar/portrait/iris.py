"""The limbus, where iris meets white, found in the pixels themselves.

The iris model is right to about one pixel of its 64 x 64 input, some 4 % of the eye's width: visible as a squint when
the iris is redrawn. Daugman's integro-differential operator (IEEE TPAMI 1993) settles the rest: of all circles near
the model's, take the one across whose left and right arcs the picture brightens most. Arcs hidden by the lids are
left out, reflections count no more than any other edge, and each eye has a say in the other's radius.

Shape suffixes: C candidate centres, R candidate radii, A angles.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

LID_RING: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 14, 13, 12, 11, 10, 9)
"""Of the 71 eye contour points: along the lower lid to the other corner, back along the upper lid."""
_EYE_PX: Final = 96
"""Width of an eye in the working crop, px."""
_REACH: Final = 0.4
"""Search range of the centre, sideways, in radii."""
_REACH_UP: Final = 0.12
"""The same up and down, where lids hide the edge and the model knows better."""
_SHARED: Final = 0.7
"""Weight of the other eye's edge in the choice of the radius."""
_STEPS: Final = 17
_RADII: Final = np.linspace(0.84, 1.32, 25)
"""Search range of the radius / the model's, which errs to the small side."""
_LARGER: Final = 0.32
_SMALLER: Final = 0.14
"""How much larger and smaller than the model's the radius may be; inner rings and pupils have edges, too."""
_MIN_WIDTH: Final = 10.0
"""Eyes narrower than this (px) are left to the model."""
_EDGE: Final = 10.0
"""Rise of brightness that counts as half an edge, of 255."""
_ARC: Final = np.radians([*range(-36, 61, 6)])
"""Angles above (-) and below (+) the horizontal, on both sides."""
_PRIOR: Final = 0.3
"""What a circle at the end of the search range loses, as a share of the best edge."""
_MIN_EDGE: Final = 0.12
_GLARE: Final = 0.45
"""Half the width (in radii) under which a bright spot in the iris is a reflection."""
_GLARE_WITHIN: Final = 0.9
"""Radii from the iris' middle in which reflections are looked for: beyond, narrow whites look alike."""


def refine_irises(rgb_HW3: U8, iris_2K3: F64, lids_2K3: F64) -> F64:
    """Both irises [2, 5, 3] moved and scaled onto the limbus, px; unchanged where the picture does not show one.

    lids_2K3: at least the 16 contour points of each eye.
    """
    radius_2 = np.linalg.norm(iris_2K3[:, 1:, :2] - iris_2K3[:, :1, :2], axis=2).mean(1)
    width_2 = np.linalg.norm(lids_2K3[:, 0, :2] - lids_2K3[:, 8, :2], axis=1)
    if width_2.min() < _MIN_WIDTH:
        return iris_2K3
    alike = 0.75 < radius_2[0] / radius_2[1] < 1.33
    base_2 = np.full(2, radius_2.mean()) if alike else radius_2
    scores, shifts = [], []
    for eye in (0, 1):
        score_CR, shift_C2 = _scores(rgb_HW3, iris_2K3[eye, 0, :2], base_2[eye], lids_2K3[eye], width_2[eye])
        scores.append(score_CR)
        shifts.append(shift_C2)
    edge_2R = np.stack([np.maximum(score_CR.max(0), 0) for score_CR in scores])
    size_2 = (edge_2R + (_SHARED if alike else 0.0) * edge_2R[::-1]).argmax(1)
    refined = iris_2K3.copy()
    for eye in (0, 1):
        column_C = scores[eye][:, size_2[eye]]
        best = int(column_C.argmax())
        if column_C[best] < _MIN_EDGE:
            continue
        centre = iris_2K3[eye, 0, :2]
        grow = base_2[eye] * _RADII[size_2[eye]] / radius_2[eye]
        refined[eye, :, :2] = centre + shifts[eye][best] + (iris_2K3[eye, :, :2] - centre) * grow
    return refined


def _scores(rgb_HW3: U8, centre_2: F64, radius: float, lids_K3: F64, width: float) -> tuple[F64, F64]:
    """How clear the edge is along each candidate circle [C, R], about -1..1, and the centres' shifts in px [C, 2]."""
    zoom = _EYE_PX / width
    side = int(2.2 * _EYE_PX)
    M_23 = np.array([[1 / zoom, 0, centre_2[0]], [0, 1 / zoom, centre_2[1]]])
    M_23[:, 2] -= (side - 1) / 2 / zoom
    crop_HW3 = cv2.warpAffine(
        rgb_HW3, M_23, (side, side), flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    # without red, in which bright skin and brown irises look alike
    light_HW = _without_glare(crop_HW3[..., 1:].astype(np.float32).mean(-1), zoom * radius)
    light_HW = np.asarray(cv2.GaussianBlur(light_HW, (0, 0), 1.5), np.float32)
    open_HW = np.zeros((side, side), np.float32)
    lids = (lids_K3[list(LID_RING), :2] - M_23[:, 2]) * zoom
    cv2.fillPoly(open_HW, [np.rint(lids * 16).astype(np.int32)], 1.0, cv2.LINE_AA, shift=4)

    reach = np.linspace(-_REACH, _REACH, _STEPS)
    shift_C2 = (
        np.stack([grid.ravel() for grid in np.meshgrid(reach, np.linspace(-_REACH_UP, _REACH_UP, 5))], 1) * radius
    )
    angles_A = np.concatenate([_ARC, np.pi - _ARC])
    circle_A2 = np.stack([np.cos(angles_A), np.sin(angles_A)], 1)
    rings_R = np.concatenate([_RADII - 0.07, _RADII + 0.07])  # just inside, just outside
    points = (side - 1) / 2 + zoom * (
        shift_C2[:, None, None] + radius * rings_R[:, None, None] * circle_A2
    )  # [C, 2R, A, 2]
    light, seen = _look_up(light_HW, points), _look_up(open_HW, points)
    half, arc = len(_RADII), len(_ARC)
    rise = light[:, half:] - light[:, :half]
    edge = rise / (np.abs(rise) + _EDGE)
    weight = np.minimum(seen[:, half:], seen[:, :half])
    value = np.zeros(edge.shape[:2])
    for part in (slice(0, arc), slice(arc, 2 * arc)):
        total = weight[..., part].sum(-1)
        # a side of which little is seen says little; dividing by at least five arcs keeps it quiet
        value += (edge[..., part] * weight[..., part]).sum(-1) / np.maximum(total, 5.0) / 2
    far_C = ((shift_C2 / radius / [_REACH, _REACH_UP]) ** 2).sum(1)
    far = far_C[:, None] + ((_RADII - 1) / np.where(_RADII > 1, _LARGER, _SMALLER)) ** 2
    return value - _PRIOR * np.maximum(value.max(), 0) * far / 2, shift_C2


def _without_glare(light_HW: F32, radius: float) -> F32:
    """Small bright spots well inside the model's iris (its middle is the crop's) are reflections: their edges are
    sharper than the limbus and would draw the circle in."""
    side = light_HW.shape[0]
    yy, xx = np.mgrid[:side, :side] - (side - 1) / 2
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(_GLARE * radius) + 1,) * 2)
    opened = cv2.morphologyEx(light_HW, cv2.MORPH_OPEN, kernel)
    share = np.clip((_GLARE_WITHIN - np.hypot(xx, yy) / radius) / 0.1, 0.0, 1.0).astype(np.float32)
    return np.asarray(light_HW + (opened - light_HW) * share, np.float32)


def _look_up(image_HW: F32, points: F64) -> F64:
    x, y = (points[..., axis].reshape(points.shape[0], -1).astype(np.float32) for axis in (0, 1))
    return np.asarray(cv2.remap(image_HW, x, y, cv2.INTER_LINEAR), np.float64).reshape(points.shape[:-1])
