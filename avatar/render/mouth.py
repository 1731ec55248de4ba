"""Drawing the mouth's inside: teeth, gums, tongue, cavity and the wet lining of the lips.

Shading: albedo x first-order light of the portrait x how much of the mouth's opening a point can see. The last is
read off the opening itself: its coverage, blurred more and shifted further down the deeper a point lies (light comes
from above, so the upper lip throws the shadow). Drawn 2 x 2 oversampled inside the opening's box, clipped to the
lips with exact coverage.

Shape suffixes: P vertices of the mouth's inside followed by M more (a hem under the lips), Q triangles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from avatar.render import raster
from avatar.render.layers import Layers
from avatar.render.warp_mesh import to_frame
from avatar.rig.contact import smoothstep
from avatar.rig.types import DeformedFace, FittedRig, Part

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

OVERSAMPLE: Final = 2
SEALED_PX: Final = 0.3
"""Openings smaller than this (frame px) are not drawn."""
SHOWN_PX: Final = 1.8
"""From this on they are drawn in full; between, samples are too few to tell lip from tooth, and it fades in."""
LIGHT_SLANT: Final = 0.4
"""px down per px of depth: how steeply light falls in over the upper lip."""
LIP_SHADE: Final = 0.014
"""Face widths: how far the shadow of the upper lip reaches on what lies right behind it."""
NEAR_BLUR: Final = 0.018
FAR_BLUR: Final = 0.055
"""Face widths: blur of the opening as seen from just behind the lips / from the back."""
NEAR_DEPTH: Final = 0.03
"""Face widths behind the middle of the lips up to which things count as right behind them."""
FAR_DEPTH: Final = 0.16
"""Face widths behind the lips at which FAR_BLUR is reached."""
AMBIENT: Final = 0.12
"""Light that reaches any point of the mouth whatever the opening (scattered by skin), before `occlusion_P`."""
SHADE_RED: Final = 0.42
"""How much green and blue full shade takes from what red keeps."""
SCATTER: Final = 0.03
"""Light at points that `occlusion_P` calls wholly dark."""
DARKEST: Final = np.array([0.15, 0.065, 0.06], np.float32)
"""Share of white that the darkest place keeps."""
GLOSS: Final = np.array([0.20, 0.20, 0.16, 0.16, 0.14, 0.03, 0.05], np.float32)
"""Strength of the wet highlight per `Part`."""
HEM_PX: Final = 1.6
CONTACT_GAP: Final = 0.02
"""Face widths between the lips below which the line of contact begins to show."""
CONTACT_WIDTH: Final = 0.006
"""Face widths: half width of that line."""
CONTACT_TONE: Final = np.array([0.52, 0.40, 0.42], np.float32)
"""What it leaves of the colours."""


@dataclass(frozen=True)
class MouthPaint:
    """Albedo and light of the mouth's inside for one portrait."""

    albedo_P3: F32
    """sRGB 0..255 in the portrait's light."""
    occlusion_P: F32
    shade_P: F32
    """0: drawn in its albedo, as the skin is; 1: fully shaded."""
    gloss_P: F32
    triangles_Q3: I32
    light_4: F32
    darkest_3: F32
    """Light scattered through the cheeks: no part of a mouth is black."""


