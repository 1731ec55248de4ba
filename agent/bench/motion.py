"""Motion: real-time factor on one core, the first frame after the first audio, an hour of conversation, batches."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import soxr
from numpy.typing import NDArray
from rich.console import Console

from agent.bench.motion_parts import STAGES, TimedMotion
from agent.bench.motion_talk import CHUNK_FRAMES, talk
from avatar.clock import FRAME_SAMPLES, MIC_RATE, STREAM_RATE
from avatar.memory import held_bytes
from avatar.motion.diffusion.layout import BLOCK, LOOK
from avatar.motion.diffusion.numpy_net import NumpyNet
from avatar.motion.diffusion.stream import DiffusionMotion, WindowNet
from avatar.motion.diffusion.weights import MotionWeights, load_weights, shipped_weights
from avatar.motion.protocol import Motion
from avatar.motion.state import State
from avatar.motion.stream import MotionStream
from avatar.motion.viseme_net import VisemeNet, default_weights
from config import Settings
from config.settings import AvatarSettings

Figures = dict[str, float | int | str | None]
Samples = NDArray[np.int16]

FIRST_CHUNK: int = (BLOCK + LOOK) * FRAME_SAMPLES
"""Samples of the first chunk, 320 ms: the least that gives a frame of speech."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def bench_motion(settings: Settings, quick: bool, console: Console) -> Figures:
    """Figures of the settings' motion under the kept names, of both motions beside them, driven by sound alone (the
    viseme network), which is the dearer path. Some five minutes; half of one when quick."""
    speech_S = _speech(settings, 10)
    with _one_thread(), multiprocessing.get_context("spawn").Pool(1) as pool:
        figures: Figures = pool.apply(_on_one_core, (settings.avatar.model_dump_json(), speech_S, quick))
    lines = [f"  {figures['motion_weights']} weights; per second of speech, ms of one core:"]
    lines.append("  " + ", ".join(f"{stage} {figures[f'motion_stage_{stage}_ms_per_s']}" for stage in STAGES))
    for slots in (1, 16, 64):
        ms = figures.get(f"motion_batch_cpu_ms_{slots}")
        if ms is not None:
            lines.append(f"  batch of {slots} on the CPU (torch, one thread): {ms} ms per 200 ms of each")
    console.print("\n".join(lines))
    return figures | _on_gpu(quick, speech_S, console)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started meanwhile calculate with one thread; some libraries read it when they are loaded only."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _weights(avatar: AvatarSettings) -> tuple[MotionWeights, str]:
    """The settings' motion weights, or untrained ones of the same cost where none are shipped; and which they are."""
    if avatar.motion_model not in ("small", "base"):
        from pathlib import Path

        return load_weights(Path(avatar.motion_model)), avatar.motion_model
    try:
        return shipped_weights(avatar.motion_model), avatar.motion_model
    except ValueError:
        from avatar.motion.diffusion.batch_bench import untrained

        return untrained(avatar.motion_model), f"untrained {avatar.motion_model}"


