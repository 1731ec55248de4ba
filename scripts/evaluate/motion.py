"""Motion, measured: systems side by side on held-out clips.

python -m scripts.evaluate motion --clips FOLDER --out FOLDER [--weights NAME=FILE ...] [--limit 100]
python -m scripts.evaluate motion --quick --out FOLDER
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.evaluate import clips as corpus
from scripts.evaluate.play import Player, Shown, mismatched
from scripts.evaluate.report import GROUPS, Report, Table
from scripts.evaluate.score import Scores, scores
from scripts.evaluate.systems import MISMATCHED, REAL, System, articulation, recorded
from scripts.motion_clips import MotionClip


def run(clips: Sequence[MotionClip], systems: Sequence[System], player: Player) -> Report:
    """The main tables: every system on every source."""
    by_source: dict[str, list[MotionClip]] = {}
    for clip in clips:
        by_source.setdefault(clip.source, []).append(clip)
    rows: dict[str, dict[str, Scores]] = {}
    for source, group in by_source.items():
        rows[source] = source_scores(group, systems, player)
    report = Report({"clips": {s: len(g) for s, g in by_source.items()}, "systems": [s.name for s in systems]})
    for title, columns in GROUPS.items():
        for source, scored in rows.items():
            table = Table(f"{title}: {source}", scored, columns)
            if any(c in row for c in columns[1:] for row in scored.values()):
                report.tables.append(table)
    return report


def source_scores(clips: Sequence[MotionClip], systems: Sequence[System], player: Player) -> dict[str, Scores]:
    """Figures of every system on the clips of one source."""
    phoned = all(s.phones is not None for c in clips for s in c.segments)
    tracked = bool(clips[0].known_D.any())
    reference = player.show(articulation(phones=True), clips) if phoned else None
    real: list[Shown] | None = player.show(recorded(REAL), clips) if tracked else None
    out: dict[str, Scores] = {}
    for system in systems:
        if (system.phones and not phoned) or (system.name in (REAL, MISMATCHED) and not tracked):
            continue
        played = player.show(system, mismatched(clips) if system.name == MISMATCHED else clips)
        out[system.name] = scores(played, real if system.name != REAL else None, reference)
    return out


def default_systems() -> list[System]:
    """Motion v1 and the tracked motion."""
    return [recorded(REAL), recorded(MISMATCHED), articulation(phones=True), articulation(phones=False)]


def main(arguments: Sequence[str]) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.evaluate motion", description=__doc__)
    parser.add_argument("--clips", type=Path, help="folder of motion clips (scripts/motion_clips.py)")
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"))
    parser.add_argument("--cache", type=Path, help="what systems showed is kept here (default: OUT/cache)")
    parser.add_argument("--limit", type=int, default=100, help="clips of each source at most; 0 for all")
    parser.add_argument("--quick", action="store_true", help="a few made clips: does it run?")
    options = parser.parse_args(arguments)
    if not options.quick and options.clips is None:
        parser.error("give --clips FOLDER, or --quick")
    started = time.monotonic()
    clips = corpus.made_clips() if options.quick else corpus.held_out(options.clips, options.limit)
    report = run(clips, default_systems(), Player(options.cache or options.out / "cache"))
    report.meta["wall_s"] = round(time.monotonic() - started, 1)
    report.write(options.out)
    print(report.as_markdown())
    return 0
