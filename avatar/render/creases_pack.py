"""What of a portrait's folds is kept in its identity: made once, read by every decoder.

Layers of folds are mostly empty, so each group keeps the values inside its own box, one box after the other.

Shape suffixes: G groups, N values of all boxes, Y x X cells of a grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.creases import crease_layers
from avatar.render.creases_folds import GROUPS
from avatar.render.creases_skin import Grid, face_grid, pixel_grid, shade_tint, skin_share, soft_logs
from avatar.render.layers import Layers
from avatar.rig.types import FittedRig

F16 = NDArray[np.float16]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

PREFIX: Final = "creases."
LEAST: Final = 2e-3
"""Logarithms nearer to 0 than this are nothing."""


@dataclass(frozen=True)
class Creases:
    """About 0.1 MB."""

    own_N3: F16
    """Logarithms of gains per colour that take the portrait's own folds away (creases.crease_layers)."""
    own_boxes_G4: I32
    """Pixels x0, y0, x1, y1 of the portrait."""
    new_N: F16
    """Gains minus one of the folds that an expression makes."""
    new_boxes_G4: I32
    """Cells x0, y0, x1, y1 of `creases_skin.face_grid`."""
    tint_3: F32
    """creases_skin.shade_tint."""

    def pack(self) -> dict[str, NDArray[Any]]:
        """Arrays under stable names (`creases.own_N3`, ...), for storage in an identity."""
        return {PREFIX + f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def unpack(cls, arrays: Mapping[str, NDArray[Any]]) -> Creases:
        """Inverse of `pack`; ValueError for arrays that are missing or cannot belong together."""
        missing = [f.name for f in fields(cls) if PREFIX + f.name not in arrays]
        if missing:
            raise ValueError(f"This identity has no '{PREFIX}{missing[0]}': prepare the portrait again.")
        made = cls(**{f.name: arrays[PREFIX + f.name] for f in fields(cls)})
        shape = (len(GROUPS), 4)
        sound = (
            made.own_boxes_G4.shape == made.new_boxes_G4.shape == shape
            and made.tint_3.shape == (3,)
            and made.own_N3.shape == (int(_areas(made.own_boxes_G4).sum()), 3)
            and made.new_N.shape == (int(_areas(made.new_boxes_G4).sum()),)
            and min(made.own_boxes_G4.min(), made.new_boxes_G4.min()) >= 0
        )
        if not sound:
            raise ValueError("The folds in this identity are damaged: prepare the portrait again.")
        return made

    def own_logs(self, group: int, scale: float, size: int) -> tuple[F32, tuple[int, int, int, int]]:
        """A group's removal on the pixels of a frame `scale` times the portrait, [Y, X, 3]; its box x0, y0, x1, y1."""
        values, (x0, y0, x1, y1) = _values(self.own_N3, self.own_boxes_G4, group)
        if values.size == 0:
            return np.zeros((0, 0, 3), np.float32), (0, 0, 0, 0)
        if scale == 1.0:
            return values, (x0, y0, x1, y1)
        grid, box = pixel_grid(Grid(x0, y0, 1.0, x1 - x0, y1 - y0), scale, size)
        if grid.width <= 0 or grid.height <= 0:  # no pixel's middle lies in a box this narrow
            return np.zeros((0, 0, 3), np.float32), (0, 0, 0, 0)
        inside = Grid(grid.left - x0, grid.top - y0, grid.step, grid.width, grid.height)
        if scale < 1.0:
            values = np.asarray(cv2.GaussianBlur(values, (0, 0), 0.5 / scale), np.float32)
        return inside.look(values), box

    def new_layers(self, grid: Grid) -> F32:
        """The folds that an expression makes on `creases_skin.face_grid`; float32 [G, Y, X]."""
        out = np.zeros((len(GROUPS), grid.height, grid.width), np.float32)
        for group, layer in enumerate(out):
            values, (x0, y0, x1, y1) = _values(self.new_N, self.new_boxes_G4, group)
            layer[y0:y1, x0:x1] = values
        return out


def prepare_creases(layers: Layers, rig: FittedRig) -> Creases:
    """Look at the portrait's folds; about 0.2 s."""
    rgb_HW3 = np.ascontiguousarray(layers.person_HW4[..., :3])
    cells = face_grid(rig)
    pixels, (left, top, _, _) = pixel_grid(cells, 1.0, rig.size)
    logs = soft_logs(rgb_HW3, cells)
    skin_2YX = skin_share(rgb_HW3, logs, rig, cells)
    own, new = crease_layers(rgb_HW3, rig, cells, pixels, skin_2YX, layers.light_4[1:3])
    own_boxes = boxes(np.stack([np.abs(log).max(-1) > LEAST for log in own]))
    new_boxes = boxes(np.abs(new) > LEAST / 10)
    return Creases(
        own_N3=np.concatenate([_cut(log, box).reshape(-1, 3) for log, box in zip(own, own_boxes, strict=True)]),
        own_boxes_G4=own_boxes + np.array([left, top, left, top], np.int32),
        new_N=np.concatenate([_cut(layer, box).reshape(-1) for layer, box in zip(new, new_boxes, strict=True)]),
        new_boxes_G4=new_boxes,
        tint_3=shade_tint(logs, skin_2YX[0]),
    )


def boxes(there_GYX: NDArray[Any]) -> I32:
    """x0, y0, x1, y1 of what is not 0 in each layer; int32 [G, 4]."""
    out = np.zeros((len(there_GYX), 4), np.int32)
    for g, there in enumerate(there_GYX != 0):
        rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
        if len(rows):
            out[g] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return out


def _cut(layer: F32, box_4: NDArray[Any]) -> F16:
    x0, y0, x1, y1 = box_4
    return layer[y0:y1, x0:x1].astype(np.float16)


def _areas(boxes_G4: I32) -> NDArray[np.int64]:
    return np.asarray(np.prod(boxes_G4[:, 2:].astype(np.int64) - boxes_G4[:, :2], axis=1))


def _values(packed: F16, boxes_G4: I32, group: int) -> tuple[F32, tuple[int, int, int, int]]:
    x0, y0, x1, y1 = (int(v) for v in boxes_G4[group])
    start = int(_areas(boxes_G4[:group]).sum())
    part = packed[start : start + (y1 - y0) * (x1 - x0)]
    return part.reshape(y1 - y0, x1 - x0, *packed.shape[1:]).astype(np.float32), (x0, y0, x1, y1)
