"""What is bare skin in a portrait, and how this skin takes shade, on a grid over the face.

Shape suffixes: H x W pixels, Y x X cells of the grid, E vertices of an outline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.render.creases_folds import FOLDS, lines, resample
from avatar.render.images import LUMA, sample, smooth
from avatar.rig.types import FittedRig

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

CELLS: Final = 112
"""Cells of the grid per face width: half a frame's pixels at 512."""
SOFT: Final = 0.004
"""Blur / side of the portrait that tells texture from shade."""
BRIDGE: Final = 5
"""Cells: half the width of what may lie between skin and skin and still be a fold."""
CHEEKS: Final = (50, 280, 101, 330, 205, 425, 36, 266, 6, 195, 151, 9, 117, 346)
"""Landmarks that nearly always show bare skin."""


@dataclass(frozen=True)
class Grid:
    """Cells over the skin in the portrait: cell (row y, column x) lies at px (left + x * step, top + y * step)."""

    left: float
    top: float
    step: float
    width: int
    height: int

    def points(self) -> F32:
        """px of the portrait, float32 [Y, X, 2]."""
        x = self.left + self.step * np.arange(self.width)
        y = self.top + self.step * np.arange(self.height)
        return np.stack(np.meshgrid(x, y), -1).astype(np.float32)

    def look(self, picture_HWC: F32) -> F32:
        """A picture in px of the portrait, at the cells; [Y, X, C] (or [Y, X])."""
        at = self.points()
        found = cv2.remap(picture_HWC, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found, np.float32)

    def at(self, cells_YX: F32, other: Grid) -> F32:
        """Values of this grid at the cells of another one."""
        start = ((other.left - self.left) / self.step, (other.top - self.top) / self.step)
        return Grid(*start, other.step / self.step, other.width, other.height).look(cells_YX)


def face_grid(rig: FittedRig) -> Grid:
    """The grid over the skin's box at rest, cut to the frame."""
    step = rig.face_width / CELLS
    low = np.maximum(rig.rest_V3[:, :2].min(0), 0.0)
    high = np.minimum(rig.rest_V3[:, :2].max(0), rig.size - 1.0)
    count = np.maximum(np.ceil((high - low) / step).astype(int) + 1, 2)
    return Grid(float(low[0]), float(low[1]), float(step), int(count[0]), int(count[1]))


def pixel_grid(grid: Grid, scale: float, size: int) -> tuple[Grid, tuple[int, int, int, int]]:
    """Every pixel of a frame `scale` times the portrait inside a grid, as a grid; and that box x0, y0, x1, y1."""
    low = (np.array([grid.left, grid.top]) + 0.5) * scale - 0.5
    high = low + grid.step * scale * (np.array([grid.width, grid.height]) - 1)
    x0, y0 = (int(v) for v in np.maximum(np.ceil(low), 0))
    x1, y1 = (int(v) for v in np.minimum(np.floor(high) + 1, size))
    left, top = (x0 + 0.5) / scale - 0.5, (y0 + 0.5) / scale - 0.5
    return Grid(left, top, 1.0 / scale, x1 - x0, y1 - y0), (x0, y0, x1, y1)


def soft_logs(rgb_HW3: U8, grid: Grid) -> F32:
    """Logarithms of red, green, blue and brightness of the slightly blurred portrait, at the cells; [Y, X, 4]."""
    soft = grid.look(cv2.GaussianBlur(rgb_HW3, (0, 0), SOFT * rgb_HW3.shape[0]).astype(np.float32))
    return np.asarray(np.log(np.maximum(np.concatenate([soft, (soft @ LUMA)[..., None]], -1), 6.0)), np.float32)


def shade_tint(logs_YX4: F32, skin_YX: F32) -> F32:
    """How much of a change of brightness each colour takes, float32 [3]: folds of skin are redder, not only darker.

    Slope of each channel's logarithm against that of brightness at the size of folds, over the skin; held near 1.
    """
    detail = (logs_YX4 - cv2.GaussianBlur(logs_YX4, (0, 0), 0.05 * CELLS)).reshape(-1, 4)
    weight = skin_YX.ravel() ** 2 * (np.abs(detail[:, 3]) < 0.3)
    bright = weight * detail[:, 3]
    slope = (bright @ detail[:, :3]) / max(float(bright @ detail[:, 3]), 1e-6)
    # what shade is known to do to skin, by how coloured it is, keeps a speckled or painted one from odd answers
    hue = np.median(logs_YX4[..., 0] - logs_YX4[..., 1], axis=None)
    known = 1.0 + float(np.clip(hue, 0.0, 0.3)) * np.array([-0.9, 0.25, 0.9])
    slope = 0.4 * np.clip(slope, 0.6, 1.5) + 0.6 * known
    return np.asarray(slope / float(slope @ LUMA), np.float32)


