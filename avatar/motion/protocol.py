"""What an AvatarStream asks of the motion behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.motion.controls import Asked
from avatar.motion.state import State


class Motion(Protocol):
    """Speech and wishes in, one frame of motion (52 numbers, motion/space.py) out every 40 ms.

    `MotionStream` (articulation) and `DiffusionMotion` are such. Deterministic: same seed and same calls, same
    motion, however the speech was cut.
    """

    @property
    def tail_frames(self) -> int:
        """Frames after a segment in which the mouth may still be closing."""

    @property
    def lookahead_samples(self) -> int:
        """Speech at 24 kHz that may have to lie beyond a frame before it is ready, unless its segment has ended."""

    @property
    def works_ahead(self) -> bool:
        """Whether `prepare` does anything: frames do not all cost the same."""

    @property
    def state(self) -> State:
        """What the avatar is doing."""

    def set_state(self, state: State) -> None:
        """Tell what the avatar is doing."""

    def set_controls(self, asked: Asked) -> None:
        """Ask for gaze, distance, emotions, liveliness and a resting style, until asked otherwise."""

    def hear(self, pcm_S: NDArray[np.int16]) -> None:
        """The visitor's voice, int16 mono at 16 kHz, any length."""

    def push_audio(self, pcm_S: NDArray[np.int16], phones: Sequence[TimedPhone] | None = None) -> None:
        """Append speech, int16 [samples] mono at 24 kHz, with what is said when relative to its first sample; None on
        a segment's first push when that is not known. ValueError for anything else."""

    def end_segment(self) -> None:
        """The speech of this reply is complete."""

    def clear(self) -> None:
        """Forget all speech; the mouth closes within `tail_frames` without a jump."""

    def ready_frames(self) -> int:
        """Speech frames that `next_motion` can give now."""

    def prepare(self, *, hold: bool = False) -> None:
        """Do now what the next `next_motion(hold=hold)` would take time for. Never needed: it changes no frame."""

    def next_motion(self, *, hold: bool = False) -> NDArray[np.float32]:
        """The next frame, float32 [52]: speech when a frame is ready, else life without speech; `hold` lets speech
        wait."""
