"""DiffusionMotion: the same frames however it is fed, new windows when something happens, no jump, no growing cost."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.audio.phones import TimedPhone
from avatar.clock import FPS, FRAME_SAMPLES, MIC_RATE, STREAM_RATE
from avatar.motion import space
from avatar.motion.controls import CONTROL_INDEX, Asked
from avatar.motion.diffusion.guard import MOST_PER_FRAME_D, OPENING
from avatar.motion.diffusion.layout import AUDIO_COLUMNS, BLOCK, LOOK
from avatar.motion.diffusion.stream import DiffusionMotion
from avatar.motion.state import State
from avatar.motion.stream import CLOSE_FRAMES
from tests.motion_stand_ins import Floats, FollowNet, WildNet, diffusion
from tests.test_motion_stream import WORDS, loud

JAW = space.INDEX["jawOpen"]
SPEECH_FLAG = AUDIO_COLUMNS["flag_speech"].start


class Recorded(FollowNet):
    """Keeps what it was given and gave: (past, audio, controls, ear, noise, motion) of every window."""

    def __init__(self, past: int = 10) -> None:
        super().__init__(past)
        self.calls: list[tuple[Floats, ...]] = []

    def sample(self, past_PD: Floats, audio_TA: Floats, control_TC: Floats, ear_TU: Floats, noise_ND: Floats) -> Floats:
        motion_ND = super().sample(past_PD, audio_TA, control_TC, ear_TU, noise_ND)
        self.calls.append((past_PD, audio_TA, control_TC, ear_TU, noise_ND, motion_ND))
        return motion_ND


def frames(stream: DiffusionMotion, count: int) -> Floats:
    return np.array([stream.next_motion() for _ in range(count)], np.float32).reshape(count, space.DIM)


def ready(stream: DiffusionMotion) -> Floats:
    return frames(stream, stream.ready_frames())


# --- however it is fed -----------------------------------------------------------------------------------------------


@given(cuts=st.lists(st.integers(1, 9000), max_size=10), phones=st.booleans())
@settings(max_examples=8, deadline=None)
def test_motion_does_not_depend_on_how_the_audio_was_cut(cuts: list[int], phones: bool) -> None:
    pcm_S = loud(1.0)
    whole, cut = diffusion(1), diffusion(1)
    whole.push_audio(pcm_S, WORDS if phones else None)
    at = 0
    for size in [*cuts, len(pcm_S)]:
        if at < len(pcm_S):
            cut.push_audio(pcm_S[at : at + size], (WORDS if at == 0 else []) if phones else None)
        at += size
    for stream in (whole, cut):
        stream.end_segment()
    np.testing.assert_array_equal(ready(whole), ready(cut))


@pytest.mark.parametrize("phones", [False, True])
def test_streaming_in_real_time_equals_all_at_once(phones: bool) -> None:
    """No window knows more than its look-ahead, whether or not the rest has arrived."""
    pcm_S = loud(1.5)
    early, late = diffusion(1), diffusion(1)
    early.push_audio(pcm_S, WORDS if phones else None)
    early.end_segment()
    rows: list[Floats] = []
    for at in range(0, len(pcm_S), FRAME_SAMPLES):
        late.push_audio(pcm_S[at : at + FRAME_SAMPLES], (WORDS if at == 0 else []) if phones else None)
        rows += [late.next_motion() for _ in range(late.ready_frames())]
    late.end_segment()
    rows += list(ready(late))
    np.testing.assert_array_equal(np.stack(rows), ready(early))


OPERATION = st.one_of(
    st.tuples(st.just("push"), st.integers(0, 9_000)),
    st.tuples(st.just("hear"), st.integers(0, 9_000)),
    st.tuples(st.just("take"), st.integers(1, 9)),
    st.tuples(st.just("hold"), st.integers(1, 4)),
    st.tuples(st.just("state"), st.integers(0, 3)),
    st.tuples(st.just("ask"), st.integers(0, 3)),
    st.tuples(st.just("end"), st.just(0)),
    st.tuples(st.just("clear"), st.just(0)),
)
ASKED = (Asked(), Asked(gaze_azimuth_deg=12.0, liveliness=1.0), Asked(happy=0.8, distance=0.85), Asked(sad=1.0))


def play(
    stream: DiffusionMotion, operations: list[tuple[str, int]], between: Callable[[DiffusionMotion, bool], None]
) -> Floats:
    """Carry out the operations; `between` is called before every frame (with its `hold`)."""
    shown = []
    for name, amount in operations:
        match name:
            case "push":
                stream.push_audio(loud(amount / STREAM_RATE, amount), None if amount % 2 else WORDS)
            case "hear":
                stream.hear(loud(amount / MIC_RATE, amount))
            case "state":
                stream.set_state(list(State)[amount])
            case "ask":
                stream.set_controls(ASKED[amount])
            case "end":
                stream.end_segment()
            case "clear":
                stream.clear()
            case _:
                for _ in range(amount):
                    between(stream, name == "hold")
                    shown.append(stream.next_motion(hold=name == "hold"))
    return np.stack(shown) if shown else np.zeros((0, space.DIM), np.float32)


@given(operations=st.lists(OPERATION, max_size=30), seed=st.integers(0, 3), often=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_working_ahead_changes_nothing(operations: list[tuple[str, int]], seed: int, often: int) -> None:
    """Bit for bit, however often and with whatever `hold` it is asked to."""
    calls = 0

    def prepare(stream: DiffusionMotion, hold: bool) -> None:
        nonlocal calls
        calls += 1
        if calls % often == 0:
            stream.prepare(hold=hold if calls % 2 else not hold)

    plain = play(diffusion(seed), operations, lambda stream, hold: None)
    np.testing.assert_array_equal(plain, play(diffusion(seed), operations, prepare))
    np.testing.assert_array_equal(plain, play(diffusion(seed), operations, lambda stream, hold: None))


@given(operations=st.lists(OPERATION, max_size=40), seed=st.integers(0, 3), wild=st.booleans())
@settings(max_examples=50, deadline=None)
def test_whatever_happens_it_stays_a_face(operations: list[tuple[str, int]], seed: int, wild: bool) -> None:
    """In range, no faster than people, and 120 ms after speech the mouth is closed."""
    stream = diffusion(seed, WildNet() if wild else FollowNet())
    shown_TD = play(stream, operations, lambda stream, hold: None)
    stream.clear()
    shown_TD = np.concatenate([shown_TD, frames(stream, 5)])
    assert np.isfinite(shown_TD).all() and space.clamp(shown_TD)[1] == 0
    step_TD = np.abs(np.diff(shown_TD, axis=0))
    slow = [i for i in range(space.DIM) if i not in OPENING and MOST_PER_FRAME_D[i] < 1.0]
    nods = np.array([0.03 if space.NAMES[i] == "headPitch" else 1e-6 for i in slow])
    assert (step_TD[:, slow] <= MOST_PER_FRAME_D[slow] + nods).all()
    assert not shown_TD[-3:, OPENING].any()


OWN = [i for i, name in enumerate(space.NAMES) if name != "headPitch"]
"""Channels that no nod is laid over."""


# --- blocks ----------------------------------------------------------------------------------------------------------


def test_frames_are_ready_in_blocks_when_their_look_ahead_is() -> None:
    stream = diffusion()
    for pushed in range(1, 25):
        stream.push_audio(np.zeros(FRAME_SAMPLES, np.int16), [])
        assert stream.ready_frames() == max(0, pushed - LOOK) // BLOCK * BLOCK
    stream.end_segment()
    assert stream.ready_frames() == 24
    stream.push_audio(np.zeros(100, np.int16), [])
    stream.end_segment()
    assert stream.ready_frames() == 25  # the second segment's 100 samples take a frame of their own
    for left in range(24, -1, -1):
        stream.next_motion()
        assert stream.ready_frames() == left


@given(before=st.integers(0, 12), block=st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_windows_follow_the_segments_grid(before: int, block: int) -> None:
    """Speech windows start with the segment and every `block` frames after, whenever it began on the display."""
    net = Recorded()
    stream = diffusion(0, net, block=block)
    frames(stream, before)
    made = len(net.calls)
    stream.push_audio(loud(1.0), WORDS)
    stream.end_segment()
    ready(stream)
    windows = net.calls[made:]
    assert len(windows) == -(-25 // block)
    for i, (past_PD, audio_TA, *_) in enumerate(windows):
        speech = int(audio_TA[len(past_PD) :, SPEECH_FLAG].sum())
        assert speech == min(block + LOOK, 25 - i * block)


def test_the_networks_past_is_what_was_shown_of_its_own() -> None:
    net = Recorded()
    stream = diffusion(2, net)
    shown = [frames(stream, 7)]
    stream.push_audio(loud(1.0), WORDS)
    stream.end_segment()
    shown += [frames(stream, 12)]
    stream.clear()
    shown += [frames(stream, 11)]
    shown_TD = np.concatenate(shown)
    starts = [0, 5, 7, 12, 17, 19, 24, 29]
    assert len(net.calls) == len(starts)
    for start, (past_PD, audio_TA, *_, noise_ND, _motion) in zip(starts, net.calls, strict=True):
        np.testing.assert_array_equal(past_PD[:, OWN], shown_TD[max(0, start - 10) : start, OWN])
        spoken_T = audio_TA[: len(past_PD), SPEECH_FLAG]
        assert spoken_T.tolist() == [float(7 <= k < 19) for k in range(max(0, start - 10), start)]
        assert len(noise_ND) in (BLOCK + LOOK, BLOCK)


def test_a_nod_is_laid_over_and_makes_no_window() -> None:
    nodding, still = diffusion(5), diffusion(5)
    quiet_S = np.zeros(MIC_RATE // FPS, np.int16)
    t_S = np.arange(2 * MIC_RATE)
    voice_S = (np.random.default_rng(0).normal(0, 3000, len(t_S)) * (t_S % 4000 < 3000)).astype(np.int16)
    shown = []
    for stream, hears in ((nodding, True), (still, False)):
        stream.set_state(State.LISTENING)
        pitch = []
        for k in range(50 + 40):
            at = k * len(quiet_S)
            stream.hear(voice_S[at : at + len(quiet_S)] if hears and at < len(voice_S) else quiet_S)
            pitch.append(float(stream.next_motion()[space.INDEX["headPitch"]]))
        shown.append(np.degrees(pitch))
    dip_T = shown[0] - shown[1]
    assert -6.5 < dip_T.min() < -1.5 and np.abs(np.diff(dip_T)).max() < 1.2 and abs(dip_T[:50]).max() < 1e-4


def test_a_frame_has_its_noise_whatever_window_asks() -> None:
    first, second = Recorded(), Recorded()
    one, other = diffusion(3, first), diffusion(3, second)
    frames(one, 20)
    frames(other, 3)
    other.set_state(State.THINKING)
    frames(other, 9)
    at_0, at_5 = first.calls[0][4], first.calls[1][4]
    at_3 = second.calls[1][4]
    np.testing.assert_array_equal(at_0[3:], at_3[: len(at_0) - 3])
    np.testing.assert_array_equal(at_5[:6], at_3[2:8])
    assert abs(float(np.concatenate([c[4][:BLOCK] for c in first.calls]).std()) - 1.0) < 0.1


def test_nothing_happens_nothing_is_made_twice() -> None:
    """Gaze and blinks come as foreseen: without news a window lasts its five frames."""
    net = FollowNet()
    frames(diffusion(4, net), 60 * FPS)
    assert net.count == 60 * FPS // BLOCK


@pytest.mark.parametrize("news", ["state", "controls", "speech", "hold", "clear"])
def test_news_starts_a_window_at_the_next_frame(news: str) -> None:
    net = Recorded()
    stream = diffusion(5, net)
    if news in ("hold", "clear"):
        stream.push_audio(loud(1.0), WORDS)
    frames(stream, 7)
    made = net.count
    hold = False
    if news == "state":
        stream.set_state(State.THINKING)
    elif news == "controls":
        stream.set_controls(Asked(warm=1.0))
    elif news == "speech":
        stream.push_audio(loud(1.0), WORDS)
    elif news == "hold":
        hold = True
    else:
        stream.clear()
    stream.next_motion(hold=hold)
    assert net.count == made + 1
    past_PD, audio_TA, control_TC, *_ = net.calls[-1]
    assert audio_TA[len(past_PD), SPEECH_FLAG] == float(news == "speech")
    assert control_TC[-1, CONTROL_INDEX["thinking"]] == float(news == "state")
    assert control_TC[-1, CONTROL_INDEX["warm"]] == float(news == "controls")


# --- what is seen ----------------------------------------------------------------------------------------------------


def test_the_mouth_closes_after_speech_that_ends_open() -> None:
    stream = diffusion()
    stream.push_audio(loud(0.6), [TimedPhone("AA", 0.0, 0.6)])
    stream.end_segment()
    assert ready(stream)[:, JAW].max() > 0.15
    assert stream.tail_frames == CLOSE_FRAMES
    tail_TD = frames(stream, 10)
    assert not tail_TD[CLOSE_FRAMES - 1 :, OPENING].any()


def test_the_last_window_knows_that_silence_follows() -> None:
    net = Recorded()
    stream = diffusion(0, net)
    stream.push_audio(loud(0.28), [TimedPhone("AA", 0.0, 0.28)])
    stream.end_segment()
    frames(stream, 10)
    past_PD, audio_TA, *_ = net.calls[1]
    assert audio_TA[len(past_PD) :, SPEECH_FLAG].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert net.count == 2  # the closing mouth is part of it


def test_back_to_back_segments_flow() -> None:
    """Two replies without a pause: no jump."""
    stream = diffusion()
    for _ in range(2):
        stream.push_audio(loud(0.4, seed=2), [TimedPhone("AA", 0.0, 0.4)])
        stream.end_segment()
    jaw_T = ready(stream)[:, JAW]
    assert len(jaw_T) == 20 and np.abs(np.diff(jaw_T)).max() < 0.21 and jaw_T[6:14].min() > 0.1


def test_gaze_goes_where_it_is_asked() -> None:
    stream = diffusion(6)
    stream.set_state(State.LISTENING)
    stream.set_controls(Asked(gaze_azimuth_deg=10.0, gaze_elevation_deg=-4.0))
    gaze_T2 = np.degrees(frames(stream, 60 * FPS)[10:, space.GAZE])
    np.testing.assert_allclose(np.median(gaze_T2, axis=0), [10.0, -4.2], atol=1.0)


def test_speech_is_spoken_as_speaking() -> None:
    net = Recorded()
    stream = diffusion(0, net)
    stream.set_state(State.LISTENING)
    stream.push_audio(loud(0.4), WORDS)
    stream.end_segment()
    frames(stream, 20)
    speaking = [c[2][len(c[0]) :, CONTROL_INDEX["speaking"]] for c in net.calls]
    assert speaking[0].all() and speaking[1].tolist() == [1.0] * 5 + [0.0] * 3 and not speaking[-1].any()
    assert stream.state is State.LISTENING


def test_the_first_window_has_no_past_and_a_past_of_none_is_possible() -> None:
    for past in (0, 1, 25):
        net = Recorded(past)
        frames(diffusion(0, net), 40)
        assert [len(c[0]) for c in net.calls] == [min(5 * i, past) for i in range(8)]


def test_bad_calls_are_refused() -> None:
    stream = diffusion()
    with pytest.raises(ValueError, match="int16"):
        stream.push_audio(np.zeros(10, np.float32))
    with pytest.raises(ValueError, match="ARPAbet"):
        stream.push_audio(np.zeros(960, np.int16), [TimedPhone("ah", 0.0, 0.1)])
    with pytest.raises(ValueError, match="16 kHz"):
        stream.hear(np.zeros(10, np.float32))
    with pytest.raises(ValueError, match="block"):
        diffusion(block=0)
    assert stream.ready_frames() == 0


# --- for hours -------------------------------------------------------------------------------------------------------


def conversation(stream: DiffusionMotion) -> int:
    """20 s of replies, interruptions and listening; returns the frames shown."""
    shown = 0
    for turn in range(2):
        stream.set_state(State.SPEAKING)
        for part in range(4):
            stream.push_audio(loud(1.0, turn), WORDS if part == 0 else [])
            frames(stream, 25)
        if turn % 2:
            stream.clear()
        else:
            stream.end_segment()
        stream.set_state(State.LISTENING)
        for _ in range(150):
            stream.hear(np.zeros(MIC_RATE // FPS, np.int16))
            stream.next_motion()
        shown += 250
    return shown


def test_cost_and_memory_do_not_grow() -> None:
    net = FollowNet()
    stream = diffusion(7, net)
    windows, held = [], []
    for _ in range(7):
        before = net.count
        assert conversation(stream) == 20 * FPS
        windows.append(net.count - before)
        held.append(len(pickle.dumps(stream)))  # all that it keeps
    assert max(windows) < 1.1 * min(windows)
    assert max(windows) < 20 * FPS / BLOCK * 1.2
    assert held[-1] - held[3] < 10_000, "nothing piles up once the buffers have their size"


def test_the_first_frame_shown_has_a_past() -> None:
    net = FollowNet()
    stream = diffusion(0, net, warm_up=25)
    first_D = stream.next_motion()
    assert net.windows == [(0, 8), *[(min(5 * i, 10), 8) for i in range(1, 6)]]  # five unseen blocks, then its own
    for _ in range(4):
        stream.next_motion()
    assert net.count == 6
    assert np.array_equal(first_D, diffusion(0, FollowNet(), warm_up=25).next_motion())
