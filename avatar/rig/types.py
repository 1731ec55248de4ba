"""What the rig hands to whoever draws it: plain arrays, with their shapes, units and meaning.

All positions are in pixels of the framed square portrait: x right, y down, z towards the viewer.
z = 0 lies at the head's pivot depth, so a nose tip has a large positive z and an ear about 0.
Eye index 0 is the person's right eye (image left), 1 the left eye (image right).

Shape suffixes: V skin vertices, T skin triangles, K = 44 expression channels (43 ARKit + tongueHeight),
M vertices of the mouth ring, L vertices of one lip line, E vertices of one eye ring, P vertices of the
mouth's inside, Q its triangles, D = 52 motion numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avatar.motion.space import EXPRESSION_DIM
from avatar.rig import channels
from avatar.rig.channels import SkinBasis

if TYPE_CHECKING:
    from avatar.rig.deform import Deformer

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]


class Part(IntEnum):
    """What a vertex or triangle of the mouth's inside belongs to."""

    TEETH_UPPER = 0
    """Crowns and gum: one strip, with a picture on it (render/mouth_atlas.py)."""
    TEETH_LOWER = 1
    TONGUE = 2
    CAVITY = 3
    """Palate, cheeks' insides, floor and throat; nearly black at the back (see `occlusion_P`)."""
    LIP = 4
    """Wet inner lining of the lips: a strip that starts exactly on the mouth ring and rolls inwards."""


@dataclass(frozen=True)
class MouthGeometry:
    """The mouth's inside at rest in the portrait: jaw closed, source pose, tongue low.

    Draw it with a depth test, clipped to the polygon `skin_V3[mouth_ring]` of the same frame.
    """

    vertices_P3: F32
    """px."""
    normals_P3: F32
    """Unit, pointing out of the surface."""
    triangles_Q3: I32
    """Counter-clockwise or not is not promised: draw both sides."""
    part_P: U8
    """`Part` of each vertex."""
    part_Q: U8
    """`Part` of each triangle."""
    uv_P2: F32
    """Place on the part's own picture, 0..1: along and across (arches: image left to right, gum to biting edge)."""
    occlusion_P: F32
    """How much light reaches the vertex with the mouth open, 1 (front teeth) .. 0 (throat)."""
    jaw_P: F32
    """0 = moves with the skull, 1 = moves rigidly with the lower jaw, between = blended."""
    tongue_P3: F32
    """px offset at tongueHeight = 1 (zero outside the tongue)."""
    lining_row_P: NDArray[np.int16]
    """For `Part.LIP`: row of the strip, 0 on the ring; -1 elsewhere."""
    lining_ring_P: NDArray[np.int16]
    """For `Part.LIP`: position in `mouth_ring` that it follows; -1 elsewhere."""


@dataclass(frozen=True)
class EyeGeometry:
    """Both eyeballs in the portrait; the first axis is the eye."""

    ball_centre_23: F32
    """px."""
    ball_radius_2: F32
    """px; the radius on which the iris centre travels."""
    iris_centre_23: F32
    """px, in the portrait as it was taken."""
    iris_radius_2: F32
    """px, of the limbus circle seen from the front."""
    source_gaze_2: F32
    """azimuth, elevation in radians of the gaze in the portrait, towards the visitor = 0 (see motion/space.py)."""


@dataclass(frozen=True)
class HeadPose:
    """Head pose relative to the portrait's own: p -> pivot + scale * R (p - pivot) + t, then perspective."""

    R_33: F32
    t_3: F32
    """px."""
    scale: float


@dataclass(frozen=True)
class DeformedFace:
    """One frame. Arrays are fresh copies that the caller may keep."""

    skin_V3: F32
    """px, after expression, contact, head pose and perspective; z for the depth test only."""
    pose: HeadPose
    """Give it to `FittedRig.move` to carry anything else (hair, neck) with the head."""
    gaze_2: F32
    """azimuth, elevation in radians relative to the visitor, after clamping."""
    ball_centre_23: F32
    """px, posed."""
    ball_radius_2: F32
    """px, posed."""
    iris_centre_23: F32
    """px, posed and turned by the gaze."""
    iris_radius_2: F32
    """px, posed; the iris is a disc of this radius, seen foreshortened along `iris_axis_23`."""
    iris_axis_23: F32
    """Unit vector from the ball's centre to the iris centre (z towards the viewer)."""
    blink_2: F32
    """How closed each eye is: 0 as open as the expression asks, 1 = lids meet."""
    mouth_P3: F32
    """px, the mouth's inside, posed; same order as `MouthGeometry.vertices_P3`."""
    mouth_normals_P3: F32
    """Unit, posed."""
    mouth_gap: float
    """Largest distance between the lips in px; 0 = sealed (nothing of the inside can be seen)."""


