"""Our voices in LiveKit Agents: `VisavisTTS` for any program, `speak` for frames that carry their phones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing

from livekit import rtc
from livekit.agents import APIConnectionError, tts, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions

from agent.speech.errors import SpeechError
from agent.speech.tagged import TaggedPiece, TaggedSplitter, TagPlacer
from agent.speech.voice import SpeechChunk, Voice
from avatar.clock import STREAM_RATE

PHONES_KEY = "visavis.phones"
"""`frame.userdata[PHONES_KEY]`: list[TimedPhone] from the frame's first sample; absent when the voice has none."""

TEXT_KEY = "visavis.text"
"""`frame.userdata[TEXT_KEY]`: the words said in the frame."""

CHANGES_KEY = "visavis.changes"
"""`frame.userdata[CHANGES_KEY]`: tuple[(sample of the frame, AskedChange), ...]; absent without tags."""

_AHEAD = 2
"""Clauses synthesised before they are wanted: enough to never run dry, few enough to waste little on a barge-in."""


async def speak_chunks(voice: Voice, text: AsyncIterable[str | object]) -> AsyncGenerator[SpeechChunk, None]:
    """Say streaming text: one chunk for each clause, the first before the text is complete.

    Anything in `text` that is no string is a flush: what came before it is spoken without waiting for more.
    Tags in the text (agent/tags.py) are not spoken: they come as `SpeechChunk.changes`, at the words after them.
    The text is read and synthesised at most two clauses ahead of the caller. Closing the iterator stops both.
    Raises what `text` raises, and SpeechError.
    """
    placer = TagPlacer()
    queue: asyncio.Queue[SpeechChunk | Exception | None] = asyncio.Queue(_AHEAD)

    async def say(pieces: list[TaggedPiece]) -> None:
        for piece in pieces:
            async with aclosing(voice.synthesize(piece.text)) as chunks:
                async for chunk in chunks:
                    if len(chunk.pcm_S):
                        await queue.put(placer.place(piece, chunk))
            placer.end(piece)

    async def produce() -> None:
        try:
            splitter = TaggedSplitter()
            async for part in text:
                await say(splitter.push(part) if isinstance(part, str) else splitter.flush())
            await say(splitter.flush())
        except Exception as error:  # handed to the consumer, who raises it
            await queue.put(error)
        else:
            await queue.put(None)

    task = asyncio.create_task(produce(), name="speak")
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        await utils.aio.cancel_and_wait(task)


async def speak(voice: Voice, text: AsyncIterable[str | object]) -> AsyncGenerator[rtc.AudioFrame, None]:
    """`speak_chunks` as audio frames (24 kHz mono) with phones and text in `userdata`; for an agent's `tts_node`."""
    async with aclosing(speak_chunks(voice, text)) as chunks:
        async for chunk in chunks:
            if len(chunk.pcm_S):
                yield to_frame(chunk)


def to_frame(chunk: SpeechChunk) -> rtc.AudioFrame:
    """One frame for one chunk: cutting it would cut phones in two."""
    frame = rtc.AudioFrame(
        data=chunk.pcm_S.tobytes(), sample_rate=STREAM_RATE, num_channels=1, samples_per_channel=len(chunk.pcm_S)
    )
    if chunk.phones is not None:
        frame.userdata[PHONES_KEY] = chunk.phones
    frame.userdata[TEXT_KEY] = chunk.text
    if chunk.changes:
        frame.userdata[CHANGES_KEY] = chunk.changes
    return frame


class VisavisTTS(tts.TTS[str]):
    """A Voice as a LiveKit TTS, for any LiveKit Agents program.

    LiveKit cuts what a TTS yields into new frames, so phones do not come through here: an agent that drives our lips
    yields the frames of `speak` from its own `tts_node`.
    """

    def __init__(self, voice: Voice) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=True), sample_rate=STREAM_RATE, num_channels=1)
        self.voice = voice

    @property
    def model(self) -> str:
        return self.voice.name

    @property
    def provider(self) -> str:
        return "visavis"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _WholeText(tts=self, input_text=text, conn_options=conn_options)

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> tts.SynthesizeStream:
        return _StreamingText(tts=self, conn_options=conn_options)

    async def aclose(self) -> None:
        await self.voice.aclose()


async def _push(voice: Voice, text: AsyncIterable[str | object], emitter: tts.AudioEmitter) -> None:
    silent = True
    try:
        async with aclosing(speak(voice, text)) as frames:
            async for frame in frames:
                emitter.push_frame(frame)
                silent = False
    except SpeechError as error:
        raise APIConnectionError(str(error), retryable=error.code == "engine_failed") from error
    if silent:
        # Text without a speakable word is no failure, but LiveKit takes "no audio" for one and retries.
        emitter.push(bytes(2 * STREAM_RATE // 50))
    emitter.flush()


class _WholeText(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid(), sample_rate=STREAM_RATE, num_channels=1, mime_type="audio/pcm"
        )
        assert isinstance(self._tts, VisavisTTS)
        await _push(self._tts.voice, _once(self._input_text), output_emitter)


class _StreamingText(tts.SynthesizeStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        request_id = utils.shortuuid()
        output_emitter.initialize(
            request_id=request_id, sample_rate=STREAM_RATE, num_channels=1, mime_type="audio/pcm", stream=True
        )
        output_emitter.start_segment(segment_id=request_id)
        assert isinstance(self._tts, VisavisTTS)
        await _push(self._tts.voice, self._text(), output_emitter)

    async def _text(self) -> AsyncGenerator[str | object, None]:
        async for part in self._input_ch:
            self._mark_started()
            yield part


async def _once(text: str) -> AsyncGenerator[str, None]:
    yield text
