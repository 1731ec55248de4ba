"""A sink that records what a visitor would see and hear."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.clock import ThreadWorker
from agent.media import ClipWriter
from avatar.clock import FRAME_SAMPLES
from avatar.motion import space
from avatar.render.output import FrameFormat
from avatar.stream import AVFrame

MAX_WAITING: Final = 100
"""Frames that wait for the encoder (4 s); beyond, the picture before is written again instead of a new one."""
_PATCH: Final = 4
_JAW: Final = space.INDEX["jawOpen"]


@dataclass(slots=True)
class RecordedFrame:
    """What is remembered of a frame. shown: index of the frame whose picture was seen with it, -1 before the first."""

    speech: bool
    jaw: float
    shown: int
    change: float


class Recorder:
    """Writes sound and pictures to a clip, frame by frame, and keeps a few figures of each.

    A frame whose picture never came shows the one before, as a visitor's page would.
    """

    def __init__(self, path: Path, shape: FrameFormat) -> None:
        """Raises Unavailable when the file cannot be written."""
        self.frames: list[RecordedFrame] = []
        self._writer = ClipWriter(path, shape, fast=True)  # the conversation needs the cores
        self._worker = ThreadWorker("visavis-record")
        self._sounds: deque[AVFrame] = deque()
        self._writing: set[asyncio.Future[None]] = set()
        self._blank: NDArray[np.uint8] | None = np.zeros(shape.shape, np.uint8)
        self._shown = -1
        self._patch: NDArray[np.float32] | None = None

    def sound(self, frame: AVFrame) -> None:
        self._sounds.append(frame)
        if len(self._sounds) > MAX_WAITING:
            self._write(self._sounds.popleft(), None, 0.0)

    def encode(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
        """The picture, and how much its lower middle (the mouth) differs from the one before, in grey levels."""
        height, width = image.shape[:2]
        rows, columns = slice(height // 2, height * 7 // 8, _PATCH), slice(width // 4, width * 3 // 4, _PATCH)
        region = image[rows, columns, 1].astype(np.float32)
        change = 0.0 if self._patch is None else float(np.abs(region - self._patch).mean())
        self._patch = region
        return image.copy(), change

    def picture(self, frame: AVFrame, encoded: tuple[NDArray[np.uint8], float]) -> None:
        image, change = encoded
        while self._sounds and self._sounds[0].index < frame.index:
            self._write(self._sounds.popleft(), None, 0.0)
        if self._sounds and self._sounds[0].index == frame.index:
            self._shown = frame.index
            crowded = len(self._writing) > MAX_WAITING
            self._write(self._sounds.popleft(), None if crowded else image, change)

    def clear(self, epoch: int) -> None:
        """What was given out has been seen and heard; there is no queue to clear."""

    async def close(self) -> None:
        """Write what waits and finish the file."""
        while self._sounds:
            self._write(self._sounds.popleft(), None, 0.0)
        await asyncio.gather(*self._writing)
        await self._worker.run(self._writer.close)
        self._worker.close()

    def _write(self, frame: AVFrame, image: NDArray[np.uint8] | None, change: float) -> None:
        self.frames.append(RecordedFrame(frame.speech, float(frame.motion[_JAW]), self._shown, change))
        if image is None and self._blank is not None:
            image = self._blank
        self._blank = None
        future = asyncio.ensure_future(self._worker.run(partial(self._writer.write, image, frame.pcm)))
        self._writing.add(future)
        future.add_done_callback(self._writing.discard)

    @property
    def seconds(self) -> float:
        """Length so far."""
        return len(self.frames) * FRAME_SAMPLES / 24_000
