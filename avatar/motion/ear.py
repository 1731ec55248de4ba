"""What the avatar hears of the visitor, four numbers per display frame: the listening face goes with them.

Causal, and a function of the samples heard so far, not of how they were cut. A voice is what stands out of the noise
floor, and the floor is the faintest of the last two seconds (the minimum statistics of R. Martin, 2001, without its
spectral part): speech has gaps, a fan has none, so a fan that starts is a voice for two seconds and then is not.

Shape suffixes: S = samples at 16 kHz, U = 4 features, B = 10 ms bins.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.loudness import sound_power
from avatar.clock import FPS, MIC_RATE

Floats = NDArray[np.float32]

EAR_NAMES: Final = ("level", "speaking", "paused", "phrase")
"""level: the voice over the noise floor, 0 .. 1 (30 dB and more); speaking: smoothed, 0 or 1 when settled;
paused: 1 when they have just paused, falling to 0 with the time since then (exp(-t / 1 s)), 0 while they speak;
phrase: how long they have been speaking, 1 - exp(-t / 3 s), fading in a long pause."""
EAR_FEATURES: Final = len(EAR_NAMES)

BIN: Final = MIC_RATE // 100
_ABOVE_FLOOR_DB: Final = 9.0
_FAINTEST_DB: Final = -52.0
_LOWEST_FLOOR_DB: Final = -62.0
"""Digital silence is no quieter than a quiet room."""
_FLOOR_BINS: Final = 200
_SMOOTH: Final = 0.25  # per 10 ms: the floor is not the faintest bin but the faintest 40 ms
_LEVEL_RANGE_DB: Final = 30.0
_LEVEL_ATTACK, _LEVEL_RELEASE = 0.30, 0.07
_SPEAKING_ATTACK, _SPEAKING_RELEASE = 0.12, 0.06
_PAUSE_BINS: Final = 22
"""Quiet for this long is a pause; shorter gaps lie inside words."""
_ONSET_BINS: Final = 6
"""Voice for this long starts a phrase; a click or a cough's edge does not."""
_PAUSED_S, _PHRASE_S = 1.0, 3.0
_PHRASE_FADE_S: Final = 0.8
_PATIENCE_FRAMES: Final = 8
"""Frames without any sound after which the visitor counts as silent (a muted microphone sends nothing)."""
_BINS_PER_FRAME: Final = 100 // FPS


class VoiceDetector:
    """Voice or not, per 10 ms of sound, against a running noise floor."""

    def __init__(self) -> None:
        self._rest_S = np.zeros(0, dtype=np.int16)
        self._smooth_db: float | None = None
        self._bin = 0
        self._lows: deque[tuple[int, float]] = deque()  # (bin, dB), rising: the first is the faintest of the last 2 s

    def push(self, pcm_S: NDArray[np.int16]) -> list[tuple[bool, float]]:
        """For every bin that is now complete: whether it is voice, and its level over the floor in dB.

        Raises ValueError unless `pcm_S` is int16 [samples] (16 kHz mono, any length).
        """
        if pcm_S.dtype != np.int16 or pcm_S.ndim != 1:
            raise ValueError(
                f"the visitor's voice must be mono int16 [samples] at 16 kHz, not {pcm_S.dtype} {list(pcm_S.shape)}."
            )
        pcm_S = np.concatenate([self._rest_S, pcm_S])
        bins = len(pcm_S) // BIN
        self._rest_S = pcm_S[bins * BIN :].copy()
        frame_BS = pcm_S[: bins * BIN].reshape(bins, BIN).astype(np.float32) / 32768.0
        out = []
        for db in (10.0 * np.log10(sound_power(frame_BS) + 1e-9)).tolist():
            floor_db = self._floor(db)
            out.append((db > max(floor_db + _ABOVE_FLOOR_DB, _FAINTEST_DB), db - floor_db))
        return out

    def _floor(self, db: float) -> float:
        """The noise floor after one more bin."""
        before_db = db if self._smooth_db is None else self._smooth_db
        self._smooth_db = before_db + _SMOOTH * (db - before_db)
        while self._lows and self._lows[-1][1] >= self._smooth_db:
            self._lows.pop()
        self._lows.append((self._bin, self._smooth_db))
        self._bin += 1
        if self._lows[0][0] <= self._bin - 1 - _FLOOR_BINS:
            self._lows.popleft()
        return max(self._lows[0][1], _LOWEST_FLOOR_DB)


class Ear:
    """Hears the visitor; call `hear` as sound comes and `frame` once per display frame."""

    def __init__(self) -> None:
        self._detector = VoiceDetector()
        self._level = 0.0
        self._speaking = 0.0
        self._voice_bins = 0.0  # of the current phrase
        self._quiet_bins = -1  # since the last voiced bin of a phrase; -1: nothing was said yet
        self._onset = 0.0  # evidence that a phrase starts, in bins
        self._deaf_frames = 0

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """Take the visitor's voice, int16 mono at 16 kHz, any length; ValueError for anything else."""
        for voiced, above_db in self._detector.push(pcm_S):
            self._bin(voiced, above_db)
        if len(pcm_S):
            self._deaf_frames = 0

    def frame(self) -> Floats:
        """The features now, float32 [U], each 0..1."""
        self._deaf_frames += 1
        if self._deaf_frames > _PATIENCE_FRAMES:
            for _ in range(_BINS_PER_FRAME):
                self._bin(False, 0.0)
        paused = 0.0
        if self._quiet_bins >= _PAUSE_BINS:
            paused = float(np.exp(-(self._quiet_bins - _PAUSE_BINS) / 100.0 / _PAUSED_S))
        phrase = 1.0 - float(np.exp(-self._voice_bins / 100.0 / _PHRASE_S))
        return np.array([self._level, self._speaking, paused, phrase], np.float32)

    def _bin(self, voiced: bool, above_db: float) -> None:
        level = min(max(above_db / _LEVEL_RANGE_DB, 0.0), 1.0) if voiced else 0.0
        self._level += (_LEVEL_ATTACK if level > self._level else _LEVEL_RELEASE) * (level - self._level)
        self._onset = min(self._onset + 1.0, _ONSET_BINS) if voiced else max(self._onset - 0.5, 0.0)
        if voiced and (0 <= self._quiet_bins < _PAUSE_BINS or self._onset >= _ONSET_BINS):
            self._quiet_bins = 0
        elif self._quiet_bins >= 0:
            self._quiet_bins += 1
        in_phrase = 0 <= self._quiet_bins < _PAUSE_BINS
        rate = _SPEAKING_ATTACK if in_phrase else _SPEAKING_RELEASE
        self._speaking += rate * (float(in_phrase) - self._speaking)
        if in_phrase:
            self._voice_bins += 1.0
        else:
            self._voice_bins *= 1.0 - 0.01 / _PHRASE_FADE_S
