"""The avatar's sound and picture as LiveKit tracks.

Sound goes into LiveKit's audio source a little ahead of its time (a cushion against jitter); each picture is
published at the moment when its own sound leaves that source. So both carry the same capture time, and the visitor's
browser has nothing to correct.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

import cv2
import numpy as np
from livekit import rtc
from numpy.typing import NDArray

from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.render.output import FrameFormat
from avatar.stream import AVFrame

logger = logging.getLogger("visavis.room")

CUSHION_S: Final = 0.08
"""Sound kept ahead in LiveKit's audio source: two frames."""
MAX_SOUNDS: Final = 50
"""Frames of sound that may wait for LiveKit (2 s). Sound is never dropped: with more waiting the room is dead."""
VIDEO_BITRATE: Final = 1_200_000


class RoomSink:
    """A runner's sink that publishes into a room. `stalled` is set when LiveKit takes no more sound."""

    def __init__(self, shape: FrameFormat) -> None:
        self.stalled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._width, self._height = shape.width, shape.size
        self._audio = rtc.AudioSource(STREAM_RATE, 1, queue_size_ms=1000)
        self._video = rtc.VideoSource(self._width, self._height)
        self._sounds: asyncio.Queue[AVFrame] = asyncio.Queue(MAX_SOUNDS)
        self._heard_at: dict[int, float] = {}
        self._pending: dict[int, asyncio.TimerHandle] = {}
        self._epoch = 0
        self._pump: asyncio.Task[None] | None = None

    async def publish(self, participant: rtc.LocalParticipant) -> None:
        """Publish both tracks and begin."""
        audio = rtc.LocalAudioTrack.create_audio_track("avatar_audio", self._audio)
        video = rtc.LocalVideoTrack.create_video_track("avatar_video", self._video)
        await participant.publish_track(audio, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE))
        await participant.publish_track(
            video,
            rtc.TrackPublishOptions(
                source=rtc.TrackSource.SOURCE_CAMERA,
                simulcast=False,  # one listener; a second encoding would cost a core
                video_encoding=rtc.VideoEncoding(max_framerate=25, max_bitrate=VIDEO_BITRATE),
            ),
        )
        self._pump = asyncio.create_task(self._pump_sound(), name="visavis-room-sound")

    async def aclose(self) -> None:
        """Stop publishing."""
        for handle in self._pending.values():
            handle.cancel()
        self._pending.clear()
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._pump
        await self._audio.aclose()
        await self._video.aclose()

    def sound(self, frame: AVFrame) -> None:
        try:
            self._sounds.put_nowait(frame)
        except asyncio.QueueFull:
            self.stalled.set()

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """RGB to I420 on the drawing thread; LiveKit would do it on the event loop."""
        return cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420).tobytes()

    def picture(self, frame: AVFrame, encoded: bytes) -> None:
        at = self._heard_at.pop(frame.index, 0.0)
        self._heard_at = {index: t for index, t in self._heard_at.items() if index > frame.index}
        if at <= self._loop.time():
            self._show(frame.index, encoded)
        else:
            self._pending[frame.index] = self._loop.call_at(at, self._show, frame.index, encoded)

    def clear(self, epoch: int) -> None:
        self._epoch = epoch
        self._audio.clear_queue()
        for handle in self._pending.values():
            handle.cancel()
        self._pending.clear()

    def _show(self, index: int, encoded: bytes) -> None:
        self._pending.pop(index, None)
        self._video.capture_frame(rtc.VideoFrame(self._width, self._height, rtc.VideoBufferType.I420, encoded))

    async def _pump_sound(self) -> None:
        cushion = np.zeros(int(CUSHION_S * STREAM_RATE), np.int16)
        while True:
            frame = await self._sounds.get()
            if self._audio.queued_duration < 0.005:
                await self._capture(cushion)
            self._heard_at[frame.index] = self._loop.time() + self._audio.queued_duration
            # What was queued before an interruption is not heard any more; the clock goes on in silence.
            await self._capture(frame.pcm if frame.epoch >= self._epoch else np.zeros(FRAME_SAMPLES, np.int16))

    async def _capture(self, pcm_S: NDArray[np.int16]) -> None:
        await self._audio.capture_frame(rtc.AudioFrame(pcm_S.tobytes(), STREAM_RATE, 1, len(pcm_S)))
