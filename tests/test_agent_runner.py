"""The runner on virtual time: 25 frames a second by samples, pictures against the sound, nothing lost, nothing late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.playout import Finished
from agent.runner import FRAME_S, MAX_AHEAD_SAMPLES, SLIP_S, AvatarRunner
from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion.controls import Asked
from avatar.motion.diffusion.stream import DiffusionMotion
from avatar.motion.state import State
from avatar.motion.stream import MotionStream
from tests.agent_stand_ins import DiscDecoder, InlineWorker, ListSink, VirtualClock, disc_area, settle
from tests.motion_stand_ins import FollowNet

T = TypeVar("T")
OPEN = [TimedPhone("sil", 0.0, 0.1), TimedPhone("AA", 0.1, 10.0)]


def tone(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.full(round(seconds * STREAM_RATE), 1000, np.int16)


class Stage:
    """A runner with everything around it in the test's hands."""

    def __init__(self, *, step_delay: Callable[[], float], draw_delay: Callable[[], float]) -> None:
        self.clock = VirtualClock()
        self.decoder = DiscDecoder()
        self.sink = ListSink()
        self.finished: list[Finished] = []
        self.started: list[int] = []
        self.runner = AvatarRunner(
            self.decoder, MotionStream(seed=1), self.sink, clock=self.clock,
            stepper=InlineWorker(self.clock, step_delay), drawer=InlineWorker(self.clock, draw_delay),
        )  # fmt: skip
        self.runner.events.finished = self.finished.append
        self.runner.events.started = self.started.append

    @property
    def spoken(self) -> list[int]:
        """Frame numbers with speech."""
        return [frame.index for frame in self.sink.frames if frame.speech]


@asynccontextmanager
async def stage(
    *, step_delay: Callable[[], float] = lambda: 0.0, draw_delay: Callable[[], float] = lambda: 0.0
) -> AsyncIterator[Stage]:
    made = Stage(step_delay=step_delay, draw_delay=draw_delay)
    made.runner.start()
    await settle()
    try:
        yield made
    finally:
        closing = asyncio.create_task(made.runner.aclose())
        while not closing.done():
            await made.clock.advance(1.0)
        await closing


async def test_frames_follow_the_clock_without_drift() -> None:
    async with stage() as s:
        await s.clock.advance(60.0)
        assert len(s.sink.frames) == 60 * 25 + 1
        assert [f.sample for f in s.sink.frames] == [k * FRAME_SAMPLES for k in range(60 * 25 + 1)]
        assert len(s.sink.pictures) == len(s.sink.frames), "a picture for every frame, silence or not"
        assert s.runner.stats.late_frames == 0


async def test_pictures_carry_the_number_of_their_sound_and_the_mouth_moves_only_with_it() -> None:
    async with stage() as s:
        await s.clock.advance(1.0)
        s.runner.push(tone(1.0), OPEN)
        s.runner.end_segment()
        await s.clock.advance(3.0)
        assert [p.index for p, _ in s.sink.pictures] == [f.index for f in s.sink.frames]
        open_during = [disc_area(image) for frame, image in s.sink.pictures if frame.speech]
        settled = [disc_area(image) for frame, image in s.sink.pictures if frame.index > s.spoken[-1] + 5]
        assert max(open_during) > 1.5 * max(settled)


async def test_first_sound_comes_with_the_next_frame() -> None:
    async with stage() as s:
        await s.clock.advance(1.0)
        given_out = len(s.sink.frames)
        s.runner.push(tone(1.0), OPEN)
        await s.clock.advance(FRAME_S)
        assert s.sink.frames[given_out].speech


async def test_slow_drawing_drops_pictures_and_never_sound() -> None:
    async with stage(draw_delay=lambda: 0.1) as s:
        await s.clock.advance(10.0)
        assert len(s.sink.frames) == 251, "the sound does not wait for pictures"
        assert 95 <= len(s.sink.pictures) <= 101, "drawn as fast as they can be"
        assert s.runner.stats.pictures_dropped == pytest.approx(150, abs=5)
        indices = [frame.index for frame, _ in s.sink.pictures]
        assert indices == sorted(indices)
        assert all(late <= 0.2 * 1000 + 1 for late in s.runner.stats.picture_late_ms), "lateness does not grow"


async def test_a_failing_decoder_leaves_the_voice() -> None:
    async with stage() as s:
        s.decoder.fail = True
        s.runner.push(tone(0.4), OPEN)
        s.runner.end_segment()
        await s.clock.advance(1.0)
        assert len(s.spoken) == 10 and s.finished
        assert s.runner.stats.pictures_failed >= 25
        s.decoder.fail = False
        await s.clock.advance(0.2)
        assert s.sink.pictures, "pictures come back when they can"


