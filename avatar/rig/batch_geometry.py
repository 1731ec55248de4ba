"""Small pieces of geometry of the batched rig (batch.py), with the session first.

Shape suffixes: B sessions, L vertices of a line (lip or lid).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar.rig.contact import SLIP


def meet(lines_2L3: Tensor, down_3: Tensor, slip_1: Tensor, unsealed: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """contact.meet for [..., 2, L, 3]: the pairs' middle and the way from upper to lower afterwards (both with an axis
    of 1 instead of the 2), and the opening [..., L, 1]. unsealed: 1 - seal. slip_1: 1 / SLIP."""
    upper, lower = lines_2L3.unbind(-3)
    apart = lower - upper
    gap = (apart * down_3).sum(-1, keepdim=True)
    opening = gap.clamp_min(0.0)
    if unsealed is not None:  # lips, not lids: never a question of what a tensor holds
        opening = opening * unsealed
        slip_1 = unsealed * slip_1
    slip = torch.addcmul(apart, gap, down_3, value=-1)
    length = torch.linalg.vector_norm(slip, dim=-1, keepdim=True).clamp_min_(1e-6)
    kept = torch.minimum(opening / length, slip_1)
    after = torch.addcmul(opening * down_3, kept, slip, value=SLIP)
    return lines_2L3.mean(-3, keepdim=True), after.unsqueeze(-3), opening


def gaze_axis(terms_B22: Tensor) -> Tensor:
    """eyes.gaze_axis [B, 3] of the cosine and sine of azimuth and elevation."""
    level = terms_B22[:, 0] * terms_B22[:, 1, :1]  # z, x
    return torch.cat([level[:, 1:], -terms_B22[:, 1, 1:], level[:, :1]], 1)


def euler_terms() -> NDArray[np.float64]:
    """Yaw, pitch and roll matrices as sums: [3 angles, (1, cos, sin), 9] (deform.head_pose)."""
    out = np.zeros((3, 3, 3, 3))
    for angle, (axis, u, v) in enumerate(((1, 2, 0), (0, 1, 2), (2, 0, 1))):
        out[angle, 0, axis, axis] = 1.0
        out[angle, 1, u, u] = out[angle, 1, v, v] = 1.0
        out[angle, 2, u, v], out[angle, 2, v, u] = -1.0, 1.0
    return out.reshape(3, 3, 9)


def cross_terms() -> NDArray[np.float64]:
    """Vector -> matrix of the cross product with it: [3, 9]."""
    out = np.zeros((3, 3, 3))
    for axis, (u, v) in enumerate(((1, 2), (2, 0), (0, 1))):
        out[axis, u, v], out[axis, v, u] = -1.0, 1.0
    return out.reshape(3, 9)
