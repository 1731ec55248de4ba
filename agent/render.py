"""`visavis render`: one portrait plus audio, text or recorded motion gives a clip."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from agent.captions import webvtt
from agent.errors import Unavailable
from agent.shots import SETTLE_FRAMES, Shot, driven_shots, spoken_shots
from agent.source import Source, from_audio, from_text, silence
from avatar.clock import FPS, FRAME_SAMPLES
from avatar.errors import AudioError
from avatar.motion.asked_text import asked_of
from avatar.motion.capture import Capture, load_motion
from config import ConfigError, Settings


def render_clip(
    settings: Settings,
    *,
    audio: Path | None,
    text: str | None,
    out_path: Path,
    console: Console,
    arkit: Path | None = None,
    drive: Path | None = None,
    centre: bool | None = None,
    flip: Sequence[str] = (),
) -> dict[str, Any]:
    """Render a clip and return its report; leaves no half file behind.

    arkit: also write the motion as Live Link Face CSV (.csv) or JSON (.json).
    drive: recorded motion that moves the portrait instead of the motion model; `audio` is then optional, and the clip
        as long as the longer of the two. centre, flip: see `avatar.motion.capture.load_motion`.
    Raises AvatarError, ConfigError or Unavailable.
    """
    from agent.media import ClipWriter, check_clip
    from avatar.decoders import frame_format, open_decoder
    from avatar.motion.arkit import write_motion
    from avatar.motion.open import close_motion, open_motion
    from avatar.motion.stream import MotionStream
    from avatar.stream import AvatarStream

    shape = check_clip(out_path, frame_format(settings.avatar))
    part = _part_of(out_path)
    motion_part = _motion_part(arkit)
    capture = load_motion(drive, centre=centre, flip=flip) if drive is not None else None
    source = _open(settings, audio, text, silent=capture is not None)

    started = time.perf_counter()
    decoder = open_decoder(settings.avatar, shape)
    shots: Iterator[Shot]
    motion = None
    if capture is not None:
        shots = driven_shots(decoder, capture.motion_TD, source, MotionStream(seed=settings.avatar.seed))
    else:
        motion = open_motion(settings.avatar)
        stream = AvatarStream(decoder, motion)
        stream.set_controls(asked_of(settings.avatar))
        shots = spoken_shots(stream, source)
    prepared_s = time.perf_counter() - started

    stages_ms: dict[str, float] = {}
    frames = 0
    motion_TD = []
    started = time.perf_counter()
    try:
        with (
            ClipWriter(part, shape) as writer,
            Progress(
                TextColumn("rendering"), BarColumn(), TextColumn("{task.completed} frames"), TimeRemainingColumn(),
                console=console, transient=True,
            ) as progress,
        ):  # fmt: skip
            task = progress.add_task("rendering", total=_length(source, capture))
            for shot in shots:
                writer.write(shot.image, shot.pcm_S)
                frames += 1
                if arkit is not None:
                    motion_TD.append(shot.motion_D)
                for stage, milliseconds in decoder.timings.items():
                    stages_ms[stage] = stages_ms.get(stage, 0.0) + milliseconds
                progress.update(task, advance=1)
        if arkit is not None and motion_part is not None:
            write_motion(motion_part, np.stack(motion_TD))
            motion_part.replace(arkit)
        part.replace(out_path)
    finally:
        source.close()
        if motion is not None:
            close_motion(motion)
        part.unlink(missing_ok=True)
        if motion_part is not None:
            motion_part.unlink(missing_ok=True)
    elapsed_s = time.perf_counter() - started
    captions = None
    if source.cues:
        captions = out_path.with_suffix(".vtt")
        captions.write_text(webvtt(source.cues), encoding="utf-8")
    warnings = source.warnings + (capture.warnings if capture is not None else [])
    rest_s = (frames - len(capture.motion_TD)) / FPS if capture is not None else 0.0
    if rest_s > 0.2:  # coded sound is a few frames longer than what was coded
        warnings.append(f"The sound is {rest_s:.1f} s longer than the capture: the face rests meanwhile.")
    for warning in warnings:
        console.print(f"[yellow]note:[/] {warning}")
    return {
        "out": str(out_path),
        "captions": str(captions) if captions else None,
        "arkit": str(arkit) if arkit else None,
        "capture": capture.report if capture is not None else None,
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
        "warnings": warnings,
    }


def _open(settings: Settings, audio: Path | None, text: str | None, *, silent: bool) -> Source:
    """The speech, its first chunk already decoded: bad input is refused before the portrait is prepared."""
    if text is not None:
        source = from_text(settings, text)
    elif audio is not None:
        source = from_audio(audio)
    else:
        assert silent, "checked by the command line"
        return silence()
    first = next(source.chunks, None)
    if first is None:
        raise AudioError("empty", "There is no sound in the input.", "Give a file with speech in it.")
    source.chunks = itertools.chain([first], source.chunks)
    return source


def _length(source: Source, capture: Capture | None) -> int | None:
    """Frames to come, as far as known."""
    sound = source.total_samples // FRAME_SAMPLES if source.total_samples is not None else None
    if capture is not None:
        return max(sound or 0, len(capture.motion_TD))
    return sound + SETTLE_FRAMES if sound else None


def _motion_part(arkit: Path | None) -> Path | None:
    """Where the motion is written before it is whole; ConfigError for a name that says no kind of motion file."""
    from avatar.motion.arkit import check_ending

    if arkit is None:
        return None
    try:
        check_ending(arkit)
    except ValueError as error:
        raise ConfigError(f"--arkit: {error}") from None
    return _part_of(arkit)


def _part_of(path: Path) -> Path:
    """Where a file is written before it is whole; Unavailable when its folder cannot be written."""
    if not path.parent.is_dir():
        raise Unavailable(f"The folder {path.parent} does not exist. Make it first.")
    part = path.with_suffix(f".part{path.suffix}")
    try:
        part.touch()
    except OSError as error:
        raise Unavailable(f"{path} cannot be written ({error.strerror}).") from None
    part.unlink()
    return part
