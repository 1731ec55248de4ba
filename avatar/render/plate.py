"""The still background behind the person, continued to where the person uncovers it.

Blurred backgrounds are continued smoothly along their edges (Bertalmio, Bertozzi, Sapiro: Navier-Stokes, Fluid
Dynamics, and Image and Video Inpainting, CVPR 2001, at half resolution), textured ones with patches of themselves
(`patches.py`), each where the picture around is so. Smooth fills get the picture's grain.
docs/face/head.md has the comparison.

Shape suffixes: H x W frame pixels.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.images import fill
from avatar.render.patches import continue_texture

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
B = NDArray[np.bool_]

MARGIN: Final = 0.01
"""Frame sides around the matte that are not trusted: hair that the matte missed would stay behind as a ghost."""
PLAIN: Final = 0.8
"""Levels of such detail below which a background has none, so that what fine detail there is must be hair."""
STRAND_REACH: Final = 0.08
"""Frame sides from the matte within which loose hair is looked for."""
REACH: Final = 0.16
"""Frame sides that a motion can uncover at most; deeper inside the fill need not be sharp."""
ROUGH: Final = (1.5, 2.6)
"""Levels (0..255) of detail of about 2 px below which a background counts as smooth, above which as textured."""
UNEXPLAINED: Final = 0.3
"""Share of the background's variance that may be left when it counts as a mere gradient (half of it: entirely)."""
GRAIN: Final = (0.8, 1.6, 3.2)
"""px: the bands of the picture's noise."""
MOST_GRAIN: Final = 5.0
"""Standard deviation, levels."""
CUT_OUT: Final = 128
"""Grey that the loader puts behind cut-out portraits (`portrait/image.py`)."""
STUDIO: Final = ((214, 218, 222), (150, 158, 166))
"""Backdrop of cut-out portraits: colour behind the head, and in the corners."""


def background_plate(rgb_HW3: U8, matte_HW: F32, unseen_HW: B | None = None) -> U8:
    """The background without the person; uint8 [H, W, 3]. What is surely background stays as it is.

    rgb_HW3: the framed portrait; matte_HW: 0..1 person; unseen_HW: where the picture shows neither. A cut-out
    (nothing but the loader's grey around the person) gets a plain studio backdrop.
    """
    known = surely_background(matte_HW if unseen_HW is None else np.maximum(matte_HW, unseen_HW))
    if not known.any() or (np.abs(rgb_HW3[known].astype(np.int16) - CUT_OUT) <= 1).all():
        return studio(rgb_HW3.shape[0])
    return continued(rgb_HW3, known)


def surely_background(matte_HW: F32) -> B:
    """Pixels that show nothing of the person; bool [H, W]."""
    margin = max(1, round(MARGIN * matte_HW.shape[0]))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return np.asarray(cv2.dilate((matte_HW > 0.02).astype(np.uint8), disc) == 0)


def continued(rgb_HW3: U8, known_HW: B) -> U8:
    """The picture with the unknown filled from the known; uint8 [H, W, 3]."""
    rgb = rgb_HW3.astype(np.float32)
    reach = max(8, round(REACH * rgb.shape[0]))
    rough = roughness(rgb, known_HW)
    known_HW = known_HW & ~strands(rgb, known_HW, rough)
    textured = np.clip((rough - ROUGH[0]) / (ROUGH[1] - ROUGH[0]), 0, 1)[..., None]
    textured = textured * textured * (3 - 2 * textured)
    smooth = _along_edges(rgb_HW3, known_HW, reach)
    patched = continue_texture(rgb, known_HW, reach)
    grainy = smooth + grain(rgb, known_HW)
    filled = grainy + textured * (patched - grainy)
    return np.asarray(np.where(known_HW[..., None], rgb_HW3, np.clip(np.rint(filled), 0, 255)), np.uint8)


