"""What a fold leaves behind when it is taken away: lines, ridges, the shade at a corner of the mouth; and what stays.

Shape suffixes: Y x X pixels of the grid over the face.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.creases_skin import Grid
from avatar.render.images import fill, smooth

F32 = NDArray[np.float32]

OWN_RANGE: Final = (-0.1, 0.8)
"""Logarithms by which taking away a fold of the portrait may change it: darker, lighter."""
GRAIN: Final = 0.05
"""Logarithm: how much texture is left to the skin at the bottom of a fold that is taken away."""
SCAR: Final = 0.014
"""Face widths beside what was taken away in which traces of it are looked for."""
RIDGE: Final = 0.04
"""Face widths: shades narrower than about this are part of a deep fold."""
FLAT: Final = 0.8
"""Share of them that goes with it."""
CORNER: Final = 0.075
"""Face widths around a corner of the mouth in which a smile leaves its shade."""
SPOT: Final = 0.032
"""Face widths: the largest spot (mole, freckle) that is kept inside a fold."""


def lighten_corner(left_YX3: F32, skin_YX: F32, corner_2: NDArray[Any], pixels: Grid, width: float) -> F32:
    """What takes away the shade that a smile leaves beside a corner of the mouth (logarithms); [Y, X, 3].

    left_YX3: logarithms of the texture without folds; corner_2: px; width: pixels of the grid per face width.
    """
    at = (corner_2 - (pixels.left, pixels.top)) / pixels.step
    reach = round(1.6 * CORNER * width)
    x0, y0 = np.clip(np.rint(at).astype(int) - reach, 0, (pixels.width, pixels.height))
    x1, y1 = np.clip(np.rint(at).astype(int) + reach + 1, 0, (pixels.width, pixels.height))
    out = np.zeros_like(left_YX3)
    if min(x1 - x0, y1 - y0) < 4:
        return out
    away = np.hypot(*np.meshgrid(np.arange(x0, x1) - at[0], np.arange(y0, y1) - at[1])) / (CORNER * width)
    skin, logs = skin_YX[y0:y1, x0:x1], left_YX3[y0:y1, x0:x1]
    known = smooth((away - 0.9) / 0.3) * (skin > 0.8)
    if known.sum() < 9:
        return out
    blur = 0.012 * width
    even = cv2.GaussianBlur(fill(logs, known), (0, 0), 2 * blur)
    weight = (skin + 1e-3)[..., None]
    soft = cv2.GaussianBlur(logs * weight, (0, 0), blur) / cv2.GaussianBlur(weight, (0, 0), blur)[..., None]
    out[y0:y1, x0:x1] = np.clip(even - soft, 0.0, OWN_RANGE[1]) * (skin * smooth((1.0 - away) / 0.4))[..., None]
    return out


def spots(bright_YX: F32, width: float) -> F32:
    """Where small dark spots lie (moles, freckles, stubble), 0..1; [Y, X].

    A spot is filled by closing with a short line of any direction; a fold is not when the line runs along it.
    bright_YX: logarithms; width: pixels per face width.
    """
    reach = max(2, round(SPOT * width / 2))
    least = np.full(bright_YX.shape, np.inf, np.float32)
    bright = np.asarray(bright_YX, np.float32)
    for angle in np.arange(8) * np.pi / 8:
        line = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
        end = np.rint(reach * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        cv2.line(line, (reach - int(end[0]), reach - int(end[1])), (reach + int(end[0]), reach + int(end[1])), 1)
        least = np.minimum(least, cv2.morphologyEx(bright, cv2.MORPH_CLOSE, line) - bright)
    found = cv2.dilate(smooth((least - 0.08) / 0.1).astype(np.float32), np.ones((3, 3), np.uint8))
    return np.asarray(cv2.GaussianBlur(found, (0, 0), 0.8), np.float32)


def kept(spot_YX: F32, away_YX3: F32) -> NDArray[Any]:
    """How much of a spot stays: all of it beside a fold, nothing at the bottom, where the fold itself has dark ends."""
    return np.asarray(spot_YX * smooth(1.2 - np.maximum(away_YX3.mean(-1), 0.0) / 0.25))


def calm_down(left_YX3: F32, own_YX3: F32, spot_YX: F32, skin_YX: F32, width: float) -> F32:
    """What still has to be added where folds were taken away, so that no scars remain; [Y, X, 3].

    Scratches are held to the texture of this person's skin; ridges and shades as wide as a fold mostly go, where much
    was taken away. left_YX3: logarithms of the texture after the removal `own_YX3`; spot_YX: what is to stay; skin_YX:
    0..1; width: pixels of the grid per face width.
    """
    strong = np.abs(own_YX3).max(-1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(SCAR * width) + 1,) * 2)
    near = cv2.GaussianBlur(cv2.dilate(strong, disc), (0, 0), SCAR * width)
    stays = 1.0 - kept(spot_YX, own_YX3)
    zone, deep = smooth(near / 0.12 - 0.2) * stays * skin_YX, smooth(near / 0.2 - 0.5) * stays * skin_YX
    weight = (skin_YX**2 + 1e-3)[..., None]
    soft, wide = (
        cv2.GaussianBlur(left_YX3 * weight, (0, 0), blur) / cv2.GaussianBlur(weight, (0, 0), blur)[..., None]
        for blur in (0.012 * width, RIDGE * width)
    )
    fine = left_YX3 - soft
    calm = (skin_YX > 0.8) & (near < 0.02)
    usual = np.median(np.abs(fine[calm])) if calm.sum() > 99 else GRAIN
    most = float(np.clip(2.0 * usual, 0.2 * GRAIN, 0.6 * GRAIN))
    out = zone[..., None] * (np.clip(fine, -most, most) - fine) + (FLAT * deep)[..., None] * (wide - soft)
    return np.asarray(out, np.float32)
