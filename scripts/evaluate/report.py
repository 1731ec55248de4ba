"""What was measured, as Markdown and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

LABELS: Final[dict[str, tuple[str, int]]] = {
    "clips": ("clips", 0),
    "seconds": ("seconds", 0),
    "opening_r": ("opening r", 3),
    "opening_r_median": ("r, median clip", 3),
    "channel_r": ("r of channels", 3),
    "opening_shift_drop": ("fall at ±2 frames", 3),
    "opening_std_ratio": ("opening std / real", 2),
    "lag_real_frames": ("lag, frames", 2),
    "lip_error_mm": ("lip error, mm", 2),
    "lip_error_own_rest_mm": ("own rest, mm", 2),
    "lip_error_pct_width": ("% of mouth width", 1),
    "opening_error_mm": ("opening error, mm", 2),
    "width_error_mm": ("width error, mm", 2),
    "phones_r": ("r with phones", 3),
    "phones_r_at_lag": ("r at that lag", 3),
    "phones_shift_drop": ("fall at ±2 frames", 3),
    "lag_phones_frames": ("lag to phones", 2),
    "bilabials": ("bilabials", 0),
    "hit_pct": ("closed, %", 1),
    "false_pct": ("false closures, %", 1),
    "false_event_pct": ("closings without cause, %", 1),
    "hit_shift_drop_pct": ("fall at ±2 frames, points", 1),
    "lag_loudness_frames": ("lag to loudness", 2),
    "opening_std_mm": ("opening std, mm", 2),
    "opening_jerk_mm": ("opening jerk, mm/frame³", 2),
    "silence_opening_mm": ("open in silence, mm", 2),
    "silence_motion_mm": ("motion in silence, mm/frame", 3),
    "head_std_deg": ("head std, deg", 2),
    "pose_change_deg": ("pose change, deg/frame", 3),
    "head_jerk_deg": ("head jerk, deg/frame³", 3),
    "blink_per_min": ("blinks/min", 1),
    "blink_ms": ("blink, ms", 0),
    "brow_std": ("brow std", 3),
    "opening_ratio": ("opening std, ratio", 2),
    "jerk_ratio": ("jerk, ratio", 2),
    "largest_step_ratio": ("largest step, ratio", 2),
    "gaze_error_deg": ("gaze azimuth error, deg", 2),
    "gaze_up_error_deg": ("elevation error, deg", 2),
    "gaze_10_deg": ("asked -10 deg", 2),
    "distance_error": ("distance error", 3),
    "head_std_gain": ("head std gain", 1),
    "brow_std_gain": ("brow std gain", 1),
    "emotion_linearity": ("emotion linearity", 3),
    "emotion_offset": ("emotion offset", 2),
    "emotions_told_apart_pct": ("emotions told apart, %", 0),
    "frames_to_closed": ("frames to closed, most", 0),
    "frames_to_closed_median": ("median", 0),
    "bend_ratio": ("bend of the lips, ratio", 2),
    "head_bend_ratio": ("bend of the head, ratio", 2),
    "frames_to_closed_at_end": ("frames to closed at the end", 0),
    "opening_after_mm": ("open afterwards, mm", 2),
    "repeated": ("repeated", 6),
    "another seed": ("another seed", 2),
    "boundaries": ("boundaries", 0),
}
"""Name of a figure -> heading and decimals."""

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "Against tracked motion": (
        "clips", "opening_r", "opening_r_median", "channel_r", "opening_shift_drop", "opening_std_ratio",
        "lag_real_frames", "lip_error_mm", "lip_error_own_rest_mm", "lip_error_pct_width", "opening_error_mm",
        "width_error_mm",
    ),
    "Against phone times": (
        "clips", "bilabials", "hit_pct", "hit_shift_drop_pct", "false_pct", "false_event_pct", "phones_r",
        "phones_shift_drop", "lag_phones_frames",
    ),
    "Life": (
        "clips", "head_std_deg", "pose_change_deg", "head_jerk_deg", "blink_per_min", "blink_ms", "brow_std",
        "opening_std_mm", "opening_jerk_mm", "lag_loudness_frames", "silence_opening_mm", "silence_motion_mm",
    ),
}  # fmt: skip


NOTES: Final[dict[str, str]] = {
    "Against tracked motion": (
        "Opening: largest distance of the lips of the default presenter deformed by the motion, mm (63 mm between the "
        "pupils). r: Pearson over all frames, each clip's mean removed. Lag: peak of the cross-correlation, positive "
        "when late. Lip error: mean distance of 80 lip vertices; 'own rest': each clip's mean lips removed. "
        "`mismatched` shows another clip's tracked motion: chance."
    ),
    "Against phone times": (
        "Closed: lips less than 0.7 mm apart (one pixel at 512 px) in the frame at the middle of P, B or M of 30 ms or "
        "more (within 20 ms of it where an aligner gave the times). False closure: closed in the middle of another "
        "phone of 60 ms or more that is a frame or more from any P, B, M, F, V or silence. Closing without cause: a "
        "run of closed frames in mid-speech within a frame of no P, B or M. r and lag against motion v1 by phones."
    ),
    "Life": (
        "Standard deviations are inside clips, pooled. Head: yaw, pitch, roll together. Blink: lid closure 0.5 above "
        "the clip's median; duration above half of its height. Brow: raising less lowering channels. Silence: 160 ms "
        "or more from any sound."
    ),
    "Seams": (
        "Second differences (each channel over its own rms) at the frames on both sides of a window's boundary against "
        "all others inside speech: ratio of medians, Cliff's delta (0: no difference, below 0.147: negligible), "
        "Mann-Whitney p. Sources without windows are tested on the same grid as a check."
    ),
    "Controls": (
        "Asked against measured while speaking and listening in turns. Errors: the worst of the curve. Gain: std at "
        "liveliness 1 over std at 0. Linearity: smallest r of offset with intensity over the emotions; offset: "
        "smallest change of the mean face at full intensity. Told apart: nearest centroid over 3 s, 7 classes, unseen "
        "seeds (chance 14 %)."
    ),
    "Conduct": (
        "Cleared where the mouth is widest: frames until the lips meet; largest second difference around the clear "
        "over the 99th percentile of speech. Largest change of any number by repetition and by chunk size."
    ),
    "Robust": (
        "No phone times are given. Against motion v1 by phone times of the same speech; ratios are over its opening "
        "std, jerk and largest step. Phones of other languages are the nearest English ones by looks."
    ),
    "Steps": "Difference of each figure, in percent of the second.",
}


@dataclass
class Table:
    """rows: name -> figures; columns in order; note: how it was measured."""

    title: str
    rows: dict[str, dict[str, float]]
    columns: Sequence[str]
    note: str = ""
    first: str = "system"


@dataclass(frozen=True)
class Goal:
    """One goal of the project: whether `value` reaches it. margin: text of the bound."""

    name: str
    system: str
    value: float
    bound: str
    met: bool


@dataclass
class Report:
    """Everything measured. meta: what was run; plots: file names with captions; intro: lines before the tables."""

    meta: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    plots: dict[str, str] = field(default_factory=dict)
    intro: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """Numbers rounded to six digits; what could not be measured is null."""
        body = {
            "meta": self.meta,
            "goals": [vars(goal) for goal in self.goals],
            "tables": {t.title: {"note": t.note, "rows": t.rows} for t in self.tables},
        }
        return json.dumps(_clean(body), indent=1, ensure_ascii=False) + "\n"

    def as_markdown(self, heading: str = "# Motion: measured") -> str:
        """The same for reading."""
        lines = [heading, "", *self.intro, ""] if self.intro else [heading, ""]
        if self.goals:
            lines += ["## Goals", "", *goal_table(self.goals), ""]
        for table in self.tables:
            lines += [f"## {table.title}", ""]
            lines += [table.note, ""] if table.note else []
            lines += [*markdown_table(table), ""]
        for name, caption in self.plots.items():
            lines += [f"![{caption}]({name})", "", f"*{caption}*", ""]
        return "\n".join(lines).rstrip() + "\n"

    def write_docs(self, folder: Path) -> None:
        """evaluation.md, with its plots in images/."""
        plots = {f"images/{name}": caption for name, caption in self.plots.items()}
        text = Report(self.meta, self.tables, self.goals, plots, self.intro).as_markdown("# Motion, measured")
        (folder / "evaluation.md").write_text(text)

    def write(self, folder: Path) -> None:
        """report.json and report.md."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(self.as_json())
        (folder / "report.md").write_text(self.as_markdown())


