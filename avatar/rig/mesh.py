"""The skin mesh: MediaPipe's 468 landmarks as vertices, eyes and mouth cut out, split once.

Landmark numbers are those of MediaPipe's face mesh (Apache-2.0). "Upper", "lower" lines run from image left to
image right and pair up: the i-th upper vertex touches the i-th lower one when the opening is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

LIP_UPPER: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIP_LOWER: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIP_OUTER_UPPER: Final = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIP_OUTER_LOWER: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LID_UPPER: Final = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133),
    (362, 398, 384, 385, 386, 387, 388, 466, 263),
)
LID_LOWER: Final = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133),
    (362, 382, 381, 380, 374, 373, 390, 249, 263),
)
"""Eye 0 is the person's right one (image left)."""
CHEEKS: Final = (234, 454)
"""Their distance is the face width."""


@dataclass(frozen=True)
class Topology:
    """The split mesh. Vertices 0..467 are the landmarks; the others lie between two parents."""

    vertices_V3: F64
    triangles_T3: I32
    parents_V2: I32
    """The two landmarks a vertex lies between (twice itself for a landmark)."""
    mirror_V: I32
    """The vertex on the other side of the face."""

    @cached_property
    def lip_upper_L(self) -> I32:
        return self.line(LIP_UPPER)

    @cached_property
    def lip_lower_L(self) -> I32:
        return self.line(LIP_LOWER)

    @cached_property
    def lid_upper_2L(self) -> I32:
        return np.stack([self.line(lid) for lid in LID_UPPER])

    @cached_property
    def lid_lower_2L(self) -> I32:
        return np.stack([self.line(lid) for lid in LID_LOWER])

    @cached_property
    def mouth_ring_M(self) -> I32:
        return loop(self.lip_upper_L, self.lip_lower_L)

    @cached_property
    def lip_outer_M(self) -> I32:
        return loop(self.line(LIP_OUTER_UPPER), self.line(LIP_OUTER_LOWER))

    @cached_property
    def eye_ring_2E(self) -> I32:
        return np.stack([loop(upper, lower) for upper, lower in zip(self.lid_upper_2L, self.lid_lower_2L, strict=True)])

    @cached_property
    def oval_ring(self) -> I32:
        """The boundary that is neither eye nor mouth."""
        rings = boundary_loops(self.triangles_T3)
        return max(rings, key=lambda ring: float(np.ptp(self.vertices_V3[ring, 0])))

    @cached_property
    def _between(self) -> dict[frozenset[int], int]:
        """The vertex between two landmarks."""
        return {frozenset(p): v for v, p in enumerate(self.parents_V2.tolist())}

    def line(self, landmarks: Sequence[int]) -> I32:
        """Landmarks of a line with the vertices between neighbours put in."""
        out = [landmarks[0]]
        for a, b in pairwise(landmarks):
            out += [self._between[frozenset((a, b))], b]
        return np.array(out, np.int32)


def loop(upper_L: I32, lower_L: I32) -> I32:
    """Two lines with common ends as one closed loop: along the upper one, back along the lower one."""
    return np.concatenate([upper_L, lower_L[-2:0:-1]])


