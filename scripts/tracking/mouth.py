"""Lips that open as far as they were seen to, and that meet where they met.

The rig seals the lips by mouthClose against jawOpen (avatar/rig/lips.py): between open and sealed that is far from
linear. So mouthClose is chosen last, frame by frame, such that the rig's own opening is the one that was seen.

Shape suffixes: T frames, K = 44 channels, D = 52.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FPS
from avatar.motion.space import INDEX
from avatar.rig import basis as basis_module
from avatar.rig.lips import SEAL_JAW
from scripts.tracking.shapes import lip_gap

F64 = NDArray[np.float64]

TOGETHER_CM: Final = 0.095
"""Lips' landmarks nearer than this (beyond the speaker's closed lips) touch: that is their noise."""
APART_CM: Final = 0.19
"""From here on they are apart for certain; between, the distance is stretched."""
NEAR_CM: Final = 0.22
"""Landmarks of lips that a camera at 25 fps catches just before or after they meet."""
SHORTEST_S: Final = 0.03
REACH: Final = 1
"""Frames before and after a bilabial in which its closure may lie: alignment is no better."""
PRESS: Final = 0.3
"""mouthPress of sealed P, B, M, as in avatar/motion/articulation.py; the first and last frame get half."""
VOWELS: Final = (
    "AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW",
)  # fmt: skip
ALMOST_CM: Final = {"F": 0.08, "V": 0.08, "W": 0.08, **dict.fromkeys(VOWELS, 0.05)}
"""Opening that lips have at least while these sound. Landmarks cannot tell a lip at the teeth, or lips rounded to a
slit, from sealed ones."""
FADE_CM: Final = 0.10
"""Opening under which lips are neither raised nor lowered any more."""
SPARED: Final = 0.6
BILABIALS: Final = ("P", "B", "M")
MOST_JAW: Final = 0.6

_JAW, _CLOSE = INDEX["jawOpen"], INDEX["mouthClose"]
_OPENERS: Final = np.array(
    [INDEX[f"mouth{stem}{side}"] for stem in ("LowerDown", "UpperUp") for side in ("Left", "Right")]
)
_PRESSES: Final = np.array([INDEX["mouthPressLeft"], INDEX["mouthPressRight"]])
_RATIO: Final = np.linspace(0.0, 0.9, 46)


def channel_gaps() -> F64:
    """How far each channel parts the lips' middle, cm at 1.0 [44]."""
    return lip_gap(basis_module.load().expression_KV3[:, :468].astype(np.float64))


def seen_gap(gap_T: F64) -> F64:
    """The lips' opening, cm, 0 where they touch; gap_T: their landmarks' distance beyond the speaker's closed lips."""
    own = float(np.clip(np.percentile(gap_T, 5), -0.05, 0.06))
    away_T = gap_T - own
    stretched_T = (away_T - TOGETHER_CM) * APART_CM / (APART_CM - TOGETHER_CM)
    return np.asarray(np.where(away_T >= APART_CM, away_T, np.maximum(stretched_T, 0.0)))


def part_almost(gap_T: F64, phones: Sequence[TimedPhone]) -> F64:
    """The opening [T] with a little kept in F, V, W and vowels, except within a frame of a bilabial or of silence."""
    least_T = np.zeros(len(gap_T))
    for phone in phones:
        rows = slice(round(phone.start_s * FPS), round(phone.end_s * FPS))
        least_T[rows] = np.maximum(least_T[rows], ALMOST_CM.get(phone.phone, 0.0))
    for phone in phones:
        if phone.phone in BILABIALS or phone.phone == "sil":
            least_T[max(round(phone.start_s * FPS) - REACH, 0) : round(phone.end_s * FPS) + REACH] = 0.0
    return np.maximum(gap_T, least_T)


def match_gap(motion_TK: F64, gap_T: F64) -> F64:
    """The same motion [T, 44] with jawOpen and mouthClose such that the rig's lips are `gap_T` cm apart.

    A lowered jaw behind hardly parted lips is the same to the eye as a jaw less low with less of mouthClose; of what
    mouthClose would take back, the jaw gives up SPARED at once, as the articulation's own targets do.
    """
    out = motion_TK.copy()
    per_K = channel_gaps()
    out[:, _OPENERS] *= np.clip(gap_T / FADE_CM, 0.0, 1.0)[:, None]
    out[:, _CLOSE] = 0.0
    missing_T = np.maximum(gap_T - out @ per_K, 0.0)
    out[:, _JAW] = np.minimum(out[:, _JAW] + missing_T / per_K[_JAW], MOST_JAW)
    for share in (SPARED, 0.0):
        close_T = _closing(out @ per_K, out[:, _JAW], gap_T, float(per_K[_CLOSE]))
        out[:, _JAW] -= share * close_T
    out[:, _CLOSE] = close_T
    return out


def _closing(open_T: F64, jaw_T: F64, gap_T: F64, per_close: float) -> F64:
    """mouthClose [T] that leaves `gap_T` of an opening `open_T`, cm, by the rig's law of sealing."""
    close_TR = jaw_T[:, None] * _RATIO
    sealed_TR = _seal(close_TR / np.maximum(jaw_T, SEAL_JAW)[:, None])
    rig_TR = np.maximum(open_T[:, None] + per_close * close_TR, 0.0) * (1.0 - sealed_TR)
    ratio_T = [float(np.interp(-gap, -rig_R, _RATIO)) for gap, rig_R in zip(gap_T, rig_TR, strict=True)]  # both fall
    return np.where(gap_T <= 0.0, jaw_T, np.array(ratio_T) * jaw_T)


def seal_bilabials(motion_TK: F64, gap_T: F64, phones: Sequence[TimedPhone]) -> tuple[F64, dict[str, int]]:
    """Full closures where P, B and M were spoken and the lips were seen near each other; and how often.

    Counts: 'bilabials', 'closed' (the tracked lips touched by themselves), 'sharpened' (they came near), 'open' (they
    did not: nothing is changed).
    """
    out = motion_TK.copy()
    counts = {"bilabials": 0, "closed": 0, "sharpened": 0, "open": 0}
    frames = len(out)
    for phone in phones:
        if phone.phone not in BILABIALS or phone.end_s - phone.start_s < SHORTEST_S:
            continue
        first = max(round(phone.start_s * FPS) - REACH, 0)
        last = min(round(phone.end_s * FPS) + REACH, frames)
        if last - first < 1:
            continue
        counts["bilabials"] += 1
        nearest = first + int(gap_T[first:last].argmin())
        if gap_T[nearest] > NEAR_CM:
            counts["open"] += 1
            continue
        counts["closed" if gap_T[nearest] <= 0.0 else "sharpened"] += 1
        within = gap_T[first:last] <= max(0.0, float(gap_T[nearest]))
        rows = first + np.flatnonzero(within)
        out[rows, _JAW] = np.maximum(out[rows, _JAW], SEAL_JAW)
        out[rows, _CLOSE] = out[rows, _JAW]
        out[np.ix_(rows, _OPENERS)] = 0.0
        press = np.full(len(rows), PRESS)
        if len(rows) > 2:
            press[[0, -1]] *= 0.5
        out[np.ix_(rows, _PRESSES)] = np.maximum(out[np.ix_(rows, _PRESSES)], press[:, None])
    return out, counts


def _seal(ratio: F64) -> F64:
    """The rig's seal by mouthClose / jawOpen (lips.py `lip_seal`)."""
    x = np.clip((ratio - 0.4) / 0.5, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x))
