"""Small picture and mesh tools that preparing the layers needs.

Shape suffixes: H x W pixels, C channels, N positions, V vertices, T triangles.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
"""Brightness of sRGB (Rec. 601)."""


def fill(values_HWC: NDArray[Any], known_HW: NDArray[Any]) -> F32:
    """Fill the unknown by pull-push over a pyramid; what is known (weight 1) stays. Any channel count."""
    weight = np.asarray(known_HW, np.float32)
    if values_HWC.shape[0] <= 2 or values_HWC.shape[1] <= 2:
        mean = (values_HWC * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-6)
        return np.asarray(values_HWC * weight[..., None] + mean * (1 - weight[..., None]), np.float32)
    height, width = weight.shape
    small_size = ((width + 1) // 2, (height + 1) // 2)
    weighted = cv2.resize(
        np.asarray(values_HWC, np.float32) * weight[..., None], small_size, interpolation=cv2.INTER_AREA
    )
    small_weight = cv2.resize(weight, small_size, interpolation=cv2.INTER_AREA)
    small = weighted.reshape(*small_weight.shape, -1) / np.maximum(small_weight, 1e-6)[..., None]
    filled = fill(small, np.minimum(small_weight * 4, 1.0) * (small_weight > 1e-6))
    up = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
    return np.asarray(values_HWC * weight[..., None] + up * (1 - weight[..., None]), np.float32)


def smooth(t: NDArray[Any]) -> NDArray[Any]:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(t, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def sample(image_HWC: F32, at_N2: NDArray[Any]) -> F32:
    """Bilinear look-up [N, C] at px positions, held inside the picture."""
    at = np.asarray(at_N2, np.float32)
    found = cv2.remap(image_HWC, at[:, None, 0], at[:, None, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.reshape(len(at), -1), np.float32)


def vertex_normals(vertices_V3: NDArray[Any], triangles_T3: NDArray[Any]) -> F32:
    """Unit normals towards the viewer (z > 0 on average), area weighted; float32 [V, 3]."""
    a, b, c = (vertices_V3[triangles_T3[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    out = np.zeros_like(vertices_V3)
    for i in range(3):
        np.add.at(out, triangles_T3[:, i], face)
    out = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    return np.asarray(out if out[:, 2].mean() > 0 else -out, np.float32)
