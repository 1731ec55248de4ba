"""Do two curves of mouth opening go together, and when?

All curves are at 25 fps; a list holds one array [T] per clip, and a clip's own mean never counts: a person's resting
mouth is no matter of synchrony. Shape suffix: T = frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[Any]


def shifted(values_T: Curve, frames: int) -> Curve:
    """The curve shown `frames` later (earlier when negative), its end value held; [T, ...] of the same shape."""
    count = len(values_T)
    return values_T[np.clip(np.arange(count) - frames, 0, count - 1)]


def pooled_r(ours: Sequence[Curve], theirs: Sequence[Curve]) -> float:
    """Pearson's r over all clips' frames, each clip's mean removed; -1..1, 0 when a curve does not move.

    r = sum(a b) / sqrt(sum(a^2) sum(b^2)), a and b being the curves less their own clip's mean.
    """
    return correlation_at(ours, theirs, 0)


def correlation_at(ours: Sequence[Curve], theirs: Sequence[Curve], late: int) -> float:
    """`pooled_r` of ours[t + late] with theirs[t], over the frames that both have."""
    cross = energy_a = energy_b = 0.0
    for a_T, b_T in zip(ours, theirs, strict=True):
        count = min(len(a_T), len(b_T))
        a_T = np.asarray(a_T[:count], np.float64) - np.mean(a_T[:count])
        b_T = np.asarray(b_T[:count], np.float64) - np.mean(b_T[:count])
        a_T = a_T[max(0, late) : count + min(0, late)]
        b_T = b_T[max(0, -late) : count - max(0, late)]
        cross += float(a_T @ b_T)
        energy_a += float(a_T @ a_T)
        energy_b += float(b_T @ b_T)
    if energy_a < 1e-12 or energy_b < 1e-12:
        return 0.0
    return cross / float(np.sqrt(energy_a * energy_b))


def clip_r(ours: Sequence[Curve], theirs: Sequence[Curve]) -> float:
    """Median over the clips of each clip's own Pearson r."""
    return float(np.median([pooled_r([a], [b]) for a, b in zip(ours, theirs, strict=True)])) if ours else 0.0


def best_lag(ours: Sequence[Curve], theirs: Sequence[Curve], reach: int = 6) -> tuple[float, float]:
    """(frames by which ours is late, r there): the peak of the cross-correlation within +-reach frames.

    The peak is refined by a parabola through its neighbours; a peak at the edge is given as it is.
    """
    r_L = np.array([correlation_at(ours, theirs, late) for late in range(-reach, reach + 1)])
    best = int(r_L.argmax())
    if best in (0, 2 * reach):
        return float(best - reach), float(r_L[best])
    left, middle, right = r_L[best - 1 : best + 2]
    bend = left - 2.0 * middle + right
    offset = 0.5 * (left - right) / bend if bend < -1e-9 else 0.0
    return float(best - reach + offset), float(middle)


def shift_drop(ours: Sequence[Curve], theirs: Sequence[Curve], frames: int = 2) -> float:
    """The frame-shift test: how much r falls, at least, when ours is shown `frames` later or earlier.

    Positive for a synchrony that is real and a metric that can see it.
    """
    moved = [pooled_r([shifted(a_T, late) for a_T in ours], theirs) for late in (-frames, frames)]
    return pooled_r(ours, theirs) - max(moved)
