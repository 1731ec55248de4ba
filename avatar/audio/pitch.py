"""Voice pitch, frame by frame, good enough to find accents and final rises."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.clock import STREAM_RATE

LOW_HZ: Final = 70.0
HIGH_HZ: Final = 400.0
_DECIMATE: Final = 3
_RATE: Final = STREAM_RATE // _DECIMATE
_VOICED: Final = 0.5


def _autocorrelation(x_S: NDArray[np.floating[Any]], size: int) -> NDArray[np.float64]:
    auto_L: NDArray[np.float64] = np.fft.irfft(np.abs(np.fft.rfft(x_S, size)) ** 2, size)[: len(x_S)]
    return auto_L


@lru_cache(maxsize=4)
def _window(length: int, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A Hann window and its own autocorrelation, which the signal's is divided by."""
    window_S: NDArray[np.float64] = np.hanning(length)
    return window_S, _autocorrelation(window_S, size)


def pitch(pcm_S: NDArray[np.int16]) -> float:
    """Fundamental frequency in Hz, or 0 where the sound is not voiced.

    pcm_S: int16 at 24 kHz, 40 to 80 ms. Normalised autocorrelation (P. Boersma 1993, without the
    octave cost) of the band below 4 kHz.
    """
    usable = len(pcm_S) // _DECIMATE * _DECIMATE
    x_S = pcm_S[:usable].reshape(-1, _DECIMATE).astype(np.float32).mean(1)
    x_S -= x_S.mean()
    energy = float(x_S @ x_S)
    if energy < len(x_S) * 60.0**2:  # quieter than about -55 dB full scale
        return 0.0
    size = 1 << (2 * len(x_S) - 1).bit_length()
    window_S, window_L = _window(len(x_S), size)
    auto_L = _autocorrelation(x_S * window_S, size)
    low, high = int(_RATE / HIGH_HZ), min(int(_RATE / LOW_HZ), len(x_S) * 2 // 3)
    ratio_L = (auto_L[low:high] / auto_L[0]) / np.maximum(window_L[low:high] / window_L[0], 1e-3)
    inner_L = ratio_L[1:-1]
    peaks = np.flatnonzero((inner_L >= ratio_L[:-2]) & (inner_L > ratio_L[2:])) + 1
    if len(peaks) == 0 or ratio_L[peaks].max() < _VOICED:
        return 0.0
    # Twice the period matches as well as the period: take the first peak that is nearly the best.
    first = peaks[ratio_L[peaks] > 0.9 * ratio_L[peaks].max()][0]
    return _RATE / (low + int(first))
