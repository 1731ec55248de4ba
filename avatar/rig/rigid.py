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

LEAST: Final = 1.5
"""px of skin that are left between a lid margin and a rim that covers it."""
MOST: Final = 0.9
"""Share of the way to its neighbour that a vertex may slide."""
FALL: Final = 0.2
"""Share of the face's width around the glasses in which the hold fades: about the height of a forehead's half."""


def rigid_weights(
    rest_V3: NDArray[Any],
    triangles_T3: NDArray[np.integer[Any]],
    eye_ring_2E: NDArray[np.integer[Any]],
    frame_S22: NDArray[Any],
    lenses_2N2: NDArray[Any],
    radius: float,
    face_width: float,
) -> F32:
    """The hold [V], 0..1, of every vertex.

    rest_V3: px, the mesh on the portrait. frame_S22: [S, 2, 2] px, the glasses as straight strokes (start, end) in the
    portrait; none gives zeros. lenses_2N2: what is seen through them is no frame. radius: half the thickness of the
    strokes, px. face_width: px.

    Every triangle that a stroke covers is held by all of its corners, so the pixels of the frame move rigidly, not just
    the vertices nearby. Lid margins stay free whatever covers them: a blink must close.
    """
    count = len(rest_V3)
    hold_V = np.zeros(count)
    if len(frame_S22) == 0:
        return hold_V.astype(np.float32)
    points_N2 = stroke_points(np.asarray(frame_S22, np.float64), radius)
    for lens in np.asarray(lenses_2N2, np.float64):
        points_N2 = points_N2[~inside(points_N2, lens)]
    if len(points_N2) == 0:
        return hold_V.astype(np.float32)
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


def clear_lids(
    rest_V3: F64,
    neutral_V3: F64,
    basis_KV3: F64,
    triangles_T3: NDArray[np.integer[Any]],
    eye_ring_2E: NDArray[np.integer[Any]],
    lenses_2N2: NDArray[Any],
) -> tuple[F64, F64, F64]:
    """Slide the vertices next to the lid margins along the skin onto the edge of the lens; copies.

    A triangle between a margin, which a blink moves, and a vertex under or beyond the rim would smear the rim over the
    eye: such a vertex slides towards its nearest margin vertex (but stays LEAST px away, where the rim lies on the
    margin). A vertex short of the rim, whose outer neighbours lie beyond it, would be held with them and leave the lid
    less skin than there is: it slides outwards. Everything that is known per vertex is linear along an edge of the
    mesh, so the face's shape stays; only its triangles are cut differently.
    """
    rest, neutral, basis = rest_V3.copy(), neutral_V3.copy(), basis_KV3.copy()
    edges = mesh.adjacency(triangles_T3, len(rest_V3))
    for ring, lens in zip(eye_ring_2E, np.asarray(lenses_2N2, np.float64), strict=True):
        if len(lens) < 3:
            continue
        margin = np.zeros(len(rest_V3), bool)
        margin[ring] = True
        in_lens = inside(rest_V3[:, :2], lens)
        for vertex in np.flatnonzero((edges @ margin.astype(float) > 0) & ~margin):
            around = edges.indices[edges.indptr[vertex] : edges.indptr[vertex + 1]]
            lids, beyond = around[margin[around]], around[~margin[around] & ~in_lens[around]]
            own = rest_V3[vertex, :2]
            length_N = np.linalg.norm(rest_V3[lids, :2] - own, axis=1)
            anchor, length = int(lids[length_N.argmin()]), float(length_N.min())
            if not in_lens[vertex]:
                share = max(within(rest_V3[anchor, :2], own, lens), LEAST / max(length, 1e-6))
                other, share = anchor, max(1.0 - share, 0.0)
            elif len(beyond):
                ways = rest_V3[beyond, :2] - own
                aligned = ways @ (own - rest_V3[anchor, :2]) / np.maximum(np.linalg.norm(ways, axis=1), 1e-6)
                other = int(beyond[aligned.argmax()])
                share = min(within(own, rest_V3[other, :2], lens), MOST)
            else:
                continue
            for new, old in ((rest, rest_V3), (neutral, neutral_V3), (basis, basis_KV3)):
                new[..., vertex, :] = old[..., vertex, :] + share * (old[..., other, :] - old[..., vertex, :])
    return rest, neutral, basis


def within(start_2: F64, end_2: F64, polygon_N2: F64) -> float:
    """Share of the way from start to end at which it leaves the polygon: 1 = not at all, 0 = it starts outside."""
    if not inside(start_2[None], polygon_N2)[0]:
        return 0.0
    a, b = polygon_N2, np.roll(polygon_N2, -1, axis=0)
    way, sides = end_2 - start_2, b - a
    parallel = _cross(sides, way)
    safe = np.where(np.abs(parallel) < 1e-12, 1e-12, parallel)
    along = _cross(sides, a - start_2) / safe
    across = _cross(np.broadcast_to(way, a.shape), a - start_2) / safe
    hits = along[(along >= 0) & (along <= 1) & (across >= 0) & (across <= 1)]
    return float(hits.min()) if len(hits) else 1.0


def inside(points_N2: F64, polygon_E2: F64) -> NDArray[np.bool_]:
    """Which points [N] lie inside a closed polygon (even-odd rule); none in one without corners."""
    a, b = polygon_E2, np.roll(polygon_E2, -1, axis=0)
    spans = (a[:, 1] > points_N2[:, 1, None]) != (b[:, 1] > points_N2[:, 1, None])
    rise = np.where(spans, b[:, 1] - a[:, 1], 1.0)
    crossing = a[:, 0] + (points_N2[:, 1, None] - a[:, 1]) / rise * (b[:, 0] - a[:, 0])
    return np.asarray((spans & (crossing > points_N2[:, 0, None])).sum(1) % 2 == 1)


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
