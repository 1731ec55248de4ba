"""The seam test over what systems showed: bends at the windows' boundaries against bends inside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from avatar.motion import space
from avatar.motion.articulation import SPEECH_CHANNELS
from avatar.motion.diffusion.layout import BLOCK
from scripts.evaluate.metrics.seams import seam_test
from scripts.evaluate.play import Shown

_HEAD: Final = np.array([name.startswith("head") for name in space.NAMES])
_BROWS: Final = np.array([name.startswith(("brow", "eyeWide", "eyeSquint", "nose")) for name in space.NAMES])
PARTS: Final = {"mouth": SPEECH_CHANNELS, "head": _HEAD, "brows": _BROWS}
"""Channels tested together. Blinks and gaze are left out: they are events, which windows are cut for."""


def seams(shown: Sequence[Shown], block: int = BLOCK) -> dict[str, float]:
    """For mouth, head and brows: ratio of the median bends, Cliff's delta, and p, inside speech only.

    Windows begin every `block` frames from a segment's first one. A source without windows is a check of the test: its
    delta should be near zero.
    """
    out: dict[str, float] = {}
    for part, channels_D in PARTS.items():
        pieces = []
        for one in shown:
            spoken = [s for s in one.clip.segments if s.frames >= 3 * block]
            pieces += [one.motion_TD[s.start : s.start + s.frames, channels_D] for s in spoken]
        if not pieces or max(float(np.ptp(p, axis=0).max()) for p in pieces) < 1e-6:
            continue
        found = seam_test(pieces, [range(block, len(p), block) for p in pieces])
        out |= {f"{part} ratio": found.ratio, f"{part} delta": found.effect, f"{part} p": found.p}
        out["boundaries"] = found.boundaries
    return out
