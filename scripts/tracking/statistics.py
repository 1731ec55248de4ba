"""What real faces do, in numbers: the figures that synthetic motion is measured against, and checks of the tracking.

Shape suffixes: T frames, S samples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.space import INDEX
from scripts.motion_clips import MotionClip, clip_paths, load_clip
from scripts.tracking.mouth import BILABIALS, VOWELS

F64 = NDArray[np.float64]

_LAGS: Final = 8
_WINDOW_S: Final = 0.05
_FLOOR_DB: Final = -50.0
_TURNS: Final = slice(INDEX["headYaw"], INDEX["headRoll"] + 1)
_BROWS: Final = [INDEX[n] for n in space.ARKIT_NAMES if n.startswith("brow")]
CLOSED: Final = 0.9
"""mouthClose / jawOpen from which the lips are sealed (avatar/rig/lips.py)."""

_NEAR_S: Final = 0.08


def loudness(pcm_S: NDArray[np.int16], hop: float) -> F64:
    """dB of 50 ms around the middle of every `hop` samples, not below -50."""
    power = np.r_[0.0, np.cumsum((pcm_S.astype(np.float64) / 32768.0) ** 2)]
    middle = (np.arange(int(len(pcm_S) / hop)) + 0.5) * hop
    reach = _WINDOW_S * STREAM_RATE / 2
    low, high = (np.clip(middle + side * reach, 0, len(pcm_S)).astype(int) for side in (-1, 1))
    return np.asarray(
        np.maximum(10 * np.log10((power[high] - power[low]) / np.maximum(high - low, 1) + 1e-9), _FLOOR_DB)
    )


def lag_curve(motion_T: F64, sound_T: F64) -> F64:
    """Pearson correlation for the motion taken -8 .. 8 frames later [17]."""
    values = []
    for lag in range(-_LAGS, _LAGS + 1):
        a = motion_T[max(0, lag) : len(motion_T) + min(0, lag)]
        b = sound_T[max(0, -lag) : len(sound_T) + min(0, -lag)]
        spread = float(a.std() * b.std())
        values.append(float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread > 0 else 0.0)
    return np.array(values)


def peak(curve: F64) -> float:
    """Where a lag curve is highest, in frames (parabola through the highest three); > 0: motion is late."""
    k = int(np.clip(curve.argmax(), 1, len(curve) - 2))
    left, top, right = curve[k - 1 : k + 2]
    bend = left - 2 * top + right
    return k - _LAGS + (0.5 * (left - right) / bend if bend < 0 else 0.0)


def best_lag(motion_T: F64, sound_T: F64) -> float:
    """By how many frames the motion is behind the sound."""
    return peak(lag_curve(motion_T, sound_T))


def opening(motion_TD: NDArray[Any]) -> F64:
    """How far jaw and lips are open together, 0..1 [T]."""
    shut = np.minimum(motion_TD[:, INDEX["mouthClose"]], motion_TD[:, INDEX["jawOpen"]])
    return np.asarray(motion_TD[:, INDEX["jawOpen"]] - shut, np.float64)


def blink_spans(blink_T: NDArray[Any]) -> list[float]:
    """Duration in seconds of every blink, at half of its depth."""
    spans, k = [], 0
    shut = np.asarray(blink_T) > 0.5
    while k < len(shut):
        if not shut[k]:
            k += 1
            continue
        end = k
        while end < len(shut) and shut[end]:
            end += 1
        if k > 0 and end < len(shut):  # crossing times between frames
            start_T = k - 1 + (0.5 - blink_T[k - 1]) / (blink_T[k] - blink_T[k - 1])
            stop_T = end - 1 + (blink_T[end - 1] - 0.5) / (blink_T[end - 1] - blink_T[end])
            spans.append(float(stop_T - start_T) / FPS)
        else:
            spans.append(float("nan"))  # cut by the clip's end: it counts, its length is not known
        k = end
    return spans


def real_statistics(clips: Sequence[MotionClip]) -> dict[str, Any]:
    """Blinks, head, brows and gaze of clips in which they are known."""
    seconds = sum(len(c.motion_TD) for c in clips) / FPS
    blinks = [s for c in clips for s in blink_spans(c.motion_TD[:, INDEX["eyeBlinkLeft"]].astype(np.float64))]
    known = np.array([b for b in blinks if np.isfinite(b)])
    turns = [np.degrees(c.motion_TD[:, _TURNS].astype(np.float64)) for c in clips]
    shifts = [c.motion_TD[:, INDEX["headX"] : INDEX["headLogScale"] + 1].astype(np.float64) for c in clips]
    brows = [c.motion_TD[:, _BROWS].astype(np.float64) for c in clips]
    gaze = [np.degrees(c.motion_TD[:, space.GAZE].astype(np.float64)) for c in clips]
    steps = np.concatenate([np.abs(np.diff(t, axis=0)) for t in turns])
    jumps = [np.linalg.norm(np.diff(t, axis=0), axis=1) for t in turns]
    return {
        "clips": len(clips),
        "minutes": seconds / 60,
        "clip_seconds": seconds / max(len(clips), 1),
        "blinks_per_minute": 60 * len(blinks) / seconds,
        "blink_half_depth_s": _spread(known),
        "head_std_deg": _named(np.mean([t.std(0) for t in turns], axis=0), ("yaw", "pitch", "roll")),
        "head_std_deg_across_clips": _named(np.concatenate(turns).std(0), ("yaw", "pitch", "roll")),
        "head_step_deg": _named(steps.mean(0), ("yaw", "pitch", "roll")),
        "pose_change_deg": _spread(np.concatenate(jumps)),
        "head_shift_std": _named(np.mean([s.std(0) for s in shifts], axis=0), ("x", "y", "logScale")),
        "brow_std": _named(np.mean([b.std(0) for b in brows], axis=0), [space.NAMES[i] for i in _BROWS]),
        "brow_std_mean": float(np.mean([b.std(0).mean() for b in brows])),
        "gaze_std_deg": _named(np.mean([g.std(0) for g in gaze], axis=0), ("azimuth", "elevation")),
        "jaw_open": _spread(np.concatenate([c.motion_TD[:, INDEX["jawOpen"]] for c in clips])),
    }


def synchrony(clips: Sequence[MotionClip]) -> dict[str, Any]:
    """Motion against sound and phones: best lag against loudness; closures at P, B, M and where there are none."""
    curves = [
        lag_curve(opening(c.motion_TD), loudness(c.segments[0].pcm_S, FRAME_SAMPLES)[: len(c.motion_TD)]) for c in clips
    ]
    curve = np.mean(curves, axis=0)
    hit = bilabials = false = vowels = 0
    for clip in clips:
        jaw_T = clip.motion_TD[:, INDEX["jawOpen"]]
        sealed_T = clip.motion_TD[:, INDEX["mouthClose"]] >= CLOSED * np.maximum(jaw_T, 1e-3)
        phones = clip.segments[0].phones or []
        near = [p for p in phones if p.phone in BILABIALS]
        for p in phones:
            first, last = round(p.start_s * FPS), max(round(p.end_s * FPS), round(p.start_s * FPS) + 1)
            if p.phone in BILABIALS and p.end_s - p.start_s >= 0.03:
                bilabials += 1
                hit += bool(sealed_T[max(first - 1, 0) : last + 1].any())
            elif p.phone in VOWELS:
                middle = (p.start_s + p.end_s) / 2
                if all(abs(middle - t) > _NEAR_S for q in near for t in (q.start_s, q.end_s)):
                    vowels += 1
                    false += bool(sealed_T[min(int(middle * FPS), len(sealed_T) - 1)])
    out: dict[str, Any] = {"lag_frames": peak(curve), "lag_r": float(curve.max()), "r_at_0": float(curve[_LAGS])}
    if bilabials:
        out |= {"bilabials": bilabials, "bilabial_hit_rate": hit / bilabials, "vowels_sealed": false / max(vowels, 1)}
    return out


def write(clips: Path, to: Path) -> None:
    """The figures of the tracked clips as JSON; ValueError when there are none."""
    out: dict[str, Any] = {}
    for source in ("grid", "facegood"):
        loaded = [load_clip(path) for path in clip_paths(clips, [source])]
        if loaded:
            real = real_statistics(loaded) if source == "grid" else {"jaw_open": _jaw(loaded)}
            out[source] = real | {"synchrony": synchrony(loaded)}
    if not out:
        raise ValueError(f"There are no tracked clips in {clips}: run `grid` or `facegood` first.")
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(out, indent=1) + "\n")
    print(json.dumps(out, indent=1))


def _jaw(clips: Sequence[MotionClip]) -> dict[str, float]:
    return _spread(np.concatenate([c.motion_TD[:, INDEX["jawOpen"]] for c in clips]))


def _spread(values: NDArray[Any]) -> dict[str, float]:
    if not len(values):
        return {}
    rows = {f"p{p}": float(np.percentile(values, p)) for p in (5, 25, 50, 75, 95)}
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), **rows}


def _named(values: NDArray[Any], names: Sequence[str]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}
