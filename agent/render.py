"""`visavis render`: one portrait plus audio or text gives a clip."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from agent.captions import Cue, webvtt
from agent.errors import Unavailable
from avatar.audio.phones import TimedPhone
from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.errors import AudioError
from config import Settings

AHEAD_SAMPLES = 2 * STREAM_RATE
"""How much speech is queued ahead of the picture: enough look-ahead for the lips, little memory."""
SETTLE_FRAMES = 15
"""Frames after the last word, in which the mouth closes and the face comes to rest."""
MAX_TEXT = 100_000
"""Longest text in characters; about two hours of speech."""


@dataclass(slots=True)
class Chunk:
    """Some speech at 24 kHz, with its phones when the synthesiser told them."""

    pcm_S: NDArray[np.int16]
    phones: list[TimedPhone] | None = None


@dataclass(slots=True)
class Source:
    """Where the speech comes from; `cues` and `warnings` fill while `chunks` is read."""

    chunks: Iterator[Chunk]
    total_samples: int | None
    cues: list[Cue] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def render_clip(
    settings: Settings, *, audio: Path | None, text: str | None, out_path: Path, console: Console
) -> dict[str, Any]:
    """Render a clip and return its report; leaves no half file behind.

    Raises AvatarError, ConfigError or Unavailable.
    """
    from agent.media import ClipWriter, check_clip
    from avatar.decoders import frame_format, open_decoder
    from avatar.motion.stream import MotionStream
    from avatar.motion.viseme_net import VisemeNet
    from avatar.stream import AvatarStream

    shape = check_clip(out_path, frame_format(settings.avatar))
    if not out_path.parent.is_dir():
        raise Unavailable(f"The folder {out_path.parent} does not exist. Make it first.")
    part = out_path.with_suffix(f".part{out_path.suffix}")
    try:
        part.touch()
    except OSError as error:
        raise Unavailable(f"{out_path} cannot be written ({error.strerror}).") from None
    part.unlink()
    source = _from_text(settings, text) if text is not None else _from_audio(audio)
    first = next(source.chunks, None)  # bad input is refused before the portrait is prepared
    if first is None:
        raise AudioError("empty", "There is no sound in the input.", "Give a file with speech in it.")

    started = time.perf_counter()
    decoder = open_decoder(settings.avatar, shape)
    stream = AvatarStream(decoder, MotionStream(seed=settings.avatar.seed, viseme_net=VisemeNet()))
    prepared_s = time.perf_counter() - started

    stages_ms: dict[str, float] = {}
    frames = 0
    total_frames = source.total_samples // FRAME_SAMPLES + SETTLE_FRAMES if source.total_samples else None
    started = time.perf_counter()
    try:
        with (
            ClipWriter(part, shape) as writer,
            Progress(
                TextColumn("rendering"), BarColumn(), TextColumn("{task.completed} frames"), TimeRemainingColumn(),
                console=console, transient=True,
            ) as progress,
        ):  # fmt: skip
            task = progress.add_task("rendering", total=total_frames)
            pending: Chunk | None = first
            settled = 0
            while settled < SETTLE_FRAMES:
                while pending is not None and stream.queued_samples < AHEAD_SAMPLES:
                    stream.push_audio(pending.pcm_S, pending.phones)
                    pending = next(source.chunks, None)
                    if pending is None:
                        stream.end_segment()
                frame = stream.next_frame()
                assert frame.image is not None, "frames are rendered here"
                writer.write(frame.image, frame.pcm)
                frames += 1
                for stage, milliseconds in decoder.timings.items():
                    stages_ms[stage] = stages_ms.get(stage, 0.0) + milliseconds
                settled = settled + 1 if pending is None and stream.queued_samples == 0 and not frame.speech else 0
                progress.update(task, advance=1)
        part.replace(out_path)
    finally:
        part.unlink(missing_ok=True)
    elapsed_s = time.perf_counter() - started
    captions = None
    if source.cues:
        captions = out_path.with_suffix(".vtt")
        captions.write_text(webvtt(source.cues), encoding="utf-8")
    for warning in source.warnings:
        console.print(f"[yellow]note:[/] {warning}")
    return {
        "out": str(out_path),
        "captions": str(captions) if captions else None,
        "portrait": settings.avatar.portrait,
        "seed": settings.avatar.seed,
        "width": shape.width,
        "height": shape.size,
        "frames": frames,
        "duration_s": frames / FPS,
        "prepare_s": round(prepared_s, 3),
        "render_s": round(elapsed_s, 3),
        "speed_x": round(frames / FPS / elapsed_s, 3),
        "stages_ms_per_frame": {stage: round(ms / frames, 3) for stage, ms in stages_ms.items()},
        "warnings": source.warnings,
    }


def _from_audio(path: Path | None) -> Source:
    from avatar.audio.load import load_audio

    assert path is not None, "checked by the command line"
    opened = load_audio(path)
    total = round(opened.duration_s * STREAM_RATE) if opened.duration_s is not None else None
    return Source((Chunk(pcm_S) for pcm_S in opened), total, warnings=opened.warnings)


def _from_text(settings: Settings, text: str) -> Source:
    from agent.speech.select import choose_voice

    if not text.strip():
        raise AudioError("empty", "The text is empty.", "Give some words to speak.")
    if len(text) > MAX_TEXT:
        raise AudioError("too_long", f"The text has {len(text)} characters.", f"At most {MAX_TEXT} are spoken at once.")
    voice = choose_voice(settings.speech)
    cues: list[Cue] = []
    source = Source(iter(()), None, cues)
    source.chunks = _spoken(voice, text, cues)
    return source


def _spoken(voice: Any, text: str, cues: list[Cue]) -> Iterator[Chunk]:
    """Synthesise sentence by sentence, on demand, from synchronous code."""
    from agent.speech.clauses import split_text

    position = 0
    with asyncio.Runner() as runner:
        try:
            for sentence in split_text(text):
                chunks = runner.run(_collect(voice, sentence))
                start = position
                for chunk in chunks:
                    position += len(chunk.pcm_S)
                    yield chunk
                cues.append(Cue(start, position, sentence))
        finally:
            runner.run(voice.aclose())


async def _collect(voice: Any, sentence: str) -> list[Chunk]:
    return [Chunk(c.pcm_S, c.phones) async for c in voice.synthesize(sentence)]
