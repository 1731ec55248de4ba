"""The mouth's inside, built from numbers: two rows of teeth, gums, tongue, cavity, wet lining of the lips.

Built in centimetres around the basis' own lips (x image right, y down, z to the viewer), then placed in the
portrait by the fitted pose and the portrait's own lips. Tooth widths and heights are average crowns (Wheeler,
"Dental Anatomy"); both arches are half ellipses. Upper parts belong to the skull, lower ones and the tongue to the jaw.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.rig import basis as basis_module
from avatar.rig.types import MouthGeometry, Part

if TYPE_CHECKING:
    from avatar.rig.fit import Pose

F64 = NDArray[np.float64]

COLOURS: Final[dict[Part, tuple[float, float, float]]] = {
    Part.TEETH_UPPER: (238.0, 231.0, 215.0),
    Part.TEETH_LOWER: (232.0, 224.0, 206.0),
    Part.GUM_UPPER: (196.0, 112.0, 108.0),
    Part.GUM_LOWER: (190.0, 106.0, 103.0),
    Part.TONGUE: (196.0, 104.0, 104.0),
    Part.CAVITY: (92.0, 34.0, 34.0),
    Part.LIP: (178.0, 94.0, 92.0),
}
LINING_ROWS: Final = 5
"""Rows of the lips' lining, the first on the mouth ring."""


