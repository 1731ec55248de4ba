"""Motion as ARKit's 52 blendshapes: what other avatars and capture apps understand.

Two files can be written. *Live Link Face CSV* has the columns, names and order of Epic's app of that name: a timecode,
the number of values (61), the 52 shapes, then yaw, pitch and roll of head, left eye and right eye. *JSON* carries our
own 52 numbers and ARKit's 52 side by side.

Signs and units of the nine angles (radians), seen from the person filmed:
    yaw    > 0 towards the person's right (image left): the opposite of ours
    pitch  > 0 down: the opposite of ours
    roll   > 0 crown towards the person's left (image right): like ours
Those of the eyes were read off public captures of the app (EyeLookOutLeft grows where LeftEyeYaw falls, EyeLookDown*
where *EyePitch rises); the head's follow from the app turning all three transforms into angles alike: yaw, then pitch,
then roll (docs/motion/arkit.md says what is known and what is inferred). Eyes are relative to the head; our gaze is
relative to the visitor, so that the head's pose goes into the conversion.

Our tongue height, head shift and distance have no ARKit shape: they are in four more columns at the end, which
others ignore. eyeLook* follow from the gaze, tongueOut is always 0.

Shape suffixes: T = frames, D = 52 of motion/space.py, C = CHANNELS, A = azimuth and elevation.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatar.clock import FPS
from avatar.motion import space

Doubles = NDArray[np.float64]

SHAPES: Final[tuple[str, ...]] = (
    *(f"eye{move}{side}" for side in ("Left", "Right")
      for move in ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")),
    "jawForward", "jawRight", "jawLeft", "jawOpen",
    "mouthClose", "mouthFunnel", "mouthPucker", "mouthRight", "mouthLeft",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthUpperUpLeft", "mouthUpperUpRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""ARKit's 52 in the app's order (right before left for jaw and mouth shifts, as there)."""
ANGLES: Final[tuple[str, ...]] = tuple(f"{what}{a}" for what in ("head", "leftEye", "rightEye") for a in ("Yaw", "Pitch", "Roll"))  # fmt: skip  # noqa: E501
EXTRA: Final[dict[str, str]] = {
    "visavisTongueHeight": "tongueHeight",
    "visavisHeadX": "headX",
    "visavisHeadY": "headY",
    "visavisHeadLogScale": "headLogScale",
}
"""Our further columns and the channel each one carries (units: motion/space.py)."""
CHANNELS: Final[tuple[str, ...]] = (*SHAPES, *ANGLES, *EXTRA)
BLENDSHAPE_COUNT: Final = len(SHAPES) + len(ANGLES)
COLUMNS: Final[tuple[str, ...]] = ("Timecode", "BlendShapeCount", *(n[0].upper() + n[1:] for n in CHANNELS))

LOOK_PER_RAD: Final[dict[str, float]] = {"In": 1.65, "Out": 1.65, "Up": 2.28, "Down": 1.64}
"""eyeLook* weight per radian of the eye in the head, read off public captures of the app (1 is 35, 35, 25, 35 deg)."""
JSON_FORMAT: Final = "visavis-motion"

_I = space.INDEX
_HEAD_SIGNS: Final = np.array([-1.0, -1.0, 1.0])


def to_arkit(motion_TD: NDArray[Any]) -> Doubles:
    """Motion [T, 52] as ARKit's values, float64 [T, C]: weights 0..1, angles in radians, then EXTRA."""
    motion_TD = np.asarray(motion_TD, np.float64)
    head_T3 = motion_TD[:, _I["headYaw"] : _I["headRoll"] + 1]
    eye_TA = _turned(motion_TD[:, space.GAZE], _rotation(head_T3).inv())
    look_T = {
        "LookOutLeft": eye_TA[:, 0] * LOOK_PER_RAD["Out"],
        "LookInRight": eye_TA[:, 0] * LOOK_PER_RAD["In"],
        "LookInLeft": -eye_TA[:, 0] * LOOK_PER_RAD["In"],
        "LookOutRight": -eye_TA[:, 0] * LOOK_PER_RAD["Out"],
    }
    for side in ("Left", "Right"):
        look_T["LookUp" + side] = eye_TA[:, 1] * LOOK_PER_RAD["Up"]
        look_T["LookDown" + side] = -eye_TA[:, 1] * LOOK_PER_RAD["Down"]
    out_T = {f"eye{name}": np.clip(weight_T, 0.0, 1.0) for name, weight_T in look_T.items()}
    out_T |= {name: motion_TD[:, _I[name]] for name in space.ARKIT_NAMES}
    out_T["tongueOut"] = np.zeros(len(motion_TD))
    for axis, (name, sign) in enumerate(zip(("Yaw", "Pitch", "Roll"), _HEAD_SIGNS, strict=True)):
        out_T["head" + name] = sign * head_T3[:, axis]
        for side in ("left", "right"):
            out_T[f"{side}Eye{name}"] = -eye_TA[:, axis] if axis < 2 else np.zeros(len(motion_TD))
    out_T |= {name: motion_TD[:, _I[ours]] for name, ours in EXTRA.items()}
    return np.stack([out_T[name] for name in CHANNELS], axis=1)


