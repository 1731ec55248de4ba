"""Does the face do what is asked? Gaze, distance, emotions, liveliness: asked against measured.

Measured while speaking one recorded utterance over and over with pauses, after a second and a half of settling.
Shape suffixes: T = frames, D = 52, N = samples of a classifier, F = features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS, FRAME_SAMPLES
from avatar.motion import space
from avatar.motion.controls import EMOTIONS, Asked
from avatar.motion.state import State
from scripts.evaluate.metrics import life
from scripts.evaluate.systems import System
from scripts.motion_clips import MotionClip

Floats = NDArray[np.float32]
_I: Final = space.INDEX
_SETTLE: Final = round(1.5 * FPS)

AZIMUTHS: Final = (-15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0)
ELEVATIONS: Final = (-10.0, -5.0, 0.0, 5.0, 10.0)
DISTANCES: Final = (0.8, 0.9, 1.0, 1.1, 1.25)
INTENSITIES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
LIVELINESS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
NEUTRAL: Final = "neutral"


@dataclass
class Responses:
    """Curves of one system: name -> [(asked, measured)]; figures: name -> value."""

    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)


def hold(system: System, asked: Asked, speech: MotionClip, seconds: float, seed: int = 0) -> Floats:
    """Motion [T, 52] while `asked` is asked for: speaking, then listening, in turns."""
    stream = system.open(seed)
    stream.set_controls(asked)
    pcm_S, phones = speech.segments[0].pcm_S, speech.segments[0].phones
    spoken = -(-len(pcm_S) // FRAME_SAMPLES)
    frames: list[Floats] = []
    total = _SETTLE + round(seconds * FPS)
    while len(frames) < total:
        stream.set_state(State.SPEAKING)
        stream.push_audio(pcm_S, phones if system.phones else None)
        stream.end_segment()
        frames += [stream.next_motion() for _ in range(spoken)]
        stream.set_state(State.LISTENING)
        frames += [stream.next_motion() for _ in range(spoken // 2)]
    return np.stack(frames[_SETTLE:total])


def respond(system: System, speech: MotionClip, *, seconds: float = 6.0, windows: int = 8) -> Responses:
    """All response curves of one system. windows: stretches of each emotion that the classifier sees, half to learn."""
    out = Responses()
    gaze = [(a, hold(system, Asked(gaze_azimuth_deg=a), speech, seconds)) for a in AZIMUTHS]
    out.curves["gaze azimuth, deg"] = [(a, _degrees(m, "gazeAzimuth")) for a, m in gaze]
    raised = [(a, hold(system, Asked(gaze_elevation_deg=a), speech, seconds)) for a in ELEVATIONS]
    out.curves["gaze elevation, deg"] = [(a, _degrees(m, "gazeElevation")) for a, m in raised]
    near = [(a, hold(system, Asked(distance=a), speech, seconds)) for a in DISTANCES]
    out.curves["distance"] = [(a, float(np.exp(-np.median(m[:, _I["headLogScale"]])))) for a, m in near]
    lively = [(a, hold(system, Asked(liveliness=a), speech, 2 * seconds)) for a in LIVELINESS]
    out.curves["head std, deg, by liveliness"] = [(a, life.head_std([m])) for a, m in lively]
    out.curves["brow std by liveliness"] = [(a, life.brow_std([m])) for a, m in lively]
    out.curves["blinks/min by liveliness"] = [(a, life.blink_rate([m])) for a, m in lively]
    neutral_TD = hold(system, Asked(), speech, seconds)
    for name in EMOTIONS:
        points = [(w, hold(system, Asked().with_emotion(name, w), speech, seconds)) for w in INTENSITIES[1:]]
        out.curves[f"{name}, offset"] = [(0.0, 0.0)] + [(w, offset(m, neutral_TD)) for w, m in points]
    out.figures = {
        "gaze_error_deg": worst(out.curves["gaze azimuth, deg"]),
        "gaze_up_error_deg": worst(out.curves["gaze elevation, deg"]),
        "gaze_10_deg": dict(out.curves["gaze azimuth, deg"])[-10.0],
        "distance_error": worst(out.curves["distance"]),
        "head_std_gain": gain(out.curves["head std, deg, by liveliness"]),
        "brow_std_gain": gain(out.curves["brow std by liveliness"]),
        "emotion_linearity": min(linearity(out.curves[f"{name}, offset"]) for name in EMOTIONS),
        "emotion_offset": min(out.curves[f"{name}, offset"][-1][1] for name in EMOTIONS),
    }
    out.figures["emotions_told_apart_pct"] = 100.0 * separability(system, speech, windows)
    return out


def _degrees(motion_TD: Floats, name: str) -> float:
    return float(np.degrees(np.median(motion_TD[:, _I[name]])))


def worst(curve: Sequence[tuple[float, float]]) -> float:
    """Largest distance of measured from asked, in the curve's unit."""
    return max(abs(measured - asked) for asked, measured in curve)