def cut_holes(faces_F3: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Remove the triangles that fill the eyes and the mouth."""
    keep = np.ones(len(faces_F3), bool)
    for upper, lower in ((LIP_UPPER, LIP_LOWER), *zip(LID_UPPER, LID_LOWER, strict=True)):
        keep &= ~np.isin(faces_F3, sorted(set(upper) | set(lower))).all(1)
    return np.asarray(faces_F3[keep], np.int64)


def subdivide(faces_F3: NDArray[np.int64], vertices_N3: F64) -> Topology:
    """Split every triangle in four; new vertices are edge middles."""
    edges = np.sort(np.concatenate([faces_F3[:, [0, 1]], faces_F3[:, [1, 2]], faces_F3[:, [2, 0]]]), axis=1)
    unique, inverse = np.unique(edges, axis=0, return_inverse=True)
    count, n_faces = len(vertices_N3), len(faces_F3)
    ab, bc, ca = (count + inverse.reshape(3, n_faces)[i] for i in range(3))
    a, b, c = faces_F3.T
    triangles = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    own = np.arange(count)
    parents = np.concatenate([np.stack([own, own], 1), unique])
    vertices = np.concatenate([vertices_N3, vertices_N3[unique].mean(1)])
    return Topology(vertices, triangles.astype(np.int32), parents.astype(np.int32), mirror_of(vertices))


def from_arrays(
    neutral_V3: NDArray[Any], triangles_T3: NDArray[Any], parents_V2: NDArray[Any], mirror_V: NDArray[Any]
) -> Topology:
    """The topology of a stored mesh."""
    return Topology(
        neutral_V3.astype(np.float64),
        triangles_T3.astype(np.int32),
        parents_V2.astype(np.int32),
        mirror_V.astype(np.int32),
    )


def mirror_of(vertices_V3: F64) -> I32:
    """Index of the vertex nearest to each vertex's mirror image in x."""
    flipped = vertices_V3 * np.array([-1.0, 1.0, 1.0])
    distance = ((flipped[:, None] - vertices_V3[None]) ** 2).sum(-1)
    return np.asarray(distance.argmin(1), np.int32)


def boundary_loops(triangles_T3: NDArray[np.integer[Any]]) -> list[I32]:
    """Closed loops of edges that belong to one triangle only."""
    directed = {(int(t[i]), int(t[(i + 1) % 3])) for t in triangles_T3 for i in range(3)}
    following = {a: b for a, b in directed if (b, a) not in directed}
    loops = []
    while following:
        start, vertex = next(iter(following.items()))
        ring = [start]
        del following[start]
        while vertex != start:
            ring.append(vertex)
            vertex = following.pop(vertex)
        loops.append(np.array(ring, np.int32))
    return loops


def adjacency(triangles_T3: NDArray[np.integer[Any]], count: int) -> sp.csr_matrix:
    """Symmetric 0/1 matrix [V, V] of the mesh's edges."""
    a = np.concatenate([triangles_T3[:, i] for i in (0, 1, 2)])
    b = np.concatenate([triangles_T3[:, i] for i in (1, 2, 0)])
    matrix = sp.coo_matrix((np.ones(len(a)), (a, b)), shape=(count, count)).tocsr()
    matrix = matrix + matrix.T
    matrix.data[:] = 1.0
    return matrix


def graph_laplacian(triangles_T3: NDArray[np.integer[Any]], count: int) -> sp.csr_matrix:
    """Umbrella Laplacian [V, V], rows sum to zero, diagonal one."""
    edges = adjacency(triangles_T3, count)
    degree = np.asarray(edges.sum(1)).ravel()
    return sp.identity(count, format="csr") - sp.diags(1.0 / np.maximum(degree, 1)) @ edges


def cotangent_laplacian(vertices_V3: F64, triangles_T3: NDArray[np.integer[Any]]) -> tuple[sp.csr_matrix, F64]:
    """Cotangent stiffness matrix [V, V] (positive semi-definite) and lumped vertex areas [V]."""
    count = len(vertices_V3)
    rows, cols, values = [], [], []
    area = np.zeros(count)
    for i in range(3):
        o, p, q = (triangles_T3[:, (i + j) % 3] for j in range(3))
        u, v = vertices_V3[p] - vertices_V3[o], vertices_V3[q] - vertices_V3[o]
        twice = np.linalg.norm(np.cross(u, v), axis=1)
        weight = np.clip(np.einsum("nd,nd->n", u, v) / np.maximum(twice, 1e-9), 0.02, 10.0) / 2
        rows += [p, q]
        cols += [q, p]
        values += [weight, weight]
        np.add.at(area, o, twice / 6)
    matrix = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), shape=(count, count)
    ).tocsr()
    stiffness = sp.diags(np.asarray(matrix.sum(1)).ravel()) - matrix
    return stiffness.tocsr(), np.maximum(area, 1e-6)


def rings_from(triangles_T3: NDArray[np.integer[Any]], count: int, seeds: NDArray[np.integer[Any]]) -> I32:
    """Number of edges [V] from each vertex to the nearest seed (large where it cannot be reached)."""
    edges = adjacency(triangles_T3, count)
    distance = np.full(count, 10_000, np.int32)
    distance[seeds] = 0
    front = np.zeros(count)
    front[seeds] = 1
    for step in range(1, count):
        front = (edges @ front > 0) & (distance == 10_000)
        if not front.any():
            break
        distance[front] = step
        front = front.astype(float)
    return distance
