"""The lids of a portrait made ready to close: clean skin right up to their edges, and the colour of the lashes.

Lids are tracked to a pixel or two. What the portrait shows inside them (white, iris) is painted anew every frame, so it
is taken out of the person's texture: whatever leaks through beside a lid's edge then is lash or skin, never white.

Shape suffixes: H x W pixels, E vertices of an eye ring, R x R an eye's surroundings.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.eye_layers import LID_ERROR, outward
from avatar.render.images import LUMA, fill, sample
from avatar.rig.types import FittedRig

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

SKIN_AT: Final = (0.7, 1.1)
"""Iris radii outside the lids where skin is surely skin."""
LASH_ACROSS: Final = (-0.12, 0.22)
"""Iris radii across the upper lid's edge (outwards) in which its lash line lies."""
LID_STRIP: Final = (0.3, 0.8)
"""Iris radii above the upper lid between which its skin is seen."""
NARROW_STRIP: Final = (0.1, 0.35)
NARROW_SHARE: Final = 0.2
"""Where glasses leave only this much of it, its share in the colour; the rest is from below the eye."""
UNDER_STRIP: Final = (0.4, 1.0)
"""The same below the lower lid."""
LID_SMOOTH: Final = 0.16
"""Share of the lid's length over which that is evened."""
LID_COVER: Final = 0.25
LID_COVER_GLASSES: Final = 0.88
HELD_WITHIN: Final = 1.5
"""Iris radii above a lid within which held glasses leave too little skin to close it with."""
LASH_DARKEST: Final = 0.75
"""Lashes are at least this much darker than the lid's skin."""


def lash_colours(rgb_HW3: U8, rig: FittedRig, step_2E: F32) -> F32:
    """Colour of each eye's lash line and the eye's height at rest: float32 [2, 4], RGB 0..255 and px."""
    picture = cv2.GaussianBlur(rgb_HW3, (0, 0), 0.0008 * rig.size + 0.2).astype(np.float32)
    out = np.zeros((2, 4), np.float32)
    for eye, ring_E in enumerate(rig.eye_ring_2E):
        ring, radius = rig.rest_V3[ring_E, :2], float(rig.eyes.iris_radius_2[eye])
        out_E2 = outward(ring)
        upper = np.arange(2, rig.lid_upper_2L.shape[1] - 2)
        at = ring[upper] + step_2E[eye][upper, None] * out_E2[upper]
        across = np.linspace(*LASH_ACROSS, 9) * radius
        line = sample(picture, (at[:, None] + across[:, None] * out_E2[upper][:, None]).reshape(-1, 2))
        line = line.reshape(len(upper), -1, 3)
        darkest = np.take_along_axis(line, (line @ LUMA).argmin(1)[:, None, None], 1)[:, 0]
        lash = np.median(darkest, 0)
        skin = np.median(sample(picture, ring[upper] + 0.8 * radius * out_E2[upper]), 0)
        most = LASH_DARKEST * float(skin @ LUMA)
        out[eye, :3] = lash * min(1.0, most / max(float(lash @ LUMA), 1.0))
        neutral = rig.neutral_V3[:, :2]
        out[eye, 3] = np.linalg.norm(neutral[rig.lid_upper_2L[eye]] - neutral[rig.lid_lower_2L[eye]], axis=1).max()
    return out


def lid_skin(rgb_HW3: U8, rig: FittedRig) -> F32:
    """Skin of the upper lids, for the part that unrolls as they close: float32 [2, L, 4], RGB 0..255 and how much of it
    is laid over what the portrait's strip between lid and fold looks like when stretched over the ball.

    Taken from that strip, smoothed along the lid. Where glasses are held near it, the strip is rim and lashes: then the
    skin below the eye has the larger say in the colour, and it covers nearly all.
    """
    picture = cv2.GaussianBlur(rgb_HW3, (0, 0), 0.0016 * rig.size).astype(np.float32)
    out = np.zeros((*rig.lid_upper_2L.shape, 4), np.float32)
    count = rig.lid_upper_2L.shape[1]
    along = np.linspace(0.0, 1.0, count)
    near = np.exp(-0.5 * ((along[:, None] - along) / LID_SMOOTH) ** 2) * np.sin(np.pi * np.clip(along, 0.12, 0.88))
    near /= near.sum(1, keepdims=True)
    for eye, ring_E in enumerate(rig.eye_ring_2E):
        ring, radius = rig.rest_V3[ring_E, :2], float(rig.eyes.iris_radius_2[eye])
        out_E2 = outward(ring)
        upper = np.arange(count)
        lower = np.r_[0, np.arange(len(ring) - 1, count - 2, -1)]
        held = _held_near(rig, ring[:count], radius)
        if held == 0.0:
            skin = _strip(picture, ring[upper], out_E2[upper], LID_STRIP, radius, 0.75)
        else:
            above = _strip(picture, ring[upper], out_E2[upper], NARROW_STRIP, radius, 0.75)
            under = _strip(picture, ring[lower], out_E2[lower], UNDER_STRIP, radius, 0.5)
            skin = under + NARROW_SHARE * (above - under)
        out[eye, :, :3] = near @ skin
        out[eye, :, 3] = LID_COVER + (LID_COVER_GLASSES - LID_COVER) * held
    return out


