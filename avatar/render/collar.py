"""Where the neck ends and clothes begin: found in the portrait's pixels, column by column below the jaw.

Skin of the neck goes with the head, more at the chin than at the collar; clothes stay with the shoulders. Neck is what
has the face's hue (log ratios of colours, which shade changes little), clothes are what has not. Where no such border
is seen (beard or hair down to the chest, a black-and-white picture, a collar of skin's colour), there is no answer.

Shape suffixes: C columns across the neck, Y rows down from the jaw.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render.images import LUMA, sample
from avatar.rig.types import FittedRig

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

HALF_WIDTH: Final = 0.34
"""Face widths to either side of the chin in which a neck is looked for."""
DEEPEST: Final = 0.95
"""Face widths below the jaw down to which a collar is looked for."""
COLUMNS: Final = 35
ROWS: Final = 96
SMOOTHING: Final = 0.1
"""Face widths over which the line is smoothed."""
CLIMB: Final = 0.1
"""Face widths that the line may rise above its own median."""
AGREEING: Final = 0.4
"""Share of the columns that must show a border."""


def collar_line(person_HW4: U8, rig: FittedRig) -> tuple[F32, F32] | None:
    """The collar as heights along the face's down direction, over positions across; px of the portrait.

    Returns (across_C, down_C), rising in `across`: a point p has the coordinates (p @ across, p @ down) with
    down = `rig.R_source_33[:2, 1]` normalised and across = (down_y, -down_x). None where no collar is seen.
    """
    width = rig.face_width
    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    across = np.array([down[1], -down[0]])
    oval = rig.rest_V3[rig.oval_ring, :2]
    lowest = oval[np.argmax(oval @ down)]
    at_C = lowest @ across + np.linspace(-HALF_WIDTH, HALF_WIDTH, COLUMNS) * width
    jaw_C = _lower_edge(oval @ across, oval @ down, at_C)
    step = DEEPEST * width / ROWS
    at_YC = jaw_C[None] + (np.arange(ROWS)[:, None] + 2.0) * step
    points = at_C[None, :, None] * across + at_YC[..., None] * down
    soft = cv2.GaussianBlur(person_HW4, (0, 0), 0.006 * width).astype(np.float32)
    found = sample(soft, points.reshape(-1, 2)).reshape(ROWS, COLUMNS, 4)
    inside_YC = (points.max(-1) < rig.size) & (points.min(-1) >= 0) & (found[..., 3] > 128)
    skin_YC = np.where(inside_YC, _skin_likeness(found[..., :3], soft, rig), 0.0)

    line, sure = np.zeros(COLUMNS), np.zeros(COLUMNS, bool)
    gain_YC = np.cumsum(skin_YC - 0.5, axis=0)  # of calling everything down to a row neck
    for c in range(COLUMNS):
        row = int(gain_YC[:, c].argmax())
        line[c] = at_YC[row, c]
        above, below = skin_YC[: row + 1, c], skin_YC[row + 1 : row + 1 + ROWS // 6, c]
        seen = inside_YC[row + 1 : row + 1 + ROWS // 6, c]
        if row >= 4 and len(below) > 4 and seen.all():
            sure[c] = above.mean() > 0.6 and below.mean() < min(0.45, above.mean() - 0.4)
    if sure.mean() < AGREEING:
        return None
    # outliers (a pendant, a strand of hair) do not make the line: median, then mean over neighbours
    offset = line - np.interp(at_C, at_C[sure], _running_median(line[sure], 7))
    sure &= np.abs(offset) < 0.15 * width
    if sure.mean() < AGREEING / 2:
        return None
    near = np.exp(-0.5 * ((at_C[:, None] - at_C[None, sure]) / (SMOOTHING * width)) ** 2)
    smooth_C = near @ line[sure] / near.sum(1)
    # hair beside the neck hangs in front of the collar: the line does not climb up along it
    smooth_C = np.maximum(smooth_C, np.median(line[sure]) - CLIMB * width)
    return at_C.astype(np.float32), smooth_C.astype(np.float32)


def _skin_likeness(colour_YC3: F32, soft_HW4: F32, rig: FittedRig) -> F32:
    """0..1: how much colours look like this face's skin, in light or shade."""
    skin = sample(soft_HW4, rig.rest_V3[:, :2])[:, :3]
    bright = skin @ LUMA
    skin = skin[(bright >= np.quantile(bright, 0.3)) & (bright <= np.quantile(bright, 0.9))]
    hue, middle = _hue(skin), np.median(_hue(skin), axis=0)
    spread = np.maximum(1.48 * np.median(np.abs(hue - middle), axis=0), 0.09)
    away = np.abs(_hue(colour_YC3) - middle)
    # shade makes skin redder, never bluer: deviations that way count half
    redder = np.stack([_hue(colour_YC3)[..., 0] > middle[0], _hue(colour_YC3)[..., 1] < middle[1]], -1)
    distance = np.linalg.norm(np.where(redder, 0.5, 1.0) * away / spread, axis=-1)
    level = colour_YC3 @ LUMA / float(np.median(skin @ LUMA))
    dark = np.clip((level - 0.12) / 0.12, 0, 1) * np.clip((1.6 - level) / 0.2, 0, 1)
    return np.asarray(np.clip(1.8 - distance / 1.8, 0, 1) * dark, np.float32)


def _hue(colour: F32) -> F32:
    """log(R / G), log(B / G)."""
    logs = np.log(colour + 6.0)
    return np.stack([logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]], -1)


def _lower_edge(x_J: NDArray[Any], y_J: NDArray[Any], at_C: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lowest point of a closed line in each column; beyond its ends that of the end."""
    out = np.full(len(at_C), -np.inf)
    for a in range(len(x_J)):
        b = (a + 1) % len(x_J)
        (x0, y0), (x1, y1) = sorted([(x_J[a], y_J[a]), (x_J[b], y_J[b])])
        hit = (at_C >= x0) & (at_C <= x1)
        out[hit] = np.maximum(out[hit], y0 + (y1 - y0) * (at_C[hit] - x0) / max(x1 - x0, 1e-6))
    known = np.isfinite(out)
    return np.asarray(np.interp(at_C, at_C[known], out[known]))


def _running_median(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    padded = np.pad(values, span // 2, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, span), axis=-1))
