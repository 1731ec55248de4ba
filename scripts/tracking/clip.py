"""Everything tracked in one clip, as motion of the avatar's space and the controls that would have asked for it.

Shape suffixes: T frames, C fitted channels, D = 52.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, filtfilt, savgol_filter

from avatar.audio.phones import TimedPhone
from avatar.clock import FPS
from avatar.motion import space
from avatar.motion.controls import CONTROL_INDEX, CONTROLS
from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.rig import basis as basis_module
from avatar.rig.fit import PIVOT_CM
from scripts.tracking import eyes, mouth
from scripts.tracking.film import Track
from scripts.tracking.kept import Kept
from scripts.tracking.pose import angles
from scripts.tracking.shapes import ShapeFit, lip_gap, mixture_CK
from scripts.tracking.speaker import Speaker, eye_opening, fit_frames

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

HEAD_HZ: Final = 5.0
LIVELY: Final = (0.15, 0.85)
SEAT: Final = 0.5
"""Share of a clip's own usual pose, against the speaker's, that is kept: most of it is how the chair stood that day."""
TWIN: Final = 0.7
"""How far left and right are drawn to their mean: the rest is the landmarks' noise."""
SHOWN: Final = (
    "jawOpen", "mouthClose", "mouthPucker", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "browDownLeft", "browDownRight",
    "eyeBlinkLeft", "eyeBlinkRight",
    "headYaw", "headPitch", "headRoll", "headX", "headY", "headLogScale", "gazeAzimuth", "gazeElevation",
)  # fmt: skip
"""What 468 landmarks of a frontal face, 100 px wide, show reliably (docs/motion/tracking.md says why not the rest)."""
KNOWN_D: Final = np.isin(space.NAMES, SHOWN)
_BROWS: Final = [INDEX[n] for n in SHOWN if n.startswith("brow")]
_BLINKS: Final = [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]


@dataclass(frozen=True)
class Seen(Kept):
    """What the fit found in a clip, before anything is known about the speaker's habits.

    weights_TC: 0..1; gap_T: cm, lips apart beyond the speaker's closed ones; turn_T33; pivot_T2: px, where the neck
    is; scale_T: px per cm; iris_T3: cm, head axes; opening_T: lids / width of the eye.
    """

    weights_TC: F64
    gap_T: F64
    turn_T33: F64
    pivot_T2: F64
    scale_T: F64
    iris_T3: F64
    opening_T: F64


@dataclass(frozen=True)
class Habits:
    """The speaker's usual pose, eyes and lids, and what of the pose is not the head's: from all of their clips.

    leak_26: change of yaw, pitch, roll, x, y, log scale per closure of the lids and per cm of the lips' opening; the
    landmarks of a whole face move a little when any part of it does.
    """

    turn_33: F64
    pivot_2: F64
    scale: float
    ball_3: F64
    lids: eyes.LidLevels
    leak_26: F64


def see(speaker: Speaker, shapes: ShapeFit, track: Track) -> Seen:
    """Fit one clip."""
    fit = fit_frames(speaker, shapes, track.points_TN3.astype(np.float64))
    front = basis_module.load().eyeball_23.astype(np.float64) + np.array([0.0, 0.0, eyes.EYE_TRAVEL_CM])
    depth_T2 = fit.poses.apply(front)[..., 2]
    iris_T23 = fit.poses.undo(track.iris_T252[:, :, 0].astype(np.float64), depth_T2)
    return Seen(
        fit.weights_TC,
        lip_gap(fit.offset_TN3),
        fit.poses.R_T33,
        fit.poses.apply(PIVOT_CM[None])[:, 0, :2],
        fit.poses.scale_T,
        iris_T23.mean(1),
        eye_opening(track).mean(1),
    )


def learn_habits(clips: Sequence[Seen], face_width: float) -> Habits:
    """What is usual for the speaker of these clips; face_width: cm."""
    turns = np.concatenate([c.turn_T33 for c in clips])
    usual = rotation(np.median(angles(turns), axis=0))
    pivot = np.median(np.concatenate([c.pivot_T2 for c in clips]), axis=0)
    scale = float(np.median(np.concatenate([c.scale_T for c in clips])))
    levels = eyes.lid_levels([c.opening_T for c in clips])
    iris = np.concatenate([c.iris_T3 for c in clips])
    ball = eyes.eyeball(iris, turns @ usual.T)
    plain = Habits(usual, pivot, scale, ball, levels, np.zeros((2, 6)))
    high = butter(2, 1.0, "high", fs=FPS)
    causes, effects = [], []
    for clip in clips:
        cause_T2 = np.stack([eyes.closure(clip.opening_T, levels), clip.gap_T], 1)
        causes.append(filtfilt(*high, cause_T2, axis=0))
        effects.append(filtfilt(*high, raw_head(clip, plain, face_width), axis=0))
    leak, *_ = np.linalg.lstsq(np.concatenate(causes), np.concatenate(effects), rcond=None)
    return Habits(usual, pivot, scale, ball, levels, leak)


def rotation(angles_3: F64) -> F64:
    """Rotation matrix of yaw, pitch, roll as in avatar/rig/deform.py."""
    from avatar.rig.deform import head_pose

    motion_D = np.zeros(space.DIM)
    motion_D[space.HEAD][:3] = angles_3
    return head_pose(motion_D, 1.0).R_33.astype(np.float64)


