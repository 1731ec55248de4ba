"""Drawing both eyes into a frame: white, turned iris, lid's shadow, catch-light, clipped to the lids.

The white goes with the head; the iris turns on the ball; the catch-light, a reflection in the bulging cornea, goes
half the way of the iris. Positions are px of the frame being drawn; `scale` is its size / the portrait's.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from avatar.render import raster
from avatar.render.eye_layers import lid_shadow
from avatar.render.layers import Layers
from avatar.render.raster import bilinear
from avatar.rig.types import DeformedFace, FittedRig

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

GLINT_SHARE: Final = 0.5


def eye_frames(rig: FittedRig, face: DeformedFace, scale: float) -> F32:
    """Per eye the numbers `draw_eye` needs, float32 [2, 20] (see there)."""
    rest, pose = rig.eyes, face.pose
    source_axis = _axis(rest.source_gaze_2)
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
    """Lay both eyes over the frame; skin_V3: the skin in frame px."""
    frames = eye_frames(rig, face, scale)
    for eye, ring in enumerate(rig.eye_ring_2E):
        polygon = np.ascontiguousarray(skin_V3[ring, :2])
        left, top, right, bottom = raster.pixel_box(polygon, 0.0, out_HW3.shape[0])
        if right <= left or bottom <= top:
            continue
        cover = np.empty((bottom - top, right - left), np.float32)
        raster.coverage(polygon, left, top, cover)
        lid = np.ascontiguousarray(skin_V3[rig.lid_upper_2L[eye], :2])
        draw_eye(
            layers.sclera_2SS3[eye], layers.iris_2SS4[eye], layers.glint_2SS3[eye], layers.eye_origin_22[eye],
            frames[eye], lid, left, top, cover, out_HW3,
        )  # fmt: skip


def _axis(gaze_2: F32) -> F32:
    azimuth, elevation = float(gaze_2[0]), float(gaze_2[1])
    return np.array(
        [math.sin(azimuth) * math.cos(elevation), -math.sin(elevation), math.cos(azimuth) * math.cos(elevation)],
        np.float32,
    )


def _between(a_3: F32, b_3: F32) -> F32:
    """The smallest rotation that takes unit vector a to b (less than half a turn apart)."""
    v = np.cross(a_3, b_3)
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]], np.float32)
    return np.asarray(np.eye(3) + cross + cross @ cross / (1.0 + float(a_3 @ b_3)), np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def draw_eye(
    sclera_SS3: F32, iris_SS4: F32, glint_SS3: F32, origin_2: F32, frame_F: F32, lid_L2: F32,
    left: int, top: int, cover_HW: F32, out_HW3: U8,
) -> None:  # fmt: skip
    """One eye. frame_F: 0-1 ball in the (unscaled) frame, 2-5 frame -> portrait at the ball, 6-7 ball in the portrait,
    8-13 two rows that turn a direction on the ball back to the portrait's iris, 14 ball radius now, 15 in the portrait,
    16-17 shift of the catch-light in portrait px, 18 iris radius in the portrait, 19 scale of the frame."""
    scale = frame_F[19]
    for j in range(cover_HW.shape[0]):
        for i in range(cover_HW.shape[1]):
            cover = cover_HW[j, i]
            if cover <= 0.0:
                continue
            x, y = left + i, top + j
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
                iv = frame_F[7] + frame_F[15] * (frame_F[11] * nx + frame_F[12] * ny + frame_F[13] * nz) - origin_2[1]
                opacity = bilinear(iris_SS4, iu, iv, 3)

            lid = _line_y(lid_L2, float(x))
            light = lid_shadow(max((y - lid) / scale, 0.0), frame_F[18])

            gu, gv = su - frame_F[16], sv - frame_F[17]
            for c in range(3):
                colour = bilinear(sclera_SS3, su, sv, c)
                if opacity > 0.0:
                    colour += (bilinear(iris_SS4, iu, iv, c) - colour) * opacity
                colour = (colour + bilinear(glint_SS3, gu, gv, c)) * light
                mixed = out_HW3[y, x, c] * (1.0 - cover) + min(max(colour, 0.0), 255.0) * cover
                out_HW3[y, x, c] = np.uint8(mixed + 0.5)


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
