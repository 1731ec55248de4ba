"""What an emotion does to a face that talks: brows, lids, cheeks, mouth corners, a little of the head.

Each named emotion (controls.py) is an offset in the 52-channel space, added to whatever the face does, and a manner
of moving (tempo, head, brows, blinks). Which muscles: the prototypes of P. Ekman, W. Friesen and J. Hager, *Facial
Action Coding System* (2002), at the strength of a person who serves others, not of an actor. Where the emotions lie
in valence and arousal: the circumplex of J. A. Russell (1980).

An emotion has no say in whether the lips are apart: what would part them is scaled by how far speech has opened them
(`openness`), so a sealed P, B or M stays sealed and a silent mouth stays shut.

Shape suffixes: E = 6 emotions in the order of controls.EMOTIONS, D = 52.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.controls import EMOTIONS, USUAL_LIVELINESS

Floats = NDArray[np.float32]
_I: Final = space.INDEX
_DEG: Final = np.pi / 180.0

NEUTRAL: Final = "neutral"
EMOTION_NAMES: Final = (NEUTRAL, *EMOTIONS)
"""What a person may ask for."""

# Channels without a side stand for both; head in degrees. Smiles are a little stronger on the person's left.
_OFFSETS: Final[dict[str, dict[str, float]]] = {
    "warm": {
        "mouthSmile": 0.30, "mouthDimple": 0.05, "cheekSquint": 0.18, "eyeSquint": 0.12,
        "browInnerUp": 0.22, "browOuterUp": 0.05, "headRoll": 2.2, "headPitch": -0.6, "headLogScale": 0.008,
    },
    "happy": {
        "mouthSmile": 0.62, "mouthDimple": 0.12, "cheekSquint": 0.52, "eyeSquint": 0.22,
        "browInnerUp": 0.10, "browOuterUp": 0.24, "headPitch": 0.9,
    },
    "sad": {
        "browInnerUp": 0.68, "browDown": 0.12, "eyeBlink": 0.16, "eyeSquint": 0.08,
        "mouthFrown": 0.46, "mouthShrugLower": 0.22, "headPitch": -3.0, "headRoll": -1.2,
    },
    "concerned": {
        "browInnerUp": 0.50, "browDown": 0.34, "eyeSquint": 0.14, "mouthFrown": 0.14, "mouthPress": 0.05,
        "headPitch": -1.2, "headRoll": 2.4, "headLogScale": 0.012,
    },
    "surprised": {
        "browInnerUp": 0.50, "browOuterUp": 0.62, "eyeWide": 0.55, "headPitch": 1.4, "headLogScale": -0.008,
    },
    "firm": {
        "browDown": 0.58, "eyeSquint": 0.24, "mouthPress": 0.18, "mouthFrown": 0.08, "mouthShrugLower": 0.08,
        "noseSneer": 0.06, "jawForward": 0.06, "headPitch": -1.0,
    },
}  # fmt: skip

# What would part the lips (or, pressed together at rest, now lets go of them): added in full when speech has them well
# apart, not at all when they are closed.
_OPEN_OFFSETS: Final[dict[str, dict[str, float]]] = {
    "warm": {"mouthUpperUp": 0.06},
    "happy": {"mouthUpperUp": 0.16, "mouthStretch": 0.06},
    "sad": {"mouthLowerDown": 0.03, "mouthShrugLower": -0.10},
    "concerned": {"mouthStretch": 0.06, "mouthPress": -0.04},
    "surprised": {"mouthUpperUp": 0.06, "mouthFunnel": 0.06},
    "firm": {"mouthLowerDown": 0.10, "mouthUpperUp": 0.03, "mouthPress": -0.14},
}

_FREE_GAP: Final = 0.12
"""jawOpen - mouthClose at which the lips count as well apart."""
_ANTAGONISTS: Final = (("mouthSmile", "mouthFrown"), ("eyeWide", "eyeSquint"), ("eyeWide", "eyeBlink"))
_SMILE_SIDES: Final = {"Left": 1.05, "Right": 0.95}


@dataclass(frozen=True, slots=True)
class Dynamics:
    """How a feeling moves, each a factor of the neutral manner.

    tempo: speed of head and brow strokes; head, brows: their size; blinks: their rate; speech: how far jaw and lips
    travel.
    """

    tempo: float = 1.0
    head: float = 1.0
    brows: float = 1.0
    blinks: float = 1.0
    speech: float = 1.0


_DYNAMICS: Final[dict[str, Dynamics]] = {
    "warm": Dynamics(0.95, 1.05, 1.05, 1.0, 1.0),
    "happy": Dynamics(1.15, 1.35, 1.25, 1.1, 1.06),
    "sad": Dynamics(0.70, 0.60, 0.60, 0.85, 0.86),
    "concerned": Dynamics(0.90, 0.85, 1.10, 1.15, 0.96),
    "surprised": Dynamics(1.20, 1.15, 1.40, 0.75, 1.05),
    "firm": Dynamics(1.00, 0.70, 0.70, 0.70, 1.04),
}

# Direction of each emotion in the plane of valence (x) and arousal (y), degrees; 'calm' is nobody's: low arousal and
# no valence is a composed neutral face.
_ANGLES: Final = (("calm", -75.0), ("warm", -15.0), ("happy", 35.0), ("surprised", 85.0), ("firm", 140.0),
                  ("concerned", 180.0), ("sad", 220.0), ("calm", 285.0))  # fmt: skip


def _sides(channels: Mapping[str, float]) -> Floats:
    """Named channels as 52 numbers; a name without its side fills both."""
    out_D = space.neutral()
    for name, value in channels.items():
        if name.startswith("head"):
            out_D[_I[name]] = value if name == "headLogScale" else value * _DEG
        elif name in _I:
            out_D[_I[name]] = value
        else:
            for side, share in _SMILE_SIDES.items():
                out_D[_I[name + side]] = value * (share if name == "mouthSmile" else 1.0)
    return out_D


OFFSET_ED: Final[Floats] = np.stack([_sides(_OFFSETS[name]) for name in EMOTIONS])
"""Each emotion at full intensity on a closed mouth."""
OPEN_OFFSET_ED: Final[Floats] = np.stack([_sides(_OPEN_OFFSETS[name]) for name in EMOTIONS])
"""What is added to it when the lips are well apart."""
_DYNAMICS_EN: Final = np.array([astuple(_DYNAMICS[name]) for name in EMOTIONS])


def check_emotion(name: str) -> str:
    """The name as it is spelt here ('Warm ' -> 'warm'); ValueError for one that is not known."""
    known = name.strip().lower()
    if known not in EMOTION_NAMES:
        raise ValueError(f"unknown emotion {name!r}: use one of {', '.join(EMOTION_NAMES)}.")
    return known


def check_intensity(value: float) -> float:
    """The intensity as a float; ValueError unless it is in 0..1."""
    if not 0.0 <= value <= 1.0:  # NaN fails too
        raise ValueError(f"an emotion's intensity is 0 (none) to 1 (full), not {value}.")
    return float(value)


def weights(emotions: Mapping[str, float] | str, intensity: float = 1.0) -> Floats:
    """Names and intensities as the control vector's six numbers, float32 [E].

    emotions: {'warm': 0.6, 'concerned': 0.3}, or one name with its `intensity`; 'neutral' is no emotion.
    Raises ValueError for unknown names and intensities outside 0..1.
    """
    if isinstance(emotions, str):
        emotions = {emotions: intensity}
    out_E = np.zeros(len(EMOTIONS), np.float32)
    for name, value in emotions.items():
        known, strength = check_emotion(name), check_intensity(value)
        if known != NEUTRAL:
            out_E[EMOTIONS.index(known)] = strength
    return out_E


def from_affect(valence: float, arousal: float) -> Floats:
    """Weights of the named emotions for a point of the valence-arousal plane, float32 [E].

    valence: -1 (unpleasant) .. 1 (pleasant); arousal: -1 (calm) .. 1 (excited). The distance from the centre (at most
    1) is the intensity; the direction is shared linearly between the two emotions next to it, so the map is
    continuous. Raises ValueError outside the square.
    """
    if not (-1.0 <= valence <= 1.0 and -1.0 <= arousal <= 1.0):
        raise ValueError(f"valence and arousal are -1 to 1, not {valence}, {arousal}.")
    out_E = np.zeros(len(EMOTIONS), np.float32)
    intensity = min(1.0, float(np.hypot(valence, arousal)))
    first_deg = _ANGLES[0][1]
    angle = (float(np.degrees(np.arctan2(arousal, valence))) - first_deg) % 360.0 + first_deg
    for (low_name, low), (high_name, high) in pairwise(_ANGLES):
        if low <= angle <= high:
            share = (angle - low) / (high - low)
            for name, part in ((low_name, 1.0 - share), (high_name, share)):
                if name in EMOTIONS:
                    out_E[EMOTIONS.index(name)] = intensity * part
    return out_E


def openness(motion_D: Floats) -> float:
    """How far speech has the lips apart in a frame, 0 (closed or sealed) .. 1; smooth in the motion."""
    gap = float(motion_D[_I["jawOpen"]] - motion_D[_I["mouthClose"]])
    share = min(max(gap / _FREE_GAP, 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


def offset_D(weights_E: Floats, opened: float = 0.0) -> Floats:
    """What a mixture of emotions adds to a frame, float32 [52].

    weights_E: six intensities 0..1. Together they count for little more than one full emotion, and muscles that pull
    against each other give way. opened: `openness` of the frame it is added to.
    """
    weights_E = _tempered(weights_E)
    out_D: Floats = (weights_E @ (OFFSET_ED + np.float32(opened) * OPEN_OFFSET_ED)).astype(np.float32)
    for one, other in _ANTAGONISTS:
        for side in _SMILE_SIDES:
            a, b = _I[one + side], _I[other + side]
            give = 0.8 * min(out_D[a], out_D[b])
            out_D[a] -= give
            out_D[b] -= give
    return out_D


def express(motion_D: Floats, weights_E: Floats) -> Floats:
    """The frame with the emotions' offset added, inside the motion space's ranges, float32 [52].

    Lips that the frame seals stay sealed (see the module's head); a frame whose mouth is shut stays shut.
    """
    shown_D = motion_D + offset_D(weights_E, openness(motion_D))
    return space.clamp(shown_D)[0]


def dynamics(weights_E: Floats) -> Dynamics:
    """The manner of moving of a mixture of emotions."""
    factors_N = 1.0 + _tempered(weights_E) @ (_DYNAMICS_EN - 1.0)
    return Dynamics(*(float(max(factor, 0.3)) for factor in factors_N))


def activity(liveliness: float) -> float:
    """Factor of head and brow motion for a liveliness of 0 (composed, 0.45) .. 1 (animated, 1.8); 1 at the usual."""
    share = (liveliness - USUAL_LIVELINESS) / (1.0 - USUAL_LIVELINESS)
    return float(1.8**share if share >= 0 else 0.45**-share)


def _tempered(weights_E: Floats) -> Floats:
    """Weights whose sum is at most a little more than one full emotion."""
    weights_E = np.clip(np.asarray(weights_E, np.float32), 0.0, 1.0)
    total = float(weights_E.sum())
    return weights_E if total <= 1.0 else np.asarray(weights_E / total**0.75, np.float32)