async def test_a_late_step_is_made_up_for_and_a_long_stop_moves_the_schedule() -> None:
    delays = [0.0] * 20 + [0.1] + [0.0] * 1000
    async with stage(step_delay=lambda: delays.pop(0)) as s:
        await s.clock.advance(2.0)
        assert len(s.sink.frames) == 51, "100 ms late, then back on the schedule"
        assert s.runner.stats.slips == 0
        s.clock.jump(30.0)
        await s.clock.advance(1.0)
        assert s.runner.stats.slips == 1
        assert len(s.sink.frames) == pytest.approx(76, abs=1), "thirty seconds asleep are not played in a burst"
        samples = [frame.sample for frame in s.sink.frames]
        assert samples == [k * FRAME_SAMPLES for k in range(len(samples))]


async def test_clear_is_heard_by_the_next_frame_even_while_one_is_being_made() -> None:
    async with stage(step_delay=lambda: 0.01) as s:
        s.runner.push(tone(5.0), OPEN)
        s.runner.end_segment()
        await s.clock.advance(1.0 + 0.045)  # inside a step
        before = len(s.sink.frames)
        s.runner.clear()
        assert s.sink.clears == [(before, 1)]
        assert len(s.finished) == 1 and s.finished[0].interrupted, "known at once, not at the next frame"
        assert s.finished[0].played == len(s.spoken) * FRAME_SAMPLES
        await s.clock.advance(1.0)
        assert max(s.spoken) < before
        assert all(frame.epoch == 1 for frame in s.sink.frames[before:])


async def test_face_closes_within_200_ms_of_a_clear() -> None:
    async with stage() as s:
        await s.clock.advance(0.5)
        rest = disc_area(s.sink.pictures[-1][1])
        s.runner.push(tone(5.0), OPEN)
        await s.clock.advance(2.0)
        assert disc_area(s.sink.pictures[-1][1]) > 1.5 * rest
        s.runner.clear()
        await s.clock.advance(0.2)
        assert disc_area(s.sink.pictures[-1][1]) < 1.2 * rest


async def test_ten_interruptions_in_a_row() -> None:
    async with stage() as s:
        for number in range(10):
            s.runner.push(tone(3.0), OPEN, "words")
            s.runner.end_segment()
            await s.clock.advance(0.3 + 0.013 * number)
            s.runner.clear()
            if number % 2:
                await s.clock.advance(0.02)
        s.runner.push(tone(0.4), OPEN)
        s.runner.end_segment()
        await s.clock.advance(2.0)
        assert [f.segment for f in s.finished] == list(range(11))
        assert [f.interrupted for f in s.finished] == [True] * 10 + [False]
        assert s.finished[-1].played == len(tone(0.4))
        assert s.started == list(range(11)), "every reply began to sound, the next one too"


async def test_pause_holds_and_resume_loses_nothing() -> None:
    async with stage() as s:
        s.runner.push(tone(1.0), OPEN)
        s.runner.end_segment()
        await s.clock.advance(0.4)
        s.runner.pause()
        await s.clock.advance(2.0)
        held = len(s.spoken)
        assert held == 10 and not s.finished
        s.runner.resume()
        await s.clock.advance(2.0)
        assert len(s.spoken) == 25 and [f.played for f in s.finished] == [STREAM_RATE]
        assert s.started == [0], "a segment starts once, paused or not"


async def test_back_pressure_waits_and_a_clear_lets_go() -> None:
    async with stage() as s:
        s.runner.push(np.ones(MAX_AHEAD_SAMPLES, np.int16), [])
        waiting = asyncio.create_task(s.runner.room())
        await settle()
        assert not waiting.done()
        await s.clock.advance(0.1)
        await asyncio.wait_for(waiting, 1)
        s.runner.push(np.ones(MAX_AHEAD_SAMPLES, np.int16), [])
        waiting = asyncio.create_task(s.runner.room())
        await settle()
        assert not waiting.done()
        s.runner.clear()
        await asyncio.wait_for(waiting, 1)


async def test_nobody_listens_and_time_goes_on() -> None:
    async with stage() as s:
        await s.clock.advance(0.2)
        sink, s.runner.sink = s.runner.sink, None
        drawn = s.decoder.drawn
        s.runner.push(tone(0.4), OPEN)
        s.runner.end_segment()
        await s.clock.advance(2.0)
        assert s.finished and not s.finished[0].interrupted, "nobody waits for ever"
        assert s.decoder.drawn <= drawn + 1, "and nothing is drawn"
        s.runner.sink = sink
        await s.clock.advance(0.2)
        assert s.sink.frames[-1].index == s.runner.stats.frames - 1


async def test_a_new_listener_gets_no_picture_of_before() -> None:
    async with stage(draw_delay=lambda: 0.03) as s:
        await s.clock.advance(0.21)  # a picture is being drawn
        before, after = s.sink, ListSink()
        s.runner.sink = after
        await s.clock.advance(0.02)
        assert not after.pictures and max(f.index for f, _ in before.pictures) < before.frames[-1].index
        await s.clock.advance(0.2)
        assert min(f.index for f, _ in after.pictures) > before.frames[-1].index


