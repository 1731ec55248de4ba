"""All figures of one system on one set of clips, from what it showed and what was tracked.

Shape suffixes: T = frames, D = 52, S = samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.audio.phones import TimedPhone
from avatar.clock import FPS, FRAME_SAMPLES
from avatar.motion import space
from scripts.evaluate.metrics import closures, life, lips, sync
from scripts.evaluate.play import Shown
from scripts.motion_clips import MotionClip

Curve = NDArray[Any]
Scores = dict[str, float]

ALIGNED: Final = ("grid", "ljspeech", "pseudo-lj", "jfk")
"""Sources whose phone times come from an aligner, 20 ms wrong at a word's edge."""
ALIGNER_SLACK_S: Final = 0.02
_QUIET_DB: Final = 30.0
_SILENCE_MARGIN: Final = 4
_SHIFT: Final = 2


def scores(shown: Sequence[Shown], real: Sequence[Shown] | None, reference: Sequence[Shown] | None) -> Scores:
    """Figures of one system on clips of one source; what cannot be measured there is left out.

    real: the tracked motion of the same clips, None when there is none. reference: motion of the same clips driven by
    phone times, None when they are not known. The keys are those of LABELS (report.py).
    """
    out: Scores = {"clips": len(shown), "seconds": sum(len(s.motion_TD) for s in shown) / FPS}
    if real is not None:
        out |= _against_real(shown, real)
    if reference is not None:
        out |= _against_phones(shown, reference)
    out |= _by_itself(shown)
    return out


def _against_real(shown: Sequence[Shown], real: Sequence[Shown]) -> Scores:
    ours, theirs = [s.lips.gap_T for s in shown], [s.lips.gap_T for s in real]
    channel = [[lips.channel_opening(s.motion_TD) for s in group] for group in (shown, real)]
    error_T = np.concatenate([lips.vertex_error(a.lips, b.lips) for a, b in zip(shown, real, strict=True)])
    own_T = np.concatenate([lips.vertex_error(a.lips, b.lips, own_rest=True) for a, b in zip(shown, real, strict=True)])
    gap_T = np.concatenate([np.abs(a - b) for a, b in zip(ours, theirs, strict=True)])
    width_T = np.concatenate([np.abs(a.lips.width_T - b.lips.width_T) for a, b in zip(shown, real, strict=True)])
    lag, _ = sync.best_lag(ours, theirs)
    return {
        "opening_r": sync.pooled_r(ours, theirs),
        "opening_r_median": sync.clip_r(ours, theirs),
        "channel_r": sync.pooled_r(*channel),
        "opening_shift_drop": sync.shift_drop(ours, theirs, _SHIFT),
        "opening_std_ratio": life.pooled_std(ours) / max(life.pooled_std(theirs), 1e-9),
        "lag_real_frames": lag,
        "lip_error_mm": float(error_T.mean()),
        "lip_error_own_rest_mm": float(own_T.mean()),
        "lip_error_pct_width": 100.0 * float(error_T.mean()) / lips.lip_rig().rest_width_mm,
        "opening_error_mm": float(gap_T.mean()),
        "width_error_mm": float(width_T.mean()),
    }


def _against_phones(shown: Sequence[Shown], reference: Sequence[Shown]) -> Scores:
    ours, theirs = [s.lips.gap_T for s in shown], [s.lips.gap_T for s in reference]
    lag, r = sync.best_lag(ours, theirs)
    found = _closures(shown, 0)
    moved = [_closures(shown, late).hit_pct for late in (-_SHIFT, _SHIFT)]
    return {
        "phones_r": sync.pooled_r(ours, theirs),
        "phones_shift_drop": sync.shift_drop(ours, theirs, _SHIFT),
        "lag_phones_frames": lag,
        "bilabials": found.bilabials,
        "hit_pct": found.hit_pct,
        "false_pct": found.false_pct,
        "false_event_pct": found.false_event_pct,
        "hit_shift_drop_pct": found.hit_pct - max(moved),
    } | ({"phones_r_at_lag": r} if abs(lag) > 0.5 else {})


