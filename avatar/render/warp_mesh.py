"""The one mesh that says where each pixel of a frame comes from in the portrait: underlay, skin, and caps.

Caps close the mouth and the eyes with the portrait's own pixels, a little behind the skin. Mouth and eyes are painted
over them; what stays visible of a cap is the soft edge where skin ends.

When the mouth opens, the texture of the lips slides outwards to where the clean lip begins (`Layers.lip_step_M`):
the dark line between closed lips would otherwise split and frame the opening.

Shape suffixes: V skin vertices, N vertices of the whole mesh, T triangles, M mouth ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.collar import collar_line
from avatar.render.eye_layers import outward
from avatar.render.layers import APART, Layers
from avatar.render.underlay import Underlay, build_underlay, deform_underlay
from avatar.rig.mesh import rings_from
from avatar.rig.types import DeformedFace, FittedRig

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

CAP_BEHIND: Final = 0.05
"""Face widths that the caps lie behind the skin."""
LID_FADE: Final = 1.3
"""Iris radii outside the lids over which the texture's correction there fades."""
SLID_AT: Final = 0.03
"""Face widths between the lips at which their texture has slid all the way."""


@dataclass(frozen=True)
class WarpMesh:
    """Precomputed for one rig and one frame size."""

    rig: FittedRig
    underlay: Underlay
    scale: float
    """Frame px per portrait px."""
    triangles_T3: I32
    """Without those of the underlay that show nothing of the person."""
    drawn_rows: I32
    """Vertices of `triangles_T3`."""
    face_triangles_T3: I32
    """Without the underlay's."""
    source_N2: F32
    """Texture coordinates, frame px (the person's picture has the frame's size)."""
    cap_rows: I32
    """Skin vertex of each cap vertex."""
    lip_rows: I32
    lip_slides_2: F32
    """Mesh vertices of the lips and how far their texture slides, frame px."""
    lips_apart: bool
    """In the portrait; then the texture begins at the clean lip whatever the lips do."""

    def place(self, face: DeformedFace, skin_V3: F32) -> tuple[F32, F32]:
        """Vertices [N, 3] and texture coordinates [N, 2] of one frame; skin_V3: the skin in frame px."""
        rig = self.rig
        under = to_frame(deform_underlay(self.underlay, rig, face), self.scale)
        caps = skin_V3[self.cap_rows]
        caps[:, 2] -= CAP_BEHIND * rig.face_width * self.scale
        points = np.concatenate([under, skin_V3, caps])
        slid = 1.0 if self.lips_apart else min(face.mouth_gap / (SLID_AT * rig.face_width), 1.0)
        if slid == 0.0:
            return points, self.source_N2
        source = self.source_N2.copy()
        source[self.lip_rows] += self.lip_slides_2 * np.float32(slid * slid * (3 - 2 * slid))
        return points, source


def build_warp_mesh(rig: FittedRig, layers: Layers, scale: float) -> WarpMesh:
    """Join the three parts."""
    underlay = build_underlay(rig, collar_line(layers.person_HW4, rig))
    skin_start = len(underlay.rest_U3)
    cap_start = skin_start + len(rig.rest_V3)
    rings = [rig.mouth_ring_M, *rig.eye_ring_2E]
    caps, start = [], cap_start
    for ring in rings:
        caps.append(start + fan_across(len(ring)))
        start += len(ring)
    cap_rows = np.concatenate(rings)
    shifts_V2 = lid_shifts(rig, layers.lid_step_2E)
    skin_rest = rig.rest_V3[:, :2] + shifts_V2
    rest = np.concatenate([underlay.rest_U3[:, :2], skin_rest, skin_rest[cap_rows]])
    face_triangles = np.concatenate([rig.triangles_T3 + skin_start, *caps]).astype(np.int32)

    rows, slides = lip_slides(rig, layers.lip_step_M)
    lip_rows = np.concatenate([skin_start + rows, cap_start + np.arange(len(rig.mouth_ring_M))])
    slides = np.concatenate([slides, layers.lip_step_M]) * np.float32(scale)
    rest_gap = rig.rest_V3[rig.lip_lower_L, :2] - rig.rest_V3[rig.lip_upper_L, :2]
    shown = underlay.triangles_T3[shows_person(rest, underlay.triangles_T3, layers.person_HW4[..., 3])]
    triangles = np.concatenate([shown, face_triangles])
    return WarpMesh(
        rig=rig,
        underlay=underlay,
        scale=scale,
        triangles_T3=triangles,
        drawn_rows=np.unique(triangles),
        face_triangles_T3=face_triangles,
        source_N2=np.ascontiguousarray(to_frame(np.c_[rest, np.zeros(len(rest))], scale)[:, :2]),
        cap_rows=cap_rows,
        lip_rows=lip_rows.astype(np.int32),
        lip_slides_2=(slides[:, None] * face_down(rig)).astype(np.float32),
        lips_apart=bool(np.linalg.norm(rest_gap, axis=1).max() > APART * rig.face_width),
    )


