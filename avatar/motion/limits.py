"""Keeping a head inside what its portrait can show (portrait/safe.py), without a jolt at the limit."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space

F32 = NDArray[np.float32]

TURNS: Final = slice(space.INDEX["headYaw"], space.INDEX["headRoll"] + 1)
KNEE: Final = 0.6
"""Share of the limit up to which a head turns as asked."""


def limit_head(motion_TD: NDArray[Any], safe_range_23: NDArray[Any]) -> F32:
    """The motion with its head turns pressed softly into lowest and highest yaw, pitch, roll (radians).

    motion_TD: [..., 52], inside motion/space.py's range. Up to KNEE of a limit nothing changes; beyond, the turn nears
    the limit like a tanh, with its slope continuous. A limit as wide as the space's own changes nothing at all.
    Returns a copy.
    """
    out_TD = np.array(motion_TD, np.float32)
    turns_T3 = out_TD[..., TURNS]
    limit_T3 = np.where(turns_T3 < 0, -safe_range_23[0], safe_range_23[1]).astype(np.float32)
    free_T3 = limit_T3 >= np.where(turns_T3 < 0, -space.LOW_D[TURNS], space.HIGH_D[TURNS]) - 1e-4
    knee_T3 = KNEE * limit_T3
    room_T3 = np.maximum(limit_T3 - knee_T3, 1e-6)
    beyond_T3 = np.maximum(np.abs(turns_T3) - knee_T3, 0.0)
    pressed_T3 = np.sign(turns_T3) * (knee_T3 + room_T3 * np.tanh(beyond_T3 / room_T3))
    out_TD[..., TURNS] = np.where(free_T3 | (beyond_T3 <= 0.0), turns_T3, pressed_T3)
    return out_TD