def raw_head(seen: Seen, habits: Habits, face_width: float) -> F64:
    """Yaw, pitch, roll, x, y, log scale [T, 6] against the speaker's usual pose, leaks taken off; face_width: cm."""
    turn_T3 = angles(seen.turn_T33 @ habits.turn_33.T)
    shift_T2 = (seen.pivot_T2 - habits.pivot_2) / (habits.scale * face_width)
    head_T6 = np.concatenate([turn_T3, shift_T2, np.log(seen.scale_T / habits.scale)[:, None]], 1)
    if habits.leak_26.any():
        cause_T2 = np.stack([eyes.closure(seen.opening_T, habits.lids), np.maximum(seen.gap_T, 0.0)], 1)
        head_T6 -= cause_T2 @ habits.leak_26
    return np.asarray(head_T6)


@dataclass(frozen=True)
class Moved:
    """motion_TD float32 [T, 52] in the safe range; control_TC: what would have asked for it, all but liveliness;
    counts: of bilabial closures."""

    motion_TD: F32
    control_TC: F32
    blinks: list[eyes.Blink]
    counts: dict[str, int]


def move(seen: Seen, habits: Habits, face_width: float, phones: Sequence[TimedPhone] | None) -> Moved:
    """Motion and controls (all but liveliness) of one clip."""
    frames = len(seen.gap_T)
    expression_TK = _even(seen.weights_TC @ mixture_CK())
    expression_TK[:, ~KNOWN_D[:EXPRESSION_DIM]] = 0.0
    gap_T = mouth.part_almost(mouth.seen_gap(seen.gap_T), phones or [])
    expression_TK = mouth.match_gap(expression_TK, gap_T)
    expression_TK, counts = mouth.seal_bilabials(expression_TK, gap_T, phones or [])

    closure_T = eyes.closure(seen.opening_T, habits.lids)
    blinks = eyes.find_blinks(closure_T)
    lids_T, blink_T = eyes.lids(closure_T, blinks)
    expression_TK[:, _BLINKS] = lids_T[:, None]
    expression_TK[:, _BROWS] = savgol_filter(expression_TK[:, _BROWS], 7, 2, axis=0)

    head_T6 = smooth_head(seen, habits, face_width)
    usual_6 = np.median(head_T6, axis=0)
    keep_6 = np.array([SEAT, SEAT, 1.0, SEAT, SEAT, 1.0])
    head_T6 = head_T6 - usual_6 + keep_6 * usual_6

    gaze_T2 = eyes.gaze_of(seen.iris_T3, seen.turn_T33 @ habits.turn_33.T, habits.ball_3, closure_T)
    target_T2 = eyes.fixations(gaze_T2)
    gaze_T2 = eyes.settled(gaze_T2, target_T2)

    motion_TD = np.concatenate([expression_TK, head_T6, gaze_T2], 1).astype(np.float32)
    motion_TD, _ = space.clamp(motion_TD)

    control_TC = np.zeros((frames, CONTROLS), np.float32)
    control_TC[:, [CONTROL_INDEX["gazeAzimuth"], CONTROL_INDEX["gazeElevation"]]] = target_T2
    control_TC[:, CONTROL_INDEX["blink"]] = blink_T
    control_TC[:, CONTROL_INDEX["speaking"]] = 1.0
    rest = gap_T <= 0.0
    for name, stems in _REST.items():
        values_T = motion_TD[:, [INDEX[s] for s in stems]].mean(1)
        control_TC[:, CONTROL_INDEX[name]] = np.median(values_T[rest] if rest.sum() >= 8 else values_T)
    control_TC[:, CONTROL_INDEX["logScale"]] = np.median(motion_TD[:, INDEX["headLogScale"]])
    control_TC[:, CONTROL_INDEX["restRoll"]] = np.median(motion_TD[:, INDEX["headRoll"]])

    return Moved(motion_TD, control_TC, blinks, counts)


def smooth_head(seen: Seen, habits: Habits, face_width: float) -> F64:
    """`raw_head` without what no head does, by a filter that shifts nothing in time."""
    return np.asarray(filtfilt(*butter(2, HEAD_HZ, fs=FPS), raw_head(seen, habits, face_width), axis=0))


def activity(seen: Seen, habits: Habits, face_width: float) -> float:
    """How much head and brows move in a clip: liveliness before it is ranked among the speaker's clips."""
    turns_T3 = np.degrees(smooth_head(seen, habits, face_width)[:, :3])
    speed = float(np.linalg.norm(np.diff(turns_T3, axis=0), axis=1).mean())
    brows = float((seen.weights_TC @ mixture_CK())[:, _BROWS].std(0).mean())
    return speed / 0.15 + brows / 0.03


_REST: Final[dict[str, tuple[str, ...]]] = {
    "restSmile": ("mouthSmileLeft", "mouthSmileRight"),
    "restBrowInnerUp": ("browInnerUp",),
    "restBrowDown": ("browDownLeft", "browDownRight"),
}


def liveliness(activity_N: F64) -> F64:
    """Rank of each clip's activity, as the control's value [N]."""
    rank_N = activity_N.argsort().argsort() / max(len(activity_N) - 1, 1)
    return np.asarray(LIVELY[0] + (LIVELY[1] - LIVELY[0]) * rank_N)


def _even(motion_TK: F64) -> F64:
    out = motion_TK.copy()
    for left, name in enumerate(space.ARKIT_NAMES):
        if name.endswith("Left") and name not in ("mouthLeft", "jawLeft"):
            pair = [left, INDEX[name.removesuffix("Left") + "Right"]]
            mean_T1 = motion_TK[:, pair].mean(1, keepdims=True)
            out[:, pair] += TWIN * (mean_T1 - motion_TK[:, pair])
    return out
