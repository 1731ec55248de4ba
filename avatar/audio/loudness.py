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
_AUDIBLE_DB: Final = -55.0
_SPEECH_RANGE_DB: Final = 18.0
_RISE, _FALL = 0.025, 0.012  # per 10 ms of speech: the level follows a new speaker within a second
_SINK_DB: Final = 0.015  # per 10 ms of audible sound too faint to be speech: finds a much quieter speaker
_START_BINS: Final = 60
_STILL: Final = 0.01
"""A bin that moves by less than -20 dB about its mean (fully from -13 dB) is an offset of the line, not sound."""


def sound_power(frame_BS: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean square of each bin [B, S], float32 [B], without the offset of bins that hardly move about it."""
    power_B = np.mean(frame_BS**2, axis=1)
    offset_B = np.mean(frame_BS, axis=1) ** 2
    changes_B = np.maximum(power_B - offset_B, 0.0) / np.maximum(offset_B, 1e-12)
    still_B = 1.0 - np.clip((changes_B - _STILL) / (4.0 * _STILL), 0.0, 1.0)
    sound_B: NDArray[np.float32] = np.maximum(power_B - offset_B * still_B, 0.0)
    return sound_B


class Loudness:
    """Level in dB full scale per 10 ms bin, with the running level of the speech so far.

    Results do not depend on how the audio is cut into pushes.
    """

    def __init__(self) -> None:
        self.rows = Rows(2)
        self._rest_S = np.zeros(0, dtype=np.int16)
        self._level_db = _START_LEVEL_DB
        self._heard = 0

    def push(self, pcm_S: NDArray[np.int16]) -> None:
        """Append int16 samples at 24 kHz."""
        pcm_S = np.concatenate([self._rest_S, pcm_S])
        bins = len(pcm_S) // _BIN
        self._rest_S = pcm_S[bins * _BIN :].copy()
        if bins == 0:
            return
        frame_BS = pcm_S[: bins * _BIN].reshape(bins, _BIN).astype(np.float32) / 32768.0
        power_B = sound_power(frame_BS)
        db_B = np.maximum(10.0 * np.log10(power_B + 1e-12), FLOOR_DB)
        level_B = np.empty(bins, dtype=np.float32)
        level = self._level_db
        for i, db in enumerate(db_B.tolist()):
            if db > _AUDIBLE_DB:
                if self._heard < _START_BINS:
                    level += max(_RISE if db > level else _FALL, 1.0 / (self._heard + 8)) * (db - level)
                elif db > level - _SPEECH_RANGE_DB:
                    level += (_RISE if db > level else _FALL) * (db - level)
                else:
                    level -= _SINK_DB
                self._heard += 1
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

    def envelope(self, first: int, last: int, reach: int) -> NDArray[np.float32]:
        """For bins [first, last): the loudest of the bins within `reach`, in dB against the bin's level."""
        window_B2 = self.rows.window(first - reach, last + reach)
        db_B = np.where(window_B2[:, 1] != 0.0, window_B2[:, 0], FLOOR_DB)
        peak_B = np.lib.stride_tricks.sliding_window_view(db_B, 2 * reach + 1).max(1)
        level_B = window_B2[reach : reach + last - first, 1]
        envelope_B: NDArray[np.float32] = np.where(level_B != 0.0, peak_B - level_B, FLOOR_DB).astype(np.float32)
        return envelope_B
