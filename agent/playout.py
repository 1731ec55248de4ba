"""What has been asked of the avatar, what it has said so far, and what the listener has heard of it.

`Playout` lives with the event loop; `StreamDriver` lives with the worker thread that owns the `AvatarStream`. Between
them travel `Order`s one way and `Step`s (one frame each) the other, so that neither ever waits for the other's lock,
and a clear takes effect at once even while a frame of the old epoch is still being made. No asyncio, no clock.

Array legend: S samples at 24 kHz.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion.asked_text import AskedChange
from avatar.motion.controls import Asked
from avatar.motion.idle import State
from avatar.stream import AvatarStream, AVFrame

PIECE_SAMPLES = STREAM_RATE
"""Longest speech given to the stream between two frames, so that a long clause never delays one."""


@dataclass(frozen=True, slots=True)
class Push:
    """Speech of a segment; phones and changes count from pcm_S[0] and may run past its end."""

    segment: int
    pcm_S: NDArray[np.int16]
    phones: Sequence[TimedPhone] | None
    changes: Sequence[tuple[int, AskedChange]] = ()


@dataclass(frozen=True, slots=True)
class End:
    """The segment is complete."""

    segment: int


@dataclass(frozen=True, slots=True)
class Clear:
    """Everything before is forgotten."""


@dataclass(frozen=True, slots=True)
class Become:
    """The avatar's state changes."""

    state: State


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of face and head while no reply asks otherwise."""

    asked: Asked


@dataclass(frozen=True, slots=True)
class Hear:
    """The visitor's voice, int16 mono at 16 kHz."""

    pcm_S: NDArray[np.int16]


Order = Push | End | Clear | Become | Ask | Hear


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of the stream, with the playout's number of the segment in it, and what was asked of the face."""

    frame: AVFrame
    segment: int | None
    asked: Asked


@dataclass(frozen=True, slots=True)
class Cue:
    """What is being said: `text` is the whole segment so far; its newest words begin to sound at `start_sample`."""

    segment: int
    text: str
    start_sample: int
    first: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """A segment is over. played: samples of it that were given out; heard: the words among them."""

    segment: int
    played: int
    interrupted: bool
    heard: str


@dataclass(slots=True)
class Delivery:
    """What one frame brought about, in this order: `started`, `cues`, the frame itself, `finished`."""

    frame: AVFrame
    started: int | None = None
    cues: list[Cue] = field(default_factory=list)
    finished: Finished | None = None


@dataclass(slots=True)
class _Segment:
    number: int
    pushed: int = 0
    played: int = 0
    ended: bool = False
    texts: list[tuple[int, int, str]] = field(default_factory=list)  # (first sample, past the last, words)
    cued: int = 0

    def said(self, pieces: int) -> str:
        return " ".join(text for _, _, text in self.texts[:pieces])

    def heard(self) -> str:
        """The words given out so far; of a piece cut short, as many as its share of samples."""
        words: list[str] = []
        for start, stop, text in self.texts:
            if self.played >= stop:
                words.append(text)
            elif self.played > start:
                pieces = text.split()
                words += pieces[: round(len(pieces) * (self.played - start) / (stop - start))]
        return " ".join(words)


