"""The portrait's own teeth: what it shows of the upper row becomes the picture on the modelled arch.

The light of the smile (shade of the lips, dark towards the corners) is taken off with the same formula that puts it on
in a frame (mouth.py), so that the portrait's own expression gives the portrait back. Where lips or cheeks hide a
tooth, the drawn crowns continue in the colours of their neighbours.

Shape suffixes: H x W pixels of the upper arch's tile.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.images import LUMA, fill
from avatar.render.mouth_atlas import LIFT_CM, TILES, arch_grid, gum_line, mouth_tones, paint_atlas, tile
from avatar.render.mouth_light import NEAR_DEPTH, lip_curves, lips_plane, opening_lights
from avatar.rig.mouth import COLUMNS, DOWN, UPPER
from avatar.rig.mouth_fit import FRONT_CM, OwnTeeth, find_teeth, tooth_mask
from avatar.rig.types import FittedRig, Part

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

CLEAR_SHARE: Final = 0.3
"""Share of the front crowns that must be seen for them to be used; below, only their colour is."""
CLEAR_COLUMNS: Final = 0.925
"""The same of their columns of pixels: a row with teeth missing behind a moustache would have a ragged edge."""
LEAST_LIGHT: Final = 0.78
"""Shade is taken off down to this much light: deeper shade has no detail left."""
OWN_HUE: Final = 0.6
"""How much seen teeth keep of their own hue each; the rest is that of all front teeth."""
GAP_PX: Final = 11
"""Atlas px between seen teeth that count as seen too: the dark of a gap is part of the picture."""


def paint_mouth(rgb_HW3: U8, rig: FittedRig, eye_white_3: F32, lip_M3: F32, light_4: F32) -> tuple[U8, F32]:
    """The atlas of a portrait's mouth, uint8 [160, 320, 3], and its tones [4, 3] (`MouthTones.stack`)."""
    tones = mouth_tones(eye_white_3, rgb_HW3, rig, lip_M3)
    ring = rig.rest_V3[rig.mouth_ring_M, :2]
    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    own = find_teeth(rgb_HW3, rig.mouth, ring, down, rig.face_width)
    if own is None:
        return _packed(paint_atlas(tones, lip_M3)), tones.stack()
    at = portrait_place(rig, own)
    looks, _ = tooth_mask(rgb_HW3, ring, rig.face_width)
    along, above = arch_grid(UPPER)
    seen = np.where(above < gum_line(UPPER, along) + 0.12, _look(looks, at), 0)
    lit = unlit(_look(rgb_HW3, at), source_light(rig, at, light_4), tones.deep_3)
    front = (np.abs(along) < FRONT_CM) & (above > 0.05) & (above < 0.75)
    surely = (seen > 0.6) & front
    brightest = np.quantile(lit[surely] @ LUMA, 0.9) if surely.any() else 255.0
    lit *= np.minimum(brightest / np.maximum(lit @ LUMA, 1.0), 1.0)[..., None]
    if surely.any():
        white = np.median(lit[surely], axis=0)
        own_hue = (lit @ LUMA)[..., None] * (white / float(white @ LUMA))
        lit = np.asarray(OWN_HUE * lit + (1 - OWN_HUE) * own_hue, np.float32)  # in shade colours are far from true
        tones = mouth_tones(eye_white_3, rgb_HW3, rig, lip_M3, white)
    atlas = paint_atlas(tones, lip_M3, crown_lift(seen, along, above))
    known = with_gaps((seen > 0.6).astype(np.uint8))
    columns = float(np.any((known > 0) & front, axis=0).sum() / np.any(front, axis=0).sum())
    if surely[front].mean() >= CLEAR_SHARE and columns >= CLEAR_COLUMNS:
        drawn = tile(atlas, Part.TEETH_UPPER)
        drawn[:] = join(drawn, lit, known)
    return _packed(atlas), tones.stack()


def crown_lift(seen_HW: NDArray[Any], along: F32, above: F32) -> float:
    """How much higher than average (cm) the gum begins, so that it lies above all that is seen of the middle teeth."""
    column = np.abs(along[0]) < UPPER.widths[0]
    top = np.where(seen_HW[:, column] > 0.6, above, 0.0).max(0)
    return float(np.clip(np.median(top) + 0.1 - UPPER.heights[0], LIFT_CM, 0.4))


def with_gaps(seen_HW: U8) -> U8:
    """Where teeth are seen, with the gaps between them; 0 or 1 [H, W]."""
    close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (GAP_PX, 5))
    return np.asarray(cv2.morphologyEx(seen_HW, cv2.MORPH_CLOSE, close), np.uint8)


