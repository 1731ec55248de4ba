"""Can one see where a window of motion ends and the next begins?

Seams show as bends: the second difference x[t+1] - 2 x[t] + x[t-1] is larger where two windows meet. Channels are
divided by their own typical second difference first, so that each counts the same. Shape suffixes: T = frames,
D = channels, N = values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

Floats = NDArray[Any]


@dataclass(frozen=True)
class SeamTest:
    """ratio: median bend at boundaries over median bend inside; effect: Cliff's delta, -1..1 (0 = no difference, up to
    0.147 is called negligible); p: two-sided Mann-Whitney U; boundaries, interiors: how many frames of each."""

    ratio: float
    effect: float
    p: float
    boundaries: int
    interiors: int


def bends(motion_TD: Floats, scale_D: Floats | None = None) -> Floats:
    """Root mean square over channels of the scaled second difference, [T]; zero at the first and last frame.

    scale_D: divides each channel; None takes each one's own root mean square. Channels that do not move do not count.
    """
    second_TD = np.zeros(motion_TD.shape)
    second_TD[1:-1] = np.diff(np.asarray(motion_TD, np.float64), 2, axis=0)
    if scale_D is None:
        scale_D = np.sqrt((second_TD**2).mean(0))
    moving_D = scale_D > 1e-7
    if not moving_D.any():
        return np.zeros(len(motion_TD))
    return np.asarray(np.sqrt(((second_TD[:, moving_D] / scale_D[moving_D]) ** 2).mean(1)))


def common_scale(clips: Sequence[Floats]) -> Floats:
    """Root mean square second difference of each channel over all clips, [D]."""
    second = np.concatenate([np.diff(np.asarray(c, np.float64), 2, axis=0) for c in clips])
    return np.asarray(np.sqrt((second**2).mean(0)))


def seam_test(clips: Sequence[Floats], starts: Sequence[Sequence[int]]) -> SeamTest:
    """Compare bends at window boundaries with bends elsewhere.

    clips: motion [T, D] of some channels. starts: for each clip the frames that begin a window. A seam between the
    frames s - 1 and s bends the curve at both, so both count as boundary. ValueError when there are no boundaries.
    """
    scale_D = common_scale(clips)
    at, inside = [], []
    for motion_TD, first_frames in zip(clips, starts, strict=True):
        bend_T = bends(motion_TD, scale_D)
        boundary_T = np.zeros(len(bend_T), bool)
        for start in first_frames:
            boundary_T[[t for t in (start - 1, start) if 0 < t < len(bend_T) - 1]] = True
        usable_T = np.zeros(len(bend_T), bool)
        usable_T[1:-1] = True
        at.append(bend_T[boundary_T])
        inside.append(bend_T[usable_T & ~boundary_T])
    at_N, inside_N = np.concatenate(at), np.concatenate(inside)
    if not len(at_N) or not len(inside_N):
        raise ValueError("the seam test needs windows with a beginning and an inside: longer clips, or window starts.")
    found = mannwhitneyu(at_N, inside_N, alternative="two-sided")
    effect = 2.0 * float(found.statistic) / (len(at_N) * len(inside_N)) - 1.0
    ratio = float(np.median(at_N) / max(float(np.median(inside_N)), 1e-9))
    return SeamTest(ratio, effect, float(found.pvalue), len(at_N), len(inside_N))
