"""Loudness of speech against the speaker's own running level."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.rows import Rows
from avatar.clock import STREAM_RATE

FLOOR_DB: Final = -70.0
_BIN: Final = STREAM_RATE // 100
_START_LEVEL_DB: Final = -23.0
_LEVEL_STEP: Final = 0.012  # per 10 ms of speech: follows a new speaker within about a second


class Loudness:
    """Level in dB full scale per 10 ms bin, with the running level of the speech so far.

    Results do not depend on how the audio is cut into pushes.
    """

    def __init__(self) -> None:
        self.rows = Rows(2)
        self._rest_S = np.zeros(0, dtype=np.int16)
        self._level_db = _START_LEVEL_DB

    def push(self, pcm_S: NDArray[np.int16]) -> None:
        """Append int16 samples at 24 kHz."""
        pcm_S = np.concatenate([self._rest_S, pcm_S])
        bins = len(pcm_S) // _BIN
        self._rest_S = pcm_S[bins * _BIN :].copy()
        if bins == 0:
            return
        frame_BS = pcm_S[: bins * _BIN].reshape(bins, _BIN).astype(np.float32) / 32768.0
        power_B = np.mean(frame_BS**2, axis=1)
        db_B = np.maximum(10.0 * np.log10(power_B + 1e-12), FLOOR_DB)
        level_B = np.empty(bins, dtype=np.float32)
        level = self._level_db
        for i, db in enumerate(db_B.tolist()):
            if db > max(level - 18.0, -52.0):
                level += _LEVEL_STEP * (db - level)
            level_B[i] = level
        self._level_db = level
        self.rows.append(np.stack([db_B, level_B], axis=1).astype(np.float32))

    def relative(self, first: int, last: int) -> NDArray[np.float32]:
        """dB of bins [first, last) against the level at the last known of them; floor where unknown."""
        window_B2 = self.rows.window(first, last)
        known_B = window_B2[:, 1] != 0.0
        if not known_B.any():
            return np.full(last - first, FLOOR_DB, dtype=np.float32)
        level = window_B2[known_B][-1, 1]
        relative_B: NDArray[np.float32] = np.where(known_B, window_B2[:, 0] - level, FLOOR_DB).astype(np.float32)
        return relative_B
