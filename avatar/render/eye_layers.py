"""Eyes of a portrait taken apart: white, iris with pupil, catch-light.

Lids cover part of every iris; the missing part is mirrored from the visible one (top from bottom, then left from
right) and drawn towards the mean of the ring at that radius. The white is eye_white.py's. The catch-light is what is
brighter and smaller than the iris' own pattern (a white top-hat), and is kept apart because it does not turn with the
eye.

Shape suffixes: S side of an eye picture (px of the framed portrait), E vertices of an eye ring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from avatar.render.eye_white import complete_white, eye_tone
from avatar.render.images import LUMA, fill, sample
from avatar.rig.types import FittedRig

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

UPPER_MARGIN: Final = 0.2
"""Iris radii below the upper lid that lashes and the lid's thickness may hide."""
LOWER_MARGIN: Final = 0.22
"""The same above the lower lid, with its wet edge."""
LIMBUS: Final = 1.03
"""Radius at which the iris ends / measured iris radius."""
RIM: Final = 0.94
"""Iris radii up to which the picture shows nothing but iris."""
LIMBAL: Final = 0.18
"""How much darker the iris is where it ends."""
MIRRORED: Final = 0.6
"""Weight of the mirrored side where the iris is hidden; the rest is the mean of that radius."""
RINGS: Final = 10
"""Circles per iris radius for which that mean is taken."""
LIMBUS_SOFT: Final = 0.16
"""Width of the soft rim of the iris / radius."""


SHADOW: Final = 0.24
"""How much the upper lid darkens what lies under it."""
SHADOW_REACH: Final = 0.6
"""Iris radii over which that fades."""
LASHES: Final = 0.3
"""The same for the line right under the lid, where lashes and the lid's own thickness are."""
LASHES_REACH: Final = 0.14

SHARP_PX: Final = 1.9
"""Width of the lids' edges, px, in a portrait that is sharp."""
MOST_SOFT: Final = 0.2
"""Softest lids, iris radii."""

LID_ERROR: Final = 0.5
"""Iris radii by which tracked lids may lie inside the white."""


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def lid_shadow(below_px: float, iris_radius: float) -> float:
    """Light (0..1) `below_px` portrait px under the upper lid."""
    away = below_px / iris_radius
    return (1.0 - SHADOW * math.exp(-away / SHADOW_REACH)) * (1.0 - LASHES * math.exp(-((away / LASHES_REACH) ** 2)))


@dataclass(frozen=True)
class EyeLayers:
    """See `layers.Layers` for the fields; tone_3 is the colour of the lit white."""

    sclera_2SS3: F32
    iris_2SS4: F32
    glint_2SS3: F32
    origin_22: F32
    tone_3: F32


def take_eyes(rgb_HW3: U8, rig: FittedRig) -> EyeLayers:
    """Both eyes of a framed portrait."""
    rings = rig.rest_V3[rig.eye_ring_2E, :2]
    half = int(np.ceil(max(np.ptp(rings[..., 0], axis=1).max() * 0.75, rig.eyes.iris_radius_2.max() * 2.2)))
    side = 2 * half + 1
    size = rgb_HW3.shape[0]
    soft_2 = lid_softness(rgb_HW3, rig)
    sclera, iris, glint, origins, tones, areas = [], [], [], [], [], []
    for eye in range(2):
        middle = np.rint((rings[eye].min(0) + rings[eye].max(0)) / 2)
        origin = np.clip(middle - half, 0, size - side)
        x, y = origin.astype(int)
        patch = rgb_HW3[y : y + side, x : x + side].astype(np.float32)
        lid = lid_line(rig.rest_V3[rig.lid_upper_2L[eye], :2] - origin, side)
        lower = lid_line(rig.rest_V3[rig.lid_lower_2L[eye], :2] - origin, side)
        centre, radius = rig.eyes.iris_centre_23[eye, :2] - origin, float(rig.eyes.iris_radius_2[eye])
        nasal = rig.rest_V3[rig.lid_upper_2L[eye][-1 if eye == 0 else 0], :2] - origin
        parts = take_apart(patch, rings[eye] - origin, lid, lower, centre, radius, nasal, float(soft_2[eye]))
        sclera.append(parts[0])
        iris.append(parts[1])
        glint.append(parts[2])
        tones.append(parts[3])
        areas.append(parts[4])
        origins.append(origin)
    share = np.array(areas, np.float32) + 1e-3
    return EyeLayers(
        sclera_2SS3=np.stack(sclera),
        iris_2SS4=np.stack(iris),
        glint_2SS3=np.stack(glint),
        origin_22=np.array(origins, np.float32),
        tone_3=(np.array(tones) * (share / share.sum())[:, None]).sum(0).astype(np.float32),
    )