def join(drawn_HW3: F32, own_HW3: F32, seen_HW: U8) -> F32:
    """Seen teeth (gaps among them counted in) over drawn ones, which take after their nearest seen neighbours."""
    known = cv2.erode(seen_HW, np.ones((3, 3), np.uint8))
    wide = cv2.dilate(known, np.ones((3, 3), np.uint8))
    share = np.asarray(cv2.GaussianBlur(known.astype(np.float32), (0, 0), 1.5), np.float32) * wide
    ratio = np.clip((own_HW3 @ LUMA) / np.maximum(drawn_HW3 @ LUMA, 1.0), 0.6, 1.35)
    ratio = fill(ratio[..., None], known)[..., 0]
    ratio = np.asarray(cv2.GaussianBlur(ratio, (0, 0), 9), np.float32)
    near = np.clip(np.asarray(cv2.GaussianBlur(share, (0, 0), 14), np.float32) / 0.15, 0, 1)
    rest = drawn_HW3 * (1 + (ratio - 1) * near)[..., None]
    return np.asarray(rest + (own_HW3 - rest) * share[..., None], np.float32)


def unlit(colour_HW3: F32, light_HW: F32, deep_3: F32) -> F32:
    """Take the mouth's light off: the inverse of deep + (colour - deep) * light."""
    light = np.clip(light_HW, LEAST_LIGHT, 1.0)[..., None]
    return np.asarray(np.clip(deep_3 + (colour_HW3 - deep_3) / light, 0, 250), np.float32)


def source_light(rig: FittedRig, at_HW3: F32, light_4: F32) -> F32:
    """Light on the upper tile's pixels in the portrait as it was taken, 0..1; [H, W]."""
    ring = np.ascontiguousarray(rig.rest_V3[rig.mouth_ring_M])
    x, y, z = (np.ascontiguousarray(at_HW3[..., axis].ravel()) for axis in range(3))
    upper, lower = (np.interp(x, *curve).astype(np.float32) for curve in lip_curves(ring))
    plane = lips_plane(ring - np.array([0, 0, NEAR_DEPTH * rig.face_width], np.float32))
    behind = np.maximum(plane[0] + plane[1] * x - z, 0)
    seen = opening_lights(y, upper, lower, behind, rig.face_width).reshape(at_HW3.shape[:2])
    always = upper_grid(rig, np.c_[rig.mouth.normals_P3, rig.mouth.occlusion_P])
    lit = np.clip(light_4[0] + always[..., :3] @ light_4[1:], 0.4, 1.2)
    return np.asarray(np.sqrt(lit) * always[..., 3] * seen, np.float32)


def portrait_place(rig: FittedRig, own: OwnTeeth) -> F32:
    """Portrait px [H, W, 3] of the upper tile's pixels, brought onto the seen edge."""
    points = upper_grid(rig, rig.mouth.vertices_P3)
    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    along, _ = arch_grid(UPPER)
    move = own.shift + own.bend * np.minimum((along / FRONT_CM) ** 2, 2.5)
    points[..., :2] += move[..., None] * down
    return points


def upper_grid(rig: FittedRig, values_PC: NDArray[Any]) -> F32:
    """What the upper arch's vertices carry, on the pixels of its tile: [H, W, C]."""
    rows = rig.mouth.part_P == Part.TEETH_UPPER
    grid = values_PC[rows].reshape(-1, COLUMNS, values_PC.shape[1])[: len(DOWN)].astype(np.float32)
    _, _, width, height = TILES[Part.TEETH_UPPER]
    u = rig.mouth.uv_P2[rows].reshape(-1, COLUMNS, 2)[0, :, 0]
    column = np.interp(np.linspace(0, 1, width), u, np.arange(COLUMNS)).astype(np.float32)
    row = np.interp(np.linspace(0, 1, height), DOWN, np.arange(len(DOWN))).astype(np.float32)
    x, y = np.meshgrid(column, row)
    return np.asarray(cv2.remap(grid, x, y, cv2.INTER_LINEAR), np.float32).reshape(height, width, -1)


def _look(picture: NDArray[Any], at_HW3: F32) -> F32:
    x, y = (np.ascontiguousarray(at_HW3[..., axis]) for axis in (0, 1))
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _packed(atlas_HW3: F32) -> U8:
    return np.asarray(np.rint(np.clip(atlas_HW3, 0, 255)), np.uint8)
