"""Check on the lids: nothing of the eye may be seen when they are closed."""

from __future__ import annotations

from typing import Final

import numpy as np

from avatar.quality.film import Film, grown
from avatar.quality.shots import blink_frames

_CHANGED: Final = 8
"""Levels by which a pixel must follow the gaze to count as eye."""


def check_lid_closure(film: Film) -> dict[str, float]:
    """lids_open: share of the open eyes' area that still follows the gaze, or the eyes' paint, with lids closed (mean,
    and worst of the turns); eye_moves: the same with lids open, which tells that the check can see at all."""
    area = float((film.inside("eye0", "neutral") | film.inside("eye1", "neutral")).sum())
    closed = [following(film, left, right) / max(area, 1) for left, right in blink_frames()]
    return {
        "lids_open": float(np.mean(closed)),
        "lids_open_worst": float(np.max(closed)),
        "eye_moves": following(film, "gaze left", "gaze right") / max(area, 1),
    }


def following(film: Film, left: str, right: str) -> int:
    """px around the eyes that differ between two frames that differ in gaze alone, or between paints."""
    near = film.inside("eye0", left) | film.inside("eye1", left)
    near |= film.inside("eye0", "neutral") | film.inside("eye1", "neutral")
    near = grown(near, max(2, round(0.03 * film.face_width)))
    change = np.abs(film.pictures[left].astype(np.int16) - film.pictures[right]).max(-1)
    if left in film.repainted:
        paint = np.abs(film.pictures[left].astype(np.int16) - film.repainted[left]).max(-1)
        change = np.maximum(change, paint)
    return int((near & (change > _CHANGED)).sum())
