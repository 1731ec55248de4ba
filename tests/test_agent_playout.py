"""Whatever order things happen in: every segment is reported once, speech is neither lost nor doubled nor revived."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.playout import PIECE_SAMPLES, Finished, Playout, Step, StreamDriver
from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion.stream import MotionStream
from avatar.stream import AvatarStream


def ramp(first: int, samples: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Samples that say their own place: never zero, so that silence can be told from speech."""
    return ((np.arange(first, first + samples) % 30_000) + 1).astype(np.int16)


@dataclass
class Rig:
    """A playout and a driver, with a step that may still be on its way when things happen."""

    playout: Playout = field(default_factory=Playout)
    driver: StreamDriver = field(default_factory=lambda: StreamDriver(AvatarStream(None, MotionStream(seed=3))))
    flying: Step | None = None
    finished: list[Finished] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    spoken: list[np.ndarray[tuple[int], np.dtype[np.int16]]] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    def launch(self) -> None:
        if self.flying is None:
            self.flying = self.driver.step(self.playout.take_orders(), self.playout.hold)

    def land(self) -> None:
        if self.flying is None:
            return
        delivery = self.playout.deliver(self.flying)
        self.flying = None
        self.samples.append(delivery.frame.sample)
        assert delivery.frame.epoch == self.playout.epoch
        if delivery.started is not None:
            self.started.append(delivery.started)
        if delivery.frame.speech:
            self.spoken.append(delivery.frame.pcm)
        else:
            assert not delivery.frame.pcm.any()
        if delivery.finished is not None:
            self.finished.append(delivery.finished)

    def frame(self) -> None:
        self.launch()
        self.land()


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 3 * STREAM_RATE)),
        st.tuples(st.sampled_from(["end", "clear", "launch", "land", "pause", "resume", "frame"]), st.just(0)),
        st.tuples(st.just("frames"), st.integers(1, 12)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(ACTIONS)
def test_every_segment_finishes_once_and_speech_keeps_its_order(actions: list[tuple[str, int]]) -> None:
    rig = Rig()
    opened: list[int] = []
    pushed: dict[int, int] = {}
    place = 0
    for action, amount in actions:
        if action == "push":
            number = rig.playout.push(ramp(place, amount), [])
            place += amount
            pushed[number] = pushed.get(number, 0) + amount
            opened += [number] if number not in opened else []
        elif action == "end":
            number = rig.playout.end()
            pushed.setdefault(number, 0)
            opened += [number] if number not in opened else []
        elif action == "clear":
            queued = rig.playout.queued_samples
            rig.finished += rig.playout.clear()
            assert rig.playout.queued_samples == 0 and not rig.playout.busy, queued
        elif action == "pause":
            rig.playout.hold = True
        elif action == "resume":
            rig.playout.hold = False
        elif action == "launch":
            rig.launch()
        elif action == "land":
            rig.land()
        else:
            for _ in range(max(1, amount)):
                rig.frame()
    rig.playout.hold = False
    rig.playout.end()
    pushed.setdefault(last := max(opened, default=-1) + 1, 0)
    for _ in range(20 * 25 * max(1, len(actions))):
        if not rig.playout.busy:
            break
        rig.frame()
    numbers = [item.segment for item in rig.finished]
    assert numbers == sorted(set(numbers)), "each once, in order"
    assert set(opened) <= set(numbers) <= {*opened, last}
    for item in rig.finished:
        assert 0 <= item.played <= pushed[item.segment]
        if not item.interrupted:
            assert item.played == pushed[item.segment], "nothing of an uninterrupted segment is lost"
    assert rig.samples == [k * FRAME_SAMPLES for k in range(len(rig.samples))], "the clock has no gaps"
    heard_S = np.concatenate(rig.spoken) if rig.spoken else np.zeros(0, np.int16)
    voiced_S = heard_S[heard_S > 0].astype(int)
    assert len(voiced_S) == sum(item.played for item in rig.finished)
    if place < 30_000:
        assert (np.diff(voiced_S) > 0).all(), "no sample twice, none out of order"


def test_clear_silences_the_frame_that_is_on_its_way() -> None:
    rig = Rig()
    rig.playout.push(ramp(0, STREAM_RATE), [])
    rig.playout.end()
    for _ in range(5):
        rig.frame()
    rig.launch()
    assert rig.flying is not None and rig.flying.frame.speech
    (finished,) = rig.playout.clear()
    assert finished.interrupted and finished.played == 5 * FRAME_SAMPLES
    rig.land()
    rig.frame()
    assert len(rig.spoken) == 5


def test_the_reply_after_a_clear_starts_at_its_first_sample() -> None:
    rig = Rig()
    rig.playout.push(ramp(0, STREAM_RATE), [])
    rig.frame()
    rig.finished += rig.playout.clear()
    second = rig.playout.push(ramp(7, 2 * FRAME_SAMPLES), [])
    rig.playout.end()
    for _ in range(6):
        rig.frame()
    assert rig.started == [0, second]
    np.testing.assert_array_equal(rig.spoken[1], ramp(7, FRAME_SAMPLES))
    assert [(f.segment, f.interrupted, f.played) for f in rig.finished] == [
        (0, True, FRAME_SAMPLES), (1, False, 2 * FRAME_SAMPLES),
    ]  # fmt: skip


def test_hold_keeps_the_speech_and_resume_goes_on_with_the_next_sample() -> None:
    rig = Rig()
    rig.playout.push(ramp(0, 10 * FRAME_SAMPLES), [])
    rig.playout.end()
    for _ in range(3):
        rig.frame()
    rig.playout.hold = True
    for _ in range(20):
        rig.frame()
    assert len(rig.spoken) == 3
    rig.playout.hold = False
    for _ in range(8):
        rig.frame()
    np.testing.assert_array_equal(np.concatenate(rig.spoken), ramp(0, 10 * FRAME_SAMPLES))
    assert rig.finished[0].played == 10 * FRAME_SAMPLES and not rig.finished[0].interrupted


def test_cues_come_with_the_sample_where_their_words_begin() -> None:
    rig = Rig()
    rig.frame()
    rig.playout.push(ramp(0, FRAME_SAMPLES + 100), [], "Hello there.")
    rig.playout.push(ramp(0, FRAME_SAMPLES), [], "How are you?")
    rig.playout.end()
    cues = []
    for _ in range(5):
        rig.launch()
        assert rig.flying is not None
        cues += rig.playout.deliver(rig.flying).cues
        rig.flying = None
    assert [(cue.text, cue.start_sample, cue.first) for cue in cues] == [
        ("Hello there.", FRAME_SAMPLES, True),
        ("Hello there. How are you?", 2 * FRAME_SAMPLES + 100, False),
    ]


def test_an_interrupted_reply_tells_what_was_heard() -> None:
    rig = Rig()
    rig.playout.push(ramp(0, 4 * FRAME_SAMPLES), [], "One two three four.")
    rig.playout.push(ramp(0, 8 * FRAME_SAMPLES), [], "five six seven eight")
    rig.playout.end()
    for _ in range(8):
        rig.frame()
    (finished,) = rig.playout.clear()
    assert finished.heard == "One two three four. five six"


def test_long_clauses_reach_the_stream_in_pieces_and_keep_their_phones() -> None:
    playout = Playout()
    phones = [TimedPhone("AA", 0.0, 2.5)]
    playout.push(ramp(0, 2 * PIECE_SAMPLES + 5), phones)
    playout.end()
    orders = [playout.take_orders() for _ in range(3)]
    assert [len(part[0].pcm_S) for part in orders[:3]] == [PIECE_SAMPLES, PIECE_SAMPLES, 5]  # type: ignore[union-attr]
    assert [part[0].phones for part in orders[:3]] == [phones, [], []]  # type: ignore[union-attr]
    assert len(orders[2]) == 2, "the end comes with the last piece"
