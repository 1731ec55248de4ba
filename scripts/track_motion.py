"""Turn recordings into clips the motion network learns from (docs/motion/tracking.md).

    python scripts/track_motion.py grid DATA/talking_video --work /tmp/motion/tracks --out /tmp/motion/clips
    python scripts/track_motion.py facegood DATA/motion/facegood --out /tmp/motion/clips
    python scripts/track_motion.py check --work /tmp/motion/tracks --out /tmp/motion/clips --plot tracking.png
    python scripts/track_motion.py stats --out /tmp/motion/clips --to /tmp/motion/real_stats.json

`grid` keeps landmarks, fits and phones in --work, so that it can be stopped and started again; with --now it makes
clips of the films whose landmarks are already there. Every tenth clip is held out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES
from avatar.motion.controls import CONTROL_INDEX
from avatar.portrait.models import load_models
from avatar.rig import basis
from scripts.motion_clips import MotionClip, SpeechSegment
from scripts.real_speech import align, decoder, read
from scripts.tracking import check, facegood, film, statistics
from scripts.tracking.clip import KNOWN_D, Seen, activity, learn_habits, liveliness, move, see
from scripts.tracking.shapes import ShapeFit
from scripts.tracking.speaker import learn_speaker

HELD_OUT: int = 10
SPEAKER_CLIPS = 30
"""Clips, evenly spread, that the speaker's neutral face is learnt from."""


def words_of(table: Path) -> dict[str, str]:
    """Clip name -> what is said in it, from the corpus' table of word times."""
    words: dict[str, list[str]] = {}
    for line in table.read_text().splitlines()[1:]:
        clip, _, _, word = line.split("\t")
        if word not in {"sil", "sp"}:
            words.setdefault(clip, []).append(word)
    return {clip: " ".join(said) for clip, said in words.items()}


def find_landmarks(films: Sequence[Path], work: Path) -> None:
    """Landmarks of every film that has none yet, about 0.6 s of one core for each."""
    models = load_models()
    spread = [*films[::SPEAKER_CLIPS], *films]  # a sample of all first: the speaker can be learnt early
    for path in spread:
        target = work / "landmarks" / f"{path.stem}.npz"
        if target.exists():
            continue
        found = film.track(models, film.read_frames(path))
        if found is None:
            print(f"{path.name}: no face found, left out.", flush=True)
        else:
            found.save(target)


def hear(path: Path, words: str, aligner: Any) -> tuple[NDArray[np.int16], list[TimedPhone] | None]:
    """Sound (int16, 24 kHz) and aligned phones."""
    pcm_S = read(path)
    return pcm_S, align(aligner, pcm_S, words)


def track_grid(data: Path, work: Path, out: Path, now: bool) -> None:
    """All clips of the GRID speaker."""
    films = sorted((data / "grid_s1").glob("*.mp4"))
    if not films:
        raise ValueError(f"There are no films in {data / 'grid_s1'}: give the folder that holds grid_s1.")
    if not now:
        find_landmarks(films, work)
    marks = {p.stem: p for p in (work / "landmarks").glob("*.npz") if not p.name.endswith(".tmp.npz")}
    ready = [(i, f) for i, f in enumerate(films) if f.stem in marks]
    learnt = [f for _, f in ready][:: max(1, len(ready) // SPEAKER_CLIPS)]
    speaker = learn_speaker([film.Track.load(marks[f.stem]) for f in learnt])
    shapes = ShapeFit(basis.load())
    seen: dict[str, Seen] = {}
    for _, path in ready:
        kept = work / "fits" / f"{path.stem}.npz"
        seen[path.stem] = Seen.load(kept) if kept.exists() else see(speaker, shapes, film.Track.load(marks[path.stem]))
        if not kept.exists():
            seen[path.stem].save(kept)
    width = speaker.face_width
    habits = learn_habits(list(seen.values()), width)
    lively_N = liveliness(np.array([activity(s, habits, width) for s in seen.values()]))
    print(f"{len(seen)} clips fitted; leak per closure and cm: {np.round(habits.leak_26, 4).tolist()}", flush=True)

    words, aligner = words_of(data / "grid_s1_words.tsv"), decoder()
    totals = dict.fromkeys(("clips", "unaligned", "blinks", "bilabials", "closed", "sharpened", "open"), 0)
    for (index, path), lively in zip(ready, lively_N, strict=True):
        kept = work / "sound" / f"{path.stem}.npz"
        pcm_S, phones = _kept_sound(kept) if kept.exists() else hear(path, words[path.stem], aligner)
        if not kept.exists():
            _keep_sound(kept, pcm_S, phones)
        moved = move(seen[path.stem], habits, width, phones)
        moved.control_TC[:, CONTROL_INDEX["liveliness"]] = lively
        frames = len(moved.motion_TD)
        short = frames * FRAME_SAMPLES - len(pcm_S)
        pcm_S = np.pad(pcm_S, (0, max(short, 0)))[: frames * FRAME_SAMPLES]
        segment, held_out = SpeechSegment(0, frames, pcm_S, phones), index % HELD_OUT == HELD_OUT - 1
        MotionClip("grid", path.stem, moved.motion_TD, moved.control_TC, [segment], KNOWN_D, held_out=held_out).save(
            out
        )
        counts = {"clips": 1, "unaligned": phones is None, "blinks": len(moved.blinks), **moved.counts}
        totals = {name: total + int(counts[name]) for name, total in totals.items()}
    (work / "report.json").write_text(json.dumps(totals))
    print(totals)


def _keep_sound(path: Path, pcm_S: NDArray[np.int16], phones: list[TimedPhone] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = np.array([p.phone for p in phones or []], "U4")
    times = np.array([(p.start_s, p.end_s) for p in phones or []], np.float64).reshape(-1, 2)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, pcm_S=pcm_S, names=names, times=times, known=phones is not None)
    temporary.rename(path)


def _kept_sound(path: Path) -> tuple[NDArray[np.int16], list[TimedPhone] | None]:
    with np.load(path) as z:
        rows = zip(z["names"], z["times"], strict=True)
        phones = [TimedPhone(str(name), float(a), float(b)) for name, (a, b) in rows]
        return z["pcm_S"], phones if bool(z["known"]) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = parser.add_subparsers(dest="job", required=True)
    for job in ("grid", "facegood"):
        own = jobs.add_parser(job)
        own.add_argument("data", type=Path)
        own.add_argument("--out", type=Path, required=True, help="folder of the clips")
    jobs.choices["grid"].add_argument("--work", type=Path, required=True, help="folder of what can be kept")
    jobs.choices["grid"].add_argument("--now", action="store_true", help="only films whose landmarks are there")
    own = jobs.add_parser("check")
    own.add_argument("--out", type=Path, required=True, help="folder of the clips")
    own.add_argument("--work", type=Path, required=True, help="folder of what `grid` kept")
    own.add_argument("--every", type=int, default=20, help="every n-th clip")
    own.add_argument("--plot", type=Path, help="PNG to write")
    own = jobs.add_parser("stats")
    own.add_argument("--out", type=Path, required=True, help="folder of the clips")
    own.add_argument("--to", type=Path, required=True, help="JSON to write")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        if options.job == "grid":
            track_grid(options.data, options.work, options.out, options.now)
        elif options.job == "facegood":
            facegood.make(options.data, options.out)
        elif options.job == "check":
            print(json.dumps(check.check(options.out, options.work, options.every, options.plot), indent=1))
        else:
            statistics.write(options.out, options.to)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
