"""A small server that speaks the kiosk protocol: sound and pictures that say which sample they are.

The sound is noise that never repeats, so that any recording of it can be placed on the stream clock; each
picture carries its frame number as black and white squares along its lower edge, and a bar that moves.
"""

from __future__ import annotations

import asyncio
import functools
import json
import secrets
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import cv2
import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.browser import DIST

FRAME = 960
RATE = 24_000
SECONDS = 40
BITS = 20
SQUARE = 24
POLICY = "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@functools.cache
def stream_noise() -> np.ndarray:
    """int16 [SECONDS * RATE]: speech-like loud noise, different everywhere."""
    noise = np.random.default_rng(7).standard_normal(SECONDS * RATE)
    smooth = np.convolve(noise, np.ones(4) / 4, mode="same")
    return np.clip(smooth * 6000, -32000, 32000).astype(np.int16)


@functools.lru_cache(maxsize=SECONDS * 25)
def picture(number: int) -> bytes:
    """JPEG of 512 x 512: a moving bar, and `number` in binary along the lower edge (lowest bit first)."""
    image = np.full((512, 512, 3), (200, 180, 160), np.uint8)
    left = (number * 8) % 512
    image[100:400, left : left + 12] = (40, 40, 200)
    cv2.putText(image, str(number), (150, 90), cv2.FONT_HERSHEY_SIMPLEX, 2, (30, 30, 30), 4)
    parity = bin(number).count("1") % 2
    for bit in range(BITS + 1):
        on = (number >> bit) & 1 if bit < BITS else parity
        image[480:512, bit * SQUARE : (bit + 1) * SQUARE] = 255 if on else 0
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 82])
    assert done
    return data.tobytes()


def media(kind: int, epoch: int, sample: int, payload: bytes, speech: bool = True) -> bytes:
    return struct.pack("<BBHIQ", kind, int(speech), 0, epoch, sample) + payload


@dataclass
class Stage:
    """Serves the page and one conversation; `async with Stage() as stage: stage.link`."""

    hello: dict[str, Any] = field(default_factory=dict)
    stream: bool = True
    greeting: list[dict[str, Any]] = field(default_factory=list)
    stalls: dict[int, float] = field(default_factory=dict)
    """Frame number -> seconds for which nothing is sent from there on; then all of it at once."""
    still: bytes | None = None
    """A JPEG that is the poster and every frame, instead of the numbered ones."""

    def __post_init__(self) -> None:
        self.texts: list[dict[str, Any]] = []
        self.microphone: list[tuple[float, int, np.ndarray]] = []
        self.connections: list[str] = []
        self.epoch = 0
        self.quiet = False
        self.frame = 0
        self.sockets: set[ServerConnection] = set()
        self.refuse: dict[str, Any] | None = None
        self.token = secrets.token_hex(4)
        self.session = secrets.token_hex(4)
        self._server: Server | None = None

    async def __aenter__(self) -> Stage:
        await self.listen(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    async def listen(self, port: int) -> None:
        self._server = await serve(self._converse, "127.0.0.1", port, process_request=self._serve_file, max_queue=64)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def hang_up(self) -> None:
        """The server dies."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @property
    def link(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    async def say(self, message: dict[str, Any]) -> None:
        for socket in list(self.sockets):
            await socket.send(json.dumps(message))

    async def clear(self) -> None:
        """What a barge-in does: a new epoch, silence from here on."""
        self.epoch += 1
        self.quiet = True
        await self.say({"type": "clear", "epoch": self.epoch})

    async def wait_for(self, kind: str, count: int = 1, within_s: float = 10) -> dict[str, Any]:
        """The `count`-th message of this type from the page."""
        async with asyncio.timeout(within_s):
            while True:
                found = [message for message in self.texts if message["type"] == kind]
                if len(found) >= count:
                    return found[count - 1]
                await asyncio.sleep(0.02)

    def _serve_file(self, _: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path == "/ws":
            return None
        if path == "/poster.jpg" and self.still is not None:
            return self._response(HTTPStatus.OK, "image/jpeg", self.still)
        file = (DIST / (path.lstrip("/") or "index.html")).resolve()
        if not file.is_relative_to(DIST) or not file.is_file():
            return self._response(HTTPStatus.NOT_FOUND, "text/plain", b"")
        return self._response(HTTPStatus.OK, TYPES[file.suffix], file.read_bytes())

    @staticmethod
    def _response(status: HTTPStatus, content_type: str, body: bytes) -> Response:
        headers = Headers(
            {
                "Content-Type": content_type,
                "Content-Length": str(len(body)),
                "Connection": "close",
                # As strict as the real server may be.
                "Content-Security-Policy": POLICY,
            }
        )
        return Response(status.value, status.phrase, headers, body)

    async def _converse(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.connections.append(socket.request.path)
        if self.refuse is not None:
            await socket.send(json.dumps(self.refuse))
            return
        hello = {"type": "hello", "session": self.session, "title": "Test stage", "sample_rate": RATE, "fps": 25}
        await socket.send(json.dumps(hello | self.hello))
        for message in self.greeting:
            await socket.send(json.dumps(message))
        self.sockets.add(socket)
        streaming = asyncio.create_task(self._stream(socket)) if self.stream else None
        try:
            async for message in socket:
                if isinstance(message, str):
                    self.texts.append(json.loads(message) | {"at": time.monotonic()})
                else:
                    _, _, _, _, sample = struct.unpack("<BBHIQ", message[:16])
                    self.microphone.append((time.monotonic(), sample, np.frombuffer(message[16:], np.int16)))
        except ConnectionClosed:
            pass
        finally:
            self.sockets.discard(socket)
            if streaming is not None:
                streaming.cancel()

    async def _stream(self, socket: ServerConnection) -> None:
        noise = stream_noise()
        start = time.monotonic() - self.frame / 25
        with suppress(ConnectionClosed):
            while self.frame < SECONDS * 25 - 1:
                number = self.frame
                await asyncio.sleep(self.stalls.get(number, 0) + max(0.0, start + number / 25 - time.monotonic()))
                sample = number * FRAME
                pcm = np.zeros(FRAME, np.int16) if self.quiet else noise[sample : sample + FRAME]
                self.frame += 1
                await socket.send(media(2, self.epoch, sample, pcm.tobytes(), not self.quiet))
                await socket.send(media(3, self.epoch, sample, self.still or picture(number), not self.quiet))
