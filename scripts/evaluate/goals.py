"""The project's goals for motion, held against what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from scripts.evaluate.report import Goal
from scripts.evaluate.score import Scores
from scripts.evaluate.systems import REAL

HIT_PCT, FALSE_PCT, OPENING_R, LAG_FRAMES = 95.0, 5.0, 0.75, 1.0
LIFE_PCT, STEPS_PCT, GAZE_DEG, CLOSED_FRAMES = 20.0, 3.0, 1.5, 3.0
SEAM_DELTA = 0.147
"""Cliff's delta below which a difference is called negligible (Romano et al. 2006)."""
SAME = 1e-4

LIFE = ("head_std_deg", "pose_change_deg", "blink_per_min", "blink_ms", "brow_std")
COMPARED = (
    "opening_r", "channel_r", "lip_error_mm", "hit_pct", "phones_r", "head_std_deg", "pose_change_deg",
    "blink_per_min", "blink_ms", "brow_std", "opening_std_mm", "opening_jerk_mm",
)  # fmt: skip
"""What one step is compared with ten by."""


@dataclass
class Results:
    """Everything measured, by system (and source, or condition). main: source -> system -> figures."""

    main: dict[str, dict[str, Scores]] = field(default_factory=dict)
    seams: dict[str, dict[str, float]] = field(default_factory=dict)
    responses: dict[str, dict[str, float]] = field(default_factory=dict)
    curves: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)
    conduct: dict[str, dict[str, float]] = field(default_factory=dict)
    robust: dict[str, dict[str, Scores]] = field(default_factory=dict)


def goals_of(results: Results, system: str) -> list[Goal]:
    """Each goal that was measured for `system`."""
    out: list[Goal] = []

    def at_least(name: str, value: float, bound: float) -> None:
        out.append(Goal(name, system, value, f">= {bound:g}", value >= bound))

    def at_most(name: str, value: float, bound: float) -> None:
        out.append(Goal(name, system, value, f"<= {bound:g}", value <= bound))

    for source, rows in results.main.items():
        row, real = rows.get(system), rows.get(REAL)
        if row is None:
            continue
        if row.get("bilabials", 0) >= 10:
            at_least(f"bilabials closed, %, {source}", row["hit_pct"], HIT_PCT)
            at_most(f"false closures, %, {source}", row["false_pct"], FALSE_PCT)
        if source in {"grid", "facegood"} and "opening_r" in row:
            at_least(f"mouth-opening r, {source}", row["opening_r"], OPENING_R)
        if "lag_real_frames" in row and source in {"grid", "facegood"}:
            at_most(f"lag to real motion, frames, {source}", abs(row["lag_real_frames"]), LAG_FRAMES)
        elif "lag_phones_frames" in row:
            at_most(f"lag to the phones, frames, {source}", abs(row["lag_phones_frames"]), LAG_FRAMES)
        if source == "grid" and real is not None:
            for figure in LIFE:
                if figure in row and figure in real:
                    at_most(f"{_spoken(figure)}, % from real", abs(percent(row[figure], real[figure])), LIFE_PCT)
        for figure in ("opening_shift_drop", "phones_shift_drop", "hit_shift_drop_pct"):
            if figure in row and (figure != "hit_shift_drop_pct" or row.get("bilabials", 0) >= 10):
                value = row[figure]
                out.append(
                    Goal(f"{_spoken(figure)} when shifted by 2 frames, {source}", system, value, "> 0", value > 0)
                )
    seams = results.seams.get(system, {})
    for part in ("mouth", "head", "brows"):
        if f"{part} delta" in seams:
            at_most(f"seams, {part}: size of Cliff's delta", abs(seams[f"{part} delta"]), SEAM_DELTA)
    figures = results.responses.get(system, {})
    if figures:
        at_most("gaze asked 10 deg left: off by, deg", abs(figures["gaze_10_deg"] + 10.0), GAZE_DEG)
        at_most("gaze, worst of all angles: off by, deg", figures["gaze_error_deg"], GAZE_DEG)
    conduct = results.conduct.get(system, {})
    if conduct:
        at_most("interrupted: frames until the mouth is closed", conduct["frames_to_closed"], CLOSED_FRAMES)
        same = max(v for k, v in conduct.items() if k == "repeated" or k.startswith("chunks"))
        at_most("change by chunk size or repetition", same, SAME)
    return out


def step_goals(results: Results, few: str, many: str) -> tuple[list[Goal], dict[str, dict[str, float]]]:
    """One goal a source (the worst figure counts), and all differences in percent: source -> figure -> %."""
    goals, differences = [], {}
    for source, rows in results.main.items():
        if few not in rows or many not in rows:
            continue
        row = {
            figure: percent(rows[few][figure], rows[many][figure])
            for figure in COMPARED
            if figure in rows[few] and figure in rows[many]
        }
        differences[source] = row
        worst = max((abs(v) for v in row.values() if math.isfinite(v)), default=math.nan)
        goals.append(
            Goal(f"largest difference to {many}, %, {source}", few, worst, f"<= {STEPS_PCT:g}", worst <= STEPS_PCT)
        )
    return goals, differences


def percent(value: float, other: float) -> float:
    """How much `value` differs from `other`, in percent of `other`."""
    return 100.0 * (value - other) / abs(other) if other else math.nan


def _spoken(figure: str) -> str:
    names: Mapping[str, str] = {
        "head_std_deg": "head std",
        "pose_change_deg": "pose change",
        "blink_per_min": "blink rate",
        "blink_ms": "blink duration",
        "brow_std": "brow std",
        "opening_shift_drop": "fall of r with real motion",
        "phones_shift_drop": "fall of r with phones",
        "hit_shift_drop_pct": "fall of closed bilabials",
    }
    return names.get(figure, figure)
