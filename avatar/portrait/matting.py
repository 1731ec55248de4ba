"""Opacity along the person's outline, strand by strand: closed-form matting in the band that is not sure.

Levin, Lischinski, Weiss: A Closed-Form Solution to Natural Image Matting, TPAMI 2008. Within each 3 x 3 window
opacity is taken to be a linear function of colour; what is sure on both sides of the band, and weakly the network's
own answer inside it, decide which. Solved by conjugate gradients from that answer on.

Shape suffixes: H x W pixels, K windows, P the 9 pixels of a window, N pixels of the band, S 5 x 5 places around one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
B = NDArray[np.bool_]

SMOOTH: Final = 1e-4
"""Regularisation of a window's colour covariance (colours 0..1): noise below 0.01 says nothing."""
PRIOR: Final = 0.02
"""Weight of the first answer in the band."""
STEPS: Final = 80
_MAX_BAND: Final = 120_000
"""Pixels; a band larger than this (no outline was found at all) is left alone."""


def refine_opacity(rgb_HW3: U8, first_HW: F32, band_HW: B, prior_HW: F32 | None = None) -> F32:
    """Opacity 0..1, float32 [H, W]: `first_HW` outside the band, solved inside it.

    prior_HW: weight of the first answer per pixel (default PRIOR everywhere).
    """
    band = band_HW.copy()
    band[0] = band[-1] = False  # windows lie inside the picture
    band[:, 0] = band[:, -1] = False
    count = int(band.sum())
    if not 0 < count <= _MAX_BAND:
        return first_HW.copy()
    height, width = band.shape
    near = np.zeros_like(band)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near |= np.roll(band, (dy, dx), (0, 1))
    near[0] = near[-1] = near[:, 0] = near[:, -1] = False
    centres = np.flatnonzero(near)
    offsets = np.array([dy * width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    window_KP = centres[:, None] + offsets[None]
    colour_KP3 = (rgb_HW3.reshape(-1, 3)[window_KP] / 255.0).astype(np.float32)
    away = colour_KP3 - colour_KP3.mean(1, keepdims=True)
    covariance = np.einsum("kpi,kpj->kij", away, away) / 9.0
    covariance += np.eye(3, dtype=np.float32) * np.float32(SMOOTH / 9.0)
    affinity_KPP = (1.0 + np.einsum("kpi,kij,kqj->kpq", away, np.linalg.inv(covariance), away, optimize=True)) / 9.0

    # row of the matrix: 25 places around a pixel; for fixed p, q each pixel is met once
    number = np.full(height * width, -1, np.int64)
    inside = np.flatnonzero(band)
    number[inside] = np.arange(count)
    row_KP = number[window_KP]
    place = np.arange(9)
    stencil_PP = 5 * (place[None] // 3 - place[:, None] // 3 + 2) + place[None] % 3 - place[:, None] % 3 + 2
    values_NS = np.zeros((count, 25), np.float64)
    for p in range(9):
        use = row_KP[:, p] >= 0
        row = row_KP[use, p]
        for q in range(9):
            values_NS[row, stencil_PP[p, q]] -= affinity_KPP[use, p, q]
    # the diagonal: each window counts one; with the affinities above its row sums to nothing
    values_NS[:, 12] += np.bincount(row_KP[row_KP >= 0], minlength=count)
    weight = (np.full(count, PRIOR) if prior_HW is None else prior_HW.ravel()[inside]).astype(np.float64)
    values_NS[:, 12] += weight
    across = np.arange(25)
    # two px at most, and what lies beyond the picture's border has no window: weight 0, any column will do
    target_NS = inside[:, None] + ((across // 5 - 2) * width + across % 5 - 2)[None]
    target_NS = np.clip(target_NS, 0, height * width - 1)
    column_NS = number[target_NS]
    flat = first_HW.ravel().astype(np.float64)
    known_NS = column_NS < 0
    right = weight * flat[inside] - np.where(known_NS, values_NS * flat[target_NS], 0.0).sum(1)
    starts = np.r_[0, np.cumsum((~known_NS).sum(1))]
    matrix = sparse.csr_matrix((values_NS[~known_NS], column_NS[~known_NS], starts), shape=(count, count))
    scale = sparse.diags(1.0 / matrix.diagonal())
    solved, _ = cg(matrix, right, x0=flat[inside], rtol=1e-4, maxiter=STEPS, M=scale)
    flat[inside] = np.clip(solved, 0.0, 1.0)
    return flat.reshape(height, width).astype(np.float32)
