"""Drawing the mouth's inside: teeth, gums, tongue, cavity and the wet lining of the lips.

One small mesh with one picture on it (mouth_atlas.py). How much light a point gets is told by the opening alone: seen
from the point, how much of the opening's height in that pixel column remains, less sharply the deeper the point lies
(light comes from above, so the upper lip throws the shadow). What gets no light turns into the dark red of light that
has come through the cheeks; at the corners, where the opening closes, into a dark lip colour. Drawn 2 x 2 oversampled
inside the opening's box, clipped to the lips with exact coverage.

Shape suffixes: P vertices of the mouth's inside followed by M more (a hem under the lips), Q triangles, W columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from avatar.render import raster
from avatar.render.layers import Layers
from avatar.render.mouth_atlas import TILES, atlas_place
from avatar.render.mouth_light import NEAR_DEPTH, lip_lines, lips_plane, opening_light, rounded_light
from avatar.render.warp_mesh import to_frame
from avatar.rig.contact import smoothstep
from avatar.rig.mouth import LINING_ROWS
from avatar.rig.types import DeformedFace, FittedRig, Part

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

OVERSAMPLE: Final = 2
SEALED_PX: Final = 0.3
"""Openings smaller than this (frame px) are not drawn."""
SHOWN_PX: Final = 1.8
"""From this on they are drawn in full; between, samples are too few to tell lip from tooth, and it fades in."""
CORNER_OPEN: Final = 0.06
"""Face widths between the lips below which the mouth's dark begins to turn into the corners' colour."""
GLOSS: Final = np.array([26.0, 26.0, 34.0, 8.0, 10.0], np.float32)
"""Strength of the wet highlight per `Part`, of 255, in full light."""
UPPER_ROW: Final = (TILES[Part.TEETH_UPPER][2] - 1, TILES[Part.TEETH_UPPER][3] - 0.5)
"""Atlas px: last column of the upper row's picture, which begins at 0, 0; end of its rows."""
HEM_PX: Final = 1.6
CONTACT_GAP: Final = 0.02
"""Face widths between the lips below which the line of contact begins to show."""
CONTACT_WIDTH: Final = 0.006
"""Face widths: half width of that line."""
CONTACT_TONE: Final = np.array([0.60, 0.45, 0.45], np.float32)
"""What it leaves of the colours."""


@dataclass(frozen=True)
class MouthPaint:
    """The mouth's picture and what its vertices add to it, for one portrait."""

    atlas_HW3: U8
    place_P2: F32
    """Atlas px of each vertex."""
    occlusion_P: F32
    shade_P: F32
    """0: drawn in its colour, as the skin is; 1: fully shaded."""
    gloss_P: F32
    triangles_Q3: I32
    light_4: F32
    deep_3: F32
    """Colour of what gets no light."""
    corner_3: F32
    """The same at the corners."""


