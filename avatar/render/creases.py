"""The folds of a face: those that the portrait shows, taken away; and those that an expression makes, drawn.

Around each line of `creases_folds.FOLDS` the portrait is looked at in a strip: along the line (rows) and across it
(columns). Medians and blurs along the line keep what runs along it, the fold, and drop moles, hairs, pores and brush
strokes. The valley between the shoulders on both sides, colour by colour, is the fold; divided out, the finer texture
stays as it is. Where there is hair, beard, lip or a rim of glasses instead of skin, nothing is changed.

Everything is done once per portrait, in texture coordinates, where the mesh never moves: nothing swims.

Shape suffixes: H x W pixels, Y x X cells of a grid, G groups, A rows along a line, N columns across it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.render.creases_folds import FOLDS, GROUPS, Fold, lines, resample
from avatar.render.creases_skin import CELLS, Grid, face_grid, skin_share, soft_logs
from avatar.render.creases_traces import GRAIN, OWN_RANGE, calm_down, kept, lighten_corner, spots
from avatar.render.images import LUMA, sample, smooth
from avatar.rig.types import FittedRig

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Box = tuple[slice, slice]

DARKEST: Final = 8.0
"""Colours are looked at as no darker than this: logarithms of less are noise."""
WHOLLY: Final = 0.17
"""What a deep fold's removal is enlarged by: the trace that `shading.OWN_MOST` leaves of it would be a line."""
MOUTH_CORNERS: Final = (61, 291)
"""Landmarks: the person's right and left, in the order of the groups of a smile."""
SHOULDER: Final = 4.5
"""Widths of a fold at most between its bottom and the shoulders of skin on both sides."""
ROWS: Final = 48
COLUMNS: Final = 41


def crease_layers(
    rgb_HW3: U8, rig: FittedRig, cells: Grid, pixels: Grid, skin_2YX: F32, light_2: F32
) -> tuple[list[F32], F32]:
    """What takes away the portrait's own folds, and what draws those that an expression makes, per group.

    The first: logarithms of gains per colour on the grid `pixels`, float32 [Y, X, 3] each; the second: gains minus
    one on the grid `cells`, float32 [G, Y, X]. skin_2YX: `skin_share` on `cells`; light_2: the light on the face,
    across the picture (`Layers.light_4`).
    """
    logs_HW3 = np.log(np.maximum(rgb_HW3.astype(np.float32), DARKEST))
    own = [np.zeros((pixels.height, pixels.width, 3), np.float32) for _ in GROUPS]
    new = np.zeros((len(GROUPS), cells.height, cells.width), np.float32)
    texture = pixels.look(logs_HW3)
    landmarks = rig.rest_V3[rig.landmarks_468, :2]
    width = rig.face_width / pixels.step
    spot_YX = spots(texture @ LUMA, width)
    for fold in FOLDS:
        for group, points in lines(fold, landmarks):
            strip = Strip.around(points, fold, rig)
            skin_AN = strip.look_grid(skin_2YX[int(fold.group == "smile")], cells)
            found = find_fold(strip.look(logs_HW3), skin_AN, strip, fold, rig)
            path_A, depth_A = found.path_A, found.depth_A
            if fold.own:
                box, away = take_away(found, strip, texture, spot_YX, pixels, rig)
                own[group][box] += away * (1.0 - np.minimum(np.abs(own[group][box]) / 0.15, 1.0))
            if fold.strength:
                box, drawn = strip.lay(new_fold(strip, fold, path_A, depth_A, light_2) * skin_AN, cells, rig)
                new[group][box] += drawn
    for group, corner in ((0, MOUTH_CORNERS[0]), (1, MOUTH_CORNERS[1])):
        skin = cells.at(skin_2YX[1], pixels)
        own[group] += lighten_corner(texture + own[group], skin, landmarks[corner], pixels, width)
        own[group] += calm_down(texture + own[group], own[group], spot_YX, skin, width)
        deep = smooth(np.abs(own[group]).max(-1, keepdims=True) / 0.1 - 0.3)
        gain = np.expm1(own[group]) * (1.0 + WHOLLY * deep)  # a frame mixes colours, not logarithms
        own[group] = np.log1p(np.maximum(gain, -0.9)).astype(np.float32)
    return own, np.expm1(np.stack([cv2.GaussianBlur(layer, (0, 0), 0.006 * CELLS) for layer in new]))