def build_mouth_paint(rig: FittedRig, layers: Layers) -> MouthPaint:
    """Colours of the mouth's inside in this portrait's light."""
    mouth = rig.mouth
    albedo = mouth.colour_P3 / 255.0 * layers.white_3
    occlusion = mouth.occlusion_P.copy()
    shade = np.ones(len(albedo), np.float32)
    gloss = GLOSS[mouth.part_P] * float(layers.white_3.mean())
    lining = mouth.part_P == Part.LIP
    row, ring = mouth.lining_row_P[lining].astype(int), mouth.lining_ring_P[lining]
    depth = (row / max(int(row.max(initial=1)), 1)).astype(np.float32)
    # from the lip's own colour towards a wetter, redder one
    inner = layers.lip_M3[ring] * np.array([0.80, 0.62, 0.62], np.float32)
    albedo[lining] = layers.lip_M3[ring] + (inner - layers.lip_M3[ring]) * depth[:, None]
    shade[lining] = np.clip(depth * 1.6, 0, 1)
    gloss[lining] *= depth

    count, rings = len(albedo), len(rig.mouth_ring_M)
    hem = count + np.arange(rings)
    first = np.flatnonzero(lining)[np.argsort(ring[row == 0])]
    quads = np.stack([hem, np.roll(hem, -1), np.roll(first, -1), first], -1)
    triangles = np.concatenate([mouth.triangles_Q3, quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return MouthPaint(
        albedo_P3=np.concatenate([albedo, layers.lip_M3]).astype(np.float32),
        occlusion_P=np.concatenate([occlusion, np.ones(rings, np.float32)]).astype(np.float32),
        shade_P=np.concatenate([shade, np.zeros(rings, np.float32)]).astype(np.float32),
        gloss_P=np.concatenate([gloss, np.zeros(rings, np.float32)]).astype(np.float32),
        triangles_Q3=triangles.astype(np.int32),
        light_4=layers.light_4,
        darkest_3=(layers.white_3 * DARKEST).astype(np.float32),
    )


def draw_mouth(paint: MouthPaint, rig: FittedRig, face: DeformedFace, ring_M3: F32, scale: float, out_HW3: U8) -> bool:
    """Draw the inside into the frame; ring_M3: the opening in frame px. False when there is nothing to see."""
    if face.mouth_gap * scale < SEALED_PX:
        return False
    left, top, right, bottom = raster.pixel_box(ring_M3[:, :2], 0.0, out_HW3.shape[0])
    if right <= left or bottom <= top:
        return False
    cover = np.empty((bottom - top, right - left), np.float32)
    raster.coverage(np.ascontiguousarray(ring_M3[:, :2]), left, top, cover)
    cover *= smoothstep(SEALED_PX, SHOWN_PX, face.mouth_gap * scale)

    width = rig.face_width * scale * face.pose.scale
    pad = math.ceil(3 * FAR_BLUR * width)
    padded = cv2.copyMakeBorder(cover, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0.0)
    near = np.asarray(cv2.GaussianBlur(padded, (0, 0), NEAR_BLUR * width), np.float32)
    far = np.asarray(cv2.GaussianBlur(padded, (0, 0), FAR_BLUR * width), np.float32)

    points = np.concatenate([face.mouth_P3, _hem(face, rig)])
    points = to_frame(points, scale)
    points[:, 0] = (points[:, 0] - left + 0.5) * OVERSAMPLE - 0.5
    points[:, 1] = (points[:, 1] - top + 0.5) * OVERSAMPLE - 0.5
    values = np.empty((len(points), 4), np.float32)
    normals = np.concatenate([face.mouth_normals_P3, np.zeros((len(rig.mouth_ring_M), 3), np.float32)])
    shade_vertices(normals, paint.albedo_P3, paint.occlusion_P, paint.shade_P, paint.gloss_P, paint.light_4, values)

    depth = np.empty((cover.shape[0] * OVERSAMPLE, cover.shape[1] * OVERSAMPLE), np.float32)
    painted = np.empty((4, *depth.shape), np.float32)
    raster.clear(depth)
    raster.raster(points, values, paint.triangles_Q3, depth, painted)
    lips = lips_plane(ring_M3 - np.array([left, top, NEAR_DEPTH * width], np.float32))
    compose(
        painted,
        depth,
        cover,
        near,
        far,
        pad,
        lips,
        FAR_DEPTH * width,
        LIP_SHADE * width,
        paint.darkest_3,
        left,
        top,
        out_HW3,
    )
    return True


def draw_contact(rig: FittedRig, face: DeformedFace, ring_M3: F32, scale: float, out_HW3: U8) -> None:
    """The dark line between closed lips, for portraits whose lips are apart and have no such line to show."""
    width = rig.face_width * scale * face.pose.scale
    near = 1.0 - face.mouth_gap * scale / (CONTACT_GAP * width)
    if near <= 0.0:
        return
    half = len(ring_M3) // 2
    upper = ring_M3[: half + 1, :2]
    lower = ring_M3[(-np.arange(half + 1)) % len(ring_M3), :2]
    line = np.ascontiguousarray((upper + lower) / 2, np.float32)
    left, top, right, bottom = raster.pixel_box(line, 3 * CONTACT_WIDTH * width, out_HW3.shape[0])
    darken_line(
        line, near * near * (3 - 2 * near), CONTACT_WIDTH * width, CONTACT_TONE, left, top, right, bottom, out_HW3
    )


def lips_plane(ring_M3: F32) -> F32:
    """Depth of the lips as z = a + b x (least squares over the edge of the opening)."""
    x, z = ring_M3[:, 0], ring_M3[:, 2]
    spread = x - x.mean()
    slope = float(spread @ z) / max(float(spread @ spread), 1e-3)
    return np.array([z.mean() - slope * x.mean(), slope], np.float32)


def _hem(face: DeformedFace, rig: FittedRig) -> F32:
    """The opening's edge moved outwards a little, so that oversampled pixels there find lip colour."""
    ring = face.skin_V3[rig.mouth_ring_M]
    along = np.roll(ring, -1, 0) - np.roll(ring, 1, 0)
    out = np.stack([along[:, 1], -along[:, 0]], -1)
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-3)
    hem = ring.copy()
    hem[:, :2] += HEM_PX * out
    hem[:, 2] += 0.5
    return hem


@njit(cache=True, nogil=True, error_model="numpy")
def shade_vertices(
    normals_P3: F32, albedo_P3: F32, occlusion_P: F32, shade_P: F32, gloss_P: F32, light_4: F32, out_P4: F32
) -> None:
    """Colour of each vertex, and in the fourth channel how much it depends on the opening's light (`shade_P`)."""
    # highlight: half way between the viewer and a light above, on the brighter side
    hx, hy, hz = light_4[1] * 0.6, np.float32(-0.28), np.float32(1.0)
    length = math.sqrt(hx * hx + hy * hy + hz * hz)
    hx, hy, hz = hx / length, hy / length, hz / length
    for p in range(normals_P3.shape[0]):
        nx, ny, nz = normals_P3[p, 0], normals_P3[p, 1], normals_P3[p, 2]
        lit = light_4[0] + light_4[1] * nx + light_4[2] * ny + light_4[3] * nz
        lit = min(max(lit, np.float32(0.35)), np.float32(1.2)) * (SCATTER + (1 - SCATTER) * occlusion_P[p])
        shade = shade_P[p]
        factor = 1.0 + shade * (math.sqrt(lit) - 1.0)  # sRGB: light goes in by about its square root
        shine = max(nx * hx + ny * hy + nz * hz, np.float32(0.0))
        shine = shine * shine
        shine = shine * shine
        shine = shine * shine
        shine = shine * shine
        gloss = gloss_P[p] * shine * shine * occlusion_P[p]
        for c in range(3):
            out_P4[p, c] = albedo_P3[p, c] * factor + gloss
        out_P4[p, 3] = shade


@njit(cache=True, nogil=True, error_model="numpy")
def compose(
    painted_4HW: F32, depth_HW: F32, cover_HW: F32, near_HW: F32, far_HW: F32, pad: int, lips_2: F32,
    far_depth: float, shade_px: float, darkest_3: F32, left: int, top: int, out_HW3: U8,
) -> None:  # fmt: skip
    """Average the oversampled picture, light it through the opening, and lay it over the frame by coverage."""
    height, width = cover_HW.shape
    for y in range(height):
        for x in range(width):
            cover = cover_HW[y, x]
            if cover <= 0.0:
                continue
            red = green = blue = np.float32(0.0)
            for j in range(OVERSAMPLE):
                for i in range(OVERSAMPLE):
                    yy, xx = y * OVERSAMPLE + j, x * OVERSAMPLE + i
                    z = depth_HW[yy, xx]
                    if z == raster.FAR:
                        continue
                    behind = max(lips_2[0] + lips_2[1] * np.float32(x) - z, np.float32(0.0))
                    down = behind * np.float32(LIGHT_SLANT)
                    row = y + pad - shade_px - down
                    k = min(max(int(row), 0), near_HW.shape[0] - 2)
                    f = min(max(row - k, np.float32(0.0)), np.float32(1.0))
                    column = x + pad
                    a = near_HW[k, column] * (1 - f) + near_HW[k + 1, column] * f
                    b = far_HW[k, column] * (1 - f) + far_HW[k + 1, column] * f
                    mix = min(behind / np.float32(far_depth), np.float32(1.0))
                    seen = min((a + (b - a) * mix) * np.float32(1.15), np.float32(1.0))
                    light = np.float32(AMBIENT) + np.float32(1.0 - AMBIENT) * seen
                    light = math.sqrt(light)
                    light = 1 + painted_4HW[3, yy, xx] * (light - 1)
                    # what light is left in shade has come through and off red tissue
                    red += painted_4HW[0, yy, xx] * light
                    green += painted_4HW[1, yy, xx] * light * (1 - SHADE_RED * (1 - light))
                    blue += painted_4HW[2, yy, xx] * light * (1 - SHADE_RED * (1 - light))
            share = np.float32(1.0 / (OVERSAMPLE * OVERSAMPLE))
            u, v = top + y, left + x
            for c in range(3):
                colour = max((red if c == 0 else green if c == 1 else blue) * share, darkest_3[c])
                mixed = out_HW3[u, v, c] * (1 - cover) + min(max(colour, np.float32(0.0)), np.float32(255.0)) * cover
                out_HW3[u, v, c] = np.uint8(mixed + np.float32(0.5))


@njit(cache=True, nogil=True, error_model="numpy")
def darken_line(
    line_L2: F32, strength: float, width: float, tone_3: F32, left: int, top: int, right: int, bottom: int, out_HW3: U8
) -> None:
    """Multiply the frame by `tone_3` along a line from image left to right, softly; it fades out towards both ends."""
    last = line_L2.shape[0] - 1
    i = 0
    for x in range(max(left, math.ceil(line_L2[0, 0])), min(right, math.floor(line_L2[last, 0]) + 1)):
        while i < last - 1 and line_L2[i + 1, 0] < x:
            i += 1
        run = max(line_L2[i + 1, 0] - line_L2[i, 0], 1e-3)
        slope = (line_L2[i + 1, 1] - line_L2[i, 1]) / run
        middle = line_L2[i, 1] + slope * (x - line_L2[i, 0])
        lean = 1.0 / (1.0 + slope * slope)  # distance to the line is shorter than straight down
        along = (x - line_L2[0, 0]) / max(line_L2[last, 0] - line_L2[0, 0], 1e-3)
        ends = min(min(along, 1.0 - along) * 8.0, 1.0)
        reach = 2.5 * width * math.sqrt(1.0 + slope * slope)
        for y in range(max(top, math.ceil(middle - reach)), min(bottom, math.floor(middle + reach) + 1)):
            away = (y - middle) * (y - middle) * lean
            share = strength * ends * math.exp(-away / (width * width))
            for c in range(3):
                out_HW3[y, x, c] = np.uint8(out_HW3[y, x, c] * (1.0 - share * (1.0 - tone_3[c])) + 0.5)