def goal_table(goals: Sequence[Goal]) -> list[str]:
    """Lines: goals down, systems across; what is not met is in bold with the word no."""
    systems = list(dict.fromkeys(goal.system for goal in goals))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for goal in goals:
        value = number(goal.value, 3)
        rows.setdefault((goal.name, goal.bound), {})[goal.system] = f"{value} yes" if goal.met else f"**{value} no**"
    lines = ["| goal | bound | " + " | ".join(systems) + " |", "|---" * (len(systems) + 2) + "|"]
    for (name, bound), row in rows.items():
        lines.append(f"| {name} | {bound} | " + " | ".join(row.get(system, "") for system in systems) + " |")
    return lines


def markdown_table(table: Table) -> list[str]:
    """Lines; columns that no row has are left out."""
    columns = [c for c in table.columns if any(c in row for row in table.rows.values())]
    heads = [LABELS.get(c, (c, 3))[0] for c in columns]
    lines = [f"| {table.first} | " + " | ".join(heads) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in table.rows.items():
        cells = [number(row[c], LABELS.get(c, (c, 3))[1]) if c in row else "" for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def number(value: float, decimals: int) -> str:
    """Fixed decimals; a dash for what could not be measured."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{decimals}f}"


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    number_ = float(value)
    return round(number_, 6) if math.isfinite(number_) else None
