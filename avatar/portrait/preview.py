"""What the analysis saw, drawn: the picture with its faces and the framing, and the framed face with its points."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.portrait.analyse import Face, PortraitAnalysis
from avatar.portrait.image import PortraitImage
from avatar.portrait.landmarks import LIDS

U8 = NDArray[np.uint8]

HEIGHT: Final = 720
"""Of the drawing, px."""
_CHOSEN: Final = (64, 220, 120)
_OTHER: Final = (255, 170, 60)
_POINT: Final = (90, 220, 255)
_OUTLINE: Final = (255, 90, 200)
_LIPS: Final = (
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
)
_LID_LOOP: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 14, 13, 12, 11, 10, 9)
_FINE: Final = 4
"""OpenCV draws at 1/16 px with this shift."""


def draw_preview(image: PortraitImage, faces: list[Face], chosen: int | None, analysis: PortraitAnalysis | None) -> U8:
    """uint8 RGB [720, W, 3]: left the picture (faces numbered, the framing), right the framed face if there is one."""
    left = _picture(image, faces, chosen, analysis)
    return left if analysis is None else np.hstack([left, _framed(analysis)])


def _picture(image: PortraitImage, faces: list[Face], chosen: int | None, analysis: PortraitAnalysis | None) -> U8:
    height, width = image.rgb_HW3.shape[:2]
    scale = min(HEIGHT / height, 2 * HEIGHT / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image.rgb_HW3, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    canvas = np.full((HEIGHT, max(size[0], HEIGHT // 3), 3), 24, np.uint8)
    canvas[: size[1], : size[0]] = small
    for number, face in enumerate(faces):
        colour = _CHOSEN if number == chosen else _OTHER
        x0, y0, x1, y1 = (round(float(v) * scale) for v in face.box_4)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, 2, cv2.LINE_AA)
        cv2.putText(canvas, str(number), (x0 + 4, y0 + 24), cv2.FONT_HERSHEY_SIMPLEX, 0.8, colour, 2, cv2.LINE_AA)
    if analysis is not None:
        side = analysis.rgb_HW3.shape[0]
        corners = np.array([[-0.5, -0.5, 1], [side - 0.5, side - 0.5, 1]]) @ analysis.to_source_33.T
        (x0, y0), (x1, y1) = ((round(float(v) * scale) for v in corner[:2]) for corner in corners)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), _POINT, 1, cv2.LINE_AA)
    return canvas


def _framed(analysis: PortraitAnalysis) -> U8:
    size = analysis.rgb_HW3.shape[0]
    scale = HEIGHT / size
    canvas = np.asarray(cv2.resize(analysis.rgb_HW3, (HEIGHT, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)

    def fine(points: NDArray[np.floating]) -> NDArray[np.int32]:
        place = (points[..., :2] + 0.5) * scale - 0.5
        return np.asarray(np.rint(place * 2**_FINE), np.int32)

    mask = (cv2.resize(analysis.matte_HW, (HEIGHT, HEIGHT)) > 0.5).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, _OUTLINE, 1, cv2.LINE_AA)
    for point in fine(analysis.landmarks_N3):
        cv2.circle(canvas, (int(point[0]), int(point[1])), 16, _POINT, -1, cv2.LINE_AA, _FINE)
    rings = [analysis.landmarks_N3[list(ring)] for ring in _LIPS]
    rings += [analysis.landmarks_N3[[LIDS[eye][i] for i in _LID_LOOP]] for eye in (0, 1)]
    cv2.polylines(canvas, [fine(ring) for ring in rings], True, _CHOSEN, 1, cv2.LINE_AA, _FINE)
    for iris in analysis.iris_2K3:
        radius = float(np.linalg.norm(iris[1:, :2] - iris[0, :2], axis=1).mean()) * scale
        x, y = fine(iris[0])
        cv2.circle(canvas, (int(x), int(y)), round(radius * 2**_FINE), _OTHER, 1, cv2.LINE_AA, _FINE)
    return canvas
