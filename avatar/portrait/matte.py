"""The person in the framed portrait: MediaPipe's selfie segmentation, sharpened along the picture's own edges.

The network answers at 256 x 256. Its answer for the picture and for its mirror image are averaged, then refined at
full size by a colour guided filter (He, Sun, Tang: Guided Image Filtering, TPAMI 2013), which bends the soft border
onto hair and collar. In a band along that border closed-form matting (`matting.py`) then finds single strands.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.portrait.landmarks import FACE_OVAL
from avatar.portrait.matting import PRIOR, refine_opacity
from avatar.portrait.models import Model

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

RADIUS_SHARE: Final = 1 / 64
"""Guided filter window radius / picture side."""
_EPSILON: Final = 2e-4
_SURE_FACE: Final = 0.85
_SOLID: Final = (0.12, 0.88)
"""Certainty below and above which a pixel is wholly background or wholly person."""

BAND_SHARE: Final = 0.02
"""Half width of the band in which opacity is solved for / picture side."""
LEAST_CUT: Final = 0.1
"""Share of the frame that a cut-out's transparency clears at least; rounded corners clear less."""
LEAST_AGREED: Final = 0.8
"""Opaque and person, over opaque or person: a cut-out has about 0.97, a round crop of a photo 0.75 or less."""
_CLEAN: Final = (0.04, 0.96)
"""The solved opacity's haze below and above which it is rounded to nothing and all."""


def person_matte(model: Model, rgb_HW3: U8, landmarks_N3: F32, alpha_HW: U8 | None = None) -> F32:
    """float32 [H, W] 0..1, 1 = the person whose landmarks are given.

    alpha_HW: the picture's own transparency, framed alike; where a picture comes cut out, that is the truth. Where it
    does not (rounded corners, a round crop, a watermark), it is ignored.
    """
    face = _face_mask(landmarks_N3, rgb_HW3.shape[:2])
    first = _one_person(np.maximum(_refined(_coarse(model, rgb_HW3), rgb_HW3), face), face)
    if alpha_HW is not None:
        opacity_HW = np.asarray(alpha_HW.astype(np.float32) / 255.0, np.float32)
        if _is_cut_out(opacity_HW, first):
            return opacity_HW
    # where the network is of two minds it has the less to say
    prior = np.asarray(PRIOR * (0.1 + 0.9 * np.square(2 * first - 1)), np.float32)
    solved = refine_opacity(rgb_HW3, first, _unsure(first) & (face < 0.5), prior)
    low, high = _CLEAN
    return _one_person(np.asarray(np.clip((solved - low) / (high - low), 0, 1), np.float32), face)


def _is_cut_out(opacity_HW: F32, person_HW: F32) -> bool:
    """Whether transparency was drawn around the person that the network sees, roughly."""
    both, either = np.minimum(opacity_HW, person_HW).sum(), np.maximum(opacity_HW, person_HW).sum()
    return bool((opacity_HW < 0.5).mean() >= LEAST_CUT and both >= LEAST_AGREED * either)


