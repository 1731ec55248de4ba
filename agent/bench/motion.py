"""Motion: real-time factor on one core, and how soon the first frame follows the first audio."""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console

from config import Settings


def bench_motion(settings: Settings, quick: bool, console: Console) -> dict[str, float | int | str | None]:
    """Figures of the motion stream, driven by sound alone (the viseme network), which is the dearer path."""
    import torch

    from avatar.clock import FRAME_SAMPLES, STREAM_RATE
    from avatar.decoders import open_decoder
    from avatar.motion.stream import MotionStream
    from avatar.motion.viseme_net import VisemeNet
    from avatar.stream import AvatarStream

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = 10 if quick else 30
        speech_S = _speech(settings, seconds)
        MotionStream(seed=1, viseme_net=VisemeNet()).push_audio(speech_S[:STREAM_RATE])  # warm-up

        motion = MotionStream(seed=settings.avatar.seed, viseme_net=VisemeNet())
        chunk = FRAME_SAMPLES * 5
        start = time.process_time()
        frames = 0
        for position in range(0, len(speech_S), chunk):
            motion.push_audio(speech_S[position : position + chunk])
            while motion.ready_frames() > 0:
                motion.next_motion()
                frames += 1
        motion.end_segment()
        while motion.ready_frames() > 0:
            motion.next_motion()
            frames += 1
        rtf = (time.process_time() - start) / (len(speech_S) / STREAM_RATE)

        decoder = open_decoder(settings.avatar)
        first_motion, first_frame = [], []
        for trial in range(5 if quick else 20):
            motion = MotionStream(seed=trial, viseme_net=VisemeNet())
            start = time.perf_counter()
            motion.push_audio(speech_S[: STREAM_RATE // 2])
            motion.next_motion()
            first_motion.append((time.perf_counter() - start) * 1000)
            stream = AvatarStream(decoder, MotionStream(seed=trial, viseme_net=VisemeNet()))
            stream.next_frame()
            start = time.perf_counter()
            stream.push_audio(speech_S[: STREAM_RATE // 2])
            while not stream.next_frame().speech:
                pass
            first_frame.append((time.perf_counter() - start) * 1000)
    finally:
        torch.set_num_threads(threads)
    return {
        "motion_cpu_rtf": round(rtf, 4),
        "motion_first_frame_ms": round(float(np.median(first_motion)), 2),
        "first_chunk_to_first_frame_ms": round(float(np.median(first_frame)), 2),
        "motion_frames": frames,
    }


def _speech(settings: Settings, seconds: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Real speech of the embedded voice, int16 at 24 kHz."""
    import asyncio

    from agent.speech.select import choose_voice
    from avatar.clock import STREAM_RATE

    async def synthesize() -> list[np.ndarray[tuple[int], np.dtype[np.int16]]]:
        voice = choose_voice(settings.speech)
        try:
            text = "The museum is open from Tuesday to Sunday. On Thursdays we stay open until nine in the evening."
            return [chunk.pcm_S async for chunk in voice.synthesize(text)]
        finally:
            await voice.aclose()

    one_S = np.concatenate(asyncio.run(synthesize()))
    return np.resize(one_S, seconds * STREAM_RATE)
