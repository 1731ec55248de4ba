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
    count = len(vertices_V3)
    stiffness, area = mesh.cotangent_laplacian(vertices_V3.astype(np.float64), triangles_T3)
    energy = (stiffness @ sp.diags(1.0 / area) @ stiffness).tocsr()
    free = free_V.copy()
    free[handles_H] = False
    rows = np.flatnonzero(free)
    assert len(rows), "nothing to spread over"
    system = energy[rows][:, rows].tocsc() + 1e-12 * sp.identity(len(rows), format="csc")
    matrix = spl.splu(system).solve(-energy[rows][:, handles_H].toarray())
    assert matrix.shape == (len(rows), len(handles_H)) and len(free) == count
    return Spread(np.asarray(handles_H, np.int32), rows.astype(np.int32), np.asarray(matrix, np.float32))
