"""What is painted from: pictures and tones taken from one portrait, once.

The person is cut off the background (colours of the hair's half-transparent rim are estimated, so no old background
travels with the head); the background behind is filled in; the eyes are taken apart into sclera, iris and catch-light;
tones for the mouth's inside come from the light on this face. Colours are sRGB 0..255.

Shape suffixes: H x W frame pixels, S side of an eye picture, M vertices of the mouth ring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.crown import round_off
from avatar.render.eye_layers import EyeLayers, lid_softness, lid_steps, take_eyes
from avatar.render.images import LUMA, fill, sample, vertex_normals
from avatar.render.lid_layers import clean_lids, lash_colours, lid_skin
from avatar.render.mouth_own import paint_mouth
from avatar.render.plate import background_plate
from avatar.render.rim import rim_colours
from avatar.rig.mouth_fit import tooth_mask
from avatar.rig.types import FittedRig

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

PREFIX: Final = "render."
APART: Final = 0.012
"""Face widths between the lips from which they count as open in the portrait."""
LIP_LINE: Final = 0.012
"""Face widths: how far the dark line between closed lips reaches into each of them."""
SOLID: Final = 0.96
"""Share of the face's outline, from its middle, inside which the face is opaque whatever the matte says."""


@dataclass(frozen=True)
class Layers:
    """Everything the decoder paints with, in px of the framed portrait."""

    person_HW4: U8
    """The person's colours and opacity."""
    plate_HW3: U8
    """The background without the person."""
    sclera_2SS3: F32
    """White of each eye, without iris, lids or lashes."""
    iris_2SS4: F32
    """Iris and pupil, complete, without catch-light; the fourth channel is opacity 0..1."""
    glint_2SS3: F32
    """Catch-light, to be added."""
    eye_origin_22: F32
    """Frame px (x, y) of the first pixel of each eye picture."""
    lid_step_2E: F32
    """px outwards from each vertex of the eye rings to where the lid really begins."""
    lash_24: F32
    """Per eye the colour of its lashes, and how far the lids are apart at rest, px."""
    lid_skin_2L4: F32
    """Skin along the upper lids for what unrolls as they close, and how much of it is laid over, 0..1."""
    lid_soft_2: F32
    """How softly each eye's lids end, iris radii; 0 = sharp."""
    lip_M3: F32
    """Lip colour near each vertex of the mouth ring."""
    lip_step_M: F32
    """px along the face's down direction from each vertex of the mouth ring to where the clean lip begins."""
    mouth_HW3: U8
    """Picture of the mouth's inside (mouth_atlas.py, mouth_own.py)."""
    mouth_tone_43: F32
    """Its tones: enamel, red tissue's hue, the dark of the mouth, the dark of its corners."""
    light_4: F32
    """Light on the face as a + b . normal, scaled so that a surface that faces the viewer gets 1."""

    def pack(self) -> dict[str, NDArray[Any]]:
        """Arrays under stable names (`render.person_HW4`, ...), for storage in an identity."""
        return {PREFIX + f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def unpack(cls, arrays: Mapping[str, NDArray[Any]]) -> Layers:
        """Inverse of `pack`; ValueError names what is missing."""
        missing = [f.name for f in fields(cls) if PREFIX + f.name not in arrays]
        if missing:
            raise ValueError(f"This identity has no '{PREFIX}{missing[0]}': prepare the portrait again.")
        return cls(**{f.name: arrays[PREFIX + f.name] for f in fields(cls)})


def prepare_layers(rgb_HW3: U8, matte_HW: F32, rig: FittedRig) -> Layers:
    """Take a framed portrait apart. rgb_HW3 [size, size, 3], matte 0..1; about 0.3 s."""
    forehead = float(rig.rest_V3[rig.oval_ring, 1].min()) - 0.02 * rig.size
    rgb_HW3, matte_HW, beyond_HW = round_off(rgb_HW3, matte_HW, forehead, rig.face_width)
    matte_HW = solid_face(matte_HW, rig)
    eyes: EyeLayers = take_eyes(rgb_HW3, rig)
    lid_step = lid_steps(rgb_HW3, rig, eyes.tone_3)
    light = face_light(rgb_HW3, rig)
    lip_step = lip_steps(rgb_HW3, rig)
    lips = lip_colours(rgb_HW3, rig, lip_step)
    mouth, mouth_tone = paint_mouth(rgb_HW3, rig, eyes.tone_3, lips, light)
    return Layers(
        person_HW4=person_layer(lips_without_mouth(clean_lids(rgb_HW3, rig, eyes.tone_3), rig), matte_HW),
        plate_HW3=background_plate(rgb_HW3, matte_HW, beyond_HW),
        sclera_2SS3=eyes.sclera_2SS3,
        iris_2SS4=eyes.iris_2SS4,
        glint_2SS3=eyes.glint_2SS3,
        eye_origin_22=eyes.origin_22,
        lid_step_2E=lid_step,
        lash_24=lash_colours(rgb_HW3, rig, lid_step),
        lid_skin_2L4=lid_skin(rgb_HW3, rig),
        lid_soft_2=lid_softness(rgb_HW3, rig),
        lip_M3=lips,
        lip_step_M=lip_step,
        mouth_HW3=mouth,
        mouth_tone_43=mouth_tone,
        light_4=light,
    )


def solid_face(matte_HW: F32, rig: FittedRig) -> F32:
    """The matte with a face that nothing shines through: a soft rim would be stretched into the cheek by a turn."""
    oval = rig.rest_V3[rig.oval_ring, :2].astype(np.float64)
    inner = oval.mean(0) + SOLID * (oval - oval.mean(0))
    face = np.zeros(matte_HW.shape, np.uint8)
    cv2.fillPoly(face, [np.rint(inner * 16).astype(np.int32)], 255, shift=4)
    soft = cv2.GaussianBlur(face, (0, 0), 0.003 * rig.size).astype(np.float32) / 255
    return np.asarray(np.maximum(matte_HW, soft), np.float32)


def person_layer(rgb_HW3: U8, matte_HW: F32) -> U8:
    """Foreground colours with opacity (straight alpha), uint8 [H, W, 4]: it can be laid over any background."""
    colour, _ = rim_colours(rgb_HW3, matte_HW)
    colour[matte_HW > 0.995] = rgb_HW3[matte_HW > 0.995]
    return np.concatenate([np.rint(colour), np.rint(matte_HW[..., None] * 255)], -1).astype(np.uint8)


def lip_colours(rgb_HW3: U8, rig: FittedRig, step_M: F32) -> F32:
    """Colour of the lips where the clean lip begins (`lip_steps`), smoothed along the lips; [M, 3]."""
    inner, outer = rig.rest_V3[rig.mouth_ring_M, :2], rig.rest_V3[rig.lip_outer_M, :2]
    soft = cv2.GaussianBlur(rgb_HW3, (0, 0), max(0.8, 0.003 * rig.size)).astype(np.float32)
    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    begin = inner + step_M[:, None] * down
    colours = sample(soft, begin + 0.1 * (outer - inner))
    count = len(inner)
    near = np.array([(c + d) % count for c in (0, count // 2) for d in range(-4, 5)])
    edge = sample(rgb_HW3.astype(np.float32), begin[near])  # lips darken fast towards the corners
    colours[near] = np.minimum(colours[near], edge)
    wrapped = np.concatenate([colours[-1:], colours, colours[:1]])
    kernel = np.array([0.25, 0.5, 0.25], np.float32)
    return np.stack([np.convolve(wrapped[:, c], kernel, "valid") for c in range(3)], -1).astype(np.float32)


def lips_without_mouth(rgb_HW3: U8, rig: FittedRig) -> U8:
    """The portrait with its open mouth filled by the colours of the lips around, so that lips take no teeth along."""
    ring = rig.rest_V3[rig.mouth_ring_M, :2]
    upper, lower = rig.rest_V3[rig.lip_upper_L, :2], rig.rest_V3[rig.lip_lower_L, :2]
    if np.linalg.norm(lower - upper, axis=1).max() < APART * rig.face_width:
        return rgb_HW3
    x0, y0, width, height = cv2.boundingRect(np.rint(rig.rest_V3[rig.lip_outer_M, :2]).astype(np.int32))
    x0, y0 = max(x0 - 4, 0), max(y0 - 4, 0)
    box = slice(y0, y0 + height + 8), slice(x0, x0 + width + 8)
    inside = np.zeros(rgb_HW3.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(ring * 16).astype(np.int32)], 1, shift=4)
    looks, _ = tooth_mask(rgb_HW3, ring, rig.face_width)
    mouth = cv2.dilate(np.maximum(inside, looks > 0.2).astype(np.uint8), np.ones((3, 3), np.uint8))
    out = rgb_HW3.copy()
    filled = fill(rgb_HW3[box].astype(np.float32), 1.0 - mouth[box])
    out[box] = np.rint(np.clip(filled, 0, 255))
    return out


def lip_steps(rgb_HW3: U8, rig: FittedRig) -> F32:
    """How far from each vertex of the mouth ring the clean lip begins, px along the face's down direction; [M].

    Lips that are closed in the portrait have a dark line between them (the ring lies on it); lips that are open have
    teeth or shadow up to an edge that is found by colour. With the mouth open, lips are drawn from there outwards.
    """
    ring, outer = rig.rest_V3[rig.mouth_ring_M, :2], rig.rest_V3[rig.lip_outer_M, :2]
    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    count = len(ring)
    other = ring[(-np.arange(count)) % count]
    room = (outer - ring) @ down
    apart = np.abs((other - ring) @ down)
    steps = np.sign(room) * LIP_LINE * rig.face_width
    soft = cv2.GaussianBlur(rgb_HW3, (0, 0), 0.0016 * rig.size).astype(np.float32)
    for m in np.flatnonzero(apart > APART * rig.face_width):
        t = np.linspace(0.0, 1.0, 40)
        lip = outer[m] + t[:, None] * (ring[m] + 0.4 * (other[m] - ring[m]) - outer[m])
        colours = sample(soft, lip)
        clean, inside = colours[8:18].mean(0), colours[-8:].mean(0)
        axis = inside - clean
        change = (colours - clean) @ axis / max(float(axis @ axis), 1e-3)
        beyond = np.flatnonzero((change > 0.35) & (t > 0.2))
        edge = lip[beyond[0]] if len(beyond) else ring[m]
        steps[m] = (edge - ring[m]) @ down + np.sign(room[m]) * 0.5 * LIP_LINE * rig.face_width
    wrapped = np.concatenate([steps[-2:], steps, steps[:2]])
    steps = np.median(np.stack([wrapped[i : i + count] for i in range(5)]), 0)
    steps[np.sign(steps) != np.sign(room)] = 0.0  # never into the opening
    corners = [0, count // 2]
    steps[corners] = 0.0
    steps[[(c + d) % count for c in corners for d in (-1, 1)]] *= 0.6
    limit = np.abs(room) * np.where(apart > APART * rig.face_width, 0.6, 0.35)
    return np.asarray(np.clip(steps, -limit, limit), np.float32)


def face_light(rgb_HW3: U8, rig: FittedRig) -> F32:
    """Skin's brightness fitted to the rig's normals (first-order light); float32 [4].

    Least squares, repeated with the weights of Tukey's biweight (Beaton and Tukey 1974), so that a beard, a fringe or
    a cast shadow does not bend the light.
    """
    normals = vertex_normals(rig.rest_V3, rig.triangles_T3)
    soft = cv2.GaussianBlur(rgb_HW3, (0, 0), 0.012 * rig.size).astype(np.float32)
    brightness = sample(soft, rig.rest_V3[:, :2]) @ LUMA
    use = normals[:, 2] > 0.35
    for ring in (rig.lip_outer_M, *rig.eye_ring_2E):  # lips and eyes have colours of their own
        centre, radius = rig.rest_V3[ring, :2].mean(0), np.ptp(rig.rest_V3[ring, 0]) * 0.6
        use &= np.linalg.norm(rig.rest_V3[:, :2] - centre, axis=1) > radius
    design = np.c_[np.ones(len(normals)), normals][use]
    wanted = brightness[use]
    ridge = 0.02 * len(wanted) * np.diag([0.0, 1.0, 1.0, 1.0])
    trust = np.ones(len(wanted))
    for _ in range(5):
        weighted = design * trust[:, None]
        solution = np.linalg.solve(weighted.T @ design + ridge + 1e-6 * np.eye(4), weighted.T @ wanted)
        off = wanted - design @ solution
        reach = 4.7 * max(1.48 * float(np.median(np.abs(off))), 3.0)
        trust = (1.0 - np.minimum((off / reach) ** 2, 1.0)) ** 2
    front = float(solution[0] + solution[3])
    solution = solution / max(front, 20.0)
    solution[1:] = np.clip(solution[1:], -0.6, 0.6)
    solution[0] = 1.0 - solution[3]
    return np.asarray(solution, np.float32)
