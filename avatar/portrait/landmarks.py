"""468 face landmarks and both irises, by MediaPipe's face_landmark and iris_landmark models.

Each model sees an upright square crop turned with the head. The face is found coarsely from the detection, then again
from its own landmarks until it rests, and at last averaged over a few slightly moved crops and their mirror images,
which takes most of the model's jitter and lopsidedness away. Crop rules (Apache-2.0): MediaPipe's
`face_landmark_front_cpu`, `iris_landmark_left_and_right_cpu`.

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
from avatar.portrait.iris import refine_irises
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
MIN_PRESENCE: Final = 0.5
"""The face model's own word for: there is a face."""
FACE_CROP: Final = 1.5
EYE_CROP: Final = 2.7
"""Side of the crop / longer side of the box around the points. MediaPipe shows the eye model 2.3 eye widths; its
contour then comes out up to a fifth too narrow on large, sharp eyes, which wider crops mend."""
_WORKING_FACE: Final = 256.0
"""Size of the detection's box in the working copy, px: the face crop then has about twice the model's resolution."""
_PASSES: Final = 3
_JITTER: Final = (
    (0.0, 0.0, 1.0, 0.0), (0.02, 0.01, 1.04, 0.05), (-0.02, 0.01, 0.97, -0.05),
    (0.01, -0.02, 1.02, -0.03), (-0.01, -0.02, 0.98, 0.03),
)  # fmt: skip
"""Moved crops: shift in sides, scale, turn in radians."""
_EYE_ZOOM: Final = 3.5
"""Eye crops differ in size this many times more than face crops."""
LIDS: Final = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
)
"""The landmarks that the first 16 contour points of each eye coincide with: outer corner, lower lid, inner corner,
upper lid."""
_LID_TRUST: Final = 0.2
"""Where face and eye model differ by more than this share of the eye's width, the face model alone is believed."""
_LID_SPREAD: Final = 0.12
"""How far (share of the eye's width) skin follows a corrected lid."""


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
        """The window as float32 [resolution, resolution, 3] 0..1; outside the image is black."""
        M_23 = self.to_image(resolution)
        crop = cv2.warpAffine(rgb_HW3, M_23, (resolution, resolution), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return crop.astype(np.float32) / 255.0


@dataclass(frozen=True)
class WorkingCopy:
    """The part of the image around one face, area-averaged to a size near the models' own, so that their crops
    neither alias nor cost much. image px = working px * scale + shift."""

    rgb_HW3: U8
    scale_2: F64
    shift_2: F64

    @classmethod
    def around(cls, rgb_HW3: U8, detection: Detection) -> WorkingCopy:
        height, width = rgb_HW3.shape[:2]
        centre = (detection.box_4[:2] + detection.box_4[2:]) / 2
        reach = 1.6 * detection.size
        x0, y0 = (int(np.clip(c - reach, 0, limit - 2)) for c, limit in zip(centre, (width, height), strict=True))
        x1 = int(np.clip(centre[0] + reach, x0 + 2, width))
        y1 = int(np.clip(centre[1] + reach, y0 + 2, height))
        part = rgb_HW3[y0:y1, x0:x1]
        shrink = max(1.0, detection.size / _WORKING_FACE)
        size = (max(1, round((x1 - x0) / shrink)), max(1, round((y1 - y0) / shrink)))
        small = cv2.resize(part, size, interpolation=cv2.INTER_AREA) if shrink > 1 else part
        scale = np.array([(x1 - x0) / size[0], (y1 - y0) / size[1]])
        return cls(np.ascontiguousarray(small), scale, 0.5 * scale - 0.5 + [x0, y0])

    def shrink(self, detection: Detection) -> Detection:
        """The detection in working pixels."""
        box = ((detection.box_4.reshape(2, 2) - self.shift_2) / self.scale_2).reshape(4)
        points = (detection.keypoints_62 - self.shift_2) / self.scale_2
        return Detection(box.astype(np.float32), points.astype(np.float32), detection.score)

    def enlarge(self, points: F64) -> F64:
        """Points [..., 3] in image pixels."""
        xy = points[..., :2] * self.scale_2 + self.shift_2
        return np.concatenate([xy, points[..., 2:] * self.scale_2[0]], axis=-1)


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
        """Hairline to chin along the face (in space, so that a lowered head is not smaller), px."""
        return float(np.linalg.norm(self.points_N3[10] - self.points_N3[152]))


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
    """Landmarks and irises of one detected face, in the image's pixels.

    Where the first look says that there is no face (presence below a half), the rest is not worth the time and the
    landmarks are those of the first look.
    """
    copy = WorkingCopy.around(rgb_HW3, detection)
    points, presence = mesh_points(face_model, copy.rgb_HW3, detection_roi(copy.shrink(detection)))
    several = [points]
    if presence >= MIN_PRESENCE:
        for _ in range(_PASSES - 1):
            points, presence = mesh_points(face_model, copy.rgb_HW3, _face_roi(points))
        roi = _face_roi(points)
        several = [
            mesh_points(face_model, copy.rgb_HW3, _moved(roi, *jitter), mirrored)[0]
            for jitter in _JITTER
            for mirrored in (False, True)
        ]
        points = np.mean(several, axis=0)
    spread = np.linalg.norm(np.stack(several)[..., :2] - points[:, :2], axis=-1) * copy.scale_2[0]
    eyes = [eye_points(iris_model, copy.rgb_HW3, points, eye) for eye in (0, 1)]
    contour_2K3 = copy.enlarge(np.stack([contour for contour, _ in eyes]))
    points, contour_2K3 = agree_on_lids(copy.enlarge(points), contour_2K3)
    iris_2K3 = refine_irises(rgb_HW3, copy.enlarge(np.stack([iris for _, iris in eyes])), contour_2K3)
    return FaceLandmarks(
        points.astype(np.float32),
        presence,
        iris_2K3.astype(np.float32),
        contour_2K3.astype(np.float32),
        float(np.median(spread)),
    )


def _moved(roi: Roi, dx: float, dy: float, zoom: float, turn: float) -> Roi:
    return Roi(roi.centre_2 + np.array([dx, dy]) * roi.side, roi.side * zoom, roi.angle + turn)


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
        moved = _moved(roi, dx, dy, 1 + _EYE_ZOOM * (zoom - 1), turn)
        crop = moved.crop(rgb_HW3, model.side)
        contour, iris = model(crop[:, ::-1] if eye == 1 else crop)
        raw = _centred(np.concatenate([contour, iris]))
        if eye == 1:
            raw[:, 0] = model.side - 1 - raw[:, 0]
        several.append(_to_image(raw, moved, model.side))
    mean = np.mean(several, axis=0)
    return mean[:-5], mean[-5:]


def agree_on_lids(points_N3: F64, contour_2K3: F64) -> tuple[F64, F64]:
    """Lids as the mean of what the face model and the eye model say: their errors lie on opposite sides. The face's
    landmarks near by follow, so that the mesh does not fold."""
    points, contour_2K3 = points_N3.copy(), contour_2K3.copy()
    for eye in (0, 1):
        lids = points_N3[list(LIDS[eye])]
        width = float(np.linalg.norm(lids[0, :2] - lids[8, :2]))
        move = (contour_2K3[eye, :16, :2] - lids[:, :2]) / 2
        if 2 * np.linalg.norm(move, axis=1).mean() > _LID_TRUST * width:
            contour_2K3[eye, :16, :2] = lids[:, :2]
            continue
        distance = np.linalg.norm(points_N3[:, None, :2] - lids[None, :, :2], axis=2)
        weight = np.exp(-0.5 * (distance / (_LID_SPREAD * width)) ** 2)
        reach = weight.max(1, keepdims=True)
        points[:, :2] += reach * (weight @ move) / np.maximum(weight.sum(1, keepdims=True), 1e-12)
        points[list(LIDS[eye]), :2] = contour_2K3[eye, :16, :2] = lids[:, :2] + move
    return points, contour_2K3


def _centred(raw: F32) -> F64:
    raw_N3 = raw.reshape(-1, 3).astype(np.float64)
    raw_N3[:, :2] -= _CENTRE_SHIFT
    return raw_N3


def _to_image(raw_N3: F64, roi: Roi, resolution: int) -> F64:
    M_23 = roi.to_image(resolution)
    xy = raw_N3[:, :2] @ M_23[:, :2].T + M_23[:, 2]
    return np.column_stack([xy, -raw_N3[:, 2] * (roi.side / resolution)])
