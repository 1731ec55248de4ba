"""The embedded recogniser: pocketsphinx (BSD licence), made to expect what visitors ask in this place.

It hears questions about its own subject well and free dictation badly (docs/speech.md has the figures). It decodes
while the visitor speaks, so that the words are there within milliseconds of the end of speech.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np
import soxr
from livekit import rtc
from livekit.agents import APIConnectionError, LanguageCode, stt, utils, vad
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr
from livekit.agents.utils import AudioBuffer
from numpy.typing import NDArray

from agent.speech.errors import SpeechError
from agent.speech.helper import Helper
from agent.speech.lexicon import LanguageFiles, prepare
from avatar.clock import MIC_RATE

logger = logging.getLogger("visavis.stt")

LANGUAGE = LanguageCode("en")

PREROLL_S = 0.5
"""Sound from before voice activity was noticed that is decoded with it."""

MAX_UTTERANCE_S = 25.0
"""Longer speech without a pause is cut: the decoder's memory grows with the utterance."""

PARTIAL_EVERY_S = 0.4
_TIMEOUT_S = 20.0
_BLOCK_BYTES = 2 * MIC_RATE // 10

Words = list[tuple[str, float, float]]


class PocketsphinxSTT(stt.STT[str]):
    """Streaming recogniser for any LiveKit Agents program.

    sentences: what visitors may say and what the answers say (`Dialogue.vocabulary()`); may be empty, then only
        everyday phrases and common words are known.
    detector: voice activity; each stream uses its own state of it.
    """

    def __init__(self, sentences: Sequence[str], detector: vad.VAD) -> None:
        super().__init__(
            capabilities=stt.STTCapabilities(streaming=True, interim_results=True, aligned_transcript="word")
        )
        self.detector = detector
        self._sentences = list(sentences)
        self._folder = tempfile.TemporaryDirectory(prefix="visavis-stt-")
        self._preparing: asyncio.Task[LanguageFiles] | None = None
        self._helper: Helper | None = None
        self._numbers = itertools.count(1)

    @property
    def model(self) -> str:
        return "pocketsphinx en-us"

    @property
    def provider(self) -> str:
        return "pocketsphinx"

    async def warm(self) -> None:
        """Build the language model and start the decoder now rather than with the first words (about 1 s)."""
        async with aclosing(await self.decoder()):
            pass

    async def decoder(self) -> Decoder:
        """A decoder of this recogniser's language. Raises SpeechError."""
        if self._preparing is None:
            folder = Path(self._folder.name)
            self._preparing = asyncio.create_task(asyncio.to_thread(prepare, self._sentences, folder))
        files = await asyncio.shield(self._preparing)
        if self._helper is None:
            script = Path(__file__).with_name("sphinx_worker.py")
            self._helper = Helper(script, str(files.lm_path), str(files.dict_path), name="pocketsphinx")
        decoder = Decoder(self._helper, next(self._numbers), files)
        await decoder.open()
        return decoder

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        try:
            async with aclosing(await self.decoder()) as decoder:
                await decoder.start()
                await decoder.feed(to_mic_rate(buffer))
                words = await decoder.finish()
        except SpeechError as error:
            raise APIConnectionError(str(error)) from error
        data = decoder.speech_data(words) if decoder.accepts(words) else stt.SpeechData(LANGUAGE, "")
        return stt.SpeechEvent(stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        return _Stream(stt=self, conn_options=conn_options, sample_rate=MIC_RATE)

    async def aclose(self) -> None:
        if self._helper is not None:
            await self._helper.aclose()
        if self._preparing is not None:
            await asyncio.wait([self._preparing])
        self._folder.cleanup()


class Decoder:
    """One decoder in the helper process; survives the helper's restart (what was being said is lost)."""

    def __init__(self, helper: Helper, number: int, files: LanguageFiles) -> None:
        self._helper = helper
        self._number = number
        self._files = files
        self._opened_in = 0

    async def open(self) -> None:
        """Load the model unless it is loaded (0.2 s)."""
        await self._helper.start()
        if self._opened_in != self._helper.starts:
            self._opened_in = self._helper.starts
            await self._helper.call({"op": "open", "stream": self._number}, timeout_s=_TIMEOUT_S)

    async def start(self) -> None:
        """Begin an utterance."""
        await self.open()
        await self._helper.tell({"op": "start", "stream": self._number})

    async def feed(self, pcm: bytes) -> None:
        """16-bit mono samples at MIC_RATE; waits while the decoder is behind."""
        for start in range(0, len(pcm), _BLOCK_BYTES):
            await self._helper.tell({"op": "audio", "stream": self._number}, pcm[start : start + _BLOCK_BYTES])

    async def partial(self) -> Words:
        """Words so far."""
        return await self._words("partial")

    async def finish(self) -> Words:
        """End the utterance: all words, with seconds from its start."""
        return await self._words("end")

    async def _words(self, op: str) -> Words:
        reply, _ = await self._helper.call({"op": op, "stream": self._number}, timeout_s=_TIMEOUT_S)
        return [(str(word), float(start_s), float(end_s)) for word, start_s, end_s in reply.get("words", [])]

    def accepts(self, words: Words) -> bool:
        """Whether somebody said something: a cough or a clatter is heard as one or two stray words."""
        if len(words) == 1:
            return words[0][0] in self._files.whole_words
        return len(words) > 2 or any(word in self._files.domain_words for word, _, _ in words)

    def speech_data(self, words: Words, offset_s: float = 0.0) -> stt.SpeechData:
        """As LiveKit wants it; confidence is the share of the words that belong to this place."""
        known = sum(word in self._files.domain_words for word, _, _ in words)
        return stt.SpeechData(
            LANGUAGE,
            " ".join(word for word, _, _ in words),
            start_time=words[0][1] + offset_s if words else 0.0,
            end_time=words[-1][2] + offset_s if words else 0.0,
            confidence=known / len(words) if words else 0.0,
        )

    async def aclose(self) -> None:
        """Give the decoder back."""
        if self._helper.running and self._opened_in == self._helper.starts:
            await self._helper.tell({"op": "close", "stream": self._number})


class _Stream(stt.RecognizeStream):
    """Follows voice activity and feeds the decoder meanwhile."""

    async def _run(self) -> None:
        assert isinstance(self._stt, PocketsphinxSTT)
        self._turn = asyncio.Lock()  # one sender at a time: the order of messages is the order of sound
        self._speaking = False
        self._recent: deque[bytes] = deque()
        self._recent_bytes = self._utterance_bytes = self._since_partial = 0
        self._heard_bytes = 0
        self._shown = ""
        try:
            self._decoder = await self._stt.decoder()
        except SpeechError as error:
            raise APIConnectionError(str(error), retryable=False) from error
        activity = self._stt.detector.stream()
        tasks = [asyncio.create_task(self._hear(activity)), asyncio.create_task(self._follow(activity))]
        try:
            await asyncio.gather(*tasks)
        except SpeechError as error:
            raise APIConnectionError(str(error)) from error
        finally:
            await utils.aio.cancel_and_wait(*tasks)
            await activity.aclose()
            await self._decoder.aclose()

    async def _hear(self, activity: vad.VADStream) -> None:
        async for item in self._input_ch:
            if not isinstance(item, rtc.AudioFrame):
                async with self._turn:
                    if self._speaking:
                        await self._finish()
                        await self._begin()
                continue
            activity.push_frame(item)
            async with self._turn:
                await self._take(to_mono(item))
        activity.end_input()

    async def _follow(self, activity: vad.VADStream) -> None:
        async for event in activity:
            if event.type == vad.VADEventType.START_OF_SPEECH:
                self._event_ch.send_nowait(stt.SpeechEvent(stt.SpeechEventType.START_OF_SPEECH))
                async with self._turn:
                    self._speaking = True
                    await self._begin()
            elif event.type == vad.VADEventType.END_OF_SPEECH:
                self._event_ch.send_nowait(stt.SpeechEvent(stt.SpeechEventType.END_OF_SPEECH))
                async with self._turn:
                    if self._speaking:
                        self._speaking = False
                        await self._finish()

    async def _take(self, pcm: bytes) -> None:
        self._heard_bytes += len(pcm)
        if not self._speaking:
            self._recent.append(pcm)
            self._recent_bytes += len(pcm)
            while self._recent_bytes - len(self._recent[0]) >= PREROLL_S * MIC_RATE * 2:
                self._recent_bytes -= len(self._recent.popleft())
            return
        await self._decoder.feed(pcm)
        self._utterance_bytes += len(pcm)
        self._since_partial += len(pcm)
        if self._utterance_bytes >= MAX_UTTERANCE_S * MIC_RATE * 2:
            await self._finish()
            await self._begin()
        elif self._since_partial >= PARTIAL_EVERY_S * MIC_RATE * 2:
            self._since_partial = 0
            self._show(await self._decoder.partial())

    async def _begin(self) -> None:
        """Start an utterance with the sound just before."""
        await self._decoder.start()
        before = b"".join(self._recent)
        self._recent.clear()
        self._recent_bytes = 0
        self._utterance_bytes, self._since_partial, self._shown = len(before), 0, ""
        await self._decoder.feed(before)

    async def _finish(self) -> None:
        """End the utterance and hand its words over."""
        words = await self._decoder.finish()
        seconds = self._utterance_bytes / (2 * MIC_RATE)
        if self._decoder.accepts(words):
            offset_s = self.start_time_offset + self._heard_bytes / (2 * MIC_RATE) - seconds
            data = self._decoder.speech_data(words, offset_s)
            self._event_ch.send_nowait(stt.SpeechEvent(stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data]))
        elif words:
            logger.info("heard something, but no words of this place", extra={"words": len(words)})
        usage = stt.RecognitionUsage(audio_duration=seconds)
        self._event_ch.send_nowait(stt.SpeechEvent(stt.SpeechEventType.RECOGNITION_USAGE, recognition_usage=usage))

    def _show(self, words: Words) -> None:
        data = self._decoder.speech_data(words)
        if data.text and data.text != self._shown and self._decoder.accepts(words):
            self._shown = data.text
            self._event_ch.send_nowait(stt.SpeechEvent(stt.SpeechEventType.INTERIM_TRANSCRIPT, alternatives=[data]))


def to_mono(frame: rtc.AudioFrame) -> bytes:
    """The frame's samples as one channel."""
    if frame.num_channels == 1:
        return bytes(frame.data)
    mixed_SC = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)
    mixed_S: NDArray[np.int16] = mixed_SC.mean(axis=1).astype(np.int16)
    return mixed_S.tobytes()


def to_mic_rate(buffer: AudioBuffer) -> bytes:
    """Frames of any rate as 16-bit mono at MIC_RATE."""
    if isinstance(buffer, list) and not buffer:
        return b""
    frame = utils.merge_frames(buffer)
    pcm_S: NDArray[np.int16] = np.frombuffer(to_mono(frame), np.int16)
    if frame.sample_rate != MIC_RATE and len(pcm_S):
        pcm_S = soxr.resample(pcm_S, frame.sample_rate, MIC_RATE).astype(np.int16)
    return pcm_S.tobytes()
