"""Faces in a picture: MediaPipe's short-range SSD detector, run on the whole picture and on finer and finer tiles.

The network sees 128 x 128 px and finds faces from about a fifth of that; tiles of a half, and then down to a sixteenth,
of the picture bring small faces into its reach. Anchors, decoding and weighted non-maximum suppression follow
MediaPipe's `face_detection_short_range` graph (Apache-2.0).

Shape suffixes: N faces or anchors, 6 key points (eye right, eye left, nose, mouth, ear right, ear left of the person).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.portrait.models import Model

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

MIN_SCORE: Final = 0.5
SUPPRESS_IOU: Final = 0.3
FLAT: Final = 6
"""Tiles whose values differ by no more than this are sky or wall, and not worth the model's time."""
_ANCHOR_LAYERS: Final = ((16, 2), (8, 6))
"""(cells per side, anchors per cell): strides 8, and three times 16."""
_RAW_LIMIT: Final = 80.0
_ALWAYS: Final = (1, 2)
_WHEN_NOTHING: Final = (4, 8, 16)
"""Tiles per side: the first always, the others only while no face has been found."""


@dataclass(frozen=True)
class Detection:
    """box_4: x0, y0, x1, y1 px; keypoints_62 px; score 0..1."""

    box_4: F32
    keypoints_62: F32
    score: float

    @property
    def size(self) -> float:
        """Longer side of the box, px."""
        return float(max(self.box_4[2] - self.box_4[0], self.box_4[3] - self.box_4[1]))


def anchors() -> F32:
    """Anchor centres [896, 2], as fractions of the input; the anchor size is fixed at 1."""
    layers = []
    for cells, per_cell in _ANCHOR_LAYERS:
        y, x = np.mgrid[:cells, :cells]
        centre = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells
        layers.append(np.repeat(centre, per_cell, axis=0))
    return np.concatenate(layers).astype(np.float32)


_ANCHORS_N2: Final = anchors()


def detect(model: Model, rgb_HW3: U8, finest: int = 16) -> list[Detection]:
    """All faces, largest first. uint8 RGB of any size; boxes and points in its pixels (they may pass the border).

    finest: the most tiles per side that may be looked at.
    """
    height, width = rgb_HW3.shape[:2]
    shrink = 2 * model.side * _WHEN_NOTHING[-1] / max(height, width)
    working_HW3 = rgb_HW3
    if shrink < 1:  # twice what the smallest tiles show: very large pictures are shrunk once, not once per level
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        working_HW3 = np.asarray(cv2.resize(rgb_HW3, size, interpolation=cv2.INTER_AREA), np.uint8)
    raw: list[Detection] = []
    for level in (*_ALWAYS, *_WHEN_NOTHING):
        if level > finest or (level in _WHEN_NOTHING and raw):
            break
        raw += _level(model, working_HW3, (width, height), level)
    found = suppress(raw)
    return sorted(found, key=lambda face: -face.size)


