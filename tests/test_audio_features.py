"""Streaming features are the offline features, however the audio is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.audio.features import HOP, MELS, WINDOW, RunningNorm, StreamingLogMel, log_mel
from avatar.clock import STREAM_RATE


def noise(seconds: float, seed: int = 0) -> NDArray[np.int16]:
    rng = np.random.default_rng(seed)
    swell = np.abs(np.sin(np.arange(int(seconds * STREAM_RATE)) / 3000.0))
    return (rng.normal(0, 3000, len(swell)) * swell).astype(np.int16)


@given(cuts=st.lists(st.integers(0, 3000), min_size=1, max_size=30))
@settings(max_examples=30, deadline=None)
def test_streaming_equals_offline(cuts: list[int]) -> None:
    pcm_S = noise(0.9)
    whole_TM = RunningNorm().apply(log_mel(pcm_S))
    stream, start, parts = StreamingLogMel(), 0, []
    for cut in [*cuts, len(pcm_S)]:
        parts.append(stream.push(pcm_S[start : start + cut]))
        start += cut
    assert np.array_equal(np.concatenate(parts), whole_TM)
    assert len(whole_TM) == (len(pcm_S) - WINDOW) // HOP + 1


def test_a_tone_is_loudest_in_its_own_band() -> None:
    t_S = np.arange(STREAM_RATE) / STREAM_RATE
    peaks = [
        int(log_mel((10_000 * np.sin(2 * np.pi * hz * t_S)).astype(np.int16)).mean(0).argmax())
        for hz in (150, 500, 1500, 4000, 7000)
    ]
    assert peaks == sorted(set(peaks)) and peaks[0] < 5 and peaks[-1] > MELS - 6


def test_normalisation_forgets_the_level() -> None:
    """The same voice, 20 dB quieter, gives the same features after half a second."""
    loud_TM = RunningNorm().apply(log_mel(noise(3.0)))
    quiet_TM = RunningNorm().apply(log_mel((noise(3.0) / 10).astype(np.int16)))
    before = np.abs(log_mel(noise(3.0)) - log_mel((noise(3.0) / 10).astype(np.int16)))[150:].mean() / 3
    assert np.abs(loud_TM - quiet_TM)[150:].mean() < 0.35 * before


@pytest.mark.parametrize("room", [0, 150])
def test_pauses_do_not_move_the_mean(room: int) -> None:
    """Neither digital silence nor, for two seconds, a room's noise 26 dB below the voice."""
    pause_S = np.random.default_rng(3).normal(0, room, 2 * STREAM_RATE).astype(np.int16)
    speech_TM = log_mel(noise(0.5, seed=1))
    norm, rested = RunningNorm(), RunningNorm()
    for each in (norm, rested):
        each.apply(log_mel(noise(1.0)))
    rested.apply(log_mel(pause_S))
    assert np.array_equal(norm.apply(speech_TM[:1]), rested.apply(speech_TM[:1]))
    assert np.abs(norm.apply(speech_TM[1:]) - rested.apply(speech_TM[1:])).max() < 0.05
