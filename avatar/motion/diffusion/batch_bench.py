"""How long windows of many sessions take on a device, and what a window costs, counted without one.

    python -m avatar.motion.diffusion.batch_bench [cuda|cpu]     # prints a table, then the same as JSON

Counted: floating-point operations of matrix products and attention (torch's own counter), kernels and bytes moved
(every operator that is no view moves its inputs and outputs once). Timed: from a window on the host to motion on the
host. Untrained weights take the same time as trained ones.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from avatar.audio.features import HOP
from avatar.motion.controls import CONTROLS
from avatar.motion.diffusion.batch import MotionBatch, Window
from avatar.motion.diffusion.batch_features import VisemeBatch, VisemeStep
from avatar.motion.diffusion.graph import find_device
from avatar.motion.diffusion.layout import AHEAD, AUDIO, BLOCK, EAR, LOOK, PAST, SLOW_D
from avatar.motion.diffusion.net import SIZES, MotionNet, parameters_of
from avatar.motion.diffusion.weights import MotionWeights
from avatar.motion.space import DIM
from avatar.motion.viseme_net import default_weights
from avatar.render.batch.count import Counter

BATCHES: Final = (1, 16, 64)
CHUNK_S: Final = BLOCK / 25
"""Speech per window when streaming."""


def untrained(size: str, seed: int = 0, *, steps: int = 1) -> MotionWeights:
    """Random weights of a size of `SIZES`; none of them zero, so that every part of the network matters."""
    config = SIZES[size]
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, tensor in MotionNet(config).state_dict().items():
        spread = 0.6 / float(np.sqrt(tensor.shape[-1])) if tensor.ndim > 1 and "table" not in name else 0.2
        tensors[name] = (spread * torch.randn(tensor.shape, generator=random)).numpy()
    norms = {"norm.mean": DIM, "norm.scale": DIM, "norm.audio_mean": AUDIO, "norm.audio_scale": AUDIO}
    rng = np.random.default_rng(seed)
    for name, length in norms.items():
        low, high = (0.05, 0.3) if name == "norm.scale" else (0.5, 2.0) if "scale" in name else (-0.2, 0.2)
        tensors[name] = rng.uniform(low, high, length).astype(np.float32)
    tensors["norm.reach"] = np.where(SLOW_D, rng.uniform(0.05, 1.5, (AHEAD, DIM)), 1.0).astype(np.float32)
    return MotionWeights(tensors, config.width, config.layers, config.heads, steps, {"trained": "not at all"})


def random_window(rng: np.random.Generator, past: int = PAST, new: int = BLOCK) -> Window:
    """Numbers of the right shapes and sizes."""
    tokens, count = past + new + LOOK, new + LOOK
    shapes = ((past, DIM), (tokens, AUDIO), (tokens, CONTROLS), (tokens, EAR), (count, DIM))
    return Window(*(rng.normal(0.0, s, shape).astype(np.float32) for s, shape in zip((0.2, 1, 0.5, 0.5, 1), shapes)))  # noqa: B905


def count_window(size: str, slots: int, steps: int = 1) -> dict[str, float]:
    """Cost of one forward for all slots: gflop, kernels, megabytes (10^6, parameters included), parameters."""
    batch = MotionBatch(untrained(size, steps=steps), slots, device="cpu")
    cost = _count(batch.step)
    return {**cost, "parameters": parameters_of(batch.net)}


def count_visemes(slots: int, frames: int = 20) -> dict[str, float]:
    """Cost of one call of the viseme network for all slots (`frames` mel frames each), as `count_window`."""
    return _count(VisemeStep(slots, frames, default_weights(), torch.device("cpu")).step)


@torch.inference_mode()
def _count(step: Callable[[], None]) -> dict[str, float]:
    with FlopCounterMode(display=False) as flops:
        step()
    counter = Counter()
    with counter:
        step()
    counter.end("all")
    cost = counter.stages["all"]
    return {"gflop": flops.get_total_flops() / 1e9, "kernels": cost.kernels, "megabytes": cost.bytes / 1e6}


def measure(
    weights: MotionWeights,
    device: str = "cuda",
    batches: Sequence[int] = BATCHES,
    *,
    steps: int | None = None,
    tf32: bool = False,
    repeats: int = 20,
) -> list[dict[str, Any]]:
    """Times per number of slots; ValueError when the device is not there.

    Each row: slots; visemes_ms, window_ms and chunk_ms (both), the median for a chunk of CHUNK_S of every slot;
    window_p95_ms; first_ms (graphs captured, libraries set up); peak_bytes of the device, None on the CPU.
    """
    rng = np.random.default_rng(0)
    on_card = find_device(device).type == "cuda"
    rows: list[dict[str, Any]] = []
    for slots in batches:
        if on_card:
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        motion = MotionBatch(weights, slots, device=device, steps=steps, tf32=tf32)
        visemes = VisemeBatch(slots, device=device)
        motion.sample({})
        visemes.warm_up()
        first_ms = (time.perf_counter() - started) * 1e3
        windows = {slot: random_window(rng) for slot in range(slots)}
        window_ms, viseme_ms = [], []
        for _ in range(repeats):
            window_ms.append(_ms(lambda: motion.sample(windows)))  # noqa: B023
            chunk = {slot: rng.normal(0, 3000, 20 * HOP).astype(np.int16) for slot in range(slots)}
            viseme_ms.append(_ms(lambda: visemes.prefetch(chunk)))  # noqa: B023
            for slot, pcm_S in chunk.items():
                visemes.net(slot).push(pcm_S)
        rows.append(
            {
                "slots": slots,
                "visemes_ms": float(np.median(viseme_ms)),
                "window_ms": float(np.median(window_ms)),
                "chunk_ms": float(np.median(np.add(viseme_ms, window_ms))),
                "window_p95_ms": float(np.percentile(window_ms, 95)),
                "first_ms": first_ms,
                "peak_bytes": torch.cuda.max_memory_allocated() if on_card else None,
            }
        )
    return rows


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of `measure` in lines of text."""
    lines = ["slots  visemes  window  together (ms per 200 ms of every slot)"]
    lines += [f"{r['slots']:5d} {r['visemes_ms']:8.2f} {r['window_ms']:7.2f} {r['chunk_ms']:9.2f}" for r in rows]
    return "\n".join(lines)


def main() -> None:
    """Count, and time `small` and `base` with untrained weights."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    find_device(device)
    found: dict[str, Any] = {"device": device, "card": torch.cuda.get_device_name() if device == "cuda" else "cpu"}
    for size in ("small", "base"):
        rows = measure(untrained(size), device, repeats=100 if device == "cuda" else 3)
        found[size] = {"counted": {n: count_window(size, n) for n in BATCHES}, "rows": rows}
        sys.stdout.write(f"{size} (untrained weights) on {found['card']}\n{table(found[size]['rows'])}\n")
        if device == "cuda":
            found[size]["rows_tf32"] = measure(untrained(size), device, tf32=True, repeats=100)
            sys.stdout.write(f"with tf32\n{table(found[size]['rows_tf32'])}\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
