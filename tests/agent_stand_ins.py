"""Small real parts for tests of the agent: a drawn disc for a face, time that a test moves, ears that know the text."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from livekit.agents import APIConnectOptions, stt, utils
from livekit.agents.types import NotGivenOr
from numpy.typing import NDArray

from avatar.motion import space
from avatar.render.output import FrameFormat
from avatar.stream import AVFrame
from dialogue.protocol import Message

T = TypeVar("T")
JAW = space.INDEX["jawOpen"]


class DiscDecoder:
    """A black disc on white whose radius follows the jaw."""

    def __init__(self, size: int = 128) -> None:
        self.format = FrameFormat(size)
        self.size = size
        self.drawn = 0
        self.fail = False

    def render(self, motion_D: NDArray[np.float32], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        if self.fail:
            raise RuntimeError("no pictures today")
        self.drawn += 1
        radius = self.size * (0.1 + 0.4 * float(motion_D[JAW]))
        y, x = np.mgrid[: self.size, : self.size] - self.size / 2
        image_HW = np.where(x**2 + y**2 <= radius**2, 0, 255).astype(np.uint8)
        return np.repeat(image_HW[:, :, None], 3, axis=2)


def disc_area(image: NDArray[np.uint8]) -> int:
    """Dark pixels: how far the disc's mouth is open."""
    return int((image[:, :, 0] < 128).sum())


class VirtualClock:
    """Time stands still until a test moves it."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> float:
        return self._now

    async def sleep_until(self, moment: float) -> None:
        if moment <= self._now:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (moment, self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let that much time pass; everybody wakes at their moment, in order."""
        end = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            moment, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, moment)
            if not future.done():
                future.set_result(None)
            await settle()
        self._now = end
        await settle()

    def jump(self, seconds: float) -> None:
        """The machine was asleep: time has passed and nobody has woken."""
        self._now += seconds


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(12):
        await asyncio.sleep(0)


class InlineWorker:
    """Does the work at once; `delay` makes it take (virtual) time."""

    def __init__(self, clock: VirtualClock | None = None, delay: Callable[[], float] = lambda: 0.0) -> None:
        self._clock = clock
        self._delay = delay
        self._lock = asyncio.Lock()

    async def run(self, function: Callable[[], T]) -> T:
        async with self._lock:
            if self._clock is not None and (delay := self._delay()) > 0:
                await self._clock.sleep_until(self._clock.now() + delay)
            return function()

    def close(self) -> None:
        pass


class ListSink:
    """Keeps what the runner gives out."""

    def __init__(self) -> None:
        self.frames: list[AVFrame] = []
        self.times: list[float] = []
        self.pictures: list[tuple[AVFrame, NDArray[np.uint8]]] = []
        self.clears: list[tuple[int, int]] = []  # (frames given out before, epoch)

    def sound(self, frame: AVFrame) -> None:
        self.frames.append(frame)
        self.times.append(time.monotonic())

    def encode(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image

    def picture(self, frame: AVFrame, encoded: Any) -> None:
        self.pictures.append((frame, encoded))

    def clear(self, epoch: int) -> None:
        self.clears.append((len(self.frames), epoch))


class KnowingSTT(stt.STT[str]):
    """Recognises any sound as the next of `texts`, the last one for ever; an empty text is 'nothing understood'."""

    def __init__(self, texts: Sequence[str], delay_s: float = 0.0) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._texts = list(texts)
        self._delay_s = delay_s
        self.asked = 0

    async def _recognize_impl(
        self, buffer: utils.AudioBuffer, *, language: NotGivenOr[str], conn_options: APIConnectOptions
    ) -> stt.SpeechEvent:
        text = self._texts[min(self.asked, len(self._texts) - 1)]
        self.asked += 1
        await asyncio.sleep(self._delay_s)
        alternatives = [stt.SpeechData(language="en", text=text)] if text else []  # type: ignore[arg-type]
        return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=alternatives)


class ScriptedDialogue:
    """Answers by a function of the last message; notes what it was asked and whether it was stopped."""

    def __init__(self, answer: Callable[[str], AsyncIterator[str]]) -> None:
        self._answer = answer
        self.asked: list[list[Message]] = []
        self.sessions: list[str] = []
        self.stopped = 0

    async def open(self) -> None: ...

    async def aclose(self) -> None: ...

    def vocabulary(self) -> list[str]:
        return []

    async def reply(self, history: Sequence[Message], *, session_id: str) -> AsyncIterator[str]:  # type: ignore[override]
        self.asked.append(list(history))
        self.sessions.append(session_id)
        try:
            async for piece in self._answer(history[-1].text):
                yield piece
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise
