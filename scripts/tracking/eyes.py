"""Lids and gaze of a film's face: how far the eyes are closed, which of that are blinks, where they look.

Shape suffixes: T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import medfilt

from avatar.clock import FPS

F64 = NDArray[np.float64]

BLINK_PEAK: Final = 0.55
"""Closure from which lids that come down and go up again have blinked."""
BLINK_FOOT: Final = 0.22
"""Closure at which a blink begins and ends."""
LONGEST_S: Final = 0.72
"""Lids closed for longer were closed on purpose."""
_CLOSE_S: Final = (0.05, 0.07, 0.09, 0.12, 0.16, 0.20)
_HOLD_S: Final = (0.0, 0.03, 0.06, 0.10, 0.16, 0.24)
_OPEN_S: Final = (0.09, 0.12, 0.16, 0.20, 0.26, 0.34)
_CLOSED_SHARE: Final = 0.26
"""Landmarks of closed lids stay this share of the open distance apart (measured; the speaker's own where blinks were
seen)."""
SACCADE: Final = np.radians(2.2)
"""A gaze further than this from a fixation's has moved on; below, it is the landmarks' noise."""
DRIFT: Final = 0.4
_MIN_FIXATION: Final = 4
EYE_TRAVEL_CM: Final = 1.0
"""From the eyeball's centre to the iris (avatar/rig/eyes.py)."""
MAX_GAZE: Final = np.radians([18.0, 10.0])


@dataclass(frozen=True)
class LidLevels:
    """Distance of the lids / width of the eye when they are open and when they are closed."""

    open: float
    closed: float


@dataclass(frozen=True)
class Blink:
    """start_s: from the clip's first frame; then closing, closed and opening times, seconds."""

    start_s: float
    close_s: float
    hold_s: float
    open_s: float

    @property
    def duration_s(self) -> float:
        """From the first to the last movement of the lids."""
        return self.close_s + self.hold_s + self.open_s

    def curve(self, frames: int) -> F64:
        """Closure at every frame of a clip."""
        return lid_curve(np.arange(frames) / FPS - self.start_s, self.close_s, self.hold_s, self.open_s)


def lid_curve(t_T: F64, close_s: float, hold_s: float, open_s: float) -> F64:
    """Closure at times after a blink's start: cosine down, hold, cosine up."""
    down_T = 0.5 - 0.5 * np.cos(np.pi * np.clip(t_T / close_s, 0.0, 1.0))
    up_T = 0.5 - 0.5 * np.cos(np.pi * np.clip((t_T - close_s - hold_s) / open_s, 0.0, 1.0))
    return np.asarray(down_T - up_T)


def lid_levels(openings: Sequence[F64]) -> LidLevels:
    """The speaker's own levels from the eye openings [T] of many clips."""
    every = np.concatenate(list(openings))
    level = float(np.percentile(every, 70))
    lowest = [float(np.min(o)) for o in openings]
    shut = [low for low in lowest if low < 0.45 * level]
    return LidLevels(level, float(np.median(shut)) if len(shut) >= 3 else _CLOSED_SHARE * level)


def closure(opening_T: F64, levels: LidLevels) -> F64:
    """0 = as open as this speaker's eyes usually are in this clip, 1 = closed [T]."""
    own = float(np.clip(np.percentile(opening_T, 75), 0.8 * levels.open, 1.2 * levels.open))
    return np.asarray(np.clip((own - opening_T) / (own - levels.closed), 0.0, 1.0))


def find_blinks(closure_T: F64) -> list[Blink]:
    """Blinks of a clip, each as the curve that fits it best (least squares over a grid of shapes)."""
    blinks = []
    frames, k = len(closure_T), 0
    while k < frames:
        if closure_T[k] < BLINK_PEAK:
            k += 1
            continue
        first = last = k
        while first > 0 and closure_T[first - 1] > BLINK_FOOT:
            first -= 1
        while last < frames - 1 and closure_T[last + 1] > BLINK_FOOT:
            last += 1
        for low, high in _parts(closure_T, first, last):
            if (high - low + 1) / FPS <= LONGEST_S:
                blinks.append(_fitted(closure_T, low, high))
        k = last + 1
    return blinks


def _parts(closure_T: F64, first: int, last: int) -> list[tuple[int, int]]:
    """A blink, or two that follow each other before the lids are up: cut where they had come up half the way."""
    for k in range(first + 2, last - 1):
        before, after = closure_T[first:k].max(), closure_T[k + 1 : last + 1].max()
        if closure_T[k] < 0.6 * min(before, after) and min(before, after) >= BLINK_PEAK:
            cut = k + int(closure_T[k : last + 1][: max(1, int(closure_T[k : last + 1].argmax()))].argmin())
            return [(first, cut), *_parts(closure_T, cut, last)]
    return [(first, last)]


