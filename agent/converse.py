"""`visavis converse`: a real conversation without a browser. Sound files are the visitor, a clip is the visitor's eyes.

Everything is the product's: session, recogniser, dialogue, voice, motion, decoder, runner, real time. Only the
transport is a file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from agent.latency import Turn
from agent.media import check_clip
from agent.parts import build_parts, build_runner, close_parts, settle_memory
from agent.recorder import RecordedFrame, Recorder
from agent.session import Conversation, EndReason, Parts
from avatar.audio.load import load_audio
from avatar.clock import FPS, FRAME_SAMPLES, MIC_RATE, STREAM_RATE
from avatar.decoders import frame_format, open_decoder
from avatar.errors import AudioError
from avatar.motion.idle import State
from avatar.stream import FrameDecoder
from config import Settings

PACKET: Final = MIC_RATE // 50
"""Microphone samples at a time (20 ms)."""
LEAD_S: Final = 0.5
"""Quiet before the visitor speaks."""
ANSWER_TIMEOUT_S: Final = 20.0
"""From the end of a question to the first word of the reply."""
REPLY_TIMEOUT_S: Final = 120.0
MAX_QUESTION_S: Final = 120.0
TAIL_S: Final = 1.0
"""Recorded after the last word: the mouth closes and the face comes to rest."""
_LOUD: Final = 300


@dataclass(slots=True)
class Exchange:
    """One question and its reply. Times in the runner's frames and the machine's seconds."""

    wav: str
    first_frame: int
    voice_end: float = 0.0
    transcript: str = ""
    replies: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    problems: list[str] = field(default_factory=list)
    turn: Turn | None = None
    replied_at: float | None = None
    cut_ms: float | None = None


class _Visitor:
    """Writes down what happens; the conversation's Listener."""

    def __init__(self) -> None:
        self.exchange: Exchange | None = None
        self.speaking = False
        self.silenced_at = 0.0
        self.over: EndReason | None = None
        self._replies: dict[str, Exchange] = {}

    def state(self, state: State) -> None:
        if self.speaking and state is not State.SPEAKING:
            self.silenced_at = time.monotonic()
        self.speaking = state is State.SPEAKING

    def transcript(self, segment: str, text: str, final: bool) -> None:
        if self.exchange is not None and final:
            self.exchange.transcript = f"{self.exchange.transcript} {text}".strip()

    def caption(self, segment: str, text: str, final: bool, start_sample: int | None) -> None:
        exchange = self._replies.get(segment, self.exchange)
        if exchange is not None and exchange.turn is not None:
            self._replies[segment] = exchange
            exchange.replies[segment] = text

    def latency(self, turn: Turn) -> None:
        if self.exchange is not None and self.exchange.turn is None:
            self.exchange.turn = turn
            self.speaking = True
            self.exchange.replied_at = time.monotonic()

    def problem(self, code: str, message: str, hint: str) -> None:
        if self.exchange is not None:
            self.exchange.problems.append(code)

    def ended(self, reason: EndReason) -> None:
        self.over = reason


async def converse(
    settings: Settings,
    wavs: Sequence[Path],
    out_path: Path,
    *,
    barge_in_s: float | None = None,
    parts: Parts | None = None,
    decoder: FrameDecoder | None = None,
) -> dict[str, Any]:
    """Ask every file in turn, each when the reply before it is over; record; return the report.

    barge_in_s: do not wait for the end of a reply, but speak that long after its first word.
    parts, decoder: instead of what the settings name.
    Raises AudioError for a file that cannot be heard, Unavailable when the clip cannot be written, and what the parts
    raise. The greeting is not said: the visitor speaks first.
    """
    shape = check_clip(out_path, frame_format(settings.avatar))
    questions = [(path.name, microphone_sound(path)) for path in wavs]
    own_parts = parts is None
    parts = parts or await build_parts(settings)
    recorder: Recorder | None = None
    try:
        decoder = decoder or await asyncio.to_thread(open_decoder, settings.avatar, shape)
        settle_memory()
        recorder = Recorder(out_path, shape)
        runner = build_runner(settings, decoder=decoder, sink=recorder)
        visitor = _Visitor()
        conversation = Conversation(settings, parts, runner, visitor)
        runner.start()
        try:
            await conversation.start(greet=False)
            exchanges = await _hold(conversation, visitor, recorder, questions, barge_in_s)
        finally:
            await conversation.aclose()
            await runner.aclose()
    finally:
        if recorder is not None:
            await recorder.close()
        if own_parts:
            await close_parts(parts)
    return {
        "out": str(out_path),
        "portrait": settings.avatar.portrait,
        "seconds": round(recorder.seconds, 2),
        "ended": visitor.over,
        "turns": [_turn_report(item, recorder.frames, following) for item, following in _pairs(exchanges)],
        "problems": sum(len(item.problems) for item in exchanges),
        "latency": conversation.latency.summary(),
        "runner": runner.stats.summary(),
        "sound_late_ms": [round(late, 1) for late in runner.stats.sound_late_ms],
        **_picture_report(recorder.frames),
    }


def microphone_sound(path: Path) -> NDArray[np.int16]:
    """A sound file as the microphone would hear it: int16 mono at 16 kHz. Raises AudioError."""
    chunks: list[NDArray[np.int16]] = []
    with load_audio(path) as sound:
        for chunk_S in sound:
            chunks.append(chunk_S)
            if sum(map(len, chunks)) > MAX_QUESTION_S * STREAM_RATE:
                raise AudioError(
                    "too_long", f"{path.name} is longer than {MAX_QUESTION_S:.0f} s.", "Give one question a file."
                )
    pcm_S = soxr.resample(np.concatenate(chunks), STREAM_RATE, MIC_RATE)
    return np.ascontiguousarray(pcm_S, np.int16)


