"""Our own avatar runner: sound and picture at 25 frames a second, paced by samples, whatever the rest is doing.

Every 40 ms one frame of sound goes to the sink, on an absolute schedule, silence when nothing is said; so the sample
clock has no gaps and never drifts from the wall clock. Its picture follows as soon as it is drawn. A picture that
would come too late is not drawn: pictures are dropped against the sound, never the other way.

LiveKit's stock runner is not used because its pairs drift apart (see docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.clock import Clock, MonotonicClock, ThreadWorker, Worker
from agent.playout import Ask, Become, Cue, Finished, Hear, Playout, Step, StreamDriver
from avatar.audio.phones import TimedPhone
from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.motion.asked_text import AskedChange
from avatar.motion.controls import Asked
from avatar.motion.idle import State
from avatar.motion.open import close_motion
from avatar.motion.protocol import Motion
from avatar.render.output import FrameFormat
from avatar.stream import AvatarStream, AVFrame, FrameDecoder

logger = logging.getLogger("visavis.runner")

FRAME_S: Final = FRAME_SAMPLES / STREAM_RATE
SLIP_S: Final = 0.25
"""A delay longer than this (a suspended machine) moves the schedule; the listener has long run dry by then, and a
burst of old sound would only add latency."""
MAX_AHEAD_SAMPLES: Final = 20 * STREAM_RATE
"""Speech that may wait to be said; whoever pushes more waits in `room()`."""
MAX_STATS: Final = 10 * 60 * FPS
"""Frames remembered for percentiles: ten minutes."""


class Sink(Protocol):
    """Where sound and pictures go. Nothing here may block; a sink has its own bounded queue."""

    def sound(self, frame: AVFrame) -> None:
        """40 ms of sound; `frame.image` is None. Sample numbers follow each other without a gap."""

    def encode(self, image: NDArray[np.uint8]) -> Any:
        """[H, W, 3] RGB into whatever `picture` takes; called on the drawing thread, one at a time."""

    def picture(self, frame: AVFrame, encoded: Any) -> None:
        """The picture that belongs to a frame given before; newest last, some are left out."""

    def clear(self, epoch: int) -> None:
        """Forget queued sound and pictures of epochs before this one."""


@dataclass(slots=True)
class RunnerStats:
    """What became of the frames. Times in milliseconds."""

    frames: int = 0
    pictures: int = 0
    pictures_dropped: int = 0
    pictures_failed: int = 0
    slips: int = 0
    late_frames: int = 0
    """Sound given out more than half a frame after its time."""
    sound_late_ms: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_STATS))
    picture_late_ms: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_STATS))
    """From the time of a frame's sound to its picture at the sink."""

    def summary(self) -> dict[str, float]:
        """Flat figures for the debug panel and reports."""
        return {
            "frames": self.frames,
            "pictures": self.pictures,
            "pictures_dropped": self.pictures_dropped,
            "pictures_failed": self.pictures_failed,
            "clock_slips": self.slips,
            "late_frames": self.late_frames,
            **_percentiles("sound_late_ms", self.sound_late_ms),
            **_percentiles("picture_late_ms", self.picture_late_ms),
        }


