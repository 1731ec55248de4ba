"""Light and folds of the skin, frame by frame, as a gain on the face's part of the texture.

Three things change how bright skin is when a face moves: its normals turn in a light that stays in the room; hollows
and bulges form; folds come and go (creases.py). All are functions of the texture's coordinates, where the mesh
never moves, so the skin carries them along and nothing swims. In the portrait's own expression and pose every gain is
exactly 1.

    texture = (portrait + sum over groups of weight * own) * (1 + tint * (light + sum over groups of weight * new))

own: what takes the portrait's own folds of a group away (per pixel and colour); new: the folds that an expression makes
(per cell, bilinear between); tint: how much of a change of brightness each colour takes.

Light: first-order light (`Layers.light_4`: a + b . normal) against what it is at rest, plus a share of the change of
the surface's curvature (a hollow sees less of the room). Both come from the posed vertices; a fixed Gaussian average
over vertices takes them to a coarse grid, which bilinear steps take to the cells of the folds' grid and to the pixels.

Arrays are plain so that a batched path can do the same with matrix products.
Shape suffixes: V skin vertices, T triangles, B neighbours of a vertex, W x Z cells of the coarse grid (rows, columns),
S vertices that a coarse cell averages, Y x X cells of the folds' grid, G groups, K channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.motion.space import EXPRESSION_DIM
from avatar.render.creases import DARKEST
from avatar.render.creases_folds import drive_matrix, drives
from avatar.render.creases_pack import Creases
from avatar.render.creases_skin import Grid, face_grid, outside, pixel_grid
from avatar.render.images import sample, smooth
from avatar.rig.mesh import adjacency
from avatar.rig.types import DeformedFace, FittedRig

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

LIGHT_MOST: Final = 0.17
"""Largest change of brightness by light and curvature."""
GAIN: Final = (0.62, 1.55)
"""Least and largest gain altogether."""
HOLLOW: Final = 1.1
"""Change of brightness per change of curvature (mean offset of the neighbours over their mean distance)."""
COARSE: Final = 4
"""Cells of the folds' grid per cell of the coarse grid, each way."""
SPREAD: Final = 0.022
"""Face widths: standard deviation of the average over vertices."""
AVERAGED: Final = 16
"""Vertices that a coarse cell averages."""
RIM: Final = 0.13
"""Face widths inside the oval over which light fades in, since hair and ears beyond it are not relit."""
OWN_AT: Final = 0.5
"""Drive in the portrait from which its folds count as the expression's own, not as the years'."""
OWN_MOST: Final = 0.85
"""Share of such folds that goes with the expression; a trace of them is natural."""
DEEPER: Final = 0.35
"""How much the portrait's own folds deepen per drive beyond the portrait's."""