def lid_line(line_L2: NDArray[Any], side: int) -> F32:
    """y of a lid over each pixel column, level beyond its ends; float32 [S]."""
    order = np.argsort(line_L2[:, 0])
    line = np.interp(np.arange(side), line_L2[order, 0], line_L2[order, 1])
    return np.asarray(line, np.float32)


def take_apart(
    patch_SS3: F32, ring_E2: NDArray[Any], upper_S: F32, lower_S: F32, centre_2: NDArray[Any], radius: float,
    nasal_2: NDArray[Any], soft: float = 0.0,
) -> tuple[F32, F32, F32, F32, float]:  # fmt: skip
    """One eye (in the patch's px): sclera, iris with opacity, catch-light, tone of the white, px of white seen.

    nasal_2: the lids' corner at the nose. soft: how blurred the portrait is there (`lid_softness`).
    """
    side = len(patch_SS3)
    yy, xx = np.mgrid[:side, :side].astype(np.float32)
    open_SS = np.zeros((side, side), np.uint8)
    cv2.fillPoly(open_SS, [np.rint(ring_E2 * 16).astype(np.int32)], 1, shift=4)
    clear = (open_SS > 0) & (yy > upper_S[None] + max(1.0, UPPER_MARGIN * radius))
    clear &= yy < lower_S[None] - max(1.0, LOWER_MARGIN * radius)
    # take the lid's own shadow off: it is drawn anew for wherever the lid will be
    below = np.maximum(yy - upper_S[None], 0.0)
    shadow = (1.0 - SHADOW * np.exp(-below / (SHADOW_REACH * radius)))[..., None]
    patch_SS3 = np.clip(patch_SS3 / np.where((open_SS > 0)[..., None], shadow, 1.0), 0, 255).astype(np.float32)
    distance = (np.hypot(xx - centre_2[0], yy - centre_2[1]) / radius).astype(np.float32)
    luma = patch_SS3 @ LUMA
    tone, seen = eye_tone(patch_SS3, clear & (distance > LIMBUS + 0.15), open_SS > 0)

    # catch-light: brighter than anything that an opening by half the iris leaves; at the limbus, brighter than white
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(0.42 * radius) + 1,) * 2)
    opened = cv2.morphologyEx(luma, cv2.MORPH_OPEN, kernel)
    where = (distance < 0.9) | ((distance < 1.2) & (luma > 1.15 * float(tone @ LUMA)))
    excess = np.where(where & (open_SS > 0), luma - opened, 0.0)
    bright = np.clip((excess - 0.10 * 255) / (0.12 * 255), 0, 1).astype(np.float32)
    glare = np.asarray(cv2.GaussianBlur(bright, (0, 0), 0.6), np.float32)
    without = fill(patch_SS3, np.clip(1.0 - 3.0 * glare, 0, 1))
    glint = np.clip(patch_SS3 - without, 0, 255) * np.clip(3 * glare, 0, 1)[..., None]

    iris = complete_iris(without, clear, centre_2, radius, RIM - soft)
    width = LIMBUS_SOFT + soft
    rim = np.clip((LIMBUS + width / 2 - distance) / width, 0, 1)
    opacity = rim * rim * (3 - 2 * rim)
    sclera = complete_white(
        without, clear, open_SS > 0, distance, tone, nasal_2,
        (ring_E2.min(0) + ring_E2.max(0)) / 2, radius, max(float(np.ptp(ring_E2[:, 0])) / 2, 1.0),
    )  # fmt: skip
    return (
        sclera.astype(np.float32),
        np.concatenate([iris, opacity[..., None]], -1).astype(np.float32),
        glint.astype(np.float32),
        tone,
        seen,
    )


def complete_iris(
    patch_SS3: F32, clear_SS: NDArray[Any], centre_2: NDArray[Any], radius: float, rim: float = RIM
) -> F32:
    """The iris with the parts under the lids filled in; float32 [S, S, 3].

    What each radius looks like (a robust mean around the circle) is known wherever an arc of it is seen; pixels far
    from it are lashes or lid. The rest comes from the mirrored side, drawn half-way to that mean. Beyond `rim` the
    colour at `rim` goes on, darkened: what the picture shows there is mixed with white.
    """
    side = len(patch_SS3)
    yy, xx = np.mgrid[:side, :side].astype(np.float32)
    distance = np.hypot(xx - centre_2[0], yy - centre_2[1]) / radius
    known = (clear_SS & (distance < 1.3)).astype(np.float32)
    mean_SS3 = _around(patch_SS3, known, distance)
    off = np.abs((patch_SS3 - mean_SS3) @ LUMA)
    spread = float(np.median(off[(known > 0) & (distance < rim)])) if (known[distance < rim] > 0).any() else 0.0
    known *= off < 4.0 * spread + 24.0
    known = np.asarray(cv2.GaussianBlur(known, (0, 0), 0.7) * known, np.float32)
    mean_SS3 = _around(patch_SS3, known, distance)
    out = patch_SS3 * known[..., None]
    weight = known.copy()
    for flip_x, flip_y in ((0, 1), (1, 0), (1, 1)):
        map_x = 2 * centre_2[0] - xx if flip_x else xx
        map_y = 2 * centre_2[1] - yy if flip_y else yy
        maps = (np.asarray(map_x, np.float32), np.asarray(map_y, np.float32))
        there = MIRRORED * np.asarray(cv2.remap(known, *maps, cv2.INTER_LINEAR), np.float32)
        colour = cv2.remap(patch_SS3, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        take = there * (1 - weight)
        out += colour * take[..., None]
        weight += take
    whole = np.asarray(out + mean_SS3 * (1 - weight)[..., None], np.float32)
    inwards = np.minimum(1.0, rim / np.maximum(distance, 1e-6))
    ended = cv2.remap(
        whole,
        np.asarray(centre_2[0] + (xx - centre_2[0]) * inwards, np.float32),
        np.asarray(centre_2[1] + (yy - centre_2[1]) * inwards, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    darker = 1.0 - LIMBAL * np.clip((distance - rim) / (LIMBUS - rim), 0.0, 1.0)
    return np.asarray(ended * darker[..., None], np.float32)


def _around(patch_SS3: F32, weight_SS: F32, distance_SS: NDArray[Any]) -> F32:
    """Mean colour of each radius, [S, S, 3]; radii of which nothing is seen take their neighbours'."""
    place = np.clip(distance_SS * RINGS, 0, 1.4 * RINGS - 1.001)
    low = place.astype(int)
    high_share = place - low
    count = int(1.4 * RINGS) + 1
    sums = np.zeros((count, 4))
    for index, share in ((low, 1 - high_share), (low + 1, high_share)):
        amount = weight_SS * share
        sums[:, 3] += np.bincount(index.ravel(), amount.ravel(), count)
        for c in range(3):
            sums[:, c] += np.bincount(index.ravel(), (amount * patch_SS3[..., c]).ravel(), count)
    near = np.exp(-0.5 * ((np.arange(count)[:, None] - np.arange(count)) / 0.6) ** 2)
    far = np.exp(-0.5 * ((np.arange(count)[:, None] - np.arange(count)) / 4.0) ** 2)
    sums = near @ sums + 0.02 * far @ sums
    rings = sums[:, :3] / np.maximum(sums[:, 3:], 1e-6)
    return np.asarray(rings[low] + (rings[low + 1] - rings[low]) * high_share[..., None], np.float32)


def lid_steps(rgb_HW3: U8, rig: FittedRig, tone_3: F32) -> F32:
    """How far eye white goes on beyond each vertex of the eye rings, outwards, px; [2, E].

    Lids are tracked to a pixel or two. Skin that starts inside the white would carry white along when the eye closes,
    so its texture starts this much further out. White is told from skin by its colour, not its brightness (it lies in
    the lids' shade); tone_3: the lit white.
    """
    soft = cv2.GaussianBlur(rgb_HW3, (0, 0), 0.0012 * rig.size).astype(np.float32)
    chroma_HW = (soft[..., 0] - soft[..., 2]) / np.maximum(soft.sum(-1), 30.0)
    white_chroma = float(tone_3[0] - tone_3[2]) / max(float(tone_3.sum()), 30.0)
    seen_HW2 = np.stack([chroma_HW, soft @ LUMA], -1).astype(np.float32)
    steps = np.zeros(rig.eye_ring_2E.shape, np.float32)
    for eye, ring_E in enumerate(rig.eye_ring_2E):
        ring = rig.rest_V3[ring_E, :2]
        reach = LID_ERROR * float(rig.eyes.iris_radius_2[eye])
        out_E2 = outward(ring)
        skin_chroma = float(np.median(sample(seen_HW2, ring + 3.0 * reach * out_E2)[:, 0]))
        if skin_chroma - white_chroma < 0.03:
            continue
        along = np.linspace(0.0, reach, 17)
        at = ring[:, None] + along[None, :, None] * out_E2[:, None]
        seen = sample(seen_HW2, at.reshape(-1, 2)).reshape(len(ring), len(along), 2)
        white = (skin_chroma - seen[..., 0]) / (skin_chroma - white_chroma) > 0.5
        white &= seen[..., 1] > 0.4 * float(tone_3 @ LUMA)
        ends = np.where(white.all(1), 0, white.argmin(1))  # white all the way: that is not an eye's edge
        steps[eye] = along[np.maximum(ends - 1, 0)]
        steps[eye] = _evened(steps[eye])
    return steps


def _evened(step_E: F32) -> F32:
    """The largest of each vertex and its neighbours, without jumps along the ring: a jump would notch the lid."""
    wide = np.max([np.roll(step_E, k) for k in (-1, 0, 1)], 0)
    return np.asarray(np.mean([np.roll(wide, k) for k in (-2, -1, 0, 1, 2)], 0), np.float32)


def lid_softness(rgb_HW3: U8, rig: FittedRig) -> F32:
    """How softly each eye's lids end in this portrait, iris radii, float32 [2]: 0 for a sharp picture.

    Width of an edge = range of brightness across a lid / steepest slope, at the sharper lids of the ring.
    """
    picture = rgb_HW3.astype(np.float32)
    soft = np.zeros(2, np.float32)
    for eye, ring_E in enumerate(rig.eye_ring_2E):
        ring, radius = rig.rest_V3[ring_E, :2], float(rig.eyes.iris_radius_2[eye])
        across = np.linspace(-0.9, 0.9, 73) * radius
        at = ring[:, None] + across[None, :, None] * outward(ring)[:, None]
        luma_EA = (sample(picture, at.reshape(-1, 2)) @ LUMA).reshape(len(ring), -1)
        slope = np.abs(np.diff(luma_EA, axis=1)).max(1) / (across[1] - across[0])
        width = float(np.quantile(np.ptp(luma_EA, axis=1) / np.maximum(slope, 1e-3), 0.3))
        soft[eye] = min(max(width - SHARP_PX, 0.0), MOST_SOFT * radius) / radius
    return soft


def outward(ring_E2: NDArray[Any]) -> F32:
    """Unit normals of a closed ring that point away from its inside; [E, 2]."""
    along = np.roll(ring_E2, -1, 0) - np.roll(ring_E2, 1, 0)
    out = np.stack([along[:, 1], -along[:, 0]], -1)
    out = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)
    away = float((out * (ring_E2 - ring_E2.mean(0))).sum())
    return np.asarray(out if away > 0 else -out, np.float32)
