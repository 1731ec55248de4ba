"""Framing: the square head-and-shoulders picture that everything downstream works on."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FACE_SHARE: Final = 0.45
"""Height of the landmarks' box (hairline to chin) / side of the frame, where the photo has room for it."""
_SHARES: Final = np.linspace(0.42, 0.5, 9)
_SHIFTS: Final = np.linspace(-0.05, 0.05, 11)
"""What the framing may choose from to stay inside the photo: the face's share, and its offset from the centre."""
_LIKES_CENTRE: Final = 0.8
"""Frame share of made-up border that is accepted for one frame side of offset, or of share, less."""
_BLUR_STEPS: Final = (1 / 160, 1 / 80, 1 / 40)
"""Blur of the replicated border near, further and far from the photo's edge / side of the frame."""


def frame_to_source(landmarks_N3: F32, size: int, width: int, height: int) -> F64:
    """[3, 3] affine: frame pixel -> source pixel (centres on integers). Upright: only scale and shift.

    The face is 45 % of the frame and centred; up to 42..50 % and 5 % off where that keeps more of the frame inside
    the width x height photo.
    """
    low, high = landmarks_N3[:, :2].min(0).astype(np.float64), landmarks_N3[:, :2].max(0).astype(np.float64)
    extent = max(high[1] - low[1], 0.9 * (high[0] - low[0]))
    middle = (low + high) / 2 + 0.5  # measured from the photo's outer edge
    share, across, down = (grid.ravel() for grid in np.meshgrid(_SHARES, _SHIFTS, _SHIFTS, indexing="ij"))
    side = extent / share
    inside = np.ones_like(side)
    for centre, offset, limit in ((middle[0], across, width), (middle[1], down, height)):
        start = centre - (0.5 + offset) * side
        inside *= np.clip(np.minimum(start + side, limit) - np.maximum(start, 0), 0, side) / side
    dislike = np.hypot(across, down) + np.abs(share - FACE_SHARE)
    best = int((1 - inside + _LIKES_CENTRE * dislike).argmin())
    scale = side[best] / size
    shift = middle - (0.5 + np.array([across[best], down[best]])) * side[best] + 0.5 * scale - 0.5
    return np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]], [0.0, 0.0, 1.0]])


def to_frame(points_N3: F32, to_source_33: F64) -> F32:
    """Points in source pixels -> frame pixels; z is scaled alike."""
    scale = to_source_33[0, 0]
    points = points_N3.astype(np.float64)
    xy = (points[..., :2] - to_source_33[:2, 2]) / scale
    return np.concatenate([xy, points[..., 2:] / scale], axis=-1).astype(np.float32)


def sample(image: NDArray[np.uint8], to_source_33: F64, size: int) -> U8:
    """The frame's pixels, uint8 [size, size, ...]: antialiased when shrunk, Lanczos when enlarged.

    Where the photo ends, its border is continued and blurred, more so further away.
    """
    scale = float(to_source_33[0, 0])
    M_23 = to_source_33[:2].copy()
    height, width = image.shape[:2]
    x0, y0 = (max(0, int(np.floor(v)) - 8) for v in to_source_33[:2, 2])
    x1 = min(width, int(np.ceil(to_source_33[0, 2] + scale * size)) + 8)
    y1 = min(height, int(np.ceil(to_source_33[1, 2] + scale * size)) + 8)
    image = image[y0:y1, x0:x1]
    M_23[:, 2] -= [x0, y0]
    if scale > 1.0:
        shrunk = (max(1, round((x1 - x0) / scale)), max(1, round((y1 - y0) / scale)))
        factor = np.array([shrunk[0] / (x1 - x0), shrunk[1] / (y1 - y0)])
        image = np.asarray(cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA), np.uint8)
        M_23 = M_23 * factor[:, None]
        M_23[:, 2] += 0.5 * factor - 0.5
    frame: NDArray[Any] = cv2.warpAffine(
        image,
        M_23,
        (size, size),
        flags=(cv2.INTER_LANCZOS4 if scale < 0.99 else cv2.INTER_CUBIC) | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _soft_border(np.asarray(frame, np.uint8), to_source_33, width, height)


def outside_distance(to_source_33: F64, size: int, width: int, height: int) -> F32:
    """How far (frame px) each frame pixel lies outside the photo; 0 inside."""
    grid = np.arange(size)
    x = to_source_33[0, 0] * grid + to_source_33[0, 2]
    y = to_source_33[1, 1] * grid + to_source_33[1, 2]
    beyond_x = np.maximum(np.maximum(-x, x - (width - 1)), 0)
    beyond_y = np.maximum(np.maximum(-y, y - (height - 1)), 0)
    return np.asarray(np.hypot(beyond_x[None], beyond_y[:, None]) / to_source_33[0, 0], np.float32)


def _soft_border(frame: U8, to_source_33: F64, width: int, height: int) -> U8:
    size = frame.shape[0]
    distance_HW = outside_distance(to_source_33, size, width, height)
    if not distance_HW.any():
        return frame
    result = frame.astype(np.float32)
    for step in _BLUR_STEPS:
        sigma = step * size
        blurred = cv2.GaussianBlur(result, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        weight = np.clip(distance_HW / (2.5 * sigma), 0, 1)
        weight = weight[..., None] if frame.ndim == 3 else weight
        result += weight * (blurred - result)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)