@dataclass(frozen=True)
class Shading:
    """Precomputed for one rig and one size of frame."""

    triangles_T3: I32
    sign: float
    """+1 or -1: makes normals point to the viewer."""
    light_4: F32
    rest_V2: F32
    """Light and curvature at rest (`surface`)."""
    neighbours_VB: I32
    """Padded with the vertex itself."""
    near_V: F32
    """1 / mean distance of the neighbours at rest, 1/px."""
    mask_V: F32
    """0..1: how much light and curvature count at a vertex (0 at the rim, at the lids and between the lips)."""
    average_CS: I32
    """Vertices of each coarse cell (row by row, C = W * Z)."""
    share_CS: F32
    coarse_shape: tuple[int, int]
    own_N3: NDArray[np.int16]
    """Colours to be added that take each group's own folds away, box after box, row by row."""
    own_start_G: I32
    """Where each group's box begins in `own_N3`."""
    own_boxes_G4: I32
    """Pixels x0, y0, x1, y1 of the texture."""
    new_GYX: F32
    """Gains minus one (creases.crease_layers)."""
    new_boxes_G4: I32
    """Cells x0, y0, x1, y1 of each group outside which its layer is 0."""
    drive_GK: F32
    source_drive_G: F32
    tint_3: F32
    base_HW4: U8
    """The texture as it was taken."""
    box_4: I32
    """Pixels x0, y0, x1, y1 of the texture that are written."""
    cell_x_X: I32
    part_x_X: F32
    cell_y_Y: I32
    part_y_Y: F32
    """For each column (row) of the box: the cell to its left (above) and how far beyond it, 0..1."""

    def apply(self, face: DeformedFace, motion_D: F32, texture_HW4: U8) -> None:
        """Write the face's part of the texture for one frame.

        motion_D: clamped. texture_HW4: a copy of the person's texture of the frame's size; only pixels inside `box_4`
        are written, all of them, so that nothing of the frame before remains.
        """
        own_G, new_G = self.weights(motion_D)
        now_V2 = surface(
            face.skin_V3, self.triangles_T3, self.sign, self.light_4, self.neighbours_VB, self.near_V, face.pose.scale
        )
        light_V = light_change(now_V2, self.rest_V2, self.mask_V)
        coarse = average(light_V, self.average_CS, self.share_CS, *self.coarse_shape)
        gain = fold_gains(coarse, self.new_GYX, self.new_boxes_G4, new_G)
        paint(
            self.base_HW4, self.own_N3, self.own_start_G, self.own_boxes_G4, own_G, gain, self.tint_3, self.box_4,
            self.cell_x_X, self.part_x_X, self.cell_y_Y, self.part_y_Y, texture_HW4,
        )  # fmt: skip

    def weights(self, motion_D: F32) -> tuple[F32, F32]:
        """Weights of the portrait's own folds' removal and of new folds, float32 [G] each; both 0 at its own
        expression."""
        return fold_weights(drives(self.drive_GK, motion_D[:EXPRESSION_DIM]), self.source_drive_G)


def fold_weights(drive_G: F32, source_G: F32) -> tuple[F32, F32]:
    """Weights for drives, given those in the portrait: below them its folds fade, above them folds come in."""
    more = np.maximum(drive_G - source_G, 0.0)
    less = np.maximum(source_G - drive_G, 0.0)
    fade = OWN_MOST * np.minimum(source_G / OWN_AT, 1.0) * less / np.maximum(source_G, 1e-3)
    return np.asarray(fade - DEEPER * more, np.float32), np.asarray(more, np.float32)


def build_shading(rig: FittedRig, light_4: F32, creases: Creases, texture_HW4: U8) -> Shading:
    """Everything that depends on the portrait and the frame's size only; about 30 ms.

    rig: the one that deforms. light_4: `Layers.light_4`. creases: `prepare_creases`. texture_HW4: the person at the
    frame's size (kept, not copied).
    """
    size = texture_HW4.shape[0]
    scale = size / rig.size
    grid = face_grid(rig)
    _, box = pixel_grid(grid, scale, size)
    light = np.ascontiguousarray(light_4, np.float32)
    own_N3, own_start_G, own_boxes_G4 = own_differences(creases, scale, texture_HW4, box)
    triangles = np.ascontiguousarray(rig.triangles_T3)
    a, b, c = (rig.rest_V3[triangles[:, i]] for i in range(3))
    sign = 1.0 if np.cross(b - a, c - a)[:, 2].mean() > 0 else -1.0  # as vertex_normals chooses
    neighbours = neighbour_table(rig)
    distance = np.linalg.norm(rig.rest_V3[neighbours] - rig.rest_V3[:, None], axis=-1).sum(1)
    count = (neighbours != np.arange(len(neighbours))[:, None]).sum(1)
    near = np.asarray(count / np.maximum(distance, 1e-3), np.float32)
    matrix = drive_matrix()
    average_CS, share_CS, shape = averages(rig, grid)
    cell_x, part_x = _steps(np.arange(box[0], box[2]), scale, grid.left, grid.step, grid.width)
    cell_y, part_y = _steps(np.arange(box[1], box[3]), scale, grid.top, grid.step, grid.height)
    return Shading(
        triangles_T3=triangles,
        sign=sign,
        light_4=light,
        rest_V2=surface(np.ascontiguousarray(rig.rest_V3), triangles, sign, light, neighbours, near, 1.0),
        neighbours_VB=neighbours,
        near_V=near,
        mask_V=light_mask(rig, grid),
        average_CS=average_CS,
        share_CS=share_CS,
        coarse_shape=shape,
        own_N3=own_N3,
        own_start_G=own_start_G,
        own_boxes_G4=own_boxes_G4,
        new_GYX=creases.new_layers(grid),
        new_boxes_G4=creases.new_boxes_G4,
        drive_GK=matrix,
        source_drive_G=drives(matrix, rig.source_expression_K),
        tint_3=creases.tint_3,
        base_HW4=texture_HW4,
        box_4=np.array(box, np.int32),
        cell_x_X=cell_x,
        part_x_X=part_x,
        cell_y_Y=cell_y,
        part_y_Y=part_y,
    )


