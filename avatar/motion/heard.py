"""From what the viseme network hears to what the lips do: nothing where nothing sounds."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.loudness import Loudness
from avatar.motion.viseme_net import LOOKAHEAD, for_lips

Floats = NDArray[np.float32]

_GATE_REACH_BINS: Final = 7
"""The silence inside a stop is part of speech; no more than what exists beyond a posterior however sound was cut."""
_SILENT_DB, _GATE_RANGE_DB = 26.0, 8.0


def lips_heard(posterior_BV: Floats, loudness: Loudness, first_bin: int) -> Floats:
    """Viseme activations for bins from `first_bin`, float32 [bins, 15]; where nothing sounds the mouth rests."""
    envelope_B = loudness.envelope(first_bin, first_bin + len(posterior_BV), _GATE_REACH_BINS)
    sounding_B1 = np.clip((envelope_B + _SILENT_DB) / _GATE_RANGE_DB, 0.0, 1.0)[:, None]
    lips_BV: Floats = (for_lips(posterior_BV) * sounding_B1).astype(np.float32)
    lips_BV[:, 0] += 1.0 - sounding_B1[:, 0]
    return lips_BV


assert _GATE_REACH_BINS <= LOOKAHEAD + 1
