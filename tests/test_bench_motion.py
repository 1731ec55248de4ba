"""The motion bench measures the motion it says it measures, and notices when an hour is unlike a minute."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.bench.motion import FIRST_CHUNK, _first_motion_ms, _long, _speak, batched_first_ms
from agent.bench.motion_parts import STAGES, Stopwatch, TimedMotion
from agent.bench.motion_talk import talk
from avatar.audio.phones import TimedPhone
from avatar.clock import FPS, FRAME_SAMPLES
from avatar.motion.diffusion.batch_bench import untrained
from avatar.motion.diffusion.numpy_net import NumpyNet
from avatar.motion.diffusion.stream import DiffusionMotion
from avatar.motion.state import State
from avatar.motion.stream import MotionStream

Floats = NDArray[np.float32]
Samples = NDArray[np.int16]


def speech(seconds: float) -> Samples:
    rng = np.random.default_rng(0)
    at_S = np.arange(int(seconds * 24_000)) / 24_000
    return (rng.normal(0, 4000, len(at_S)) * np.abs(np.sin(7 * at_S))).astype(np.int16)


def test_a_stage_is_timed_without_the_stages_inside_it() -> None:
    watch = Stopwatch()
    with watch.stage("features"):
        work(0.02)
        with watch.stage("viseme_net"):
            work(0.06)
            with watch.stage("log_mel"):
                work(0.02)
        work(0.02)
    assert watch.seconds["features"] == pytest.approx(0.04, abs=0.015)
    assert watch.seconds["viseme_net"] == pytest.approx(0.06, abs=0.015)
    assert watch.seconds["log_mel"] == pytest.approx(0.02, abs=0.015)


def work(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_the_stopwatch_changes_nothing_and_misses_nothing() -> None:
    net, pcm_S = NumpyNet(untrained("tiny")), speech(2.0)
    timed, plain = TimedMotion(net, 3), DiffusionMotion(net, 3)
    for motion in (timed, plain):
        motion.push_audio(pcm_S)
    started = time.process_time()
    shown = [timed.next_motion() for _ in range(30)]
    spent = time.process_time() - started
    np.testing.assert_array_equal(shown, [plain.next_motion() for _ in range(30)])
    assert all(timed.watch.seconds[stage] > 0 for stage in STAGES)
    before = sum(timed.watch.seconds.values())
    timed.end_segment()
    assert before >= 0.9 * spent


class Still:
    """A network that costs nothing."""

    past = 10

    def sample(self, past_PD: Floats, audio_TA: Floats, control_TC: Floats, ear_TU: Floats, noise_ND: Floats) -> Floats:
        return np.zeros_like(noise_ND)


def test_a_talk_has_its_minutes_and_every_state() -> None:
    motion = MotionStream(1)
    told = talk(motion, speech(10.0), np.zeros(16_000 * 10, np.int16), 1)
    assert len(told.minute_s) == 1 and 60 * FPS <= sum(told.state_frames.values()) <= 80 * FPS
    assert all(told.state_frames[state] > 0 and told.real_time_factor(state) > 0 for state in State)
    assert told.state_frames[State.SPEAKING] == max(told.state_frames.values())


def test_a_motion_that_keeps_what_was_said_is_noticed() -> None:
    """What a session holds after the conversation is counted: a hoarder's growth shows, an honest one's does not."""

    class Hoarder(MotionStream):
        kept: list[Samples]

        def push_audio(self, pcm_S: Samples, phones: Sequence[TimedPhone] | None = None) -> None:
            self.kept = [*getattr(self, "kept", []), pcm_S.copy()]
            super().push_audio(pcm_S, phones)

    honest = _long(MotionStream, Still(), speech(10.0), 1)
    hoarder = _long(Hoarder, Still(), speech(10.0), 1)
    assert float(hoarder["motion_session_growth_kb"] or 0) > 1000
    assert abs(float(honest["motion_session_growth_kb"] or 0)) < 100


def test_the_first_chunk_is_the_least_that_speaks() -> None:
    net = NumpyNet(untrained("tiny"))
    motion = DiffusionMotion(net, 0)
    motion.push_audio(speech(1.0)[: FIRST_CHUNK - 1])
    assert motion.ready_frames() == 0
    passed, worked = _first_motion_ms(lambda seed: DiffusionMotion(net, seed), speech(1.0), 2)
    assert len(passed) == len(worked) == 2 and min(passed) > 0
    assert len(batched_first_ms(untrained("tiny"), "cpu", speech(1.0), 3)) == 3
    assert FIRST_CHUNK == 8 * FRAME_SAMPLES
    _speak(motion, speech(0.5))
    assert motion.ready_frames() == 0
