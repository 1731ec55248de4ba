"""What can be asked of the motion: gaze, distance, emotion, liveliness, state, and the events of being alive.

A control vector is CONTROLS numbers per frame (25 fps), in the order of CONTROL_NAMES:

gazeAzimuth, gazeElevation   where the eyes are to look, radians, as in motion/space.py
logScale                     natural log of the head's scale: > 0 is nearer
warm .. firm                 emotions, each 0 (none) .. 1 (full); all zero is neutral
liveliness                   0 (composed) .. 1 (animated); 0.5 is the usual
idle .. speaking             one of the four is 1
blink                        lid closure of a scheduled blink, 0..1 (a blink is decided, the model shows it)
nod                          depth of a scheduled nod, 0..1 (1 is NOD_DEG degrees of pitch)
rest*                        the identity's resting style: blendshape weights at rest, restRoll in radians

Shape suffixes: C = CONTROLS, T = frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

EMOTIONS: Final = ("warm", "happy", "sad", "concerned", "surprised", "firm")
"""The named emotions; 'neutral' is none of them."""
STATES: Final = ("idle", "listening", "thinking", "speaking")
REST: Final = ("restSmile", "restBrowInnerUp", "restBrowDown", "restSquint", "restJawOpen", "restRoll")

CONTROL_NAMES: Final[tuple[str, ...]] = (
    "gazeAzimuth", "gazeElevation", "logScale", *EMOTIONS, "liveliness", *STATES, "blink", "nod", *REST,
)  # fmt: skip
CONTROLS: Final = len(CONTROL_NAMES)
CONTROL_INDEX: Final[dict[str, int]] = {name: i for i, name in enumerate(CONTROL_NAMES)}
USUAL_LIVELINESS: Final = 0.5
NOD_DEG: Final = 4.0
"""Pitch of a nod at control value 1, in degrees downwards."""

_DEG: Final = math.pi / 180.0
_LOG_FAR: Final = 0.25


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks of the avatar's face and head; the rest (blinks, glances, nods) happens by itself.

    A number outside its range becomes the nearest one inside; NaN and infinities raise ValueError.

    gaze_azimuth_deg: main direction of the eyes, -20..20 degrees, positive towards the picture's right;
        0 is the visitor.
    gaze_elevation_deg: -12..12 degrees, positive up.
    distance: of the head from the camera as a multiple of the portrait's own, 0.78..1.28; below 1 is nearer.
    warm .. firm: emotions, 0 (none) .. 1 (full); all zero is neutral.
    liveliness: 0 (composed) .. 1 (animated), 0.5 is the usual.
    rest_*: the resting style of this identity: blendshape weights 0..1 (rest_jaw_open to 0.1), rest_roll_deg -6..6.
    """

    gaze_azimuth_deg: float = 0.0
    gaze_elevation_deg: float = 0.0
    distance: float = 1.0
    warm: float = 0.0
    happy: float = 0.0
    sad: float = 0.0
    concerned: float = 0.0
    surprised: float = 0.0
    firm: float = 0.0
    liveliness: float = USUAL_LIVELINESS
    rest_smile: float = 0.0
    rest_brow_inner_up: float = 0.0
    rest_brow_down: float = 0.0
    rest_squint: float = 0.0
    rest_jaw_open: float = 0.0
    rest_roll_deg: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = float(getattr(self, field.name))
            if not math.isfinite(value):
                raise ValueError(f"{field.name} must be a number, not {value}.")
            low, high = _RANGES.get(field.name, (0.0, 1.0))
            object.__setattr__(self, field.name, min(max(value, low), high))

    def with_emotion(self, name: str, weight: float = 1.0) -> Asked:
        """The same with this one emotion, 0..1; 'neutral' is none. ValueError for a name that is no emotion."""
        if name != "neutral" and name not in EMOTIONS:
            raise ValueError(f"{name!r} is no emotion: use one of neutral, {', '.join(EMOTIONS)}.")
        return replace(self, **{other: weight if other == name else 0.0 for other in EMOTIONS})

    def emotion_weights(self) -> NDArray[np.float32]:
        """The emotions in the order of EMOTIONS, float32 [6]."""
        return np.array([getattr(self, name) for name in EMOTIONS], np.float32)

    def fill(self, control_TC: NDArray[np.float32]) -> None:
        """Write what is asked into control vectors [..., CONTROLS]; states, blink and nod are left alone."""
        control_TC[..., _ASKED] = [
            self.gaze_azimuth_deg * _DEG,
            self.gaze_elevation_deg * _DEG,
            -math.log(self.distance),
            *self.emotion_weights(),
            self.liveliness,
            self.rest_smile,
            self.rest_brow_inner_up,
            self.rest_brow_down,
            self.rest_squint,
            self.rest_jaw_open,
            self.rest_roll_deg * _DEG,
        ]


_RANGES: Final[dict[str, tuple[float, float]]] = {
    "gaze_azimuth_deg": (-20.0, 20.0),
    "gaze_elevation_deg": (-12.0, 12.0),
    "distance": (math.exp(-_LOG_FAR), math.exp(_LOG_FAR)),
    "rest_jaw_open": (0.0, 0.1),
    "rest_roll_deg": (-6.0, 6.0),
}
_ASKED: Final = [
    CONTROL_INDEX[name] for name in ("gazeAzimuth", "gazeElevation", "logScale", *EMOTIONS, "liveliness", *REST)
]
"""Where the numbers of `Asked` go in a control vector, in the order of its fields."""
