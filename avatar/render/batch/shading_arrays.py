"""What a slot keeps of one identity's shading. Shape suffixes as in batch/shading.py."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.render import shading
from avatar.render.shading import Shading

Arrays = dict[str, NDArray[Any]]

ROOM: Final = (168, 136)
"""Rows and columns of cells that a face may have."""
COARSE_ROOM: Final = tuple(n // shading.COARSE + 2 for n in ROOM)
OWN_SHARE: Final = 0.1
"""Pixels on which the portrait's own folds may lie / pixels of the frame."""
OWN_DEEP: Final = 3
"""Groups whose folds may lie on one pixel."""


def shading_arrays(of: Shading, size: int) -> Arrays:
    """What a slot keeps of one identity's shading (names as in tables.Slots). ValueError for too large a face."""
    groups, height, width = of.new_GYX.shape
    at, group, added = _own(of, size)
    room = int(OWN_SHARE * size * size)
    if height > ROOM[0] or width > ROOM[1] or len(at) > room:
        raise ValueError("The face is turned too far in this portrait: use one that looks at the camera.")
    free = room - len(at)
    cells, coarse = COARSE_ROOM[0] * COARSE_ROOM[1], of.coarse_shape
    sampled = of.average_CS.shape[1]
    rows = np.zeros((*COARSE_ROOM, sampled), np.int64)
    shares = np.zeros((*COARSE_ROOM, sampled), np.float32)
    rows[: coarse[0], : coarse[1]] = of.average_CS.reshape(*coarse, -1)
    shares[: coarse[0], : coarse[1]] = of.share_CS.reshape(*coarse, -1)
    layers = np.zeros((groups, *ROOM), np.float32)
    layers[:, :height, :width] = of.new_GYX
    x0, y0, x1, y1 = of.box_4.tolist()
    return {
        "shade_rest_V2": of.rest_V2,
        "shade_near_V": of.near_V,
        "shade_mask_V": of.mask_V,
        "shade_light_4": of.light_4,
        "shade_sign_1": np.array([of.sign]),
        "shade_source_G": of.source_drive_G,
        "shade_tint_31": of.tint_3[:, None],
        "shade_rows_K": rows.reshape(cells * sampled),
        "shade_share_KS": shares.reshape(cells, sampled),
        "shade_folds_GX": layers.reshape(groups, -1),
        "shade_down_HY": _steps(of.cell_y_Y, of.part_y_Y, y0, y1, size, ROOM[0]),
        "shade_along_XW": _steps(of.cell_x_X, of.part_x_X, x0, x1, size, ROOM[1]).T,
        # pixels that are free lie beyond the picture's end
        "shade_own_at_P": np.pad(at, (0, free), constant_values=size * size),
        "shade_own_group_K": np.pad(group, ((0, 0), (0, free))).reshape(-1),
        "shade_own_3KP": np.pad(added, ((0, 0), (0, 0), (0, free))),
    }


def _own(of: Shading, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The portrait's own folds by pixel: where [P], whose [OWN_DEEP, P], and what is added [3, OWN_DEEP, P]."""
    places, owners, colours = [], [], []
    for group, (start, (x0, y0, x1, y1)) in enumerate(zip(of.own_start_G, of.own_boxes_G4, strict=True)):
        there = (np.arange(y0, y1)[:, None] * size + np.arange(x0, x1)).ravel().astype(np.int64)
        added = of.own_N3[start : start + len(there)]
        some = added.any(1)
        places.append(there[some])
        owners.append(np.full(int(some.sum()), group, np.int64))
        colours.append(added[some].astype(np.float32))
    place, owner, colour = (np.concatenate(parts) for parts in (places, owners, colours))
    order = np.argsort(place, kind="stable")
    place, owner, colour = place[order], owner[order], colour[order]
    at, first, inverse = np.unique(place, return_index=True, return_inverse=True)
    nth = np.arange(len(place)) - first[inverse]
    kept = nth < OWN_DEEP
    group_KP = np.zeros((OWN_DEEP, len(at)), np.int64)
    added_3KP = np.zeros((3, OWN_DEEP, len(at)), np.float32)
    group_KP[nth[kept], inverse[kept]] = owner[kept]
    added_3KP[:, nth[kept], inverse[kept]] = colour[kept].T
    return at, group_KP, added_3KP


def _steps(cell: NDArray[Any], part: NDArray[Any], first: int, last: int, size: int, room: int) -> NDArray[Any]:
    """Bilinear steps as a matrix [size, room]; pixels outside first .. last get nothing."""
    out = np.zeros((size, room), np.float32)
    pixel = np.arange(first, last)
    out[pixel, cell] = 1.0 - part
    out[pixel, cell + 1] = part
    return out
