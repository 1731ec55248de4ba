"""Messages on their way to one client: bounded, pictures drop oldest, sound never."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from avatar.clock import FPS

MAX_PICTURES: Final = 4
"""Pictures that may wait; more and the oldest is dropped."""
MAX_SOUND: Final = 5 * FPS
"""Packets of sound that may wait (5 s); a client that falls further behind is let go."""
MAX_TEXTS: Final = 400


class Class(Enum):
    """How a message is treated when the client is slow."""

    TEXT = auto()
    SOUND = auto()
    PICTURE = auto()


@dataclass(slots=True)
class _Item:
    kind: Class
    epoch: int
    data: str | bytes


class Outbox:
    """Filled on the event loop; `run` sends one message after another.

    overran: set when more waits than a client may leave waiting; then it is to be let go.
    """

    def __init__(self, send: Callable[[str | bytes], Awaitable[None]]) -> None:
        self._send = send
        self._items: deque[_Item] = deque()
        self._counts = dict.fromkeys(Class, 0)
        self._wake = asyncio.Event()
        self.overran = asyncio.Event()
        self.pictures_dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def text(self, data: str) -> None:
        """A control message; kept in order, never dropped."""
        self._put(_Item(Class.TEXT, 0, data))

    def sound(self, data: bytes, epoch: int) -> None:
        """A packet of sound; never dropped but by `clear`."""
        self._put(_Item(Class.SOUND, epoch, data))

    def picture(self, data: bytes, epoch: int) -> None:
        """A picture; the oldest waiting one makes room."""
        if self._counts[Class.PICTURE] >= MAX_PICTURES:
            oldest = next(item for item in self._items if item.kind is Class.PICTURE)
            self._items.remove(oldest)
            self._counts[Class.PICTURE] -= 1
            self.pictures_dropped += 1
        self._put(_Item(Class.PICTURE, epoch, data))

    def clear(self, epoch: int, notice: str) -> None:
        """Forget sound and pictures older than `epoch`; `notice` goes before everything that waits."""
        kept = [item for item in self._items if item.kind is Class.TEXT or item.epoch >= epoch]
        self._items = deque([_Item(Class.TEXT, epoch, notice), *kept])
        self._counts = {kind: sum(item.kind is kind for item in self._items) for kind in Class}
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled. Raises what `send` raises."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._items:
                item = self._items.popleft()
                self._counts[item.kind] -= 1
                await self._send(item.data)

    def _put(self, item: _Item) -> None:
        self._items.append(item)
        self._counts[item.kind] += 1
        if self._counts[Class.SOUND] > MAX_SOUND or self._counts[Class.TEXT] > MAX_TEXTS:
            self.overran.set()
        self._wake.set()
