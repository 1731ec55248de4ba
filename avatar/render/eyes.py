"""Drawing both eyes into a frame: white, turned iris, lid's shadow, catch-light, clipped to the lids; then lashes.

The white goes with the head; the iris turns on the ball; the catch-light, a reflection in the bulging cornea, goes
half the way of the iris. The portrait's own lashes stay on the lid's skin, pointing up; as the lid comes down, a soft
fringe of the same colour grows below its edge, which is where lashes of a closed eye are seen.
Positions are px of the frame being drawn; `scale` is its size / the portrait's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from avatar.render import raster
from avatar.render.eye_layers import lid_shadow
from avatar.render.layers import Layers
from avatar.render.raster import bilinear
from avatar.rig.eyes import gaze_axis
from avatar.rig.types import DeformedFace, FittedRig

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

GLINT_SHARE: Final = 0.5
DIM: Final = 0.3
"""How much darker the eye gets behind a closing lid and its lashes."""
LOWER: Final = 0.14
"""How much darker the eye is right above the lower lid."""
LOWER_REACH: Final = 0.22
"""Iris radii over which that fades."""
LID_ABOVE: Final = 0.34
"""Iris radii above the open lid from which the skin of the closing one fades in, times how much of it covers: where it
covers all, it has to hide the portrait's own lash line, too."""
LID_FADE: Final = 0.45
"""Iris radii over which it fades in."""
LID_SHADE: Final = 0.14
"""How much darker it is where it comes out of its fold."""
LID_GROWS: Final = 0.6
"""Iris radii that the lid has come down when that skin is laid over fully."""
LASH_FROM: Final = 0.2
LASH_ALL: Final = 0.8
"""Shares of closure between which the lashes below the lid's edge appear."""
LASH_ALPHA: Final = 0.8
LASH_EDGE: Final = 0.12
"""Iris radii above the lid's edge over which the lash line fades in."""
LASH_ROOT: Final = 0.06
"""Iris radii below it that are all lash."""
LASH_LENGTH: Final = 0.42
"""Iris radii that the lashes reach below the edge, in the middle of the lid."""
LASH_COUNT: Final = 15.0
"""Tufts along a lid."""


def eye_frames(rig: FittedRig, face: DeformedFace, scale: float) -> F32:
    """Per eye the numbers `draw_eye` needs, float32 [2, 20] (see there)."""
    rest, pose = rig.eyes, face.pose
    source_axis = gaze_axis(rest.source_gaze_2).astype(np.float32)
    frames = np.zeros((2, 20), np.float32)
    for eye in range(2):
        centre = rest.ball_centre_23[eye]
        probe = centre + np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
        moved = rig.move(probe, pose)[:, :2]
        jacobian = (moved[1:] - moved[0]).T
        inverse = np.linalg.inv(jacobian)
        # frame direction -> direction in the portrait, iris turned back to where it was taken
        axis_in_head = pose.R_33.T @ face.iris_axis_23[eye]
        turn = _between(axis_in_head, source_axis) @ pose.R_33.T
        radius = float(face.ball_radius_2[eye])
        iris_shift = inverse @ (face.iris_centre_23[eye, :2] - moved[0]) - (rest.iris_centre_23[eye] - centre)[:2]
        frames[eye, 0:2] = moved[0]
        frames[eye, 2:6] = inverse.ravel()
        frames[eye, 6:8] = centre[:2]
        frames[eye, 8:14] = turn[:2].ravel()
        frames[eye, 14] = radius
        frames[eye, 15] = rest.ball_radius_2[eye]
        frames[eye, 16:18] = GLINT_SHARE * iris_shift
        frames[eye, 18] = rest.iris_radius_2[eye]
        frames[eye, 19] = scale
    return frames


def draw_eyes(layers: Layers, rig: FittedRig, face: DeformedFace, skin_V3: F32, scale: float, out_HW3: U8) -> None:
    """Lay both eyes over the frame, then the upper lashes of a closing lid; skin_V3: the skin in frame px."""
    frames = eye_frames(rig, face, scale)
    for eye in range(2):
        _draw_one(layers, rig, face, frames[eye], eye, skin_V3, scale, out_HW3)


def eyes_seen(layers: Layers, rig: FittedRig, face: DeformedFace, skin_V3: F32, scale: float, size: int) -> F32:
    """How much of each eye a frame shows, float32 [2 eyes, 2]: px of white and px of iris with pupil.

    Drawn by `draw_eyes`' own means with marked colours, so it is exactly 0, 0 when nothing of the eye is left in the
    picture; shade and lashes in front count as covering. size: side of the frame, px. For checks, not for every frame.
    """
    red, green, black = (np.array(c, np.float32) for c in ([255, 0, 0], [0, 255, 0], [0, 0, 0, 1]))
    iris = np.concatenate([np.zeros_like(layers.iris_2SS4[..., :3]) + green, layers.iris_2SS4[..., 3:]], -1)
    marked = replace(
        layers,
        sclera_2SS3=np.zeros_like(layers.sclera_2SS3) + red,
        iris_2SS4=iris,
        glint_2SS3=np.zeros_like(layers.glint_2SS3),
        lash_24=layers.lash_24 * black,
        lid_skin_2L4=layers.lid_skin_2L4 * black,
    )
    frames = eye_frames(rig, face, scale)
    seen = np.zeros((2, 2), np.float32)
    for eye in range(2):
        picture = np.zeros((size, size, 3), np.uint8)
        _draw_one(marked, rig, face, frames[eye], eye, skin_V3, scale, picture)
        seen[eye] = picture[..., :2].sum((0, 1), dtype=np.int64) / 255.0
    return seen


def _draw_one(
    layers: Layers, rig: FittedRig, face: DeformedFace, frame_F: F32, eye: int, skin_V3: F32, scale: float, out_HW3: U8
) -> None:
    polygon = np.ascontiguousarray(skin_V3[rig.eye_ring_2E[eye], :2])
    upper = np.ascontiguousarray(skin_V3[rig.lid_upper_2L[eye], :2])
    lower = np.ascontiguousarray(skin_V3[rig.lid_lower_2L[eye], :2])
    open_lid = rig.move(rig.neutral_V3[rig.lid_upper_2L[eye]], face.pose)[:, :2] * scale + (scale - 1) / 2
    iris_px = float(frame_F[18]) * scale
    around = np.concatenate([polygon, open_lid])
    left, top, right, bottom = raster.pixel_box(around, 0.0, out_HW3.shape[0])
    top = max(top - math.ceil(LID_ABOVE * iris_px), 0)
    bottom = min(bottom + math.ceil(LASH_LENGTH * iris_px), out_HW3.shape[0])
    if right <= left or bottom <= top:
        return
    cover = np.empty((bottom - top, right - left), np.float32)
    raster.coverage(polygon, left, top, cover)
    closed = closure(upper, lower, float(layers.lash_24[eye, 3]) * scale * face.pose.scale)
    draw_eye(
        layers.sclera_2SS3[eye], layers.iris_2SS4[eye], layers.glint_2SS3[eye], layers.eye_origin_22[eye],
        frame_F, layers.lash_24[eye], layers.lid_skin_2L4[eye], float(layers.lid_soft_2[eye]),
        open_lid, upper, lower, closed, left, top, cover, out_HW3,
    )  # fmt: skip


def closure(upper_L2: F32, lower_L2: F32, open_px: float) -> float:
    """0 (lids `open_px` apart where they are farthest) .. 1 (they meet)."""
    gap = float(np.sqrt(((lower_L2 - upper_L2) ** 2).sum(1).max()))
    return min(max(1.0 - gap / max(open_px, 1e-3), 0.0), 1.0)


