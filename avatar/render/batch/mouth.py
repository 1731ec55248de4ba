"""The mouth's inside of every slot: `avatar.render.mouth` for a batch.

Shape suffixes: B slots, P vertices of the mouth's inside and then M of a hem, L of a lip's edge, Y x X pixels of the
patch over the opening (columns X alone for lines), K = 2Y * 2X samples.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from avatar.render import mouth, mouth_light
from avatar.render.batch.boxes import Room, constant, coverage, line_pieces, line_y
from avatar.render.batch.tables import Slots
from avatar.render.batch.warp import sample
from avatar.rig.batch import DeformedBatch

_FACTOR: Final = mouth.OVERSAMPLE
_LOSS: Final = tuple((1.0 - mouth.CONTACT_TONE).tolist())
_HALF_ROWS: Final = tuple(0.5 * j - 0.25 for j in range(_FACTOR))


def inside_points(face: DeformedBatch, ring_BM3: Tensor) -> Tensor:
    """Vertices of the inside and of its hem, portrait px [B, P, 3]; ring_BM3: the opening, portrait px."""
    along = ring_BM3.roll(-1, 1) - ring_BM3.roll(1, 1)
    out = torch.stack([along[..., 1], -along[..., 0], torch.zeros_like(along[..., 0])], -1)
    out = out / out.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-3)
    hem = torch.add(ring_BM3, out, alpha=mouth.HEM_PX)
    return torch.cat([face.mouth_BP3, torch.cat([hem[..., :2], hem[..., 2:] + 0.5], -1)], 1)


def vertex_values(slots: Slots, normals_BP3: Tensor) -> Tensor:
    """mouth.shade_vertices: [B, P, 5], for the vertices without the hem; the hem's values follow them."""
    light = slots.mouth_light_4
    x = light[:, 1:2] * 0.6
    half = torch.cat([x, torch.full_like(x, -0.28), torch.ones_like(x)], 1)
    half = half / half.square().sum(1, keepdim=True).sqrt()
    lit, shine = torch.bmm(normals_BP3, torch.stack([light[:, 1:], half], 2)).unbind(-1)
    lit = (lit + light[:, :1]).clamp(0.4, 1.2).sqrt()
    gloss = slots.mouth_gloss_P * shine.clamp(min=0.0) ** 32
    share = slots.mouth_dim_P * lit
    # a hem has no normal: light falls on it from everywhere alike, and it does not shine
    hem = slots.mouth_place_P2.shape[1] - normals_BP3.shape[1]
    last = torch.nn.functional.pad(torch.stack([share, gloss], -1), (0, 0, 0, hem))
    return torch.cat([slots.mouth_place_P2, slots.mouth_flat_P[..., None], last], -1)


