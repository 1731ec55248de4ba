"""The refiner of the experiment in docs/models/refiner.md: a small network over the mouth of a rendered frame.

It sees the decoder's pixels and where the opening and the lips are, and answers a correction and a mask of where to
apply it, so it can leave everything as it is. Shape suffixes: B pictures, C channels, H x W pixels.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

HEIGHT, WIDTH = 96, 128
"""The crop, px of a frame of 512."""
INPUTS: Final = 5
"""Red, green, blue, the opening, the lips."""
SIDE_FADE: Final = 6
"""px over which the correction fades towards the crop's border."""


class Separable(nn.Module):
    """A residual 3 x 3 convolution, first within, then across channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.within = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.across = nn.Conv2d(channels, channels, 1)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        out: Tensor = features_BCHW + torch.relu(self.across(self.within(features_BCHW)))
        return out


class Refiner(nn.Module):
    """Half resolution, one more level below it, and back: about 0.05 GMAC a crop."""

    def __init__(self, width: int = 24, deep: int = 40) -> None:
        super().__init__()
        self.enter = nn.Conv2d(4 * INPUTS, width, 3, padding=1)
        self.first = nn.Sequential(Separable(width), Separable(width))
        self.down = nn.Conv2d(width, deep, 2, stride=2)
        self.middle = nn.Sequential(Separable(deep), Separable(deep), Separable(deep))
        self.up = nn.Conv2d(deep, 4 * width, 1)
        self.last = nn.Sequential(Separable(width), Separable(width))
        self.leave = nn.Conv2d(width, 4 * 4, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        with torch.no_grad():
            bias = self.leave.bias
            assert bias is not None
            bias.zero_()
            bias[3 * 4 :] = 2.0  # the mask starts open: shut, it would pass no gradient
        fade = torch.ones(HEIGHT, WIDTH)
        for axis, length in ((0, HEIGHT), (1, WIDTH)):
            ramp = torch.arange(length, dtype=torch.float32)
            ramp = torch.minimum(ramp, length - 1 - ramp).div(SIDE_FADE).clamp(0, 1)
            fade = fade * (ramp[:, None] if axis == 0 else ramp[None])
        self.register_buffer("fade", fade)

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """crop: 0..1, INPUTS channels; returns the corrected colours [B, 3, HEIGHT, WIDTH]."""
        near = torch.relu(self.enter(nn.functional.pixel_unshuffle(crop_BCHW, 2)))
        near = self.first(near)
        far = self.middle(torch.relu(self.down(near)))
        near = self.last(near + nn.functional.pixel_shuffle(self.up(far), 2))
        out = nn.functional.pixel_shuffle(self.leave(near), 2)
        change, mask = out[:, :3], torch.sigmoid(out[:, 3:])
        fade = self.fade
        assert isinstance(fade, Tensor)
        return crop_BCHW[:, :3] + change * mask * fade


def multiply_adds() -> int:
    """Of one crop."""
    total = 0
    sizes = {"down": 4, "middle": 4, "up": 4}
    for name, module in Refiner().named_modules():
        if isinstance(module, nn.Conv2d):
            pixels = HEIGHT * WIDTH // 4 // sizes.get(name.split(".")[0], 1)
            total += pixels * module.weight.numel()
    return total


def place(lips_N2: F32, size: int) -> tuple[int, int]:
    """Top row and left column of the crop around the lips' outline, px."""
    middle = np.rint((lips_N2.min(0) + lips_N2.max(0)) / 2).astype(int)
    return (
        int(np.clip(middle[1] - HEIGHT // 2, 0, size - HEIGHT)),
        int(np.clip(middle[0] - WIDTH // 2, 0, size - WIDTH)),
    )


def crop_of(picture_HW3: U8, opening_N2: F32, lips_N2: F32, at: tuple[int, int]) -> U8:
    """What the network sees, uint8 [HEIGHT, WIDTH, INPUTS]."""
    top, left = at
    out = np.zeros((HEIGHT, WIDTH, INPUTS), np.uint8)
    out[..., :3] = picture_HW3[top : top + HEIGHT, left : left + WIDTH]
    for channel, ring in ((3, opening_N2), (4, lips_N2)):
        plane = np.zeros((HEIGHT, WIDTH), np.uint8)
        points = np.rint((ring - np.array([left, top])) * 16).astype(np.int32)
        cv2.fillPoly(plane, [points], 255, cv2.LINE_AA, 4)
        out[..., channel] = plane
    return out


def refined(net: nn.Module, picture_HW3: U8, opening_N2: F32, lips_N2: F32) -> U8:
    """A frame of 512 px with its mouth corrected."""
    top, left = place(lips_N2, picture_HW3.shape[0])
    crop = crop_of(picture_HW3, opening_N2, lips_N2, (top, left))
    with torch.inference_mode():
        out = net(torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255)[0]
    picture = picture_HW3.copy()
    corrected = (out.permute(1, 2, 0).numpy() * 255 + 0.5).clip(0, 255)
    picture[top : top + HEIGHT, left : left + WIDTH] = corrected.astype(np.uint8)
    return picture