def _level(model: Model, working_HW3: U8, picture: tuple[int, int], level: int) -> list[Detection]:
    """Square tiles of 1/level of the longer side, overlapping by half. picture: width and height of the original, in
    whose pixels the answer is; the working copy may be smaller."""
    width, height = picture
    side = max(height, width) / level
    if side < model.side and level > 1:
        return []
    shrink = min(1.0, model.side / side)
    small_HW3 = (
        cv2.resize(
            working_HW3,
            (max(1, round(width * shrink)), max(1, round(height * shrink))),
            interpolation=cv2.INTER_AREA,
        )
        if shrink < 1
        else working_HW3
    )
    scale_x, scale_y = small_HW3.shape[1] / width, small_HW3.shape[0] / height
    found = []
    for top in _starts(height, side):
        for left in _starts(width, side):
            # tile pixel -> shrunk picture pixel, both with centres on integers
            per_pixel = side / model.side
            M_23 = np.array(
                [
                    [per_pixel * scale_x, 0, (left + per_pixel / 2) * scale_x - 0.5],
                    [0, per_pixel * scale_y, (top + per_pixel / 2) * scale_y - 0.5],
                ]
            )
            tile_HW3 = cv2.warpAffine(
                small_HW3, M_23, (model.side, model.side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            )
            if level == 1 or int(np.ptp(tile_HW3)) > FLAT:
                found += _tile(model, np.asarray(tile_HW3, np.uint8), left, top, side, level, picture)
    return found


def _starts(length: int, side: float) -> list[float]:
    """Where tiles begin so that they cover the length and overlap by half; centred when one is enough."""
    if length <= side * 1.001:
        return [(length - side) / 2]
    count = int(np.ceil((length - side) / (side / 2))) + 1
    return [float(start) for start in np.linspace(0, length - side, count)]


def _tile(
    model: Model, tile_HW3: U8, left: float, top: float, side: float, level: int, picture: tuple[int, int]
) -> list[Detection]:
    boxes, scores = model(tile_HW3.astype(np.float32) / 127.5 - 1.0)
    score_N = 1.0 / (1.0 + np.exp(-np.clip(scores, -_RAW_LIMIT, _RAW_LIMIT)))
    raw_N16 = boxes.reshape(-1, 16)
    keep = np.flatnonzero(score_N >= MIN_SCORE)
    found = []
    for index in keep:
        raw_82 = raw_N16[index].reshape(8, 2) / model.side
        centre, extent, points_62 = raw_82[0] + _ANCHORS_N2[index], raw_82[1], raw_82[2:] + _ANCHORS_N2[index]
        box_22 = np.stack([centre - extent / 2, centre + extent / 2])
        if level > 1 and _cut_by_tile(box_22, left, top, side, picture):
            continue
        origin = np.array([left, top]) - 0.5  # fractions start at the pixel's edge, our pixels at its centre
        found.append(
            Detection(
                (box_22 * side + origin).reshape(4).astype(np.float32),
                (points_62 * side + origin).astype(np.float32),
                float(score_N[index]),
            )
        )
    return found


def _cut_by_tile(box_22: NDArray[np.floating], left: float, top: float, side: float, picture: tuple[int, int]) -> bool:
    """A face that a tile's edge cuts inside the picture is a neighbour tile's business."""
    inner = (left > 0.5, top > 0.5, left + side < picture[0] - 0.5, top + side < picture[1] - 0.5)
    beyond = (box_22[0, 0] < 0, box_22[0, 1] < 0, box_22[1, 0] > 1, box_22[1, 1] > 1)
    return any(edge and out for edge, out in zip(inner, beyond, strict=True))


def suppress(candidates: list[Detection]) -> list[Detection]:
    """Weighted non-maximum suppression: overlapping candidates become one, averaged by score."""
    rest = sorted(candidates, key=lambda face: -face.score)
    found = []
    while rest:
        group = [face for face in rest if overlap(rest[0].box_4, face.box_4) > SUPPRESS_IOU]
        rest = [face for face in rest if overlap(rest[0].box_4, face.box_4) <= SUPPRESS_IOU]
        weights = np.array([face.score for face in group])
        weights /= weights.sum()
        found.append(
            Detection(
                np.tensordot(weights, np.stack([face.box_4 for face in group]), 1).astype(np.float32),
                np.tensordot(weights, np.stack([face.keypoints_62 for face in group]), 1).astype(np.float32),
                group[0].score,
            )
        )
    return found


def overlap(a_4: F32, b_4: F32) -> float:
    """Intersection over union, or over the smaller box when one lies nearly inside the other."""
    extent = np.minimum(a_4[2:], b_4[2:]) - np.maximum(a_4[:2], b_4[:2])
    shared = float(np.prod(np.maximum(extent, 0)))
    areas = [float(np.prod(np.maximum(box[2:] - box[:2], 0))) for box in (a_4, b_4)]
    return max(shared / max(sum(areas) - shared, 1e-9), 0.6 * shared / max(min(areas), 1e-9) - 0.1)