def _percentiles(name: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    p50, p95 = np.percentile(np.fromiter(values, float), [50, 95])
    return {f"{name}_p50": round(float(p50), 2), f"{name}_p95": round(float(p95), 2)}


@dataclass(slots=True)
class RunnerEvents:
    """Called on the event loop; set before `start`."""

    started: Callable[[int], None] = lambda segment: None
    """The first sound of a segment goes out."""
    finished: Callable[[Finished], None] = lambda finished: None
    """Exactly once for every segment, in order."""
    cue: Callable[[Cue], None] = lambda cue: None
    failed: Callable[[BaseException], None] = lambda error: None
    """The runner has stopped by itself."""


class AvatarRunner:
    """Runs one avatar for one listener.

    decoder: draws the pictures; None gives sound only. motion: the runner's from now on, closed with it. sink may be
    changed at any time; None lets nobody listen (and draws nothing) while time goes on. All methods belong to the event
    loop's thread.
    """

    def __init__(
        self,
        decoder: FrameDecoder | None,
        motion: Motion,
        sink: Sink | None = None,
        *,
        clock: Clock | None = None,
        stepper: Worker | None = None,
        drawer: Worker | None = None,
    ) -> None:
        self.sink = sink
        self.asked = Asked()
        """What is asked of face and head in the frame given out last: a reply's tags count."""
        self.events = RunnerEvents()
        self.stats = RunnerStats()
        self._decoder = decoder
        self._motion = motion
        self._playout = Playout()
        self._driver = StreamDriver(AvatarStream(None, motion))
        self._clock = clock or MonotonicClock()
        self._stepper = stepper or ThreadWorker("visavis-motion")
        self._drawer = drawer or ThreadWorker("visavis-draw")
        self._room = asyncio.Event()
        self._room.set()
        self._task: asyncio.Task[None] | None = None
        self._drawing: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[None] | None = None
        self._changed = False  # since the work ahead began
        self._stepping = False  # a frame is due: its step carries out what is asked meanwhile
        self._next_picture: tuple[AVFrame, float] | None = None
        self._closing = asyncio.Lock()
        self._closed = False

    @property
    def format(self) -> FrameFormat:
        """Shape of the pictures; ValueError when there are none."""
        if self._decoder is None:
            raise ValueError("This runner has no decoder and gives sound only.")
        return self._decoder.format

    def start(self) -> None:
        """Begin; the first frame goes out at once."""
        assert self._task is None, "a runner starts once"
        self._task = asyncio.create_task(self._run(), name="visavis-runner")

    async def aclose(self) -> None:
        """Stop; safe to call twice. Segments that are not over are reported as interrupted: nobody waits for them."""
        async with self._closing:
            if not self._closed:
                self._closed = True
                await self._close()

    async def _close(self) -> None:
        for task in (self._task, self._drawing, self._ahead):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        self._drawing = None
        for worker in (self._stepper, self._drawer):
            # What a thread has begun ends here, so that the decoder is free for the next runner.
            await worker.run(lambda: None)
            worker.close()
        close_motion(self._motion)
        for finished in self._playout.clear():
            self.events.finished(finished)
        self._room.set()

    @property
    def epoch(self) -> int:
        """Number of clears so far."""
        return self._playout.epoch

    @property
    def queued_samples(self) -> int:
        """Speech pushed and not yet given out."""
        return self._playout.queued_samples

    @property
    def busy(self) -> bool:
        """Something is being said or waits to be said."""
        return self._playout.busy

    async def room(self) -> None:
        """Wait until more speech may be pushed. Speech is never dropped, so this is the back-pressure."""
        while self._playout.queued_samples >= MAX_AHEAD_SAMPLES:
            self._room.clear()
            await self._room.wait()

    def push(
        self,
        pcm_S: NDArray[np.int16],
        phones: Sequence[TimedPhone] | None = None,
        text: str = "",
        changes: Sequence[tuple[int, AskedChange]] = (),
    ) -> int:
        """Say this: int16 [samples] mono at 24 kHz, phone times from its first sample, its words for captions.

        changes: what is asked of the face from a sample on (from pcm_S[0]), until the segment is over or cleared.
        """
        segment = self._playout.push(pcm_S, phones, text, changes)
        self._work_ahead()
        return segment

    def end_segment(self) -> int:
        """What was pushed since the last end or clear is complete; returns the segment's number."""
        return self._playout.end()

    def clear(self) -> None:
        """Stop talking at once. Does nothing when there is nothing to stop."""
        if not self._playout.busy:
            return
        finished = self._playout.clear()
        if self.sink is not None:
            self.sink.clear(self._playout.epoch)
        self._room.set()
        for item in finished:
            self.events.finished(item)
        self._work_ahead()

    def pause(self) -> None:
        """Speech waits and the mouth closes; `resume` goes on with the next sample."""
        self._playout.hold = True

    def resume(self) -> None:
        """End of `pause`; may be called at any time."""
        self._playout.hold = False

    def set_state(self, state: State) -> None:
        """What the avatar is doing."""
        self._playout.tell(Become(state))
        self._work_ahead()

    def set_controls(self, asked: Asked) -> None:
        """What is asked of face and head from the next frame on, except where a reply asks otherwise (see `push`)."""
        self._playout.tell(Ask(asked))
        self._work_ahead()

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """The visitor's voice, int16 mono at 16 kHz, for nods."""
        self._playout.tell(Hear(pcm_S))

    async def _run(self) -> None:
        try:
            due = self._clock.now()
            while True:
                await self._clock.sleep_until(due)
                self._stepping = True
                if self._ahead is not None:  # its orders come first, and so do its errors
                    ahead, self._ahead = self._ahead, None
                    await ahead
                orders = self._playout.take_orders()
                step = await self._stepper.run(partial(self._driver.step, orders, self._playout.hold))
                late = self._clock.now() - due
                if late > SLIP_S:
                    self.stats.slips += 1
                    due += late
                self._give_out(step, due, late)
                self._stepping = False
                self._work_ahead()
                due += FRAME_S
        except Exception as error:
            logger.exception("the avatar has stopped")
            self.events.failed(error)

    def _work_ahead(self) -> None:
        """Use the time between two frames for the next one's motion, so that a dear frame is no late sound."""
        if self._task is None or self._task.done() or self._stepping or not self._driver.works_ahead:
            return
        self._changed = True
        if self._ahead is None or (self._ahead.done() and not self._ahead.cancelled() and not self._ahead.exception()):
            self._ahead = asyncio.create_task(self._prepare(), name="visavis-ahead")

    async def _prepare(self) -> None:
        while self._changed and not self._stepping:
            self._changed = False
            orders = self._playout.take_orders()
            await self._stepper.run(partial(self._driver.prepare, orders, self._playout.hold))

    def _give_out(self, step: Step, due: float, late: float) -> None:
        delivery = self._playout.deliver(step)
        self.asked = step.asked
        self.stats.frames += 1
        self.stats.late_frames += late > FRAME_S / 2
        self.stats.sound_late_ms.append(late * 1000)
        if delivery.started is not None:
            self.events.started(delivery.started)
        for cue in delivery.cues:
            self.events.cue(cue)
        if self.sink is not None:
            self.sink.sound(delivery.frame)
            if self._decoder is not None:
                self._draw(delivery.frame, due)
        if delivery.finished is not None:
            self.events.finished(delivery.finished)
        self._room.set()

    def _draw(self, frame: AVFrame, due: float) -> None:
        if self._drawing is not None and not self._drawing.done():
            self.stats.pictures_dropped += self._next_picture is not None
            self._next_picture = (frame, due)
        else:
            self._drawing = asyncio.create_task(self._draw_pictures(frame, due), name="visavis-draw")

    async def _draw_pictures(self, frame: AVFrame, due: float) -> None:
        while True:
            sink, decoder = self.sink, self._decoder
            if sink is None or decoder is None:
                self._next_picture = None
                return
            try:
                encoded = await self._drawer.run(partial(_picture, decoder, sink, frame))
            except Exception:
                self.stats.pictures_failed += 1
                if self.stats.pictures_failed == 1:
                    logger.exception("a picture could not be drawn; the conversation goes on with sound")
            else:
                self.stats.pictures += 1
                self.stats.picture_late_ms.append((self._clock.now() - due) * 1000)
                if sink is self.sink:
                    sink.picture(frame, encoded)
            if self._next_picture is None:
                return
            (frame, due), self._next_picture = self._next_picture, None


def _picture(decoder: FrameDecoder, sink: Sink, frame: AVFrame) -> Any:
    return sink.encode(decoder.render(frame.motion))
