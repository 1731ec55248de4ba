"""How alive the face is: head, brows, blinks, smoothness. Motion is [T, 52] at 25 fps (avatar/motion/space.py).

What is pooled over clips is pooled as variance inside each clip, so that clips of a few seconds can be compared with
one another whatever the resting pose. Shape suffixes: T = frames, D = 52.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS
from avatar.motion import space

Floats = NDArray[Any]
_I: Final = space.INDEX
_TURNS: Final = [_I["headYaw"], _I["headPitch"], _I["headRoll"]]
_UP: Final = [_I["browInnerUp"], _I["browOuterUpLeft"], _I["browOuterUpRight"]]
_DOWN: Final = [_I["browDownLeft"], _I["browDownRight"]]
_LIDS: Final = [_I["eyeBlinkLeft"], _I["eyeBlinkRight"]]

BLINK_ON: Final = 0.5
"""Lid closure, above the clip's usual one, from which a dip of the lid is a blink."""
BLINK_OFF: Final = 0.2


def pooled_std(curves: Sequence[Floats]) -> float:
    """sqrt of the mean over all frames of the squared distance from the own clip's mean; unit of the curves [T]."""
    total = sum(float(((c - c.mean()) ** 2).sum()) for c in curves)
    frames = sum(len(c) for c in curves)
    return float(np.sqrt(total / frames)) if frames else float("nan")


def head_turns(motion_TD: Floats) -> Floats:
    """Yaw, pitch, roll in degrees, [T, 3]."""
    return np.asarray(np.degrees(motion_TD[:, _TURNS]))


def head_std(clips: Sequence[Floats]) -> float:
    """Degrees: root of the summed pooled variances of yaw, pitch and roll."""
    turns = [head_turns(motion_TD) for motion_TD in clips]
    return float(np.sqrt(sum(pooled_std([t[:, axis] for t in turns]) ** 2 for axis in range(3))))


def pose_change(clips: Sequence[Floats]) -> float:
    """Degrees per frame: mean length of the change of (yaw, pitch, roll) from frame to frame."""
    steps = [np.linalg.norm(np.diff(head_turns(motion_TD), axis=0), axis=1) for motion_TD in clips]
    return float(np.concatenate(steps).mean())


def brow(motion_TD: Floats) -> Floats:
    """Brow height: mean of the three raising channels less mean of the two lowering ones, [T], channel units."""
    return np.asarray(motion_TD[:, _UP].mean(1) - motion_TD[:, _DOWN].mean(1))


def brow_std(clips: Sequence[Floats]) -> float:
    """Pooled standard deviation of `brow`, channel units."""
    return pooled_std([brow(motion_TD) for motion_TD in clips])


@dataclass(frozen=True)
class Blink:
    """start: first frame above half of its height (fraction of a frame); duration_s: time above half; peak: closure."""

    start: float
    duration_s: float
    peak: float


def find_blinks(motion_TD: Floats) -> list[Blink]:
    """Blinks of one clip: the mean lid closure rises BLINK_ON above the clip's median and falls back below BLINK_OFF.

    A blink that the clip's end cuts counts, with the duration that was seen.
    """
    lid_T = motion_TD[:, _LIDS].mean(1).astype(np.float64)
    lid_T = lid_T - np.median(lid_T)
    found = []
    inside: int | None = None
    for t, closure in enumerate(np.r_[lid_T, -1.0]):
        if inside is None and closure >= BLINK_ON:
            inside = t
        elif inside is not None and closure < BLINK_OFF:
            found.append(_measure(lid_T, inside, t))
            inside = None
    return found


def _measure(lid_T: Floats, first: int, last: int) -> Blink:
    peak = float(lid_T[first:last].max())
    half = peak / 2
    at = first + int(lid_T[first:last].argmax())
    left = right = at
    while left > 0 and lid_T[left - 1] >= half:
        left -= 1
    while right < len(lid_T) - 1 and lid_T[right + 1] >= half:
        right += 1
    start, end = float(left), float(right)
    if left > 0:  # where the straight line between two frames crosses half
        start -= (lid_T[left] - half) / max(lid_T[left] - lid_T[left - 1], 1e-9)
    if right < len(lid_T) - 1:
        end += (lid_T[right] - half) / max(lid_T[right] - lid_T[right + 1], 1e-9)
    return Blink(start, (end - start) / FPS, peak)


def blink_rate(clips: Sequence[Floats]) -> float:
    """Blinks per minute."""
    frames = sum(len(c) for c in clips)
    return sum(len(find_blinks(c)) for c in clips) * 60.0 * FPS / frames if frames else float("nan")


def blink_duration(clips: Sequence[Floats]) -> float:
    """Median time above half closure in milliseconds; nan without blinks."""
    lengths = [1000.0 * b.duration_s for c in clips for b in find_blinks(c)]
    return float(np.median(lengths)) if lengths else float("nan")


def jerk(curves: Sequence[Floats]) -> float:
    """Root mean square of the third difference, units per frame^3 (x 15625 for per second^3); curves [T] or [T, n]."""
    thirds = [np.diff(np.asarray(c, np.float64), 3, axis=0).ravel() for c in curves if len(c) > 3]
    return float(np.sqrt(np.mean(np.concatenate(thirds) ** 2))) if thirds else float("nan")


def movement(curves: Sequence[Floats], masks: Sequence[NDArray[np.bool_]]) -> float:
    """Root mean square change from frame to frame where both frames are in the mask; units per frame, 0 if none are."""
    steps = [np.diff(c)[m[1:] & m[:-1]] for c, m in zip(curves, masks, strict=True)]
    joined = np.concatenate(steps) if steps else np.zeros(0)
    return float(np.sqrt(np.mean(joined**2))) if len(joined) else 0.0