def own_differences(
    creases: Creases, scale: float, texture_HW4: U8, box_4: tuple[int, int, int, int]
) -> tuple[NDArray[np.int16], I32, I32]:
    """What takes away the portrait's own folds as colours to be added to a texture (`Shading.own_*`).

    box_4: the pixels that may change.
    """
    parts, starts, boxes, start = [np.zeros((0, 3), np.int16)], [], [], 0
    low, high = np.array(box_4[:2]), np.array(box_4[2:])
    for group in range(len(creases.own_boxes_G4)):
        logs, (x0, y0, x1, y1) = creases.own_logs(group, scale, texture_HW4.shape[0])
        (left, top), (right, bottom) = np.clip((x0, y0), low, high), np.clip((x1, y1), low, high)
        face = texture_HW4[top:bottom, left:right, :3].astype(np.float32)
        gain = np.exp(logs[top - y0 : bottom - y0, left - x0 : right - x0]) if face.size else face
        # a colour of nearly nothing was looked at as DARKEST: multiplied as it is, a dark line would turn red
        added = np.rint(np.minimum(np.maximum(face, DARKEST) * (gain - 1.0), 255.0 - face)).astype(np.int16)
        starts.append(start)
        boxes.append((left, top, right, bottom))
        parts.append(added.reshape(-1, 3))
        start += len(parts[-1])
    return np.concatenate(parts), np.array(starts, np.int32), np.array(boxes, np.int32)


def light_mask(rig: FittedRig, grid: Grid) -> F32:
    """How much light and curvature count at each vertex; float32 [V]."""
    cell_V2 = (rig.rest_V3[:, :2] - (grid.left, grid.top)) / grid.step

    def away(ring: I32, inside: float) -> NDArray[Any]:
        """Face widths from an outline; a share of that counts inside it."""
        distance = outside(rig.rest_V3[ring, :2], grid) / rig.face_width
        return sample(np.where(distance < 0, distance * inside, distance).astype(np.float32), cell_V2).ravel()

    mask = smooth(away(rig.oval_ring, -1.0) / RIM)
    for eye in rig.eye_ring_2E:
        mask *= smooth((away(eye, 0.0) - 0.012) / 0.05)
    mask *= 0.25 + 0.75 * smooth(away(rig.lip_outer_M, -1.0) / 0.05 - 0.1)
    mask *= smooth(away(rig.mouth_ring_M, 0.0) / 0.06)
    return np.asarray(mask, np.float32)


def neighbour_table(rig: FittedRig) -> I32:
    """Vertices that share an edge with each vertex, padded with itself; int32 [V, B]."""
    count = len(rig.rest_V3)
    edges = adjacency(rig.triangles_T3, count)
    edges.sort_indices()
    per_vertex = np.diff(edges.indptr)
    table = np.repeat(np.arange(count, dtype=np.int32)[:, None], int(per_vertex.max()), 1)
    rows = np.repeat(np.arange(count), per_vertex)
    table[rows, np.arange(len(rows)) - edges.indptr[rows]] = edges.indices
    return table