def skin_share(rgb_HW3: U8, logs_YX4: F32, rig: FittedRig, grid: Grid) -> F32:
    """How surely each cell shows bare skin, 0..1; [2, Y, X]. Hair, lips, eyes, nostrils and glasses get 0.

    Skin: the hue of this person's cheeks, not much darker than its surroundings, not more textured than the cheeks.
    The second layer also counts what is narrow and has skin on both sides: the deep folds of a smile are dark and red.
    """
    cheeks = (rig.rest_V3[rig.landmarks_468[list(CHEEKS)], :2] - (grid.left, grid.top)) / grid.step
    hue = logs_YX4[..., [0, 2]] - logs_YX4[..., 1:2]
    hue_0 = np.median(sample(hue, cheeks), 0)
    spread = np.median(np.abs(sample(hue, cheeks) - hue_0), 0)
    off = (np.abs(hue - hue_0) / (0.12 + 2.0 * spread)).max(-1)
    bright = np.ascontiguousarray(logs_YX4[..., 3])
    darker = cv2.GaussianBlur(bright, (0, 0), 0.11 * CELLS) - bright
    rough = roughness(rgb_HW3, rig, grid)
    base = float(np.clip(np.quantile(sample(rough, cheeks), 0.35), 0.008, 0.03))
    skin = smooth((3.2 - off) / 1.4) * smooth((1.1 - darker) / 0.4) * smooth((4.0 - rough / base) / 1.6)
    share = skin.astype(np.float32)

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BRIDGE + 1, 2 * BRIDGE + 1))
    lips = outside(rig.rest_V3[rig.lip_outer_M, :2], grid) < 0
    closed = cv2.morphologyEx(np.where(lips, np.float32(1), share), cv2.MORPH_CLOSE, disc)
    bridged = smooth((0.06 - smile_distance(rig, grid)) / 0.02)  # farther away it may be the frame of glasses
    closed = np.where(closed > share, share + (closed - share) * bridged, share)
    both = np.stack([share, closed])
    for ring, near in ((rig.lip_outer_M, 0.006), *((eye, 0.014) for eye in rig.eye_ring_2E)):
        both *= smooth((outside(rig.rest_V3[ring, :2], grid) / rig.face_width - near) / near)
    both *= smooth(-outside(rig.rest_V3[rig.oval_ring, :2], grid) / (0.04 * rig.face_width))
    return np.stack([cv2.GaussianBlur(np.asarray(layer, np.float32), (0, 0), 0.008 * CELLS) for layer in both])


def smile_distance(rig: FittedRig, grid: Grid) -> F32:
    """Face widths between each cell and the nearest fold of a smile; [Y, X]."""
    landmarks = rig.rest_V3[rig.landmarks_468, :2]
    curves = [resample(points, 24) for fold in FOLDS if fold.group == "smile" for _, points in lines(fold, landmarks)]
    return np.asarray(cKDTree(np.concatenate(curves)).query(grid.points())[0] / rig.face_width, np.float32)


def roughness(rgb_HW3: U8, rig: FittedRig, grid: Grid) -> F32:
    """Median contrast (logarithm) of the finest texture around each cell; [Y, X].

    The median does not see single edges (a lip, a fold, a mole), only what is rough all over: hair.
    """
    reach = max(1, round(0.011 * rig.size))
    x0, y0 = (max(int(v) - 2 * reach, 0) for v in (grid.left, grid.top))
    x1, y1 = (
        int(start + grid.step * count) + 2 * reach
        for start, count in ((grid.left, grid.width), (grid.top, grid.height))
    )
    face = rgb_HW3[y0:y1, x0:x1]
    bright, soft = (
        np.log(np.maximum(picture.astype(np.float32) @ LUMA, 6.0))
        for picture in (face, cv2.GaussianBlur(face, (0, 0), SOFT * rig.size))
    )
    grain = np.clip(np.abs(bright - soft) * 1000.0, 0, 255).astype(np.uint8)
    rough = cv2.medianBlur(grain, 2 * reach + 1).astype(np.float32) / 1000.0
    return Grid(grid.left - x0, grid.top - y0, grid.step, grid.width, grid.height).look(rough)


def outside(outline_E2: NDArray[Any], grid: Grid) -> F32:
    """Distance of each cell from a closed outline, px; positive outside."""
    inside = np.zeros((grid.height, grid.width), np.uint8)
    at = (outline_E2 - (grid.left, grid.top)) / grid.step
    cv2.fillPoly(inside, [np.rint(at * 16).astype(np.int32)], 1, shift=4)
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5) - cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    return np.asarray(away * grid.step, np.float32)
