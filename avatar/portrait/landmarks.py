"""468 face landmarks and both irises, by MediaPipe's face_landmark and iris_landmark models.

Each model sees an upright square crop turned with the head. The face is found coarsely from the detection, then again
from its own landmarks until it rests, and at last averaged over a few slightly moved crops and their mirror images,
which takes most of the model's jitter and lopsidedness away. Crop rules (Apache-2.0): `face_landmark_front_cpu`, `iris_landmark_left_and_right_cpu`.

Coordinates are pixels with centres on integers (as OpenCV counts), x right, y down. The models' z, away from the
viewer, is turned round: z towards the viewer, in the same pixels, 0 near the middle of the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.portrait.detect import Detection
from avatar.portrait.mirror import mirror_indices
from avatar.portrait.models import Model

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

EYE_CORNERS: Final = ((33, 133), (362, 263))
"""Outer and inner landmark of the person's right eye (image left), inner and outer of the left one."""
FACE_OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
FACE_CROP: Final = 1.5
EYE_CROP: Final = 2.3
"""Side of the crop / longer side of the box around the points."""
_PASSES: Final = 3
_JITTER: Final = ((0.0, 0.0, 1.0, 0.0), (0.02, 0.01, 1.04, 0.05), (-0.02, 0.01, 0.97, -0.05), (0.01, -0.02, 1.02, -0.03),
                  (-0.01, -0.02, 0.98, 0.03))  # fmt: skip
"""Moved crops: shift in sides, scale, turn in radians."""


_CENTRE_SHIFT: Final = 0.25
"""The models' coordinates of pixel centres lie about this far beyond the integer: mirrored crops of the shared
portraits meet at 191.55 / 2, where centres on integers would give 191 / 2."""
_MIRROR_N: Final = mirror_indices()


@dataclass(frozen=True)
class Roi:
    """A square, turned window: centre px, side px, angle radians (clockwise on the screen)."""

    centre_2: F64
    side: float
    angle: float

    def to_image(self, resolution: int) -> F64:
        """[2, 3]: window pixel -> image pixel."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        linear_22 = np.array([[cos, -sin], [sin, cos]]) * (self.side / resolution)
        middle = (resolution - 1) / 2
        return np.column_stack([linear_22, self.centre_2 - linear_22 @ [middle, middle]])

    def crop(self, rgb_HW3: U8, resolution: int) -> F32:
        """The window as float32 [resolution, resolution, 3] 0..1, without aliasing; outside the image is black."""
        M_23 = self.to_image(resolution)
        shrink = self.side / resolution
        if shrink > 2.0:
            rgb_HW3, M_23 = _shrunk(rgb_HW3, M_23, self, shrink)
        crop = cv2.warpAffine(rgb_HW3, M_23, (resolution, resolution), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return crop.astype(np.float32) / 255.0


def _shrunk(rgb_HW3: U8, M_23: F64, roi: Roi, shrink: float) -> tuple[U8, F64]:
    """The part of the image around a window, area-averaged so that the window's pixels are about as large as its."""
    height, width = rgb_HW3.shape[:2]
    reach = roi.side * 0.75
    x0, y0 = (max(0, int(c - reach)) for c in roi.centre_2)
    x1, y1 = (min(limit, int(c + reach) + 2) for c, limit in zip(roi.centre_2, (width, height), strict=True))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return rgb_HW3, M_23
    part = rgb_HW3[y0:y1, x0:x1]
    size = (max(1, round((x1 - x0) / shrink * 1.4)), max(1, round((y1 - y0) / shrink * 1.4)))
    factor = np.array([size[0] / (x1 - x0), size[1] / (y1 - y0)])
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    M_23 = M_23 * factor[:, None]
    M_23[:, 2] += (0.5 - np.array([x0, y0])) * factor - 0.5
    return small, M_23


@dataclass(frozen=True)
class FaceLandmarks:
    """points_N3 px [468, 3]; presence 0..1; iris_2K3 px [2, 5, 3] (centre first); eye_contour_2K3 px [2, 71, 3];
    jitter: how far (px, median) the points move between slightly moved crops."""

    points_N3: F32
    presence: float
    iris_2K3: F32
    eye_contour_2K3: F32
    jitter: float

    @property
    def height(self) -> float:
        """Forehead to chin along the face, px."""
        return float(np.linalg.norm(self.points_N3[10, :2] - self.points_N3[152, :2]))


