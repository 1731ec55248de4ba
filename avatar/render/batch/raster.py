"""Scan conversion in torch with static shapes: triangles -> rows -> pixels, two work queues deep (queue.py).

The same rules as `avatar.render.raster`, to the last rounding but one: vertices in order of y (then index), edges from
the upper end, pixel centres on integers. So a batch draws the same pixels from the same triangles as one core does.
A triangle asks for a place per pixel row, a row for a place per pixel, so no work is spent on pixels that are not
covered, and no triangle is too large. Depth and triangle are packed into one int64 per pixel and the nearest wins by
an atomic maximum, whose result does not depend on the order.

Several targets (the frame, patches of twice its resolution) are drawn in the same pass: a target is a range of the
flat result, and every triangle belongs to one.

Shape suffixes: B slots, N points, T triangles, G targets, A attributes, D pixels of all targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from avatar.render.batch.queue import hand_out

NOTHING: Final = torch.iinfo(torch.int64).min
"""Packed depth of a pixel that nothing has been drawn on."""
_LAST: Final = 0x7FFFFFFF


@dataclass(frozen=True)
class Target:
    """A picture to draw on: rows of `width` pixels, `height` of them."""

    width: int
    height: int
    triangles: int
    """How many of the triangles, in order, are drawn on it."""


class Drawn(NamedTuple):
    """What lies nearest at every pixel."""

    key_BD: Tensor
    """int64: depth in the upper half, triangle in the lower; NOTHING where nothing was drawn."""
    corner_2X: Tensor
    """float32 [2, B * T]: x, y of each triangle's first corner."""
    asked_2: tuple[Tensor, Tensor]
    """int32 [B, T] and [B, rows]: places asked for in either queue; what is beyond a queue's length is not drawn."""
    planes_3FX: tuple[Tensor, Tensor, Tensor]
    """float32 [1 + A, B * T] each: depth and attributes at that corner, their slopes in x, in y."""


