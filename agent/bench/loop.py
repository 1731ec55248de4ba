"""The whole loop: the real kiosk server in a process of its own, and a client that does what the page does.

The client speaks questions of the knowledge base in real time, twenty turns, and notes when every packet arrives.
Latency is from the last sample of the question to the first speaking frame at the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import struct
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr
import websockets
from numpy.typing import NDArray
from pydantic import SecretStr
from rich.console import Console

from agent.errors import Unavailable
from avatar.clock import FRAME_SAMPLES, MIC_RATE, STREAM_RATE
from config import Settings, load
from config.load import ENV_PREFIX, leaves
from dialogue.passages import read_folder

HEADER = struct.Struct("<BBHIQ")
KIND_MIC, KIND_AUDIO, KIND_VIDEO = 1, 2, 3
FLAG_SPEECH = 1
BUFFER_S = 0.1
"""The page's jitter buffer, imitated."""
PACKET = MIC_RATE // 25
QUIET_S = 0.8
START_S = 120.0
"""The kiosk server must be ready by then."""
TAIL_BYTES = 2000
"""How much of what the server last wrote to its standard error is kept."""
QUESTIONS = (
    "When are you open on Sunday?",
    "How much is a ticket?",
    "Where are the toilets?",
    "Is there a cafe?",
    "What is the Night Sky Room?",
    "Where can I park?",
    "Is there a family ticket?",
    "When are you open on Thursday?",
    "Tell me about the Whispering Dishes",
    "How do I get to the museum?",
)


@dataclass(slots=True)
class Arrivals:
    """What came when. Lists of (arrival in seconds, first sample, speech?)."""

    audio: list[tuple[float, int, bool]] = field(default_factory=list)
    video: list[tuple[float, int, bool]] = field(default_factory=list)
    transcripts: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    last_speech: float = 0.0


def bench_loop(settings: Settings, quick: bool, console: Console) -> dict[str, float | int | str | None]:
    """Figures of a conversation of twenty turns (five when quick), about four minutes."""
    return asyncio.run(_bench(settings, 5 if quick else 20, console))


async def _bench(settings: Settings, turns: int, console: Console) -> dict[str, float | int | str | None]:
    arrivals, latencies = await converse(settings, turns, console)
    figures: dict[str, float | int | str | None] = {
        "turn_latency_ms_p50": round(float(np.percentile(latencies, 50)), 1) if latencies else None,
        "turn_latency_ms_p95": round(float(np.percentile(latencies, 95)), 1) if latencies else None,
        "loop_turns": turns,
        "loop_turns_answered": len(latencies),
        **timing(arrivals),
    }
    return figures


async def converse(settings: Settings, turns: int, console: Console) -> tuple[Arrivals, list[float]]:
    """Ask `turns` questions of a kiosk server: what came when, and the latency of each answered turn in ms.

    Raises what `questions_for` raises, and Unavailable when the server does not start.
    """
    texts = questions_for(settings)
    questions = await _speak([texts[i % len(texts)] for i in range(turns)], settings)
    async with _server(settings) as link:
        arrivals, latencies = await _converse(link, questions, console)
    console.print(f"  answered {len(latencies)} of {turns} turns asked")
    return arrivals, latencies


def questions_for(settings: Settings) -> list[str]:
    """What the visitor asks: the museum's questions, or those that the knowledge folder itself offers.

    Raises Unavailable when there is no folder or it offers no question, DialogueError when it cannot be read.
    """
    folder = settings.dialogue.knowledge_dir
    if folder is None:
        raise Unavailable(
            "The loop bench needs a knowledge folder: it asks the questions found there. Set dialogue.knowledge_dir."
        )
    if folder == load("kiosk", environ={}).settings.dialogue.knowledge_dir:
        return list(QUESTIONS)
    passages = read_folder(folder)
    titles = [p.title for p in passages if p.title.endswith("?")]
    also = [p.questions[0] for p in passages if p.questions]
    if not titles and not also:
        raise Unavailable(
            f"The loop bench found no question in {folder}. Add a '## Question?' heading or an 'Also asked:' line."
        )
    return list(dict.fromkeys([*titles, *also]))


