"""AvatarStream: audio is conserved, every segment ends once, the picture never jumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.audio.phones import PHONES, TimedPhone
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.articulation import SPEECH_CHANNELS
from avatar.motion.protocol import Motion
from avatar.motion.stream import CLOSE_FRAMES, MotionStream
from avatar.stream import AvatarStream, AVFrame
from tests.motion_stand_ins import WildNet, diffusion

MOUTH = np.flatnonzero(SPEECH_CHANNELS)
JAW = space.INDEX["jawOpen"]


def speech(samples: int, start: int) -> NDArray[np.int16]:
    """Audible, never zero, and different everywhere, so that losses and swaps show."""
    t_S = np.arange(start, start + samples)
    return (np.where(t_S % 2, 1, -1) * (1000 + t_S % 9973)).astype(np.int16)


def babble(samples: int, seed: int) -> list[TimedPhone]:
    rng, at, phones = np.random.default_rng(seed), 0.0, []
    while at < samples / STREAM_RATE:
        end = at + float(rng.uniform(0.03, 0.16))
        phones.append(TimedPhone(PHONES[int(rng.integers(len(PHONES)))], at, end))
        at = end
    return phones


@dataclass
class Played:
    """What a visitor got, and what was pushed."""

    stream: AvatarStream
    frames: list[AVFrame] = field(default_factory=list)
    pushed: int = 0

    def push(self, samples: int, *, phones: bool = True) -> int:
        pcm_S = speech(samples, self.pushed)
        self.pushed += samples
        return self.stream.push_audio(pcm_S, babble(samples, self.pushed) if phones else None)

    def take(self, count: int) -> None:
        self.frames += [self.stream.next_frame() for _ in range(count)]


MOTIONS: dict[str, Callable[[int], Motion]] = {
    "articulation": MotionStream,
    "diffusion": diffusion,
    "diffusion, a wild network": lambda seed: diffusion(seed, WildNet()),
}
kinds = pytest.mark.parametrize("kind", MOTIONS)


def stream(seed: int = 0, kind: str = "articulation") -> Played:
    return Played(AvatarStream(None, MOTIONS[kind](seed)))


OPERATION = st.one_of(
    st.tuples(st.just("push"), st.integers(0, 12_000)),
    st.tuples(st.just("push_unknown"), st.integers(1, 12_000)),
    st.tuples(st.just("take"), st.integers(1, 12)),
    st.tuples(st.just("end"), st.just(0)),
    st.tuples(st.just("clear"), st.just(0)),
)


@kinds
@given(operations=st.lists(OPERATION, max_size=40), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_any_interleaving(kind: str, operations: list[tuple[str, int]], seed: int) -> None:
    played = stream(seed, kind)
    opened: set[int] = set()
    played_or_cleared = 0
    for name, amount in operations:
        if name == "push":
            opened.add(played.push(amount))
        elif name == "push_unknown":
            opened.add(played.push(amount, phones=False))
        elif name == "take":
            played.take(amount)
        elif name == "end":
            opened.add(played.stream.end_segment())
        else:
            played.stream.clear()
    opened.add(played.stream.end_segment())
    while not played.stream.idle:
        played.take(1)
        assert len(played.frames) < 5000
    played.take(CLOSE_FRAMES)

    frames = played.frames
    # every frame is a pair on one clock
    assert [f.sample for f in frames] == [i * FRAME_SAMPLES for i in range(len(frames))]
    assert all(f.pcm.shape == (FRAME_SAMPLES,) and f.motion.shape == (space.DIM,) for f in frames)
    # every segment ends exactly once, in order
    assert [f.segment for f in frames if f.segment_end] == sorted(opened) == list(range(len(opened)))
    # no sample is lost, repeated or reordered, except those cleared
    for f in frames:
        if f.speech:
            played_or_cleared += int(np.count_nonzero(f.pcm))
        else:
            assert not f.pcm.any()
    assert played.pushed == played_or_cleared + played.stream.cleared_samples
    ends = {f.segment: f for f in frames if f.segment_end}
    assert sum(f.segment_played for f in ends.values()) == played_or_cleared
    # epochs only grow
    assert all(a.epoch <= b.epoch for a, b in pairwise(frames))
    # ranges are kept, nothing jumps, and the mouth is closed afterwards
    motion_TD = np.stack([f.motion for f in frames])
    assert np.array_equal(space.clamp(motion_TD)[0], motion_TD)
    step_TD = np.abs(np.diff(motion_TD, axis=0))
    # (a jaw that a wild network has thrown wide open still has to close within CLOSE_FRAMES)
    assert step_TD[:, JAW].max(initial=0) < (0.45 if "wild" in kind else 0.25)
    assert step_TD[:, space.HEAD].max(initial=0) < (0.06 if "wild" in kind else 0.04)
    assert motion_TD[-1, JAW] == 0.0


@kinds
@given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=8))
@settings(max_examples=20, deadline=None)
def test_samples_come_out_in_order(kind: str, sizes: list[int]) -> None:
    played = stream(kind=kind)
    for samples in sizes:
        played.push(samples)
    played.stream.end_segment()
    while not played.stream.idle:
        played.take(1)
    out_S = np.concatenate([f.pcm for f in played.frames])[: played.pushed]
    assert np.array_equal(out_S, speech(played.pushed, 0))
    assert len(played.frames) == -(-played.pushed // FRAME_SAMPLES)


@kinds
def test_same_calls_same_motion(kind: str) -> None:
    runs = []
    for seed in (3, 3, 4):
        played = stream(seed, kind)
        played.push(30_000)
        played.take(10)
        played.stream.end_segment()
        played.take(60)
        runs.append(np.stack([f.motion for f in played.frames]))
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("kind", ["articulation", "diffusion"])
@given(at=st.integers(6, 60))
@settings(max_examples=25, deadline=None)
def test_clear_closes_the_mouth_in_120_ms_without_a_jump(kind: str, at: int) -> None:
    """Positions and velocities stay continuous: the largest change of velocity is that of a smooth stop."""
    played = stream(1, kind)
    played.push(3 * STREAM_RATE)
    played.take(at)
    before_TD = np.stack([f.motion for f in played.frames])[:, MOUTH]
    epoch = played.stream.clear()
    played.take(12)
    motion_TD = np.stack([f.motion for f in played.frames])[:, MOUTH]
    assert played.frames[at].epoch == epoch == 1
    assert not played.frames[at].speech and played.frames[at].segment_end and played.frames[at].interrupted
    assert motion_TD[at + CLOSE_FRAMES - 1 :, list(MOUTH).index(JAW)].max() == 0.0
    # after the switch the mouth travels no faster than speech itself does, in the direction it was going first
    opening = before_TD[-1, list(MOUTH).index(JAW)]
    first_step = np.abs(motion_TD[at] - motion_TD[at - 1])
    limit = np.abs(before_TD[-1] - before_TD[-2]) + 0.45 * np.abs(before_TD[-1]) + 0.05
    assert (first_step <= limit).all(), (opening, first_step.max())


@kinds
def test_empty_segments_end_too(kind: str) -> None:
    played = stream(kind=kind)
    assert [played.stream.end_segment() for _ in range(3)] == [0, 1, 2]
    played.take(4)
    assert [(f.segment, f.segment_end, f.speech) for f in played.frames] == [
        (0, True, False), (1, True, False), (2, True, False), (-1, False, False),
    ]  # fmt: skip


@kinds
def test_late_audio_pauses_speech_and_is_counted(kind: str) -> None:
    played = stream(kind=kind)
    played.push(STREAM_RATE // 2)
    played.take(20)  # 12.5 frames arrived; held back are 5 as look-ahead, or 3 and the block that needs them
    assert sum(f.speech for f in played.frames) == (7 if kind == "articulation" else 5)
    assert played.stream.underruns == 1
    played.push(STREAM_RATE)
    played.stream.end_segment()
    while not played.stream.idle:
        played.take(1)
    assert played.stream.underruns == 1
    heard_S = np.concatenate([f.pcm for f in played.frames if f.speech])[: played.pushed]
    assert np.array_equal(heard_S, speech(played.pushed, 0))
    step_TD = np.abs(np.diff(np.stack([f.motion for f in played.frames]), axis=0))
    assert step_TD[:, JAW].max() < (0.45 if "wild" in kind else 0.21)


@kinds
def test_real_time_arrival_never_underruns(kind: str) -> None:
    """One 40 ms chunk per frame: speech starts when the look-ahead is there and goes through."""
    played = stream(kind=kind)
    wait = MOTIONS[kind](0).lookahead_samples // FRAME_SAMPLES
    assert wait == (5 if kind == "articulation" else 7)
    for _ in range(100):
        played.push(FRAME_SAMPLES)
        played.take(1)
    spoken = [f.speech for f in played.frames]
    assert not any(spoken[:wait]) and all(spoken[wait:])
    assert played.stream.underruns == 0


@kinds
def test_hold_keeps_queued_speech(kind: str) -> None:
    played = stream(kind=kind)
    played.push(STREAM_RATE)
    played.stream.end_segment()
    played.take(5)
    held = [played.stream.next_frame(hold=True) for _ in range(10)]
    assert not any(f.speech or f.pcm.any() or f.segment_end for f in held)
    played.take(20)
    assert np.array_equal(np.concatenate([f.pcm for f in played.frames]), speech(STREAM_RATE, 0))
    assert played.stream.underruns == 0


def test_wrong_audio_is_refused() -> None:
    played = stream()
    with pytest.raises(ValueError, match="int16"):
        played.stream.push_audio(np.zeros(960, dtype=np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ARPAbet"):
        played.stream.push_audio(np.zeros(960, dtype=np.int16), [TimedPhone("ah", 0.0, 0.1)])
    with pytest.raises(ValueError, match="queued"):
        for _ in range(11):
            played.stream.push_audio(np.zeros(60 * STREAM_RATE, dtype=np.int16), [])


def test_the_decoder_draws_the_frames_motion() -> None:
    class Draws:
        def render(self, motion_D: NDArray[np.float32]) -> NDArray[np.uint8]:
            return np.full((2, 2, 3), round(255 * float(motion_D[JAW])), dtype=np.uint8)

    avatar = AvatarStream(Draws(), MotionStream(0))
    avatar.push_audio(speech(STREAM_RATE, 0), [TimedPhone("AA", 0.0, 1.0)])
    avatar.end_segment()
    for _ in range(25):
        frame = avatar.next_frame()
        assert frame.image is not None and frame.image[0, 0, 0] == round(255 * float(frame.motion[JAW]))
    assert avatar.next_frame(render=False).image is None
