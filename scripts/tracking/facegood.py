"""FACEGOOD's lip curves as motion clips: 116 weights of their own face at 30 fps -> our channels at 25 fps.

Only jaw and lips move in these takes (two dozen of the 116); nothing else of the clips is known. The motion runs a
frame or so behind the sound; that lag is measured against loudness and taken out.

Shape suffixes: F frames at 30 fps, T frames at 25 fps, K = 44 channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.controls import CONTROL_INDEX, CONTROLS, USUAL_LIVELINESS
from avatar.motion.space import EXPRESSION_DIM, INDEX
from scripts.motion_clips import MotionClip, SpeechSegment
from scripts.real_speech import read
from scripts.tracking import mouth
from scripts.tracking.statistics import best_lag, loudness

F64 = NDArray[np.float64]

CLIP_FRAMES: Final = 10 * FPS
SHORTEST: Final = 4 * FPS
HELD_OUT: Final = 10
JAW_P95: Final = 0.30
"""What the 95th percentile of jawOpen becomes: between the GRID speaker's and the articulation's open vowels."""
TABLE: Final[dict[str, dict[str, float]]] = {
    "mouth_stretch_c": {"jawOpen": 1.0},
    "mouth_funnel_ul": {"mouthFunnel": 0.25}, "mouth_funnel_ur": {"mouthFunnel": 0.25},
    "mouth_funnel_dl": {"mouthFunnel": 0.25}, "mouth_funnel_dr": {"mouthFunnel": 0.25},
    "mouth_pucker_l": {"mouthPucker": 0.5}, "mouth_pucker_r": {"mouthPucker": 0.5},
    "mouth_oh_c": {"mouthPucker": 0.45, "mouthFunnel": 0.45},
    "mouth_oo_c": {"mouthPucker": 0.90, "mouthFunnel": 0.15},
    "mouth_lipCornerPull_l": {"mouthSmileLeft": 1.0}, "mouth_lipCornerPull_r": {"mouthSmileRight": 1.0},
    "mouth_lipStretch_l": {"mouthStretchLeft": 1.0}, "mouth_lipStretch_r": {"mouthStretchRight": 1.0},
    "mouth_lowerLipDepress_l": {"mouthLowerDownLeft": 1.0}, "mouth_lowerLipDepress_r": {"mouthLowerDownRight": 1.0},
    "mouth_upperLipRaise_l": {"mouthUpperUpLeft": 1.0}, "mouth_upperLipRaise_r": {"mouthUpperUpRight": 1.0},
    "mouth_press_l": {"mouthPressLeft": 0.6}, "mouth_press_r": {"mouthPressRight": 0.6},
    "mouth_suck_ul": {"mouthRollUpper": 0.5}, "mouth_suck_ur": {"mouthRollUpper": 0.5},
    "mouth_suck_dl": {"mouthRollLower": 0.7}, "mouth_suck_dr": {"mouthRollLower": 0.7},
    "mouth_chinRaise_u": {"mouthShrugUpper": 1.0},
}  # fmt: skip
"""Their names (FACS-like; "suck" is AU 28, lips drawn in; "oh" and "oo" are vowel shapes) in ARKit's."""
KNOWN_D: Final = np.isin(space.NAMES, sorted({name for row in TABLE.values() for name in row} | {"mouthClose"}))
PRESSED: Final = 0.10
"""Press or both lips drawn in by this much: the lips are sealed."""
SEALED_CM: Final = 0.10
"""Lips that the channels part by less than this touch: their rest is not quite zero."""


@dataclass(frozen=True)
class Take:
    """weights_FK: our channels at `fps`; lag_s: how far the motion is behind the sound."""

    name: str
    pcm_S: NDArray[np.int16]
    weights_FK: F64
    fps: float
    lag_s: float


def mapped(weights_FN: NDArray[Any], names: list[str]) -> F64:
    """Their weights [F, N] in our channels [F, 44]; ValueError when a channel of the table is missing."""
    out = np.zeros((len(weights_FN), EXPRESSION_DIM))
    for name, row in TABLE.items():
        if name not in names:
            raise ValueError(f"The take has no channel {name}: is it FACEGOOD-Audio2Face's training data?")
        for channel, share in row.items():
            out[:, INDEX[channel]] += share * weights_FN[:, names.index(name)]
    return np.clip(out, 0.0, 1.0)