@dataclass(frozen=True)
class FittedRig:
    """A personal rig: everything the decoder needs, as arrays (see `pack`, `unpack`)."""

    size: int
    """Width and height of the framed portrait in px."""
    rest_V3: F32
    """px; the skin mesh exactly on the portrait. Vertex i's texture coordinate is rest_V3[i, :2]."""
    neutral_V3: F32
    """px; the photo's own expression removed (lips closed, eyes open), same pose as the photo."""
    triangles_T3: I32
    """Skin, with holes for both eyes and the mouth; clockwise on the screen (y down) at rest for visible skin."""
    basis: SkinBasis
    """What the expression channels do to the skin (see `basis_KV3`)."""
    source_expression_K: F32
    """0..1, the photo's own expression."""
    pivot_3: F32
    """px; the point the head turns about (top of the neck)."""
    camera_distance: float
    """px from z = 0 to the camera; its axis goes through the middle of the frame."""
    R_source_33: F32
    """Rotation of the head in the photo: canonical (x image right, y down, z to the viewer) -> image."""
    face_width: float
    """px between the cheeks; unit of headX and headY."""
    mouth_ring_M: I32
    """Closed loop of vertices around the opening: image-left corner, along the upper lip to the image-right
    corner, back along the lower lip."""
    lip_upper_L: I32
    """The upper inner lip, image-left corner to image-right corner; lip_upper_L[i] touches lip_lower_L[i]."""
    lip_lower_L: I32
    lip_outer_M: I32
    """Outer edge of the lips (vermilion border), closed loop, same start and direction as the mouth ring."""
    eye_ring_2E: I32
    """Closed loop along the lid margins: image-left corner, upper lid, image-right corner, lower lid."""
    lid_upper_2L: I32
    """Upper lid margin, image-left corner to image-right corner; lid_upper_2L[e, i] meets lid_lower_2L[e, i]."""
    lid_lower_2L: I32
    oval_ring: I32
    """Boundary of the skin mesh (face oval), closed loop."""
    eyes: EyeGeometry
    mouth: MouthGeometry
    landmarks_468: I32
    """Vertex index of each MediaPipe landmark."""
    jaw_K6: F32
    """Rigid motion of the lower jaw per channel: rotation vector (radians) and shift (px), about `jaw_hinge_3`."""
    jaw_hinge_3: F32
    """px."""
    rigid_V: F32
    """0..1: 1 = held to the head, whatever the expression (frames of glasses; rigid.py). All zero without glasses."""
    fit_report: F32
    """Residuals in px before and after the snap (median, 95 %, largest each) and the camera's own: see fit.py."""

    def deform(self, motion_D: F32) -> DeformedFace:
        """The face for one motion vector, float32 [52]; numbers out of range are clamped."""
        return self._deformer.deform(motion_D)

    def move(self, points_N3: F32, pose: HeadPose) -> F32:
        """Carry points given in portrait px (photo's pose) along with the head; returns px [N, 3]."""
        from avatar.rig.deform import move_points

        return move_points(points_N3, pose, self.pivot_3, self.camera_distance, self.size)

    @property
    def basis_KV3(self) -> F32:
        """px offsets of every full (1.0) expression channel, in the photo's pose; [44, V, 3], computed."""
        return channels.to_dense(self.basis)

    def pack(self) -> dict[str, NDArray[Any]]:
        """Flat name -> array, for storage."""
        return pack(self)

    @classmethod
    def unpack(cls, arrays: dict[str, NDArray[Any]]) -> FittedRig:
        """Inverse of `pack`. Names that the rig does not know are ignored; missing ones raise ValueError."""
        return unpack(arrays)

    @cached_property
    def _deformer(self) -> Deformer:
        from avatar.rig.deform import Deformer

        return Deformer(self)


