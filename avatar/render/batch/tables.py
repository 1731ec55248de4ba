"""What the batched decoder keeps of each identity: arrays of the same shapes for everybody, one row per slot.

They are made by the CPU decoder's own preparation, so both paths paint with the same things. A slot is changed by
copying into memory that stays where it is; a captured graph stays valid.

Shape suffixes: as in decoder.py and warp_mesh.py; B slots, X pixels of the frame, U underlay vertices, N mesh vertices.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar.motion import space
from avatar.motion.limits import TURNS
from avatar.render.batch.shading_arrays import shading_arrays
from avatar.render.decoder import Decoder
from avatar.render.output import FrameFormat
from avatar.render.shading import Shading
from avatar.render.underlay import TORSO_SHARE
from avatar.rig.eyes import gaze_axis

_UNLIMITED: Final = 1e3

I32 = NDArray[np.int32]
Arrays = dict[str, NDArray[Any]]

PATCHES: Final = 3
"""Lips and both eyes, where edges are smoothed."""
EYE_SHARE: Final = 0.25
"""Side of the eye pictures' room / side of the portrait."""


@dataclass(frozen=True)
class Layout:
    """What follows from the meshes and the format alone: the same for all identities of a batch."""

    format: FrameFormat
    scale: float
    """Frame px per portrait px."""
    skin_start: int
    """First skin vertex of the warp mesh, after those of the underlay."""
    points: int
    """Points of a slot that are drawn: the warp mesh, its face part once per patch, the mouth's inside."""
    under_triangles: int
    face_triangles: int
    mouth_triangles: int
    cap_rows: I32
    mouth_ring_M: I32
    lip_outer_M: I32
    eye_ring_2E: I32
    lids_22L: I32
    """Upper lids of both eyes, then lower ones."""
    shading: Shading

    @classmethod
    def of(cls, decoder: Decoder) -> Layout:
        """The layout of a CPU decoder's meshes."""
        mesh, rig, paint = decoder._mesh, decoder.rig, decoder._paint
        whole, skin_start = len(mesh.source_N2), len(mesh.underlay.rest_U3)
        return cls(
            format=decoder.format,
            scale=decoder.size / rig.size,
            skin_start=skin_start,
            points=whole + PATCHES * (whole - skin_start) + len(paint.place_P2),
            under_triangles=len(mesh.underlay.triangles_T3),
            face_triangles=len(mesh.face_triangles_T3),
            mouth_triangles=len(paint.triangles_Q3),
            cap_rows=mesh.cap_rows,
            mouth_ring_M=rig.mouth_ring_M,
            lip_outer_M=rig.lip_outer_M,
            eye_ring_2E=rig.eye_ring_2E,
            lids_22L=np.stack([rig.lid_upper_2L, rig.lid_lower_2L]),
            shading=decoder._shading,
        )