class Rasteriser:
    """Static part: layout of targets and queues."""

    def __init__(
        self, targets: list[Target], *, slots: int, rows: int, pixels: int, attributes: int, device: torch.device
    ) -> None:
        """rows, pixels: length of a slot's queues."""
        self.targets, self.slots, self.attributes = targets, slots, attributes
        self.rows, self.pixels = rows, pixels
        self.size = sum(target.width * target.height for target in targets)
        self.triangles = sum(target.triangles for target in targets)

        def places(length: int) -> Tensor:
            return torch.arange(slots * length, dtype=torch.int32, device=device).view(slots, length)

        self._rows_BQ, self._pixels_BQ = places(rows), places(pixels)
        # idle places write nothing, each to a pixel of its own, so that none is fought over
        self._idle = (torch.arange(slots * pixels, device=device) % (slots * self.size)).to(torch.int32)
        base, bases, widths, owners = 0, [], [], []
        for index, target in enumerate(targets):
            bases += [base] * target.triangles
            widths += [target.width] * target.triangles
            owners += [index] * target.triangles
            base += target.width * target.height
        slot_base = torch.arange(slots, dtype=torch.int32)[:, None] * self.size
        self._base_X = (slot_base + torch.tensor(bases, dtype=torch.int32)).view(-1).to(device)
        self._stride_X = torch.tensor(widths, dtype=torch.int32).repeat(slots).to(device)
        self._owner_T = torch.tensor(owners, device=device)
        self._number_X = (_LAST - torch.arange(self.triangles, dtype=torch.int32)).repeat(slots).to(device)
        at = [(x, y) for x, y in (_centres(target) for target in targets)]
        self.x_D = torch.cat([x for x, _ in at]).to(device)
        self.y_D = torch.cat([y for _, y in at]).to(device)
        self._slot_row_B1 = (torch.arange(slots) * self.triangles)[:, None].to(device)

    def draw(self, points_CN: Tensor, corners_B3T: Tensor, clip_BG2: Tensor) -> Drawn:
        """Draw all triangles of all slots.

        points_CN: float32 [3 + A, B * N], x, y (px of the triangle's target), z (towards the viewer), attributes.
        corners_B3T: int, columns of `points_CN`, ascending in each triangle (as vertices are numbered).
        clip_BG2: float32, pixels right of or below it are not drawn: width, height, at most the target's.
        """
        corner = points_CN.index_select(1, corners_B3T.reshape(-1)).view(len(points_CN), *corners_B3T.shape)
        a, b, c = corner.unbind(2)
        a, b = _by_height(a, b)
        b, c = _by_height(b, c)
        a, b = _by_height(a, b)
        ab, ac, bc = b - a, c - a, c - b
        width, height = clip_BG2.index_select(1, self._owner_T).unbind(2)
        area = ab[0] * ac[1] - ac[0] * ab[1]
        inverse = (1.0 / area).masked_fill(area == 0.0, 0.0)
        slope_x = (ab[2:] * ac[1] - ac[2:] * ab[1]) * inverse
        slope_y = (ac[2:] * ab[0] - ab[2:] * ac[0]) * inverse

        first = a[1].ceil().clamp(min=0.0)
        last = torch.minimum(c[1].ceil(), height)
        left, right = corner[0].aminmax(dim=1)
        hidden = (area == 0.0) | (right < 0.0) | (left > width - 1.0)
        count = (last - first).clamp(min=0.0).masked_fill(hidden, 0.0).to(torch.int32)
        edges = torch.stack([ac[0] / ac[1], ab[0] / ab[1], (bc[0] / bc[1]).masked_fill(bc[1] <= 0.0, 0.0)])
        table = torch.cat([a[:3], b[:2], edges, slope_x[:1], slope_y[:1], first[None], width[None]]).flatten(
            1
        )  # x0 y0 z0 x1 y1 long upper lower zx zy first width

        of_row, nth = hand_out(count, self._rows_BQ)
        x0, y0, z0, x1, y1, long, upper, lower, zx, zy, top, wide = table.index_select(1, of_row).unbind(0)
        y = top + nth
        along = y - y0
        far = x0 + along * long
        near = torch.where(y < y1, x0 + along * upper, x1 + (y - y1) * lower)
        start = torch.minimum(torch.minimum(far, near).ceil().clamp(min=0.0), wide)
        stop = torch.minimum(torch.maximum(far, near).ceil(), wide)
        idle = nth >= count.view(-1).index_select(0, of_row)
        length = (stop - start).clamp(min=0.0).masked_fill(idle, 0.0).to(torch.int32)
        z = z0 + zx * (start - x0) + zy * along
        pixel = self._base_X.index_select(0, of_row) + (
            y.to(torch.int32) * self._stride_X.index_select(0, of_row) + start.to(torch.int32)
        )
        number = self._number_X.index_select(0, of_row)
        rows = torch.stack([length, pixel, number, z.view(torch.int32), zx.contiguous().view(torch.int32)])

        asked = (count, length.view(self.slots, -1))
        of_pixel, nth = hand_out(asked[1], self._pixels_BQ)
        length, pixel, number, z_bits, zx_bits = rows.index_select(1, of_pixel).unbind(0)
        depth = z_bits.view(torch.float32) + zx_bits.view(torch.float32) * nth
        idle = nth >= length
        bits = depth.view(torch.int32)
        order = bits ^ ((bits >> 31) & _LAST)  # integers in the order of the floats
        key = ((order.to(torch.int64) << 32) + number).masked_fill(idle, NOTHING)
        at = torch.where(idle, self._idle, pixel + nth).to(torch.int64)
        best = torch.full((self.slots * self.size,), NOTHING, dtype=torch.int64, device=key.device)
        best.scatter_reduce_(0, at, key, "amax")
        planes = (a[2:].flatten(1), slope_x.flatten(1), slope_y.flatten(1))
        return Drawn(best.view(self.slots, self.size), a[:2].flatten(1), asked, planes)

    def part(self, target: int) -> slice:
        """Where a target's pixels lie among all."""
        start = sum(t.width * t.height for t in self.targets[:target])
        return slice(start, start + self.targets[target].width * self.targets[target].height)

    def read(self, drawn: Drawn, first: int, last: int, fields: slice) -> tuple[Tensor, Tensor]:
        """Values at the pixels of targets first .. last: float32 [fields, B, d] and whether drawn, bool [B, d].

        fields: 0 = depth, 1 .. A = attributes. What nothing was drawn on has some finite value.
        """
        part = slice(self.part(first).start, self.part(last).stop)
        key = drawn.key_BD[:, part]
        there = key != NOTHING
        number = (_LAST - (key & _LAST)).masked_fill(~there, 0) + self._slot_row_B1
        plane = torch.cat([drawn.corner_2X, *(values[fields] for values in drawn.planes_3FX)])
        plane = plane.index_select(1, number.view(-1)).view(len(plane), *number.shape)
        value, slope_x, slope_y = torch.unflatten(plane[2:], 0, (3, -1))
        dx, dy = self.x_D[part] - plane[0], self.y_D[part] - plane[1]
        return torch.addcmul(torch.addcmul(value, slope_x, dx), slope_y, dy), there


def _by_height(upper: Tensor, lower: Tensor) -> tuple[Tensor, Tensor]:
    """Two vertices [3 + A, X] each in order of y; equal ones stay."""
    swap = lower[1] < upper[1]
    return torch.where(swap, lower, upper), torch.where(swap, upper, lower)


def _centres(target: Target) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(target.height), torch.arange(target.width), indexing="ij")
    return x.reshape(-1).to(torch.float32), y.reshape(-1).to(torch.float32)