PREFIX = "rig."
_GROUPS: dict[str, Any] = {"eyes": EyeGeometry, "mouth": MouthGeometry, "basis": SkinBasis}
_INDICES = (
    "triangles_T3", "mouth_ring_M", "lip_upper_L", "lip_lower_L", "lip_outer_M", "eye_ring_2E", "lid_upper_2L",
    "lid_lower_2L", "oval_ring", "landmarks_468",
)  # fmt: skip
_SCALARS: dict[str, type] = {"size": int, "camera_distance": float, "face_width": float}


def pack(rig: FittedRig) -> dict[str, NDArray[Any]]:
    """All arrays of a rig under stable, flat names (`rig.rest_V3`, `rig.eyes.ball_radius_2`, ...)."""
    arrays: dict[str, NDArray[Any]] = {}
    for field in fields(FittedRig):
        value = getattr(rig, field.name)
        if field.name in _GROUPS:
            for inner in fields(_GROUPS[field.name]):
                arrays[f"{PREFIX}{field.name}.{inner.name}"] = np.ascontiguousarray(getattr(value, inner.name))
        elif field.name in _SCALARS:
            arrays[PREFIX + field.name] = np.array([value], np.float64)
        else:
            arrays[PREFIX + field.name] = np.ascontiguousarray(value)
    return arrays


def unpack(arrays: dict[str, NDArray[Any]]) -> FittedRig:
    """Build a rig from the arrays of `pack`; ValueError names what is missing."""

    def take(name: str) -> NDArray[Any]:
        if PREFIX + name not in arrays:
            raise ValueError(f"This identity has no '{PREFIX + name}': prepare the portrait again.")
        return arrays[PREFIX + name]

    values: dict[str, Any] = {}
    for field in fields(FittedRig):
        if field.name in _GROUPS:
            group = _GROUPS[field.name]
            values[field.name] = group(**{f.name: take(f"{field.name}.{f.name}") for f in fields(group)})
        elif field.name in _SCALARS:
            values[field.name] = _SCALARS[field.name](take(field.name)[0])
        else:
            values[field.name] = take(field.name)
    rig = FittedRig(**values)
    _check(rig)
    return rig


def _check(rig: FittedRig) -> None:
    """Refuse arrays that cannot belong together: compiled code trusts the indices."""
    count, inside = len(rig.rest_V3), len(rig.mouth.vertices_P3)
    per_vertex = {"rest_V3": rig.rest_V3, "neutral_V3": rig.neutral_V3}
    mouth = {f.name: getattr(rig.mouth, f.name) for f in fields(MouthGeometry)}
    per_vertex_inside = {n: a for n, a in mouth.items() if n.endswith(("_P", "_P3")) or n.startswith("lining")}
    sound = (
        all(a.shape == (count, 3) and a.dtype == np.float32 for a in per_vertex.values())
        and rig.basis.turn_33.shape == (3, 3)
        and count == channels.shared_KV3().shape[1]
        and rig.basis.own_KN3.shape == (EXPRESSION_DIM, len(rig.basis.own_rows_N), 3)
        and (len(rig.basis.own_rows_N) == 0 or _within(rig.basis.own_rows_N, count))
        and rig.rigid_V.shape == (count,)
        and rig.rigid_V.dtype == np.float32
        and rig.source_expression_K.shape == (EXPRESSION_DIM,)
        and rig.jaw_K6.shape == (EXPRESSION_DIM, 6)
        and all(len(a) == inside for a in per_vertex_inside.values())
        and rig.mouth.vertices_P3.shape == rig.mouth.normals_P3.shape == rig.mouth.tongue_P3.shape == (inside, 3)
        and len(rig.mouth.triangles_Q3) == len(rig.mouth.part_Q)
        and rig.mouth.uv_P2.shape == (inside, 2)
        and len(rig.lip_upper_L) == len(rig.lip_lower_L)
        and rig.lid_upper_2L.shape == rig.lid_lower_2L.shape
        and all(_within(getattr(rig, name), count) for name in _INDICES)
        and _within(rig.mouth.triangles_Q3, inside)
        and bool((rig.mouth.lining_ring_P < len(rig.mouth_ring_M)).all())
        and all(np.isfinite(a).all() for a in pack(rig).values())
    )
    if not sound:
        raise ValueError("The rig in this identity is damaged or from another version: prepare the portrait again.")


def _within(indices: NDArray[Any], count: int) -> bool:
    return indices.dtype.kind == "i" and len(indices) > 0 and int(indices.min()) >= 0 and int(indices.max()) < count
