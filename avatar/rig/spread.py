"""Biharmonic spreading: given the displacement of a few vertices, the smoothest displacement of the rest.

Minimises x' L M^-1 L x (L cotangent stiffness, M lumped areas: Jacobson et al., "Mixed finite elements for
variational surface modeling", 2010), handles and far vertices held. The answer is linear in the handles, so it
is solved once per mesh and applied as a small matrix each frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.typing import NDArray

from avatar.rig import mesh


@dataclass(frozen=True)
class Spread:
    """displacement[rows_N] = matrix_NH @ displacement[handles_H]; the handles themselves are not among the rows."""

    handles_H: NDArray[np.int32]
    rows_N: NDArray[np.int32]
    matrix_NH: NDArray[np.float32]


def biharmonic(
    vertices_V3: NDArray[Any],
    triangles_T3: NDArray[np.integer[Any]],
    handles_H: NDArray[np.integer[Any]],
    free_V: NDArray[np.bool_],
) -> Spread:
    """Spread from `handles_H` over the vertices of `free_V`; every other vertex stays.

    free_V: bool [V]; handles in it are ignored.
    """
    rows, factor, energy = _factor(vertices_V3, triangles_T3, handles_H, free_V)
    matrix = factor.solve(-energy[rows][:, handles_H].toarray())
    return Spread(np.asarray(handles_H, np.int32), rows.astype(np.int32), np.ascontiguousarray(matrix, np.float32))


def displace(
    vertices_V3: NDArray[Any],
    triangles_T3: NDArray[np.integer[Any]],
    handles_H: NDArray[np.integer[Any]],
    moved_HD: NDArray[np.float64],
    free_V: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """The displacement [V, D] of all vertices for one displacement of the handles: `biharmonic`, used once."""
    rows, factor, energy = _factor(vertices_V3, triangles_T3, handles_H, free_V)
    out = np.zeros((len(vertices_V3), moved_HD.shape[1]))
    out[handles_H] = moved_HD
    out[rows] = factor.solve(-(energy[rows][:, handles_H] @ moved_HD))
    return out


def _factor(
    vertices_V3: NDArray[Any],
    triangles_T3: NDArray[np.integer[Any]],
    handles_H: NDArray[np.integer[Any]],
    free_V: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], Any, sp.csr_matrix]:
    """Free rows, the factored energy among them, the whole energy [V, V]."""
    stiffness, area = mesh.cotangent_laplacian(vertices_V3.astype(np.float64), triangles_T3)
    energy = (stiffness @ sp.diags(1.0 / area) @ stiffness).tocsr()
    free = free_V.copy()
    free[handles_H] = False
    rows = np.flatnonzero(free)
    assert len(rows), "nothing to spread over"
    system = energy[rows][:, rows].tocsc() + 1e-12 * sp.identity(len(rows), format="csc")
    return rows, spl.splu(system), energy