def forwarded(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """What the server's process must be told to have the same settings: (arguments, environment variables).

    Only what differs from the profile as the child will load it. Secrets go through the environment, since every
    user of the machine can read arguments. None is written as empty text, a list with commas.
    """
    usual = dict(leaves(load(settings.profile).settings))
    arguments: list[str] = []
    variables: dict[str, str] = {}
    for key, value in leaves(settings):
        if value == usual[key]:
            continue
        if isinstance(value, SecretStr) or isinstance(usual[key], SecretStr):
            variable = ENV_PREFIX + key.upper().replace(".", "__")
            variables[variable] = "" if value is None else value.get_secret_value()
        else:
            text = "" if value is None else ",".join(value) if isinstance(value, list) else value
            arguments += ["--set", f"{key}={text}"]
    return arguments, variables


def timing(arrivals: Arrivals) -> dict[str, float | int | str | None]:
    """Offsets as a visitor would see them: at each screen refresh, the frame shown against the sample heard."""
    audio, video = arrivals.audio, arrivals.video
    if not audio or not video:
        return {}
    sound_A = np.array([s for _, s, _ in audio])
    play_A, underruns = _playout(np.array([a for a, _, _ in audio]))
    arrival_V = np.array([a for a, _, _ in video])
    sample_V = np.array([s for _, s, _ in video])
    due_V = np.interp(sample_V, sound_A, play_A)
    late = float(np.mean(arrival_V > due_V))
    screen_T = np.arange(play_A[0] + 1.0, play_A[-1], 1 / 60)
    heard_T = np.interp(screen_T, play_A, sound_A)
    # A frame can be shown from the moment when it has arrived and its first sample is heard.
    shown_from_V = np.maximum.accumulate(np.maximum(arrival_V, due_V))
    shown_T = np.searchsorted(shown_from_V, screen_T, side="right") - 1
    ok_T = shown_T >= 0
    offset_ms = (sample_V[shown_T[ok_T]] + FRAME_SAMPLES / 2 - heard_T[ok_T]) * 1000 / STREAM_RATE
    third = len(offset_ms) // 3
    seconds = audio[-1][0] - audio[0][0]
    return {
        "av_offset_ms_p95": round(float(np.percentile(np.abs(offset_ms), 95)), 2),
        "av_offset_ms_first_third": round(float(np.median(offset_ms[:third])), 2),
        "av_offset_ms_last_third": round(float(np.median(offset_ms[-third:])), 2),
        "loop_fps": round((len(video) - 1) / (video[-1][0] - video[0][0]), 2),
        "loop_late_frames_share": round(late, 4),
        "loop_audio_underruns": underruns,
        "loop_seconds": round(seconds, 1),
    }


def _playout(arrival_A: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """When each packet is heard, and how often sound ran dry: a jitter buffer that pauses when it is empty."""
    play_A = np.empty_like(arrival_A)
    due = arrival_A[0] + BUFFER_S
    underruns = 0
    for i, arrival in enumerate(arrival_A):
        if arrival > due:
            underruns += 1
            due = arrival + BUFFER_S
        play_A[i] = due
        due += FRAME_SAMPLES / STREAM_RATE
    return play_A, underruns


async def _speak(texts: list[str], settings: Settings) -> list[NDArray[np.int16]]:
    """The questions as a visitor would say them, int16 at 16 kHz, by the default voice."""
    from agent.speech.select import choose_voice

    spoken = []
    voice = choose_voice(settings.speech.model_copy(update={"voice": None, "tts": "auto"}))
    try:
        for text in texts:
            pcm_S = np.concatenate([chunk.pcm_S async for chunk in voice.synthesize(text)])
            resampled_S = soxr.resample(pcm_S.astype(np.float32), STREAM_RATE, MIC_RATE)
            loud_S = np.flatnonzero(np.abs(resampled_S) > 300)
            trimmed_S = resampled_S[loud_S[0] : loud_S[-1] + 1] if len(loud_S) else resampled_S
            spoken.append(np.clip(trimmed_S, -32768, 32767).astype(np.int16))
    finally:
        await voice.aclose()
    return spoken


@contextlib.asynccontextmanager
async def _server(settings: Settings) -> AsyncIterator[str]:
    """The kiosk server in a process of its own; yields its link. Raises Unavailable when it does not start."""
    arguments, variables = forwarded(settings)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent", "run", "--profile", settings.profile, *arguments, "--port", "0",
        "--set", "session.greeting=", "--set", "session.idle_reset_s=3600",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | variables,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    complaint = bytearray()
    drains = [asyncio.create_task(_drain(process.stderr, complaint))]
    try:
        link, why = None, "ended before it was ready"
        try:
            async with asyncio.timeout(START_S):
                link = await _link(process.stdout)
        except TimeoutError:
            why = f"was not ready within {START_S:.0f} s"
        if link is None:
            await asyncio.wait(drains, timeout=1)
            said = complaint.decode(errors="replace").strip() or "it wrote nothing to standard error"
            raise Unavailable(f"The kiosk server {why}. The end of what it said:\n{said}")
        drains.append(asyncio.create_task(_drain(process.stdout, bytearray())))
        yield link
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
        for drain in drains:
            drain.cancel()
        await asyncio.gather(*drains, return_exceptions=True)


async def _link(stdout: asyncio.StreamReader) -> str | None:
    """The link that the server prints when it is ready; None when it ends without one."""
    while line := await stdout.readline():
        if match := re.search(r"http://\S+", line.decode(errors="replace")):
            return match.group()
    return None


async def _drain(stream: asyncio.StreamReader, tail: bytearray) -> None:
    """Read a pipe to its end so that the writer never blocks; `tail` keeps the last TAIL_BYTES."""
    while part := await stream.read(4096):
        tail += part
        del tail[:-TAIL_BYTES]


async def _converse(link: str, questions: list[NDArray[np.int16]], console: Console) -> tuple[Arrivals, list[float]]:
    base, _, query = link.partition("?")
    arrivals, latencies = Arrivals(), []
    address = base.rstrip("/").replace("http://", "ws://") + "/ws?" + query
    async with websockets.connect(address, origin=base.rstrip("/"), max_size=2**22, proxy=None) as socket:  # type: ignore[arg-type]
        receiver = asyncio.create_task(_receive(socket, arrivals))
        try:
            await socket.send(json.dumps({"type": "start", "microphone": True}))
            mic = _Microphone(socket)
            await mic.say(np.zeros(MIC_RATE * 2, np.int16))
            for number, question_S in enumerate(questions):
                before = len(arrivals.video)
                ended = await mic.say(question_S)
                deadline = ended + 10
                answer = None
                while time.monotonic() < deadline and answer is None:
                    await mic.say(np.zeros(PACKET, np.int16))
                    answer = next((a for a, _, speech in arrivals.video[before:] if speech and a > ended), None)
                if answer is not None:
                    latencies.append((answer - ended) * 1000)
                    console.print(f"  turn {number + 1}: {latencies[-1]:.0f} ms")
                    while time.monotonic() - arrivals.last_speech < QUIET_S:
                        await mic.say(np.zeros(PACKET, np.int16))
                else:
                    console.print(f"  turn {number + 1}: no answer within 10 s")
        finally:
            receiver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await receiver
    if arrivals.errors:
        console.print("  errors: " + "; ".join(arrivals.errors[:5]))
    return arrivals, latencies


class _Microphone:
    """Sends sound in real time, 40 ms a packet, on an absolute schedule."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._sample = 0
        self._start = time.monotonic()

    async def say(self, pcm_S: NDArray[np.int16]) -> float:
        """Send; returns the time at which the last sample was due."""
        for position in range(0, len(pcm_S), PACKET):
            part_S = pcm_S[position : position + PACKET]
            padded_S = np.pad(part_S, (0, PACKET - len(part_S)))
            due = self._start + (self._sample + PACKET) / MIC_RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._socket.send(HEADER.pack(KIND_MIC, 0, 0, 0, self._sample) + padded_S.astype("<i2").tobytes())
            self._sample += PACKET
        return time.monotonic()


async def _receive(socket: Any, arrivals: Arrivals) -> None:
    async for message in socket:
        now = time.monotonic()
        if isinstance(message, str):
            data = json.loads(message)
            if data["type"] == "transcript" and data.get("final"):
                arrivals.transcripts.append(data["text"])
            elif data["type"] == "error":
                arrivals.errors.append(data.get("message", ""))
            continue
        kind, flags, _, _, sample = HEADER.unpack_from(message)
        speech = bool(flags & FLAG_SPEECH)
        if speech:
            arrivals.last_speech = now
        if kind == KIND_AUDIO:
            arrivals.audio.append((now, sample, speech))
        elif kind == KIND_VIDEO:
            arrivals.video.append((now, sample, speech))
