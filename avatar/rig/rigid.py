"""Glasses on a face that moves: how firmly each vertex of the skin is held to the head.

Rims, bridge and temples are part of the picture that the skin carries. They are hard: they go with the head and with
nothing else, while the lids blink inside the lens and the brows move above. Each vertex gets a weight, 1 on the frame
of the glasses and 0 on the lid margins and away from the glasses; between, the weight is harmonic on the mesh (no
overshoot, so nothing folds that would not fold anyway). A frame of the avatar then costs one multiplication:
skin += weight * (rest - skin), before the head's pose.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.typing import NDArray

from avatar.rig import mesh

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FALL: Final = 0.2
"""Share of the face's width around the glasses in which the hold fades: about the height of a forehead's half."""


def rigid_weights(
    rest_V3: NDArray[Any],
    triangles_T3: NDArray[np.integer[Any]],
    eye_ring_2E: NDArray[np.integer[Any]],
    frame_S22: NDArray[Any],
    radius: float,
    face_width: float,
) -> F32:
    """The hold [V], 0..1, of every vertex.

    rest_V3: px, the mesh on the portrait. frame_S22: [S, 2, 2] px, the glasses as straight strokes (start, end) in the
    portrait; none gives zeros. radius: half the thickness of the strokes, px. face_width: px.

    Every triangle that a stroke covers is held by all of its corners, so the pixels of the frame move rigidly, not just
    the vertices nearby. Lid margins stay free whatever covers them: a blink must close.
    """
    count = len(rest_V3)
    hold_V = np.zeros(count)
    if len(frame_S22) == 0:
        return hold_V.astype(np.float32)
    points_N2 = stroke_points(np.asarray(frame_S22, np.float64), radius)
    triangles = covered(np.asarray(rest_V3[:, :2], np.float64), triangles_T3, points_N2)
    hold_V[triangles_T3[triangles].reshape(-1)] = 1.0
    hold_V[eye_ring_2E.reshape(-1)] = 0.0
    held = hold_V > 0.5
    if not held.any():
        return hold_V.astype(np.float32)
    far = distance_to(np.asarray(rest_V3[:, :2], np.float64), points_N2) > FALL * face_width
    fixed = held | far
    fixed[eye_ring_2E.reshape(-1)] = True
    rows = np.flatnonzero(~fixed)
    if len(rows):
        laplacian = _length_laplacian(rest_V3, triangles_T3)
        system = laplacian[rows][:, rows].tocsc() + 1e-9 * sp.identity(len(rows), format="csc")
        hold_V[rows] = spl.spsolve(system, -(laplacian[rows] @ hold_V))
    return np.clip(hold_V, 0.0, 1.0).astype(np.float32)


def stroke_points(frame_S22: F64, radius: float, step: float = 1.0) -> F64:
    """Points [N, 2] that fill the strokes at most `step` px apart: along each, and across its thickness."""
    across = np.linspace(-radius, radius, max(2, int(np.ceil(2 * radius / step)) + 1))
    points = []
    for start, end in frame_S22:
        length = float(np.linalg.norm(end - start))
        along = np.linspace(0.0, 1.0, max(2, int(np.ceil(length / step)) + 1))
        way = (end - start) / max(length, 1e-9)
        line_N2 = start + along[:, None] * (end - start)
        points.append((line_N2[:, None] + across[:, None] * np.array([-way[1], way[0]])).reshape(-1, 2))
    return np.concatenate(points)


def covered(points_V2: F64, triangles_T3: NDArray[np.integer[Any]], points_N2: F64) -> NDArray[np.int64]:
    """The triangles, in the picture, that hold at least one of the points."""
    a, b, c = (points_V2[triangles_T3[:, i]] for i in range(3))
    area = _cross(b - a, c - a)
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    near = np.flatnonzero(((high >= points_N2.min(0)) & (low <= points_N2.max(0))).all(1))
    found = []
    for triangle in near:
        inside = points_N2[((points_N2 >= low[triangle]) & (points_N2 <= high[triangle])).all(1)]
        if len(inside):
            u = _cross(inside - a[triangle], c[triangle] - a[triangle]) / area[triangle]
            v = _cross(b[triangle] - a[triangle], inside - a[triangle]) / area[triangle]
            if ((u >= 0) & (v >= 0) & (u + v <= 1)).any():
                found.append(triangle)
    return np.array(found, np.int64)


def distance_to(points_V2: F64, targets_N2: F64) -> F64:
    """Distance px [V] of each point to the nearest target."""
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(targets_N2).query(points_V2)[0], np.float64)


def _cross(u: F64, v: F64) -> F64:
    return np.asarray(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])


def _length_laplacian(vertices_V3: NDArray[Any], triangles_T3: NDArray[np.integer[Any]]) -> sp.csr_matrix:
    """Graph Laplacian [V, V] with 1 / length (in the picture) on each edge: positive weights, so no overshoot."""
    edges = mesh.adjacency(triangles_T3, len(vertices_V3)).tocoo()
    length = np.linalg.norm(vertices_V3[edges.row, :2] - vertices_V3[edges.col, :2], axis=1)
    weights = sp.coo_matrix((1.0 / np.maximum(length, 0.5), (edges.row, edges.col)), shape=edges.shape).tocsr()
    return (sp.diags(np.asarray(weights.sum(1)).ravel()) - weights).tocsr()
