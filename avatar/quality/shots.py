"""The frames that the checks look at: named motion vectors."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space

F32 = NDArray[np.float32]

DEG: Final = np.pi / 180


def both(**weights: float) -> dict[str, float]:
    """The same weight for the left and the right channel of each name."""
    return {f"{name}{side}": weight for name, weight in weights.items() for side in ("Left", "Right")}


def motion(weights: dict[str, float]) -> F32:
    """A motion vector with these numbers set, float32 [52]."""
    motion_D = space.neutral()
    for name, weight in weights.items():
        motion_D[space.INDEX[name]] = weight
    return motion_D


OPEN: Final[dict[str, dict[str, float]]] = {
    "AA": {"jawOpen": 0.42, **both(mouthLowerDown=0.2, mouthUpperUp=0.15)},
    "EE": {"jawOpen": 0.15, **both(mouthStretch=0.4, mouthSmile=0.3, mouthUpperUp=0.25, mouthLowerDown=0.3)},
    "smile": {"jawOpen": 0.1, **both(mouthSmile=0.8, mouthUpperUp=0.3, cheekSquint=0.5)},
}
CLOSED: Final[dict[str, dict[str, float]]] = {
    "M": {"jawOpen": 0.05, "mouthClose": 0.05, **both(mouthPress=0.85)},
    "B": {"jawOpen": 0.14, "mouthClose": 0.14},
    "P": {"jawOpen": 0.2, "mouthClose": 0.2, "mouthPucker": 0.2},
}
TURNS: Final = (-12, 0, 12)
"""Degrees of yaw that mouths and lids are looked at with."""
POSES: Final[dict[str, dict[str, float]]] = {
    "yaw -15": {"headYaw": -15 * DEG},
    "yaw +15": {"headYaw": 15 * DEG},
    "pitch -10": {"headPitch": -10 * DEG},
    "pitch +10": {"headPitch": 10 * DEG},
    "roll -10": {"headRoll": -10 * DEG},
    "roll +10": {"headRoll": 10 * DEG},
    "corner -": {"headYaw": -12 * DEG, "headPitch": -8 * DEG, "headRoll": 6 * DEG},
    "corner +": {"headYaw": 12 * DEG, "headPitch": 8 * DEG, "headRoll": -6 * DEG},
    "brows up": {"browInnerUp": 0.8, **both(browOuterUp=0.8)},
}
SWEEP_FRAMES: Final = 24
"""One second of slow motion."""


def turned(weights: dict[str, float], yaw_degrees: float) -> dict[str, float]:
    """The same with the head turned."""
    return {**weights, "headYaw": yaw_degrees * DEG}


def open_frames() -> list[str]:
    """Names of the frames with an open mouth."""
    return [f"{name} {yaw:+d}" for name in OPEN for yaw in TURNS]


def closed_frames() -> list[str]:
    """Names of the frames with sealed lips."""
    return [f"{name} {yaw:+d}" for name in CLOSED for yaw in TURNS]


def blink_frames() -> list[tuple[str, str]]:
    """Names of pairs of frames with closed lids, looking left and right."""
    return [(f"blink {yaw:+d} left", f"blink {yaw:+d} right") for yaw in TURNS]


def repainted_frames() -> list[str]:
    """Names of the frames that are drawn a second time with the inside of mouth and eyes painted."""
    return [*closed_frames(), *(left for left, _ in blink_frames()), "AA +0", "gaze left"]


def sweep_frames(name: str) -> list[str]:
    """Names of a slow motion's frames in order; name: head, jaw or lids."""
    return [f"{name} {k:02d}" for k in range(SWEEP_FRAMES)]


def all_shots() -> dict[str, F32 | None]:
    """Every frame by name; None is the portrait's own motion."""
    shots: dict[str, F32 | None] = {"portrait": None, "neutral": motion({})}
    for group in (OPEN, CLOSED):
        shots |= {f"{n} {yaw:+d}": motion(turned(w, yaw)) for n, w in group.items() for yaw in TURNS}
    for yaw in TURNS:
        for side, azimuth in (("left", -18 * DEG), ("right", 18 * DEG)):
            shots[f"blink {yaw:+d} {side}"] = motion(turned({**both(eyeBlink=1.0), "gazeAzimuth": azimuth}, yaw))
            if yaw == 0:
                shots[f"gaze {side}"] = motion({"gazeAzimuth": azimuth})
    shots |= {name: motion(weights) for name, weights in POSES.items()}
    for k in range(SWEEP_FRAMES):
        phase = k / (SWEEP_FRAMES - 1)
        swing = float(np.sin(np.pi * (phase - 0.5)))
        ease = (1 + swing) / 2
        shots[f"head {k:02d}"] = motion({"headYaw": 5 * DEG * swing, "headPitch": 3 * DEG * float(np.cos(4 * phase))})
        shots[f"jaw {k:02d}"] = motion({"jawOpen": 0.35 * ease})
        shots[f"lids {k:02d}"] = motion(both(eyeBlink=ease))
    return shots