def shows_person(rest_N2: NDArray[Any], triangles_T3: I32, alpha_HW: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether any of the person lies in a triangle's box in the portrait; beyond its border the last row counts."""
    size = alpha_HW.shape[0]
    there = cv2.dilate((alpha_HW > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
    sums = cv2.integral(there)
    corners = np.clip(rest_N2[triangles_T3], 0, size - 1)
    x0, y0 = np.floor(corners.min(1)).astype(int).T
    x1, y1 = np.ceil(corners.max(1)).astype(int).T + 1
    count = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return np.asarray(count > 0)


def to_frame(points_N3: NDArray[Any], scale: float) -> F32:
    """px of the portrait -> px of a frame `scale` times as large (pixel centres on integers in both)."""
    out = points_N3 * np.float32(scale)
    out[:, :2] += np.float32((scale - 1.0) / 2.0)
    return np.asarray(out, np.float32)


def face_down(rig: FittedRig) -> F32:
    """Unit vector (x, y) from brow to chin in the portrait."""
    down = rig.R_source_33[:2, 1]
    return np.asarray(down / np.linalg.norm(down), np.float32)


def fan_across(count: int) -> I32:
    """Triangles that close a ring of `count` vertices whose i-th and (count - i)-th lie opposite each other."""
    half = count // 2
    upper = np.arange(half + 1)
    lower = (-upper) % count
    quads = np.stack([upper[:-1], upper[1:], lower[1:], lower[:-1]], -1)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    distinct = (triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2])
    return np.asarray(triangles[distinct & (triangles[:, 0] != triangles[:, 2])], np.int32)


def lid_shifts(rig: FittedRig, step_2E: F32) -> F32:
    """How far outside its vertex the texture around the eyes is taken, px [V, 2]: `step_2E` at the lids, then less."""
    shifts = np.zeros((len(rig.rest_V3), 2), np.float32)
    for ring_E, step_E, radius in zip(rig.eye_ring_2E, step_2E, rig.eyes.iris_radius_2, strict=True):
        ring = rig.rest_V3[ring_E, :2]
        way_E2 = outward(ring) * step_E[:, None]
        away_VE = np.linalg.norm(rig.rest_V3[:, None, :2] - ring[None], axis=-1)
        nearest = away_VE.argmin(1)
        fade = np.clip(1.0 - away_VE.min(1) / (LID_FADE * float(radius)), 0.0, 1.0)
        shifts += fade[:, None] * way_E2[nearest]
        shifts[ring_E] = way_E2
    return shifts


def lip_slides(rig: FittedRig, step_M: F32) -> tuple[I32, F32]:
    """Skin vertices of the lips and how far (px, down) their texture slides when the mouth opens.

    At the inner edge by `step_M`, at the outer edge not at all, evenly between, so that texture never folds.
    """
    down = face_down(rig)
    across = np.array([down[1], -down[0]])
    outline = np.ascontiguousarray(rig.rest_V3[rig.lip_outer_M, :2])
    rest = rig.rest_V3[:, :2]
    half = len(rig.mouth_ring_M) // 2
    lips = (np.arange(half + 1), np.r_[np.arange(half, 2 * half), 0][::-1])  # upper, lower; image left to right
    # lips touch, so position does not tell whose a vertex is: the mesh does
    away = [rings_from(rig.triangles_T3, len(rest), rig.mouth_ring_M[lip[1:-1]]) for lip in lips]
    inside = [cv2.pointPolygonTest(outline, (float(x), float(y)), True) > -1.0 for x, y in rest]
    rows = np.flatnonzero(inside).astype(np.int32)
    steps = np.empty(len(rows), np.float32)
    for i, v in enumerate(rows):
        lip = lips[0] if away[0][v] < away[1][v] else lips[1]
        inner, outer = rest[rig.mouth_ring_M[lip]], rest[rig.lip_outer_M[lip]]
        at, y = float(rest[v] @ across), float(rest[v] @ down)
        y_in = float(np.interp(at, inner @ across, inner @ down))
        y_out = float(np.interp(at, outer @ across, outer @ down))
        share = (y_out - y) / (y_out - y_in) if abs(y_out - y_in) > 1e-3 else 0.0
        steps[i] = np.clip(share, 0, 1) * np.interp(at, inner @ across, step_M[lip])
    place = {int(v): i for i, v in enumerate(rows)}
    for m, v in enumerate(rig.mouth_ring_M):
        if int(v) in place:
            steps[place[int(v)]] = step_M[m]
    return rows, steps
