"""What is to be shown next: which frames of speech are ready, and the window of frames that is made at once.

Speech is made in blocks on a grid that starts with each segment, so a frame's window sees the same sound however the
sound was cut and whenever it came: a block of frames [a, b) needs the speech up to b + LOOK, or its segment's end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FRAME_SAMPLES
from avatar.motion.controls import Asked
from avatar.motion.events import Events, Moment
from avatar.motion.state import State

Floats = NDArray[np.float32]

_QUIET: float = -0.85
"""Level (units of 20 dB under the speaker's own) below which a frame is a pause."""
_PAUSE_FRAMES: int = 4


@dataclass(slots=True)
class _Segment:
    start: int
    samples: int = 0
    ended: bool = False

    @property
    def frames(self) -> int:
        return self.samples // FRAME_SAMPLES


class SpeechQueue:
    """Speech that waits to be shown, counted in frames of one timeline. `cursor` is the next frame."""

    def __init__(self, block: int, look: int) -> None:
        """block: frames made at once; look: frames of speech that must lie beyond them."""
        self._block, self._look = block, look
        self.timeline = 0
        """Number of clears so far: frames of different timelines are different frames."""
        self.cursor = 0
        self._segments: deque[_Segment] = deque()
        self._next_start = 0

    @property
    def open(self) -> bool:
        """A segment has begun and not ended."""
        return bool(self._segments) and not self._segments[-1].ended

    def push(self, samples: int) -> None:
        """Append to the open segment, opening one if need be."""
        if not self.open:
            self._segments.append(_Segment(self._next_start))
        self._segments[-1].samples += samples

    def padding(self) -> int:
        """Samples that the open segment lacks to whole frames."""
        return -self._segments[-1].samples % FRAME_SAMPLES

    def end(self) -> None:
        """The open segment, which must be of whole frames, is complete."""
        segment = self._segments[-1]
        assert segment.samples % FRAME_SAMPLES == 0
        segment.ended = True
        self._next_start = segment.start + segment.frames
        self._drop_finished()

    def clear(self) -> None:
        """Forget everything; a new timeline starts at frame 0."""
        self._segments.clear()
        self.timeline += 1
        self.cursor = self._next_start = 0

    def ready(self) -> int:
        """Frames from the cursor on that can be shown."""
        ready = -self.cursor
        for segment in self._segments:
            if not segment.ended:
                blocks = max(0, segment.frames - self._look) // self._block
                return ready + segment.start + blocks * self._block
            ready = segment.start + segment.frames - self.cursor
        return max(0, ready)

    def block_end(self) -> tuple[int, bool]:
        """Where the cursor's block ends, and whether speech ends there too; a frame must be ready."""
        segment = self._segments[0]
        into = self.cursor - segment.start
        end = segment.start + (into // self._block + 1) * self._block
        last = segment.start + segment.frames
        return (last, True) if segment.ended and end >= last else (end, False)

    def speech_after(self, end: int) -> int:
        """Frames of the look-ahead from `end` on that belong to the first segment."""
        segment = self._segments[0]
        return min(self._look, segment.start + segment.frames - end)

    def advance(self) -> None:
        """The cursor's frame has been shown."""
        self.cursor += 1
        self._drop_finished()

    def _drop_finished(self) -> None:
        while self._segments and self._segments[0].ended:
            if self.cursor < self._segments[0].start + self._segments[0].frames:
                return
            self._segments.popleft()


@dataclass(frozen=True, slots=True)
class Token:
    """What is decided for one frame. speech: frame of the speech timeline, None for a frame without speech."""

    speech: int | None
    state: State
    moment: Moment


class Decider:
    """Decides frame after frame: state, gaze, blinks and nods, with blinks invited where a phrase ends."""

    def __init__(self, events: Events, level: Callable[[int], float]) -> None:
        """level: loudness of a frame of speech against the speaker's running level, in units of 20 dB."""
        self._events, self._level = events, level
        self._quiet_frames = _PAUSE_FRAMES
        self.state = State.IDLE

    def set_controls(self, asked: Asked) -> None:
        """See Events.set_controls."""
        self._events.set_controls(asked)

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """The visitor's voice, int16 mono at 16 kHz."""
        self._events.hear(pcm_S)

    def step(self, speech: int | None, *, known: bool = True) -> Token:
        """The next frame. known: the sound of this frame of speech is there."""
        state = self.state if speech is None else State.SPEAKING
        self._events.set_state(state)
        boundary = False
        if known:
            quiet = speech is None or self._level(speech) < _QUIET
            self._quiet_frames = self._quiet_frames + 1 if quiet else 0
            boundary = self._quiet_frames == _PAUSE_FRAMES
        return Token(speech, state, self._events.step(boundary=boundary))

    def fork(self) -> Decider:
        """A twin that will decide the same, for looking ahead."""
        twin = Decider(self._events.fork(), self._level)
        twin._quiet_frames, twin.state = self._quiet_frames, self.state
        return twin


def _nothing() -> Floats:
    return np.zeros((0, 0), np.float32)


@dataclass(slots=True)
class Window:
    """Frames that are made at once.

    first: display frame of tokens[0]; tokens: the new frames, then the look-ahead's; new: how many are new;
    speech_end: the block's end on the speech timeline (its rows are known to that and look-ahead beyond), None without
    speech. Filled when it is made: motion_ND, what the network made of it, float32 [N, 52], and its conditions,
    audio_NA and control_NC. N = len(tokens).
    """

    first: int
    timeline: int
    asked: Asked
    tokens: tuple[Token, ...]
    new: int
    speech_end: int | None
    motion_ND: Floats = field(default_factory=_nothing, compare=False)
    audio_NA: Floats = field(default_factory=_nothing, compare=False)
    control_NC: Floats = field(default_factory=_nothing, compare=False)

    def expects(self, frame: int, token: Token, timeline: int, asked: Asked) -> bool:
        """Whether what was foreseen for this display frame has come true."""
        at = frame - self.first
        return (
            at < self.new and self.tokens[at] == token and self.asked == asked
            and (token.speech is None or self.timeline == timeline)
        )  # fmt: skip

    def rest_from(self, frame: int) -> tuple[Floats, tuple[Token, ...]]:
        """What was made for this display frame and those after it, drafts included."""
        at = min(frame - self.first, len(self.tokens))
        return self.motion_ND[at:], self.tokens[at:]


def plan_window(
    first: int, token: Token, ahead: Decider, queue: SpeechQueue, asked: Asked, *, block: int, look: int
) -> Window:
    """The window that begins with `token` at display frame `first`; `ahead` is used up."""
    if token.speech is None:
        speech, new, speech_end = 0, block, None
    else:
        speech_end, last = queue.block_end()
        new = speech = speech_end - token.speech
        if last:
            new = max(block, speech)  # the mouth closes in the same window
        else:
            speech += queue.speech_after(speech_end)
    tokens = [token]
    for i in range(1, new + look):
        at = token.speech + i if token.speech is not None and i < speech else None
        tokens.append(ahead.step(at, known=i < new))
    return Window(first, queue.timeline, asked, tuple(tokens), new, speech_end)