def _closures(shown: Sequence[Shown], late: int) -> closures.Closures:
    total = closures.Closures()
    for one in shown:
        slack_s = ALIGNER_SLACK_S if one.clip.source in ALIGNED else 0.0
        gap_T = sync.shifted(one.lips.gap_T, late)
        for segment in one.clip.segments:
            if segment.phones is not None:
                part_T = gap_T[segment.start : segment.start + segment.frames]
                total = total + closures.count_closures(part_T, segment.phones, slack_s=slack_s)
    return total


def _by_itself(shown: Sequence[Shown]) -> Scores:
    motions = [s.motion_TD for s in shown]
    gaps = [s.lips.gap_T for s in shown]
    sound = [loudness_db(s.clip) for s in shown]
    silent = [silence(s.clip) for s in shown]
    quiet_T = np.concatenate([g[m] for g, m in zip(gaps, silent, strict=True)])
    lag, _ = sync.best_lag(gaps, sound)
    out: Scores = {
        "lag_loudness_frames": lag,
        "opening_jerk_mm": life.jerk(gaps),
        "opening_std_mm": life.pooled_std(gaps),
    }
    if len(quiet_T) >= FPS:
        out |= {
            "silence_opening_mm": float(quiet_T.mean()),
            "silence_motion_mm": life.movement(gaps, silent),
        }
    if not np.any(np.concatenate(motions)[:, space.HEAD]):  # only the mouth was tracked
        return out
    return out | {
        "head_std_deg": life.head_std(motions),
        "pose_change_deg": life.pose_change(motions),
        "head_jerk_deg": life.jerk([life.head_turns(m) for m in motions]),
        "blink_per_min": life.blink_rate(motions),
        "blink_ms": life.blink_duration(motions),
        "brow_std": life.brow_std(motions),
    }


def spoken_phones(clip: MotionClip) -> list[TimedPhone]:
    """All phones of a clip on its own clock, cut where their segment was cut."""
    out = []
    for segment in clip.segments:
        start_s, end_s = segment.start / FPS, (segment.start + segment.frames) / FPS
        moved = (p.shifted(start_s) for p in segment.phones or ())
        out += [TimedPhone(p.phone, p.start_s, min(p.end_s, end_s)) for p in moved if p.start_s < end_s]
    return out


def sound_of(clip: MotionClip) -> NDArray[np.int16]:
    """What is heard, int16 [T * 960] at 24 kHz."""
    pcm_S = np.zeros(len(clip.motion_TD) * FRAME_SAMPLES, np.int16)
    for segment in clip.segments:
        part_S = segment.pcm_S[: segment.frames * FRAME_SAMPLES]
        at = segment.start * FRAME_SAMPLES
        pcm_S[at : at + len(part_S)] = part_S
    return pcm_S


def loudness_db(clip: MotionClip) -> Curve:
    """Level of each frame in dB of full scale, not below 50 dB under the clip's loudest, [T]."""
    pcm_TS = sound_of(clip).reshape(-1, FRAME_SAMPLES).astype(np.float64) / 32768.0
    level_T = 10.0 * np.log10((pcm_TS**2).mean(1) + 1e-12)
    floored_T: Curve = np.maximum(level_T, level_T.max() - 50.0)
    return floored_T


def silence(clip: MotionClip) -> NDArray[np.bool_]:
    """Frames in which the mouth ought to rest, bool [T]: 160 ms or more from any sound.

    Sound is a phone where phone times are known, else a frame less than 30 dB below the clip's 95th percentile.
    """
    frames = len(clip.motion_TD)
    if clip.segments and all(s.phones is not None for s in clip.segments):
        loud_T = np.zeros(frames, bool)
        for item in spoken_phones(clip):
            if item.phone != "sil":
                loud_T[int(item.start_s * FPS) : int(np.ceil(item.end_s * FPS))] = True
    else:
        level_T = loudness_db(clip)
        loud_T = level_T > np.percentile(level_T, 95) - _QUIET_DB
    near_T = np.convolve(loud_T, np.ones(2 * _SILENCE_MARGIN + 1), "same") > 0
    return np.asarray(~near_T)
