"""The portrait moved: mesh, map, person over plate, folds and edges; `warp_mesh`, `underlay` and `decoder` for a batch.

Shape suffixes: B slots, U underlay vertices, J of the rim, V skin, N mesh, X = S * S pixels of the frame, K of a patch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from avatar.render import raster
from avatar.render.batch.tables import Slots
from avatar.render.underlay import BREATH, BREATH_SHIFT
from avatar.render.warp_mesh import CAP_BEHIND, SLID_AT
from avatar.rig.batch import DeformedBatch, RigBatch

_FINE_STEPS = 32.0
"""cv2.remap takes positions in steps of 1/32 px."""


def to_frame(points_BN3: Tensor, scale: float) -> Tensor:
    """px of the portrait -> px of a frame `scale` times as large."""
    shift = (scale - 1.0) / 2.0
    scaled = points_BN3 * scale
    return torch.cat([scaled[..., :2] + shift, scaled[..., 2:]], -1)


def underlay_points(slots: Slots, rig: RigBatch, face: DeformedBatch) -> Tensor:
    """underlay.deform_underlay: [B, U, 3], portrait px."""
    rest = slots.under_rest_U3
    count = rest.shape[1]
    moved = rig.move(torch.cat([rest, slots.rim_rest_J3], 1), face.pose)
    rigid, rim = moved[:, :count], moved[:, count:]
    skin_J3 = face.skin_BV3.gather(1, slots.rim_J[..., None].expand(-1, -1, 3))
    head, breath = face.pose.t_B3[:, None, :2], BREATH_SHIFT * slots.face_width_1[..., None]
    # underlay.torso_shift: a small vertical shift of the head moves them by more
    torso = (
        head * slots.under_share_12
        + (BREATH / BREATH_SHIFT) * breath * torch.tanh(head / breath) * slots.under_breath_12
    )
    torso = torso * slots.under_torso_U1
    flat = rest[..., :2] + torso + slots.under_follow_U1 * (rigid[..., :2] - rest[..., :2] - torso)
    points = torch.cat([flat, rigid[..., 2:]], -1)
    points = torch.baddbmm(points, slots.under_drag_UJ, skin_J3 - rim)
    behind = 0.05 * slots.face_width_1[..., None]
    outer = points[:, skin_J3.shape[1] :]
    outer = torch.cat([outer[..., :2], outer[..., 2:] - behind], -1)
    return torch.cat([skin_J3, outer], 1)


def place(slots: Slots, under_BU3: Tensor, skin_BV3: Tensor, caps: Tensor, gap_B: Tensor, scale: float) -> tuple[
    Tensor, Tensor
]:  # fmt: skip
    """WarpMesh.place: vertices [B, N, 3] and texture coordinates [B, N, 2]; points in frame px, gap in portrait px."""
    cap = skin_BV3.index_select(1, caps)
    back = CAP_BEHIND * scale * slots.face_width_1[..., None]
    cap = torch.cat([cap[..., :2], cap[..., 2:] - back], -1)
    points = torch.cat([under_BU3, skin_BV3, cap], 1)
    slid = torch.maximum(slots.lips_apart_1[:, 0], (gap_B / (SLID_AT * slots.face_width_1[:, 0])).clamp(max=1.0))
    slid = slid * slid * (3.0 - 2.0 * slid)
    return points, torch.addcmul(slots.source_N2, slid[:, None, None], slots.slides_N2)


def doubled(points_BnN3: Tensor, origin_Bn2: Tensor) -> Tensor:
    """Points in px of patches of twice the frame's resolution that begin at `origin`."""
    flat = (points_BnN3[..., :2] - origin_Bn2[:, :, None]) * 2.0 + 0.5
    return torch.cat([flat, points_BnN3[..., 2:].expand(*flat.shape[:3], 1)], -1)


def sample(pictures_BCHW: Tensor, at_2BK: Tensor) -> Tensor:
    """Bilinear look-up [B, C, K] at px positions x, y, held inside the picture."""
    height, width = pictures_BCHW.shape[-2:]
    x, y = at_2BK[0] * (2.0 / (width - 1)) - 1.0, at_2BK[1] * (2.0 / (height - 1)) - 1.0
    grid = torch.stack([x, y], -1)[:, None]
    return F.grid_sample(pictures_BCHW, grid, "bilinear", "border", align_corners=True)[:, :, 0]


