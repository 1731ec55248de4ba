"""Render a folder of portraits through the contact sheet and check the frames automatically.

    python -m scripts.gallery --portraits ../shared/data/portraits --out DIR [--json FILE] [--baseline OLD]
                              [--figures docs/face/gallery.md] [--no-sheets] [--only NAME...]

Sheets go to DIR only (portraits may be of real people); figures go to DIR/gallery.json and DIR/gallery.md.
OLD is another checkout, which is then rendered as well (sheets show it above), or the .json of an earlier run. The
figures and their limits: avatar/quality; the text around them: docs/face/gallery.md.

This is a report and no gate: the exit code is 0 whatever the figures say, also when some portraits were refused (they
are listed below the tables); it is 1 when none could be rendered.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from avatar.portrait.models import load_models
from avatar.quality.film import Film
from avatar.quality.report import beyond, check_film, portrait_table, summary_table
from avatar.quality.shots import all_shots, repainted_frames
from scripts.contact_sheet import POSES, motion, sheet_of_frames
from scripts.record_frames import Recorder

HERE = Path(__file__).resolve().parents[1]
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
COLUMNS = ("ring", "wedge", "lips_open_worst", "lids_open", "drift_gms", "background", "flicker", "teeth_gaps")
MARKS = ("<!-- figures -->", "<!-- end of figures -->")


def portraits_in(folder: Path, only: Sequence[str]) -> list[str]:
    """The default presenter and every picture of a folder, in order of their names."""
    found = ["default"] + [str(p) for p in sorted(folder.iterdir()) if p.suffix.lower() in PICTURES]
    return [p for p in found if not only or Path(p).stem in only]


def look_at(recorder: Recorder, portrait: str, scratch: Path, sheets: bool) -> tuple[dict[str, float], Film]:
    """Figures of one portrait, and its frames; ValueError with the reason when it cannot be rendered."""
    shots: dict[str, Any] = all_shots()
    if sheets:
        shots |= {f"sheet {name}": motion(weights) for name, weights in POSES.items()}
    file = scratch / "film.npz"
    problem = recorder.record(portrait, shots, repainted_frames(), file)
    if problem is not None:
        raise ValueError(problem)
    film = Film.load(file)
    return check_film(film, load_models().landmarks), film


def run(
    portraits: Sequence[str], checkout: Path, out: Path, sheets: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Figures of every portrait by its name, and reasons of those that could not be rendered; sheets are written as
    OUT/NAME_face<sheets>.jpg and so on."""
    figures: dict[str, Any] = {}
    refused: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch, Recorder(checkout) as recorder:
        for portrait in portraits:
            name = Path(portrait).stem
            started = time.perf_counter()
            try:
                row, film = look_at(recorder, portrait, Path(scratch), sheets is not None)
            except ValueError as error:
                refused[name] = str(error)
                print(f"{name}: {error}", file=sys.stderr)
                continue
            figures[name] = {key: round(value, 5) if math.isfinite(value) else None for key, value in row.items()}
            if sheets is not None:
                for part in ("face", "mouth", "eyes"):
                    picture = sheet_of_frames(film, part, "sheet ")
                    cv2.imwrite(str(out / f"{name}_{part}{sheets}.jpg"), picture[..., ::-1])
            print(
                f"{name}: {time.perf_counter() - started:.1f} s, beyond limits: {', '.join(beyond(row)) or 'nothing'}"
            )
    return figures, refused


def numbers(figures: dict[str, Any]) -> dict[str, dict[str, float]]:
    """JSON's null back to NaN."""
    return {n: {k: math.nan if v is None else float(v) for k, v in row.items()} for n, row in figures.items()}


def tables(after: dict[str, Any], before: dict[str, Any] | None, refused: dict[str, str]) -> str:
    """The Markdown of one run. Compared are portraits with figures before and after; all others are named below."""
    new, old = numbers(after), numbers(before) if before is not None else None
    alone: list[str] = []
    if old is not None:
        alone = [name for name in new if name not in old]
        shared = [name for name in new if name in old]
        new, old = {name: new[name] for name in shared}, {name: old[name] for name in shared}
    count = f"{len(new)} portraits, {len(refused)} refused"
    lines = [count + (", before → after." if old is not None else "."), "", summary_table(new, old), ""]
    lines += [portrait_table(new, old, COLUMNS), ""]
    lines += [f"- {name} could not be rendered: {reason}" for name, reason in refused.items()]
    lines += [f"- {name} is left out: it has no figures from before" for name in alone]
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 1 when no portrait at all could be rendered, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder for sheets and figures, outside the repository")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--baseline", type=Path, help="an older checkout, or the .json of an earlier run")
    parser.add_argument("--figures", type=Path, help="Markdown file whose marked section is renewed")
    parser.add_argument("--no-sheets", action="store_true", help="figures only")
    parser.add_argument("--only", nargs="*", default=[], help="names of portraits, without their endings")
    options: Any = parser.parse_args(arguments)
    if not options.portraits.is_dir():
        parser.error(f"{options.portraits} is no folder.")
    if HERE in (options.out.resolve(), *options.out.resolve().parents):
        parser.error(f"{options.out} lies in the repository; sheets of real people must not get there.")
    options.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    portraits = portraits_in(options.portraits, options.only)
    before = None
    if options.baseline is not None and options.baseline.is_dir():
        before, _ = run(portraits, options.baseline.resolve(), options.out, None if options.no_sheets else "_before")
    elif options.baseline is not None:
        before = json.loads(options.baseline.read_text())
    after, refused = run(portraits, HERE, options.out, None if options.no_sheets else "")
    text = tables(after, before, refused)
    (options.out / "gallery.md").write_text(text)
    for path in filter(None, (options.out / "gallery.json", options.json)):
        path.write_text(json.dumps(after, indent=1, sort_keys=True) + "\n")
    if before is not None:
        (options.out / "gallery_before.json").write_text(json.dumps(before, indent=1, sort_keys=True) + "\n")
    if options.figures is not None:
        renew(options.figures, text)
    print(text)
    return 0 if after else 1


def renew(path: Path, text: str) -> None:
    """Put the tables between the marks of a Markdown file."""
    start, end = MARKS
    old = path.read_text()
    if start not in old or end not in old:
        raise SystemExit(f"{path} lacks the lines {start} and {end}.")
    path.write_text(old[: old.index(start)] + start + "\n" + text + old[old.index(end) :])


if __name__ == "__main__":
    sys.exit(main())