def gain(curve: Sequence[tuple[float, float]]) -> float:
    """Last point over first: how many times more is measured at full control."""
    return curve[-1][1] / max(curve[0][1], 1e-9)


def linearity(curve: Sequence[tuple[float, float]]) -> float:
    """Pearson's r of measured with asked; 0 when nothing changes."""
    asked, measured = np.array(curve).T
    return float(np.corrcoef(asked, measured)[0, 1]) if measured.std() > 1e-9 else 0.0


def offset(motion_TD: Floats, neutral_TD: Floats) -> float:
    """Euclidean size of the mean change of the face (expression channels; head turns in units of 10 degrees)."""
    change_D = motion_TD.mean(0) - neutral_TD.mean(0)
    turns_3 = np.degrees(change_D[[_I["headYaw"], _I["headPitch"], _I["headRoll"]]]) / 10.0
    return float(np.sqrt((change_D[: space.EXPRESSION_DIM] ** 2).sum() + (turns_3**2).sum()))


def features(motion_TD: Floats) -> NDArray[Any]:
    """What a stretch of motion is like: mean and standard deviation of each channel but blinks and gaze, [F]."""
    used_D = np.ones(space.DIM, bool)
    used_D[[_I["eyeBlinkLeft"], _I["eyeBlinkRight"], _I["gazeAzimuth"], _I["gazeElevation"]]] = False
    return np.concatenate([motion_TD[:, used_D].mean(0), motion_TD[:, used_D].std(0)])


def nearest_centroid(learn_NF: NDArray[Any], label_N: Sequence[str], test_NF: NDArray[Any]) -> list[str]:
    """The label whose mean is nearest, features divided by their standard deviation inside the labels."""
    names = sorted(set(label_N))
    of = np.array(label_N)
    centre_LF = np.stack([learn_NF[of == name].mean(0) for name in names])
    inside_NF = learn_NF - centre_LF[[names.index(name) for name in label_N]]
    scale_F = np.sqrt((inside_NF**2).mean(0)) + 1e-3
    far_NL = (((test_NF[:, None] - centre_LF[None]) / scale_F) ** 2).sum(2)
    return [names[i] for i in far_NL.argmin(1)]


def separability(system: System, speech: MotionClip, windows: int, weight: float = 1.0) -> float:
    """Share of unseen stretches of 3 s (other seeds) that a nearest-centroid classifier gives the right emotion of 7.

    Chance is 1/7.
    """
    rows: dict[str, list[NDArray[Any]]] = {}
    for name in (NEUTRAL, *EMOTIONS):
        asked = Asked().with_emotion(name, weight)
        rows[name] = [features(hold(system, asked, speech, 3.0, seed)) for seed in range(windows)]
    half = windows // 2
    learn = [(row, name) for name, group in rows.items() for row in group[:half]]
    test = [(row, name) for name, group in rows.items() for row in group[half:]]
    guess = nearest_centroid(np.stack([r for r, _ in learn]), [n for _, n in learn], np.stack([r for r, _ in test]))
    return float(np.mean([g == name for g, (_, name) in zip(guess, test, strict=True)]))
