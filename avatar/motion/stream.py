"""Motion, frame by frame: speech where there is speech, life everywhere.

Time is counted in samples of the pushed speech. A segment (one reply) takes ceil(samples / 960) frames;
its frames become ready when LOOKAHEAD_FRAMES of speech lie beyond them, or all at once when it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import PHONE_TO_VISEME, TimedPhone
from avatar.clock import FPS, FRAME_SAMPLES
from avatar.motion import space
from avatar.motion.articulation import SPEECH_CHANNELS
from avatar.motion.asked_offset import AskedOffset
from avatar.motion.controls import Asked
from avatar.motion.idle import Idle
from avatar.motion.model import LOOKAHEAD_FRAMES, MotionModel, ProceduralMotion, VisemeSource
from avatar.motion.smooth import FadingOffset
from avatar.motion.state import State

Floats = NDArray[np.float32]

CLOSE_FRAMES: Final = 3
"""The mouth is closed this many frames (120 ms) after speech stops or is cleared."""
SETTLE_FRAMES: Final = FPS * 3 // 4
"""Head and brows come to rest this many frames after speech stops."""


@dataclass(slots=True)
class _Segment:
    samples: int = 0
    ended: bool = False


class MotionStream:
    """Streaming motion for one avatar by articulation rules: 52 numbers per 40 ms frame (see motion/space.py).

    seed: same seed and same calls, same motion.
    viseme_net: drives the lips for speech that comes without phone times.
    model: another source of speech motion than the procedural one.
    """

    tail_frames: Final = CLOSE_FRAMES
    """Frames after a segment in which the mouth may still be closing."""
    works_ahead: Final = False
    lookahead_samples: Final = LOOKAHEAD_FRAMES * FRAME_SAMPLES

    def __init__(
        self, seed: int = 0, viseme_net: VisemeSource | None = None, *, model: MotionModel | None = None
    ) -> None:
        speech_seed, idle_seed = np.random.SeedSequence(seed).generate_state(2)
        self._model = model or ProceduralMotion(np.random.default_rng(int(speech_seed)), viseme_net)
        self._idle = Idle(int(idle_seed))
        self._offset = FadingOffset(np.where(SPEECH_CHANNELS, CLOSE_FRAMES, SETTLE_FRAMES))
        self._asked = AskedOffset()
        self._segments: deque[_Segment] = deque()
        self._played = 0  # frames of the first segment already given
        self._cursor = 0  # next frame of the speech timeline
        self._speaking = False

    @property
    def state(self) -> State:
        """What the avatar is doing; set with `set_state`."""
        return self._idle.state

    def set_state(self, state: State) -> None:
        """Tell what the avatar is doing: it changes rest pose, blinking and where the eyes go."""
        self._idle.set_state(state)

    def set_controls(self, asked: Asked) -> None:
        """What is asked of face and head (gaze, distance, emotions, liveliness); it is gone to, not jumped to."""
        self._asked.set(asked)

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """Optional: the visitor's voice (int16 mono at 16 kHz), so that the avatar nods at their pauses."""
        self._idle.hear(pcm_S)

    def push_audio(self, pcm_S: NDArray[np.int16], phones: Sequence[TimedPhone] | None = None) -> None:
        """Append speech.

        pcm_S: int16 [samples] mono at 24 kHz, any length.
        phones: what is said when, relative to pcm_S[0]; they may run past its end. None on a segment's
            first push lets the viseme network listen to the whole segment.
        Raises ValueError when the audio is not int16 or a phone is unknown.
        """
        check_speech(pcm_S, phones)
        if len(pcm_S) == 0 and not phones:
            return
        if not self._segments or self._segments[-1].ended:
            self._segments.append(_Segment())
        self._segments[-1].samples += len(pcm_S)
        self._model.push(pcm_S, phones)

    def end_segment(self) -> None:
        """This reply's speech is complete; without any speech since the last end this does nothing."""
        if not self._segments or self._segments[-1].ended:
            return
        segment = self._segments[-1]
        padding = -segment.samples % FRAME_SAMPLES
        if padding:
            self._model.push(np.zeros(padding, dtype=np.int16), [])
        self._model.end_segment()
        segment.samples += padding
        segment.ended = True
        self._drop_finished()

    def clear(self) -> None:
        """Forget all speech; the mouth closes within CLOSE_FRAMES without a jump in position or velocity."""
        self._segments.clear()
        self._model.reset()
        self._played = self._cursor = 0

    def ready_frames(self) -> int:
        """Speech frames that `next_motion` can give now."""
        ready = -self._played
        for segment in self._segments:
            if not segment.ended:
                return ready + max(0, segment.samples // FRAME_SAMPLES - LOOKAHEAD_FRAMES)
            ready += segment.samples // FRAME_SAMPLES
        return max(0, ready)

    def prepare(self, *, hold: bool = False) -> None:
        """Nothing: a frame of this motion costs little."""

    def next_motion(self, *, hold: bool = False) -> Floats:
        """The next frame, float32 [52], within the ranges of motion/space.py.

        Gives the next speech frame when one is ready, else idle motion; `hold` asks for idle motion anyway
        (the speech waits).
        """
        boundary = False
        if hold or self.ready_frames() == 0:
            speech_D = self._offset.apply(space.neutral(), switched=self._speaking)
            self._speaking = False
        else:
            spoken = self._model.frame(self._cursor, last_known=self._segments[-1].ended)
            speech_D = self._offset.apply(spoken.motion_D, switched=not self._speaking)
            boundary = spoken.boundary
            self._speaking = True
            self._cursor += 1
            self._played += 1
            self._drop_finished()
        return self._asked.apply(self._idle.step(boundary=boundary) + speech_D)

    def _drop_finished(self) -> None:
        while self._segments and self._segments[0].ended:
            frames = self._segments[0].samples // FRAME_SAMPLES
            if self._played < frames:
                return
            self._played -= frames
            self._segments.popleft()


def check_pcm(pcm_S: NDArray[np.int16]) -> None:
    """Raise ValueError unless `pcm_S` is a one-dimensional int16 array."""
    if pcm_S.dtype != np.int16 or pcm_S.ndim != 1:
        raise ValueError(f"speech must be mono int16 [samples] at 24 kHz, not {pcm_S.dtype} {list(pcm_S.shape)}.")


def check_speech(pcm_S: NDArray[np.int16], phones: Sequence[TimedPhone] | None) -> None:
    """Raise ValueError unless `pcm_S` is speech (see check_pcm) and the phones are ones, with times in order."""
    check_pcm(pcm_S)
    for item in phones or ():
        if item.phone not in PHONE_TO_VISEME or not item.start_s <= item.end_s:
            raise ValueError(f"{item} is no phone: use ARPAbet without stress or 'sil', start_s <= end_s.")