def averages(rig: FittedRig, grid: Grid) -> tuple[I32, F32, tuple[int, int]]:
    """Vertices around each coarse cell and their shares (sum at most 1), [C, S] each; and (rows, columns)."""
    rows, columns = (n // COARSE + 2 for n in (grid.height - 1, grid.width - 1))
    at = Grid(grid.left, grid.top, grid.step * COARSE, columns, rows).points().reshape(-1, 2)
    apart, nearest = cKDTree(rig.rest_V3[:, :2]).query(at, AVERAGED)
    weight = np.exp(-0.5 * (apart / (SPREAD * rig.face_width)) ** 2)
    share = weight / np.maximum(weight.sum(1, keepdims=True), 0.05)
    return nearest.astype(np.int32), share.astype(np.float32), (rows, columns)


@njit(cache=True, nogil=True, error_model="numpy")
def surface(
    skin_V3: F32, triangles_T3: I32, sign: float, light_4: F32, neighbours_VB: I32, near_V: F32, scale: float
) -> F32:
    """Light a + b . normal (at least 0.25) and curvature at each vertex; float32 [V, 2].

    Curvature: how far the neighbours lie before the vertex along its normal, on average, over their distance at rest;
    positive in a hollow. `scale` is the head's, so that coming nearer changes nothing.
    """
    count = skin_V3.shape[0]
    normal = np.zeros((count, 3), np.float32)
    for t in range(triangles_T3.shape[0]):
        i, j, k = triangles_T3[t, 0], triangles_T3[t, 1], triangles_T3[t, 2]
        ax, ay, az = skin_V3[j, 0] - skin_V3[i, 0], skin_V3[j, 1] - skin_V3[i, 1], skin_V3[j, 2] - skin_V3[i, 2]
        bx, by, bz = skin_V3[k, 0] - skin_V3[i, 0], skin_V3[k, 1] - skin_V3[i, 1], skin_V3[k, 2] - skin_V3[i, 2]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            normal[v, 0] += nx
            normal[v, 1] += ny
            normal[v, 2] += nz
    out = np.empty((count, 2), np.float32)
    shrink = np.float32(1.0 / scale)
    for v in range(count):
        nx, ny, nz = normal[v, 0], normal[v, 1], normal[v, 2]
        inverse = np.float32(sign) / max(np.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-6))
        nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
        out[v, 0] = max(light_4[0] + light_4[1] * nx + light_4[2] * ny + light_4[3] * nz, np.float32(0.25))
        x = y = z = np.float32(0.0)
        around = np.float32(0.0)
        for b in range(neighbours_VB.shape[1]):
            n = neighbours_VB[v, b]
            if n != v:
                x += skin_V3[n, 0] - skin_V3[v, 0]
                y += skin_V3[n, 1] - skin_V3[v, 1]
                z += skin_V3[n, 2] - skin_V3[v, 2]
                around += np.float32(1.0)
        out[v, 1] = (x * nx + y * ny + z * nz) * shrink * near_V[v] / around
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def light_change(now_V2: F32, rest_V2: F32, mask_V: F32) -> F32:
    """Change of brightness at each vertex from `surface` now and at rest; float32 [V], within +-LIGHT_MOST."""
    out = np.empty(len(mask_V), np.float32)
    most = np.float32(LIGHT_MOST)
    for v in range(len(mask_V)):
        change = now_V2[v, 0] / rest_V2[v, 0] - np.float32(1.0) - np.float32(HOLLOW) * (now_V2[v, 1] - rest_V2[v, 1])
        out[v] = mask_V[v] * most * np.tanh(change / most)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def average(values_V: F32, average_CS: I32, share_CS: F32, rows: int, columns: int) -> F32:
    """Values of the vertices on the coarse grid; float32 [rows, columns]."""
    out = np.empty((rows, columns), np.float32)
    flat = out.reshape(-1)
    for c in range(average_CS.shape[0]):
        total = np.float32(0.0)
        for s in range(average_CS.shape[1]):
            total += share_CS[c, s] * values_V[average_CS[c, s]]
        flat[c] = total
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def fold_gains(coarse_WZ: F32, new_GYX: F32, boxes_G4: I32, weight_G: F32) -> F32:
    """Gain minus one on the folds' grid, float32 [Y, X], within GAIN."""
    height, width = new_GYX.shape[1], new_GYX.shape[2]
    out = np.empty((height, width), np.float32)
    part = np.float32(1.0 / COARSE)
    for y in range(height):
        row, fy = y // COARSE, (y % COARSE) * part
        for x in range(width):
            column, fx = x // COARSE, (x % COARSE) * part
            above = coarse_WZ[row, column] + (coarse_WZ[row, column + 1] - coarse_WZ[row, column]) * fx
            below = coarse_WZ[row + 1, column] + (coarse_WZ[row + 1, column + 1] - coarse_WZ[row + 1, column]) * fx
            out[y, x] = above + (below - above) * fy
    for g in range(new_GYX.shape[0]):
        weight = weight_G[g]
        if weight != 0.0:
            for y in range(boxes_G4[g, 1], boxes_G4[g, 3]):
                for x in range(boxes_G4[g, 0], boxes_G4[g, 2]):
                    out[y, x] += weight * new_GYX[g, y, x]
    low, high = np.float32(GAIN[0] - 1.0), np.float32(GAIN[1] - 1.0)
    for y in range(height):
        for x in range(width):
            out[y, x] = min(max(out[y, x], low), high)
    return out


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "ninf", "nsz"})
def paint(
    base_HW4: U8,
    own_N3: NDArray[np.int16],
    own_start_G: I32,
    own_boxes_G4: I32,
    own_G: F32,
    gain_YX: F32,
    tint_3: F32,
    box_4: I32,
    cell_x_X: I32,
    part_x_X: F32,
    cell_y_Y: I32,
    part_y_Y: F32,
    texture_HW4: U8,
) -> None:
    """texture = (base + own folds) * (1 + tint * gain), rounded, inside the box; opacity stays."""
    width, count, left = gain_YX.shape[1], len(cell_x_X), box_4[0]
    line = np.empty(width, np.float32)
    # four numbers per pixel, opacity too, so that the loops over a row are plain ones over neighbours in memory
    gains, colours = np.empty((count, 4), np.float32), np.empty((count, 4), np.float32)
    flat_gains, flat_colours = gains.reshape(-1), colours.reshape(-1)
    one, half, top = np.float32(1.0), np.float32(0.5), np.float32(255.5)
    for j in range(len(cell_y_Y)):
        row, fy, y = cell_y_Y[j], part_y_Y[j], box_4[1] + j
        for i in range(width):
            line[i] = gain_YX[row, i] + (gain_YX[row + 1, i] - gain_YX[row, i]) * fy
        for i in range(count):
            cell = cell_x_X[i]
            gain = line[cell] + (line[cell + 1] - line[cell]) * part_x_X[i]
            gains[i, 0] = one + gain * tint_3[0]
            gains[i, 1] = one + gain * tint_3[1]
            gains[i, 2] = one + gain * tint_3[2]
            gains[i, 3] = one
        taken = base_HW4[y, left : left + count].reshape(-1)
        for i in range(4 * count):
            flat_colours[i] = taken[i]
        for g in range(len(own_G)):
            if own_G[g] != 0.0 and own_boxes_G4[g, 1] <= y < own_boxes_G4[g, 3]:
                first, wide = own_boxes_G4[g, 0] - left, own_boxes_G4[g, 2] - own_boxes_G4[g, 0]
                start = own_start_G[g] + (y - own_boxes_G4[g, 1]) * wide
                for i in range(wide):
                    for c in range(3):
                        colours[first + i, c] += own_G[g] * own_N3[start + i, c]
        out = texture_HW4[y, left : left + count].reshape(-1)
        for i in range(4 * count):
            out[i] = np.uint8(np.int32(min(max(flat_colours[i] * flat_gains[i] + half, half), top)))


def _steps(pixels: NDArray[np.int_], scale: float, start: float, step: float, count: int) -> tuple[I32, F32]:
    """The cell before each frame pixel and how far beyond it the pixel lies, 0..1."""
    at = np.clip(((pixels + 0.5) / scale - 0.5 - start) / step, 0.0, count - 1.0)
    cell = np.minimum(at.astype(np.int32), count - 2)
    return cell, (at - cell).astype(np.float32)
