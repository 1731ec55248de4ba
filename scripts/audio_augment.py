"""Recordings made worse on purpose: rooms, noise, telephones, levels, clipping. Timing never changes."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

from avatar.clock import STREAM_RATE
from scripts.make_speech_corpus import room

Floats = NDArray[np.float32]


def noise(rng: np.random.Generator, samples: int) -> Floats:
    """Coloured noise of unit power, steady or swelling, float32 [samples]."""
    spectrum_F = rng.standard_normal(samples // 2 + 1) + 1j * rng.standard_normal(samples // 2 + 1)
    hz_F = np.fft.rfftfreq(samples, 1.0 / STREAM_RATE)
    spectrum_F *= np.maximum(hz_F, 40.0) ** (-rng.uniform(0.0, 1.0))
    noise_S = np.fft.irfft(spectrum_F, samples)
    if rng.random() < 0.4:  # traffic, people: it swells
        knots = rng.gamma(1.5, 0.7, 2 + samples // STREAM_RATE * 3)
        noise_S *= np.interp(np.linspace(0, len(knots) - 1, samples), np.arange(len(knots)), knots)
    out_S: Floats = (noise_S / max(1e-9, float(noise_S.std()))).astype(np.float32)
    return out_S


def _telephone(pcm_S: Floats, rng: np.random.Generator) -> Floats:
    """Narrow band, mu-law at 8 kHz (ITU-T G.711) and back."""
    low_S = soxr.resample(pcm_S, STREAM_RATE, 8_000)
    mu = 255.0
    coded_S = np.sign(low_S) * np.log1p(mu * np.minimum(np.abs(low_S), 1.0)) / np.log1p(mu)
    levels = float(rng.choice([127.0, 31.0]))
    coded_S = np.round(coded_S * levels) / levels
    wide_S = soxr.resample(np.sign(coded_S) * np.expm1(np.abs(coded_S) * np.log1p(mu)) / mu, 8_000, STREAM_RATE)
    out_S = np.zeros(len(pcm_S), np.float32)
    out_S[: len(wide_S)] = wide_S[: len(pcm_S)]
    return out_S


def augment(pcm_S: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.int16]:
    """Another recording of the same speech, int16 [S] at 24 kHz, sample for sample at the same time."""
    x_S: Floats = pcm_S.astype(np.float32) / 32768.0
    if len(x_S) < STREAM_RATE // 10:
        return pcm_S
    if rng.random() < 0.4:
        x_S = room(x_S, rng)
    if rng.random() < 0.5:  # a microphone's colour
        kind = str(rng.choice(["lowpass", "highpass"]))
        hz = rng.uniform(3000.0, 8000.0) if kind == "lowpass" else rng.uniform(100.0, 400.0)
        x_S = sosfilt(butter(1, hz, kind, fs=STREAM_RATE, output="sos"), x_S).astype(np.float32)
    if rng.random() < 0.2:
        x_S = _telephone(x_S, rng)
    if rng.random() < 0.75:
        loud = float(np.sqrt(np.percentile(fftconvolve(x_S**2, np.full(480, 1 / 480.0), "same"), 90)))
        x_S = x_S + noise(rng, len(x_S)) * max(loud, 1e-4) * np.float32(10 ** (-rng.uniform(3.0, 35.0) / 20))
    x_S = x_S * np.float32(10 ** (rng.uniform(-20.0, 6.0) / 20))
    if rng.random() < 0.1:
        x_S = np.clip(x_S * 4.0, -0.9, 0.9)
    return np.clip(np.round(x_S * 32767.0), -32768, 32767).astype(np.int16)
