"""What a frame looks like from outside: its size, its framing, and what stands behind the person.

Frames are drawn in a square of `size` px, the identity's own framing; 9:16 is its middle, centred on the face.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.errors import AvatarError, PortraitError
from avatar.portrait.image import load_image

U8 = NDArray[np.uint8]

SIZES: Final = (128, 1024)
"""Smallest and largest height of a frame, px."""
PORTRAIT_SHAPE: Final = (9, 16)
_COLOUR: Final = re.compile(r"#([0-9a-fA-F]{6})")


class Framing(StrEnum):
    """The frame's shape."""

    SQUARE = "square"
    PORTRAIT = "portrait"
    """9:16, for kiosk screens that stand upright."""


@dataclass(frozen=True, eq=False)
class Background:
    """What stands behind the person.

    kind: 'photo' (the portrait's own, continued behind the person), 'transparent', 'colour' or 'picture'.
    rgb_HW3: the colour as one pixel, or the picture; None for the other two.
    """

    kind: str
    rgb_HW3: U8 | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Background) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    @property
    def _content(self) -> tuple[object, ...]:
        rgb = self.rgb_HW3
        return (self.kind,) if rgb is None else (self.kind, rgb.shape, rgb.tobytes())


PHOTO: Final = Background("photo")


@dataclass(frozen=True)
class FrameFormat:
    """Shape of the frames of one decoder.

    size: height, px, SIZES. Frames are uint8 [height, width, channels]: RGB, or RGB and straight opacity where the
    background is transparent. ValueError for a size out of range or one of which 9/16 is no whole even number.
    """

    size: int = 512
    framing: Framing = Framing.SQUARE
    background: Background = PHOTO

    def __post_init__(self) -> None:
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise ValueError(f"The frame size must be between {SIZES[0]} and {SIZES[1]} px, not {self.size}.")
        if self.framing is Framing.PORTRAIT and self.size % 32:
            raise ValueError(f"9:16 frames need a height that is a multiple of 32 px, not {self.size}.")

    @property
    def width(self) -> int:
        """px."""
        across, down = PORTRAIT_SHAPE
        return self.size * across // down if self.framing is Framing.PORTRAIT else self.size

    @property
    def transparent(self) -> bool:
        """Frames have a fourth channel, opacity."""
        return self.background.kind == "transparent"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one frame."""
        return self.size, self.width, 4 if self.transparent else 3

    def buffer(self, out: U8 | None = None) -> U8:
        """Memory for one frame: `out`, or new; ValueError when `out` has another shape."""
        if out is None:
            return np.empty(self.shape, np.uint8)
        if out.shape != self.shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"`out` must be contiguous uint8 {list(self.shape)}.")
        return out

    def left(self, face_x: float) -> int:
        """First column of the square that is shown; face_x: the face's middle, px of the square."""
        return int(np.clip(round(face_x - self.width / 2), 0, self.size - self.width))

    def plate(self, own_SS3: U8, left: int) -> U8:
        """The still picture behind the person, [size, size, 3], only columns left..left + width of it are shown.

        own_SS3: the portrait's own background. Black where the background is transparent.
        """
        rgb = self.background.rgb_HW3
        if rgb is None:
            return np.zeros_like(own_SS3) if self.transparent else own_SS3
        plate = np.zeros_like(own_SS3)
        plate[:, left : left + self.width] = cover(rgb, self.width, self.size)
        return plate


def parse_background(text: str) -> Background:
    """'photo', 'transparent', a colour '#rrggbb', or an image file that then fills the frame.

    AvatarError `bad_background` for a word that is none of these; PortraitError for a picture that cannot be read.
    """
    word = text.strip().lower()
    if word in ("photo", "transparent"):
        return Background(word)
    match = _COLOUR.fullmatch(word)
    if match:
        return Background("colour", np.frombuffer(bytes.fromhex(match[1]), np.uint8).reshape(1, 1, 3).copy())
    path = Path(text).expanduser()
    if not path.is_file():
        raise AvatarError(
            "bad_background",
            f"There is no background '{text}'.",
            "Use photo, transparent, a colour such as #e8eef4, or an image file.",
        )
    try:
        rgb_HW3 = load_image(path).rgb_HW3
    except PortraitError as error:
        raise AvatarError(error.code, f"The background cannot be used: {error.message}", error.hint) from error
    scale = SIZES[1] / min(rgb_HW3.shape[:2])
    if scale < 1.0:  # no frame needs more
        rgb_HW3 = cover(rgb_HW3, *(min(round(side * scale), 2 * SIZES[1]) for side in rgb_HW3.shape[1::-1]))
    return Background("picture", rgb_HW3)


def cover(rgb_HW3: U8, width: int, height: int) -> U8:
    """The middle of a picture, as much as fits the shape, at this size."""
    scale = max(width / rgb_HW3.shape[1], height / rgb_HW3.shape[0])
    # cut first: what will not be seen may be very long
    across = min(max(1, round(width / scale)), rgb_HW3.shape[1])
    down = min(max(1, round(height / scale)), rgb_HW3.shape[0])
    x, y = (rgb_HW3.shape[1] - across) // 2, (rgb_HW3.shape[0] - down) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    part = np.ascontiguousarray(rgb_HW3[y : y + down, x : x + across])
    return np.asarray(cv2.resize(part, (width, height), interpolation=method), np.uint8)
