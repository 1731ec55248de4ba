"""Head and brows move with accents and phrases, not by themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.audio.loudness import Loudness
from avatar.audio.pitch import pitch
from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.prosody import Prosody

DEG = 180 / np.pi


def voice(seconds: float, accents_s: list[float], seed: int = 0) -> NDArray[np.int16]:
    """A buzz at 120 Hz with syllables at 5 Hz; accented ones are louder and higher."""
    t_S = np.arange(int(seconds * STREAM_RATE)) / STREAM_RATE
    accent_S = sum(np.exp(-(((t_S - a) / 0.08) ** 2)) for a in accents_s) if accents_s else np.zeros_like(t_S)
    phase_S = 2 * np.pi * np.cumsum(120 * (1 + 0.35 * accent_S)) / STREAM_RATE
    buzz_S = sum(np.sin(k * phase_S) / k for k in range(1, 20))
    syllable_S = 0.25 + 0.75 * np.sin(np.pi * 2.5 * t_S) ** 2
    return (1500 * buzz_S * syllable_S * (1 + 1.6 * accent_S)).astype(np.int16)


def moved(pcm_S: NDArray[np.int16], seed: int = 0) -> tuple[NDArray[np.float32], list[int]]:
    prosody = Prosody(np.random.default_rng(seed))
    prosody.push(pcm_S)
    rows, ends = [], []
    for k in range(len(pcm_S) // FRAME_SAMPLES):
        motion_D, boundary = prosody.frame(k)
        rows.append(motion_D)
        if boundary:
            ends.append(k)
    return np.stack(rows), ends


def test_pitch_of_a_voice() -> None:
    for hz in (90, 120, 200, 320):
        t_S = np.arange(FRAME_SAMPLES) / STREAM_RATE
        pcm_S = (4000 * (np.sin(2 * np.pi * hz * t_S) + 0.6 * np.sin(4 * np.pi * hz * t_S))).astype(np.int16)
        assert abs(pitch(pcm_S) / hz - 1) < 0.06
    assert pitch(np.zeros(FRAME_SAMPLES, dtype=np.int16)) == 0
    assert pitch(np.random.default_rng(0).normal(0, 3000, FRAME_SAMPLES).astype(np.int16)) == 0


def test_loudness_follows_the_speaker() -> None:
    """A voice 12 dB quieter is at its own usual level after two seconds; pushes do not matter."""
    loud_S = voice(3.0, [])
    for gain in (1.0, 0.25):
        meter, cut = Loudness(), Loudness()
        pcm_S = (loud_S * gain).astype(np.int16)
        meter.push(pcm_S)
        for i in range(0, len(pcm_S), 701):
            cut.push(pcm_S[i : i + 701])
        relative_B = meter.relative(200, 300)
        assert abs(np.percentile(relative_B, 70)) < 4.0
        assert np.array_equal(relative_B, cut.relative(200, 300))


def test_strokes_land_on_accents() -> None:
    accents_s = [1.1, 2.3, 3.5, 4.9, 6.1, 7.3]
    hits = total = 0
    for seed in range(6):
        with_TD, _ = moved(voice(8.5, accents_s), seed)
        pitch_T = with_TD[:, space.INDEX["headPitch"]] * DEG
        for a in accents_s:
            near = slice(round((a - 0.15) * FPS), round((a + 0.2) * FPS))
            before = slice(round((a - 0.5) * FPS), round((a - 0.3) * FPS))
            hits += bool(pitch_T[near].min() < pitch_T[before].mean() - 0.8)
            total += 1
    assert hits / total > 0.5


def test_an_even_voice_nods_less() -> None:
    def nodding(accents_s: list[float]) -> float:
        paths = [np.diff(moved(voice(8.0, accents_s), seed)[0][:, space.INDEX["headPitch"]]) for seed in range(4)]
        return float(np.abs(np.concatenate(paths)).mean())

    assert nodding([1.1, 2.3, 3.5, 4.9, 6.1, 7.3]) > 1.3 * nodding([])


def test_phrases_end_at_pauses() -> None:
    pause_S = np.zeros(STREAM_RATE // 2, dtype=np.int16)
    pcm_S = np.concatenate([voice(2.0, []), pause_S, voice(2.0, []), pause_S])
    _, ends = moved(pcm_S)
    assert len(ends) == 2
    assert all(abs(k / FPS - t) < 0.25 for k, t in zip(ends, (2.1, 4.6), strict=True))


def test_it_is_smooth_small_and_silent_in_silence() -> None:
    motion_TD, _ = moved(voice(20.0, list(np.arange(1.0, 19.0, 0.9))))
    assert np.abs(np.diff(motion_TD[:, space.HEAD], axis=0))[:, :3].max() * DEG < 1.5
    assert np.abs(motion_TD[:, space.HEAD])[:, :3].max() * DEG < 10
    assert space.clamp(motion_TD)[1] <= np.count_nonzero(motion_TD < 0)  # brows only rise
    quiet_TD, _ = moved(np.zeros(4 * STREAM_RATE, dtype=np.int16))
    assert np.abs(quiet_TD).max() < 1e-6
