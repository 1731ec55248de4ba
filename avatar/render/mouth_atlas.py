"""The picture that is laid on the mouth's inside: crowns and gums of both arches, tongue, cavity, lining of the lips.

One small picture per portrait, painted once, in colours "fully lit by this portrait's light". Whites are measured on
the eyes and the skin; red tissue takes its hue from the lips and the light, never from the eyes' white.

Shape suffixes: H x W pixels of a tile or the atlas, M vertices of the mouth ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.images import LUMA, sample
from avatar.rig.mouth import LOWER, STRIP_CM, UPPER, Arch
from avatar.rig.types import FittedRig, Part

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

ATLAS_SIZE: Final = (160, 320)
"""Rows and columns of the atlas; about 34 px per cm of tooth, twice a 512 px frame's."""
TILES: Final[dict[Part, tuple[int, int, int, int]]] = {
    Part.TEETH_UPPER: (0, 0, 320, 64),
    Part.TEETH_LOWER: (0, 64, 320, 64),
    Part.TONGUE: (0, 128, 32, 32),
    Part.CAVITY: (32, 128, 32, 32),
    Part.LIP: (64, 128, 161, 32),
}
"""x, y, width, height of each part's picture; a vertex at uv (0, 0) lies on its first pixel, (1, 1) on its last."""

WARM_WHITE: Final = np.array([1.07, 0.985, 0.90], np.float32)
"""Teeth in white light (median of ten open smiles), brightness 1."""
SKIN: Final = np.array([1.31, 0.89, 0.72], np.float32)
"""Skin in white light (median of the same), brightness 1."""
EYE_SHARE: Final = 0.4
SKIN_SHARE: Final = 0.35
"""How much of the light's hue comes from the eyes' white and from the skin against SKIN; the rest is white light."""
RED: Final = np.array([1.40, 0.84, 0.80], np.float32)
"""Hue of tongue and gums in white light, brightness 1."""
TEETH_PER_EYE: Final = 1.06
TEETH_PER_SKIN: Final = 1.15
"""Brightness of lit teeth against the eyes' white / the upper quartile of the skin: 0.95 of ten open smiles."""
TEETH_PER_LIP: Final = 2.9
"""No brighter than this against the lips' upper quartile (dark lipstick: 3): a beard's or hat's shade is on both."""
BRIGHTEST: Final = 222.0
TONGUE_TONE: Final = 0.76
GUM_TONE: Final = 0.58
"""Brightness of tongue and gums against teeth."""
LIFT_CM: Final = 0.1
"""How much higher than average the upper gum begins where nothing is known: gums rarely show."""
DEEP: Final = np.array([0.25, 0.09, 0.085], np.float32)
"""The darkest place of a mouth against teeth: red light that has come through the cheeks, never black or grey."""


@dataclass(frozen=True)
class MouthTones:
    """Colours of one portrait's mouth, sRGB 0..255, fully lit."""

    enamel_3: F32
    red_3: F32
    """Hue of wet red tissue in this light, brightness 1."""
    deep_3: F32
    corner_3: F32
    """Where the lips meet at the corners."""

    def stack(self) -> F32:
        """Enamel, red, deep, corner: [4, 3]."""
        return np.stack([self.enamel_3, self.red_3, self.deep_3, self.corner_3])

    @property
    def bright(self) -> float:
        return float(self.enamel_3 @ LUMA)


def mouth_tones(
    eye_white_3: F32, rgb_HW3: U8, rig: FittedRig, lip_M3: F32, teeth_3: NDArray[Any] | None = None
) -> MouthTones:
    """Measure the light on the eyes' white, the skin and the lips; `teeth_3`: colour of teeth that are seen, lit."""
    soft = cv2.GaussianBlur(rgb_HW3, (0, 0), 0.006 * rig.size).astype(np.float32)
    colours = sample(soft, rig.rest_V3[:, :2])
    skin = float(np.quantile(colours @ LUMA, 0.75))
    eye = max(float(eye_white_3 @ LUMA), 1.0)
    bright = max(TEETH_PER_EYE * eye, TEETH_PER_SKIN * skin)
    bright = min(bright, TEETH_PER_LIP * float(np.quantile(lip_M3 @ LUMA, 0.75)))
    bright = float(np.clip(bright, 60.0, BRIGHTEST))
    # a picture without colour has a grey mouth
    skin_3 = np.median(colours, axis=0)
    skin_hue = skin_3 / max(float(skin_3 @ LUMA), 1.0)
    coloured = float(np.clip(np.ptp(skin_hue) / 0.25, 0.0, 1.0))
    warm = 1 + coloured * (WARM_WHITE - 1)
    by_skin = np.clip(skin_hue / (1 + coloured * (SKIN - 1)), 0.5, 1.3) * warm
    white = EYE_SHARE * (eye_white_3 / eye) + SKIN_SHARE * by_skin + (1 - EYE_SHARE - SKIN_SHARE) * warm
    white[1] = max(white[1], 0.495 * (white[0] + white[2]))  # flushed skin, not light, makes it pink
    white = white / float(white @ LUMA)
    if teeth_3 is not None:
        bright = float(np.clip(teeth_3 @ LUMA, 0.75 * bright, BRIGHTEST))
        white = teeth_3 / float(teeth_3 @ LUMA)
    light = np.sqrt(white / warm)  # red tissue hardly shows a tint of the light
    lip_3 = np.median(lip_M3, axis=0)
    lip_hue = np.clip(lip_3 / max(float(lip_3 @ LUMA), 1.0), [1.1, 0.55, 0.5], [1.65, 0.95, 0.95])
    red = 1 + coloured * (0.75 * RED * light + 0.25 * lip_hue - 1)
    red = red / float(red @ LUMA)
    enamel = np.minimum(white * bright, 248.0)
    deep = bright * (float(DEEP @ LUMA) + coloured * (DEEP * light - float(DEEP @ LUMA)))
    deep[2] = min(deep[2], deep[1])
    count = len(lip_M3)
    near = [k % count for c in (0, count // 2) for k in (c - 2, c - 1, c, c + 1, c + 2)]
    corner = np.maximum(lip_M3[near].mean(0) * np.array([0.62, 0.5, 0.5]), deep)
    return MouthTones(*(np.asarray(c, np.float32) for c in (enamel, red, deep, corner)))


def paint_atlas(tones: MouthTones, lip_M3: F32, lift: float = LIFT_CM) -> F32:
    """All tiles, painted; float32 [160, 320, 3]. lift: cm that the upper gum begins higher than average."""
    atlas = np.zeros((*ATLAS_SIZE, 3), np.float32)
    bright = tones.bright
    gum = tones.red_3 * bright * GUM_TONE
    tongue = tones.red_3 * bright * TONGUE_TONE
    tile(atlas, Part.TEETH_UPPER)[:] = paint_arch(UPPER, tones.enamel_3, gum, lift)
    tile(atlas, Part.TEETH_LOWER)[:] = paint_arch(LOWER, tones.enamel_3 * np.float32(0.97), gum, 0.0)
    v = np.linspace(0, 1, 32, dtype=np.float32)[:, None, None]
    under = np.linspace(0, 1, 32, dtype=np.float32)[None, :, None]
    # the underside is smoother, redder and a little bluish; the back is paler
    hue = np.array([0.04, -0.05, 0.0], np.float32) * under + np.array([-0.02, 0.03, 0.02], np.float32) * v
    tile(atlas, Part.TONGUE)[:] = tongue * (1 + hue)
    wall = tones.red_3 * bright * 0.5
    tile(atlas, Part.CAVITY)[:] = wall + (tones.deep_3 - wall) * v + 0 * under
    tile(atlas, Part.LIP)[:] = paint_lining(lip_M3, tones)
    return np.clip(atlas, 0, 255)


def tile(atlas_HW3: NDArray[Any], part: Part) -> NDArray[Any]:
    """One part's picture, a view."""
    x, y, width, height = TILES[part]
    return atlas_HW3[y : y + height, x : x + width]


def atlas_place(part_P: NDArray[np.uint8], uv_P2: F32) -> F32:
    """Atlas px [P, 2] (x, y) of vertices with these parts and places on them."""
    box = np.array([TILES[Part(p)] for p in range(len(Part))], np.float32)[part_P]
    return np.asarray(box[:, :2] + uv_P2 * (box[:, 2:] - 1), np.float32)


def paint_lining(lip_M3: F32, tones: MouthTones) -> F32:
    """From the lip's own colour towards a wetter, redder one; [32, 161, 3]."""
    _, _, width, height = TILES[Part.LIP]
    ring = np.concatenate([lip_M3, lip_M3[:1]])
    row = cv2.resize(ring[None], (width, 1), interpolation=cv2.INTER_LINEAR)
    wet = row * 0.35 + tones.red_3 * (row @ LUMA)[..., None] * 0.45
    v = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.asarray(row + (wet - row) * np.minimum(v * 1.5, 1.0), np.float32)


def arch_grid(arch: Arch) -> tuple[F32, F32]:
    """Arc length (cm) [1, W] from the middle and height above the biting edge (cm) [H, 1] of a tile's pixels."""
    _, _, width, height = TILES[arch.part]
    along = np.linspace(-arch.half_length, arch.half_length, width)
    above = (1 - np.linspace(0, 1, height)) * STRIP_CM
    return along[None].astype(np.float32), above[:, None].astype(np.float32)


def gum_line(arch: Arch, along: F32) -> F32:
    """Height of the gum's margin above the biting edge, cm."""
    index, t = arch.tooth_at(along.ravel().astype(np.float64))
    height = np.asarray(arch.heights)[index]
    return np.asarray(height * (0.97 - 0.28 * np.abs(t) ** 2.6), np.float32).reshape(along.shape)


def paint_arch(arch: Arch, enamel_3: F32, gum_3: F32, lift: float) -> F32:
    """Crowns with faint gaps between them, under a soft scalloped gum; [H, W, 3]."""
    along, above = arch_grid(arch)
    index, t = arch.tooth_at(along.ravel().astype(np.float64))
    width = np.asarray(arch.widths, np.float32)[index][None]
    height = np.asarray(arch.heights, np.float32)[index][None]
    t = t[None].astype(np.float32)
    share = np.clip(above / (height + lift), 0, 1)
    contact = np.exp(-(((1 - np.abs(t)) * width / 2 / 0.05) ** 2))
    tone = (1 - 0.07 * np.abs(t) ** 3) * (1 - 0.20 * contact * (0.75 + 0.25 * share))
    tone = tone * (1 - 0.05 * np.exp(-((above / 0.07) ** 2)))
    neck = np.array([0.04, 0.08, 0.16], np.float32)  # towards the gum enamel is thin and shows the dentine
    side = np.array([[0, 0, 0], [0.01, 0.015, 0.025], [0.05, 0.075, 0.12], [0.04, 0.06, 0.10]], np.float32)
    crown = enamel_3 * tone[..., None] * (1 - neck * (share**1.5)[..., None]) * (1 - side[np.minimum(index, 3)][None])
    line = gum_line(arch, along) + lift
    pink = gum_3 * (1 - 0.10 * np.exp(-(((above - line) / 0.10) ** 2)))[..., None]
    fold = np.clip((above - line) / 0.9, 0, 1)[..., None]
    pink = pink * (1 - fold * np.array([0.12, 0.22, 0.20], np.float32))
    covered = 1 / (1 + np.exp(-(above - line) / 0.022))
    return np.asarray(crown + (pink - crown) * covered[..., None], np.float32)
