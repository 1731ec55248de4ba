"""The folds of a face as gains on its texture: those that the portrait shows, and those that an expression makes.

Around each line of `creases_folds.FOLDS` the portrait's brightness is looked at in a strip: along the line (rows) and
across it (columns, positive to the left of the line's direction on the person's right half: cheek, eye, hairline).
Medians and blurs along the line keep the fold and drop moles, hairs, pores and brush strokes, so what is learnt of the
fold is a smooth gain; multiplying by it takes away the fold and leaves everything finer untouched. Where there is hair,
beard, lip or a rim of glasses instead of skin, nothing is changed.

Everything is done once per portrait. Gains live on a grid over the face, static in the texture, so nothing swims.

Shape suffixes: H x W pixels, Y x X cells of the grid, G groups, A rows along a line, N columns across it, V vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.creases_folds import FOLDS, GROUPS, Fold, lines, resample
from avatar.render.images import LUMA, sample
from avatar.rig.types import FittedRig

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

CELLS: Final = 112
"""Cells of the grid per face width: half a frame's pixels at 512."""
MOST_OWN: Final = 0.40
"""Largest logarithm by which a fold of the portrait is lightened."""
ROWS: Final = 48
COLUMNS: Final = 41
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


def face_grid(rig: FittedRig) -> Grid:
    """The grid over the skin's box at rest, cut to the frame."""
    step = rig.face_width / CELLS
    low = np.maximum(rig.rest_V3[:, :2].min(0), 0.0)
    high = np.minimum(rig.rest_V3[:, :2].max(0), rig.size - 1.0)
    count = np.maximum(np.ceil((high - low) / step).astype(int) + 1, 2)
    return Grid(float(low[0]), float(low[1]), float(step), int(count[0]), int(count[1]))


def crease_layers(rgb_HW3: U8, rig: FittedRig, grid: Grid, skin_YX: F32) -> tuple[F32, F32]:
    """Gains of each group of folds, minus one; two float32 [G, Y, X].

    The first takes the portrait's own folds away when added in full; the second is the fold that the expression makes.
    skin_YX: from `skin_share`.
    """
    bright_HW = np.log(np.maximum(rgb_HW3.astype(np.float32) @ LUMA, 8.0))
    own = np.zeros((len(GROUPS), grid.height, grid.width), np.float32)
    new = np.zeros_like(own)
    landmarks = rig.rest_V3[rig.landmarks_468, :2]
    light_2 = light_direction(bright_HW, rig)
    for fold in FOLDS:
        for group, points in lines(fold, landmarks):
            strip = Strip.around(points, fold, rig, grid)
            if strip is None:
                continue
            path_A, depth_A, own_AN = find_fold(strip.look(bright_HW), strip.look_grid(skin_YX, grid), strip, fold, rig)
            if fold.own:
                strip.lay(own[group], own_AN, np.maximum)
            strip.lay(new[group], new_fold(strip, fold, path_A, depth_A, light_2, rig), np.add)
    blur = 0.006 * CELLS
    own, new = (
        np.stack([cv2.GaussianBlur(layer, (0, 0), blur) for layer in layers]) * skin_YX for layers in (own, new)
    )
    return np.expm1(own).astype(np.float32), np.expm1(new).astype(np.float32)


