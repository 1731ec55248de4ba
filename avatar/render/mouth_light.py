"""How much light a point inside the mouth gets, told by the opening of the lips alone.

Seen from the point, the share of the opening's height in its own pixel column that remains, less sharply the deeper
the point lies; light comes from above, so the upper lip throws the shadow. One formula for frames (mouth.py) and for
taking the light off a portrait's own teeth (mouth_own.py). (numba keeps compiled callers: after changing a number
here, touch mouth.py.)

Shape suffixes: M vertices of the mouth ring, W pixel columns.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]

LIGHT_SLANT: Final = 0.25
"""px down per px of depth: how steeply light falls in over the upper lip."""
NEAR_SOFT: Final = 0.014
"""Face widths: half width of the shadow's edge on what lies right behind the lips."""
DEEPER_SOFT: Final = 0.25
"""How much it widens per depth."""
NEAR_DEPTH: Final = 0.02
"""Face widths behind the middle of the lips up to which things count as right behind them."""
AMBIENT: Final = 0.06
"""Light that reaches any point of the mouth whatever the opening."""
LIGHT_GAIN: Final = 1.5
ROUNDED_FROM: Final = -0.02
ROUNDED_TO: Final = 0.03
"""Face widths that the upper front teeth lie behind NEAR_DEPTH: rounded lips stand forward, and from the first to the
second of these their tube shades the row. Spread or merely open lips lie before the first."""
ROUNDED_SHADE: Final = 0.68
"""Share of its light that the upper row loses by then."""
ARCH_DEPTH: Final = 0.35
"""Face widths that the row's ends lie further back than its middle, as the square of the place along it (-1..1)."""


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def opening_light(y: float, upper: float, lower: float, behind: float, face_width: float) -> float:
    """Light 0..1 at height y (px), with the lips at `upper` and `lower` there, `behind` px behind them."""
    sharp = np.float32(1.0) / (np.float32(NEAR_SOFT * face_width) + np.float32(DEEPER_SOFT) * behind)
    at = y - np.float32(LIGHT_SLANT) * behind
    above, below = (at - upper) * sharp, (at - lower) * sharp
    seen = above / math.sqrt(1 + above * above) - below / math.sqrt(1 + below * below)
    light = np.float32(AMBIENT) + np.float32(0.5 * LIGHT_GAIN) * np.float32(seen)
    return float(min(max(light, np.float32(AMBIENT)), np.float32(1.0)))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def rounded_light(behind: float, along: float, face_width: float) -> float:
    """Share of its light that rounded lips leave to the upper row, `behind` px (may be negative), `along` it -1..1."""
    away = behind / np.float32(face_width) - np.float32(ARCH_DEPTH) * along * along
    near = (away - np.float32(ROUNDED_FROM)) / np.float32(ROUNDED_TO - ROUNDED_FROM)
    near = min(max(near, np.float32(0.0)), np.float32(1.0))
    return float(1.0 - ROUNDED_SHADE * near * near * (3.0 - 2.0 * near))


@njit(cache=True, nogil=True, error_model="numpy")
def opening_lights(y_N: F32, upper_N: F32, lower_N: F32, behind_N: F32, face_width: float) -> F32:
    """`opening_light` at many points."""
    out = np.empty(len(y_N), np.float32)
    for n in range(len(y_N)):
        out[n] = opening_light(y_N[n], upper_N[n], lower_N[n], behind_N[n], face_width)
    return out


def lip_curves(ring_M3: NDArray[Any]) -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """x (never falling) and y of the upper and the lower lip, image left to right."""
    half = len(ring_M3) // 2
    lower = ring_M3[(-np.arange(half + 1)) % len(ring_M3)]
    upper = ring_M3[: half + 1]
    return (np.maximum.accumulate(upper[:, 0]), upper[:, 1]), (np.maximum.accumulate(lower[:, 0]), lower[:, 1])


def lip_lines(ring_M3: NDArray[Any], left: int, right: int) -> F32:
    """y of the upper and lower lip in each pixel column, [2, W]; beyond the corners they meet."""
    return np.asarray([np.interp(np.arange(left, right), x, y) for x, y in lip_curves(ring_M3)], np.float32)


def lips_plane(ring_M3: NDArray[Any]) -> F32:
    """Depth of the lips as z = a + b x (least squares over the edge of the opening)."""
    x, z = ring_M3[:, 0], ring_M3[:, 2]
    spread = x - x.mean()
    slope = float(spread @ z) / max(float(spread @ spread), 1e-3)
    return np.array([z.mean() - slope * x.mean(), slope], np.float32)
