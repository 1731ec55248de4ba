"""Light and folds of the skin: `avatar.render.shading` for a batch, as gathers and matrix products.

Grids differ from face to face: here they have the room of the largest, and the matrices that carry them to the
texture's pixels are 0 where a face's own grid ends, so that nothing changes there.

Shape suffixes: B slots, V skin vertices, F triangles around a vertex, N neighbours, W x Z coarse cells, Y x X cells,
G groups of folds, S vertices that a coarse cell averages.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar.motion.space import EXPRESSION_DIM
from avatar.render import shading
from avatar.render.batch.shading_arrays import COARSE_ROOM, ROOM
from avatar.render.batch.tables import Slots
from avatar.render.shading import Shading
from avatar.rig.batch import DeformedBatch


class ShadingBatch:
    """What follows from the mesh alone."""

    def __init__(self, of: Shading, slots: int, size: int, device: torch.device) -> None:
        self._texture_B4SS = torch.zeros(slots, 4, size, size, device=device)
        self._base_B3X = torch.zeros(slots, 3, size * size + 1, device=device)
        vertices = len(of.near_V)
        around = [np.flatnonzero((of.triangles_T3 == v).any(1)) for v in range(vertices)]
        most = max(len(triangles) for triangles in around)
        none = len(of.triangles_T3)
        faces = np.array([np.pad(t, (0, most - len(t)), constant_values=none) for t in around])
        count = (of.neighbours_VB != np.arange(vertices)[:, None]).sum(1)

        def constant(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self._corners = constant(of.triangles_T3.T.astype(np.int64).ravel())
        self._faces_VF, self._faces = faces.shape, constant(faces.ravel())
        self._neighbours_VN, self._neighbours = (
            of.neighbours_VB.shape,
            constant(of.neighbours_VB.astype(np.int64).ravel()),
        )
        self._count_V = constant(count.astype(np.float32))
        self._drive_KG = constant(of.drive_GK.T)
        # coarse cells to cells
        step = np.arange(max(ROOM))
        up = np.zeros((len(step), max(COARSE_ROOM)), np.float32)
        part = (step % shading.COARSE) / shading.COARSE
        up[step, step // shading.COARSE] = 1.0 - part
        up[step, step // shading.COARSE + 1] = part
        self._up_YW = constant(up[: ROOM[0], : COARSE_ROOM[0]])
        self._up_ZX = constant(up[: ROOM[1], : COARSE_ROOM[1]].T)

    def paint(self, slots: Slots, face: DeformedBatch) -> Tensor:
        """shading.Shading.apply: the person's texture with light and folds, [B, 4, S, S]; overwritten by the next."""
        drive = 1.0 - torch.exp(-(face.motion_BD[:, :EXPRESSION_DIM] @ self._drive_KG))
        source = slots.shade_source_G
        more, less = (drive - source).clamp(min=0.0), (source - drive).clamp(min=0.0)
        fade = shading.OWN_MOST * (source / shading.OWN_AT).clamp(max=1.0) * less / source.clamp(min=1e-3)
        own = fade - shading.DEEPER * more

        light_BV = self._light(slots, face)
        picked = torch.unflatten(light_BV.gather(1, slots.shade_rows_K), 1, slots.shade_share_KS.shape[1:])
        coarse = torch.unflatten((picked * slots.shade_share_KS).sum(-1), 1, COARSE_ROOM)
        folds = torch.unflatten(torch.bmm(more[:, None], slots.shade_folds_GX)[:, 0], 1, ROOM)
        low, high = shading.GAIN
        cells = (self._up_YW @ coarse @ self._up_ZX + folds).clamp(low - 1.0, high - 1.0)
        gain = (slots.shade_down_HY @ cells @ slots.shade_along_XW)[:, None] * slots.shade_tint_31[..., None]

        # every pixel with a fold of the portrait's own is written each time, so that nothing of before remains
        weight = torch.unflatten(own.gather(1, slots.shade_own_group_K), 1, (1, *slots.shade_own_3KP.shape[2:]))
        folded = slots.shade_own_base_3P + (weight * slots.shade_own_3KP).sum(2)
        self._base_B3X.scatter_(2, slots.shade_own_at_P[:, None].expand(-1, 3, -1), folded)
        base = torch.unflatten(self._base_B3X[..., :-1], -1, gain.shape[-2:])
        self._texture_B4SS[:, :3] = (torch.addcmul(base, base, gain) + 0.5).clamp(0.5, 255.0).floor()
        return self._texture_B4SS

    def put(self, slot: int, slots: Slots) -> None:
        """Take over a slot's new identity."""
        person = slots.person_4HW[slot]
        self._texture_B4SS[slot].copy_(person)
        self._base_B3X[slot, :, :-1].copy_(person[:3].flatten(1))

    def _light(self, slots: Slots, face: DeformedBatch) -> Tensor:
        """shading.surface and shading.light_change: [B, V]."""
        skin = face.skin_BV3
        a, b, c = torch.unflatten(skin.index_select(1, self._corners), 1, (3, -1)).unbind(1)
        normal = torch.linalg.cross(b - a, c - a)
        normal = torch.cat([normal, torch.zeros_like(normal[:, :1])], 1)
        normal = torch.unflatten(normal.index_select(1, self._faces), 1, self._faces_VF).sum(2)
        normal = normal * slots.shade_sign_1[..., None] / normal.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-6)
        light = slots.shade_light_4
        lit = light[:, :1] + torch.bmm(normal, light[:, 1:, None])[..., 0]
        lit = lit.clamp(min=0.25)
        near = torch.unflatten(skin.index_select(1, self._neighbours), 1, self._neighbours_VN)
        hollow = ((near - skin[:, :, None]).sum(2) * normal).sum(-1)
        hollow = hollow / face.pose.scale_B[:, None] * slots.shade_near_V / self._count_V
        rest_lit, rest_hollow = slots.shade_rest_V2.unbind(-1)
        change = lit / rest_lit - 1.0 - shading.HOLLOW * (hollow - rest_hollow)
        return slots.shade_mask_V * (shading.LIGHT_MOST * torch.tanh(change / shading.LIGHT_MOST))
