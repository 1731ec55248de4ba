"""What is heard of the visitor does not depend on how the sound was cut, and noise is no voice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.clock import FPS, MIC_RATE
from avatar.motion.ear import EAR_NAMES, Ear

FRAME = MIC_RATE // FPS
LEVEL, SPEAKING, PAUSED, PHRASE = range(len(EAR_NAMES))


def voice(seconds: float, level: float = 0.2) -> NDArray[np.int16]:
    """A voice-like sound: harmonics of 140 Hz in syllables of a quarter of a second, int16 at 16 kHz."""
    t_S = np.arange(int(seconds * MIC_RATE)) / MIC_RATE
    tone_S = sum(np.sin(2 * np.pi * 140 * k * t_S) / k for k in range(1, 12))
    syllables_S = 0.05 + np.sin(np.pi * 4 * t_S) ** 2
    return (level * 32767 * tone_S / 3 * syllables_S).astype(np.int16)


def silence(seconds: float) -> NDArray[np.int16]:
    return np.zeros(int(seconds * MIC_RATE), np.int16)


def noise(seconds: float, rms: float = 300.0) -> NDArray[np.int16]:
    return (rms * np.random.default_rng(3).standard_normal(int(seconds * MIC_RATE))).astype(np.int16)


def listen(pcm_S: NDArray[np.int16]) -> NDArray[np.float32]:
    """Features per frame, [T, 4]."""
    ear = Ear()
    rows = []
    for start in range(0, len(pcm_S) - FRAME + 1, FRAME):
        ear.hear(pcm_S[start : start + FRAME])
        rows.append(ear.frame())
    return np.stack(rows)


def at(seconds: float) -> int:
    return round(seconds * FPS) - 1


def test_a_phrase_and_the_pause_after_it() -> None:
    ear_TU = listen(np.concatenate([silence(1.0), voice(3.0), silence(4.0)]))
    assert ear_TU.min() >= 0.0 and ear_TU.max() <= 1.0
    assert not ear_TU[: at(1.0)].any()
    assert ear_TU[at(1.2), SPEAKING] > 0.5 and (ear_TU[at(1.4) : at(4.0), SPEAKING] > 0.95).all()
    assert ear_TU[at(1.5) : at(4.0), LEVEL].mean() > 0.4
    assert (ear_TU[at(1.1) : at(4.0), PAUSED] == 0.0).all() and ear_TU[at(4.5), PAUSED] > 0.7
    assert (np.diff(ear_TU[at(4.5) :, PAUSED]) < 0.0).all() and ear_TU[-1, PAUSED] < 0.1
    assert ear_TU[at(4.6), SPEAKING] < 0.15 and ear_TU[at(4.6), LEVEL] < 0.1
    assert (np.diff(ear_TU[at(1.2) : at(4.0), PHRASE]) > 0.0).all() and 0.5 < ear_TU[at(4.0), PHRASE] < 0.8
    assert ear_TU[-1, PHRASE] < 0.05


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, FRAME), min_size=1, max_size=12), st.integers(0, 2**31))
def test_cuts_do_not_matter(cuts: list[int], seed: int) -> None:
    """Whatever the chunks, what is known at a display frame gives the same numbers."""
    pcm_S = np.concatenate([noise(0.4), voice(0.9), silence(0.7), voice(0.3)])
    rng = np.random.default_rng(seed)
    ear, rows = Ear(), []
    for start in range(0, len(pcm_S) - FRAME + 1, FRAME):
        frame_S = pcm_S[start : start + FRAME]
        for piece_S in np.split(frame_S, np.sort(rng.permutation(np.array(cuts) % FRAME))):
            ear.hear(piece_S)
        rows.append(ear.frame())
    assert np.array_equal(np.stack(rows), listen(pcm_S))


@pytest.mark.parametrize("rms", [0.0, 1.0, 30.0, 300.0, 3000.0])
def test_steady_noise_is_no_voice(rms: float) -> None:
    assert listen(noise(6.0, rms))[:, SPEAKING].max() < 0.05


def test_a_fan_is_forgotten_and_a_voice_over_it_is_heard() -> None:
    fan_S = noise(9.0, 200.0)
    fan_S[6 * MIC_RATE : 8 * MIC_RATE] += voice(2.0)
    ear_TU = listen(np.concatenate([silence(1.0), fan_S]))
    assert ear_TU[at(4.0) : at(7.0), SPEAKING].max() < 0.2
    assert ear_TU[at(7.6) : at(9.0), SPEAKING].min() > 0.8
    assert ear_TU[at(9.8), SPEAKING] < 0.2


def test_a_click_is_no_phrase() -> None:
    pcm_S = silence(2.0)
    pcm_S[MIC_RATE : MIC_RATE + 300] = 20000
    assert listen(pcm_S)[:, SPEAKING].max() == 0.0


def test_a_muted_microphone_is_silence() -> None:
    """No sound at all for a while counts as a pause; a late chunk does not."""
    ear = Ear()
    ear.hear(voice(1.5))
    assert all(ear.frame()[SPEAKING] > 0.9 for _ in range(5))
    rows = np.stack([ear.frame() for _ in range(2 * FPS)])
    assert rows[-1, SPEAKING] < 0.05 and rows[:, PAUSED].max() > 0.9 and rows[-1, LEVEL] < 0.01


def test_only_int16_is_sound() -> None:
    with pytest.raises(ValueError, match="16 kHz"):
        Ear().hear(np.zeros(100, np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mono"):
        Ear().hear(np.zeros((100, 2), np.int16))
    ear = Ear()
    ear.hear(np.zeros(0, np.int16))
    assert not ear.frame().any()
