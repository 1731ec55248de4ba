"""How fast the batched decoder is on a device, and how near that is to what its memory could do.

    python -m avatar.render.batch.bench [cuda|cpu]      # prints a table, then the same as JSON

Frames per second count everything from motions on the device to uint8 pictures on the device. Stages are timed with
the frame run step by step (launching included), since a graph is one piece.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch

from avatar.identity import load_identity
from avatar.motion import space
from avatar.render.batch.count import count_frame
from avatar.render.batch.decoder import BatchDecoder, Prepared
from avatar.render.batch.frame import STAGES

BATCHES: Final = (1, 8, 64, 128)
SIZE: Final = 512
BANDWIDTH: Final = {"H200": 4.8e12, "H100": 3.35e12, "A100": 2.0e12, "L4": 0.3e12, "L40S": 0.864e12, "4090": 1.008e12}
"""Bytes per second of memory, as the makers state them, by a part of the card's name."""
_MOTIONS: Final = 16


def measure(
    device: str = "cuda",
    batches: Sequence[int] = BATCHES,
    size: int = SIZE,
    seconds: float = 3.0,
    *,
    identities: Sequence[Prepared] | None = None,
    compiled: bool = False,
) -> dict[str, Any]:
    """Measure; ValueError when the device is not there. identities: at least one, default the default presenter.

    Returns device, card, size, counted (per stage: kernels, bytes per frame of the largest batch), rows (per batch:
    frames_per_s, ms_per_batch, first_ms with capture, bytes_per_s, of_peak or None for an unknown card, peak_bytes,
    slot_bytes) and stages_ms (largest batch, step by step).
    """
    ready = list(identities or [Prepared(load_identity(), size=size)])
    card = torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else "cpu"
    peak = next((rate for name, rate in BANDWIDTH.items() if name in card), None)
    rows: list[dict[str, Any]] = []
    stages: dict[str, float] = {}
    counted: dict[str, dict[str, float]] = {}
    for count in batches:
        if device == "cuda" and torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        chosen = [ready[slot % len(ready)] for slot in range(count)]
        decoder = BatchDecoder(chosen, size=size, device=device, compiled=compiled)
        motions = _motions(count, decoder.device)
        started = time.perf_counter()
        decoder.render(motions[0])
        _wait(decoder.device)
        first = time.perf_counter() - started
        each = _seconds_per_batch(decoder, motions, seconds)
        costs = count_frame(decoder).stages
        moved = sum(cost.bytes for cost in costs.values())
        on_card = decoder.device.type == "cuda"
        rows.append(
            {
                "batch": count,
                "frames_per_s": count / each,
                "ms_per_batch": each * 1e3,
                "first_ms": first * 1e3,
                "bytes_per_s": moved / each,
                "of_peak": moved / each / peak if peak else None,
                "peak_bytes": torch.cuda.max_memory_allocated() if on_card else None,
                "slot_bytes": decoder.slots.slot_bytes + decoder.rig.slot_bytes,
            }
        )
        if count == max(batches):
            counted = {name: {"kernels": c.kernels, "bytes": c.bytes / count} for name, c in costs.items()}
            stages = _stage_ms(decoder, motions)
        del decoder
    return {"device": device, "card": card, "size": size, "counted": counted, "rows": rows, "stages_ms": stages}


def table(result: dict[str, Any]) -> str:
    """The result of `measure` in lines of text."""
    lines = [f"Batched decoder at {result['size']} px on {result['card']}"]
    for row in result["rows"]:
        share = "" if row["of_peak"] is None else f" ({row['of_peak']:.0%} of the card's)"
        lines.append(
            f"batch {row['batch']:4d}: {row['frames_per_s']:9.1f} frames/s {row['ms_per_batch']:9.3f} ms per batch,"
            f" {row['bytes_per_s'] / 1e12:6.3f} TB/s counted{share}"
        )
    lines.append("stage      kernels  MB/frame  ms per batch, step by step")
    for name, cost in result["counted"].items():
        ms = result["stages_ms"][name]
        lines.append(f"{name:10s} {cost['kernels']:7.0f} {cost['bytes'] / 1e6:9.1f} {ms:9.3f}")
    total = [sum(cost[key] for cost in result["counted"].values()) for key in ("kernels", "bytes")]
    lines.append(f"{'all':10s} {total[0]:7.0f} {total[1] / 1e6:9.1f} {sum(result['stages_ms'].values()):9.3f}")
    return "\n".join(lines)


def _motions(count: int, device: torch.device) -> list[torch.Tensor]:
    """Faces that speak, blink and turn, all different."""
    rng = np.random.default_rng(1)
    t = np.arange(_MOTIONS)[:, None] / _MOTIONS + rng.random(count)
    motion = np.zeros((_MOTIONS, count, space.DIM), np.float32)
    for name, least, most, rate in (
        ("jawOpen", 0.0, 0.5, 3),
        ("mouthFunnel", 0.0, 0.6, 2),
        ("mouthSmileLeft", 0.0, 0.5, 1),
        ("mouthSmileRight", 0.0, 0.5, 1),
        ("eyeBlinkLeft", 0.0, 1.0, 2),
        ("eyeBlinkRight", 0.0, 1.0, 2),
        ("headYaw", -0.2, 0.2, 1),
        ("headPitch", -0.1, 0.1, 2),
        ("gazeAzimuth", -0.2, 0.2, 1),
    ):
        motion[..., space.INDEX[name]] = least + (most - least) * (0.5 + 0.5 * np.sin(2 * np.pi * rate * t))
    return list(torch.from_numpy(motion).to(device))


def _seconds_per_batch(decoder: BatchDecoder, motions: list[torch.Tensor], seconds: float) -> float:
    """Mean over about `seconds`; batches follow each other without waiting, as a server's would."""
    for motion in motions[:2]:
        decoder.render(motion)
    _wait(decoder.device)
    done, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        for motion in motions[: 4 if decoder.device.type == "cuda" else 1]:
            decoder.render(motion)
            done += 1
        _wait(decoder.device)
    del spent
    return (time.perf_counter() - started) / done


def _stage_ms(decoder: BatchDecoder, motions: list[torch.Tensor], rounds: int = 4) -> dict[str, float]:
    """Median ms of each stage, step by step."""
    on_card = decoder.device.type == "cuda"
    mark = decoder.painter.mark
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for motion in (motions * rounds)[:rounds]:
        decoder.render(motion)
        marks: list[tuple[str, Any]] = []

        def stamp(stage: str, marks: list[tuple[str, Any]] = marks) -> None:
            if on_card:
                event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
                event.record()
                marks.append((stage, event))
            else:
                marks.append((stage, time.perf_counter()))

        decoder.painter.mark = stamp
        stamp("start")
        with torch.no_grad():
            decoder.step()
        decoder.painter.mark = mark
        _wait(decoder.device)
        for (_, before), (stage, after) in pairwise(marks):
            times[stage].append(before.elapsed_time(after) if on_card else (after - before) * 1e3)
    return {stage: float(np.median(values)) for stage, values in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    found = measure(sys.argv[1] if len(sys.argv) > 1 else "cuda")
    sys.stdout.write(table(found) + "\n" + json.dumps(found) + "\n")
