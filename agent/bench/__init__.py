"""`visavis bench`: what this machine can do. The names in the JSON are kept for good; null means not measured here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rich.console import Console

from config import Settings

Figures = dict[str, float | int | str | None]

PARTS: Final = ("decoder", "motion", "loop")

NAMES: Final = (
    "decoder_cpu_ms_per_frame_512",
    "decoder_cpu_fps_512_2cores",
    "decoder_gpu_frames_per_s_512",
    "motion_cpu_rtf",
    "motion_first_frame_ms",
    "first_chunk_to_first_frame_ms",
    "turn_latency_ms_p50",
    "turn_latency_ms_p95",
    "av_offset_ms_p95",
    "loop_fps",
    "loop_late_frames_share",
)
"""Every report has these keys, whatever was measured."""


def run_bench(settings: Settings, what: str, *, quick: bool, console: Console) -> Figures:
    """Run the parts that `what` names and return a flat report. Further figures follow the kept names."""
    from agent.bench.decoder import bench_decoder
    from agent.bench.loop import bench_loop
    from agent.bench.motion import bench_motion

    parts: dict[str, Callable[[Settings, bool, Console], Figures]] = {
        "decoder": bench_decoder,
        "motion": bench_motion,
        "loop": bench_loop,
    }
    figures: Figures = dict.fromkeys(NAMES)
    for name, part in parts.items():
        if what in (name, "all"):
            console.print(f"measuring: {name}")
            figures |= part(settings, quick, console)
    return figures
