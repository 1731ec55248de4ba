"""The channels of one portrait's skin without keeping 44 x V x 3 numbers per portrait.

A fitted face moves by the package's own basis, turned and scaled by the fitted pose. Only next to the lid margins, and
only with glasses, does a portrait have channels of its own (rigid.py slides vertices there).

Shape suffixes: K = 44 channels, V skin vertices, N vertices with channels of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion.space import INDEX
from avatar.rig import basis

F32 = NDArray[np.float32]

TOLERANCE: Final = 1e-3
"""px by which a vertex may differ from the turned basis before it gets channels of its own."""


@dataclass(frozen=True)
class SkinBasis:
    """offset(weights) = turn (weights . shared basis), plus `own_KN3` at `own_rows_N`; px."""

    turn_33: F32
    """Rotation times scale (px per cm): canonical axes -> the portrait's."""
    own_rows_N: NDArray[np.int32]
    """Ascending; none for most portraits."""
    own_KN3: F32
    """px to be added there at 1.0 of each channel."""


@cache
def shared_KV3() -> F32:
    """The channels in centimetres, in canonical axes, float32 [44, V, 3], read-only. Blinks are zero: lids close by
    contact, to the portrait's own lower lid."""
    channels = np.ascontiguousarray(basis.load().expression_KV3, np.float32).copy()
    channels[[INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] = 0.0
    channels.flags.writeable = False
    return channels


def from_dense(basis_KV3: NDArray[Any], turn_33: NDArray[Any]) -> SkinBasis:
    """Channels of a portrait (px) as turned shared ones and what differs."""
    turn = np.asarray(turn_33, np.float32)
    left_KV3 = basis_KV3 - shared_KV3() @ turn.T
    rows = np.flatnonzero(np.abs(left_KV3).max((0, 2)) > TOLERANCE)
    return SkinBasis(turn, rows.astype(np.int32), np.ascontiguousarray(left_KV3[:, rows], np.float32))


def to_dense(skin: SkinBasis) -> F32:
    """px offsets [44, V, 3] of every full channel; about a millisecond."""
    dense_KV3 = shared_KV3() @ skin.turn_33.T
    dense_KV3[:, skin.own_rows_N] += skin.own_KN3
    return np.asarray(dense_KV3, np.float32)
