"""Is the tracked motion the film's? The lips of our own portrait, moved by it, against the film's landmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS, FRAME_SAMPLES
from avatar.identity import load_identity
from avatar.motion.space import INDEX
from avatar.rig import mesh
from avatar.rig.types import FittedRig
from scripts.motion_clips import MotionClip, load_clip
from scripts.tracking.film import Track
from scripts.tracking.statistics import loudness

F64 = NDArray[np.float64]


def film_gap(track: Track) -> F64:
    """Distance between the inner lips' middles / width of the face [T]."""
    points = track.points_TN3
    width_T = np.linalg.norm(points[:, mesh.CHEEKS[0]] - points[:, mesh.CHEEKS[1]], axis=1)
    upper, lower = list(mesh.LIP_UPPER[3:-3]), list(mesh.LIP_LOWER[3:-3])
    return np.asarray(np.linalg.norm(points[:, lower, :2] - points[:, upper, :2], axis=2).mean(1) / width_T)


def shown_gap(rig: FittedRig, clip: MotionClip) -> F64:
    """The same of a portrait that this clip moves [T]."""
    out = []
    for motion_D in clip.motion_TD:
        still_D = motion_D.copy()
        still_D[INDEX["headYaw"] : INDEX["headLogScale"] + 1] = 0.0
        out.append(rig.deform(still_D).mouth_gap / rig.face_width)
    return np.array(out)


def check(clips: Path, work: Path, every: int, plot: Path | None) -> dict[str, Any]:
    """Correlation and slope of shown against filmed openings over every n-th GRID clip; `plot`: a PNG of some.

    ValueError when there are no clips with landmarks.
    """
    rig = FittedRig.unpack(load_identity("default").arrays)
    names = [p.stem for p in sorted((clips / "grid").glob("*.npz"))][::every]
    pairs = []
    for name in names:
        marks = work / "landmarks" / f"{name}.npz"
        if marks.exists():
            clip = load_clip(clips / "grid" / f"{name}.npz")
            pairs.append((clip, film_gap(Track.load(marks)), shown_gap(rig, clip)))
    if not pairs:
        raise ValueError(f"No clip in {clips} has landmarks in {work}: run `grid` first.")
    own = [float(np.corrcoef(film_T, shown_T)[0, 1]) for _, film_T, shown_T in pairs]
    film, shown = (np.concatenate([p[i] for p in pairs]) for i in (1, 2))
    if plot is not None:
        _draw(pairs[:6], plot)
    return {
        "clips": len(pairs),
        "opening_r_per_clip": {"median": float(np.median(own)), "p5": float(np.percentile(own, 5))},
        "opening_r": float(np.corrcoef(film, shown)[0, 1]),
        "opening_slope": float(np.polyfit(film, shown, 1)[0]),
    }


def _draw(pairs: list[tuple[MotionClip, F64, F64]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(pairs), 1, figsize=(11, 2.1 * len(pairs)), squeeze=False)
    for (clip, film_T, shown_T), axis in zip(pairs, axes[:, 0], strict=True):
        time = (np.arange(len(film_T)) + 0.5) / FPS
        loud = loudness(clip.segments[0].pcm_S, FRAME_SAMPLES)[: len(time)]
        axis.fill_between(time, 0, (loud + 50) / 400, color="0.9", label="loudness")
        axis.plot(time, film_T - np.percentile(film_T, 3), "k", lw=1, label="film")
        axis.plot(time, shown_T, "C1", lw=1.5, label="our portrait")
        axis.plot(time, 0.05 * clip.motion_TD[:, INDEX["eyeBlinkLeft"]], "C0", lw=1, label="eyeBlink / 20")
        for phone in clip.segments[0].phones or []:
            if phone.phone != "sil":
                bilabial = phone.phone in ("P", "B", "M")
                axis.text(phone.start_s, 0.105, phone.phone, fontsize=6, color="r" if bilabial else "0.4")
                axis.axvline(phone.start_s, color="0.85", lw=0.5)
        axis.set_ylim(0, 0.115)
        axis.set_xlim(0, len(time) / FPS)
        axis.set_ylabel(clip.name, fontsize=7)
    axes[0, 0].legend(fontsize=6, ncol=4, loc="upper right")
    axes[-1, 0].set_xlabel("seconds; openings in face widths")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)