def detection_roi(detection: Detection) -> Roi:
    """The face crop that MediaPipe derives from a detection: turned with the eyes, 1.5 times the box."""
    right, left = detection.keypoints_62[:2].astype(np.float64)
    angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
    centre = (detection.box_4[:2] + detection.box_4[2:]).astype(np.float64) / 2
    return Roi(centre, FACE_CROP * detection.size, angle)


def points_roi(points_N2: F64, start: F64, end: F64, scale: float) -> Roi:
    """A square window around points, turned with the line start -> end."""
    angle = float(np.arctan2(end[1] - start[1], end[0] - start[0]))
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = points_N2 @ axes.T
    low, high = turned.min(0), turned.max(0)
    return Roi(axes.T @ ((low + high) / 2), scale * float((high - low).max()), angle)


def face_landmarks(face_model: Model, iris_model: Model, rgb_HW3: U8, detection: Detection) -> FaceLandmarks:
    """Landmarks and irises of one detected face, in the image's pixels."""
    points, presence = mesh_points(face_model, rgb_HW3, detection_roi(detection))
    for _ in range(_PASSES - 1):
        points, presence = mesh_points(face_model, rgb_HW3, _face_roi(points))
    base = _face_roi(points)
    several = []
    for dx, dy, zoom, turn in _JITTER:
        moved = Roi(base.centre_2 + np.array([dx, dy]) * base.side, base.side * zoom, base.angle + turn)
        several += [mesh_points(face_model, rgb_HW3, moved, mirrored)[0] for mirrored in (False, True)]
    points = np.mean(several, axis=0)
    spread = np.linalg.norm(np.stack(several)[..., :2] - points[:, :2], axis=-1)
    eyes = [eye_points(iris_model, rgb_HW3, points, eye) for eye in (0, 1)]
    return FaceLandmarks(
        points.astype(np.float32),
        presence,
        np.stack([iris for _, iris in eyes]).astype(np.float32),
        np.stack([contour for contour, _ in eyes]).astype(np.float32),
        float(np.median(spread)),
    )


def _face_roi(points_N3: F64) -> Roi:
    return points_roi(points_N3[:, :2], points_N3[33, :2], points_N3[263, :2], FACE_CROP)


def mesh_points(model: Model, rgb_HW3: U8, roi: Roi, mirrored: bool = False) -> tuple[F64, float]:
    """One run of the face model: image points [468, 3] and the probability that a face is there.

    mirrored: show the model the crop's mirror image, and mirror its answer back.
    """
    crop = roi.crop(rgb_HW3, model.side)
    raw, presence = model(crop[:, ::-1] if mirrored else crop)
    raw_N3 = _centred(raw)
    if mirrored:
        raw_N3 = raw_N3[_MIRROR_N]
        raw_N3[:, 0] = model.side - 1 - raw_N3[:, 0]
    points = _to_image(raw_N3, roi, model.side)
    return points, float(1.0 / (1.0 + np.exp(-np.clip(presence[0], -50, 50))))


def eye_points(model: Model, rgb_HW3: U8, points_N3: F64, eye: int) -> tuple[F64, F64]:
    """Contour [71, 3] and iris [5, 3] of one eye (0 = the person's right). The model knows one side: the other eye
    is shown mirrored, and its points are mirrored back, so that equal indices mean equal places of the anatomy."""
    corners = points_N3[list(EYE_CORNERS[eye]), :2]
    roi = points_roi(corners, corners[0], corners[1], EYE_CROP)
    several = []
    for dx, dy, zoom, turn in _JITTER:
        moved = Roi(roi.centre_2 + np.array([dx, dy]) * roi.side, roi.side * zoom, roi.angle + turn)
        crop = moved.crop(rgb_HW3, model.side)
        contour, iris = model(crop[:, ::-1] if eye == 1 else crop)
        raw = _centred(np.concatenate([contour, iris]))
        if eye == 1:
            raw[:, 0] = model.side - 1 - raw[:, 0]
        several.append(_to_image(raw, moved, model.side))
    mean = np.mean(several, axis=0)
    return mean[:-5], mean[-5:]


def _centred(raw: F32) -> F64:
    raw_N3 = raw.reshape(-1, 3).astype(np.float64)
    raw_N3[:, :2] -= _CENTRE_SHIFT
    return raw_N3


def _to_image(raw_N3: F64, roi: Roi, resolution: int) -> F64:
    M_23 = roi.to_image(resolution)
    xy = raw_N3[:, :2] @ M_23[:, :2].T + M_23[:, 2]
    return np.column_stack([xy, -raw_N3[:, 2] * (roi.side / resolution)])
