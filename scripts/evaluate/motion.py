"""Motion, measured: systems side by side on held-out clips.

    python -m scripts.evaluate motion --clips FOLDER --out FOLDER [--weights NAME=FILE ...] [--steps 1,10]
    python -m scripts.evaluate motion --quick --out FOLDER

--weights adds rows: the network in FILE, at each of --steps, with phone times (NAME-STEPS) and by ear
(NAME-STEPS-audio). Results are cached below OUT/cache by the digest of code, weights and clips.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from scripts.evaluate import clips as corpus
from scripts.evaluate import conduct, goals, plots, report
from scripts.evaluate.play import Player, Shown, mismatched
from scripts.evaluate.probes import CONDITIONS, probe
from scripts.evaluate.report import GROUPS, Report, Table
from scripts.evaluate.responses import respond
from scripts.evaluate.robustness import COLUMNS, robustness
from scripts.evaluate.score import Scores, scores
from scripts.evaluate.seaming import seams
from scripts.evaluate.systems import BY_EAR, MISMATCHED, REAL, System, articulation, diffusion, recorded
from scripts.motion_clips import MotionClip

PARTS: Final = ("main", "seams", "responses", "conduct", "robust")
LIMITS: Final = {"grid": 90, "facegood": 12, "teacher": 16}
"""Most held-out clips taken of a source; others: OTHER_LIMIT."""
OTHER_LIMIT: Final = 12
TRACKED: Final = ("grid", "facegood")
"""Sources whose own motion is a person's; elsewhere the row `real` is the teacher's."""


@dataclass(frozen=True)
class Plan:
    """What to measure: clips, systems (main tables), focus (the systems that the other parts look at)."""

    clips: Sequence[MotionClip]
    systems: Sequence[System]
    focus: Sequence[System]
    parts: Sequence[str] = PARTS
    quick: bool = False


def measure(plan: Plan, player: Player) -> tuple[goals.Results, dict[str, dict[str, list[Shown]]]]:
    """All figures, and what was shown: source -> system -> clips."""
    results = goals.Results()
    shown: dict[str, dict[str, list[Shown]]] = {}
    for source, group in by_source(plan.clips).items():
        results.main[source], shown[source] = source_scores(group, plan.systems, player)
    if "seams" in plan.parts:
        for system in plan.systems:
            groups = [g[system.name] for g in shown.values() if system.name in g and system.name != MISMATCHED]
            found = seams([one for group in groups for one in group]) if groups else {}
            if found:
                results.seams[system.name] = found
    live = [s for s in plan.focus if s.name not in (REAL, MISMATCHED)]
    speech = corpus.made_clips(2) if plan.quick else probe(CONDITIONS[0])
    if "responses" in plan.parts:
        for system in live:
            seconds, windows = (0.5, 2) if plan.quick else (6.0, 8)
            answers = respond(system, speech[0], seconds=seconds, windows=windows)
            results.responses[system.name], results.curves[system.name] = answers.figures, answers.curves
    if "conduct" in plan.parts:
        for system in live:
            results.conduct[system.name] = (
                conduct.interruptions(system, speech, tries=2 if plan.quick else 8)
                | conduct.ends(system, speech)
                | conduct.sameness(system, speech[0])
            )
    if "robust" in plan.parts:
        heard = [s for s in live if not s.phones]
        results.robust = robustness(heard, player)
    return results, shown


def by_source(clips: Sequence[MotionClip]) -> dict[str, list[MotionClip]]:
    """Clips grouped by where they come from."""
    out: dict[str, list[MotionClip]] = {}
    for clip in clips:
        out.setdefault(clip.source, []).append(clip)
    return out


def source_scores(
    clips: Sequence[MotionClip], systems: Sequence[System], player: Player
) -> tuple[dict[str, Scores], dict[str, list[Shown]]]:
    """Figures of every system on the clips of one source, and what they showed."""
    phoned = all(s.phones is not None for c in clips for s in c.segments)
    tracked = bool(clips[0].known_D.any())
    reference = player.show(articulation(phones=True), clips) if phoned else None
    real: list[Shown] | None = player.show(recorded(REAL), clips) if tracked else None
    out: dict[str, Scores] = {}
    shown: dict[str, list[Shown]] = {}
    for system in systems:
        if (system.phones and not phoned) or (system.name in (REAL, MISMATCHED) and not tracked):
            continue
        shown[system.name] = player.show(system, mismatched(clips) if system.name == MISMATCHED else clips)
        out[system.name] = scores(shown[system.name], real if system.name != REAL else None, reference)
    return out, shown


def tables_of(results: goals.Results) -> list[Table]:
    """Every table of the report."""
    out = []
    for title, columns in GROUPS.items():
        for source, rows in results.main.items():
            rows = {name: row for name, row in rows.items() if any(c in row for c in columns[1:])}
            if rows:
                told = title if source in TRACKED else title.replace("tracked motion", "the teacher's motion")
                out.append(Table(f"{told}: {source}", rows, columns, report.NOTES[title]))
    for title, part in (("Seams", results.seams), ("Controls", results.responses), ("Conduct", results.conduct)):
        if part:
            columns = tuple(dict.fromkeys(c for row in part.values() for c in row))
            out.append(Table(title, part, columns, report.NOTES[title]))
    for name, rows in results.robust.items():
        out.append(Table(f"Voices, languages and noise: {name}", rows, COLUMNS, report.NOTES["Robust"], "speech"))
    return out


def pictures(
    results: goals.Results, shown: Mapping[str, Mapping[str, Sequence[Shown]]], folder: Path
) -> dict[str, str]:
    """Draw the plots; file name -> caption."""
    out = {}
    for source, groups in shown.items():
        curves = {name: group for name, group in groups.items() if name != MISMATCHED}
        if len(curves) > 1:
            plots.openings(curves, folder / f"opening_{source}.png")
            out[f"opening_{source}.png"] = f"Mouth opening, {source}"
        if REAL in curves and len(curves) > 1:
            plots.lags(dict(groups), folder / f"lag_{source}.png")
            out[f"lag_{source}.png"] = f"Correlation against shift, {source}"
    if results.curves:
        plots.responses(results, folder / "responses.png")
        out["responses.png"] = "Asked against measured"
    if results.robust:
        plots.robust(results, folder / "robust.png")
        out["robust.png"] = "Motion by ear in many voices, languages and rooms"
    return out


def report_of(results: goals.Results, plan: Plan) -> Report:
    """Tables, goals and step comparisons."""
    out = Report({"clips": {s: len(g) for s, g in by_source(plan.clips).items()}})
    out.meta["systems"] = {s.name: s.key.rsplit(":", 2)[-2:] for s in plan.systems}
    out.tables = tables_of(results)
    out.intro = introduction(plan)
    for system in plan.focus:
        if system.name not in (REAL, MISMATCHED):
            out.goals += goals.goals_of(results, system.name)
    names = [s.name for s in plan.systems]
    for name in names:
        stem, _, rest = name.partition("-1")
        many = f"{stem}-10{rest}"
        if name == f"{stem}-1{rest}" and many in names and rest in ("", BY_EAR):
            found, differences = goals.step_goals(results, name, many)
            out.goals += found
            out.tables.append(
                Table(f"{name} against {many}, %", differences, goals.COMPARED, report.NOTES["Steps"], "source")
            )
    return out


def introduction(plan: Plan) -> list[str]:
    """What was run, in words."""
    counts = ", ".join(f"{len(group)} of {source}" for source, group in by_source(plan.clips).items())
    minutes = sum(len(clip.motion_TD) for clip in plan.clips) / 25.0 / 60.0
    return [
        "Written by `python -m scripts.evaluate motion`; do not edit. Everything is played frame by frame through the "
        "stream that a live session uses, on clips that no training sees.",
        "",
        f"Clips: {counts} ({minutes:.1f} min). `grid` and `facegood` were tracked from people (one speaker each; "
        "GRID's phone times come from an aligner, its motion from 360 x 288 video), in the others `real` is the "
        "teacher: motion v1 with random styles. `articulation` is motion v1; `NAME-STEPS` a network with phone times, "
        "`NAME-STEPS-audio` the same by ear alone.",
    ]


def systems_of(weights: Sequence[str], steps: Sequence[int], guidance: Sequence[float]) -> list[System]:
    """Rows of the main tables. weights: NAME=FILE, or NAME for the shipped one; ValueError for what is neither.

    guidance: strengths for every one of them, 0 being none.
    """
    out = [recorded(REAL), recorded(MISMATCHED), articulation(phones=True), articulation(phones=False)]
    for item in weights:
        name, _, file = item.partition("=")
        path = Path(file) if file else None
        for count, strength in product(steps, guidance):
            out += [diffusion(name, path, count, phones=phones, guidance=strength) for phones in (True, False)]
    return out


def main(arguments: Sequence[str]) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.evaluate motion", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clips", type=Path, help="folder of motion clips (scripts/motion_clips.py)")
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"))
    parser.add_argument("--cache", type=Path, help="what systems showed is kept here (default: OUT/cache)")
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME=FILE", help="networks to measure")
    parser.add_argument("--steps", default="1", help="flow steps of each network, such as 1,2,4,10")
    parser.add_argument("--guidance", default="0", help="strengths of guidance at run time, such as 0,0.5,1")
    parser.add_argument("--sources", nargs="*", help="only these sources of clips")
    parser.add_argument("--limit", type=int, help="clips of each source at most (default: LIMITS in motion.py; 0: all)")
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure, of " + ",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a few made clips: does it run?")
    parser.add_argument("--docs", type=Path, help="also write the report and its plots there, such as docs/motion")
    options = parser.parse_args(arguments)
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown parts {', '.join(sorted(unknown))}: use {', '.join(PARTS)}")
    if not options.quick and options.clips is None:
        parser.error("give --clips FOLDER, or --quick")
    started = time.monotonic()
    strengths = [float(s) for s in options.guidance.split(",")]
    systems = systems_of(options.weights, [int(s) for s in options.steps.split(",")], strengths)
    if options.quick:
        clips, parts = corpus.made_clips(3), [p for p in parts if p != "robust"]
    else:
        clips = corpus.held_out(options.clips, LIMITS, OTHER_LIMIT, options.sources, options.limit)
    least = options.steps.split(",")[0]
    focus = [s for s in systems if s.block == 0 or s.name.removesuffix(BY_EAR).endswith(f"-{least}")]
    plan = Plan(clips, systems, focus, parts, options.quick)
    results, shown = measure(plan, Player(options.cache or options.out / "cache"))
    out = report_of(results, plan)
    out.meta["wall_s"] = round(time.monotonic() - started, 1)
    out.plots = pictures(results, shown, options.out)
    out.write(options.out)
    print(out.as_markdown())
    if options.docs is not None:
        out.plots = pictures(results, shown, options.docs / "images")
        out.write_docs(options.docs)
    return 0
