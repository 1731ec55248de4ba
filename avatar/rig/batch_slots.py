"""What a batch of rigs keeps of each identity, and what all of them share.

Everything of one identity that a frame reads is one row of float32 numbers: `slot_row` makes it (about 50 ms, most of
it the biharmonic solves, so do it off the frame path), and a batch takes it in with a single copy. What follows from
the mesh alone - which vertices are lips, what the skin around them is, the expression basis itself - is shared.

A rig's channels are the package's basis, turned and scaled by the fitted pose (channels.py), so a slot needs nine
numbers instead of 44 x V x 3.

Shape suffixes: as in types.py; N rows that a spread moves, H its handles, F numbers of a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion.space import EXPRESSION_DIM
from avatar.rig import lips
from avatar.rig.mesh import rings_from
from avatar.rig.types import FittedRig, Part

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

ALIGN: Final = 32
"""Fields of a row begin at multiples of this many numbers (128 bytes), as matrix kernels like it."""
_MESH: Final = (
    "triangles_T3", "mouth_ring_M", "lip_upper_L", "lip_lower_L", "lip_outer_M", "eye_ring_2E", "lid_upper_2L",
    "lid_lower_2L", "oval_ring",
)  # fmt: skip
_INSIDE: Final = ("triangles_Q3", "part_P", "part_Q", "lining_row_P", "lining_ring_P")
"""Arrays that all rigs of a batch must have in common, of the skin and of the mouth's inside."""


