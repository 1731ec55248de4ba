"""Changes hold from their sample to their segment's end, and the standing request holds otherwise."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.clock import FRAME_SAMPLES
from avatar.motion.asked_text import AskedChange, parse_emotion
from avatar.motion.asked_track import AskedTrack
from avatar.motion.controls import Asked
from avatar.motion.stream import MotionStream
from avatar.stream import AvatarStream

WARM = AskedChange(emotion=parse_emotion("warm"))


def asked_frames(changes: list[tuple[int, float]], frames: int, *, clear_at: int = -1) -> list[float]:
    """Liveliness asked of the motion in each frame of a segment; then of three frames more."""
    seen: list[float] = []

    class Watched(MotionStream):
        asked = Asked()

        def set_controls(self, asked: Asked) -> None:
            self.asked = asked
            super().set_controls(asked)

        def next_motion(self, *, hold: bool = False) -> NDArray[np.float32]:
            seen.append(self.asked.liveliness)
            return super().next_motion(hold=hold)

    stream = AvatarStream(None, Watched(seed=1))
    stream.set_controls(Asked(liveliness=0.9))
    order = [(sample, AskedChange(liveliness=value)) for sample, value in changes]
    stream.push_audio(np.full(frames * FRAME_SAMPLES, 900, np.int16), [], order)
    stream.end_segment()
    for frame in range(frames + 3):
        if frame == clear_at:
            stream.clear()
        assert stream.next_frame().speech == (frame < frames and not 0 <= clear_at <= frame)
    return seen


@given(
    st.lists(st.tuples(st.integers(0, 12 * FRAME_SAMPLES), st.sampled_from([0.1, 0.2, 0.3])), max_size=5),
    st.integers(1, 8),
)
def test_each_change_holds_from_the_frame_that_holds_its_sample(changes: list[tuple[int, float]], frames: int) -> None:
    changes.sort(key=lambda change: change[0])
    seen = asked_frames(changes, frames)
    for frame in range(frames):
        held = [value for sample, value in changes if sample < (frame + 1) * FRAME_SAMPLES]
        assert seen[frame] == (held[-1] if held else 0.9)
    assert seen[frames:] == [0.9] * 3


def test_an_interruption_drops_what_was_to_come() -> None:
    seen = asked_frames([(0, 0.1), (5 * FRAME_SAMPLES, 0.2)], 10, clear_at=3)
    assert seen == [0.1] * 3 + [0.9] * 10


def test_the_standing_request_may_change_under_a_reply() -> None:
    track = AskedTrack()
    track.mark(0, 0, WARM)
    assert not track.set(Asked())
    assert track.reach(0, FRAME_SAMPLES) and track.now == Asked(warm=1.0)
    assert track.set(Asked(happy=0.5, liveliness=0.2)), "the panel's liveliness, the reply's emotion"
    assert track.now == Asked(warm=1.0, liveliness=0.2)
    assert track.end(0) and track.now == Asked(happy=0.5, liveliness=0.2)
    assert not track.end(0)


def test_changes_of_one_reply_do_not_reach_the_next() -> None:
    track = AskedTrack()
    track.mark(0, 90_000, WARM)
    track.mark(1, 0, AskedChange(liveliness=0.0))
    track.end(0)
    assert track.now == Asked()
    assert track.reach(1, FRAME_SAMPLES) and track.now == Asked(liveliness=0.0)
    assert track.clear() and track.now == Asked()