@dataclass(frozen=True)
class Strip:
    """The surroundings of a line: where each of its points lies in the portrait, and each cell of the grid in it."""

    points_AN2: F32
    """px."""
    across_N: F32
    """Face widths from the line; positive to the side of `normal_A2`."""
    normal_A2: F32
    taper_A: F32
    """1 along the line, fading at both ends."""
    box: tuple[slice, slice]
    """Cells of the grid near the line."""
    row_YX: F32
    column_YX: F32
    """Where the cells of the box lie in the strip; -1 outside."""

    @classmethod
    def around(cls, points_P2: NDArray[Any], fold: Fold, rig: FittedRig, grid: Grid) -> Strip | None:
        """None where the line lies outside the grid."""
        line = resample(points_P2, ROWS)
        along = np.gradient(line, axis=0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
        down = rig.R_source_33[:2, 1]
        normal = np.stack([along[:, 1], -along[:, 0]], -1)
        # towards the cheek, the brow, the hairline: outwards from the mouth's middle, or up
        middle = rig.rest_V3[rig.mouth_ring_M, :2].mean(0)
        outwards = line.mean(0) - middle if fold.group in ("smile", "sneer") else -down
        if float((normal @ outwards).mean()) < 0:
            normal = -normal
        reach = fold.reach * rig.face_width
        across = np.linspace(-reach, reach, COLUMNS)
        low = (line.min(0) - reach - (grid.left, grid.top)) / grid.step
        high = (line.max(0) + reach - (grid.left, grid.top)) / grid.step
        x0, y0 = np.maximum(np.floor(low).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(high).astype(int) + 1, (grid.width, grid.height))
        if x1 <= x0 or y1 <= y0:
            return None
        box = (slice(int(y0), int(y1)), slice(int(x0), int(x1)))
        offset = grid.points()[box].reshape(-1, 1, 2) - line[None]
        nearest = (offset**2).sum(-1).argmin(1)
        there = offset[np.arange(len(nearest)), nearest]
        row = nearest + np.clip((there * along[nearest]).sum(-1) * (ROWS - 1) / _length(line), -0.5, 0.5)
        beyond = np.abs((there * along[nearest]).sum(-1)) > 0.03 * rig.face_width  # past either end
        column = ((there * normal[nearest]).sum(-1) / reach + 1.0) / 2.0 * (COLUMNS - 1)
        outside = beyond | (column < 0) | (column > COLUMNS - 1)
        shape = (box[0].stop - box[0].start, box[1].stop - box[1].start)
        share = np.linspace(0.0, 1.0, ROWS)
        return cls(
            points_AN2=(line[:, None] + across[None, :, None] * normal[:, None]).astype(np.float32),
            across_N=(across / rig.face_width).astype(np.float32),
            normal_A2=normal.astype(np.float32),
            taper_A=(_smooth(share / 0.22) * _smooth((1.0 - share) / 0.3)).astype(np.float32),
            box=box,
            row_YX=np.where(outside, -1.0, row).reshape(shape).astype(np.float32),
            column_YX=np.where(outside, -1.0, column).reshape(shape).astype(np.float32),
        )

    def look(self, picture_HW: F32) -> F32:
        """A picture in px of the portrait, seen in the strip; [A, N]."""
        return sample(picture_HW, self.points_AN2.reshape(-1, 2)).reshape(ROWS, COLUMNS)

    def look_grid(self, cells_YX: F32, grid: Grid) -> F32:
        """Values of the grid, seen in the strip; [A, N]."""
        at = (self.points_AN2.reshape(-1, 2) - np.array([grid.left, grid.top], np.float32)) / np.float32(grid.step)
        return sample(cells_YX, at).reshape(ROWS, COLUMNS)

    def lay(self, layer_YX: F32, strip_AN: F32, how: np.ufunc) -> None:
        """Put values of the strip into a layer of the grid."""
        found = cv2.remap(strip_AN, self.column_YX, self.row_YX, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        layer_YX[self.box] = how(layer_YX[self.box], np.where(self.row_YX < 0, 0.0, found))


def find_fold(bright_AN: F32, skin_AN: F32, strip: Strip, fold: Fold, rig: FittedRig) -> tuple[F32, F32, F32]:
    """The portrait's own fold in a strip: its path [A] and depth [A], and what lightens it away [A, N] (logarithms).

    Path: face widths from the line. Without a fold worth the name the path is the line itself and the depth 0.
    """
    spacing = _length(strip.points_AN2[:, COLUMNS // 2]) / (ROWS - 1) / rig.face_width
    fill = np.where(skin_AN > 0.5, bright_AN, np.nan)
    fill = np.where(np.isnan(fill), np.nanmedian(fill) if np.isfinite(fill).any() else 0.0, fill)
    window = 2 * max(1, round(0.022 / spacing)) + 1
    rows = np.clip(np.arange(ROWS)[:, None] + np.arange(window) - window // 2, 0, ROWS - 1)
    calm = np.median(fill[rows], axis=1)  # along the line: no moles, hairs, strokes
    weight = cv2.GaussianBlur(skin_AN, (0, 0), sigmaX=0.8, sigmaY=max(0.02 / spacing, 0.5)) + 1e-3
    per_column = float(strip.across_N[1] - strip.across_N[0])
    blur = {"sigmaX": max(0.3 * fold.width / per_column, 0.4), "sigmaY": max(0.02 / spacing, 0.5)}
    calm = cv2.GaussianBlur((calm * (skin_AN + 1e-3)).astype(np.float32), (0, 0), **blur) / cv2.GaussianBlur(
        skin_AN + np.float32(1e-3), (0, 0), **blur
    )
    step = max(2, round(1.6 * fold.width / per_column))
    columns = np.arange(COLUMNS)
    left, right = calm[:, np.maximum(columns - step, 0)], calm[:, np.minimum(columns + step, COLUMNS - 1)]
    valley = np.maximum((left + right) / 2 - calm, 0.0) * np.clip(weight * 1.5 - 0.5, 0, 1)
    valley[:, :step] = valley[:, -step:] = 0.0
    prior = np.exp(-0.5 * (strip.across_N / (0.55 * fold.reach)) ** 2)
    path = best_path(valley * prior)
    soft = cv2.GaussianBlur(path.astype(np.float32)[:, None], (0, 0), 2.5).ravel()
    depth = valley[np.arange(ROWS), np.clip(np.rint(soft).astype(int), 0, COLUMNS - 1)]
    depth = cv2.GaussianBlur(depth.astype(np.float32)[:, None], (0, 0), 3.0).ravel()
    sure = _smooth((depth - 0.012) / 0.03)
    at = strip.across_N[0] + soft * per_column

    # brightness without the fold: straight from shoulder to shoulder
    half = min(2.6 * fold.width, 0.8 * fold.reach)
    shoulder = max(1.0, half / per_column)
    row = np.arange(ROWS, dtype=np.float32)[:, None]
    low = _mean_near(calm, row, soft[:, None] - shoulder)
    high = _mean_near(calm, row, soft[:, None] + shoulder)
    away = (strip.across_N[None] - at[:, None]) / half
    straight = low + (high - low) * (away + 1.0) / 2.0
    window_AN = _smooth((1.0 - np.abs(away)) / 0.55)
    lighten = np.clip(straight - calm, -0.06, MOST_OWN) * window_AN * (sure * strip.taper_A)[:, None]
    return (at * sure).astype(np.float32), (depth * sure).astype(np.float32), lighten.astype(np.float32)


def new_fold(strip: Strip, fold: Fold, path_A: F32, depth_A: F32, light_2: F32, rig: FittedRig) -> F32:
    """Logarithms [A, N] of the gain of a fold that the portrait does not have yet.

    A groove: darker in the middle (less of the room sees it), its far wall from the light darker and its near one
    lighter, and the bulge of skin beside it lighter.
    """
    away = (strip.across_N[None] - path_A[:, None]) / fold.width
    groove = np.exp(-0.5 * away**2)
    facing = (strip.normal_A2 @ light_2)[:, None]
    walls = -1.2 * facing * away * groove
    bulge = fold.bulge * np.exp(-0.5 * ((away - 3.0) / 1.5) ** 2)
    lined = 0.7 + 0.6 * float(np.clip(depth_A.mean() / 0.05, 0.0, 1.0))  # who has lines gets deeper ones
    edge = _smooth((1.0 - np.abs(strip.across_N) / fold.reach) / 0.25)
    return (fold.strength * lined * (walls + bulge - groove) * strip.taper_A[:, None] * edge).astype(np.float32)


def shade_tint(rgb_HW3: U8, rig: FittedRig, skin_YX: F32, grid: Grid) -> F32:
    """How much of a change of brightness each colour takes, float32 [3]: folds of skin are redder, not only darker.

    Slope of each channel's logarithm against that of brightness at the size of folds, over the skin; mean weight 1.
    """
    logs = np.log(np.maximum(rgb_HW3.astype(np.float32), 8.0))
    logs = np.concatenate([logs, np.log(np.maximum(rgb_HW3 @ LUMA, 8.0))[..., None].astype(np.float32)], -1)
    detail = cv2.GaussianBlur(logs, (0, 0), 0.005 * rig.size) - cv2.GaussianBlur(logs, (0, 0), 0.022 * rig.size)
    found = sample(detail, grid.points().reshape(-1, 2))
    weight = skin_YX.ravel() ** 2 * (np.abs(found[:, 3]) < 0.3)
    slope = (weight[:, None] * found[:, :3] * found[:, 3:]).sum(0) / max(float((weight * found[:, 3] ** 2).sum()), 1e-6)
    slope = 1.0 + 0.7 * (np.clip(slope, 0.6, 1.5) - 1.0)
    return np.asarray(slope / float(slope @ LUMA), np.float32)


def light_direction(bright_HW: F32, rig: FittedRig) -> F32:
    """Where the light on the face comes from in the picture's plane, as a vector of length <= 0.5 (x, y)."""
    from avatar.render.images import vertex_normals

    normals = vertex_normals(rig.rest_V3, rig.triangles_T3)
    at = sample(cv2.GaussianBlur(bright_HW, (0, 0), 0.012 * rig.size), rig.rest_V3[:, :2]).ravel()
    use = normals[:, 2] > 0.35
    solution = np.linalg.lstsq(np.c_[np.ones(int(use.sum())), normals[use]], at[use], rcond=None)[0]
    length = float(np.hypot(*solution[1:3]))
    return np.asarray(solution[1:3] * min(1.0, 0.5 / max(length, 1e-6)), np.float32)


def skin_share(rgb_HW3: U8, rig: FittedRig, grid: Grid) -> F32:
    """How surely each cell shows bare skin, 0..1; [Y, X]. Hair, lips, eyes, nostrils and glasses get 0.

    Skin: the hue of this person's cheeks, not much darker than its surroundings, not more textured than the cheeks.
    """
    soft = cv2.GaussianBlur(rgb_HW3, (0, 0), 0.004 * rig.size).astype(np.float32)
    logs = np.log(np.maximum(soft, 6.0))
    bright = np.log(np.maximum(soft @ LUMA, 6.0))
    hue = np.stack([logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]], -1)
    fine = np.log(np.maximum(rgb_HW3.astype(np.float32) @ LUMA, 6.0)) - bright
    # the median does not see single edges (a lip, a fold, a mole), only what is rough all over: hair
    kernel = 2 * max(1, round(0.011 * rig.size)) + 1
    grain = np.clip(np.abs(fine) * 1000.0, 0, 255).astype(np.uint8)
    rough = cv2.medianBlur(grain, kernel).astype(np.float32) / 1000.0
    cheeks = rig.rest_V3[rig.landmarks_468[list(CHEEKS)], :2]
    hue_0 = np.median(sample(hue, cheeks), 0)
    spread = np.median(np.abs(sample(hue, cheeks) - hue_0), 0)
    off = (np.abs(hue - hue_0) / (0.12 + 2.0 * spread)).max(-1)
    around = cv2.GaussianBlur(bright, (0, 0), 0.05 * rig.size)
    darker = around - bright
    base = float(np.clip(np.quantile(sample(rough, cheeks), 0.35), 0.008, 0.03))
    skin = _smooth((3.2 - off) / 1.4) * _smooth((1.1 - darker) / 0.4) * _smooth((4.0 - rough / base) / 1.6)
    at = grid.points()
    share = sample(skin.astype(np.float32), at.reshape(-1, 2)).reshape(grid.height, grid.width)
    for ring, near in ((rig.lip_outer_M, 0.012), *((eye, 0.014) for eye in rig.eye_ring_2E)):
        outline = np.ascontiguousarray(rig.rest_V3[ring, :2])
        share *= _smooth((_outside(outline, grid) / rig.face_width - near) / near)
    share *= _smooth((-_outside(np.ascontiguousarray(rig.rest_V3[rig.oval_ring, :2]), grid)) / (0.04 * rig.face_width))
    return np.asarray(cv2.GaussianBlur(np.asarray(share, np.float32), (0, 0), 0.008 * CELLS), np.float32)


def best_path(score_AN: NDArray[Any]) -> NDArray[np.intp]:
    """Column of each row so that the path's score is largest, moving at most one column per row (and best not)."""
    rows, columns = score_AN.shape
    total = np.array(score_AN, np.float64)
    came = np.zeros((rows, columns), np.intp)
    cost = 0.15 * float(score_AN.max())
    for a in range(1, rows):
        steps = np.full((3, columns), -np.inf)
        steps[0, 1:] = total[a - 1, :-1] - cost
        steps[1] = total[a - 1]
        steps[2, :-1] = total[a - 1, 1:] - cost
        best = steps.argmax(0)
        came[a] = np.arange(columns) + best - 1
        total[a] += steps[best, np.arange(columns)]
    path = np.empty(rows, np.intp)
    path[-1] = total[-1].argmax() if total[-1].max() > 0 else columns // 2
    for a in range(rows - 1, 0, -1):
        path[a - 1] = came[a, path[a]]
    return path


def _outside(outline_E2: F32, grid: Grid) -> F32:
    """Distance of each cell from a closed outline, px; positive outside."""
    inside = np.zeros((grid.height, grid.width), np.uint8)
    at = (outline_E2 - (grid.left, grid.top)) / grid.step
    cv2.fillPoly(inside, [np.rint(at * 16).astype(np.int32)], 1, shift=4)
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5) - cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    return np.asarray(away * grid.step, np.float32)


def _mean_near(strip_AN: F32, row_A1: F32, column_A1: F32) -> NDArray[Any]:
    """Mean over three columns around a place in each row; [A, 1]."""
    places = np.concatenate([column_A1 + d for d in (-1.0, 0.0, 1.0)], 1).astype(np.float32)
    rows = np.broadcast_to(row_A1, places.shape).astype(np.float32)
    found = cv2.remap(strip_AN, places, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.mean(1, keepdims=True))


def _length(line_A2: NDArray[Any]) -> float:
    return max(float(np.linalg.norm(np.diff(line_A2, axis=0), axis=1).sum()), 1e-3)


def _smooth(t: NDArray[Any]) -> NDArray[Any]:
    t = np.clip(t, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))
