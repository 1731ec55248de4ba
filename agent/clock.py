"""The clock that paces the avatar, injected so that tests need not wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Seconds that never run backwards."""

    def now(self) -> float:
        """Seconds since some fixed moment."""

    async def sleep_until(self, moment: float) -> None:
        """Return at `moment`, at once when it has passed; always lets other tasks run."""


class MonotonicClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep_until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - time.monotonic()))


class Worker(Protocol):
    """Runs one function after another, off the event loop."""

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result; functions run in the order of their calls."""

    def close(self) -> None:
        """Take no more work; what has begun ends by itself."""


class ThreadWorker:
    """One thread of its own: torch, OpenCV and numba neither block the event loop nor meet each other."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
