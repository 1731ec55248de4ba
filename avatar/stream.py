"""Audio chunks in, synchronised frames out.

`AvatarStream` is the whole avatar behind two calls: push speech, take frames. It is synchronous, owns no
thread and knows no clock; whoever calls `next_frame` 25 times a second makes it live, whoever calls it as
fast as possible renders a film.

    stream = AvatarStream(decoder, open_motion(AvatarSettings(seed=1)))
    stream.push_audio(pcm, phones)
    stream.end_segment()
    frame = stream.next_frame()      # frame.pcm (960 samples) belongs to frame.image
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion.asked_text import AskedChange
from avatar.motion.asked_track import AskedTrack
from avatar.motion.controls import Asked
from avatar.motion.protocol import Motion
from avatar.motion.state import State
from avatar.motion.stream import check_pcm
from avatar.render.output import FrameFormat

MAX_QUEUED_S: Final = 600.0
"""Speech that may wait in the queue; more is refused, never dropped."""
_REBUFFER_FRAMES: Final = 3


class FrameDecoder(Protocol):
    """Anything that draws a motion vector."""

    @property
    def format(self) -> FrameFormat:
        """Shape of its pictures."""

    def render(self, motion_D: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Picture of motion [52], uint8 `format.shape`: RGB, or RGB and straight opacity."""


@dataclass(frozen=True, slots=True)
class AVFrame:
    """40 ms of sound and the picture that belongs to it.

    index: frames since the stream began; sample = index * 960.
    pcm: int16 [960] at 24 kHz, silence where nothing is said.
    image: uint8 [H, W, 3] RGB ([H, W, 4] with opacity), or None when rendering was not asked for.
    motion: float32 [52], what the image shows.
    speech: the sound is (part of) pushed speech.
    epoch: grows by one with every clear().
    segment: number of the segment this frame belongs to or ends, -1 for none; the first is 0.
    segment_end: this frame ends `segment`; exactly one frame does, for every segment.
    segment_played: samples of `segment` given so far, this frame included.
    interrupted: the segment ended because it was cleared.
    """

    index: int
    sample: int
    pcm: NDArray[np.int16]
    image: NDArray[np.uint8] | None
    motion: NDArray[np.float32]
    speech: bool
    epoch: int
    segment: int
    segment_end: bool
    segment_played: int
    interrupted: bool


@dataclass(slots=True)
class _Segment:
    number: int
    chunks: deque[NDArray[np.int16]]
    queued: int = 0
    played: int = 0
    ended: bool = False
    cleared: bool = False

    def take(self, samples: int) -> NDArray[np.int16]:
        """The next samples, padded with silence to `samples`."""
        out_S = np.zeros(samples, dtype=np.int16)
        filled = 0
        while self.chunks and filled < samples:
            chunk_S = self.chunks.popleft()
            part_S = chunk_S[: samples - filled]
            out_S[filled : filled + len(part_S)] = part_S
            filled += len(part_S)
            if len(part_S) < len(chunk_S):
                self.chunks.appendleft(chunk_S[len(part_S) :])
        self.queued -= filled
        self.played += filled
        return out_S


class AvatarStream:
    """Synchronised sound and picture of one avatar. See the module's docstring."""

    def __init__(self, decoder: FrameDecoder | None, motion: Motion) -> None:
        """decoder: draws the frames; None gives frames without pictures."""
        self._decoder = decoder
        self._motion = motion
        self._asked = AskedTrack()
        self._segments: deque[_Segment] = deque()
        self._index = 0
        self._epoch = 0
        self._numbered = 0
        self._waiting = False
        self.underruns = 0
        """How often speech had to pause because its audio came too late."""
        self.cleared_samples = 0
        """Samples forgotten by clear() (pushed = played + queued + cleared)."""

    @property
    def epoch(self) -> int:
        """Number of clear() calls so far."""
        return self._epoch

    @property
    def queued_samples(self) -> int:
        """Pushed samples not yet given out."""
        return sum(segment.queued for segment in self._segments)

    @property
    def idle(self) -> bool:
        """Nothing is queued, being said or waiting to be reported as ended."""
        return not self._segments

    def set_state(self, state: State) -> None:
        """Tell what the avatar is doing (rest pose, blinks, gaze)."""
        self._motion.set_state(state)

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """Optional: the visitor's voice, int16 mono at 16 kHz, for the listening face."""
        self._motion.hear(pcm_S)

    @property
    def asked(self) -> Asked:
        """What is asked of face and head at this moment, by `set_controls` and by the words being said."""
        return self._asked.now

    def set_controls(self, asked: Asked) -> None:
        """What is asked of face and head from the next frame on."""
        if self._asked.set(asked):
            self._motion.set_controls(self._asked.now)

    def push_audio(
        self,
        pcm_S: NDArray[np.int16],
        phones: Sequence[TimedPhone] | None = None,
        changes: Sequence[tuple[int, AskedChange]] = (),
    ) -> int:
        """Append speech to the open segment, opening one if need be; returns the segment's number.

        pcm_S: int16 [samples] mono at 24 kHz. phones: relative to pcm_S[0]; None lets the viseme network listen.
        changes: what is asked from the frame on that holds the sample (from pcm_S[0]), until the segment is over.
        Raises ValueError for other audio, or when more than MAX_QUEUED_S would be queued.
        """
        check_pcm(pcm_S)
        if self.queued_samples + len(pcm_S) > MAX_QUEUED_S * STREAM_RATE:
            raise ValueError(
                f"more than {MAX_QUEUED_S:.0f} s of speech would be queued: take frames before pushing more."
            )
        self._motion.push_audio(pcm_S, phones)
        segment = self._open()
        for sample, change in changes:
            self._asked.mark(segment.number, segment.played + segment.queued + sample, change)
        if len(pcm_S):
            segment.chunks.append(pcm_S.copy())
            segment.queued += len(pcm_S)
        return segment.number

    def end_segment(self) -> int:
        """The open segment is complete; returns its number.

        Without anything pushed since the last end or clear this makes an empty segment, which gets its
        own silent frame with segment_end, so that every end can be waited for.
        """
        self._motion.end_segment()
        segment = self._open()
        segment.ended = True
        return segment.number

    def clear(self) -> int:
        """Forget all queued speech (barge-in) and close the mouth; returns the new epoch.

        Segments not yet ended are reported as ended and interrupted, one a frame, on the next frames.
        """
        for segment in self._segments:
            self.cleared_samples += segment.queued
            segment.chunks.clear()
            segment.queued = 0
            segment.ended = segment.cleared = True
        self._motion.clear()
        if self._asked.clear():
            self._motion.set_controls(self._asked.now)
        self._waiting = False
        self._epoch += 1
        return self._epoch

    @property
    def works_ahead(self) -> bool:
        """Whether `prepare` does anything."""
        return self._motion.works_ahead

    def prepare(self, *, hold: bool = False) -> None:
        """Let the motion work ahead for the next `next_frame`; changes no frame. For a caller with time to spare."""
        segment = self._segments[0] if self._segments else None
        speech = not hold and segment is not None and segment.queued > 0 and self._has_cushion(segment)
        self._motion.prepare(hold=not speech)

    def next_frame(self, render: bool = True, *, hold: bool = False) -> AVFrame:
        """The next 40 ms; always a pair, silence and idle motion when nothing is to be said.

        hold: queued speech waits (someone may be interrupting); silence and idle motion meanwhile.
        """
        segment = self._segments[0] if self._segments else None
        speech = not hold and segment is not None and segment.queued > 0 and self._may_speak(segment)
        if segment is not None and speech and self._asked.reach(segment.number, segment.played + FRAME_SAMPLES):
            self._motion.set_controls(self._asked.now)
        motion_D = self._motion.next_motion(hold=not speech)
        if segment is not None and speech:
            pcm_S = segment.take(FRAME_SAMPLES)
        else:
            pcm_S = np.zeros(FRAME_SAMPLES, dtype=np.int16)
        finished = segment is not None and segment.ended and segment.queued == 0
        if segment is not None and finished:
            self._segments.popleft()
            if self._asked.end(segment.number):
                self._motion.set_controls(self._asked.now)
        image = self._decoder.render(motion_D) if render and self._decoder is not None else None
        index = self._index
        self._index += 1
        return AVFrame(
            index=index,
            sample=index * FRAME_SAMPLES,
            pcm=pcm_S,
            image=image,
            motion=motion_D,
            speech=speech,
            epoch=self._epoch,
            segment=segment.number if segment is not None else -1,
            segment_end=finished,
            segment_played=segment.played if segment is not None else 0,
            interrupted=finished and segment is not None and segment.cleared,
        )

    def _may_speak(self, segment: _Segment) -> bool:
        """Whether the look-ahead is there; after an underrun a small cushion is waited for as well."""
        if self._has_cushion(segment):
            self._waiting = False
            return True
        if segment.played and not self._waiting:
            self._waiting = True
            self.underruns += 1
        return False

    def _has_cushion(self, segment: _Segment) -> bool:
        return segment.ended or self._motion.ready_frames() > (_REBUFFER_FRAMES if self._waiting else 0)

    def _open(self) -> _Segment:
        if not self._segments or self._segments[-1].ended:
            self._segments.append(_Segment(self._numbered, deque()))
            self._numbered += 1
        return self._segments[-1]
