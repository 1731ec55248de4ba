"""Decoder: milliseconds per 512x512 frame on one core, per stage, and frames per second on two."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from agent.errors import Unavailable
from config import Settings
from config.settings import AvatarSettings

if TYPE_CHECKING:
    from avatar.portrait.store import Identity
    from avatar.render.decoder import Decoder

SIZE = 512


def speaking_motion(frames: int, seed: int = 0) -> NDArray[np.float32]:
    """A face that speaks, blinks and turns: what a conversation asks of the decoder. float32 [frames, 52]."""
    from avatar.audio.phones import TimedPhone
    from avatar.clock import FRAME_SAMPLES, STREAM_RATE
    from avatar.motion.stream import MotionStream

    motion = MotionStream(seed=seed)
    words = [
        "HH",
        "EH",
        "L",
        "OW",
        "sil",
        "W",
        "EH",
        "L",
        "K",
        "AH",
        "M",
        "T",
        "UW",
        "DH",
        "AH",
        "M",
        "Y",
        "UW",
        "Z",
        "IY",
        "AH",
        "M",
        "sil",
        "B",
        "AA",
        "B",
        "M",
        "EY",
        "P",
        "AA",
        "P",
        "sil",
    ]
    seconds = frames * FRAME_SAMPLES / STREAM_RATE
    step = 0.09
    phones = [TimedPhone(words[i % len(words)], i * step, (i + 1) * step) for i in range(int(seconds / step) + 1)]
    tone_S = (3000 * np.sin(np.arange(frames * FRAME_SAMPLES) * 2 * np.pi * 160 / STREAM_RATE)).astype(np.int16)
    motion.push_audio(tone_S, phones)
    motion.end_segment()
    return np.stack([motion.next_motion() for _ in range(frames)])


def bench_decoder(settings: Settings, quick: bool, console: Console) -> dict[str, float | int | str | None]:
    """Figures of the decoder; the one-core figure is measured in a process pinned to one core, where possible."""
    frames = 75 if quick else 250
    context = multiprocessing.get_context("spawn")
    # Only Linux can pin a process; elsewhere one torch thread in a process stands for one core.
    available = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = sorted(available)[:2]
    jobs = [(settings.avatar.model_dump_json(), frames, core) for core in cores]
    with context.Pool(1) as pool:
        one = pool.apply(_measure, jobs[0])
    with context.Pool(len(jobs)) as pool:
        both = pool.starmap(_measure, jobs)
    figures: dict[str, float | int | str | None] = {
        "decoder_cpu_ms_per_frame_512": round(one["total"], 3),
        "decoder_cpu_fps_512_2cores": round(sum(1000 / m["total"] for m in both), 1) if len(both) == 2 else None,
        "decoder_gpu_frames_per_s_512": None,
        "decoder_cpu_ms_p95_512": round(one["p95"], 3),
    }
    for stage, milliseconds in one.items():
        if stage not in ("total", "p95"):
            figures[f"decoder_cpu_stage_{stage}_ms"] = round(milliseconds, 3)
    figures |= _memory(settings) | _on_gpu(quick, console)
    return figures | _beside_the_loop(settings, quick, console)


def _on_gpu(quick: bool, console: Console) -> dict[str, float | int | str | None]:
    """Rows of the batched decoder, where torch has a CUDA device: frames per second of the best batch, ms of one."""
    import torch

    if not torch.cuda.is_available():
        console.print("  on a GPU: not measured. There is no CUDA device that torch can use.")
        return {}
    from avatar.render.batch.bench import measure, table

    result = measure("cuda", seconds=1.0 if quick else 3.0)
    console.print(table(result))
    best = max(result["rows"], key=lambda row: row["frames_per_s"])
    figures: dict[str, float | int | str | None] = {
        "decoder_gpu_card": result["card"],
        "decoder_gpu_frames_per_s_512": round(best["frames_per_s"], 1),
        "decoder_gpu_batch_512": best["batch"],
        "decoder_gpu_bytes_per_s_share_of_card": best["of_peak"] and round(best["of_peak"], 4),
        "decoder_gpu_peak_memory_mb": round(best["peak_bytes"] / 1e6, 1),
    }
    for row in result["rows"]:
        figures[f"decoder_gpu_ms_batch_{row['batch']}_512"] = round(row["ms_per_batch"], 3)
    return figures


def cpu_decoder(settings: AvatarSettings) -> tuple[Identity, Decoder]:
    """What every figure here is measured with: the settings' portrait in squares of SIZE px on the CPU, warm."""
    from avatar.decoders import identity_of
    from avatar.render.decoder import Decoder

    identity = identity_of(settings.model_copy(update={"size": SIZE}))
    decoder = Decoder(identity, size=SIZE)
    decoder.warm_up()
    return identity, decoder


def _memory(settings: Settings) -> dict[str, float | int | str | None]:
    """Megabytes per prepared identity and per session (avatar/memory.py)."""
    from avatar.memory import memory_figures

    identity, decoder = cpu_decoder(settings.avatar)
    return {name: round(megabytes, 2) for name, megabytes in memory_figures(identity, decoder).items()}


def _beside_the_loop(settings: Settings, quick: bool, console: Console) -> dict[str, float | int | str | None]:
    """Empty, with a note, on a machine that cannot hold a conversation."""
    from agent.bench.spare import bench_spare

    try:
        return bench_spare(settings, quick, console)
    except Unavailable as why:
        console.print(f"  while the loop runs: not measured. {why}")
        return {}


def _measure(avatar_json: str, frames: int, core: int) -> dict[str, float]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _, decoder = cpu_decoder(AvatarSettings.model_validate_json(avatar_json))
    motion_TD = speaking_motion(frames)
    image = np.empty((SIZE, SIZE, 3), np.uint8)
    for motion_D in motion_TD[:10]:
        decoder.render(motion_D, out=image)
    stages: dict[str, float] = {}
    times = []
    for motion_D in motion_TD:
        start = time.perf_counter()
        decoder.render(motion_D, out=image)
        times.append((time.perf_counter() - start) * 1000)
        for stage, milliseconds in decoder.timings.items():
            stages[stage] = stages.get(stage, 0.0) + milliseconds
    figures = {stage: total / frames for stage, total in stages.items() if stage != "total"}
    return {"total": float(np.mean(times)), "p95": float(np.percentile(times, 95)), **figures}
