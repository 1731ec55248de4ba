"""The mouth's inside, built from numbers: two arches of teeth with their gums, tongue, cavity, wet lining of the lips.

Built in centimetres around the basis' own lips (x image right, y down, z to the viewer), then placed in the portrait
by the fitted pose and the portrait's own lips. Tooth widths and heights are average crowns (Wheeler, "Dental
Anatomy"); both arches are half ellipses. Each arch is one smooth strip from gum to biting edge, only the edge is
cut out tooth by tooth: crowns, gaps and gums are a picture on it (render/mouth_atlas.py), the portrait's own where it
shows them. Upper parts belong to the skull, lower ones and the tongue to the jaw.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.rig import basis as basis_module
from avatar.rig.types import MouthGeometry, Part

if TYPE_CHECKING:
    from avatar.rig.fit import Pose

F64 = NDArray[np.float64]

LINING_ROWS: Final = 5
"""Rows of the lips' lining, the first on the mouth ring."""
STRIP_CM: Final = 1.95
"""Height of an arch's strip, from the biting edge to the top of the gum that can be seen."""
PER_TOOTH: Final = 6
"""Columns of the strip per tooth."""
DOWN: Final = np.array([0.0, 0.25, 0.46, 0.64, 0.8, 0.92, 1.0])
"""Rows of the strip, gum (0) to edge (1); two more lie behind the edge."""
COLUMNS: Final = 2 * 6 * PER_TOOTH + 1
"""Vertices of each row: six crowns on either side of the middle."""


@dataclass(frozen=True)
class Arch:
    """One row of teeth (cm): half ellipse of the labial surface, crowns from the middle outwards."""

    part: Part
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

    @property
    def half_length(self) -> float:
        """Arc length of half the row."""
        return float(sum(self.widths))

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

    def tooth_at(self, along: F64) -> tuple[NDArray[np.int64], F64]:
        """Which tooth from the middle (0..5), and where on it: -1 at its edge nearer the middle .. 1 at the other."""
        ends = np.r_[0.0, np.cumsum(self.widths)]
        index = np.clip(np.searchsorted(ends, np.abs(along), side="right") - 1, 0, len(self.widths) - 1)
        t = (np.abs(along) - ends[index]) / np.asarray(self.widths)[index] * 2 - 1
        return index, np.clip(t, -1.0, 1.0)

    def edge_at(self, along: F64) -> F64:
        """y of the biting edge: the row's line, less each crown's lift and its rounded corners."""
        index, t = self.tooth_at(along)
        x = self.at(along)[0]
        corner = np.where(t > 0, 0.09, 0.055) * np.abs(t) ** 4
        corner += np.where(index == 2, 0.10 * np.abs(t), 0.0)  # the canine's tip
        return np.asarray(
            self.edge_y - self.spee * x**2 - self.towards_edge * (np.asarray(self.edge_lift)[index] + corner)
        )


UPPER: Final = Arch(
    Part.TEETH_UPPER, 0.0, 3.1, 4.7, 10.72, 3.65, 0.035, 1.0,
    (0.86, 0.67, 0.77, 0.70, 0.68, 1.00), (1.02, 0.88, 0.99, 0.84, 0.78, 0.72), (0.0, 0.04, 0.0, 0.05, 0.08, 0.10),
)  # fmt: skip
LOWER: Final = Arch(
    Part.TEETH_LOWER, 1.0, 2.9, 4.6, 10.42, 3.53, 0.035, -1.0,
    (0.54, 0.60, 0.69, 0.71, 0.73, 1.05), (0.86, 0.88, 0.98, 0.84, 0.80, 0.72), (0.0, 0.01, -0.02, 0.03, 0.05, 0.06),
)  # fmt: skip
"""At rest the rows hardly overlap: relaxed jaws keep 2-4 mm between the teeth (freeway space)."""


