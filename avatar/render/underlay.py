"""Everything around the face: hair, ears, neck, shoulders, as a mesh welded to the skin's rim.

Rays run from the middle of the face through each vertex of the oval to well beyond the frame; rings of vertices lie
along them. The first ring *is* the skin's own rim, so there is no seam. A vertex goes with the head (rigidly, with a
guessed depth) by `follow`, which fades down the neck, and with the rim's expression (jaw, cheeks) by `drag`, which
fades outwards. What lies beyond the person does not matter: the background is a separate, still picture.

Between two vertices of the rim the skin's outline need not be straight: a moving face parts there by a fraction of a
pixel. One more ring, the skirt, is therefore tucked under the skin all the way round.

Shape suffixes: V skin vertices, J vertices of the oval, R rings, U = (R + 1) * J vertices of this mesh with the skirt
last, T triangles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.render.images import smooth
from avatar.rig.types import DeformedFace, FittedRig

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

RINGS: Final = 13
REACH: Final = 1.5
"""The last ring lies on a square this many frames wide, so that no motion in range uncovers the frame."""
NECK_LENGTH: Final = 0.62
"""Face widths below the jaw over which head motion fades to the shoulders', where no collar is seen."""
NECK_RANGE: Final = (0.3, 0.8)
"""What that may be where the collar is seen: a shorter one would fold when the chin drops."""
TORSO_SHARE: Final = np.array([0.3, 0.2], np.float32)
"""Shares of the head's shift (x, y) that shoulders go along with."""
SKIRT: Final = 0.01
"""Face widths from the rim to the inner edge of the skirt. Gaps measured up to 0.0025."""
BREATH: Final = 0.01
BREATH_SHIFT: Final = 0.006
"""Face widths. Breathing lifts the shoulders more than the head: a small vertical shift of the head (up to about
BREATH_SHIFT, as breathing gives it) moves them by up to BREATH more; a lean or a nod adds no more than that."""
TORSO_EDGE: Final = 0.06
"""Frame sides above the lower border over which the torso's shift ends, so that nothing from below is uncovered."""
DRAG_SIDE: Final = 0.12
DRAG_NECK: Final = 0.42
"""Face widths over which the rim's expression fades, sideways and upwards / down the neck."""
SIDE_RELIEF: Final = 0.27
"""Face widths: how far the sides of the face may at least fall behind; see `flatten_sides`."""
SIDE_SOFTNESS: Final = 0.05
OUTSIDE: Final = 7e-4
"""Face widths by which skin must lie outside the oval to count."""
BEHIND: Final = 0.9
BEHIND_NECK: Final = 0.55
"""Face widths over which depth settles behind the rim, for hair / down the neck. Long, so that hair turns as one piece:
depth that changes along its outline would dent that."""


@dataclass(frozen=True)
class Underlay:
    """Precomputed for one rig (px of the framed portrait)."""

    rest_U3: F32
    """z: the guessed depth. The first J rows are the oval itself (drawn with the skin's positions), the last J
    the skirt."""
    triangles_T3: I32
    follow_U: F32
    drag_UJ: F32
    """Weights of the rim's expression offsets."""
    torso_U: F32
    """0..1, share of `torso_shift` that a vertex gets."""
    oval_J: I32
    """Skin vertices of the rim: see `silhouette`."""


