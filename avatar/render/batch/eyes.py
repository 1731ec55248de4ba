"""Both eyes of every slot: `avatar.render.eyes` for a batch.

Shape suffixes: B slots (with both eyes: 2B in eye pictures), E vertices of an eye ring, L of a lid, Y x X a patch.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from avatar.render import eye_layers, eyes
from avatar.render.batch.boxes import constant, line_y
from avatar.render.batch.tables import Slots
from avatar.render.batch.warp import sample
from avatar.rig.batch import DeformedBatch, RigBatch

_SAME: Final = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_INSIDE_BALL: Final = 0.98
"""Squared share of the ball's radius up to which its front is drawn."""


class Lids:
    """Both eyes' upper lids over a patch: how far below them pixels lie, how far they are closed, their lashes."""

    def __init__(
        self,
        slots: Slots,
        upper_B2L2: Tensor,
        lower_B2L2: Tensor,
        open_B2L2: Tensor,
        at_2B2YX: Tensor,
        head_B: Tensor,
        scale: float,
    ) -> None:
        """Lids (the upper one as it is and as it is when open), pixels x, y: frame px, lids from left to right.

        head_B: the head's scale; scale: frame px per portrait px.
        """
        first, last = upper_B2L2[:, :, 0], upper_B2L2[:, :, -1]
        along = last - first
        level = along[..., 0] / along.square().sum(-1).sqrt().clamp(min=1e-6)
        x, self._y = at_2B2YX[0, :, :, :1], at_2B2YX[1]
        self._share = (x - first[..., 0, None, None]) / along[..., 0, None, None].clamp(min=1e-3)
        self._arch = 4.0 * self._share * (1.0 - self._share)
        self.iris_px = (slots.eye_iris_radius_2 * scale)[..., None, None]
        across = level[..., None, None] / self.iris_px
        lines = torch.cat([upper_B2L2, open_B2L2, lower_B2L2], 1)
        self._lid, fold, floor = line_y(lines, x.repeat(1, 3, 1, 1)).chunk(3, 1)
        self.below = (self._y - self._lid) * across
        self._above = (floor - self._y).clamp(min=0.0) * across
        self._rolled = (self._lid - fold) * across
        covers = slots.eye_lid_skin_2L4[:, :, 0, 3]  # the same along a lid
        self._from_fold = (self._y - fold) * across + eyes.LID_ABOVE * covers[..., None, None]
        gap = (lower_B2L2 - upper_B2L2).square().sum(-1).amax(-1).sqrt()
        open_ = (slots.eye_lash_24[..., 3] * head_B[:, None] * scale).clamp(min=1e-3)
        self.closed = (1.0 - gap / open_).clamp(0.0, 1.0)[..., None, None]
        self._skin_B2L4 = slots.eye_lid_skin_2L4
        self._soft = slots.eye_lid_soft_2[..., None, None]
        self._colour = slots.eye_lash_24[..., :3, None, None]

    def light(self) -> Tensor:
        """Light on the eye behind them: [B, 2, Y, X]."""
        lower = 1.0 - eyes.LOWER * torch.exp(-(self._above * (1.0 / eyes.LOWER_REACH)).square())
        return (1.0 - eyes.DIM * self.closed * self.closed) * lid_light(self.below.clamp(min=0.0)) * lower

    def clear(self) -> Tensor:
        """Share of the eye that is seen beside lids as soft as the portrait's: [B, 2, Y, X]."""
        half_px = 0.5 / self.iris_px
        over = 1.0 / (self._soft + half_px)
        upper, lower = ((away + half_px) * over for away in (self.below.clamp(min=0.0), self._above))
        return (upper.clamp(max=1.0) * lower.clamp(max=1.0)).masked_fill(self._soft <= 0.0, 1.0)

    def draw_skin(self, picture_B23YX: Tensor) -> Tensor:
        """The part of the upper lid that has come out of its fold, laid over the picture."""
        last = self._skin_B2L4.shape[2] - 1
        at = self._share.clamp(0.0, 0.9999) * last  # [B, 2, 1, X]
        first = at.floor()
        where = first.to(torch.int64)[:, :, 0, :, None].expand(-1, -1, -1, 4)
        a, b = self._skin_B2L4[:, :, :-1].gather(2, where), self._skin_B2L4[:, :, 1:].gather(2, where)
        part = (at - first)[:, :, 0, :, None]
        colour = torch.lerp(a[..., :3], b[..., :3], part).movedim(-1, 2)[:, :, :, None]
        to_edge = self._lid + 0.5 - self._y
        new = (self._from_fold * (1.0 / eyes.LID_FADE)).clamp(max=1.0)
        shade = 1.0 - eyes.LID_SHADE * (1.0 - new)
        share = (self._rolled * (1.0 / eyes.LID_GROWS)).clamp(max=1.0) * a[..., 3][:, :, None]
        share = share * (4.0 * self._arch).clamp(max=1.0)
        hidden = (self._rolled <= 0.0) | (self._arch <= 0.0) | (self._from_fold <= 0.0) | (to_edge <= 0.0)
        share = (new * share * to_edge.clamp(max=1.0)).masked_fill(hidden, 0.0)
        return torch.lerp(picture_B23YX, colour * shade[:, :, None], share[:, :, None])

    def draw_lashes(self, picture_B23YX: Tensor) -> Tensor:
        """The upper lashes of a closing lid, laid over the picture."""
        grown = ((self.closed - eyes.LASH_FROM) * (1.0 / (eyes.LASH_ALL - eyes.LASH_FROM))).clamp(0.0, 1.0)
        grown = eyes.LASH_ALPHA * grown * grown * (3.0 - 2.0 * grown)
        edge = (0.8 / self.iris_px).clamp(min=eyes.LASH_EDGE)
        length = (eyes.LASH_LENGTH - eyes.LASH_ROOT) * (0.3 + 0.7 * self._arch)
        away = (self.below - eyes.LASH_ROOT) / length
        at = (2.0 * math.pi * eyes.LASH_COUNT) * (self._share - 0.25 * (self._share - 0.5) * away)
        tuft = 0.15 * (torch.cos(at) + torch.cos(1.618 * at + 1.0))
        fringe = (1.0 - away).square() * (0.7 + tuft)
        dark = torch.where(away > 0.0, fringe, (1.0 + self.below / edge).clamp(max=1.0))
        there = (self._arch > 0.0) & (away < 1.0) & (self.below > -edge)
        alpha = (grown * dark * (4.0 * self._arch).clamp(max=1.0)).masked_fill(~there, 0.0)
        return torch.lerp(picture_B23YX, self._colour.expand_as(picture_B23YX), alpha[:, :, None])


