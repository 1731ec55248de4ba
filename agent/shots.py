"""The frames of a clip, one after another: from speech by the motion model, or from recorded motion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.source import Source
from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.smooth import FadingOffset
from avatar.motion.stream import MotionStream
from avatar.stream import AvatarStream, FrameDecoder

AHEAD_SAMPLES: Final = 2 * STREAM_RATE
"""How much speech is queued ahead of the picture: enough look-ahead for the lips, little memory."""
SETTLE_FRAMES: Final = 15
"""Frames after the last word, in which the mouth closes and the face comes to rest."""
_GLIDE_FRAMES: Final = FPS * 3 // 4


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame: picture uint8 [H, W, C], pcm_S int16 [960] at 24 kHz, motion_D float32 [52]."""

    image: NDArray[np.uint8]
    pcm_S: NDArray[np.int16]
    motion_D: NDArray[np.float32]


def spoken_shots(stream: AvatarStream, source: Source) -> Iterator[Shot]:
    """Everything the source says, and SETTLE_FRAMES after it."""
    pending = next(source.chunks, None)
    settled = 0
    while settled < SETTLE_FRAMES:
        while pending is not None and stream.queued_samples < AHEAD_SAMPLES:
            stream.push_audio(pending.pcm_S, pending.phones, pending.changes)
            pending = next(source.chunks, None)
            if pending is None:
                stream.end_segment()
        frame = stream.next_frame()
        assert frame.image is not None, "frames are rendered here"
        yield Shot(frame.image, frame.pcm, frame.motion)
        settled = settled + 1 if pending is None and stream.queued_samples == 0 and not frame.speech else 0


def driven_shots(
    decoder: FrameDecoder, motion_TD: NDArray[np.float32], source: Source, rest: MotionStream
) -> Iterator[Shot]:
    """Recorded motion [T, 52] with the source's sound beside it, both from their start; as long as the longer.

    After the sound's end there is silence. After the motion's end the face glides to what `rest` does when idle.
    """
    glide = FadingOffset(np.full(space.DIM, _GLIDE_FRAMES))
    buffer_S = np.zeros(0, np.int16)
    more = True
    frame = 0
    while True:
        while more and len(buffer_S) < FRAME_SAMPLES:
            chunk = next(source.chunks, None)
            more = chunk is not None
            if chunk is not None:
                buffer_S = np.concatenate([buffer_S, chunk.pcm_S])
        if frame >= len(motion_TD) and len(buffer_S) == 0:
            return
        pcm_S = np.zeros(FRAME_SAMPLES, np.int16)
        pcm_S[: min(FRAME_SAMPLES, len(buffer_S))] = buffer_S[:FRAME_SAMPLES]
        buffer_S = buffer_S[FRAME_SAMPLES:]
        if frame < len(motion_TD):
            motion_D = glide.apply(motion_TD[frame], switched=False)
        else:
            motion_D, _ = space.clamp(glide.apply(rest.next_motion(), switched=frame == len(motion_TD)))
        yield Shot(decoder.render(motion_D), pcm_S, motion_D)
        frame += 1
