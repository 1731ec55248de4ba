"""Pictures for the portrait tests: NASA's astronaut portrait (public domain, from scikit-image) in many disguises."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from avatar.portrait.image import PortraitImage

U8 = NDArray[np.uint8]


@cache
def astronaut() -> U8:
    """uint8 RGB [512, 512, 3]; one face, 108 px tall, around (225, 122)."""
    return np.ascontiguousarray(data.astronaut())


def portrait(rgb_HW3: U8) -> PortraitImage:
    return PortraitImage(np.ascontiguousarray(rgb_HW3))


def encoded(rgb: U8 | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image = rgb if isinstance(rgb, Image.Image) else Image.fromarray(rgb)
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def placed(
    scale: float, left: float, top: float, width: int = 640, height: int = 560
) -> tuple[U8, NDArray[np.float64]]:
    """The astronaut's head scaled and put somewhere on a wider picture; and the affine [2, 3] original -> new px."""
    M_23 = np.array([[scale, 0.0, left], [0.0, scale, top]])
    source = astronaut()
    if scale < 1:
        source = cv2.GaussianBlur(source, (0, 0), 0.4 / scale)
    moved = cv2.warpAffine(source, M_23, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8), M_23
