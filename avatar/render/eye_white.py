"""The white of an eye as a surface that goes on behind iris and lids: a smooth fit, and what the picture shows of it.

The picture shows two small wedges of white, partly lashes, lid and reflections. A fit of few numbers (level, slope,
fall towards the corners) says what white is like everywhere; the picture's own pixels are laid over it where they can
be trusted. At the nose the white ends in the caruncle, which is skin-coloured and has no iris in front of it.

Shape suffixes: S side of an eye picture (px of the framed portrait).
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.images import LUMA

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

FALL: Final = -0.22
"""How much darker than its middle the white is at a corner of the lids, when the picture does not say."""
FIT_RADII: Final = 1.22
"""Iris radii from its middle where white is surely white."""
KEEP_RADII: Final = (1.10, 1.30)
"""Iris radii over which the picture's own white fades in."""
LEAST: Final = 0.4
"""Darkest white / tone."""
LIKE_WHITE: Final = 0.5
"""From here on (0 the skin's hue, 1 the white's) a colour counts as white, however shaded."""
CARUNCLE: Final = np.array([0.92, 0.66, 0.60], np.float32)
"""Colour of the caruncle / tone of the white."""
CARUNCLE_REACH: Final = 0.42
"""Iris radii from the inner corner to where it has faded to a quarter."""
DARKEST: Final = 0.65
"""Least brightness of the lit white / the skin around the eye."""
TOO_DARK: Final = (60.0, 85.0)
"""Levels (0..255) of what was seen: not to be believed below, to be believed above. It was lashes, or iris in a deep
shade; unless the skin around is darker still."""
SHADED: Final = 1.35
"""Brightness of the white / the skin around the eye that is put instead."""
LIKE_SKIN: Final = 0.25
"""How much of the skin's hue that white has: the lamp's and the skin's reflections."""
PLAIN: Final = (196.0, 190.0, 184.0)
"""White of an eye of which nothing is seen."""


def eye_tone(patch_SS3: F32, seen_SS: Mask, open_SS: Mask) -> tuple[F32, float]:
    """Colour of the lit white, float32 [3]: mean of the brighter half of what is seen; and the number of px seen.

    open_SS: inside the lids. Never darker than `DARKEST` of the skin around: then lashes or iris were seen. What is
    nearly black beside lighter skin becomes a plain white in the same light as the skin.
    """
    count = int(seen_SS.sum())
    if count < 6:
        tone, count = np.array(PLAIN, np.float32), 0
    else:
        luma = patch_SS3[seen_SS] @ LUMA
        tone = patch_SS3[seen_SS][luma >= np.quantile(luma, 0.5)].mean(0).astype(np.float32)
    skin = _skin_around(open_SS)
    colour = np.median(patch_SS3[skin], 0) if skin.any() else np.zeros(3)
    around = max(float(colour @ LUMA), 1.0)
    level = float(tone @ LUMA)
    black = np.clip((TOO_DARK[1] - level) / (TOO_DARK[1] - TOO_DARK[0]), 0.0, 1.0)
    doubt = float(black * np.clip((1.0 - level / around) / 0.2, 0.0, 1.0))
    tone = tone + max(DARKEST * around - level, 0.0)
    plain = np.array(PLAIN) + LIKE_SKIN * (colour * (float(np.array(PLAIN) @ LUMA) / around) - np.array(PLAIN))
    plain *= min(SHADED * around / float(plain @ LUMA), 1.2)
    return (tone + doubt * (plain - tone)).astype(np.float32), float(count)


def _skin_around(open_SS: Mask) -> Mask:
    """A band around the lids, not quite at their edges."""
    reach = max(1, round(0.12 * len(open_SS)))
    around, near = (
        cv2.dilate(open_SS.astype(np.uint8), np.ones((width, width), np.uint8)) > 0
        for width in (2 * reach + 1, reach + 1)
    )
    return np.asarray(around & ~near)


