"""Recorded motion of any rate, brought to 25 frames a second without losing what is short.

Values between samples are linear. Output frame k stands for time k / 25; above 25 samples a second it is the mean over
40 ms less one sample's step, so that what a slower rate cannot carry does not come back as jitter. A mean also opens
closed eyes and lips for a moment, which everybody sees: where a sample within 20 ms of the frame closes them, they are
closed in that frame. Every sample belongs to one frame, so a closure never grows by more than rounding to frames.

Shape suffixes: S = samples of the recording, T = frames, D = 52.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS
from avatar.motion import space

Doubles = NDArray[np.float64]

CLOSED: Final[dict[tuple[str, ...], float]] = {
    ("eyeBlinkLeft",): 0.8,
    ("eyeBlinkRight",): 0.8,
    ("mouthPressLeft", "mouthPressRight"): 0.3,
    ("mouthRollLower", "mouthRollUpper"): 0.8,
}
"""Channels that close something when all of a group are at least this large (the rig's thresholds for lips)."""
SEALED: Final = 0.9
"""mouthClose / jawOpen from which on the lips meet."""
_LEAST_JAW: Final = 0.03
_I: Final = space.INDEX


def to_frames(motion_SD: Doubles, time_S: Doubles) -> Doubles:
    """Motion at 25 fps, float64 [T, 52], T = floor(25 * duration) + 1.

    motion_SD: at the strictly rising times time_S (seconds), any spacing.
    """
    assert len(time_S) == len(motion_SD) > 0 and (np.diff(time_S) > 0).all()
    time_S = time_S - time_S[0]
    frame_T = np.arange(int(np.floor(time_S[-1] * FPS + 1e-6)) + 1) / FPS
    if len(time_S) == 1:
        return motion_SD.copy()
    width = 1.0 / FPS - float(np.median(np.diff(time_S)))
    if width < 1e-3:
        return np.stack([np.interp(frame_T, time_S, value_S) for value_S in motion_SD.T], axis=1)
    low_T = np.clip(frame_T - width / 2.0, 0.0, time_S[-1])
    high_T = np.clip(frame_T + width / 2.0, 0.0, time_S[-1])
    motion_TD = (_integral(motion_SD, time_S, high_T) - _integral(motion_SD, time_S, low_T)) / (high_T - low_T)[:, None]
    return _with_closures(motion_TD, motion_SD, time_S)


def _integral(motion_SD: Doubles, time_S: Doubles, until_T: Doubles) -> Doubles:
    """Of the linear interpolation from the start to each time, [T, 52]."""
    step_S = np.diff(time_S)
    area_SD = np.concatenate(
        [np.zeros((1, motion_SD.shape[1])), np.cumsum(0.5 * step_S[:, None] * (motion_SD[1:] + motion_SD[:-1]), axis=0)]
    )
    index_T = np.clip(np.searchsorted(time_S, until_T, side="right") - 1, 0, len(step_S) - 1)
    into_T1 = (until_T - time_S[index_T])[:, None]
    slope_TD = (motion_SD[index_T + 1] - motion_SD[index_T]) / step_S[index_T, None]
    whole: Doubles = area_SD[index_T] + into_T1 * (motion_SD[index_T] + 0.5 * into_T1 * slope_TD)
    return whole


def _with_closures(motion_TD: Doubles, motion_SD: Doubles, time_S: Doubles) -> Doubles:
    """Closed eyes and lips of the samples nearest to each frame, put back into the means."""
    frame_S = np.minimum(np.floor(time_S * FPS + 0.5).astype(int), len(motion_TD) - 1)
    for names, least in CLOSED.items():
        channels = [_I[name] for name in names]
        closed_S = motion_SD[:, channels].min(axis=1) >= least
        for channel in channels:
            np.maximum.at(motion_TD[:, channel], frame_S[closed_S], motion_SD[closed_S, channel])
    jaw, close = _I["jawOpen"], _I["mouthClose"]
    ratio_S = motion_SD[:, close] / np.maximum(motion_SD[:, jaw], _LEAST_JAW)
    ratio_T = np.zeros(len(motion_TD))
    np.maximum.at(ratio_T, frame_S, np.where(ratio_S >= SEALED, np.minimum(ratio_S, 1.0), 0.0))
    seal_T = ratio_T * np.maximum(motion_TD[:, jaw], _LEAST_JAW)
    motion_TD[:, close] = np.maximum(motion_TD[:, close], seal_T)
    return motion_TD