def flatten_sides(rig: FittedRig) -> FittedRig:
    """The rig with a shallower relief near its rim (z only, so it still lies exactly on the portrait).

    The sides of a face are seen at a grazing angle: a few pixels of portrait, partly ear or background, stand for
    much skin. A turn of the head would spread just those. With less depth there, the turn shows less of the side.
    """
    width = rig.face_width
    depth_V = (rig.rest_V3 - rig.pivot_3) @ rig.R_source_33[:, 2]
    side = np.median(np.sort(depth_V[rig.oval_ring])[: len(rig.oval_ring) // 3])
    below_V = (side + SIDE_RELIEF * width - depth_V) / (SIDE_SOFTNESS * width)
    raise_V = SIDE_SOFTNESS * width * np.logaddexp(0.0, below_V)
    lift_V3 = np.zeros_like(rig.rest_V3)
    lift_V3[:, 2] = raise_V
    return replace(rig, rest_V3=rig.rest_V3 + lift_V3, neutral_V3=rig.neutral_V3 + lift_V3)


def build_underlay(rig: FittedRig, collar: tuple[F32, F32] | None = None) -> Underlay:
    """Lay out the mesh and its weights.

    collar: where clothes begin (`collar.collar_line`); without it the neck is taken to be NECK_LENGTH long.
    """
    width, size = rig.face_width, rig.size
    ring_J = silhouette(rig)
    oval = rig.rest_V3[ring_J].astype(np.float64)
    count = len(oval)
    middle = oval[:, :2].mean(0)
    ray = oval[:, :2] - middle
    centre = np.array([size / 2, size / 2])
    # far ends: where each ray meets a large square around the frame
    half = REACH * size
    reach = np.minimum(*(((np.sign(ray) * half + centre - middle) / np.where(ray == 0, 1e-9, ray)).T))
    far = middle + ray * reach[:, None]
    share = (np.arange(RINGS) / (RINGS - 1)) ** 2.2
    rest_RJ2 = oval[None, :, :2] + share[:, None, None] * (far - oval[:, :2])
    out_RJ = np.linalg.norm(rest_RJ2 - oval[None, :, :2], axis=-1) / width

    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    below_RJ = (rest_RJ2 - oval[None, :, :2]) @ down / width
    # a vertex beside the jaw hangs lower than its own rim point says: measure from the jaw's height as well
    jaw_y = float(np.quantile(oval[:, :2] @ down, 0.8))
    below_RJ = np.maximum(
        below_RJ, np.where(out_RJ > 0, (rest_RJ2 @ down - jaw_y) / width * np.minimum(out_RJ * 4, 1), 0)
    )
    fade_RJ = smooth(below_RJ / neck_length(rest_RJ2, below_RJ, down, width, collar))
    across = np.abs((rest_RJ2 - middle) @ np.array([down[1], -down[0]])) / width
    aside_RJ = smooth((across - 1.0) / 0.8) * smooth((below_RJ + 0.3) / 0.6)
    follow_RJ = (1 - fade_RJ) * (1 - aside_RJ)

    neck_RJ = np.clip(below_RJ / np.maximum(out_RJ, 1e-6), 0, 1)
    scale_RJ = DRAG_SIDE + (DRAG_NECK - DRAG_SIDE) * smooth(neck_RJ)
    drag_RJ = np.exp(-((out_RJ / scale_RJ) ** 1.5))
    if collar is not None:  # nor does a dropping jaw pull at clothes
        drag_RJ *= 1 - fade_RJ
    # further out, neighbours on the rim share the say
    position = np.r_[0, np.cumsum(np.linalg.norm(np.diff(oval[:, :2], axis=0), axis=1))] / width
    total = position[-1] + np.linalg.norm(oval[0, :2] - oval[-1, :2]) / width
    gap = np.abs(position[:, None] - position[None])
    gap = np.minimum(gap, total - gap)
    drag_UJ = np.zeros((RINGS * count, count))
    z_RJ = np.empty((RINGS, count))
    behind_RJ = BEHIND + (BEHIND_NECK - BEHIND) * smooth(neck_RJ)
    back = -0.15 * width
    for ring in range(RINGS):
        sigma = 0.01 + 0.5 * out_RJ[ring]
        kernel = np.exp(-0.5 * (gap / sigma[:, None]) ** 2)
        kernel /= kernel.sum(1, keepdims=True)
        if ring == 0:
            kernel = np.eye(count)
        drag_UJ[ring * count : (ring + 1) * count] = kernel * drag_RJ[ring][:, None]
        z_RJ[ring] = back + (kernel @ oval[:, 2] - back) * np.exp(-((out_RJ[ring] / behind_RJ[ring]) ** 2))
    drag_UJ[drag_UJ < 1e-4] = 0.0

    lowest = np.clip((size - rest_RJ2[..., 1]) / (TORSO_EDGE * size), 0, 1)
    rest_U3 = np.concatenate([rest_RJ2, z_RJ[..., None]], -1).reshape(-1, 3)
    index = np.arange(RINGS * count).reshape(RINGS, count)
    skirt_J = index[-1] + count
    inner, outer = np.concatenate([index[:-1], skirt_J[None]]), np.concatenate([index[1:], index[:1]])
    quads = np.stack([inner, np.roll(inner, -1, 1), np.roll(outer, -1, 1), outer], -1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    # the skirt is part of the face: it goes where its vertex of the rim goes
    tuck = SKIRT * width / np.linalg.norm(ray, axis=1, keepdims=True)
    skirt_J3 = np.c_[oval[:, :2] - tuck * ray, oval[:, 2]]
    return Underlay(
        rest_U3=np.concatenate([rest_U3, skirt_J3]).astype(np.float32),
        triangles_T3=triangles.astype(np.int32),
        follow_U=np.r_[follow_RJ.ravel(), np.ones(count)].astype(np.float32),
        drag_UJ=np.concatenate([drag_UJ, np.eye(count)]).astype(np.float32),
        torso_U=np.r_[smooth(lowest).ravel(), np.zeros(count)].astype(np.float32),
        oval_J=ring_J,
    )


def silhouette(rig: FittedRig) -> I32:
    """The skin's outermost vertices as seen from the middle of the oval, one for each of its vertices; [J].

    In a turned head, or where landmarks are a little off, skin lies outside its own oval. An underlay that began at the
    oval would carry a second copy of that strip, to be seen as a ghost of the cheek's outline.
    """
    ring_J = rig.oval_ring
    middle = rig.rest_V3[ring_J, :2].astype(np.float64).mean(0)
    away = rig.rest_V3[:, :2] - middle
    angle, radius = np.arctan2(away[:, 1], away[:, 0]), np.linalg.norm(away, axis=1)
    steps_J = np.abs(_turn(np.diff(angle[ring_J], append=angle[ring_J[0]])))
    half_J = 0.5 * np.minimum(steps_J, np.roll(steps_J, 1))
    near_JV = np.abs(_turn(angle[None] - angle[ring_J, None])) <= half_J[:, None]
    outermost_J = np.where(near_JV, radius, -1.0).argmax(1)
    beyond_J = radius[outermost_J] > radius[ring_J] + OUTSIDE * rig.face_width
    return np.where(beyond_J, outermost_J, ring_J).astype(np.int32)


def _turn(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same angle between -pi and pi."""
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)


def neck_length(
    rest_RJ2: NDArray[np.float64],
    below_RJ: NDArray[np.float64],
    down: NDArray[Any],
    width: float,
    collar: tuple[F32, F32] | None,
) -> NDArray[np.float64]:
    """Face widths from the jaw down to where clothes hold the neck, in the column of each vertex; [R, J]."""
    if collar is None:
        return np.full(below_RJ.shape, NECK_LENGTH)
    across_C, down_C = collar
    end_RJ = np.interp(rest_RJ2 @ np.array([down[1], -down[0]]), across_C, down_C)
    start_RJ = rest_RJ2 @ down - below_RJ * width
    return np.asarray(np.clip((end_RJ - start_RJ) / width, *NECK_RANGE))


def deform_underlay(underlay: Underlay, rig: FittedRig, face: DeformedFace) -> F32:
    """Posed vertices [U, 3], px; z is the posed depth, always behind the skin's rim."""
    rigid = rig.move(underlay.rest_U3, face.pose)
    count = len(underlay.oval_J)
    skin_J3 = face.skin_V3[underlay.oval_J]
    offset_J3 = skin_J3 - rig.move(rig.rest_V3[underlay.oval_J], face.pose)
    follow = underlay.follow_U[:, None]
    torso = torso_shift(face.pose.t_3, rig.face_width) * underlay.torso_U[:, None]
    points = rigid.copy()
    points[:, :2] = underlay.rest_U3[:, :2] + torso + follow * (rigid[:, :2] - underlay.rest_U3[:, :2] - torso)
    points += underlay.drag_UJ @ offset_J3
    points[:count] = skin_J3
    points[count:, 2] -= 0.05 * rig.face_width
    return points


def torso_shift(head_3: F32, face_width: float) -> F32:
    """How far the shoulders go when the head shifts by head_3 (px); float32 [2] px."""
    shift = head_3[:2] * TORSO_SHARE
    shift[1] += BREATH * face_width * np.tanh(head_3[1] / (BREATH_SHIFT * face_width))
    return np.asarray(shift, np.float32)