async def test_closing_reports_what_is_not_over() -> None:
    async with stage() as s:
        s.runner.push(tone(5.0), OPEN)
        await s.clock.advance(0.2)
    assert [f.interrupted for f in s.finished] == [True]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["push", "end", "clear", "pause", "resume", "leave", "return"]),
        st.floats(0.0, 0.3),  # time that passes after it
        st.floats(0.01, 1.5),  # length of what is pushed
    ),
    max_size=30,
)
DELAYS = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.02, 0.06, 0.15]), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@example([("push", 0.0, 1.0)], [0.15], [0.0])
@given(ACTIONS, DELAYS, DELAYS)
def test_any_order_of_events(
    actions: list[tuple[str, float, float]], step_delays: list[float], draw_delays: list[float]
) -> None:
    def cycle(values: list[float]) -> Callable[[], float]:
        count = iter(range(10**9))
        return lambda: values[next(count) % len(values)]

    async def run() -> None:
        async with stage(step_delay=cycle(step_delays), draw_delay=cycle(draw_delays)) as s:
            pushed: dict[int, int] = {}
            for action, wait, length in actions:
                if action == "push":
                    pcm_S = tone(length)
                    number = s.runner.push(pcm_S, OPEN)
                    pushed[number] = pushed.get(number, 0) + len(pcm_S)
                elif action == "end":
                    pushed.setdefault(s.runner.end_segment(), 0)
                elif action == "clear":
                    s.runner.clear()
                    assert not s.runner.busy
                elif action == "leave":
                    s.runner.sink = None
                elif action == "return":
                    s.runner.sink = s.sink
                else:
                    (s.runner.pause if action == "pause" else s.runner.resume)()
                await s.clock.advance(wait)
            s.runner.resume()
            s.runner.sink = s.sink
            if s.runner.busy:
                s.runner.end_segment()
            total = sum(pushed.values()) / STREAM_RATE
            slowest = max(max(step_delays) / FRAME_S, 1.0)  # steps that take longer than a frame stretch time
            await s.clock.advance(slowest * (total + 3.0 + 0.2 * len(actions)))
            numbers = [f.segment for f in s.finished]
            assert numbers == sorted(set(numbers)) and set(pushed) <= set(numbers)
            assert all(f.interrupted or f.played == pushed.get(f.segment, 0) for f in s.finished)
            assert s.started == sorted(set(s.started))
            epochs = [frame.epoch for frame in s.sink.frames]
            assert epochs == sorted(epochs)

    asyncio.run(run())


def test_slip_is_longer_than_a_busy_frame() -> None:
    assert SLIP_S > 2 * FRAME_S


class WindowWorker(InlineWorker):
    """A call takes 18 ms for every window that the network makes in it."""

    def __init__(self, clock: VirtualClock, net: FollowNet) -> None:
        super().__init__(clock)
        self._virtual, self._net = clock, net

    async def run(self, function: Callable[[], T]) -> T:
        async with self._lock:
            before = self._net.count
            result = function()
            for _ in range(self._net.count - before):
                await self._virtual.sleep_until(self._virtual.now() + 0.018)
            return result


@pytest.mark.parametrize("ahead", [True, False])
async def test_the_networks_bursts_fall_between_the_frames(ahead: bool) -> None:
    """Windows that take half a frame's time make no sound late, not even when something happens."""

    class Motion(DiffusionMotion):
        works_ahead = ahead  # type: ignore[misc]  # without, to see that it matters

    net = FollowNet()
    clock, sink = VirtualClock(), ListSink()
    motion = Motion(net, 1)
    worker = WindowWorker(clock, net)
    runner = AvatarRunner(None, motion, sink, clock=clock, stepper=worker, drawer=InlineWorker())
    runner.start()
    await clock.advance(1.001)
    runner.stats.sound_late_ms.clear()  # the very first frame has no time before it
    runner.set_state(State.THINKING)
    await clock.advance(0.4)
    runner.push(tone(1.0), OPEN)
    runner.end_segment()
    await clock.advance(0.6)
    runner.clear()
    await clock.advance(0.4)
    late_ms = max(runner.stats.sound_late_ms)
    await runner.aclose()
    assert sum(frame.speech for frame in sink.frames) == 15
    assert (late_ms < 1.0) if ahead else (late_ms > 17.0)


async def test_whoever_keeps_asking_does_not_keep_the_frames_from_coming() -> None:
    """Work ahead for what is asked yields to the frame that is due."""
    net, clock, sink = FollowNet(), VirtualClock(), ListSink()
    runner = AvatarRunner(
        None, DiffusionMotion(net, 1, warm_up=0), sink, clock=clock, stepper=WindowWorker(clock, net),
        drawer=InlineWorker(),
    )  # fmt: skip
    runner.start()
    for k in range(200):
        runner.set_controls(Asked(gaze_azimuth_deg=k % 7))
        await clock.advance(0.005)
    frames, late_ms = len(sink.frames), max(runner.stats.sound_late_ms)
    await runner.aclose()
    assert frames >= 24 and late_ms < 60.0