def _unsure(matte_HW: F32) -> NDArray[np.bool_]:
    """The band around the outline and around all that is half and half."""
    soft = ((matte_HW > 0.05) & (matte_HW < 0.95)).astype(np.uint8)
    edge = cv2.morphologyEx((matte_HW > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    reach = max(2, round(BAND_SHARE * matte_HW.shape[0]))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(np.maximum(soft, edge), disc) > 0)


def _coarse(model: Model, rgb_HW3: U8) -> F32:
    small = cv2.resize(rgb_HW3, (model.side, model.side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    straight = model(small)[0].reshape(model.side, model.side)
    mirrored = model(small[:, ::-1])[0].reshape(model.side, model.side)[:, ::-1]
    mean = (straight + mirrored) / 2
    height, width = rgb_HW3.shape[:2]
    return np.asarray(cv2.resize(mean, (width, height), interpolation=cv2.INTER_CUBIC), np.float32).clip(0, 1)


def _refined(coarse_HW: F32, rgb_HW3: U8) -> F32:
    radius = max(2, round(rgb_HW3.shape[0] * RADIUS_SHARE))
    guide_HW3 = rgb_HW3.astype(np.float32) / 255.0
    refined = guided_filter(guide_HW3, coarse_HW, radius, _EPSILON)
    low, high = _SOLID
    return np.asarray(np.clip((refined - low) / (high - low), 0, 1), np.float32)


def guided_filter(guide_HW3: F32, source_HW: F32, radius: int, epsilon: float) -> F32:
    """Edge-preserving smoothing of `source` along the colours of `guide`, both 0..1; window 2 * radius + 1 px."""
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(values, window, borderType=cv2.BORDER_REFLECT), np.float32)

    mean_HW3, mean_HW = mean(guide_HW3), mean(source_HW)
    # covariance of guide and source, and the guide's own (symmetric) covariance matrix, window by window
    r, g, b = np.moveaxis(mean(guide_HW3 * source_HW[..., None]) - mean_HW3 * mean_HW[..., None], -1, 0)
    products = mean(np.stack([guide_HW3[..., i] * guide_HW3[..., j] for i, j in _PAIRS], -1).astype(np.float32))
    own = [products[..., k] - mean_HW3[..., i] * mean_HW3[..., j] for k, (i, j) in enumerate(_PAIRS)]
    rr, gg, bb = (variance + epsilon for variance in own[:3])
    rg, rb, gb = own[3:]
    # Cramer's rule for the 3 x 3 system
    c_rr, c_rg, c_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = rr * c_rr + rg * c_rg + rb * c_rb
    a_HW3 = (
        np.stack(
            [c_rr * r + c_rg * g + c_rb * b, c_rg * r + c_gg * g + c_gb * b, c_rb * r + c_gb * g + c_bb * b], axis=-1
        )
        / np.maximum(determinant, epsilon**3)[..., None]
    ).astype(np.float32)
    b_HW = mean_HW - (a_HW3 * mean_HW3).sum(-1)
    return np.asarray((mean(a_HW3) * guide_HW3).sum(-1) + mean(b_HW), np.float32)


_PAIRS: Final = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Channel pairs: the diagonal of the covariance matrix, then the rest."""


def _face_mask(landmarks_N3: F32, shape: tuple[int, ...]) -> F32:
    """Where there is face for sure: the oval, a little smaller (its rim may lie on the background)."""
    mask = np.zeros(shape[:2], np.float32)
    oval = landmarks_N3[list(FACE_OVAL), :2]
    middle = oval.mean(0)
    inner = middle + _SURE_FACE * (oval - middle)
    cv2.fillPoly(mask, [np.rint(inner * 16).astype(np.int32)], 1.0, cv2.LINE_AA, shift=4)
    return mask


def _one_person(matte_HW: F32, face_HW: F32) -> F32:
    """Keep what hangs together with the face, and close the holes inside it."""
    count, labels = cv2.connectedComponents((matte_HW > 0.3).astype(np.uint8))
    if count > 1:
        own = np.unique(labels[face_HW > 0.5])
        near = cv2.dilate(np.isin(labels, own[own > 0]).astype(np.uint8), np.ones((5, 5), np.uint8))
        matte_HW = np.where(near > 0, matte_HW, 0).astype(np.float32)
    _, holes, stats, _ = cv2.connectedComponentsWithStats((matte_HW < 0.5).astype(np.uint8))
    largest = 0.002 * matte_HW.size
    height, width = matte_HW.shape
    for label, (x, y, w, h, area) in enumerate(stats):
        inside = x > 0 and y > 0 and x + w < width and y + h < height
        if label and inside and area < largest:
            matte_HW = np.where(holes == label, 1.0, matte_HW).astype(np.float32)
    return matte_HW