@dataclass(frozen=True)
class Strip:
    """The surroundings of a line."""

    points_AN2: F32
    """px of the portrait."""
    across_N: F32
    """Face widths from the line; positive to the side of `normal_A2`."""
    normal_A2: F32
    """Unit; points to the cheek, the brow or the hairline."""
    taper_A: F32
    """1 along the line, fading at both ends."""

    @classmethod
    def around(cls, points_P2: NDArray[Any], fold: Fold, rig: FittedRig) -> Strip:
        """The strip of a fold whose line runs through these points, px."""
        line = resample(points_P2, ROWS)
        along = np.gradient(line, axis=0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
        normal = np.stack([along[:, 1], -along[:, 0]], -1)
        middle = rig.rest_V3[rig.mouth_ring_M, :2].mean(0)
        outwards = line.mean(0) - middle if fold.group in ("smile", "sneer") else -rig.R_source_33[:2, 1]
        if float((normal @ outwards).mean()) < 0:
            normal = -normal
        across = np.linspace(-fold.reach, fold.reach, COLUMNS)
        share = np.linspace(0.0, 1.0, ROWS)
        return cls(
            points_AN2=(line[:, None] + across[:, None] * rig.face_width * normal[:, None]).astype(np.float32),
            across_N=across.astype(np.float32),
            normal_A2=normal.astype(np.float32),
            taper_A=(smooth(share / 0.12) * smooth((1.0 - share) / 0.2)).astype(np.float32),
        )

    def look(self, picture_HWC: F32) -> F32:
        """A picture in px of the portrait, seen in the strip; [A, N, C]."""
        return sample(picture_HWC, self.points_AN2.reshape(-1, 2)).reshape(ROWS, COLUMNS, -1)

    def look_grid(self, cells_YX: F32, grid: Grid) -> F32:
        """Values of a grid, seen in the strip; [A, N]."""
        at = (self.points_AN2.reshape(-1, 2) - np.array([grid.left, grid.top], np.float32)) / np.float32(grid.step)
        return sample(cells_YX, at).reshape(ROWS, COLUMNS)

    def lay(self, strip_ANC: F32, grid: Grid, rig: FittedRig) -> tuple[Box, F32]:
        """Values of the strip on a grid: the box of cells (rows, columns) that they lie in, and the values there."""
        line = self.points_AN2[:, COLUMNS // 2].astype(np.float64)
        along = np.stack([-self.normal_A2[:, 1], self.normal_A2[:, 0]], -1)
        reach = float(self.across_N[-1]) * rig.face_width
        start = np.array([grid.left, grid.top])
        most = (grid.width, grid.height)
        x0, y0 = np.clip(np.floor((line.min(0) - reach - start) / grid.step).astype(int), 0, most)
        x1, y1 = np.clip(np.ceil((line.max(0) + reach - start) / grid.step).astype(int) + 1, 0, most)
        box = (slice(int(y0), int(y1)), slice(int(x0), int(x1)))
        at = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), -1) * grid.step + start
        nearest = cKDTree(line).query(at)[1]
        there = at - line[nearest]
        slid = (there * along[nearest]).sum(-1)
        spacing = _length(line) / (ROWS - 1)
        direction = 1.0 if float(((line[1:] - line[:-1]) * along[:-1]).sum()) > 0 else -1.0
        row = nearest + np.clip(direction * slid / spacing, -0.5, 0.5)
        column = ((there * self.normal_A2[nearest]).sum(-1) / reach + 1.0) / 2.0 * (COLUMNS - 1)
        outside = (np.abs(slid) > 0.03 * rig.face_width) | (column < 0) | (column > COLUMNS - 1)
        found = cv2.remap(
            strip_ANC,
            column.astype(np.float32),
            row.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        found[outside] = 0.0
        return box, np.asarray(found, np.float32)


@dataclass(frozen=True)
class FoundFold:
    """The portrait's own fold in a strip. Without a fold worth the name the path is the line itself and the depth 0."""

    path_A: F32
    """Face widths from the line."""
    depth_A: F32
    """Logarithm of brightness."""
    away_AN3: F32
    """What takes the fold away (logarithms of gains)."""
    straight_AN3: F32
    """Logarithms of the colours without the fold."""
    core_AN: F32
    """0..1: the bottom of the fold, where its line is too sharp for `away_AN3` alone."""


def take_away(
    fold: FoundFold, strip: Strip, texture_YX3: F32, spot_YX: F32, grid: Grid, rig: FittedRig
) -> tuple[Box, F32]:
    """A fold's removal on the grid of the texture's pixels (box, logarithms of gains there).

    At the bottom of the fold what is left of its line is held to the grain of skin; spots stay.
    """
    layers = np.concatenate([fold.away_AN3, fold.straight_AN3, fold.core_AN[..., None]], -1)
    box, found = strip.lay(layers, grid, rig)
    away, straight, core = found[..., :3], found[..., 3:6], found[..., 6:]
    left = texture_YX3[box] + away - straight
    core = np.asarray(core * (1.0 - kept(spot_YX[box], away))[..., None], np.float32)
    return box, away - core * (left - np.clip(left, -GRAIN, GRAIN))


def fold_depths(rgb_HW3: U8, rig: FittedRig) -> dict[str, float]:
    """How deep each fold of FOLDS is in a portrait: mean of the logarithm of brightness that it lacks, largest side.

    A measure for comparisons; 0.01 can hardly be seen, 0.1 is a deep fold.
    """
    cells = face_grid(rig)
    skin_2YX = skin_share(rgb_HW3, soft_logs(rgb_HW3, cells), rig, cells)
    logs_HW3 = np.log(np.maximum(rgb_HW3.astype(np.float32), DARKEST))
    depths: dict[str, float] = {}
    for fold in FOLDS:
        for _, points in lines(fold, rig.rest_V3[rig.landmarks_468, :2]):
            strip = Strip.around(points, fold, rig)
            skin_AN = strip.look_grid(skin_2YX[int(fold.group == "smile")], cells)
            depth = float(find_fold(strip.look(logs_HW3), skin_AN, strip, fold, rig).depth_A.mean())
            depths[fold.name] = max(depths.get(fold.name, 0.0), depth)
    return depths


def find_fold(logs_AN3: F32, skin_AN: F32, strip: Strip, fold: Fold, rig: FittedRig) -> FoundFold:
    """Look for the portrait's own fold in a strip of logarithms of colours; skin_AN: 0..1."""
    spacing = _length(strip.points_AN2[:, COLUMNS // 2]) / (ROWS - 1) / rig.face_width
    per_column = float(strip.across_N[1] - strip.across_N[0])
    calm_AN3 = calmed(logs_AN3, skin_AN, spacing, 0.25 * fold.width / per_column)
    calm = calm_AN3 @ LUMA
    sure_skin = np.clip(1.5 * cv2.GaussianBlur(skin_AN, (0, 0), sigmaX=0.8, sigmaY=0.02 / spacing) - 0.5, 0, 1)

    # its bottom: the best path along the strip
    step = max(2, round(1.6 * fold.width / per_column))
    columns = np.arange(COLUMNS)
    left, right = calm[:, np.maximum(columns - step, 0)], calm[:, np.minimum(columns + step, COLUMNS - 1)]
    valley = np.maximum((left + right) / 2 - calm, 0.0) * sure_skin
    valley[:, :2] = valley[:, -2:] = 0.0
    prior = np.exp(-0.5 * (strip.across_N / (0.6 * fold.reach)) ** 2)
    bottom = _soften(best_path(np.asarray(valley * prior, np.float64)), 1.5)
    depth = _soften(valley[np.arange(ROWS), np.clip(np.rint(bottom).astype(int), 0, COLUMNS - 1)], 3.0)
    sure = smooth((depth - 0.008) / 0.02)

    # its shoulders: where skin stops getting lighter on both sides; brightness without the fold runs straight between
    reach = SHOULDER * fold.width / per_column
    away = columns[None] - bottom[:, None]
    open_skin = np.where(skin_AN > 0.4, 0.0, -1.0)
    slope = 0.015 / max(1.0, reach)  # the nearer of two equal ones
    rise = calm - slope * np.abs(away) + open_skin
    low = _soften(np.where((away <= -1) & (away >= -reach), rise, -9.0).argmax(1), 2.5)
    high = _soften(np.where((away >= 1) & (away <= reach), rise, -9.0).argmax(1), 2.5)
    share = (columns[None] - low[:, None]) / np.maximum(high - low, 2.0)[:, None]
    ends = [_mean_near(calm_AN3, place) for place in (low, high)]
    straight = ends[0][:, None] + (ends[1] - ends[0])[:, None] * np.clip(share, 0, 1)[..., None]
    inside = smooth(share / 0.2) * smooth((1.0 - share) / 0.2)
    weight = inside * sure_skin * (sure * strip.taper_A)[:, None]
    if fold.many:  # lines side by side: all that is darker than the mean across
        wide = 1.8 * fold.width / per_column
        skin = np.asarray(sure_skin + 1e-3, np.float32)
        total = cv2.GaussianBlur(calm_AN3 * skin[..., None], (0, 0), sigmaX=wide, sigmaY=0.5)
        straight = total / cv2.GaussianBlur(skin, (0, 0), sigmaX=wide, sigmaY=0.5)[..., None]
        edge = smooth((1.0 - np.abs(strip.across_N) / fold.reach) / 0.3)
        weight = edge * sure_skin * strip.taper_A[:, None]
    away_AN3 = np.clip(straight - calm_AN3, *OWN_RANGE) * weight[..., None]
    at = strip.across_N[0] + bottom * per_column
    core = smooth((straight - calm_AN3) @ LUMA / 0.08 - 0.5) * weight
    return FoundFold(
        path_A=(at * sure).astype(np.float32),
        depth_A=(depth * sure).astype(np.float32),
        away_AN3=away_AN3.astype(np.float32),
        straight_AN3=straight.astype(np.float32),
        core_AN=core.astype(np.float32),
    )


def calmed(logs_AN3: F32, skin_AN: F32, spacing: float, across: float) -> F32:
    """What runs along a strip: running medians along it, then a blur of `across` columns; other than skin is bridged.

    spacing: face widths between rows.
    """
    known = skin_AN > 0.4
    fill_3 = np.median(logs_AN3[known], axis=0) if known.any() else np.median(logs_AN3, axis=(0, 1))
    filled = np.where(known[..., None], logs_AN3, fill_3)
    window = 2 * max(1, round(0.018 / spacing)) + 1
    rows = np.clip(np.arange(ROWS)[:, None] + np.arange(window) - window // 2, 0, ROWS - 1)
    middle = np.median(filled[rows], axis=1).astype(np.float32)
    across, along = max(across, 0.4), max(0.012 / spacing, 0.5)
    weight = np.asarray(skin_AN + 1e-3, np.float32)
    total = cv2.GaussianBlur(middle * weight[..., None], (0, 0), sigmaX=across, sigmaY=along)
    return np.asarray(total / cv2.GaussianBlur(weight, (0, 0), sigmaX=across, sigmaY=along)[..., None], np.float32)


def new_fold(strip: Strip, fold: Fold, path_A: F32, depth_A: F32, light_2: F32) -> F32:
    """Logarithms [A, N] of the gain of a fold that the portrait does not have yet.

    A groove: darker in the middle (less of the room sees it), its far wall from the light darker and its near one
    lighter, and the bulge of skin beside it lighter.
    """
    away = (strip.across_N[None] - path_A[:, None]) / fold.width
    groove = np.exp(-0.5 * away**2)
    facing = (strip.normal_A2 @ light_2)[:, None]
    walls = -0.8 * facing * away * groove
    bulge = fold.bulge * np.exp(-0.5 * ((away - 3.0) / 1.5) ** 2)
    lined = 0.75 + 0.35 * float(np.clip(depth_A.mean() / 0.05, 0.0, 1.0))  # who has lines gets deeper ones
    edge = smooth((1.0 - np.abs(strip.across_N) / fold.reach) / 0.25)
    share = np.linspace(0.0, 1.0, ROWS)[:, None]
    taper = smooth(share / 0.35) * smooth((1.0 - share) / 0.35)
    return np.asarray(fold.strength * lined * (walls + bulge - groove) * taper * edge, np.float32)


@njit(cache=True, nogil=True)
def best_path(score_AN: NDArray[np.float64]) -> NDArray[np.intp]:
    """Column of each row so that the path's score is largest, moving at most one column per row (and best not)."""
    rows, columns = score_AN.shape
    total = score_AN.copy()
    came = np.zeros((rows, columns), np.intp)
    cost = 0.15 * score_AN.max()
    for a in range(1, rows):
        for n in range(columns):
            best, most = n, total[a - 1, n]
            for other in (n - 1, n + 1):
                if 0 <= other < columns and total[a - 1, other] - cost > most:
                    best, most = other, total[a - 1, other] - cost
            came[a, n] = best
            total[a, n] += most
    path = np.empty(rows, np.intp)
    path[-1] = total[-1].argmax() if total[-1].max() > 0 else columns // 2
    for a in range(rows - 1, 0, -1):
        path[a - 1] = came[a, path[a]]
    return path


def _mean_near(strip_AN3: F32, column_A: NDArray[Any]) -> NDArray[Any]:
    """Mean over three columns around a place in each row; [A, 3]."""
    places = (column_A[:, None] + (-1.0, 0.0, 1.0)).astype(np.float32)
    rows = np.broadcast_to(np.arange(ROWS, dtype=np.float32)[:, None], places.shape)
    found = cv2.remap(strip_AN3, places, np.ascontiguousarray(rows), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.mean(1))


def _soften(values_A: NDArray[Any], sigma: float) -> NDArray[Any]:
    return np.asarray(cv2.GaussianBlur(np.asarray(values_A, np.float32)[:, None], (0, 0), sigma), np.float64).ravel()


def _length(line_A2: NDArray[Any]) -> float:
    return max(float(np.linalg.norm(np.diff(line_A2, axis=0), axis=1).sum()), 1e-3)
