"""A page without a browser: what the kiosk's tests talk with."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from agent.transports.protocol import HEADER, Kind


@dataclass(slots=True)
class Media:
    """A binary message as it came."""

    at: float
    kind: int
    speech: bool
    epoch: int
    sample: int
    payload: bytes


class Page:
    """One websocket connection; everything that comes is kept."""

    def __init__(self, link: str, *, session: str = "", origin: str | None = None, read: bool = True) -> None:
        base, _, query = link.partition("/?")
        address = base.replace("http://", "ws://") + f"/ws?{query}" + (f"&session={session}" if session else "")
        self._connecting = connect(address, origin=origin or base, max_size=2**22, proxy=None, close_timeout=0.5)  # type: ignore[arg-type]
        self._read = read
        self.messages: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.media: list[Media] = []
        self.closed: tuple[int, str] | None = None
        self.socket: ClientConnection
        self._task: asyncio.Task[None] | None = None
        self._mic = 0
        self._mic_start = time.monotonic()

    async def __aenter__(self) -> Page:
        self.socket = await self._connecting
        if self._read:
            self._task = asyncio.create_task(self._receive())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.close()
        if self._task is not None:
            await self._task

    async def _receive(self) -> None:
        try:
            async for message in self.socket:
                now = time.monotonic()
                if isinstance(message, str):
                    self.messages.append(json.loads(message))
                    self.times.append(now)
                else:
                    kind, flags, _, epoch, sample = HEADER.unpack_from(message)
                    self.media.append(Media(now, kind, bool(flags & 1), epoch, sample, message[HEADER.size :]))
        except ConnectionClosed:
            pass
        self.closed = (self.socket.close_code or 0, self.socket.close_reason or "")

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Messages of one type."""
        return [message for message in self.messages if message["type"] == kind]

    @property
    def state(self) -> str:
        """What the avatar does, by the last message."""
        return next((message["state"] for message in reversed(self.messages) if message["type"] == "state"), "")

    @property
    def sound(self) -> list[Media]:
        return [item for item in self.media if item.kind == Kind.AUDIO]

    @property
    def pictures(self) -> list[Media]:
        return [item for item in self.media if item.kind == Kind.VIDEO]

    @property
    def spoken(self) -> list[Media]:
        return [item for item in self.sound if item.speech]

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def say(self, pcm_S: NDArray[np.int16]) -> None:
        """Microphone, in real time, 40 ms a packet."""
        lag = time.monotonic() - self._mic_start - self._mic / 16_000
        if lag > 0.2:  # nothing was said for a while
            self._mic_start += lag
        for at in range(0, len(pcm_S), 640):
            part_S = pcm_S[at : at + 640]
            due = self._mic_start + (self._mic + len(part_S)) / 16_000
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self.socket.send(HEADER.pack(Kind.MICROPHONE, 0, 0, 0, self._mic) + part_S.astype("<i2").tobytes())
            self._mic += len(part_S)

    async def quiet(self, seconds: float) -> None:
        await self.say(np.zeros(round(seconds * 16_000), np.int16))

    async def until(self, condition: Callable[[], object], seconds: float = 8.0, *, listening: bool = False) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s; got {self.messages[-8:]}, closed {self.closed}"
            await (self.quiet(0.04) if listening else asyncio.sleep(0.02))