def complete_white(
    patch_SS3: F32, clear_SS: Mask, open_SS: Mask, distance_SS: F32, tone_3: F32, nasal_2: NDArray[Any],
    middle_2: NDArray[Any], radius: float, half_width: float,
) -> F32:  # fmt: skip
    """The white all over the patch, float32 [S, S, 3].

    clear_SS: inside the lids, away from lashes; open_SS: inside the lids; distance_SS: from the iris' middle, in its
    radii; nasal_2: the corner at the nose; middle_2, half_width: of the lids' opening. All in px of the patch.
    """
    side = len(patch_SS3)
    yy, xx = np.mgrid[:side, :side].astype(np.float32)
    luma = patch_SS3 @ LUMA
    level = float(tone_3 @ LUMA)
    to_nose = np.hypot(xx - nasal_2[0], yy - nasal_2[1]) / radius
    white = _like_white(patch_SS3, open_SS, tone_3)
    sure = clear_SS & (distance_SS > FIT_RADII) & (to_nose > 0.6) & white & (luma > 0.35 * level)
    surface = _fit(patch_SS3, sure, tone_3, (xx - middle_2[0]) / half_width)
    pink = np.exp(-np.log(4.0) * (to_nose / CARUNCLE_REACH) ** 2)[..., None]
    surface = surface + (CARUNCLE * surface - surface) * pink

    # the picture's own pixels, unless they look like lashes, lid or glare beside the surface
    around = surface @ LUMA
    trusted = (clear_SS & white) | (open_SS & (to_nose < 0.55))
    trusted &= (luma > 0.6 * around) & (luma < 1.3 * around + 8.0)
    fade = np.clip((distance_SS - KEEP_RADII[0]) / (KEEP_RADII[1] - KEEP_RADII[0]), 0.0, 1.0)
    keep = cv2.GaussianBlur(cv2.erode(trusted.astype(np.float32), np.ones((2, 2), np.uint8)), (0, 0), 0.8)
    keep = (keep * fade * trusted)[..., None]
    return np.asarray(np.clip(surface + (patch_SS3 - surface) * keep, 0.0, 255.0), np.float32)


def _like_white(patch_SS3: F32, open_SS: Mask, tone_3: F32) -> Mask:
    """Which px have the white's hue rather than the skin's around the eye; by brightness, where the two do
    not differ."""
    hue = (patch_SS3[..., 0] - patch_SS3[..., 2]) / np.maximum(patch_SS3.sum(-1), 30.0)
    skin = _skin_around(open_SS)
    white_hue = float(tone_3[0] - tone_3[2]) / max(float(tone_3.sum()), 30.0)
    skin_hue = float(np.median(hue[skin])) if skin.any() else white_hue
    if skin_hue - white_hue < 0.03:
        return np.asarray(patch_SS3 @ LUMA > 0.6 * float(tone_3 @ LUMA))
    return np.asarray((skin_hue - hue) / (skin_hue - white_hue) > LIKE_WHITE)


def _fit(patch_SS3: F32, sure_SS: Mask, tone_3: F32, across_SS: NDArray[Any]) -> F32:
    """Colour as tone * (a + b x + c x^2), a per channel, by two rounds of ridge regression without outliers."""
    x_N = across_SS[sure_SS]
    share_N3 = patch_SS3[sure_SS] / np.maximum(tone_3, 1.0)
    prior = np.array([0.97, 0.0, FALL])
    stiff = np.diag([6.0, 12.0, 24.0])
    numbers = np.repeat(prior[:, None], 3, 1)
    weight_N = np.ones(len(x_N))
    for _ in range(2):
        design = np.stack([np.ones_like(x_N), x_N, x_N**2], 1)
        left = design.T @ (design * weight_N[:, None]) + stiff
        numbers = np.linalg.solve(left, design.T @ (share_N3 * weight_N[:, None]) + stiff @ prior[:, None])
        off = np.abs(share_N3 - design @ numbers).max(1)
        weight_N = 1.0 / (1.0 + (off / 0.12) ** 2)
    x = np.clip(across_SS, -1.3, 1.3)
    share = numbers[0] + x[..., None] * numbers[1] + (x**2)[..., None] * numbers[2]
    return np.asarray(tone_3 * np.clip(share, LEAST, 1.06), np.float32)