def _between(a_3: F32, b_3: F32) -> F32:
    """The smallest rotation that takes unit vector a to b (less than half a turn apart)."""
    v = np.cross(a_3, b_3)
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]], np.float32)
    return np.asarray(np.eye(3) + cross + cross @ cross / (1.0 + float(a_3 @ b_3)), np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def draw_eye(
    sclera_SS3: F32, iris_SS4: F32, glint_SS3: F32, origin_2: F32, frame_F: F32, lash_4: F32, skin_L4: F32, soft: float,
    open_L2: F32, lid_L2: F32, lower_L2: F32, closed: float, left: int, top: int, cover_HW: F32, out_HW3: U8,
) -> None:  # fmt: skip
    """One eye. frame_F: 0-1 ball in the (unscaled) frame, 2-5 frame -> portrait at the ball, 6-7 ball in the portrait,
    8-13 two rows that turn a direction on the ball back to the portrait's iris, 14 ball radius now, 15 in the portrait,
    16-17 shift of the catch-light in portrait px, 18 iris radius in the portrait, 19 scale of the frame.
    lash_4: 0-2 colour of the lashes. skin_L4: 0-2 colour of the upper lid's skin along its edge, 3 how much of it
    covers. soft: iris radii over which the eye fades in under its lids. open_L2, lid_L2, lower_L2: edges of the upper
    lid when open and now, and of the lower one, frame px, left to right. closed: 0..1."""
    scale = frame_F[19]
    iris_px = frame_F[18] * scale
    # the lid's slope: distances from it are measured across it
    last = lid_L2.shape[0] - 1
    along_x, along_y = lid_L2[last, 0] - lid_L2[0, 0], lid_L2[last, 1] - lid_L2[0, 1]
    level = along_x / max(math.sqrt(along_x * along_x + along_y * along_y), 1e-6)
    dim = 1.0 - DIM * closed * closed
    lashes = min(max((closed - LASH_FROM) / (LASH_ALL - LASH_FROM), 0.0), 1.0)
    lashes = LASH_ALPHA * lashes * lashes * (3.0 - 2.0 * lashes)
    edge = max(LASH_EDGE, 0.8 / iris_px)
    for i in range(cover_HW.shape[1]):
        x = left + i
        lid, floor = _line_y(lid_L2, float(x)), _line_y(lower_L2, float(x))
        t = (x - lid_L2[0, 0]) / max(along_x, 1e-3)
        arch = 4.0 * t * (1.0 - t)
        # the part of the lid that has come out of its fold
        fold = _line_y(open_L2, float(x))
        rolled = (lid - fold) * level / iris_px
        at_skin = min(max(t, 0.0), 0.9999) * last
        k = int(at_skin)
        part = at_skin - k
        fold -= LID_ABOVE * skin_L4[k, 3] * iris_px / level
        reach = LASH_ROOT + (LASH_LENGTH - LASH_ROOT) * (0.3 + 0.7 * arch)
        for j in range(cover_HW.shape[0]):
            y = top + j
            cover = cover_HW[j, i]
            below = (y - lid) * level / iris_px
            if cover > 0.0:
                # px of the portrait's size, pixel centres on integers in both
                fx = (x + 0.5) / scale - 0.5
                fy = (y + 0.5) / scale - 0.5
                dx, dy = fx - frame_F[0], fy - frame_F[1]
                sx = frame_F[2] * dx + frame_F[3] * dy + frame_F[6]
                sy = frame_F[4] * dx + frame_F[5] * dy + frame_F[7]
                su, sv = sx - origin_2[0], sy - origin_2[1]

                nx, ny = dx / frame_F[14], dy / frame_F[14]
                flat = nx * nx + ny * ny
                opacity = 0.0
                iu, iv = 0.0, 0.0
                if flat < 0.98:
                    nz = math.sqrt(1.0 - flat)
                    iu = frame_F[6] + frame_F[15] * (frame_F[8] * nx + frame_F[9] * ny + frame_F[10] * nz) - origin_2[0]
                    iv = frame_F[7] + frame_F[15] * (frame_F[11] * nx + frame_F[12] * ny + frame_F[13] * nz)
                    iv -= origin_2[1]
                    opacity = bilinear(iris_SS4, iu, iv, 3)

                above = max(floor - y, 0.0) * level / iris_px
                if soft > 0.0:
                    half_px = 0.5 / iris_px
                    cover *= min((max(below, 0.0) + half_px) / (soft + half_px), 1.0)
                    cover *= min((above + half_px) / (soft + half_px), 1.0)
                light = dim * lid_shadow(max(below, 0.0), 1.0)
                light *= 1.0 - LOWER * math.exp(-((above / LOWER_REACH) ** 2))
                gu, gv = su - frame_F[16], sv - frame_F[17]
                for c in range(3):
                    colour = bilinear(sclera_SS3, su, sv, c)
                    if opacity > 0.0:
                        colour += (bilinear(iris_SS4, iu, iv, c) - colour) * opacity
                    colour = (colour + bilinear(glint_SS3, gu, gv, c)) * light
                    mixed = out_HW3[y, x, c] * (1.0 - cover) + min(max(colour, 0.0), 255.0) * cover
                    out_HW3[y, x, c] = np.uint8(mixed + 0.5)
            if rolled > 0.0 and arch > 0.0 and fold < y < lid + 0.5:
                new = min((y - fold) * level / iris_px / LID_FADE, 1.0)
                shade = 1.0 - LID_SHADE * (1.0 - new)
                new *= min(rolled / LID_GROWS, 1.0) * skin_L4[k, 3] * min(4.0 * arch, 1.0) * min(lid + 0.5 - y, 1.0)
                for c in range(3):
                    base = float(out_HW3[y, x, c])
                    skin = skin_L4[k, c] + (skin_L4[k + 1, c] - skin_L4[k, c]) * part
                    out_HW3[y, x, c] = np.uint8(base + (skin * shade - base) * new + 0.5)
            if lashes > 0.0 and arch > 0.0 and -edge < below < reach:
                if below < 0.0:
                    dark = 1.0 + below / edge
                elif below < LASH_ROOT:
                    dark = 1.0
                else:
                    away = (below - LASH_ROOT) / (reach - LASH_ROOT)
                    # tufts that lean away from the middle of the lid
                    at = 2.0 * math.pi * LASH_COUNT * (t - 0.25 * (t - 0.5) * away)
                    tuft = 0.5 * (math.cos(at) + math.cos(1.618 * at + 1.0))
                    dark = (1.0 - away) * (1.0 - away) * (0.7 + 0.3 * tuft)
                alpha = lashes * dark * min(4.0 * arch, 1.0)
                for c in range(3):
                    base = float(out_HW3[y, x, c])
                    out_HW3[y, x, c] = np.uint8(base + (lash_4[c] - base) * alpha + 0.5)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _line_y(line_L2: F32, x: float) -> float:
    """y of a line that runs from left to right, level beyond its ends."""
    y: float = line_L2[0, 1]
    for i in range(line_L2.shape[0] - 1):
        if x > line_L2[i, 0]:
            span = line_L2[i + 1, 0] - line_L2[i, 0]
            t = min((x - line_L2[i, 0]) / span, 1.0) if span > 1e-6 else 1.0
            y = line_L2[i, 1] + t * (line_L2[i + 1, 1] - line_L2[i, 1])
    return y