@dataclass(frozen=True)
class Slots:
    """All slots' arrays, on the device; the first axis is the slot."""

    person_4HW: Tensor
    plate_3X: Tensor
    limit_23: Tensor
    """How far the head may turn to either side, radians; where the portrait sets no limit, very far."""
    left_1: Tensor
    """First column of the square that is shown."""
    corners_3T: Tensor
    """Columns of all slots' points: triangles of the warp mesh, of the face once per patch, of the mouth's inside.
    Ascending in each triangle; left-out ones are empty."""
    source_N2: Tensor
    slides_N2: Tensor
    """How far texture coordinates slide when the mouth opens, frame px."""
    lips_apart_1: Tensor
    """1 where lips are open in the portrait, else 0."""
    face_width_1: Tensor
    """Portrait px."""
    under_rest_U3: Tensor
    under_follow_U1: Tensor
    under_torso_U1: Tensor
    under_share_12: Tensor
    """How far shoulders go with the head, x and y."""
    under_breath_12: Tensor
    """Whether they are lifted by breathing, x and y: 0, 1."""
    under_drag_UJ: Tensor
    rim_J: Tensor
    """Skin vertices of the rim, int64."""
    rim_rest_J3: Tensor
    sclera_23SS: Tensor
    iris_24SS: Tensor
    glint_23SS: Tensor
    eye_origin_22: Tensor
    eye_axis_23: Tensor
    """Where both eyes look in the portrait."""
    eye_ball_23: Tensor
    eye_ball_radius_2: Tensor
    eye_iris_23: Tensor
    eye_iris_radius_2: Tensor
    eye_lash_24: Tensor
    eye_lid_soft_2: Tensor
    eye_lid_skin_2L4: Tensor
    eye_open_lid_2L3: Tensor
    """Upper lids when open, portrait px."""

    shade_rest_V2: Tensor
    """Light and folds of the skin: batch/shading.py."""
    shade_near_V: Tensor
    shade_mask_V: Tensor
    shade_light_4: Tensor
    shade_sign_1: Tensor
    shade_source_G: Tensor
    shade_tint_31: Tensor
    shade_rows_K: Tensor
    shade_share_KS: Tensor
    shade_folds_GX: Tensor
    shade_down_HY: Tensor
    shade_along_XW: Tensor

    shade_own_at_P: Tensor
    shade_own_group_K: Tensor
    shade_own_3KP: Tensor
    shade_own_base_3P: Tensor
    mouth_3HW: Tensor
    """The atlas."""
    mouth_place_P2: Tensor
    mouth_flat_P: Tensor
    """Share of their colour that vertices show in any light."""
    mouth_dim_P: Tensor
    """The rest, times what light reaches them."""
    mouth_gloss_P: Tensor
    mouth_light_4: Tensor
    mouth_deep_3: Tensor
    mouth_corner_3: Tensor

    @classmethod
    def room(cls, first: Arrays, slots: int, device: torch.device) -> Slots:
        """Empty slots for identities like `first`."""

        def zeros(array: NDArray[Any]) -> Tensor:
            return torch.zeros(slots, *array.shape, dtype=torch.from_numpy(array[:0]).dtype, device=device)

        return cls(**{field.name: zeros(first[field.name]) for field in fields(cls)})

    def put(self, slot: int, arrays: Arrays) -> None:
        """Copy an identity into a slot. ValueError for one of another mesh."""
        for name in arrays:
            if getattr(self, name).shape[1:] != arrays[name].shape:
                raise ValueError(
                    "These identities were prepared by different versions of visavis: prepare them all again."
                )
        for name, array in arrays.items():
            getattr(self, name)[slot].copy_(torch.from_numpy(array))

    @property
    def slot_bytes(self) -> int:
        """Device memory of one identity."""
        return sum(t.numel() * t.element_size() // len(t) for t in (getattr(self, f.name) for f in fields(self)))


def identity_arrays(decoder: Decoder) -> Arrays:
    """The arrays of `Slots` for the identity that a CPU decoder was made for."""
    rig, mesh, layers = decoder.rig, decoder._mesh, decoder._layers
    underlay, eyes = mesh.underlay, rig.eyes
    hidden = len(underlay.triangles_T3) + len(mesh.face_triangles_T3) - len(mesh.triangles_T3)
    whole, skin_start, inside = len(mesh.source_N2), len(underlay.rest_U3), decoder._paint.triangles_Q3
    part = whole - skin_start
    triangles = np.concatenate(
        [
            mesh.triangles_T3,
            np.zeros((hidden, 3), np.int32),
            *(mesh.face_triangles_T3 + (whole - skin_start + patch * part) for patch in range(PATCHES)),
            inside + whole + PATCHES * part,
        ]
    )
    slides_N2 = np.zeros_like(mesh.source_N2)
    slides_N2[mesh.lip_rows] = mesh.lip_slides_2
    room = int(rig.size * EYE_SHARE)
    arrays: Arrays = {
        "person_4HW": decoder._shading.base_HW4.transpose(2, 0, 1),
        "plate_3X": decoder._plate_HW3.reshape(-1, 3).T,
        "limit_23": _limits(decoder.safe_range_23),
        "left_1": np.array([decoder._left]),
        "corners_3T": np.sort(triangles, 1).T.astype(np.int32),
        "source_N2": mesh.source_N2,
        "slides_N2": slides_N2,
        "lips_apart_1": np.array([float(mesh.lips_apart)]),
        "face_width_1": np.array([rig.face_width]),
        "under_rest_U3": underlay.rest_U3,
        "under_follow_U1": underlay.follow_U[:, None],
        "under_torso_U1": underlay.torso_U[:, None],
        "under_share_12": TORSO_SHARE[None],
        "under_breath_12": np.array([[0.0, 1.0]]),
        "under_drag_UJ": underlay.drag_UJ,
        "rim_J": underlay.oval_J.astype(np.int64),
        "rim_rest_J3": rig.rest_V3[underlay.oval_J],
        "sclera_23SS": _eye_pictures(layers.sclera_2SS3, room),
        "iris_24SS": _eye_pictures(layers.iris_2SS4, room),
        "glint_23SS": _eye_pictures(layers.glint_2SS3, room),
        "eye_origin_22": layers.eye_origin_22,
        "eye_axis_23": np.stack([gaze_axis(eyes.source_gaze_2)] * 2),
        "eye_ball_23": eyes.ball_centre_23,
        "eye_ball_radius_2": eyes.ball_radius_2,
        "eye_iris_23": eyes.iris_centre_23,
        "eye_iris_radius_2": eyes.iris_radius_2,
        "eye_lash_24": layers.lash_24,
        "eye_lid_soft_2": layers.lid_soft_2,
        "eye_lid_skin_2L4": layers.lid_skin_2L4,
        "eye_open_lid_2L3": rig.neutral_V3[rig.lid_upper_2L],
    }
    paint = decoder._paint
    own = len(rig.mouth.vertices_P3)
    arrays |= {
        "mouth_3HW": paint.atlas_HW3.transpose(2, 0, 1),
        "mouth_place_P2": paint.place_P2,
        "mouth_flat_P": 1.0 - paint.shade_P,
        "mouth_dim_P": (paint.shade_P * paint.occlusion_P)[:own],
        "mouth_gloss_P": paint.gloss_P[:own],
        "mouth_light_4": paint.light_4,
        "mouth_deep_3": paint.deep_3,
        "mouth_corner_3": paint.corner_3,
    }
    arrays |= shading_arrays(decoder._shading, decoder.size)
    flat_X3 = np.concatenate([decoder._shading.base_HW4[..., :3].reshape(-1, 3), np.zeros((1, 3), np.uint8)])
    arrays["shade_own_base_3P"] = flat_X3[arrays["shade_own_at_P"]].T
    return {name: _plain(array) for name, array in arrays.items()}


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers as they are, everything else as float32."""
    return np.ascontiguousarray(array, array.dtype if array.dtype.kind == "i" else np.float32)


def _limits(safe_range_23: NDArray[Any]) -> NDArray[Any]:
    limit = np.stack([-safe_range_23[0], safe_range_23[1]])
    most = np.stack([-space.LOW_D[TURNS], space.HIGH_D[TURNS]])
    return np.where(limit >= most - 1e-4, _UNLIMITED, limit)


def _eye_pictures(pictures_2SSC: NDArray[Any], room: int) -> NDArray[Any]:
    """Channels first, in the left upper corner of pictures of `room` px, continued by their last row and column."""
    side = pictures_2SSC.shape[1]
    if side > room:
        raise ValueError("The eyes are too large in this portrait: use one that shows the whole head and shoulders.")
    planes = np.moveaxis(pictures_2SSC, 3, 1)
    return np.pad(planes, [(0, 0), (0, 0), (0, room - side), (0, room - side)], mode="edge")
