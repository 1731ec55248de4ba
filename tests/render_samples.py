"""What the decoder's tests draw: the default presenter, prepared once per test run, and motions by name."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.identity import load_identity
from avatar.motion import space
from avatar.portrait.store import Identity
from avatar.render.decoder import Decoder
from avatar.rig.types import FittedRig


@cache
def identity() -> Identity:
    """The default presenter."""
    return load_identity()


@cache
def rig() -> FittedRig:
    return FittedRig.unpack(identity().arrays)


@cache
def decoder(size: int = 256) -> Decoder:
    return Decoder(identity(), size=size)


def motion(**channels: float) -> NDArray[np.float32]:
    """A motion vector by channel names; a name without a side sets both."""
    out = space.neutral()
    for name, value in channels.items():
        for full in [name] if name in space.INDEX else [name + "Left", name + "Right"]:
            out[space.INDEX[full]] = value
    return out


def posed(*shares: float) -> NDArray[np.float32]:
    """Head and gaze somewhere in their ranges, each 0 (lowest) to 1."""
    out, tail = space.neutral(), slice(space.EXPRESSION_DIM, space.DIM)
    out[tail] = space.LOW_D[tail] + np.array(shares, np.float32) * (space.HIGH_D[tail] - space.LOW_D[tail])
    return out


def motions() -> st.SearchStrategy[NDArray[np.float32]]:
    """Motion vectors in range; a few channels at once, as faces move."""
    unit = st.floats(0.0, 1.0, width=32)

    def build(picked: dict[int, float], pose: list[float]) -> NDArray[np.float32]:
        out = posed(*pose)
        for index, share in picked.items():
            out[index] = space.LOW_D[index] + share * (space.HIGH_D[index] - space.LOW_D[index])
        return out

    channels = st.dictionaries(st.integers(0, space.EXPRESSION_DIM - 1), unit, max_size=8)
    tail = space.DIM - space.EXPRESSION_DIM
    return st.builds(build, channels, st.lists(unit, min_size=tail, max_size=tail))
