"""Hair that the picture's upper border cuts off gets a round top, inside the frame.

Otherwise a head that moves down would show the last row of its hair drawn out into a streak. The hair below the
border is pressed down a little (more at the sides than in the middle of the cut, by the circle that the cut's width
suggests), fading out above the forehead; what was beyond the border is background.

Shape suffixes: H x W frame pixels.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
B = NDArray[np.bool_]

ROOM: Final = 0.006
"""Frame sides left free above the middle of the cut."""
RADIUS: Final = 0.5
"""Face widths: a crown's radius of curvature."""
STEEPEST: Final = 0.35
"""Largest share of its height that the hair above the forehead may lose."""


def round_off(rgb_HW3: U8, matte_HW: F32, forehead: float, face_width: float) -> tuple[U8, F32, B]:
    """The picture and its matte with the crown inside the frame, and which pixels now show neither.

    forehead: row (px) from which on nothing may change. Where the border cuts nothing off, all is returned as it was.
    """
    height, width = matte_HW.shape
    cut = matte_HW[: max(1, height // 256)].max(0)
    columns = np.flatnonzero(cut > 0.5)
    nothing = np.zeros(matte_HW.shape, bool)
    if len(columns) < 0.02 * width or forehead < 0.08 * height:
        return rgb_HW3, matte_HW, nothing
    half = max((columns[-1] - columns[0] + 1) / 2, 1.0)
    middle = (columns[-1] + columns[0]) / 2
    radius = max(RADIUS * face_width, 1.05 * half)
    away = np.minimum(np.abs(np.arange(width) - middle), 0.95 * radius)
    drop_W = ROOM * height + radius - np.sqrt(radius**2 - away**2)
    limit = STEEPEST * forehead
    drop_W = limit * np.tanh(drop_W / limit)
    # rows are pressed by a smooth, rising map: destination = source + drop * (1 - source / forehead)^2
    source = np.arange(int(forehead) + 1, dtype=np.float64)
    map_y = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, 1)
    rows = np.arange(height)
    top = rows <= forehead
    for x in range(width):
        pressed = source + drop_W[x] * (1 - source / forehead) ** 2
        map_y[top, x] = np.interp(rows[top], pressed, source, left=-1.0)
    beyond = map_y < 0
    map_x = np.repeat(np.arange(width, dtype=np.float32)[None], height, 0)
    at = np.maximum(map_y, 0)
    rgb = np.asarray(cv2.remap(rgb_HW3, map_x, at, cv2.INTER_CUBIC), np.uint8)
    matte = np.asarray(cv2.remap(matte_HW, map_x, at, cv2.INTER_LINEAR), np.float32)
    matte[beyond] = 0.0
    soft = np.asarray(cv2.GaussianBlur(matte, (0, 0), 0.003 * height), np.float32)
    edge = cv2.dilate(beyond.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return rgb, np.where(edge, np.minimum(soft, matte), matte).astype(np.float32), beyond
