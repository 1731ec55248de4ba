"""The visitor's voice on its way into the session: 16 kHz samples with the times at which they came.

Array legend: S samples at 16 kHz.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from livekit import rtc
from livekit.agents import vad
from livekit.agents.voice import io
from numpy.typing import NDArray

from agent.clock import Clock, MonotonicClock
from avatar.clock import MIC_RATE

MAX_QUEUED: Final = 500
"""Packets of 20-100 ms that may wait; the session takes them within milliseconds."""
KEPT_TIMES: Final = 3000
CLOSING_SILENCE_S: Final = 1.0
"""Silence that follows when the microphone is muted, so that a sentence just spoken counts as ended."""


class MicrophoneFull(RuntimeError):
    """Nobody takes the sound that comes in."""


class Microphone(io.AudioInput):
    """Sound that is pushed in on the event loop; the session reads it."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__(label="visavis microphone")
        self._clock = clock or MonotonicClock()
        self._queue: asyncio.Queue[rtc.AudioFrame | None] = asyncio.Queue(MAX_QUEUED)
        self._times: deque[tuple[int, float]] = deque(maxlen=KEPT_TIMES)
        self._samples = 0
        self._closed = False

    @property
    def samples(self) -> int:
        """Samples pushed so far."""
        return self._samples

    def push(self, pcm_S: NDArray[np.int16]) -> None:
        """int16 [samples] mono at 16 kHz. Raises MicrophoneFull rather than dropping sound."""
        if self._closed or len(pcm_S) == 0:
            return
        frame = rtc.AudioFrame(
            data=pcm_S.tobytes(), sample_rate=MIC_RATE, num_channels=1, samples_per_channel=len(pcm_S)
        )
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            raise MicrophoneFull("the session does not take the microphone's sound") from None
        self._samples += len(pcm_S)
        self._times.append((self._samples, self._clock.now()))

    def close_turn(self) -> None:
        """Silence instead of the voice: whatever was being said is over."""
        self.push(np.zeros(int(CLOSING_SILENCE_S * MIC_RATE), np.int16))

    def time_of(self, sample: int) -> float:
        """When that sample arrived (with the packet it came in), in the clock's seconds."""
        moment = self._clock.now()
        for past, time in reversed(self._times):
            if past <= sample:
                break
            moment = time
        return moment

    def close(self) -> None:
        """No more sound; the session's reading ends."""
        if not self._closed:
            self._closed = True
            if self._queue.full():
                self._queue.get_nowait()
            self._queue.put_nowait(None)

    async def __anext__(self) -> rtc.AudioFrame:
        frame = await self._queue.get()
        if frame is None:
            self._queue.put_nowait(None)
            raise StopAsyncIteration
        return frame


class WatchedVAD(vad.VAD):
    """A voice activity detector whose events can be seen; everything else is the inner one's.

    on_event: called on the event loop before the session sees the event.
    """

    def __init__(self, inner: vad.VAD, on_event: Callable[[vad.VADEvent], None]) -> None:
        super().__init__(capabilities=inner.capabilities)
        self._inner = inner
        self._on_event = on_event

    @property
    def model(self) -> str:
        return self._inner.model

    @property
    def provider(self) -> str:
        return self._inner.provider

    @property
    def min_silence_duration(self) -> float | None:
        """What the end-of-turn detector checks."""
        value: float | None = getattr(self._inner, "min_silence_duration", None)
        return value

    def stream(self) -> vad.VADStream:
        return _WatchedStream(self._inner.stream(), self._on_event)  # type: ignore[return-value]


class _WatchedStream:
    """Duck-typed, because VADStream's constructor starts tasks of its own."""

    def __init__(self, inner: vad.VADStream, on_event: Callable[[vad.VADEvent], None]) -> None:
        self._inner = inner
        self._on_event = on_event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> _WatchedStream:
        return self

    async def __anext__(self) -> vad.VADEvent:
        event = await anext(self._inner)
        self._on_event(event)
        return event


def end_of_speech(event: vad.VADEvent) -> int | None:
    """The microphone sample after the last voiced one, when the event ends a stretch of speech."""
    if event.type != vad.VADEventType.END_OF_SPEECH:
        return None
    return max(0, event.samples_index - round(event.silence_duration * MIC_RATE))
