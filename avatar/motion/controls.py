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

from typing import Final

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
