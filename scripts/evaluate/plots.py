"""Pictures of what was measured. Nothing here shows a person: numbers and curves only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from avatar.clock import FPS
from scripts.evaluate.goals import Results
from scripts.evaluate.metrics.closures import BILABIAL, CLOSED_MM
from scripts.evaluate.metrics.sync import correlation_at
from scripts.evaluate.play import Shown
from scripts.evaluate.score import spoken_phones
from scripts.evaluate.systems import REAL

_COLOURS = {REAL: "0.15", "articulation-phones": "tab:green", "articulation-audio": "tab:olive"}


def openings(shown: Mapping[str, Sequence[Shown]], path: Path, clips: int = 3) -> None:
    """Mouth opening of a few clips, every system over the tracked motion; bilabials shaded where phones are known."""
    first = next(iter(shown.values()))
    picked = np.unique(np.linspace(0, len(first) - 1, clips).round().astype(int))
    figure, axes = plt.subplots(len(picked), 1, figsize=(13, 2.6 * len(picked)), squeeze=False)
    for axis, number in zip(axes[:, 0], picked, strict=True):
        clip = first[number].clip
        for item in spoken_phones(clip):
            if item.phone in BILABIAL:
                axis.axvspan(item.start_s, item.end_s, color="tab:blue", alpha=0.18, linewidth=0)
        for name, group in shown.items():
            gap_T = group[number].lips.gap_T
            at_T = (np.arange(len(gap_T)) + 0.5) / FPS
            width = 2.2 if name == REAL else 1.2
            axis.plot(at_T, gap_T, label=name, color=_COLOURS.get(name), linewidth=width)
        axis.axhline(CLOSED_MM, color="0.7", linewidth=0.8, linestyle=":")
        axis.set_title(f"{clip.source} {clip.name}", fontsize=9, loc="left")
        axis.set_xlim(0, min(8.0, len(gap_T) / FPS))
        axis.set_ylabel("opening, mm")
    axes[0, 0].legend(fontsize=8, ncols=4, loc="upper right")
    axes[-1, 0].set_xlabel("s (bilabials shaded)")
    _save(figure, path)


def lags(shown: Mapping[str, Sequence[Shown]], path: Path, reach: int = 6) -> None:
    """Correlation with the tracked opening at every shift: the frame-shift test as a picture."""
    figure, axis = plt.subplots(figsize=(7, 4))
    shifts = range(-reach, reach + 1)
    real = [s.lips.gap_T for s in shown[REAL]]
    for name, group in shown.items():
        if name != REAL:
            ours = [s.lips.gap_T for s in group]
            axis.plot(shifts, [correlation_at(ours, real, s) for s in shifts], ".-", label=name)
    axis.axvline(0, color="0.8", linewidth=0.8)
    axis.set_xlabel("frames by which the motion is late")
    axis.set_ylabel("r with the tracked opening")
    axis.legend(fontsize=8)
    _save(figure, path)


def responses(results: Results, path: Path) -> None:
    """Asked against measured, every control, every system."""
    names = list(next(iter(results.curves.values())))
    columns = 4
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4 * columns, 2.9 * rows), squeeze=False)
    for axis, name in zip(axes.ravel(), names, strict=False):
        for system, curves in results.curves.items():
            asked, measured = np.array(curves[name]).T
            axis.plot(asked, measured, ".-", label=system)
        if name.startswith(("gaze", "distance")):
            axis.plot(asked, asked, color="0.8", linewidth=0.8, zorder=0)
        else:
            axis.set_ylim(bottom=0)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("asked", fontsize=8)
    for axis in axes.ravel()[len(names) :]:
        axis.set_visible(False)
    axes[0, 0].legend(fontsize=7)
    _save(figure, path)


def robust(results: Results, path: Path) -> None:
    """r with motion by phones, and closed bilabials, in every condition."""
    conditions = list(next(iter(results.robust.values())))
    at = np.arange(len(conditions))
    figure, axes = plt.subplots(1, 2, figsize=(13, 0.36 * len(conditions) + 1.2), sharey=True)
    height = 0.8 / len(results.robust)
    for i, (system, rows) in enumerate(results.robust.items()):
        for axis, figure_name in zip(axes, ("phones_r", "hit_pct"), strict=True):
            values = [rows[c].get(figure_name, np.nan) for c in conditions]
            axis.barh(at + (i - (len(results.robust) - 1) / 2) * height, values, height, label=system)
    axes[0].set_yticks(at, conditions, fontsize=8)
    axes[0].invert_yaxis()
    axes[0].set_xlabel("r of the opening with motion by phones")
    axes[1].set_xlabel("bilabials closed, %")
    axes[0].legend(fontsize=8, loc="lower left")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