def build_mouth_paint(rig: FittedRig, layers: Layers) -> MouthPaint:
    """Join the mouth's mesh with the portrait's tones."""
    mouth = rig.mouth
    lining = mouth.part_P == Part.LIP
    depth = mouth.lining_row_P[lining].astype(np.float32) / (LINING_ROWS - 1)
    shade = np.ones(len(lining), np.float32)
    shade[lining] = np.clip(depth * 1.4, 0, 1)
    gloss = GLOSS[mouth.part_P] * np.float32(layers.mouth_tone_43[0].mean() / 255.0)
    gloss[lining] *= depth

    count, rings = len(lining), len(rig.mouth_ring_M)
    hem = count + np.arange(rings)
    first = np.flatnonzero(lining & (mouth.lining_row_P == 0))  # one more than the ring: the last repeats the first
    after = count + (np.arange(rings) + 1) % rings
    quads = np.stack([hem, after, first[1:], first[:-1]], -1)
    triangles = np.concatenate([mouth.triangles_Q3, quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    place = atlas_place(mouth.part_P, mouth.uv_P2)
    zeros = np.zeros(rings, np.float32)
    return MouthPaint(
        atlas_HW3=layers.mouth_HW3,
        place_P2=np.concatenate([place, place[first[:-1]]]),
        occlusion_P=np.concatenate([mouth.occlusion_P, zeros + 1]),
        shade_P=np.concatenate([shade, zeros]),
        gloss_P=np.concatenate([gloss, zeros]),
        triangles_Q3=triangles.astype(np.int32),
        light_4=layers.light_4,
        deep_3=layers.mouth_tone_43[2],
        corner_3=layers.mouth_tone_43[3],
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

    points = to_frame(np.concatenate([face.mouth_P3, _hem(face, rig)]), scale)
    points[:, 0] = (points[:, 0] - left + 0.5) * OVERSAMPLE - 0.5
    points[:, 1] = (points[:, 1] - top + 0.5) * OVERSAMPLE - 0.5
    values = np.empty((len(points), 5), np.float32)
    normals = np.concatenate([face.mouth_normals_P3, np.zeros((len(rig.mouth_ring_M), 3), np.float32)])
    shade_vertices(normals, paint.place_P2, paint.occlusion_P, paint.shade_P, paint.gloss_P, paint.light_4, values)

    depth = np.empty((cover.shape[0] * OVERSAMPLE, cover.shape[1] * OVERSAMPLE), np.float32)
    painted = np.empty((5, *depth.shape), np.float32)
    raster.clear(depth)
    raster.raster(points, values, paint.triangles_Q3, depth, painted)
    width = rig.face_width * scale * face.pose.scale
    lips = lips_plane(ring_M3 - np.array([left, top, NEAR_DEPTH * width], np.float32))
    lines = lip_lines(ring_M3, left, right) - np.float32(top)
    compose(
        painted, depth, cover, lines, lips, width, paint.atlas_HW3, paint.deep_3, paint.corner_3, left, top, out_HW3
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
    normals_P3: F32, place_P2: F32, occlusion_P: F32, shade_P: F32, gloss_P: F32, light_4: F32, out_P5: F32
) -> None:
    """Per vertex: atlas x, y; light it always gets; light it gets through the opening; wet highlight, 0..255."""
    # highlight: half way between the viewer and a light above, on the brighter side
    hx, hy, hz = light_4[1] * 0.6, np.float32(-0.28), np.float32(1.0)
    length = math.sqrt(hx * hx + hy * hy + hz * hz)
    hx, hy, hz = hx / length, hy / length, hz / length
    for p in range(normals_P3.shape[0]):
        nx, ny, nz = normals_P3[p, 0], normals_P3[p, 1], normals_P3[p, 2]
        lit = light_4[0] + light_4[1] * nx + light_4[2] * ny + light_4[3] * nz
        lit = math.sqrt(min(max(lit, np.float32(0.4)), np.float32(1.2)))  # sRGB: light goes in by about its square root
        shine = max(nx * hx + ny * hy + nz * hz, np.float32(0.0))
        shine = shine * shine
        shine = shine * shine
        shine = shine * shine
        shine = shine * shine
        out_P5[p, 0] = place_P2[p, 0]
        out_P5[p, 1] = place_P2[p, 1]
        out_P5[p, 2] = 1.0 - shade_P[p]
        out_P5[p, 3] = shade_P[p] * occlusion_P[p] * lit
        out_P5[p, 4] = gloss_P[p] * shine * shine


@njit(cache=True, nogil=True, error_model="numpy")
def compose(
    painted_5HW: F32, depth_HW: F32, cover_HW: F32, lines_2W: F32, lips_2: F32, face_width: float, atlas_HW3: U8,
    deep_3: F32, corner_3: F32, left: int, top: int, out_HW3: U8,
) -> None:  # fmt: skip
    """Colour the oversampled picture, light it through the opening, and lay it over the frame by coverage."""
    height, width = cover_HW.shape
    colour = np.empty(3, np.float32)
    dark = np.empty(3, np.float32)
    for x in range(width):
        upper, lower = lines_2W[0, x], lines_2W[1, x]
        open_ = min(max((lower - upper) / np.float32(CORNER_OPEN * face_width), np.float32(0.0)), np.float32(1.0))
        open_ = open_ * (2 - open_)
        for c in range(3):
            dark[c] = corner_3[c] + (deep_3[c] - corner_3[c]) * open_
        front = lips_2[0] + lips_2[1] * np.float32(x)
        for y in range(height):
            cover = cover_HW[y, x]
            if cover <= 0.0:
                continue
            for c in range(3):
                colour[c] = np.float32(0.0)
            for j in range(OVERSAMPLE):
                for i in range(OVERSAMPLE):
                    yy, xx = y * OVERSAMPLE + j, x * OVERSAMPLE + i
                    z = depth_HW[yy, xx]
                    if z == raster.FAR:
                        for c in range(3):
                            colour[c] += dark[c]
                        continue
                    behind = max(front - z, np.float32(0.0))
                    light = opening_light(float(y + 0.5 * j - 0.25), upper, lower, behind, face_width)
                    if painted_5HW[1, yy, xx] < UPPER_ROW[1]:
                        light *= rounded_light(front - z, painted_5HW[0, yy, xx] * 2 / UPPER_ROW[0] - 1, face_width)
                    share = painted_5HW[2, yy, xx] + painted_5HW[3, yy, xx] * light
                    gloss = painted_5HW[4, yy, xx] * light
                    u = min(max(painted_5HW[0, yy, xx], np.float32(0.0)), np.float32(atlas_HW3.shape[1] - 1.001))
                    v = min(max(painted_5HW[1, yy, xx], np.float32(0.0)), np.float32(atlas_HW3.shape[0] - 1.001))
                    iu, iv = int(u), int(v)
                    fu, fv = u - iu, v - iv
                    for c in range(3):
                        first = atlas_HW3[iv, iu, c] * (1 - fu) + atlas_HW3[iv, iu + 1, c] * fu
                        second = atlas_HW3[iv + 1, iu, c] * (1 - fu) + atlas_HW3[iv + 1, iu + 1, c] * fu
                        colour[c] += dark[c] + (first + (second - first) * fv - dark[c]) * share + gloss
            u_, v_ = top + y, left + x
            for c in range(3):
                inside = min(max(colour[c] * np.float32(0.25), np.float32(0.0)), np.float32(255.0))
                out_HW3[u_, v_, c] = np.uint8(out_HW3[u_, v_, c] * (1 - cover) + inside * cover + np.float32(0.5))


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
