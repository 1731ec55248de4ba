"""How alike two pictures are: PSNR, SSIM and multi-scale gradient-magnitude similarity, over a mask.

SSIM: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
2004. Gradient magnitude similarity and its deviation: Xue, Zhang, Mou, Bovik, "Gradient magnitude similarity
deviation: a highly efficient perceptual image quality index", 2014; here over three octaves.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.images import LUMA

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

PSNR_MOST: Final = 60.0
"""What equal pictures score, dB."""
_SSIM_SIGMA: Final = 1.5
_SSIM_C: Final = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)
_GMS_C: Final = 170.0
_OCTAVES: Final = 3


def luma(rgb_HW3: NDArray[Any]) -> F32:
    """Brightness 0..255, float32 [..., H, W] (ITU-R BT.601)."""
    return np.asarray(rgb_HW3.astype(np.float32) @ LUMA)


def psnr(first_HW3: NDArray[Any], second_HW3: NDArray[Any], mask_HW: Mask) -> float:
    """Peak signal to noise ratio over the mask, dB; NaN for an empty mask."""
    if not mask_HW.any():
        return float("nan")
    error = np.square(first_HW3[mask_HW].astype(np.float32) - second_HW3[mask_HW].astype(np.float32)).mean()
    return float(min(PSNR_MOST, 10 * np.log10(255.0**2 / max(float(error), 1e-9))))


def ssim(first_HW3: NDArray[Any], second_HW3: NDArray[Any], mask_HW: Mask) -> float:
    """Mean structural similarity of brightness over the mask, -1..1; NaN for an empty mask."""
    if not mask_HW.any():
        return float("nan")
    a, b = luma(first_HW3), luma(second_HW3)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    shared = _blur(a * b) - mean_a * mean_b
    c1, c2 = _SSIM_C
    map_HW = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    map_HW /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(map_HW[mask_HW].mean())


def gradient_deviation(first_HW3: NDArray[Any], second_HW3: NDArray[Any], mask_HW: Mask) -> float:
    """Multi-scale gradient magnitude similarity deviation over the mask: 0 = the same, 0.35 = very different.

    Blind to changes of light, sensitive to blur, seams and lost or invented edges. NaN for an empty mask.
    """
    a, b, mask = luma(first_HW3), luma(second_HW3), mask_HW
    squares = []
    for octave in range(_OCTAVES):
        if octave:
            half = (a.shape[1] // 2, a.shape[0] // 2)
            a, b = (np.asarray(cv2.resize(p, half, interpolation=cv2.INTER_AREA), np.float32) for p in (a, b))
            mask = np.asarray(cv2.resize(mask.astype(np.float32), half, interpolation=cv2.INTER_AREA) > 0.5)
        if not mask.any():
            break
        one, two = _gradient(a), _gradient(b)
        similarity = (2 * one * two + _GMS_C) / (one**2 + two**2 + _GMS_C)
        squares.append(float(np.var(similarity[mask])))
    return float(np.sqrt(np.mean(squares))) if squares else float("nan")


def _blur(picture_HW: F32) -> F32:
    return np.asarray(cv2.GaussianBlur(picture_HW, (11, 11), _SSIM_SIGMA))


def _gradient(picture_HW: F32) -> F32:
    """Prewitt gradient magnitude."""
    kernel = np.array([[1, 0, -1]] * 3, np.float32) / 3
    across = cv2.filter2D(picture_HW, cv2.CV_32F, kernel)
    down = cv2.filter2D(picture_HW, cv2.CV_32F, kernel.T.copy())
    return np.asarray(np.sqrt(across**2 + down**2))