def _fitted(closure_T: F64, first: int, last: int) -> Blink:
    around = np.arange(max(first - 2, 0), min(last + 3, len(closure_T)))
    seen = np.where((around >= first) & (around <= last), closure_T[around], 0.5 * closure_T[around])
    starts_S = np.arange(first - 2.0, first + 1.01, 0.25) / FPS
    t_ST = around / FPS - starts_S[:, None]
    best, least = Blink(first / FPS, 0.07, 0.03, 0.16), np.inf
    for close_s, hold_s, open_s in product(_CLOSE_S, _HOLD_S, _OPEN_S):
        error_S = ((lid_curve(t_ST, close_s, hold_s, open_s) - seen) ** 2).sum(1)
        at = int(error_S.argmin())
        if error_S[at] < least:
            best, least = Blink(float(starts_S[at]), close_s, hold_s, open_s), float(error_S[at])
    return best


def lids(closure_T: F64, blinks: Sequence[Blink]) -> tuple[F64, F64]:
    """eyeBlink of the motion, and the blink control, both 0..1 [T].

    In a blink the lids follow what was seen, brought to the full range of the fitted curve (between two pictures the
    camera misses the moment of closure). Outside, lids that are a little low are noise or gaze; what is clearly low
    remains.
    """
    control_T = np.zeros(len(closure_T))
    within_T = np.zeros(len(closure_T))
    for blink in blinks:
        curve_T = blink.curve(len(closure_T))
        control_T = np.maximum(control_T, curve_T)
        wide = np.convolve((curve_T > 0.02).astype(float), np.ones(3), mode="same") > 0
        within_T = np.maximum(within_T, wide)
    slow_T = np.convolve(np.pad(np.clip(closure_T, 0.0, 1.0), 2, mode="edge"), np.ones(5) / 5, mode="valid")
    slow_T = np.where(within_T > 0, 0.0, np.clip((slow_T - 0.25) / 0.75, 0.0, 1.0))
    seen_T = np.clip(closure_T / 0.9, 0.0, 1.0) * (within_T > 0)
    motion_T = np.where(within_T > 0, 0.5 * (np.minimum(seen_T, control_T + 0.3) + control_T), slow_T)
    return np.clip(motion_T, 0.0, 1.0), control_T


def gaze_of(iris_T3: F64, turn_T33: F64, ball_3: F64, closure_T: F64) -> F64:
    """Azimuth and elevation [T, 2], radians, against the visitor.

    iris_T3: cm in head axes, mean of both eyes; turn_T33: the head's rotation against its usual pose; ball_3: where
    the eyeballs' centre lies, so that the speaker looks at the camera most of the time.
    """
    local = np.clip((iris_T3 - ball_3) / EYE_TRAVEL_CM, -0.6, 0.6)
    axis_T3 = np.stack([local[:, 0], local[:, 1], np.sqrt(1.0 - (local[:, :2] ** 2).sum(1))], 1)
    axis_T3 = np.einsum("tij,tj->ti", turn_T33, axis_T3)
    gaze_T2 = np.stack([np.arctan2(axis_T3[:, 0], axis_T3[:, 2]), -np.arcsin(np.clip(axis_T3[:, 1], -1, 1))], 1)
    shut_T = np.convolve(closure_T > 0.3, np.ones(3), mode="same") > 0
    if shut_T.all():
        return np.zeros_like(gaze_T2)
    time = np.arange(len(gaze_T2))
    for i in (0, 1):
        held = np.interp(time, time[~shut_T], gaze_T2[~shut_T, i])
        gaze_T2[:, i] = medfilt(np.pad(held, 2, mode="edge"), 5)[2:-2]
    return np.asarray(np.clip(gaze_T2, -MAX_GAZE, MAX_GAZE))


def eyeball(iris_T3: F64, turn_T33: F64) -> F64:
    """Centre of the eyeballs in head axes such that the median gaze is at the camera, cm."""
    return np.asarray(np.median(iris_T3 - EYE_TRAVEL_CM * turn_T33[:, 2, :], axis=0))


def fixations(gaze_T2: F64) -> F64:
    """The gaze as piecewise constant targets [T, 2]: it stays until it has clearly moved on, then jumps."""
    out = np.empty_like(gaze_T2)
    start = 0
    for k in range(1, len(gaze_T2) + 1):
        here = np.median(gaze_T2[start:k], axis=0)
        ahead = gaze_T2[k : k + 3]
        moved = len(ahead) == 3 and k - start >= _MIN_FIXATION
        if k == len(gaze_T2) or (moved and np.linalg.norm(ahead - here, axis=1).min() > SACCADE):
            out[start:k] = here
            start = k
    return out


def settled(gaze_T2: F64, target_T2: F64) -> F64:
    """The gaze without the landmarks' noise [T, 2]: fixations joined by two-frame saccades, plus a part of the slow
    drift around them."""
    jump_T2 = np.stack(
        [np.convolve(np.pad(c, (1, 1), mode="edge"), [0.25, 0.5, 0.25], "valid") for c in target_T2.T], 1
    )
    drift_T2 = np.stack(
        [np.convolve(np.pad(c, 4, mode="edge"), np.ones(9) / 9, "valid") for c in (gaze_T2 - target_T2).T], 1
    )
    return np.asarray(jump_T2 + DRIFT * drift_T2)