def _on_one_core(avatar_json: str, speech_S: Samples, quick: bool) -> Figures:
    """All that is measured without a GPU, in a process of its own, pinned to one core where possible."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import torch

    torch.set_num_threads(1)
    avatar = AvatarSettings.model_validate_json(avatar_json)
    weights, name = _weights(avatar)
    net = NumpyNet(weights, avatar.motion_steps)

    def diffusion(seed: int) -> Motion:
        return DiffusionMotion(net, seed)

    def articulation(seed: int) -> Motion:
        return MotionStream(seed, VisemeNet())

    kinds = {"diffusion": diffusion, "articulation": articulation}
    figures: Figures = {"motion_weights": name, "motion_steps": net.steps}
    for kind, make in kinds.items():
        _first_motion_ms(make, speech_S, 2)  # warm-up
        figures[f"motion_{kind}_rtf"] = round(_speaking_rtf(make, speech_S), 4)
        first_ms, cpu_ms = _first_motion_ms(make, speech_S, 7 if quick else 30)
        figures[f"motion_{kind}_first_frame_ms"] = round(float(np.median(first_ms)), 2)
        figures[f"motion_{kind}_first_frame_ms_p95"] = round(float(np.percentile(first_ms, 95)), 2)
        figures[f"motion_{kind}_first_frame_cpu_ms"] = round(float(np.median(cpu_ms)), 2)
    ratio = float(figures["motion_diffusion_rtf"] or 0) / max(1e-6, float(figures["motion_articulation_rtf"] or 0))
    figures["motion_rtf_ratio_to_articulation"] = round(ratio, 2)
    figures["motion_cpu_rtf"] = figures[f"motion_{avatar.motion}_rtf"]
    figures["motion_first_frame_ms"] = figures[f"motion_{avatar.motion}_first_frame_ms"]
    figures["motion_frames"] = len(speech_S) // FRAME_SAMPLES
    figures["first_chunk_to_first_frame_ms"] = round(
        _first_picture_ms(kinds[avatar.motion], avatar, speech_S, 5 if quick else 20), 2
    )
    figures |= _stages(net, speech_S) | _long(diffusion, net, speech_S, 1 if quick else 60)
    return figures | _batched(weights, net.steps, quick)


def _speaking_rtf(make: Callable[[int], Motion], speech_S: Samples) -> float:
    """Processor seconds per second of speech, pushed in chunks of 400 ms."""
    motion = make(1)
    started = time.process_time()
    _speak(motion, speech_S)
    return (time.process_time() - started) / (len(speech_S) / STREAM_RATE)


def _speak(motion: Motion, speech_S: Samples) -> None:
    for first in range(0, len(speech_S), CHUNK_FRAMES * FRAME_SAMPLES):
        motion.push_audio(speech_S[first : first + CHUNK_FRAMES * FRAME_SAMPLES])
        while motion.ready_frames():
            motion.next_motion()
    motion.end_segment()
    while motion.ready_frames():
        motion.next_motion()


def _first_motion_ms(make: Callable[[int], Motion], speech_S: Samples, trials: int) -> tuple[list[float], list[float]]:
    """From the first chunk of speech to its first frame of motion, for an avatar that was idle before: what passed,
    and what the processor worked (less than that where others use it, too)."""
    out, worked = [], []
    for trial in range(trials):
        motion = make(trial)
        for _ in range(trial % 7 + 1):
            motion.next_motion()
        started, begun = time.perf_counter(), time.process_time()
        motion.push_audio(speech_S[:FIRST_CHUNK])
        assert motion.ready_frames() > 0
        motion.next_motion()
        out.append((time.perf_counter() - started) * 1000)
        worked.append((time.process_time() - begun) * 1000)
    return out, worked


def _first_picture_ms(make: Callable[[int], Motion], avatar: AvatarSettings, speech_S: Samples, trials: int) -> float:
    """From the first chunk of speech to its first picture; median."""
    from avatar.decoders import open_decoder
    from avatar.stream import AvatarStream

    decoder = open_decoder(avatar)
    out = []
    for trial in range(trials):
        stream = AvatarStream(decoder, make(trial))
        stream.next_frame()
        started = time.perf_counter()
        stream.push_audio(speech_S[: STREAM_RATE // 2])
        while not stream.next_frame().speech:
            pass
        out.append((time.perf_counter() - started) * 1000)
    return float(np.median(out))


def _stages(net: NumpyNet, speech_S: Samples) -> Figures:
    """Milliseconds per second of speech, stage by stage."""
    motion = TimedMotion(net, 1)
    _speak(motion, speech_S)
    seconds = len(speech_S) / STREAM_RATE
    return {f"motion_stage_{stage}_ms_per_s": round(s * 1000 / seconds, 2) for stage, s in motion.watch.seconds.items()}


def _long(make: Callable[[int], Motion], net: WindowNet, speech_S: Samples, minutes: int) -> Figures:
    """A conversation of so many virtual minutes: what its end costs against its beginning, and what it keeps (the
    network, which sessions share, left out)."""
    visitor_S = soxr.resample(speech_S, STREAM_RATE, MIC_RATE)
    motion = make(3)
    talk(motion, speech_S, visitor_S, 1)  # buffers have their size, the processor its speed
    held = held_bytes(motion, without=[net, default_weights()])
    told = talk(motion, speech_S, visitor_S, minutes)
    few = max(1, minutes // 12)
    first, last = np.median(told.minute_s[:few]), np.median(told.minute_s[-few:])
    figures: Figures = {
        "motion_long_minutes": minutes,
        "motion_long_cpu_s_first_minute": round(float(first), 3),
        "motion_long_cpu_s_last_minute": round(float(last), 3),
        "motion_long_last_to_first": round(float(last / first), 3),
        "motion_session_kb": round(held / 1e3, 1),
        "motion_session_growth_kb": round((held_bytes(motion, without=[net, default_weights()]) - held) / 1e3, 1),
    }
    for state in State:
        figures[f"motion_{state.value}_rtf"] = round(told.real_time_factor(state), 4)
    if told.memory_bytes:
        figures["motion_long_memory_growth_mb"] = round((told.memory_bytes[-1] - told.memory_bytes[0]) / 1e6, 2)
    return figures


def _batched(weights: MotionWeights, steps: int, quick: bool) -> Figures:
    """Windows and hearing of many sessions in torch on the CPU, one thread: for reference."""
    from avatar.motion.diffusion.batch_bench import measure

    figures: Figures = {}
    for row in measure(weights, "cpu", (1, 16) if quick else (1, 16, 64), steps=steps, repeats=3 if quick else 10):
        figures[f"motion_batch_cpu_ms_{row['slots']}"] = round(row["chunk_ms"], 2)
    return figures


def _on_gpu(quick: bool, speech_S: Samples, console: Console) -> Figures:
    """Rows of `small` and `base` on a GPU, where torch has one."""
    import torch

    if not torch.cuda.is_available():
        console.print("  on a GPU: not measured. There is no CUDA device that torch can use.")
        return {}
    from avatar.motion.diffusion.batch_bench import measure, table, untrained

    figures: Figures = {"motion_gpu_card": torch.cuda.get_device_name()}
    for size in ("small", "base"):
        for precision in ("float32", "tf32"):
            rows = measure(untrained(size), "cuda", tf32=precision == "tf32", repeats=20 if quick else 100)
            console.print(f"  {size}, {precision} (untrained weights, which take the same time)\n{table(rows)}")
            for row in rows:
                figures[f"motion_gpu_{size}_{precision}_ms_{row['slots']}"] = round(row["chunk_ms"], 3)
                figures[f"motion_gpu_{size}_{precision}_window_ms_{row['slots']}"] = round(row["window_ms"], 3)
        first_ms = batched_first_ms(untrained(size), "cuda", speech_S, 7 if quick else 30)
        figures[f"motion_gpu_{size}_first_frame_ms"] = round(float(np.median(first_ms)), 2)
    return figures


def batched_first_ms(weights: MotionWeights, device: str, speech_S: Samples, trials: int) -> list[float]:
    """From the first chunk of speech to its first frame of motion, both networks on the device, one session."""
    from avatar.motion.diffusion.features import SpeechFeatures
    from avatar.motion.diffusion.shared import SharedMotion

    shared = SharedMotion(weights, 1, device=device)
    shared.warm_up()
    place = shared.join()
    return _first_motion_ms(
        lambda seed: DiffusionMotion(place.net, seed, features=SpeechFeatures(place.visemes)), speech_S, trials
    )[0]


def _speech(settings: Settings, seconds: int) -> Samples:
    """Real speech of the embedded voice, int16 at 24 kHz."""
    import asyncio

    from agent.speech.select import choose_voice

    async def synthesize() -> list[Samples]:
        voice = choose_voice(settings.speech)
        try:
            text = "The museum is open from Tuesday to Sunday. On Thursdays we stay open until nine in the evening."
            return [chunk.pcm_S async for chunk in voice.synthesize(text)]
        finally:
            await voice.aclose()

    one_S = np.concatenate(asyncio.run(synthesize()))
    return np.resize(one_S, seconds * STREAM_RATE)
