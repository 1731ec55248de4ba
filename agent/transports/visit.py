"""One visitor at the kiosk: a face that lives from the first connection, and the conversation once it has begun.

A visit outlives its connection for a few seconds, so that a reload or a dropped network comes back to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.latency import Turn
from agent.microphone import MicrophoneFull
from agent.parts import build_runner
from agent.session import Conversation, EndReason, Parts
from agent.transports import protocol
from agent.transports.gate import Bucket
from agent.transports.outbox import Outbox
from avatar.clock import MIC_RATE
from avatar.motion.asked_text import asked_of, asked_text
from avatar.motion.idle import State
from avatar.stream import AVFrame, FrameDecoder
from config import Settings

logger = logging.getLogger("visavis.kiosk")

RESUME_S: Final = 8.0
"""How long a visitor who has vanished may come back."""
ECHO_WARMUP_S: Final = 1.0
"""Until the browser's echo canceller knows the room."""
MICROPHONE_BURST_S: Final = 4.0
"""How far ahead of real time the microphone may run: what a page sends at once after a stall."""
STATS_EVERY_S: Final = 1.0
START_S: Final = 3.0
"""How long a conversation that nobody waits for any more may take to begin, before it is closed."""


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """[H, W, 3] RGB -> JPEG; [H, W, 4] -> a JPEG twice as high, below the picture its opacity in grey.

    Cheaper than any format that knows opacity: a WebP of this size takes ten times as long.
    """
    picture = cv2.cvtColor(image[..., :3], cv2.COLOR_RGB2BGR)
    if image.shape[2] == 4:
        picture = np.concatenate([picture, np.repeat(image[..., 3:], 3, axis=2)])
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "an RGB image can be encoded"
    return bytes(data)


