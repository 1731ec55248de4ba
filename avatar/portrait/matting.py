"""Opacity along the person's outline, strand by strand: closed-form matting in the band that is not sure.

Levin, Lischinski, Weiss: A Closed-Form Solution to Natural Image Matting, TPAMI 2008. Within each 3 x 3 window
opacity is taken to be a linear function of colour; what is sure on both sides of the band, and weakly the network's
own answer inside it, decide which. Solved by conjugate gradients from that answer on.

Shape suffixes: H x W pixels, K windows, P the 9 pixels of a window.
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

    number = np.full(height * width, -1, np.int64)
    inside = np.flatnonzero(band)
    number[inside] = np.arange(count)
    row = np.repeat(window_KP[:, :, None], 9, 2)
    column = np.repeat(window_KP[:, None, :], 9, 1)
    flat = first_HW.ravel().astype(np.float64)
    use = number[row] >= 0
    both = use & (number[column] >= 0)
    matrix = sparse.coo_matrix(
        (-affinity_KPP[both], (number[row[both]], number[column[both]])), shape=(count, count)
    ).tocsr()
    windows = np.bincount(number[window_KP[number[window_KP] >= 0]], minlength=count)
    weight = (np.full(count, PRIOR) if prior_HW is None else prior_HW.ravel()[inside]).astype(np.float64)
    matrix = matrix + sparse.diags(windows + weight)
    known = use & ~both
    right = weight * flat[inside] + np.bincount(
        number[row[known]], affinity_KPP[known] * flat[column[known]], minlength=count
    )
    scale = sparse.diags(1.0 / matrix.diagonal())
    solved, _ = cg(matrix, right, x0=flat[inside], rtol=1e-4, maxiter=STEPS, M=scale)
    flat[inside] = np.clip(solved, 0.0, 1.0)
    return flat.reshape(height, width).astype(np.float32)
