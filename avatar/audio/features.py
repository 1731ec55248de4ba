"""Log-mel features for the viseme network, the same whether streamed or computed at once.

Frame i covers the samples [240 i, 240 i + 600) of 24 kHz audio: 25 ms every 10 ms, 64 mel bands from 60 to
7600 Hz (S. S. Stevens' mel scale in the HTK form). Running in the avatar's own rate saves a resampler; the
bands end below 8 kHz, so telephone-wide and 16 kHz sources look alike.

Shape suffixes: T = frames, M = 64 mel bands, S = samples.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from avatar.clock import STREAM_RATE

Floats = NDArray[np.float32]

HOP: Final = STREAM_RATE // 100
WINDOW: Final = STREAM_RATE // 40
MELS: Final = 64
_FFT: Final = 1024
_LOW_HZ: Final = 60.0
_HIGH_HZ: Final = 7600.0
LOG_FLOOR: Final = 1e-7
"""Added to the band power before the logarithm: about 16 bit rounding noise."""

_QUIET_LOG: Final = -12.0
_BELOW_PEAK: Final = 3.5
_PEAK_DECAY: Final = 0.003
"""Frames whose mean log power is below the first, or further than the second below the recent peak (about
15 dB; the peak sinks by 1.3 dB a second), do not move the running mean: pauses must look like pauses, in a
noisy room too."""
_PRIOR_FRAMES: Final = 25.0
_MEMORY_FRAMES: Final = 300.0
_PRIOR_MEAN_M: Final = np.linspace(-3.0, -9.0, MELS)
_SCALE: Final = 1.0 / 3.0


def mel_filters() -> Floats:
    """Triangular filters, float32 [bins, M], each of unit height."""

    def mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
        value: NDArray[np.float64] = 2595.0 * np.log10(1.0 + hz / 700.0)
        return value

    edges_mel = np.linspace(mel(np.array(_LOW_HZ)), mel(np.array(_HIGH_HZ)), MELS + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins_hz = np.fft.rfftfreq(_FFT, 1.0 / STREAM_RATE)[:, None]
    rising = (bins_hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])
    filters_FM: Floats = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    return filters_FM


_FILTERS_FM: Final = mel_filters()
_WINDOW_S: Final = np.hanning(WINDOW).astype(np.float32)


def log_mel(pcm_S: NDArray[np.int16]) -> Floats:
    """Log-mel frames of whole windows, float32 [max(0, (S - 600) // 240 + 1), M].

    pcm_S: int16 [S] at 24 kHz. Natural logarithm of band power, full scale sine about +4.
    """
    if len(pcm_S) < WINDOW:
        return np.zeros((0, MELS), dtype=np.float32)
    windows_TS = np.lib.stride_tricks.sliding_window_view(pcm_S, WINDOW)[::HOP]
    out_TM = np.empty((len(windows_TS), MELS), dtype=np.float32)
    for first in range(0, len(windows_TS), 256):  # in blocks: long files fit in memory, and rows stay identical
        block_TS = windows_TS[first : first + 256].astype(np.float32) * (_WINDOW_S / 32768.0)
        spectrum_TF = np.fft.rfft(block_TS, _FFT, axis=1)
        power_TF = (spectrum_TF.real**2 + spectrum_TF.imag**2).astype(np.float32) / 32.0
        for row, power_F in enumerate(power_TF):  # one row at a time: the same bits however audio was cut
            out_TM[first + row] = power_F @ _FILTERS_FM
    log_TM: Floats = np.log(out_TM + np.float32(LOG_FLOOR))
    return log_TM


@njit(cache=True)
def _normalise(log_TM: Floats, mean_M: NDArray[np.float64], count: float, peak: float) -> tuple[Floats, float, float]:
    out_TM = np.empty_like(log_TM)
    for t in range(log_TM.shape[0]):
        level = 0.0
        for m in range(log_TM.shape[1]):
            level += log_TM[t, m] / log_TM.shape[1]
        peak = max(level, peak - _PEAK_DECAY)
        if level > _QUIET_LOG and level > peak - _BELOW_PEAK:
            count = min(count + 1.0, _MEMORY_FRAMES)
            for m in range(log_TM.shape[1]):
                mean_M[m] += (log_TM[t, m] - mean_M[m]) / count
        for m in range(log_TM.shape[1]):
            out_TM[t, m] = (log_TM[t, m] - mean_M[m]) * _SCALE
    return out_TM, count, peak


class RunningNorm:
    """Takes the running mean of the speech so far out of each band.

    Streaming knows no utterance statistics; the mean starts at a typical value, follows quickly during the
    first quarter of a second of sound and with a memory of three seconds later. Pauses do not move it.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start with a new speaker."""
        self._mean_M = _PRIOR_MEAN_M.copy()
        self._count = _PRIOR_FRAMES
        self._peak = _QUIET_LOG

    def apply(self, log_TM: Floats) -> Floats:
        """Normalised frames [T, M], about -2..2."""
        out_TM, self._count, self._peak = _normalise(
            np.ascontiguousarray(log_TM), self._mean_M, self._count, self._peak
        )
        return out_TM


class StreamingLogMel:
    """`log_mel` and `RunningNorm` fed piece by piece; the frames do not depend on the pieces."""

    def __init__(self) -> None:
        self._norm = RunningNorm()
        self._rest_S = np.zeros(0, dtype=np.int16)

    def reset(self) -> None:
        """Forget the audio and the speaker."""
        self._norm.reset()
        self.cut()

    def cut(self) -> None:
        """Forget the samples that wait for a full window, keep the speaker's statistics."""
        self._rest_S = np.zeros(0, dtype=np.int16)

    def push(self, pcm_S: NDArray[np.int16]) -> Floats:
        """Feed int16 at 24 kHz; returns the normalised frames [T, M] that became complete."""
        pcm_S = np.concatenate([self._rest_S, pcm_S])
        log_TM = log_mel(pcm_S)
        self._rest_S = pcm_S[len(log_TM) * HOP :].copy()
        return self._norm.apply(log_TM)