def eye_colours(
    slots: Slots, rig: RigBatch, face: DeformedBatch, light_B2YX: Tensor, at_2B2YX: Tensor, scale: float
) -> Tensor:
    """Colours [B, 2, 3, Y, X] of both eyes, lids taken for open, 0..255.

    light_B2YX: what the lids leave; at_2B2YX: x, y of the pixels in the frame.
    """
    probe = constant(((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), rig.device)
    centre = slots.eye_ball_23
    moved = torch.unflatten(rig.move((centre[:, :, None] + probe).flatten(1, 2), face.pose), 1, (2, 3))[..., :2]
    ball = moved[:, :, 0]
    right, down = moved[:, :, 1] - ball, moved[:, :, 2] - ball
    area = right[..., 0] * down[..., 1] - down[..., 0] * right[..., 1]
    # rows of the inverse: frame direction -> direction in the portrait
    into_x = torch.stack([down[..., 1], -down[..., 0]], -1) / area[..., None]
    into_y = torch.stack([-right[..., 1], right[..., 0]], -1) / area[..., None]
    away = face.iris_centre_B23[..., :2] - ball
    shift = torch.stack([(into_x * away).sum(-1), (into_y * away).sum(-1)])
    shift = shift - (slots.eye_iris_23 - centre)[..., :2].movedim(-1, 0)

    head = face.pose.R_B33[:, None]
    turn = _between((face.iris_axis_B23[..., None, :] @ head)[..., 0, :], slots.eye_axis_23) @ head.mT

    def per_eye(values_B2: Tensor) -> Tensor:
        return values_B2[..., None, None]

    x, y = (at_2B2YX + 0.5) * (1.0 / scale) - 0.5
    dx, dy = x - per_eye(ball[..., 0]), y - per_eye(ball[..., 1])
    own_x, own_y = per_eye(centre[..., 0]), per_eye(centre[..., 1])
    origin = slots.eye_origin_22.movedim(-1, 0)[..., None, None]
    flat = torch.stack(
        [
            per_eye(into_x[..., 0]) * dx + per_eye(into_x[..., 1]) * dy + own_x,
            per_eye(into_y[..., 0]) * dx + per_eye(into_y[..., 1]) * dy + own_y,
        ]
    )
    flat = flat - origin
    radius = per_eye(face.ball_radius_B2)
    nx, ny = dx / radius, dy / radius
    out = nx * nx + ny * ny
    nz = (1.0 - out).clamp(min=0.0).sqrt()
    rest_radius = per_eye(slots.eye_ball_radius_2)
    on_iris = torch.stack(
        [
            own
            + rest_radius
            * (per_eye(turn[..., i, 0]) * nx + per_eye(turn[..., i, 1]) * ny + per_eye(turn[..., i, 2]) * nz)
            for i, own in enumerate((own_x, own_y))
        ]
    )
    on_iris = on_iris - origin
    on_glint = flat - eyes.GLINT_SHARE * shift[..., None, None]

    white = _sampled(slots.sclera_23SS, flat)
    iris = _sampled(slots.iris_24SS, on_iris)
    opacity = iris[:, :, 3:] * (out < _INSIDE_BALL)[:, :, None]
    colour = torch.lerp(white, iris[:, :, :3], opacity) + _sampled(slots.glint_23SS, on_glint)
    return (colour * light_B2YX[:, :, None]).clamp(0.0, 255.0)


def lid_light(away: Tensor) -> Tensor:
    """eye_layers.lid_shadow for distances in iris radii."""
    shadow = 1.0 - eye_layers.SHADOW * torch.exp(away * (-1.0 / eye_layers.SHADOW_REACH))
    lashes = 1.0 - eye_layers.LASHES * torch.exp(-((away * (1.0 / eye_layers.LASHES_REACH)) ** 2))
    return shadow * lashes


def _sampled(pictures_B2CSS: Tensor, at_2B2YX: Tensor) -> Tensor:
    """[B, 2, C, Y, X]."""
    both = at_2B2YX.shape[1:3]
    out = sample(pictures_B2CSS.flatten(0, 1), at_2B2YX.flatten(3).flatten(1, 2))
    return torch.unflatten(torch.unflatten(out, 0, both), -1, at_2B2YX.shape[3:])


def _between(a_Bn3: Tensor, b_Bn3: Tensor) -> Tensor:
    """The smallest rotation that takes unit vectors a to b (less than half a turn apart): [B, n, 3, 3]."""
    x, y, z = torch.linalg.cross(a_Bn3, b_Bn3).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.unflatten(torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1), -1, (3, 3))
    cosine = (a_Bn3 * b_Bn3).sum(-1)[..., None, None]
    return constant(_SAME, x.device) + cross + cross @ cross / (1.0 + cosine)