def stepped(map_2BK: Tensor) -> Tensor:
    """Positions rounded as cv2.remap rounds them."""
    return (map_2BK * _FINE_STEPS).round() * (1.0 / _FINE_STEPS)


def over(warped_B4X: Tensor, drawn_BX: Tensor, plate_B3X: Tensor) -> tuple[Tensor, Tensor]:
    """raster.under: [B, 3, X], and the person's opacity."""
    opacity = warped_B4X[:, 3] * drawn_BX
    share = (opacity + (opacity >= 128.0)) * (1.0 / 256.0)
    return torch.addcmul(plate_B3X, warped_B4X[:, :3] - plate_B3X, share[:, None]), opacity


def opacity(warped_B4X: Tensor, drawn_BX: Tensor, plate_B3X: Tensor) -> tuple[Tensor, Tensor]:
    """raster.cut_out: the person's own colours where there is any, and their opacity."""
    opacity = warped_B4X[:, 3] * drawn_BX
    return torch.where((opacity > 0.0)[:, None], warped_B4X[:, :3], plate_B3X), opacity


def soften_folds(map_2BX: Tensor, drawn_BX: Tensor, warped_B4X: Tensor, inside_BX: Tensor, frame_B3X: Tensor) -> Tensor:
    """raster.soften_folds: the frame [B, 3, X] with folds blurred where `inside_BX`."""
    size = round(drawn_BX.shape[1] ** 0.5)
    u, v = torch.unflatten(map_2BX, -1, (size, size))
    step_x, step_y = (u[:, :, 1:] - u[:, :, :-1]).abs(), (v[:, 1:] - v[:, :-1]).abs()
    tear_x, tear_y = step_x > raster.FOLD_PX, step_y > raster.FOLD_PX
    torn = (tear_x[:, 1:-1, 1:] | tear_x[:, 1:-1, :-1]) | (tear_y[:, 1:, 1:-1] | tear_y[:, :-1, 1:-1])
    person = torch.unflatten(warped_B4X, -1, (size, size))
    # a pixel that is not drawn, or whose neighbour is not, does not count
    there = torch.unflatten(drawn_BX, -1, (size, size)).to(torch.float32)[:, None]
    whole = -F.max_pool2d(-there, 3, stride=1)[:, 0] > 0.5
    change = torn & whole & (person[:, 3, 1:-1, 1:-1] >= 255.0)
    change = F.pad(change, (1, 1, 1, 1)).flatten(1) & inside_BX
    rows = person[:, :3, :-2] + person[:, :3, 2:] + 2.0 * person[:, :3, 1:-1]
    soft = (rows[..., :-2] + rows[..., 2:] + 2.0 * rows[..., 1:-1]) * (1.0 / 16.0)
    soft = F.pad(soft, (1, 1, 1, 1)).flatten(2)
    return torch.where(change[:, None], soft, frame_B3X)


def smooth_edges(
    map_2BK: Tensor, drawn_BK: Tensor, colours_B3K: Tensor, within_BK: Tensor, patch_B3K: Tensor, shape: tuple[int, int]
) -> Tensor:
    """raster.smooth_edges: the patch [B, 3, K] with those of its pixels replaced whose four samples lie apart.

    map, drawn, colours: of the map of twice the resolution; within: where edges are looked for; shape:
    rows and columns of the patch.
    """
    fours = (shape[0], 2, shape[1], 2)
    quads = torch.unflatten(map_2BK, -1, fours)
    spread = quads.amax((-3, -1)) - quads.amin((-3, -1))
    apart = (spread >= raster.EDGE_PX).any(0) & torch.unflatten(drawn_BK, -1, fours).all(-1).all(-2)
    mean = torch.unflatten(colours_B3K, -1, fours).mean((-3, -1))
    return torch.where((apart.flatten(1) & within_BK)[:, None], mean.flatten(2), patch_B3K)