class Playout:
    """Segments (one for each reply) from push to played, by epoch.

    Every segment that was opened by `push` or `end` is reported exactly once: by the `Delivery` of its last frame,
    or by the `clear` that cut it short.
    """

    def __init__(self) -> None:
        self.epoch = 0
        """Number of clears so far; frames of an older one are silenced."""
        self.hold = False
        """Speech waits (see `AvatarStream.next_frame`)."""
        self._segments: deque[_Segment] = deque()
        self._orders: deque[Order] = deque()
        self._numbered = 0

    @property
    def queued_samples(self) -> int:
        """Speech pushed and not yet given out."""
        return sum(segment.pushed - segment.played for segment in self._segments)

    @property
    def busy(self) -> bool:
        """A segment is open, being said or waiting to be reported."""
        return bool(self._segments)

    def push(
        self,
        pcm_S: NDArray[np.int16],
        phones: Sequence[TimedPhone] | None = None,
        text: str = "",
        changes: Sequence[tuple[int, AskedChange]] = (),
    ) -> int:
        """Speech int16 [samples] of the open segment, which is opened if need be; returns its number."""
        segment = self._open()
        start = segment.pushed
        segment.pushed += len(pcm_S)
        if text and len(pcm_S):
            segment.texts.append((start, segment.pushed, text))
        for at in range(0, len(pcm_S), PIECE_SAMPLES):
            # The first piece tells the phones and changes of all.
            told = phones if at == 0 or phones is None else []
            asked = changes if at == 0 else ()
            self._orders.append(Push(segment.number, pcm_S[at : at + PIECE_SAMPLES], told, asked))
        return segment.number

    def end(self) -> int:
        """The open segment is complete; without one, an empty segment begins and ends. Returns its number."""
        segment = self._open()
        segment.ended = True
        self._orders.append(End(segment.number))
        return segment.number

    def clear(self) -> list[Finished]:
        """Forget all speech, at once; returns the segments that this ended, in order."""
        finished = [
            Finished(segment.number, segment.played, interrupted=True, heard=segment.heard())
            for segment in self._segments
        ]
        self._segments.clear()
        kept = [order for order in self._orders if not isinstance(order, Push | End)]
        self._orders = deque([*kept, Clear()])
        self.epoch += 1
        return finished

    def tell(self, order: Become | Ask | Hear) -> None:
        """Something that is not speech."""
        self._orders.append(order)

    def take_orders(self) -> list[Order]:
        """Orders for the next step, with PIECE_SAMPLES of speech at the most."""
        taken: list[Order] = []
        speech = 0
        while self._orders:
            order = self._orders[0]
            if isinstance(order, Push):
                speech += len(order.pcm_S)
                if speech > PIECE_SAMPLES:
                    break
            taken.append(self._orders.popleft())
        return taken

    def deliver(self, step: Step) -> Delivery:
        """Account for a frame about to be given out; every step must come through here, in order."""
        frame = step.frame
        if frame.epoch != self.epoch:
            return Delivery(_silenced(frame, self.epoch))
        delivery = Delivery(frame)
        segment = self._segments[0] if self._segments else None
        if step.segment is None or segment is None or segment.number != step.segment:
            # The stream still reports segments that clear() has already reported here.
            assert not frame.speech, "speech of a segment that nobody pushed"
            return delivery
        if frame.speech:
            if segment.played == 0:
                delivery.started = segment.number
            before, segment.played = segment.played, frame.segment_played
            delivery.cues = list(self._cues(segment, before, frame.sample))
        if frame.segment_end:
            self._segments.popleft()
            delivery.finished = Finished(segment.number, segment.played, interrupted=False, heard=segment.heard())
        return delivery

    def _cues(self, segment: _Segment, before: int, sample: int) -> Iterator[Cue]:
        while segment.cued < len(segment.texts) and segment.texts[segment.cued][0] < segment.played:
            start = segment.texts[segment.cued][0]
            segment.cued += 1
            yield Cue(segment.number, segment.said(segment.cued), sample + start - before, first=segment.cued == 1)

    def _open(self) -> _Segment:
        if not self._segments or self._segments[-1].ended:
            self._segments.append(_Segment(self._numbered))
            self._numbered += 1
        return self._segments[-1]


def _silenced(frame: AVFrame, epoch: int) -> AVFrame:
    """A frame that was made before the clear: its picture may show, its sound may not."""
    return replace(
        frame, pcm=np.zeros(FRAME_SAMPLES, np.int16), speech=False, epoch=epoch,
        segment=-1, segment_end=False, segment_played=0, interrupted=False,
    )  # fmt: skip


class StreamDriver:
    """Carries out orders on an AvatarStream, one frame a step. Only one thread may call it."""

    def __init__(self, stream: AvatarStream) -> None:
        self._stream = stream
        self._numbers: dict[int, int] = {}  # the stream's segment -> the playout's

    @property
    def works_ahead(self) -> bool:
        """Whether `prepare` saves the next step anything."""
        return self._stream.works_ahead

    def prepare(self, orders: Sequence[Order], hold: bool) -> None:
        """Carry out the orders and do what can be done of the next step, which may come at any time after."""
        self._carry_out(orders)
        self._stream.prepare(hold=hold)

    def step(self, orders: Sequence[Order], hold: bool) -> Step:
        """Carry out the orders, then make the next frame, without its picture."""
        self._carry_out(orders)
        frame = self._stream.next_frame(render=False, hold=hold)
        segment = self._numbers.get(frame.segment)
        if frame.segment_end:
            self._numbers.pop(frame.segment, None)
        return Step(frame, segment, self._stream.asked)

    def _carry_out(self, orders: Sequence[Order]) -> None:
        for order in orders:
            match order:
                case Push():
                    self._numbers[self._stream.push_audio(order.pcm_S, order.phones, order.changes)] = order.segment
                case End():
                    self._numbers[self._stream.end_segment()] = order.segment
                case Clear():
                    self._stream.clear()
                case Become():
                    self._stream.set_state(order.state)
                case Ask():
                    self._stream.set_controls(order.asked)
                case Hear():
                    self._stream.hear(order.pcm_S)