def load_take(path: Path) -> Take:
    """One take: PATH.npz (weights, names, fps) beside PATH.flac."""
    with np.load(path) as z:
        weights_FK, fps = mapped(z["weights"], [str(n) for n in z["names"]]), float(z["fps"])
    pcm_S = read(path.with_suffix(".flac"))
    loud_F = loudness(pcm_S, STREAM_RATE / fps)
    count = min(len(loud_F), len(weights_FK))
    lag_s = best_lag(weights_FK[:count, INDEX["jawOpen"]], loud_F[:count]) / fps
    return Take(path.stem, pcm_S, weights_FK, fps, lag_s)


def at_25(take: Take, lag_s: float) -> F64:
    """The take's channels at 25 fps, earlier by `lag_s`; frame k shows the middle of its 40 ms."""
    frames = len(take.weights_FK)
    source_F = (np.arange(frames) + 0.5) / take.fps - lag_s
    count = int((frames / take.fps - lag_s) * FPS)
    middle_T = np.clip((np.arange(count) + 0.5) / FPS, source_F[0], source_F[-1])
    return np.asarray(np.clip(PchipInterpolator(source_F, take.weights_FK)(middle_T), 0.0, 1.0))


def sealed_mouth(weights_TK: F64) -> F64:
    """mouthClose added, such that pressed or hardly parted lips are sealed."""
    gap_T = weights_TK @ mouth.channel_gaps()
    press_T = weights_TK[:, [INDEX["mouthPressLeft"], INDEX["mouthPressRight"]]].min(1)
    roll_T = weights_TK[:, [INDEX["mouthRollUpper"], INDEX["mouthRollLower"]]].min(1)
    sealed = (gap_T < SEALED_CM) | (press_T > 0.6 * PRESSED) | (roll_T > PRESSED)
    return mouth.match_gap(weights_TK, np.where(sealed, 0.0, gap_T))


def make(data: Path, out: Path) -> None:
    """Write the clips of all takes and say what the lag was; ValueError when there are none."""
    takes = [load_take(path) for path in sorted(data.glob("*.npz"))]
    if not takes:
        raise ValueError(f"There are no takes in {data}.")
    lag_s = float(np.median([take.lag_s for take in takes]))
    jaw = np.concatenate([t.weights_FK[:, INDEX["jawOpen"]] for t in takes])
    scale = JAW_P95 / float(np.percentile(jaw, 95))
    print(f"motion behind the sound: {[round(1000 * t.lag_s) for t in takes]} ms, taken out: {1000 * lag_s:.0f} ms;")
    print(f"jawOpen is scaled by {scale:.2f}", flush=True)
    index = 0
    for take in takes:
        weights_TK = at_25(take, lag_s)
        weights_TK[:, INDEX["jawOpen"]] *= scale
        weights_TK = sealed_mouth(weights_TK)
        for part, first in enumerate(range(0, len(weights_TK), CLIP_FRAMES)):
            piece = weights_TK[first : first + CLIP_FRAMES]
            pcm_S = take.pcm_S[first * FRAME_SAMPLES : (first + len(piece)) * FRAME_SAMPLES]
            if len(piece) < SHORTEST or len(pcm_S) < (len(piece) - 1) * FRAME_SAMPLES + 1:
                continue
            motion_TD = np.zeros((len(piece), space.DIM), np.float32)
            motion_TD[:, :EXPRESSION_DIM] = piece
            control_TC = np.zeros((len(piece), CONTROLS), np.float32)
            control_TC[:, CONTROL_INDEX["speaking"]] = 1.0
            control_TC[:, CONTROL_INDEX["liveliness"]] = USUAL_LIVELINESS
            segment = SpeechSegment(0, len(piece), pcm_S, None)
            name, held_out = f"{take.name}-{part:02d}", index % HELD_OUT == HELD_OUT - 1
            motion_TD = space.clamp(motion_TD)[0]
            MotionClip("facegood", name, motion_TD, control_TC, [segment], KNOWN_D, held_out=held_out).save(out)
            index += 1
    print(f"{index} clips")
