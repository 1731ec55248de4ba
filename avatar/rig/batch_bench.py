"""How long the batched rig takes to deform B faces; for `visavis bench decoder`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor

from avatar.motion import space
from avatar.rig.batch import DeformedBatch, RigBatch
from avatar.rig.batch_slots import slot_row
from avatar.rig.types import FittedRig

BATCHES: Final = (1, 8, 64)
_WARM_UP: Final = 5


@torch.inference_mode()
def measure_deform(
    rig: FittedRig, batches: Sequence[int] = BATCHES, device: torch.device | str = "cpu", *, repeats: int = 30
) -> dict[str, float]:
    """Median milliseconds of one `RigBatch.deform` per batch size: {"deform_b8_ms": ...}.

    On CUDA a captured graph is replayed, as the decoder does it, and the device's own clock is read.
    """
    row = slot_row(rig)
    random = np.random.default_rng(0)
    figures = {}
    for count in batches:
        batch = RigBatch.build([row], device, slots=count)
        motion = random.uniform(space.LOW_D, space.HIGH_D, (count, space.DIM)) * (random.random(space.DIM) < 0.3)
        motion_BD = torch.from_numpy(motion.astype(np.float32)).to(batch.device)
        figures[f"deform_b{count}_ms"] = _median_ms(partial(batch.deform, motion_BD), batch.device, repeats)
    return figures


def _median_ms(frame: Callable[[], DeformedBatch], device: torch.device, repeats: int) -> float:
    if device.type == "cuda":
        return _cuda_median_ms(frame, repeats)
    for _ in range(_WARM_UP):
        frame()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        frame()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def _cuda_median_ms(frame: Callable[[], DeformedBatch], repeats: int) -> float:
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what capturing asks for: handles and workspaces made before, on another stream
        for _ in range(_WARM_UP):
            frame()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    held: list[Tensor] = []
    with torch.cuda.graph(graph):
        held.append(frame().skin_BV3)
    graph.replay()
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]  # type: ignore[no-untyped-call]
    for start, end in marks:
        start.record()
        graph.replay()
        end.record()
    torch.cuda.synchronize()
    return float(np.median([start.elapsed_time(end) for start, end in marks]))