def from_arkit(values: Mapping[str, NDArray[Any]]) -> Doubles:
    """ARKit's values by name (CHANNELS), each [T], as motion, float64 [T, 52], not clamped.

    What is missing is 0. The eyes follow the eye angles where any is given and not all are 0, else eyeLook*; with
    neither they stay on the visitor. tongueOut is left out.
    """
    frames = len(next(iter(values.values())))
    zero_T = np.zeros(frames)

    def of(name: str) -> Doubles:
        return np.asarray(values.get(name, zero_T), np.float64)

    motion_TD = np.zeros((frames, space.DIM))
    for name in space.ARKIT_NAMES:
        motion_TD[:, _I[name]] = of(name)
    for name, ours in EXTRA.items():
        motion_TD[:, _I[ours]] = of(name)
    head_T3 = _HEAD_SIGNS * np.stack([of("head" + axis) for axis in ("Yaw", "Pitch", "Roll")], axis=1)
    motion_TD[:, _I["headYaw"] : _I["headRoll"] + 1] = head_T3
    eye_TA = eyes_in_head(values)
    if eye_TA is not None:
        motion_TD[:, space.GAZE] = _turned(eye_TA, _rotation(head_T3))
    return motion_TD


def eyes_in_head(values: Mapping[str, NDArray[Any]]) -> Doubles | None:
    """Azimuth and elevation [T, 2] of the eyes against the head, in our signs; None when nothing tells them."""
    yaw, pitch = ([values[side + axis] for side in ("leftEye", "rightEye") if side + axis in values]
                  for axis in ("Yaw", "Pitch"))  # fmt: skip
    zero_T = np.zeros(len(next(iter(values.values()))))
    if any(np.any(angle_T) for angle_T in yaw + pitch):
        # Both eyes' mean: the app's eyes each carry the angle between optical and visual axis, to opposite sides.
        return -np.stack([np.mean(angles or [zero_T], axis=0) for angles in (yaw, pitch)], axis=1)
    if not any(np.any(value_T) for name, value_T in values.items() if name.startswith("eyeLook")):
        return None

    def of(move: str, side: str) -> Doubles:
        return np.asarray(values.get(f"eyeLook{move}{side}", zero_T), np.float64) / LOOK_PER_RAD[move]

    azimuth_T = of("Out", "Left") - of("In", "Left") + of("In", "Right") - of("Out", "Right")
    elevation_T = of("Up", "Left") + of("Up", "Right") - of("Down", "Left") - of("Down", "Right")
    return np.stack([azimuth_T, elevation_T], axis=1) / 2.0


def timecode(frame: int) -> str:
    """HH:MM:SS:FF.mmm of a frame at 25 fps; mmm are thousandths of a frame, as in the app."""
    seconds, ff = divmod(frame, FPS)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{ff:02d}.000"


def write_motion(path: Path, motion_TD: NDArray[Any]) -> None:
    """Write motion [T, 52] at 25 fps as Live Link Face CSV (.csv) or JSON (.json).

    Raises ValueError for another ending. Reading the file back gives the same motion within rounding (1e-7).
    """
    check_ending(path)
    if path.suffix.lower() == ".json":
        path.write_text(json.dumps(as_json(motion_TD), separators=(",", ":")) + "\n", encoding="utf-8")
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for frame, row_C in enumerate(to_arkit(motion_TD)):
            writer.writerow([timecode(frame), BLENDSHAPE_COUNT, *(f"{value:.10f}" for value in row_C + 0.0)])


def check_ending(path: Path) -> None:
    """Raise ValueError unless `write_motion` can write a file of this ending."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"Motion is written as .csv (Live Link Face) or .json, not '{path.suffix}'.")


def as_json(motion_TD: NDArray[Any]) -> dict[str, Any]:
    """The JSON file's content: frames of both kinds of numbers with their names."""
    return {
        "format": JSON_FORMAT,
        "version": 1,
        "fps": FPS,
        "frames": len(motion_TD),
        "names": list(space.NAMES),
        "motion": np.round(np.asarray(motion_TD, np.float64), 8).tolist(),
        "arkit_names": [*SHAPES, *ANGLES],
        "arkit": np.round(to_arkit(motion_TD)[:, :BLENDSHAPE_COUNT] + 0.0, 8).tolist(),
    }


def _rotation(head_T3: Doubles) -> Rotation:
    """Of yaw, pitch, roll in our signs: the rig's turn_yaw @ turn_pitch @ turn_roll."""
    return Rotation.from_euler("YXZ", head_T3)


def _turned(gaze_TA: Doubles, rotation: Rotation) -> Doubles:
    """Azimuth and elevation of the gaze after a rotation (x right, y down, z towards the viewer)."""
    azimuth_T, elevation_T = np.asarray(gaze_TA, np.float64).T
    level_T = np.cos(elevation_T)
    axis_T3 = np.stack([np.sin(azimuth_T) * level_T, -np.sin(elevation_T), np.cos(azimuth_T) * level_T], axis=1)
    x_T, y_T, z_T = rotation.apply(axis_T3).T
    return np.stack([np.arctan2(x_T, z_T), -np.arctan2(y_T, np.hypot(x_T, z_T))], axis=1)
