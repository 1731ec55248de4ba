"""What is left of the machine for drawing while a whole conversation runs on it.

A conversation with the real kiosk server (bench/loop.py) draws its 25 frames a second; beside it a process of low
priority draws as many more as it can. Their sum is what the decoder gives while the loop runs.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from agent.bench.decoder import SIZE, cpu_decoder, speaking_motion
from agent.bench.loop import converse, timing
from agent.errors import Unavailable
from config import Settings

TURNS = 4
NICENESS = 10
STEP = 10
"""Frames between two looks at the clock."""
READY_S = 120.0


def bench_spare(settings: Settings, quick: bool, console: Console) -> dict[str, float | int | str | None]:
    """Frames per second at 512x512 while the loop runs, and how the loop itself fared meanwhile.

    Both draw 512 px squares on the CPU. Raises Unavailable when the conversation cannot be held.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    avatar = settings.avatar.model_copy(
        update={"size": SIZE, "framing": "square", "background": "photo", "device": "cpu"}
    )
    settings = settings.model_copy(update={"avatar": avatar})
    extra = context.Process(target=_draw, args=(avatar.model_dump_json(), theirs), daemon=True)
    extra.start()
    theirs.close()  # so that its end is noticed here
    try:
        if not ours.poll(READY_S):
            raise Unavailable(f"The second decoder was not ready within {READY_S:.0f} s.")
        ours.recv()
        arrivals, _ = asyncio.run(converse(settings, 2 if quick else TURNS, console))
        ours.send(None)
        drawn_at_F = ours.recv()
    except (EOFError, BrokenPipeError):
        raise Unavailable("The second decoder ended; what it wrote above says why.") from None
    finally:
        extra.kill()
        extra.join()
    loop = timing(arrivals)
    if not loop:
        raise Unavailable("The conversation gave no pictures.")
    start, end = arrivals.video[0][0], arrivals.video[-1][0]
    beside = float(np.count_nonzero((drawn_at_F >= start) & (drawn_at_F <= end))) * STEP / (end - start)
    own = float(loop["loop_fps"] or 0.0)
    return {
        "decoder_cpu_fps_512_while_loop_runs": round(own + beside, 1),
        "decoder_cpu_fps_512_beside_loop": round(beside, 1),
        "loop_fps_while_drawing_beside": loop["loop_fps"],
        "loop_late_frames_share_while_drawing_beside": loop["loop_late_frames_share"],
    }


def _draw(avatar_json: str, pipe: Connection) -> None:
    """Draw a talking face until told to stop; sends the times (monotonic clock of the machine) of every STEP frames."""
    os.nice(NICENESS)
    import cv2

    cv2.setNumThreads(1)
    from config.settings import AvatarSettings

    settings = AvatarSettings.model_validate_json(avatar_json)
    _, decoder = cpu_decoder(settings)
    motion_TD = speaking_motion(250)
    image: NDArray[np.uint8] = np.empty(decoder.format.shape, np.uint8)
    pipe.send(None)
    times: list[float] = []
    frame = 0
    while not pipe.poll():
        for _ in range(STEP):
            decoder.render(motion_TD[frame % len(motion_TD)], out=image)
            frame += 1
        times.append(time.monotonic())
    pipe.recv()
    pipe.send(np.array(times))
