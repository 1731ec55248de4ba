"""MotionStream: look-ahead, independence from how audio is cut, the fallback without phones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.articulation import SPEECH_CHANNELS
from avatar.motion.idle import State
from avatar.motion.model import LOOKAHEAD_FRAMES, SpeechMotion
from avatar.motion.stream import CLOSE_FRAMES, MotionStream
from avatar.motion.viseme_net import VisemeNet
from tests.test_motion_viseme_net import random_weights

I = space.INDEX  # noqa: E741


def loud(seconds: float, seed: int = 0) -> NDArray[np.int16]:
    t_S = np.arange(int(seconds * STREAM_RATE)) / STREAM_RATE
    return (np.random.default_rng(seed).normal(0, 2500, len(t_S)) * np.sin(2 * np.pi * 2 * t_S) ** 2).astype(np.int16)


_SPOKEN = ("sil", "HH", "AH", "L", "OW", "M", "AA", "M", "AH", "F", "AY", "N", "D", "sil", "sil")
WORDS = [TimedPhone(phone, 0.1 * i, 0.1 * i + 0.1) for i, phone in enumerate(_SPOKEN)]


def all_frames(stream: MotionStream) -> NDArray[np.float32]:
    return np.stack([stream.next_motion() for _ in range(stream.ready_frames())])


@given(cuts=st.lists(st.integers(1, 6000), max_size=12), net=st.booleans())
@settings(max_examples=20, deadline=None)
def test_motion_does_not_depend_on_how_the_audio_was_cut(cuts: list[int], net: bool) -> None:
    pcm_S = loud(1.5)
    streams = [MotionStream(1, VisemeNet(random_weights()) if net else None) for _ in range(2)]
    streams[0].push_audio(pcm_S, None if net else WORDS)
    at = 0
    for cut in [*cuts, len(pcm_S)]:
        if at < len(pcm_S):
            streams[1].push_audio(pcm_S[at : at + cut], None if net else WORDS if at == 0 else [])
        at += cut
    for stream in streams:
        stream.end_segment()
    np.testing.assert_array_equal(*(all_frames(stream) for stream in streams))


def test_frames_are_ready_when_their_look_ahead_is() -> None:
    stream = MotionStream(0)
    assert stream.ready_frames() == 0
    for pushed in range(1, 12):
        stream.push_audio(np.zeros(FRAME_SAMPLES, dtype=np.int16), [])
        assert stream.ready_frames() == max(0, pushed - LOOKAHEAD_FRAMES)
    stream.end_segment()
    assert stream.ready_frames() == 11
    stream.push_audio(np.zeros(100, dtype=np.int16), [])
    stream.end_segment()
    assert stream.ready_frames() == 12  # the second segment's 100 samples take a frame of their own
    for left in range(11, -1, -1):
        stream.next_motion()
        assert stream.ready_frames() == left


@pytest.mark.parametrize("net", [False, True])
def test_streaming_in_real_time_equals_all_at_once(net: bool) -> None:
    """Lips never know more than the look-ahead, whether or not the rest has arrived."""
    pcm_S = loud(1.5)
    early, late = (MotionStream(1, VisemeNet(random_weights()) if net else None) for _ in range(2))
    early.push_audio(pcm_S, None if net else WORDS)
    early.end_segment()
    rows: list[NDArray[np.float32]] = []
    for at in range(0, len(pcm_S), FRAME_SAMPLES):
        part_S = pcm_S[at : at + FRAME_SAMPLES]
        late.push_audio(part_S, None if net else WORDS if at == 0 else [])
        rows += [late.next_motion() for _ in range(late.ready_frames())]
    late.end_segment()
    rows += list(all_frames(late))
    np.testing.assert_allclose(np.stack(rows), all_frames(early), atol=1e-6)


def test_without_phones_and_network_loudness_opens_the_mouth() -> None:
    stream = MotionStream(0)
    quiet = np.zeros(STREAM_RATE, dtype=np.int16)
    stream.push_audio(np.concatenate([quiet, loud(2.0), quiet]))
    stream.end_segment()
    jaw_T = all_frames(stream)[:, I["jawOpen"]]
    assert jaw_T[:20].max() < 0.01 and jaw_T[-18:].max() < 0.01
    assert jaw_T[25:75].max() > 0.12


def test_silence_moves_nothing_but_life() -> None:
    """Pushed silence looks exactly like having nothing to say."""
    talking, resting = MotionStream(3), MotionStream(3)
    talking.push_audio(np.zeros(3 * STREAM_RATE, dtype=np.int16), [TimedPhone("sil", 0.0, 3.0)])
    talking.end_segment()
    for _ in range(75):
        a, b = talking.next_motion(), resting.next_motion()
        assert np.abs(a - b)[SPEECH_CHANNELS].max() < 1e-5


def test_the_mouth_closes_after_speech_that_ends_open() -> None:
    stream = MotionStream(0)
    stream.push_audio(loud(0.6), [TimedPhone("AA", 0.0, 0.6)])
    stream.end_segment()
    spoken_TD = all_frames(stream)
    assert spoken_TD[:, I["jawOpen"]].max() > 0.15
    tail_TD = np.stack([stream.next_motion() for _ in range(CLOSE_FRAMES)])
    assert tail_TD[-1, I["jawOpen"]] == 0.0 and stream.tail_frames == CLOSE_FRAMES


def test_back_to_back_segments_flow() -> None:
    """Two replies without a pause: no closing in between, no jump."""
    stream = MotionStream(0)
    for _ in range(2):
        stream.push_audio(loud(0.4, seed=2), [TimedPhone("AA", 0.0, 0.4)])
        stream.end_segment()
    jaw_T = all_frames(stream)[:, I["jawOpen"]]
    assert np.abs(np.diff(jaw_T)).max() < 0.2 and jaw_T[6:14].min() > 0.1


def test_another_model_takes_the_seam() -> None:
    class Humming:
        def __init__(self) -> None:
            self.samples, self.asked, self.resets = 0, [], 0

        def push(self, pcm_S: NDArray[np.int16], phones: object) -> None:
            self.samples += len(pcm_S)

        def end_segment(self) -> None:
            assert self.samples % FRAME_SAMPLES == 0

        def frame(self, index: int, *, last_known: bool) -> SpeechMotion:
            self.asked.append(index)
            motion_D = space.neutral()
            motion_D[I["jawOpen"]] = 0.2
            return SpeechMotion(motion_D)

        def reset(self) -> None:
            self.samples, self.resets = 0, self.resets + 1

    model = Humming()
    stream = MotionStream(0, model=model)
    stream.push_audio(loud(0.5))
    stream.end_segment()
    assert abs(all_frames(stream)[-1, I["jawOpen"]] - 0.2) < 1e-6
    assert model.asked == list(range(13))
    stream.clear()
    assert model.resets == 1
    stream.push_audio(loud(0.5))
    stream.end_segment()
    stream.next_motion()
    assert model.asked[-1] == 0


def test_states() -> None:
    stream = MotionStream(0)
    for state in State:
        stream.set_state(state)
        assert stream.state is state