class Opening:
    """The opening of the lips in px of its patch: how much of each pixel it covers, and where its edges are."""

    def __init__(self, room: Room, ring_BM3: Tensor, gap_B: Tensor, width_B: Tensor) -> None:
        """ring_BM3: px of a patch as large as `room`; gap_B: largest, frame px; width_B: of the face, frame px."""
        self._ring, self._gap_B, self._width = ring_BM3, gap_B, width_B
        self._shape = (room.height, room.width)
        shown = ((gap_B - mouth.SEALED_PX) / (mouth.SHOWN_PX - mouth.SEALED_PX)).clamp(0.0, 1.0)
        shown = shown * shown * (3.0 - 2.0 * shown)
        self._cover = coverage(ring_BM3[..., :2], room) * shown[:, None, None]
        half = ring_BM3.shape[1] // 2
        lower = torch.cat([ring_BM3[:, :1], ring_BM3[:, half:].flip(1)], 1)
        self._lips = torch.stack([ring_BM3[:, : half + 1], lower], 1)
        self._column, self._row = room.column_X, room.row_Y

    def compose(self, slots: Slots, values_6BK: Tensor, drawn_BK: Tensor, picture_B3YX: Tensor) -> Tensor:
        """mouth.compose: the patch [B, 3, Y, X] with the inside laid over it. values: depth, then vertex_values'."""
        height, width = self._shape
        fine = (height, _FACTOR, width, _FACTOR)
        depth, at_u, at_v, flat, dim, gloss = torch.unflatten(values_6BK, -1, fine).unbind(0)
        lines = self._lips[..., :2]
        rising = torch.stack([lines[..., 0].cummax(-1).values, lines[..., 1]], -1)
        upper, lower = line_y(rising, self._column.view(1, 1, 1, -1)).unbind(1)  # [B, 1, X]
        face = self._width[:, None, None]
        open_ = ((lower - upper) / (mouth.CORNER_OPEN * face)).clamp(0.0, 1.0)
        open_ = open_ * (2.0 - open_)
        deep, corner = slots.mouth_deep_3[..., None], slots.mouth_corner_3[..., None]
        dark = (corner + (deep - corner) * open_)[:, :, None, None, :, None]  # [B, 3, 1, 1, X, 1]

        at_x, z = self._ring[..., 0], self._ring[..., 2] - mouth_light.NEAR_DEPTH * self._width[:, None]
        mean = at_x.mean(1, keepdim=True)
        away = at_x - mean
        slope = (away * z).sum(1, keepdim=True) / away.square().sum(1, keepdim=True).clamp(min=1e-3)
        front = z.mean(1, keepdim=True) + slope * (self._column - mean)  # [B, X]

        away = front[:, None, None, :, None] - depth
        behind = away.clamp(min=0.0)
        soft = 1.0 / torch.add(mouth_light.NEAR_SOFT * face[..., None, None], behind, alpha=mouth_light.DEEPER_SOFT)
        row = (self._row[:, None] + constant(_HALF_ROWS, depth.device))[:, :, None, None]
        lit_at = torch.sub(row, behind, alpha=mouth_light.LIGHT_SLANT)
        above, below = ((lit_at - edge[:, :, None, :, None]) * soft for edge in (upper, lower))
        seen = above * torch.rsqrt(1.0 + above * above) - below * torch.rsqrt(1.0 + below * below)
        light = (mouth_light.AMBIENT + 0.5 * mouth_light.LIGHT_GAIN * seen).clamp(mouth_light.AMBIENT, 1.0)
        light = light * self._rounded(away, at_u, at_v)
        share = (flat + dim * light)[:, None]
        atlas = torch.unflatten(sample(slots.mouth_3HW, values_6BK[1:3]), -1, fine)
        colour = torch.where(
            torch.unflatten(drawn_BK, -1, fine)[:, None], dark + (atlas - dark) * share + (gloss * light)[:, None], dark
        )
        colour = colour.mean((3, 5)).clamp(0.0, 255.0)
        return torch.lerp(picture_B3YX, colour, self._cover[:, None])

    def _rounded(self, away: Tensor, at_u: Tensor, at_v: Tensor) -> Tensor:
        """mouth_light.rounded_light for samples of the upper row, 1 for all others; away: px behind the lips."""
        last, end = mouth.UPPER_ROW
        along = at_u * (2.0 / last) - 1.0
        deep = away / self._width[:, None, None, None, None] - mouth_light.ARCH_DEPTH * along * along
        start, stop = mouth_light.ROUNDED_FROM, mouth_light.ROUNDED_TO
        near = ((deep - start) / (stop - start)).clamp(0.0, 1.0)
        lost = mouth_light.ROUNDED_SHADE * near * near * (3.0 - 2.0 * near)
        return 1.0 - lost.masked_fill(at_v >= end, 0.0)

    def darken(self, slots: Slots, picture_B3YX: Tensor) -> Tensor:
        """mouth.draw_contact: the dark line between closed lips, where the portrait's own are apart."""
        face = self._width[:, None, None]
        near = (1.0 - self._gap_B / (mouth.CONTACT_GAP * self._width)).clamp(min=0.0)
        strength = near * near * (3.0 - 2.0 * near) * slots.lips_apart_1[:, 0]
        line = self._lips[..., :2].mean(1, keepdim=True)
        a, b = line_pieces(line, self._column.view(1, 1, 1, -1))
        slope = (b[..., 1] - a[..., 1]) / (b[..., 0] - a[..., 0]).clamp(min=1e-3)
        middle = a[..., 1] + slope * (self._column - a[..., 0])  # [B, 1, X]
        steep = 1.0 + slope * slope
        first, last = line[:, :, :1, 0], line[:, :, -1:, 0]
        along = (self._column - first) / (last - first).clamp(min=1e-3)
        ends = (torch.minimum(along, 1.0 - along) * 8.0).clamp(0.0, 1.0)
        width = mouth.CONTACT_WIDTH * face
        away = self._row[:, None] - middle
        reach = 2.5 * width * steep.sqrt()
        share = strength[:, None, None] * ends * torch.exp(-(away * away) / (steep * width * width))
        share = share.masked_fill(away.abs() > reach, 0.0)[:, None]
        loss = constant(_LOSS, face.device)[:, None, None]
        return picture_B3YX * (1.0 - share * loss)
