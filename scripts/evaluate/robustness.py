"""Motion by ear in many voices, languages and rooms, against motion by phone times of the same speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.evaluate import score
from scripts.evaluate.metrics import life
from scripts.evaluate.play import Player, Shown
from scripts.evaluate.probes import CONDITIONS, Condition, probe
from scripts.evaluate.systems import System, articulation

COLUMNS = (
    "phones_r", "phones_shift_drop", "lag_phones_frames", "opening_ratio", "hit_pct", "false_pct", "jerk_ratio",
    "largest_step_ratio", "silence_opening_mm", "silence_motion_mm", "pose_change_deg",
)  # fmt: skip


def robustness(
    systems: Sequence[System], player: Player, conditions: Sequence[Condition] = CONDITIONS, sentences: int = 4
) -> dict[str, dict[str, score.Scores]]:
    """System -> condition -> figures.

    opening_ratio: its opening's standard deviation over that of motion v1 by phone times; jerk_ratio and
    largest_step_ratio (largest change of the opening in one frame): the same for smoothness.
    """
    clips = {condition.name: probe(condition, sentences) for condition in conditions}
    reference = {name: player.show(articulation(phones=True), group) for name, group in clips.items()}
    return {
        system.name: {name: _row(player.show(system, group), reference[name]) for name, group in clips.items()}
        for system in systems
    }


def _row(shown: Sequence[Shown], reference: Sequence[Shown]) -> score.Scores:
    ours, theirs = [s.lips.gap_T for s in shown], [s.lips.gap_T for s in reference]
    step, usual = (max(float(np.abs(np.diff(c)).max()) for c in curves) for curves in (ours, theirs))
    return score.scores(shown, None, reference) | {
        "opening_ratio": life.pooled_std(ours) / life.pooled_std(theirs),
        "jerk_ratio": life.jerk(ours) / life.jerk(theirs),
        "largest_step_ratio": step / usual,
    }