async def _hold(
    conversation: Conversation,
    visitor: _Visitor,
    recorder: Recorder,
    questions: list[tuple[str, NDArray[np.int16]]],
    barge_in_s: float | None,
) -> list[Exchange]:
    microphone = _Mouth(conversation)
    exchanges: list[Exchange] = []
    await microphone.quiet(LEAD_S)
    for number, (name, question_S) in enumerate(questions):
        loud_S = np.flatnonzero(np.abs(question_S.astype(np.int32)) > _LOUD)
        start, stop = (int(loud_S[0]), int(loud_S[-1]) + 1) if len(loud_S) else (0, len(question_S))
        before = exchanges[-1] if exchanges and visitor.speaking else None
        exchange = Exchange(name, first_frame=len(recorder.frames))
        exchanges.append(exchange)
        visitor.exchange = exchange
        await microphone.say(question_S[:start])
        began = time.monotonic()
        await microphone.say(question_S[start:stop])
        exchange.voice_end = time.monotonic()
        if before is not None and visitor.silenced_at > began:
            before.interrupted = True
            before.cut_ms = (visitor.silenced_at - began) * 1000
        await microphone.say(question_S[stop:])
        await microphone.quiet(ANSWER_TIMEOUT_S, until=partial(_replied, exchange, visitor))
        if barge_in_s is not None and number + 1 < len(questions):
            await microphone.quiet(barge_in_s, until=partial(_silent, visitor))
        else:
            await microphone.quiet(REPLY_TIMEOUT_S, until=partial(_silent, visitor))
    await microphone.quiet(TAIL_S)
    return exchanges


def _replied(exchange: Exchange, visitor: _Visitor) -> bool:
    return exchange.turn is not None or visitor.over is not None


def _silent(visitor: _Visitor) -> bool:
    return not visitor.speaking or visitor.over is not None


class _Mouth:
    """Sends sound to the conversation in real time, on an absolute schedule."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._start = time.monotonic()
        self._samples = 0

    async def say(self, pcm_S: NDArray[np.int16], until: Callable[[], bool] = lambda: False) -> None:
        """Speak until the end, or until the condition holds."""
        for at in range(0, len(pcm_S), PACKET):
            if until():
                return
            part_S = pcm_S[at : at + PACKET]
            self._samples += len(part_S)
            await asyncio.sleep(max(0.0, self._start + self._samples / MIC_RATE - time.monotonic()))
            self._conversation.hear(part_S)

    async def quiet(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Say nothing for that long, or until the condition holds."""
        await self.say(np.zeros(round(seconds * MIC_RATE), np.int16), until)


def _pairs(exchanges: list[Exchange]) -> list[tuple[Exchange, int | None]]:
    """Each exchange with the frame at which the next one begins."""
    return [
        (item, exchanges[k + 1].first_frame if k + 1 < len(exchanges) else None) for k, item in enumerate(exchanges)
    ]


def _turn_report(item: Exchange, frames: list[RecordedFrame], stop: int | None) -> dict[str, Any]:
    own = frames[item.first_frame : stop]
    speaking = [frame.change for frame in own if frame.speech and frame.change]
    silent = [frame.change for frame in own if not frame.speech and frame.change]
    jaw = max((frame.jaw for frame in own if frame.speech), default=0.0)
    moved = bool(speaking) and jaw > 0.1 and float(np.mean(speaking)) > 1.3 * float(np.mean(silent or [0.0]))
    return {
        "wav": item.wav,
        "transcript": item.transcript,
        "reply": " ".join(item.replies.values()),
        "answered": item.replied_at is not None,
        "interrupted": item.interrupted,
        "cut_ms": None if item.cut_ms is None else round(item.cut_ms, 1),
        "voice_to_speech_ms": None if item.replied_at is None else round((item.replied_at - item.voice_end) * 1000, 1),
        "marks_ms": dict(item.turn.marks_ms) if item.turn is not None else {},
        "speech_frames": sum(frame.speech for frame in own),
        "mouth_moved": moved,
        "jaw_open_max": round(jaw, 3),
        "mouth_change_speaking": round(float(np.mean(speaking)), 3) if speaking else None,
        "mouth_change_silent": round(float(np.mean(silent)), 3) if silent else None,
        "problems": item.problems,
    }


def _picture_report(frames: list[RecordedFrame]) -> dict[str, Any]:
    """How far the picture seen lags the sound heard with it."""
    offsets_ms = np.array(
        [(number - frame.shown) * FRAME_SAMPLES * 1000 / STREAM_RATE for number, frame in enumerate(frames)
         if frame.shown >= 0]
    )  # fmt: skip
    if not len(offsets_ms):
        return {"av_offset_ms_p95": None, "av_offset_ms_max": None, "pictures_repeated": len(frames), "fps": 0.0}
    repeated = int((offsets_ms > 0).sum())
    return {
        "av_offset_ms_p95": round(float(np.percentile(offsets_ms, 95)), 2),
        "av_offset_ms_max": round(float(offsets_ms.max()), 2),
        "pictures_repeated": repeated,
        "fps": round((len(frames) - repeated) / len(frames) * FPS, 2),
    }