def strands(rgb_HW3: F32, known_HW: B, rough_HW: F32) -> B:
    """Loose hair that the matte missed: fine detail beside the person, where the background has none; bool [H, W]."""
    fine = np.abs(rgb_HW3 - cv2.GaussianBlur(rgb_HW3, (0, 0), 3.0)).mean(-1)
    if not known_HW.any():
        return np.zeros_like(known_HW)
    limit = 4.0 * float(np.median(fine[known_HW])) + 2.0
    near = cv2.distanceTransform(known_HW.astype(np.uint8), cv2.DIST_L2, 3) < STRAND_REACH * rgb_HW3.shape[0]
    hair = known_HW & near & (fine > limit) & (rough_HW < PLAIN)
    return np.asarray(cv2.dilate(hair.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0)


def roughness(rgb_HW3: F32, known_HW: B) -> F32:
    """Levels of detail of about 2 px in the background around each pixel, continued over the unknown; [H, W]."""
    side = rgb_HW3.shape[0]
    filled = fill(rgb_HW3, known_HW.astype(np.float32))
    detail = np.abs(cv2.GaussianBlur(filled, (0, 0), 2.0) - cv2.GaussianBlur(filled, (0, 0), 4.0)).mean(-1)
    detail = np.minimum(detail, 2 * ROUGH[1])  # one strong edge is no texture
    inside = cv2.erode(known_HW.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(np.float32)
    sigma = 0.05 * side
    weight = cv2.GaussianBlur(inside, (0, 0), sigma)
    local = cv2.GaussianBlur(detail * inside, (0, 0), sigma) / np.maximum(weight, 1e-4)
    local = fill(local[..., None], (weight > 0.02).astype(np.float32))[..., 0]
    return np.asarray(local, np.float32)


def grain(rgb_HW3: F32, known_HW: B) -> F32:
    """Noise like that of the picture's smooth parts, so that fills do not look airbrushed; float32 [H, W, 3]."""
    inside = cv2.erode(known_HW.astype(np.uint8), np.ones((11, 11), np.uint8)) > 0
    out = np.zeros_like(rgb_HW3)
    if not inside.any():
        return out
    noise = np.random.default_rng(7).normal(size=rgb_HW3.shape).astype(np.float32)
    for sigma in GRAIN:  # from fine to coarse, band by band
        blurred = np.asarray(cv2.GaussianBlur(rgb_HW3, (0, 0), sigma), np.float32)
        coarser = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma), np.float32)
        band, dots = (rgb_HW3 - blurred)[inside], noise - coarser
        strength = np.abs(band).mean(-1)
        band = band[strength <= np.median(strength)].astype(np.float64)  # edges are no grain
        covariance = band.T @ band / len(band)
        # channels of a tinted black-and-white picture depend on each other: the ridge must outweigh rounding
        covariance += (1e-4 * float(np.trace(covariance)) / 3 + 1e-6) * np.eye(3)
        covariance *= min(1.0, MOST_GRAIN**2 / float(np.trace(covariance) / 3))
        out += (dots / dots.std() @ np.linalg.cholesky(covariance).T).astype(np.float32)
        rgb_HW3, noise = blurred, coarser
    return out


def _along_edges(rgb_HW3: U8, known_HW: B, reach: int) -> F32:
    """Smooth continuation: Navier-Stokes near the known, pyramid interpolation farther in; float32 [H, W, 3]."""
    height, width = known_HW.shape
    half = (width // 2, height // 2)
    small_known = cv2.resize(known_HW.astype(np.float32), half, interpolation=cv2.INTER_AREA) > 0.99
    share = known_HW.astype(np.float32)[..., None]
    small = cv2.resize(rgb_HW3 * share, half, interpolation=cv2.INTER_AREA)
    small = small / np.maximum(cv2.resize(share, half, interpolation=cv2.INTER_AREA), 1e-3)[..., None]
    trend = _trend(small.astype(np.float32), small_known)  # long gradients go on as they are; the rest is filled
    small = small - trend
    away = cv2.distanceTransform((~small_known).astype(np.uint8), cv2.DIST_L2, 3)
    rough = fill(small, small_known.astype(np.float32))
    # without grain, which would be drawn out into streaks
    weight = cv2.GaussianBlur(small_known.astype(np.float32), (0, 0), 1.5)
    soft = cv2.GaussianBlur(small * small_known[..., None], (0, 0), 1.5) / np.maximum(weight, 1e-3)[..., None]
    start = np.where(small_known[..., None], soft, rough) / 2 + 128
    near = (~small_known & (away <= reach / 2)).astype(np.uint8)
    start = np.clip(np.rint(start), 0, 255).astype(np.uint8)
    lined = np.asarray(cv2.inpaint(start, near, 5, cv2.INPAINT_NS), np.float32) * 2 - 256
    # its streaks grow uncertain with depth: they fade into the interpolation
    fade = np.clip(away / (reach / 2) * 1.5 - 0.5, 0, 1)[..., None]
    both = lined + fade * (rough - lined)
    both = cv2.GaussianBlur(both, (0, 0), 1.0) * ~small_known[..., None] + small * small_known[..., None] + trend
    return np.asarray(cv2.resize(both.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _trend(picture_HW3: F32, known_HW: B) -> F32:
    """The quadratic surface closest to the known, inside its range, as far as it explains it; float32 [H, W, 3]."""
    height, width = known_HW.shape
    y, x = (np.mgrid[:height, :width] / max(height, width) - 0.5).astype(np.float32)
    design = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    known, at = picture_HW3[known_HW][::7], design[known_HW][::7]
    if len(known) < 50:
        return np.zeros_like(picture_HW3)
    solution = np.linalg.lstsq(at, known, rcond=None)[0]
    left = float(((known - at @ solution) ** 2).sum() / max(float(((known - known.mean(0)) ** 2).sum()), 1.0))
    trust = np.clip((UNEXPLAINED - left) / (0.5 * UNEXPLAINED), 0, 1)
    surface = np.clip(design @ solution, *np.quantile(known, (0.01, 0.99), axis=0))
    return np.asarray(trust * surface, np.float32)


def studio(side: int) -> U8:
    """A plain backdrop, lighter behind the head; uint8 [side, side, 3]."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / max(side - 1, 1) - np.array([0.42, 0.5])[:, None, None]
    out = np.clip(np.hypot(x, y) / 0.75, 0, 1)[..., None]
    light, dark = (np.array(colour, np.float32) for colour in STUDIO)
    noise = np.random.default_rng(7).uniform(-0.5, 0.5, (side, side, 1))  # against banding
    shade = light + (dark - light) * out * out * (3 - 2 * out) + noise
    return np.asarray(np.clip(np.rint(shade), 0, 255), np.uint8)