@dataclass
class _Mesh:
    """Patches collected into one mesh."""

    vertices: list[F64] = field(default_factory=list)
    normals: list[F64] = field(default_factory=list)
    triangles: list[NDArray[np.int32]] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    part_of_triangle: list[int] = field(default_factory=list)
    uv: list[F64] = field(default_factory=list)
    occlusion: list[F64] = field(default_factory=list)
    jaw: list[F64] = field(default_factory=list)
    tongue: list[F64] = field(default_factory=list)
    count: int = 0

    def grid(
        self, points_RC3: F64, part: Part, uv_RC2: F64, occlusion_RC: F64, jaw_RC: F64 | float,
        outward_3: F64 | None = None, tongue_RC3: F64 | None = None, closed: bool = False,
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
        self.uv.append(np.broadcast_to(uv_RC2, (rows, cols, 2)).reshape(-1, 2).astype(np.float64))
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


def _add_arch(mesh: _Mesh, arch: Arch) -> None:
    """The strip of gum and crowns, its edge, and the back of the crowns behind the edge."""
    ends = np.r_[0.0, np.cumsum(arch.widths)]
    half = np.concatenate([np.linspace(a, b, PER_TOOTH + 1)[1:] for a, b in pairwise(ends)])
    along = np.concatenate([-half[::-1], [0.0], half])
    x, z, normal = arch.at(along)
    edge = arch.edge_at(along)
    base = arch.edge_y - arch.spee * x**2 - arch.towards_edge * STRIP_CM
    v = DOWN[:, None]
    y = base + (edge - base) * v
    # crowns bulge and lean in at the edge; the gum lies a little further out and turns in towards the cheek's fold
    out = 0.05 * np.sin(np.clip(v, 0, 1) * np.pi) - 0.06 * np.clip(v - 0.85, 0, 1) / 0.15 - 0.25 * (1 - v) ** 3
    front = np.stack([x + normal[:, 0] * out, y, z + normal[:, 1] * out], -1)
    thick = np.interp(np.abs(along), [0.0, ends[3], ends[4]], [0.18, 0.25, 0.55])
    inwards = np.stack([normal[:, 0], np.zeros_like(x), normal[:, 1]], -1)
    back = front[-1] - inwards * thick[:, None]
    far = back - np.array([0.0, arch.towards_edge * 0.6, 0.0]) - 0.15 * inwards
    points = np.concatenate([front, back[None], far[None]])
    row_light = np.r_[0.55, 0.8, 0.92, 1.0, 1.0, 1.0, 1.0, 0.7, 0.25]
    u = (along / arch.half_length + 1) / 2
    uv = np.stack(np.broadcast_arrays(u[None], np.r_[DOWN, 0.97, 0.9][:, None]), -1)
    side = np.clip(1.0 - np.clip(np.abs(along) - 1.1, 0, None) / (arch.half_length - 0.8), 0, 1) ** 1.6
    occlusion = row_light[:, None] * np.minimum(_depth_light(points[..., 2]), side)
    mesh.grid(points, arch.part, uv, occlusion, arch.jaw, np.array([0.0, 0.0, 1.0]))


def _add_tongue(mesh: _Mesh) -> None:
    """A loft of ellipses from the tip (station 0) to the root; the tip rises to the upper incisors' edge.

    u: 0 along the top .. 1 along the underside, v: tip to root.
    """
    t = np.array([0.0, 0.03, 0.08, 0.16, 0.27, 0.4, 0.55, 0.72, 0.88, 1.0])
    z = 10.05 - 5.6 * t
    y = np.interp(t, [0, 0.1, 0.3, 0.55, 0.8, 1.0], [4.02, 3.95, 3.76, 3.55, 3.75, 4.7])
    half_width = 1.75 * np.interp(t, [0, 0.03, 0.08, 0.16, 0.27, 0.5, 1.0], [0.0, 0.4, 0.62, 0.8, 0.92, 1.08, 1.15])
    thick = np.interp(t, [0, 0.03, 0.08, 0.16, 0.28, 0.6, 1.0], [0.0, 0.17, 0.27, 0.37, 0.48, 0.8, 1.0])
    angle = np.linspace(0, 2 * np.pi, 21)[:-1]
    points = np.empty((len(t), len(angle), 3))
    points[..., 0] = half_width[:, None] * np.cos(angle)
    groove = 0.07 * np.exp(-((points[..., 0] / 0.3) ** 2)) * np.clip(t * 8, 0, 1)[:, None] * (np.sin(angle) > 0)
    side_sag = 0.10 * (np.abs(np.cos(angle)) ** 3) * np.clip(t * 5, 0, 1)[:, None]
    height = np.where(np.sin(angle) > 0, 0.8, 1.2) * np.sin(angle)
    points[..., 1] = y[:, None] - thick[:, None] * height + groove + side_sag
    points[..., 2] = z[:, None]
    lift = np.clip(1 - t / 0.5, 0, 1) ** 1.3
    raised = np.zeros_like(points)
    raised[..., 1] = -0.38 * lift[:, None]
    raised[..., 2] = 0.78 * lift[:, None]
    raised[..., 0] = -0.12 * points[..., 0] * lift[:, None]
    shade = np.clip(0.45 + 0.75 * _depth_light(points[..., 2]), 0, 1.0) * (0.92 + 0.08 * np.sin(angle))
    shade *= (1.0 - 0.72 * t)[:, None] * (1.0 - np.interp(t, [0.05, 0.4], [0.25, 0.9])[:, None] * np.cos(angle) ** 2)
    uv = np.stack(np.broadcast_arrays((1 - np.sin(angle)) / 2, t[:, None]), -1)
    mesh.grid(points, Part.TONGUE, uv, shade, 1.0, np.array([0.0, -0.3, 1.0]), raised, closed=True)


def _add_cavity(mesh: _Mesh) -> None:
    """A bag behind teeth and lips: palate above (skull), floor below (jaw), dark at the back.

    u: 0 palate .. 1 floor, v: front to back.
    """
    z = np.array([10.35, 9.4, 8.0, 6.4, 5.0, 4.4])
    shrink = np.array([0.98, 1.0, 0.95, 0.85, 0.6, 0.0])
    angle = np.linspace(0, 2 * np.pi, 21)[:-1]
    points = np.empty((len(z), len(angle), 3))
    points[..., 0] = 3.1 * shrink[:, None] * np.cos(angle)
    points[..., 1] = 3.6 + np.where(np.sin(angle) < 0, 2.0, 1.9) * np.sin(angle) * np.maximum(shrink[:, None], 0.05)
    points[..., 2] = z[:, None]
    jaw = np.clip(0.5 + 0.5 * np.sin(angle) * 1.6, 0, 1) * np.array([1, 1, 1, 0.9, 0.7, 0.5])[:, None]
    shade = np.array([0.40, 0.30, 0.17, 0.08, 0.03, 0.0])[:, None] * (1 - 0.35 * np.clip(-np.sin(angle), 0, 1))
    uv = np.stack(np.broadcast_arrays((1 + np.sin(angle)) / 2, np.linspace(0, 1, len(z))[:, None]), -1)
    mesh.grid(points, Part.CAVITY, uv, shade, jaw, closed=True)


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
        _add_arch(mesh, arch)
    _add_tongue(mesh)
    _add_cavity(mesh)
    lining_start = mesh.count
    around = np.r_[np.arange(len(ring)), 0]  # the last column repeats the first: the picture on it does not wrap
    strip = np.stack([basis.neutral_V3[ring[around]] - [0.0, 0.0, 0.12 * row] for row in range(LINING_ROWS)])
    uv = np.stack(
        np.broadcast_arrays(np.linspace(0, 1, len(around)), np.linspace(0, 1, LINING_ROWS)[:, None]), -1
    )  # fmt: skip
    shade = np.array([1.0, 0.95, 0.8, 0.55, 0.3])[:, None] * np.ones(len(around))
    mesh.grid(strip.astype(np.float64), Part.LIP, uv, shade, 0.0)

    points = np.concatenate(mesh.vertices)
    stretch = np.array([widen, 1.0, 1.0])
    place = anchor_px + pose.turn((points - anchor_cm) * stretch)
    normals = np.concatenate(mesh.normals) @ pose.R_33.T
    part = np.array(mesh.part, np.uint8)
    row = np.full(mesh.count, -1, np.int16)
    column = np.full(mesh.count, -1, np.int16)
    row[lining_start:] = np.repeat(np.arange(LINING_ROWS), len(around))
    column[lining_start:] = np.tile(around, LINING_ROWS)
    place[lining_start:] = neutral_V3[ring][column[lining_start:]]
    return MouthGeometry(
        vertices_P3=place.astype(np.float32),
        normals_P3=normals.astype(np.float32),
        triangles_Q3=np.concatenate(mesh.triangles),
        part_P=part,
        part_Q=np.array(mesh.part_of_triangle, np.uint8),
        uv_P2=np.concatenate(mesh.uv).astype(np.float32),
        occlusion_P=np.concatenate(mesh.occlusion).astype(np.float32),
        jaw_P=np.concatenate(mesh.jaw).astype(np.float32),
        tongue_P3=pose.turn(np.concatenate(mesh.tongue) * stretch).astype(np.float32),
        lining_row_P=row,
        lining_ring_P=column,
    )