def _strip(
    picture_HW3: F32, ring_N2: NDArray[Any], out_N2: F32, reach: tuple[float, float], radius: float, share: float
) -> NDArray[Any]:
    """Per vertex the colour of that rank of brightness (0 darkest, 1 brightest) on a line outwards, [N, 3]."""
    at = ring_N2[:, None] + radius * np.linspace(*reach, 9)[None, :, None] * out_N2[:, None]
    seen = sample(picture_HW3, at.reshape(-1, 2)).reshape(len(ring_N2), -1, 3)
    order = np.argsort(seen @ LUMA, axis=1)[:, int(share * 8)]
    return np.asarray(seen[np.arange(len(ring_N2)), order])


def _held_near(rig: FittedRig, upper_L2: NDArray[Any], radius: float) -> float:
    """1 when glasses hold the skin right above a lid, else 0."""
    away = np.linalg.norm(rig.rest_V3[:, None, :2] - upper_L2[None, 2:-2], axis=-1).min(1)
    return float((rig.rigid_V[away < HELD_WITHIN * radius] > 0.5).any())


def clean_lids(rgb_HW3: U8, rig: FittedRig, tone_3: F32) -> U8:
    """The picture with both eyes filled in from the lids' edges (upper half from above, lower half from below), and
    white that lies beside the tracked edges taken away; a copy. tone_3: the lit white."""
    out = rgb_HW3.copy()
    for eye in range(2):
        radius = float(rig.eyes.iris_radius_2[eye])
        ring = rig.rest_V3[rig.eye_ring_2E[eye], :2]
        low = np.maximum(np.floor(ring.min(0) - 1.6 * radius), 0).astype(int)
        high = np.minimum(np.ceil(ring.max(0) + 1.6 * radius) + 1, rig.size).astype(int)
        if (high - low).min() < 4:
            continue
        part = out[low[1] : high[1], low[0] : high[0]]
        part[:] = _without_eye(part.astype(np.float32), ring - low, radius, tone_3)
    return out


def _without_eye(part_RR3: F32, ring_E2: NDArray[Any], radius: float, tone_3: F32) -> U8:
    height, width = part_RR3.shape[0], part_RR3.shape[1]
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [np.rint(ring_E2 * 16).astype(np.int32)], 1, shift=4)
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5) / radius
    upper = np.interp(np.arange(width), *_line(ring_E2, upper=True))
    lower = np.interp(np.arange(width), *_line(ring_E2, upper=False))
    rows = np.arange(height)[:, None]
    above = rows < ((upper + lower) / 2)[None]

    luma = part_RR3 @ LUMA
    hue = (part_RR3[..., 0] - part_RR3[..., 2]) / np.maximum(part_RR3.sum(-1), 30.0)
    white_hue = float(tone_3[0] - tone_3[2]) / max(float(tone_3.sum()), 30.0)
    leaked = np.zeros((height, width), np.uint8)
    for half in (above, ~above):
        skin = half & (away > SKIN_AT[0]) & (away < SKIN_AT[1])
        if not skin.any():
            continue
        skin_luma, skin_hue = float(np.median(luma[skin])), float(np.median(hue[skin]))
        paler = (skin_hue - hue) / max(skin_hue - white_hue, 0.03) > 0.5
        brighter = luma > skin_luma + 0.35 * max(float(tone_3 @ LUMA) - skin_luma, 12.0)
        like_white = (paler & (luma > 0.45 * float(tone_3 @ LUMA))) if skin_hue - white_hue > 0.03 else brighter
        leaked |= (like_white & half & (away > 0) & (away < LID_ERROR)).astype(np.uint8)
    # only what hangs together with the eye
    _, labels = cv2.connectedComponents(np.maximum(inside, leaked), connectivity=4)
    own = np.unique(labels[inside > 0])
    gone = np.isin(labels, own[own > 0]) & ((inside | leaked) > 0)
    known = 1.0 - gone.astype(np.float32)
    filled = np.where(above[..., None], *(fill(part_RR3, known * half) for half in (above, ~above)))
    soft = cv2.GaussianBlur(gone.astype(np.float32), (0, 0), 0.6)[..., None]
    soft = np.maximum(soft, gone[..., None])
    return np.clip(np.rint(part_RR3 + (filled - part_RR3) * soft), 0, 255).astype(np.uint8)


def _line(ring_E2: NDArray[Any], *, upper: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """x (ascending) and y of one lid of a ring that runs along the upper lid first, left to right."""
    half = len(ring_E2) // 2
    line = ring_E2[: half + 1] if upper else np.concatenate([ring_E2[half:], ring_E2[:1]])
    order = np.argsort(line[:, 0])
    return line[order, 0], line[order, 1]