@dataclass(frozen=True)
class Topology:
    """What all rigs of a batch share."""

    vertices: int
    inside: int
    """Vertices of the mouth's inside."""
    lip_lines_2L: I64
    """Skin vertices of the upper and lower inner lip."""
    lip_ring_M: I64
    """For each vertex of the mouth ring its place among the 2 * L of the lip lines."""
    lip_rows_N: I64
    """Skin vertices that follow the mouth ring."""
    lid_lines_22L: I64
    """Eye, upper and lower, along the lid."""
    lid_ring_2E: I64
    """For each vertex of the eye rings its place among the 2 * L of that eye's lid lines."""
    lid_rows_2N: I64
    lining_P: I64
    """Places of the lips' lining in the mouth's inside."""
    lining_around_C: I64
    """For each column of the lining the skin vertex it starts from."""
    lining_across_C: I64
    """The vertex of the other lip that it rolls towards."""
    lining_share_C1: F32
    """How much of its lining the lip shows there."""
    near_lids_N: I64
    """Skin vertices next to the lid margins: glasses may have moved them along the skin (rigid.clear_lids)."""

    def same(self, other: Topology) -> bool:
        """Whether rigs of both fit into one batch."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)


@dataclass(frozen=True)
class SlotRow:
    """One identity, ready for a batch."""

    row_F: F32
    fields: dict[str, tuple[int, tuple[int, ...]]]
    """Name -> where it begins in the row, and its shape."""
    topology: Topology
    mesh: dict[str, NDArray[Any]]
    """The arrays of `_MESH` and `_INSIDE`, for comparison (views of the rig's own)."""


def slot_row(rig: FittedRig) -> SlotRow:
    """Everything of a rig that a frame reads, as one row."""
    topology, arrays = _topology(rig), _arrays(rig)
    fields, start = {}, 0
    for name, array in arrays.items():
        fields[name] = (start, array.shape)
        start += -(-max(array.size, 1) // ALIGN) * ALIGN
    row_F = np.zeros(start, np.float32)
    for name, array in arrays.items():
        begin = fields[name][0]
        row_F[begin : begin + array.size] = array.ravel()
    mesh = {name: getattr(rig, name) for name in _MESH}
    mesh |= {f"mouth.{name}": getattr(rig.mouth, name) for name in _INSIDE}
    return SlotRow(row_F, fields, topology, mesh)


def check_same(first: SlotRow, other: SlotRow) -> None:
    """ValueError when two identities cannot share a batch: other mesh, prepared by another version."""
    alike = first.fields == other.fields and first.topology.same(other.topology)
    if not alike or any(not np.array_equal(first.mesh[name], other.mesh[name]) for name in first.mesh):
        raise ValueError("These identities were prepared by different versions of visavis: prepare them all again.")


def _arrays(rig: FittedRig) -> dict[str, F32]:
    """The fields of a row. Reads the operators that the rig's own `Deformer` has prepared; products of numbers that do
    not change from frame to frame are made here, so that a frame is few kernels."""
    deformer = rig._deformer
    lip, lid, mouth, eyes = deformer._lips, deformer._lids, rig.mouth, rig.eyes
    width, distance = rig.face_width, rig.camera_distance
    down_3, flat_3 = np.r_[lip._down, 0.0], np.array([1.0, 1.0, 0.0])
    centre_3 = rig.size / 2 * flat_3
    lining_2 = lips._SIN.shape[0], 1
    values: dict[str, Any] = {
        # skin
        "neutral_V3": rig.neutral_V3,
        "residual_V3": deformer._residual_V3,
        "rest_V3": rig.rest_V3,
        "rigid_V1": rig.rigid_V[:, None],
        "turn_33": rig.basis.turn_33,
        "near_lids_KN3": _near_lids(rig),
        # lips
        "down_3": down_3,
        "opens_23": 0.5 * np.stack([down_3, -down_3]),  # towards the other lip
        "residual_lines_X3": deformer._residual_V3[np.r_[rig.lip_upper_L, rig.lip_lower_L]],
        "lip_spread_NM": lip._spread.matrix_NH,
        "arc_XX": _arcs(lip._arc_LL),
        "arc_per_px_1": [1.0 / (lips.SMOOTH_OPEN * width)],
        "bow_L": lip._bow_L,
        "bite_share_X": np.tile(lip._bite_share_L, 2),
        "bite_X": np.r_[lip._bite_L - lips.BITE_SHOWN * width * lip._bite_share_L, lip._bite_L],
        "source_open_1": [float(lip.open_in_source)],
        "source_gap_per_1": [1.0 / max(lip._source_gap, 1e-6)],
        "source_mouth_K": _scattered(lip._source_mouth),
        # lids
        "lid_spread_2NE": np.stack([spread.matrix_NH for spread in lid._spread]),
        "lid_travel_2": eyes.ball_radius_2 / np.asarray(lid._gap_2),
        "lid_bulge_22L3": _bulges(lid._bulge_2),
        "source_axis_3": deformer._source_axis,
        # eyes
        "ball_centre_23": eyes.ball_centre_23,
        "ball_far_2": distance - eyes.ball_centre_23[:, 2],
        "ball_radius_2": eyes.ball_radius_2,
        "iris_radius_2": eyes.iris_radius_2,
        # the mouth's inside
        "inside_P3": mouth.vertices_P3 - rig.jaw_hinge_3,
        "inside_normals_P3": mouth.normals_P3,
        "tongue_P3": mouth.tongue_P3,
        "jaw_P1": mouth.jaw_P[:, None],
        "jaw_held_P1": (mouth.jaw_P * deformer._hold_P)[:, None],
        "jaw_K6": rig.jaw_K6,
        "hinge_3": rig.jaw_hinge_3,
        "lining_most_1": [0.018 * width],
        "lining_back_1": [0.012 * width],
        "lining_into_R13": (1.0 - lips._COS.reshape(lining_2)[..., None]) * lip._into,
        "lining_normal_R13": -lips._COS.reshape(lining_2)[..., None] * lip._into,
        # head
        "shift_3": width * flat_3,
        "centre_3": centre_3,
        "pivot_3": rig.pivot_3,
        "from_pivot_3": centre_3 - rig.pivot_3,
        "nearing_3": flat_3 / distance,
        "distance_1": [distance],
    }
    return {name: np.ascontiguousarray(value, np.float32) for name, value in values.items()}


def _arcs(arc_LL: F32) -> F32:
    """What bends both lips' lines towards plain arcs, as one matrix [2 L, 2 L] of displacements."""
    count = len(arc_LL)
    out = np.zeros((2 * count, 2 * count), np.float32)
    bend = arc_LL - np.eye(count)
    out[:count, :count], out[count:, count:] = lips.UPPER_ARC * bend, bend
    return out


def _scattered(mouth_M: F32) -> F32:
    """Channels of the mouth among all: [44]."""
    out = np.zeros(EXPRESSION_DIM, np.float32)
    out[lips._MOUTH] = mouth_M
    return out


def _bulges(bulge_2L: list[F32]) -> F32:
    """How far the half-closed upper lid stands out: [eye, upper and lower, L, 3], px."""
    out = np.zeros((2, 2, len(bulge_2L[0]), 3), np.float32)
    out[:, 0, :, 2] = 4.0 * np.stack(bulge_2L)
    return out


def _near_lids(rig: FittedRig) -> F32:
    """Channels that the portrait has of its own, all next to the lids: [44, N, 3], px."""
    near_lids = near_lid_margins(rig)
    assert np.isin(rig.basis.own_rows_N, near_lids).all(), "only glasses give channels of their own (rigid.py)"
    near_KN3 = np.zeros((EXPRESSION_DIM, len(near_lids), 3), np.float32)
    near_KN3[:, np.searchsorted(near_lids, rig.basis.own_rows_N)] = rig.basis.own_KN3
    return near_KN3


def near_lid_margins(rig: FittedRig) -> I64:
    """Vertices that share an edge with a lid margin, without the margins."""
    steps = rings_from(rig.triangles_T3, len(rig.rest_V3), rig.eye_ring_2E.ravel())
    return np.flatnonzero(steps == 1)


def _topology(rig: FittedRig) -> Topology:
    deformer = rig._deformer
    lip_rows = deformer._lips._spread.rows_N
    lid_rows = np.stack([spread.rows_N for spread in deformer._lids._spread])
    lip_lines = np.stack([rig.lip_upper_L, rig.lip_lower_L])
    lid_lines = np.stack([rig.lid_upper_2L, rig.lid_lower_2L], 1)
    moved = np.concatenate([rig.mouth_ring_M, lip_rows, rig.eye_ring_2E.ravel(), lid_rows.ravel()])
    assert len(np.unique(moved)) == len(moved), "lips and lids move each other's skin: the order would matter"
    return Topology(
        vertices=len(rig.rest_V3),
        inside=len(rig.mouth.vertices_P3),
        lip_lines_2L=lip_lines.astype(np.int64),
        lip_ring_M=_places(rig.mouth_ring_M, lip_lines),
        lip_rows_N=lip_rows.astype(np.int64),
        lid_lines_22L=lid_lines.astype(np.int64),
        lid_ring_2E=np.stack([_places(ring, lines) for ring, lines in zip(rig.eye_ring_2E, lid_lines, strict=True)]),
        lid_rows_2N=lid_rows.astype(np.int64),
        lining_P=np.flatnonzero(rig.mouth.part_P == Part.LIP),
        lining_around_C=np.asarray(deformer._lips._around_M, np.int64),
        lining_across_C=np.asarray(deformer._lips._across_M, np.int64),
        lining_share_C1=deformer._lips._lining_share_M1,
        near_lids_N=near_lid_margins(rig),
    )


def _places(ring: NDArray[Any], lines_2L: NDArray[Any]) -> I64:
    """Where each vertex of a closed ring is in the flat upper and lower line; corners count to the lower one."""
    flat = lines_2L.ravel().tolist()
    last = {vertex: place for place, vertex in enumerate(flat)}
    assert set(last) == set(ring.tolist()), "the lines make up the ring"
    return np.array([last[vertex] for vertex in ring.tolist()], np.int64)
