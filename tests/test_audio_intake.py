"""Sound of any form becomes int16 at 24 kHz: exact in length, the same however it was cut, refused with a reason."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.audio.intake import HIGHEST_RATE, LOWEST_RATE, Intake
from avatar.clock import STREAM_RATE

RATES = [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000]


def tone(seconds: float, rate: int, hz: float = 440.0, level: float = 0.5, start_s: float = 0.0) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hz * (start_s + np.arange(round(seconds * rate)) / rate))


def take(intake: Intake, signal_S: NDArray[Any], rate: int, chunk: int | None = None) -> NDArray[np.int16]:
    """The whole signal through the intake in chunks, flushed."""
    chunk = chunk or len(signal_S)
    parts = [intake.push(signal_S[i : i + chunk], rate) for i in range(0, len(signal_S), chunk)]
    return np.concatenate([*parts, intake.flush()])


def noise_against(pcm_S: NDArray[np.int16], expected_S: NDArray[np.float64]) -> float:
    """dB of the difference against the expected sound."""
    error_S = pcm_S / 32768.0 - expected_S
    return float(10 * np.log10((error_S**2).mean() / (expected_S**2).mean()))


@pytest.mark.parametrize("rate", RATES)
def test_every_rate_gives_the_same_tone_in_the_same_place(rate: int) -> None:
    intake = Intake()
    pcm_S = take(intake, tone(1.6, rate), rate, chunk=rate // 50)
    assert pcm_S.dtype == np.int16 and len(pcm_S) == 1.6 * STREAM_RATE == intake.samples_out
    assert noise_against(pcm_S[600:-600], tone(1.6, STREAM_RATE)[600:-600]) < -75
    assert intake.warnings() == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32])
@pytest.mark.parametrize("channels", [0, 1, 2, 6])
def test_every_form(dtype: type, channels: int) -> None:
    mono_S = tone(0.5, 48000)
    full = 1.0 if np.issubdtype(dtype, np.floating) else -float(np.iinfo(dtype).min)
    signal = (mono_S * full).astype(dtype)
    if channels:
        signal = np.repeat(signal[:, None], channels, axis=1)
    pcm_S = take(Intake(), signal, 48000, chunk=480)
    assert noise_against(pcm_S[600:-600], tone(0.5, STREAM_RATE)[600:-600]) < -75


def test_channels_are_averaged() -> None:
    left_S, right_S = tone(0.2, STREAM_RATE), tone(0.2, STREAM_RATE, hz=700)
    pcm_S = take(Intake(), np.stack([left_S, right_S], axis=1), STREAM_RATE)
    np.testing.assert_allclose(pcm_S / 32768.0, (left_S + right_S) / 2, atol=1e-4)


def test_what_is_already_right_passes_untouched() -> None:
    speech_S = np.random.default_rng(0).normal(0, 3000, 24000).astype(np.int16)
    assert np.array_equal(take(Intake(), speech_S, STREAM_RATE, chunk=77), speech_S)


@settings(max_examples=60, deadline=None)
@given(
    stretches=st.lists(
        st.tuples(
            st.sampled_from([8000, 16000, 22050, 24000, 44100, 48000, 47999]),
            st.integers(0, 6000),
            st.lists(st.integers(0, 3000), max_size=5),
        ),
        min_size=1,
        max_size=4,
    ),
    dc=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 99),
)
def test_cutting_changes_nothing_and_no_sample_is_lost(
    stretches: list[tuple[int, int, list[int]]], dc: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    whole, cut = Intake(), Intake()
    out_whole, out_cut, expected, rate_before = [], [], 0, None
    pieces: list[tuple[int, int]] = []
    for rate, samples, cuts in stretches:
        signal_S = np.clip(rng.normal(dc, 0.4, samples), -1.3, 1.3)
        out_whole.append(whole.push(signal_S, rate))
        edges = [0, *sorted(min(c, samples) for c in cuts), samples]
        out_cut += [cut.push(signal_S[a:b], rate) for a, b in pairwise(edges)]
        if samples and rate == rate_before:
            pieces[-1] = (rate, pieces[-1][1] + samples)
        elif samples:
            pieces.append((rate, samples))
            rate_before = rate
    out_whole.append(whole.flush())
    out_cut.append(cut.flush())
    expected = sum((2 * samples * STREAM_RATE + rate) // (2 * rate) for rate, samples in pieces)
    joined_S = np.concatenate(out_whole)
    assert np.array_equal(joined_S, np.concatenate(out_cut))
    assert len(joined_S) == expected == whole.samples_out == cut.samples_out
    assert whole.rate_changes == cut.rate_changes == max(0, len(pieces) - 1)
    assert (whole.clipped, whole.over_range) == (cut.clipped, cut.over_range)
    assert whole.pending == cut.pending == 0


def test_the_delay_is_constant_and_short() -> None:
    for rate, most_s in [(8000, 0.08), (16000, 0.045), (44100, 0.045), (48000, 0.045), (24000, 0.0)]:
        intake = Intake()
        held = []
        for _ in range(200):
            intake.push(np.zeros(rate // 100), rate)
            held.append(intake.pending / STREAM_RATE)
        assert max(held) <= most_s, rate
        assert max(held[50:100]) == pytest.approx(max(held[150:]), abs=0.002)


@pytest.mark.parametrize(("before", "after"), [(48000, 16000), (16000, 48000), (44100, 24000), (24000, 44100), (8000, 22050)])  # fmt: skip  # noqa: E501
def test_a_change_of_rate_does_not_click(before: int, after: int) -> None:
    """A tone that goes on at another rate has no more sound outside its own pitch than before the change."""
    intake = Intake()
    first_S, second_S = tone(0.5, before, hz=300), tone(0.5, after, hz=300, start_s=0.5)
    parts = [intake.push(first_S[i : i + 441], before) for i in range(0, len(first_S), 441)]
    parts += [intake.push(second_S[i : i + 441], after) for i in range(0, len(second_S), 441)]
    pcm_S = np.concatenate([*parts, intake.flush()])
    assert intake.rate_changes == 1 and len(pcm_S) == STREAM_RATE
    error_S = pcm_S / 32768.0 - tone(1.0, STREAM_RATE, hz=300)
    assert np.abs(error_S[600:-600]).max() < 0.02
    steps_S = np.abs(np.diff(pcm_S.astype(int), n=2))
    assert steps_S[11000:13000].max() < 2.0 * steps_S[3000:9000].max() + 8


def test_every_flush_begins_afresh() -> None:
    intake = Intake()
    once_S = take(intake, tone(0.3, 44100), 44100)
    again_S = take(intake, tone(0.3, 44100), 44100)
    assert np.array_equal(once_S, again_S) and intake.rate_changes == 0
    assert intake.samples_out == len(once_S) * 2 and len(intake.flush()) == 0


def test_zero_length_chunks_do_nothing() -> None:
    intake = Intake()
    for empty in (np.zeros(0, np.float32), np.zeros((0, 2), np.int16)):
        assert len(intake.push(empty, 44100)) == 0
    assert len(intake.push(np.zeros(0), 8000)) == 0 and intake.rate_changes == 0
    assert intake.samples_in == intake.samples_out == len(intake.flush()) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_with_its_place(bad: float) -> None:
    intake, untouched = Intake(), Intake()
    signal_S = tone(0.1, 16000)
    first_S = intake.push(signal_S, 16000)
    broken_S = signal_S.copy()
    broken_S[123] = bad
    with pytest.raises(ValueError, match=r"sample 1723 \(number 123 of this chunk\) is .*repair=True"):
        intake.push(broken_S, 16000)
    # the stream goes on as if the chunk had not been there
    rest_S = np.concatenate([first_S, intake.push(signal_S, 16000), intake.flush()])
    same_S = np.concatenate([untouched.push(signal_S, 16000), untouched.push(signal_S, 16000), untouched.flush()])
    assert np.array_equal(rest_S, same_S)


def test_repair_puts_silence_and_counts() -> None:
    signal_SC = np.stack([tone(0.2, STREAM_RATE)] * 2, axis=1)
    signal_SC[100:110, 0] = np.nan
    signal_SC[200] = np.inf
    intake = Intake(repair=True)
    pcm_S = take(intake, signal_SC, STREAM_RATE)
    assert intake.repaired == 11 and len(pcm_S) == len(signal_SC) and pcm_S[200] == 0
    assert "became silence" in intake.warnings()[0]


def test_floats_scaled_like_integers_are_refused() -> None:
    with pytest.raises(ValueError, match="divide 16 bit values by 32768"):
        Intake().push(tone(0.1, 16000) * 32768, 16000)


def test_floats_a_little_out_of_range_are_held_at_the_edge() -> None:
    intake = Intake()
    pcm_S = take(intake, tone(0.2, STREAM_RATE, level=1.5), STREAM_RATE)
    assert pcm_S.max() == 32767 and pcm_S.min() == -32768
    assert intake.over_range > 100 and intake.clipped > 100 and len(intake.warnings()) == 2


@pytest.mark.parametrize("chunk", [1, 7, 4800])
def test_clipping_is_counted_and_peaks_are_not(chunk: int) -> None:
    clipped_S = (np.clip(tone(0.2, STREAM_RATE, level=1.4), -1, 1) * 32767).astype(np.int16)
    intake = Intake()
    take(intake, clipped_S, STREAM_RATE, chunk)
    at_edge = int((np.abs(clipped_S) == 32767).sum())
    assert 0.98 * at_edge <= intake.clipped <= at_edge and "turn the producer" in intake.warnings()[0]
    peaks_S = np.zeros(4800, np.int16)
    peaks_S[::50] = 32767
    peaks_S[1::50] = -32768
    quiet = Intake()
    take(quiet, peaks_S, STREAM_RATE, chunk)
    assert quiet.clipped == 0


@pytest.mark.parametrize("offset", [0.3, -0.05, 0.9])
def test_an_offset_is_taken_out_and_the_speech_stays(offset: float) -> None:
    speech_S = tone(3.0, 16000, hz=120, level=0.08)
    intake = Intake()
    pcm_S = take(intake, speech_S + offset, 16000, chunk=320) / 32768.0
    later_S = pcm_S[2 * STREAM_RATE : -600]
    assert abs(later_S.mean()) < 0.001
    expected_S = tone(3.0, STREAM_RATE, hz=120, level=0.08)[2 * STREAM_RATE : -600]
    np.testing.assert_allclose(later_S, expected_S, atol=0.003)  # not delayed, not turned in phase
    assert "offset" in intake.warnings()[0]


def test_an_offset_goes_without_a_click() -> None:
    pcm_S = take(Intake(), np.full(3 * STREAM_RATE, 0.5), STREAM_RATE, chunk=240)
    assert np.abs(np.diff(pcm_S.astype(int))).max() < 20
    assert np.abs(pcm_S[STREAM_RATE:]).max() < 0.01 * 32768
    assert np.abs(pcm_S[2 * STREAM_RATE :]).max() < 0.001 * 32768


def test_sound_without_an_offset_is_left_alone() -> None:
    syllables_S = 0.5 - 0.5 * np.cos(2 * np.pi * 4.0 * np.arange(STREAM_RATE) / STREAM_RATE)
    speech_S = (tone(1.0, STREAM_RATE, hz=90, level=0.7) * syllables_S * 32767).astype(np.int16)
    assert np.array_equal(take(Intake(), speech_S, STREAM_RATE), speech_S)


@pytest.mark.parametrize(
    ("pcm", "rate", "says"),
    [
        (np.zeros(10, np.uint8), 16000, "uint8"),
        (np.zeros(10, np.int64), 16000, "int64"),
        (np.zeros(10, complex), 16000, "complex128"),
        (np.zeros((2, 480)), 16000, "transpose"),
        (np.zeros((2, 3, 4)), 16000, "channels"),
        (np.zeros(()), 16000, "samples"),
        (np.zeros((4, 0)), 16000, "channels"),
        (np.zeros(10), 7999, "7999"),
        (np.zeros(10), 200_000, "200000"),
        (np.zeros(10), float("nan"), "nan"),
        (np.zeros(10), 16000.5, "16000.5"),
    ],
)
def test_other_forms_are_refused_with_what_to_do(pcm: NDArray[Any], rate: float, says: str) -> None:
    intake = Intake()
    with pytest.raises(ValueError, match=says):
        intake.push(pcm, rate)
    assert intake.samples_in == 0


@settings(max_examples=25, deadline=None)
@given(rate=st.integers(LOWEST_RATE, HIGHEST_RATE), samples=st.integers(1, 4000))
def test_any_rate_gives_its_exact_length(rate: int, samples: int) -> None:
    intake = Intake()
    pcm_S = take(intake, np.ones(samples) * 0.1, rate)
    assert len(pcm_S) == (2 * samples * STREAM_RATE + rate) // (2 * rate)
