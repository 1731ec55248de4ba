"""Patches of the frames: boxes that follow lips and eyes, of a fixed size in memory, and how much of them is used.

Shape suffixes: B slots, N points, Y x X pixels of a patch, K = Y * X, C channels, S side of the frame.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from avatar.render.raster import SUBLINES


@cache
def constant(values: tuple[Any, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers on the device, copied there once: a captured graph must not read the host's memory."""
    return torch.tensor(values, dtype=dtype, device=device)


class Box(NamedTuple):
    """Pixels of a square frame; whole numbers as float32."""

    left_B: Tensor
    top_B: Tensor
    width_B: Tensor
    height_B: Tensor

    @property
    def corners_B4(self) -> Tensor:
        """x, y of the first pixel, width, height."""
        return torch.stack([self.left_B, self.top_B, self.width_B, self.height_B], -1)

    def holds(self, x_K: Tensor, y_K: Tensor) -> Tensor:
        """Whether pixels of the frame lie in it: bool [B, K]."""
        x, y = x_K - self.left_B[:, None], y_K - self.top_B[:, None]
        return (x >= 0.0) & (x < self.width_B[:, None]) & (y >= 0.0) & (y < self.height_B[:, None])


def pixel_box(points_BN2: Tensor, reach_B: Tensor | float, size: int) -> Box:
    """raster.pixel_box: all pixels that points and `reach` px around them touch, inside a square frame."""
    low, high = torch.aminmax(points_BN2, dim=1)
    reach = reach_B[:, None] if isinstance(reach_B, Tensor) else reach_B
    first = (low - reach).floor().clamp(0.0, size)
    extent = ((high + reach).ceil() + 1.0).clamp(0.0, size) - first
    return Box(first[:, 0], first[:, 1], extent[:, 0], extent[:, 1])


def extent(points_BN2: Tensor) -> Tensor:
    """Width of point sets: [B]."""
    low, high = torch.aminmax(points_BN2[..., 0], dim=1)
    return high - low


class Patch:
    """Pixels of boxes that may lie anywhere: where in the frame they are, read and written."""

    def __init__(self, box: Box, room: Room, size: int) -> None:
        self.box, self.room = box, room
        self.used_BK = (room.x_K < box.width_B[:, None]) & (room.y_K < box.height_B[:, None])
        at = (box.top_B[:, None] + room.y_K) * size + (box.left_B[:, None] + room.x_K)
        # pixels that are not used are written beyond the picture's end
        self._at_BK = at.masked_fill(~self.used_BK, float(size * size)).to(torch.int64)

    def read(self, frame_BCX: Tensor, patch: int = 0) -> Tensor:
        """Colours [B, C, K]; frame_BCX: [B, C, S * S + 1]. patch: which one, where each slot has several boxes."""
        return frame_BCX.gather(2, self._places(frame_BCX, patch))

    def write(self, frame_BCX: Tensor, colours_BCK: Tensor, patch: int = 0) -> None:
        """The inverse of `read`, in place."""
        frame_BCX.scatter_(2, self._places(frame_BCX, patch), colours_BCK)

    def _places(self, frame_BCX: Tensor, patch: int) -> Tensor:
        at = torch.unflatten(self._at_BK, 0, (len(frame_BCX), -1))[:, patch]
        return at[:, None].expand(-1, frame_BCX.shape[1], -1)


class Room:
    """The fixed size of a patch and its pixels' columns and rows, row by row."""

    def __init__(self, share: tuple[float, float], size: int, device: torch.device) -> None:
        """share: width and height of a patch / side of the frame, whose pixels are `size`."""
        self.width, self.height = (2 * round(size * s / 2) for s in share)
        y, x = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        self.x_K = x.reshape(-1).to(device, torch.float32)
        self.y_K = y.reshape(-1).to(device, torch.float32)
        self.column_X = torch.arange(self.width, device=device, dtype=torch.float32)
        self.row_Y = torch.arange(self.height, device=device, dtype=torch.float32)
        line = torch.arange(self.height * SUBLINES)
        self.line_R1 = ((line + 0.5) / SUBLINES - 0.5)[:, None].to(device)
        """y of the lines on which `coverage` measures."""
        self.start_R1 = (line * (self.width + 2))[:, None].to(device)
        """Where each line begins when all lie one after the other, two pixels longer than the patch is wide."""


def coverage(polygon_BE2: Tensor, room: Room) -> Tensor:
    """raster.coverage: share of each pixel [B, Y, X] inside a closed polygon, in px of the patch.

    On each line the polygon's edges open and close spans. Instead of sorting them, each edge adds the derivative of
    "everything to my right", with the sign of its direction; the sum from left to right is the share covered. Whole
    numbers, so that the order of the additions does not matter. Where lids cross, what lies between them turned over
    counts as inside, too, except where both kinds meet within a pixel of one line.
    """
    count, height, width = len(polygon_BE2), room.height, room.width
    ax, ay = polygon_BE2[:, None].unbind(-1)
    bx, by = polygon_BE2.roll(-1, 1)[:, None].unbind(-1)
    y = room.line_R1
    down, up = ay <= y, by <= y
    misses = down == up
    x = (ax + (y - ay) / (by - ay) * (bx - ax) + 0.5).masked_fill(misses, 0.0).clamp(0.0, float(width))
    column = x.floor()
    unit = (down * (2.0 * ONE) - ONE).masked_fill(misses, 0.0)
    later = ((x - column) * unit).round()
    at = (column.to(torch.int64) + room.start_R1).view(count, -1)
    steps = torch.zeros(count, height * SUBLINES * (width + 2), dtype=torch.int32, device=x.device)
    steps.scatter_add_(1, at, (unit - later).to(torch.int32).view(count, -1))
    steps.scatter_add_(1, at + 1, later.to(torch.int32).view(count, -1))
    covered = steps.view(count, height, SUBLINES, width + 2)[..., :width].cumsum(-1, dtype=torch.int32)
    return covered.abs().sum(2, dtype=torch.int32).to(torch.float32) * (1.0 / (ONE * SUBLINES))


ONE = 65536.0
"""Whole numbers per covered line of a pixel."""


def line_pieces(line_BnL2: Tensor, x_Bn1X: Tensor) -> tuple[Tensor, Tensor]:
    """Both ends [B, n, X, 2] of the piece over each x of lines from left to right; the first or last beyond them."""
    starts = line_BnL2[..., None, :-1, 0]
    place = constant(tuple(range(starts.shape[-1])), line_BnL2.device, torch.int64)
    which = ((x_Bn1X.mT > starts) * place).amax(-1)
    at = which[..., None].expand(*which.shape, 2)
    return line_BnL2[..., :-1, :].gather(-2, at), line_BnL2[..., 1:, :].gather(-2, at)


def line_y(line_BnL2: Tensor, x_Bn1X: Tensor) -> Tensor:
    """y over each x [B, n, 1, X] of lines that run from left to right, level beyond their ends."""
    a, b = line_pieces(line_BnL2, x_Bn1X)
    along = ((x_Bn1X[..., 0, :] - a[..., 0]) / (b[..., 0] - a[..., 0]).clamp(min=1e-6)).clamp(0.0, 1.0)
    return (a[..., 1] + along * (b[..., 1] - a[..., 1]))[..., None, :]