class Visit:
    """Implements the runner's Sink and the conversation's Listener on top of one connection at a time.

    on_over: told once, when the visit has ended and cannot be come back to.
    """

    def __init__(
        self,
        settings: Settings,
        decoder: FrameDecoder,
        parts: Parts,
        *,
        on_over: Callable[[Visit], None] = lambda visit: None,
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._on_over = on_over
        self._runner = build_runner(settings, decoder=decoder)
        self._runner.events.failed = lambda error: self.ended("error")
        self.asked = asked_of(settings.avatar)
        """What is asked of face and head while no reply asks otherwise."""
        self._conversation: Conversation | None = None
        self._opening = asyncio.Lock()
        self._outbox: Outbox | None = None
        self._state = State.IDLE
        self._muted = False
        self._heard = Bucket(MIC_RATE, MICROPHONE_BURST_S * MIC_RATE)
        self._grace: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self.over = asyncio.Event()
        """Set when the visit has ended for good."""
        self._played: dict[str, float] = {}
        self._stats: asyncio.Task[None] | None = None
        self._runner.start()

    # The connection's side

    def attach(self, outbox: Outbox) -> None:
        """A connection begins (again); sound and pictures flow into its outbox."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        self._outbox = outbox
        self._runner.sink = self
        self._send(protocol.StateMessage(state=self._state.value))
        if self._settings.session.debug:
            self._stats = asyncio.create_task(self._send_stats())

    def detach(self, outbox: Outbox) -> None:
        """The connection is gone: fall silent, and wait a little for the visitor to come back."""
        if self._outbox is not outbox:
            return
        self._outbox = None
        self._runner.sink = None
        if self._stats is not None:
            self._stats.cancel()
        if self._conversation is not None:
            self._conversation.stop()
        if not self.over.is_set():
            self._grace = asyncio.get_running_loop().call_later(RESUME_S, self._finish)

    async def receive(self, message: str | bytes) -> None:
        """One message of the client's. Raises ProtocolError."""
        if isinstance(message, bytes):
            self._hear(protocol.parse_media(message))
            return
        match protocol.parse_text(message):
            case protocol.Start():
                await self._begin()
            case protocol.Text(text=text):
                if self._conversation is None:
                    self.problem("not_started", "The conversation has not begun.", "Press Start first.")
                elif text.strip():
                    self._spawn(self._conversation.type(text.strip()))
            case protocol.Stop():
                if self._conversation is not None:
                    self._conversation.stop()
            case protocol.Mute(muted=muted):
                if muted and not self._muted and self._conversation is not None:
                    self._conversation.close_turn()
                self._muted = muted
            case protocol.Controls() as controls:
                self._ask(controls)
            case protocol.Played(sample=sample, av_offset_ms=offset):
                self._played = {"played_sample": float(sample)}
                if offset is not None:
                    self._played["av_offset_ms"] = offset
            case protocol.ClientBye():
                pass  # the page goes; whether it comes back shows after the connection has closed

    async def aclose(self, reason: str | None = None) -> None:
        """End the visit and wait until everything has stopped. reason: said to the visitor."""
        if reason is not None and not self.over.is_set():
            self._send(protocol.Bye(reason=reason))
        self._finish()
        assert self._closing is not None, "made by _finish"
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        """Never raises: whatever breaks here, the next visitor must find the decoder free."""
        async with self._opening:  # a conversation that is beginning sees `over` and closes itself
            conversation = self._conversation
        if conversation is not None:
            await _close_firmly(conversation)
        for task in self._tasks:
            task.cancel()
        try:
            await self._runner.aclose()
        except Exception:
            logger.exception("the avatar did not stop cleanly")

    async def _begin(self) -> None:
        async with self._opening:
            if self._conversation is not None or self.over.is_set():
                return
            conversation = Conversation(self._settings, self._parts, self._runner, self, echo_warmup_s=ECHO_WARMUP_S)
            starting = asyncio.create_task(conversation.start(), name="visit-start")
            over = asyncio.create_task(self.over.wait())
            try:
                await asyncio.wait({starting, over}, return_when=asyncio.FIRST_COMPLETED)
                if not self.over.is_set():
                    if starting.exception() is None:
                        self._conversation = conversation
                    else:
                        message, hint = "The conversation could not begin.", "The terminal that runs visavis says why."
                        self._send(protocol.ErrorMessage(code="session", message=message, hint=hint, fatal=True))
                        self._finish()
            finally:
                over.cancel()
                if self._conversation is None:
                    await asyncio.shield(self._abandon(starting, conversation))

    async def _abandon(self, starting: asyncio.Task[None], conversation: Conversation) -> None:
        """Close a conversation that failed to begin, or that was left while it began."""
        # LiveKit closes only a session that has started, so it may finish that first.
        await asyncio.wait({starting}, timeout=START_S)
        starting.cancel()
        for result in await asyncio.gather(starting, return_exceptions=True):
            if isinstance(result, Exception):
                logger.error("the conversation could not begin", exc_info=result)
        await _close_firmly(conversation)
        # The conversation has taken these over; the face lives on without it.
        self._runner.clear()
        self._runner.events.failed = lambda error: self.ended("error")
        self._runner.set_state(State.IDLE)
        self.state(State.IDLE)

    def _ask(self, controls: protocol.Controls) -> None:
        if not self._settings.session.debug:
            self.problem("controls_off", "The motion's controls are off.", "Set session.debug to use them.")
            return
        self.asked = controls.change().over(self.asked)
        self._runner.set_controls(self.asked)

    def _hear(self, packet: protocol.MicrophonePacket) -> None:
        if not self._heard.take(len(packet.pcm_S)):
            raise protocol.ProtocolError("microphone sound comes faster than time goes")
        if self._conversation is None or self._muted or self.over.is_set():
            return
        try:
            self._conversation.hear(packet.pcm_S)
        except MicrophoneFull:
            logger.error("the session has stopped listening")
            self.ended("error")

    # The runner's side

    def sound(self, frame: AVFrame) -> None:
        if self._outbox is not None:
            data = protocol.pack_audio(frame.pcm, speech=frame.speech, epoch=frame.epoch, sample=frame.sample)
            self._outbox.sound(data, frame.epoch)

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        return encode_jpeg(image, self._settings.kiosk.jpeg_quality)

    def picture(self, frame: AVFrame, encoded: bytes) -> None:
        if self._outbox is not None:
            data = protocol.pack_video(encoded, speech=frame.speech, epoch=frame.epoch, sample=frame.sample)
            self._outbox.picture(data, frame.epoch)

    def clear(self, epoch: int) -> None:
        if self._outbox is not None:
            self._outbox.clear(epoch, protocol.ClearMessage(epoch=epoch).model_dump_json())

    # The conversation's side

    def state(self, state: State) -> None:
        self._state = state
        self._send(protocol.StateMessage(state=state.value))

    def transcript(self, segment: str, text: str, final: bool) -> None:
        self._send(protocol.Transcript(segment=segment, text=text, final=final))

    def caption(self, segment: str, text: str, final: bool, start_sample: int | None) -> None:
        self._send(protocol.Caption(segment=segment, text=text, final=final, start_sample=start_sample))

    def latency(self, turn: Turn) -> None:
        marks_ms = {str(mark): value for mark, value in turn.marks_ms.items()}
        self._send(protocol.LatencyMessage(turn=str(turn.number), marks_ms=marks_ms))

    def problem(self, code: str, message: str, hint: str) -> None:
        self._send(protocol.ErrorMessage(code=code, message=message, hint=hint))

    def ended(self, reason: EndReason) -> None:
        if not self.over.is_set():
            self._send(protocol.Bye(reason=reason))
            self._finish()

    # Within

    def _finish(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="visit-close")
            for timer in (self._grace, self._stats):
                if timer is not None:
                    timer.cancel()
            self.over.set()
            self._on_over(self)

    def _send(self, message: protocol.ServerMessage) -> None:
        if self._outbox is not None:
            self._outbox.text(message.model_dump_json())

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._settle)

    def _settle(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the visit failed", exc_info=error)
            self.ended("error")

    async def _send_stats(self) -> None:
        while self._outbox is not None:
            figures: dict[str, float | str] = {**self._runner.stats.summary(), **self._played}
            figures["asked"] = asked_text(self._runner.asked)
            figures["waiting_messages"] = len(self._outbox)
            figures["pictures_dropped_in_queue"] = self._outbox.pictures_dropped
            if self._conversation is not None:
                figures |= self._conversation.latency.summary()
            self._send(protocol.Stats(**figures))
            await asyncio.sleep(STATS_EVERY_S)


async def _close_firmly(conversation: Conversation) -> None:
    try:
        await conversation.aclose()
    except Exception:
        logger.exception("the conversation did not close cleanly")
