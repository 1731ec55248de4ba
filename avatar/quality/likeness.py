"""Checks on who it is: round trips over a pose and back, and landmarks found again on rendered frames."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.portrait.landmarks import FACE_CROP, mesh_points, points_roi
from avatar.portrait.models import Model
from avatar.quality.film import Film
from avatar.quality.measures import gradient_deviation, psnr, ssim
from avatar.quality.shots import OPEN, POSES

F64 = NDArray[np.float64]

_TURNS: Final = tuple(name for name in POSES if name != "brows up")
_TRIPS: Final = (*POSES, *(f"{name} +0" for name in OPEN))
_EYES_NOSE: Final = (
    33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 98, 327, 129, 358, 48, 278, 70, 63, 105, 66, 107, 336, 296, 334, 293,
    300, 55, 285,
)  # fmt: skip
"""MediaPipe landmarks of eye corners, nose and brows."""
_BROWS: Final = 17
"""From here on `_EYES_NOSE` are brows, which move when told to."""


def check_round_trip(film: Film) -> dict[str, float]:
    """Turned heads carried back to the portrait by the rig, against the neutral frame carried back: trip_psnr (dB),
    trip_ssim, trip_gms (gradient deviation, lower is better) of the skin; drift_gms, drift_tone of the eye-nose region.
    neutral_psnr, neutral_gms: that neutral frame against the portrait, whose expression and its creases it lacks.
    self_*: the portrait's own motion against the portrait, over the person."""
    eye_nose = film.eye_nose()
    neutral, at_rest = film.to_portrait("neutral")
    rows = []
    for frame in _TURNS:
        back, there = film.to_portrait(frame)
        there &= at_rest
        near = there & eye_nose
        rows.append(
            (
                psnr(back, neutral, there),
                ssim(back, neutral, there),
                gradient_deviation(back, neutral, there),
                gradient_deviation(back, neutral, near),
                tone(back, neutral, near),
            )
        )
    mean = np.nanmean(np.array(rows), axis=0)
    person = film.matte_HW > 0.5
    own = film.pictures["portrait"]
    return {
        "trip_psnr": float(mean[0]),
        "trip_ssim": float(mean[1]),
        "trip_gms": float(mean[2]),
        "drift_gms": float(mean[3]),
        "drift_tone": float(mean[4]),
        "neutral_psnr": psnr(neutral, film.portrait_HW3, at_rest),
        "neutral_gms": gradient_deviation(neutral, film.portrait_HW3, at_rest),
        "self_psnr": psnr(own, film.portrait_HW3, person),
        "self_ssim": ssim(own, film.portrait_HW3, person),
        "self_gms": gradient_deviation(own, film.portrait_HW3, person),
    }


def tone(first_HW3: NDArray[np.uint8], second_HW3: NDArray[np.uint8], mask_HW: NDArray[np.bool_]) -> float:
    """Difference of the mean colours over a mask, levels."""
    if not mask_HW.any():
        return float("nan")
    return float(np.abs(first_HW3[mask_HW].mean(0) - second_HW3[mask_HW].mean(0)).max())


def check_landmarks(film: Film, model: Model) -> dict[str, float]:
    """Landmarks found again on rendered frames: drift_points: how far eyes, nose (and brows) lie from where the rig
    says, after the best similarity, beyond the same on the neutral frame; % of the face's width (mean over poses)."""
    known = found_error(film, "neutral", model)
    errors = [np.linalg.norm(found_error(film, frame, model) - known, axis=1).mean() for frame in _TRIPS]
    return {"drift_points": float(np.mean(errors)) / film.face_width * 100}


def found_error(film: Film, frame: str, model: Model) -> F64:
    """What the landmark model finds minus what the rig says, px, eyes and nose, similarity taken out."""
    expected = film.skins[frame][film.landmarks_468].astype(np.float64)
    roi = points_roi(expected[:, :2], expected[33, :2], expected[263, :2], FACE_CROP)
    several = [mesh_points(model, film.pictures[frame], roi, mirrored)[0] for mirrored in (False, True)]
    rows = list(_EYES_NOSE[:_BROWS] if frame == "brows up" else _EYES_NOSE)
    rows_all = np.full((len(_EYES_NOSE), 2), 0.0)
    found = np.mean(several, axis=0)[rows, :2]
    wanted = expected[rows, :2]
    M_23, _ = cv2.estimateAffinePartial2D(found, wanted, method=cv2.LMEDS)
    rows_all[: len(rows)] = found @ M_23[:, :2].T + M_23[:, 2] - wanted
    return rows_all