@dataclass(frozen=True)
class Arch:
    """One row of teeth (cm): half ellipse of the labial surface, crowns from the middle outwards."""

    teeth: Part
    gum: Part
    jaw: float
    half_width: float
    depth: float
    front_z: float
    edge_y: float
    spee: float
    """Rise of the edge towards the back: y = edge_y - spee * x**2."""
    towards_edge: float
    """+1: crowns point down (upper row), -1: up."""
    widths: tuple[float, ...]
    heights: tuple[float, ...]
    edge_lift: tuple[float, ...]
    """How much shorter than the row's line each edge is."""

    def at(self, along: F64) -> tuple[F64, F64, F64]:
        """x, z and outward direction [N, 2] (x, z) at arc length `along` from the middle."""
        t = np.linspace(-1.45, 1.45, 801)
        x, z = self.half_width * np.sin(t), self.front_z - self.depth * (1 - np.cos(t))
        length = np.r_[0, np.cumsum(np.hypot(np.diff(x), np.diff(z)))]
        length -= length[400]
        angle = np.interp(along, length, t)
        normal = np.stack([np.sin(angle) / self.half_width, np.cos(angle) / self.depth], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        return self.half_width * np.sin(angle), self.front_z - self.depth * (1 - np.cos(angle)), normal


UPPER: Final = Arch(
    Part.TEETH_UPPER, Part.GUM_UPPER, 0.0, 3.1, 4.7, 10.72, 3.65, 0.035, 1.0,
    (0.86, 0.67, 0.77, 0.70, 0.68, 1.00), (1.02, 0.88, 0.99, 0.84, 0.78, 0.72), (0.0, 0.06, 0.0, 0.05, 0.08, 0.10),
)  # fmt: skip
LOWER: Final = Arch(
    Part.TEETH_LOWER, Part.GUM_LOWER, 1.0, 2.9, 4.6, 10.42, 3.27, 0.035, -1.0,
    (0.54, 0.60, 0.69, 0.71, 0.73, 1.05), (0.86, 0.88, 0.98, 0.84, 0.80, 0.72), (0.0, 0.01, -0.03, 0.03, 0.05, 0.06),
)  # fmt: skip


@dataclass
class _Mesh:
    """Patches collected into one mesh."""

    vertices: list[F64] = field(default_factory=list)
    normals: list[F64] = field(default_factory=list)
    triangles: list[NDArray[np.int32]] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    part_of_triangle: list[int] = field(default_factory=list)
    tooth: list[int] = field(default_factory=list)
    occlusion: list[F64] = field(default_factory=list)
    jaw: list[F64] = field(default_factory=list)
    tongue: list[F64] = field(default_factory=list)
    count: int = 0

    def grid(
        self, points_RC3: F64, part: Part, occlusion_RC: F64, jaw_RC: F64 | float, outward_3: F64 | None = None,
        tongue_RC3: F64 | None = None, tooth: int = 0, closed: bool = False,
    ) -> None:  # fmt: skip
        """Add a grid of points; `closed` joins the last column to the first. `outward_3`: side of the normals."""
        rows, cols = points_RC3.shape[:2]
        index = np.arange(rows * cols).reshape(rows, cols)
        right = np.roll(index, -1, 1) if closed else index[:, 1:]
        left = index if closed else index[:, :-1]
        quads = np.stack([left[:-1], right[:-1], right[1:], left[1:]], -1).reshape(-1, 4)
        triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        flat = points_RC3.reshape(-1, 3)
        normals = _normals(flat, triangles)
        if outward_3 is not None and float((normals @ outward_3).sum()) < 0:
            normals = -normals
        self.vertices.append(flat)
        self.normals.append(normals)
        self.triangles.append((triangles + self.count).astype(np.int32))
        self.part += [part] * len(flat)
        self.part_of_triangle += [part] * len(triangles)
        self.tooth += [tooth] * len(triangles)
        self.occlusion.append(np.broadcast_to(occlusion_RC, (rows, cols)).ravel().astype(np.float64))
        self.jaw.append(np.broadcast_to(jaw_RC, (rows, cols)).ravel().astype(np.float64))
        self.tongue.append(np.zeros_like(flat) if tongue_RC3 is None else tongue_RC3.reshape(-1, 3))
        self.count += len(flat)


def _normals(vertices: F64, triangles: NDArray[Any]) -> F64:
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(out, triangles[:, i], face)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.where(length > 1e-9, out / np.maximum(length, 1e-9), [0.0, 0.0, 1.0])  # a tip has no side of its own


def _depth_light(z: F64) -> F64:
    """Less light reaches what lies further back."""
    return np.clip(1.0 - (10.7 - z) / 5.2, 0.0, 1.0) ** 1.4


def _add_teeth(mesh: _Mesh, arch: Arch) -> None:
    across = np.array([-1.0, -0.88, -0.62, -0.25, 0.25, 0.62, 0.88, 1.0])
    down = np.array([-0.12, 0.1, 0.3, 0.52, 0.74, 0.9, 1.0])
    n_half = len(arch.widths)
    for side in (-1, 1):
        start = 0.0
        for k in range(n_half):
            width, height = arch.widths[k], arch.heights[k]
            middle = side * (start + width / 2)
            start += width
            s, v = np.meshgrid(across, down)
            narrow = 0.78 + 0.22 * np.sin(np.clip(v, 0, 0.72) / 0.72 * np.pi / 2)
            x, z, normal = arch.at(middle + s * narrow * width * 0.492)
            round_corner = 0.10 * height * np.abs(s) ** 5 + (0.10 * width * np.abs(s) if k in (2, 3) else 0.0)
            length = height * v - round_corner * np.clip(v, 0, 1) ** 3
            bulge = 0.06 * np.sin(np.clip(v, 0, 1) * 2.4) - 0.20 * np.abs(s) ** 3 * min(width, 0.8)
            bulge = bulge - 0.07 * np.clip(v - 0.75, 0, 1) + (0.03 if k == 2 else 0.0)
            edge = arch.edge_y - arch.spee * arch.at(np.array([middle]))[0][0] ** 2
            edge -= arch.towards_edge * arch.edge_lift[k]
            y = edge - arch.towards_edge * (height - length)
            front = np.stack([x + normal[..., 0] * bulge, y, z + normal[..., 1] * bulge], -1)
            # the edge itself and the back of the crown
            thick = 0.16 if k < 3 else 0.55
            back = front[-1:] - np.stack([normal[-1:, :, 0], 0 * y[-1:], normal[-1:, :, 1]], -1) * thick
            far = back + np.array([0.0, -arch.towards_edge * 0.6 * height, 0.0])
            far[..., 2] -= 0.15
            points = np.concatenate([front, back, far])
            gap = 1.0 - 0.5 * np.abs(np.concatenate([s, s[:2]])) ** 6
            shade = gap * np.concatenate([np.ones(len(down)), [0.8, 0.35]])[:, None]
            shade = shade * (0.82 + 0.18 * np.clip(np.r_[down, 1, 1], 0, 1)[:, None] ** 0.5)
            outward = np.array([normal[0, 4, 0], 0.0, normal[0, 4, 1]])
            number = n_half - k if side < 0 else n_half + 1 + k
            mesh.grid(points, arch.teeth, shade * _depth_light(points[..., 2]), arch.jaw, outward, tooth=number)


def _add_gum(mesh: _Mesh, arch: Arch) -> None:
    places, margin, bulges = [], [], []
    for side in (-1, 1):
        start = 0.0
        for k, (width, height) in enumerate(zip(arch.widths, arch.heights, strict=True)):
            s = np.linspace(-1, 1, 7)[:-1] if side > 0 or k > 0 else np.linspace(-1, 1, 7)
            middle = side * (start + width / 2)
            start += width
            x_middle = arch.at(np.array([middle]))[0][0]
            edge = arch.edge_y - arch.spee * x_middle**2 - arch.towards_edge * arch.edge_lift[k]
            papilla = 0.30 * height * np.abs(s) ** 2.6
            places.append(middle + side * s * width / 2)
            margin.append(edge - arch.towards_edge * (0.97 * height - papilla))
            bulges.append(0.085 - 0.10 * np.abs(s) ** 2)
    order = np.argsort(np.concatenate(places), kind="stable")
    along, y_margin, bulge = (np.concatenate(a)[order] for a in (places, margin, bulges))
    x, z, normal = arch.at(along)
    rows = []
    for rise, out in ((0.0, 0.0), (0.12, 0.05), (0.4, 0.07), (0.8, 0.02), (1.3, -0.25)):
        swell = bulge * max(1.0 - rise * 2, 0.0) + out
        rows.append(
            np.stack([x + normal[:, 0] * swell, y_margin - arch.towards_edge * rise, z + normal[:, 1] * swell], -1)
        )
    points = np.stack(rows)
    shade = _depth_light(points[..., 2]) * np.array([0.95, 0.95, 0.8, 0.55, 0.3])[:, None]
    mesh.grid(points, arch.gum, shade, arch.jaw, np.array([0.0, 0.0, 1.0]))


def _add_tongue(mesh: _Mesh) -> None:
    """A loft of ellipses from the tip (station 0) to the root; the tip rises towards the upper incisors' gum."""
    t = np.array([0.0, 0.04, 0.1, 0.18, 0.28, 0.4, 0.55, 0.72, 0.88, 1.0])
    z = 9.85 - 5.4 * t
    y = np.interp(t, [0, 0.1, 0.3, 0.55, 0.8, 1.0], [3.92, 3.90, 3.85, 3.80, 4.2, 5.2])
    half_width = 1.75 * np.interp(t, [0, 0.04, 0.1, 0.18, 0.28, 0.5, 1.0], [0.0, 0.38, 0.6, 0.76, 0.9, 1.08, 1.15])
    thick = np.interp(t, [0, 0.04, 0.1, 0.28, 0.6, 1.0], [0.0, 0.2, 0.32, 0.48, 0.8, 1.0])
    angle = np.linspace(0, 2 * np.pi, 17)[:-1]
    points = np.empty((len(t), len(angle), 3))
    points[..., 0] = half_width[:, None] * np.cos(angle)
    groove = 0.09 * np.exp(-((points[..., 0] / 0.3) ** 2)) * np.clip(t * 8, 0, 1)[:, None] * (np.sin(angle) > 0)
    side_sag = 0.10 * (np.abs(np.cos(angle)) ** 3) * np.clip(t * 5, 0, 1)[:, None]
    height = np.where(np.sin(angle) > 0, 0.8, 1.2) * np.sin(angle)
    points[..., 1] = y[:, None] - thick[:, None] * height + groove + side_sag
    points[..., 2] = z[:, None]
    lift = np.clip(1 - t / 0.5, 0, 1) ** 1.5
    raised = np.zeros_like(points)
    raised[..., 1] = -0.95 * lift[:, None]
    raised[..., 2] = 0.3 * lift[:, None]
    raised[..., 0] = -0.12 * points[..., 0] * lift[:, None]
    top = 0.9 + 0.1 * np.sin(angle)  # the underside shows when the tip is raised
    shade = np.clip(0.08 + 1.05 * _depth_light(points[..., 2]), 0, 0.85) * top
    shade *= np.clip(1.15 - t, 0.05, 1)[:, None]
    mesh.grid(points, Part.TONGUE, shade, 1.0, np.array([0.0, -0.3, 1.0]), raised, closed=True)


def _add_cavity(mesh: _Mesh) -> None:
    """A bag behind teeth and lips: palate above (skull), floor below (jaw), dark at the back."""
    z = np.array([10.35, 9.4, 8.0, 6.4, 5.0, 4.4])
    shrink = np.array([0.98, 1.0, 0.95, 0.85, 0.6, 0.0])
    angle = np.linspace(0, 2 * np.pi, 21)[:-1]
    points = np.empty((len(z), len(angle), 3))
    points[..., 0] = 3.1 * shrink[:, None] * np.cos(angle)
    points[..., 1] = 3.6 + np.where(np.sin(angle) < 0, 2.0, 1.9) * np.sin(angle) * np.maximum(shrink[:, None], 0.05)
    points[..., 2] = z[:, None]
    jaw = np.clip(0.5 + 0.5 * np.sin(angle) * 1.6, 0, 1) * np.array([1, 1, 1, 0.9, 0.7, 0.5])[:, None]
    shade = np.array([0.40, 0.30, 0.17, 0.08, 0.03, 0.0])[:, None] * (1 - 0.35 * np.clip(-np.sin(angle), 0, 1))
    mesh.grid(points, Part.CAVITY, shade, jaw, closed=True)


def build_mouth(pose: Pose, neutral_V3: F64) -> MouthGeometry:
    """The mouth's inside for a fitted head, px; `neutral_V3`: the portrait's face with lips closed, px."""
    basis = basis_module.load()
    ring = basis.topology.mouth_ring_M
    middle = basis.topology.lip_upper_L[7:14]  # teeth hang by the middle of the lips: corners go their own ways
    anchor_cm = np.r_[basis.neutral_V3[ring, 0].mean(), basis.neutral_V3[middle, 1:].mean(0)]
    anchor_px = np.r_[neutral_V3[ring, 0].mean(), neutral_V3[middle, 1:].mean(0)]
    corners = basis.topology.lip_upper_L[[0, -1]]
    own = np.linalg.norm(np.subtract(*neutral_V3[corners])) / pose.scale
    widen = float(np.clip((own / np.linalg.norm(np.subtract(*basis.neutral_V3[corners]))) ** 0.5, 0.88, 1.12))

    mesh = _Mesh()
    for arch in (UPPER, LOWER):
        _add_teeth(mesh, arch)
        _add_gum(mesh, arch)
    _add_tongue(mesh)
    _add_cavity(mesh)
    lining_start = mesh.count
    strip = np.stack([basis.neutral_V3[ring] - [0.0, 0.0, 0.12 * row] for row in range(LINING_ROWS)])
    shade = np.array([1.0, 0.95, 0.8, 0.55, 0.3])[:, None] * np.ones(len(ring))
    mesh.grid(strip.astype(np.float64), Part.LIP, shade, 0.0, closed=True)

    points = np.concatenate(mesh.vertices)
    stretch = np.array([widen, 1.0, 1.0])
    place = anchor_px + pose.turn((points - anchor_cm) * stretch)
    normals = np.concatenate(mesh.normals) @ pose.R_33.T
    part = np.array(mesh.part, np.uint8)
    row = np.full(mesh.count, -1, np.int16)
    around = np.full(mesh.count, -1, np.int16)
    row[lining_start:] = np.repeat(np.arange(LINING_ROWS), len(ring))
    around[lining_start:] = np.tile(np.arange(len(ring)), LINING_ROWS)
    place[lining_start:] = neutral_V3[ring][around[lining_start:]]
    return MouthGeometry(
        vertices_P3=place.astype(np.float32),
        normals_P3=normals.astype(np.float32),
        triangles_Q3=np.concatenate(mesh.triangles),
        part_P=part,
        part_Q=np.array(mesh.part_of_triangle, np.uint8),
        tooth_Q=np.array(mesh.tooth, np.uint8),
        occlusion_P=np.concatenate(mesh.occlusion).astype(np.float32),
        colour_P3=np.array([COLOURS[Part(p)] for p in part], np.float32),
        jaw_P=np.concatenate(mesh.jaw).astype(np.float32),
        tongue_P3=pose.turn(np.concatenate(mesh.tongue) * stretch).astype(np.float32),
        lining_row_P=row,
        lining_ring_P=around,
    )
