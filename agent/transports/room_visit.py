"""One visit in a LiveKit room: the visitor's track and chat in, the avatar's tracks, state and captions out.

Topics and attributes are LiveKit's own (`lk.chat`, `lk.transcription`, `lk.agent.state`), so that any LiveKit client
can show them; ours are the RPCs `visavis.stop` and `visavis.controls` and the data topic `visavis.latency`.
docs/web.md lists them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from livekit import rtc

from agent.latency import Turn
from agent.microphone import MicrophoneFull
from agent.runner import AvatarRunner
from agent.session import Conversation, EndReason, Parts
from agent.transports.gate import Bucket
from agent.transports.protocol import ProtocolError, parse_controls
from agent.transports.room_media import RoomSink
from avatar.clock import MIC_RATE
from avatar.motion.asked_text import asked_of
from avatar.motion.idle import State
from config import Settings

logger = logging.getLogger("visavis.room")

TOPIC_CHAT: Final = "lk.chat"
TOPIC_TRANSCRIPTION: Final = "lk.transcription"
TOPIC_LATENCY: Final = "visavis.latency"
RPC_STOP: Final = "visavis.stop"
RPC_CONTROLS: Final = "visavis.controls"
ERROR_CONTROLS: Final = 2001
"""RPC error of our own; LiveKit keeps 1001 to 1999."""
ATTRIBUTE_STATE: Final = "lk.agent.state"
ATTRIBUTE_SEGMENT: Final = "lk.segment_id"
ATTRIBUTE_FINAL: Final = "lk.transcription_final"

REJOIN_S: Final = 15.0
"""A visitor who lost the connection may come back within this time."""
JOIN_S: Final = 3.0
"""How long a call waits for news of its caller."""
MAX_OUTBOX: Final = 200
"""Captions and states that may wait to be sent; the oldest that is not final is dropped."""
MAX_TYPED: Final = 2000
CHATS_PER_S: Final = 2.0
ECHO_WARMUP_S: Final = 3.0


@dataclass(slots=True)
class _Text:
    text: str
    segment: str
    final: bool
    visitor: bool


@dataclass(slots=True)
class _Data:
    payload: str
    topic: str


_Letter = _Text | _Data | State


class RoomVisit:
    """Serves the first visitor of a room until they are gone; a `Listener` of its conversation."""

    def __init__(self, room: rtc.Room, settings: Settings, parts: Parts, runner: AvatarRunner) -> None:
        self._room = room
        self._settings = settings
        self._runner = runner
        self._sink = RoomSink(runner.format)
        runner.sink = self._sink
        self._conversation = Conversation(settings, parts, runner, self, echo_warmup_s=ECHO_WARMUP_S)
        self._visitor: str | None = None
        self._joined = asyncio.Event()
        self._outbox: asyncio.Queue[_Letter] = asyncio.Queue(MAX_OUTBOX)
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.TimerHandle | None = None
        self._closing: asyncio.Future[None] | None = None
        self._heard: set[str] = set()
        self._chats = Bucket(CHATS_PER_S, burst=5)

    async def run(self) -> None:
        """Serve until the visitor has left, the conversation has ended, or the room is gone."""
        room = self._room
        room.on("track_subscribed", self._on_track)
        room.on("participant_connected", self._on_joined)
        room.on("participant_disconnected", self._on_left)
        room.on("disconnected", lambda reason: self._ended.set())
        try:
            await self._sink.publish(room.local_participant)
            self._spawn(self._post())
            self._spawn(self._watch_stall())
            self._runner.start()
            for participant in room.remote_participants.values():
                self._on_joined(participant)
            room.local_participant.register_rpc_method(RPC_CONTROLS, self._on_controls)
            await self._conversation.start()
            room.register_text_stream_handler(TOPIC_CHAT, self._on_chat)
            room.local_participant.register_rpc_method(RPC_STOP, self._on_stop)
            await self._ended.wait()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """End conversation, tasks and tracks; safe to call twice."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._ended.set()
        if self._leaving is not None:
            self._leaving.cancel()
        try:
            await self._conversation.aclose()
        except Exception:
            logger.exception("the conversation did not end cleanly")
        await self._runner.aclose()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            self._room.unregister_text_stream_handler(TOPIC_CHAT)
        await self._sink.aclose()

    # From the conversation

    def state(self, state: State) -> None:
        self._send(state)

    def transcript(self, segment: str, text: str, final: bool) -> None:
        self._send(_Text(text, segment, final, visitor=True))

    def caption(self, segment: str, text: str, final: bool, start_sample: int | None) -> None:
        self._send(_Text(text, segment, final, visitor=False))

    def latency(self, turn: Turn) -> None:
        self._send(
            _Data(json.dumps({"type": "latency", "turn": turn.number, "marks_ms": turn.marks_ms}), TOPIC_LATENCY)
        )

    def problem(self, code: str, message: str, hint: str) -> None:
        logger.warning("%s: %s %s", code, message, hint)

    def ended(self, reason: EndReason) -> None:
        logger.info("the conversation has ended", extra={"reason": reason})
        self._ended.set()

    # From the room

    def _on_joined(self, participant: rtc.RemoteParticipant) -> None:
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            return
        if self._visitor is None or self._leaving is not None:
            self._visitor = participant.identity
            self._joined.set()
            if self._leaving is not None:
                self._leaving.cancel()
                self._leaving = None
        for publication in participant.track_publications.values():
            if publication.track is not None:
                self._on_track(publication.track, publication, participant)

    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._visitor and self._leaving is None:
            self._conversation.stop()
            self._conversation.close_turn()
            self._leaving = asyncio.get_running_loop().call_later(REJOIN_S, self._ended.set)

    def _on_track(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        is_voice = track.kind == rtc.TrackKind.KIND_AUDIO and participant.identity == self._visitor
        if is_voice and track.sid not in self._heard:
            self._heard.add(track.sid)
            self._spawn(self._listen(track))

    async def _listen(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream(track, sample_rate=MIC_RATE, num_channels=1, capacity=50, frame_size_ms=20)
        full = 0
        try:
            async for event in stream:
                try:
                    self._conversation.hear(np.frombuffer(event.frame.data, np.int16))
                except MicrophoneFull:
                    full += 1
                    if full == 1:
                        logger.warning("the recogniser cannot keep up; some of what the visitor says is lost")
        finally:
            await stream.aclose()

    def _on_chat(self, reader: rtc.TextStreamReader, identity: str) -> None:
        if identity == self._visitor and self._chats.take(1):
            self._spawn(self._read_chat(reader))

    async def _read_chat(self, reader: rtc.TextStreamReader) -> None:
        text = ""
        async for piece in reader:
            text += piece
            if len(text) > MAX_TYPED:
                break
        if text.strip():
            await self._conversation.type(text.strip()[:MAX_TYPED])

    async def _on_stop(self, call: rtc.RpcInvocationData) -> str:
        if call.caller_identity == self._visitor:
            self._conversation.stop()
        return ""

    async def _on_controls(self, call: rtc.RpcInvocationData) -> str:
        # A page that joins a room where we wait already may call before LiveKit has told us of it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(JOIN_S):
                await self._joined.wait()
        if call.caller_identity != self._visitor or not self._settings.session.debug:
            raise rtc.RpcError(ERROR_CONTROLS, "The motion's controls are off: set session.debug to use them.")
        try:
            change = parse_controls(call.payload).change()
        except ProtocolError as error:
            raise rtc.RpcError(ERROR_CONTROLS, str(error)) from None
        self._runner.set_controls(change.over(asked_of(self._settings.avatar)))
        return ""

    # To the room

    def _send(self, letter: _Letter) -> None:
        if self._outbox.full():
            kept = [self._outbox.get_nowait() for _ in range(self._outbox.qsize())]
            drop = next((i for i, old in enumerate(kept) if not (isinstance(old, _Text) and old.final)), 0)
            del kept[drop]
            for old in kept:
                self._outbox.put_nowait(old)
        self._outbox.put_nowait(letter)

    async def _post(self) -> None:
        me = self._room.local_participant
        while True:
            letter = await self._outbox.get()
            try:
                if isinstance(letter, State):
                    await me.set_attributes({ATTRIBUTE_STATE: letter.value})
                elif isinstance(letter, _Data):
                    await me.publish_data(letter.payload, topic=letter.topic)
                else:
                    await self._post_text(me, letter)
            except Exception as error:  # a room that is reconnecting refuses; the next letter may go through
                logger.warning("the room took no %s: %s", type(letter).__name__, error)

    async def _post_text(self, me: rtc.LocalParticipant, letter: _Text) -> None:
        writer = await me.stream_text(
            topic=TOPIC_TRANSCRIPTION,
            attributes={ATTRIBUTE_SEGMENT: letter.segment, ATTRIBUTE_FINAL: str(letter.final).lower()},
            sender_identity=self._visitor if letter.visitor else me.identity,
        )
        await writer.write(letter.text)
        await writer.aclose()

    async def _watch_stall(self) -> None:
        await self._sink.stalled.wait()
        logger.error("the room takes no more sound; ending the visit")
        self._ended.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._settle)

    def _settle(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the visit ends: %s failed", task.get_name(), exc_info=error)
            self._ended.set()
