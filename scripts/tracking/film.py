"""Landmarks of one face in every frame of a film, by the project's own portrait models.

The models see an upright crop of the face. Were that crop taken from each frame's own landmarks, an opening mouth
would move the crop and the crop the head's pose; so crops follow a smooth path through a few frames of the clip. Every
frame is shown as it is and mirrored; more looks, as the portrait analysis takes, cost twice as much here and changed
the noise by a tenth.

Shape suffixes: T frames, N = 468 landmarks, K = 16 points of an eye's lids (outer corner, lower lid, inner corner,
upper lid; avatar/portrait/landmarks.py LIDS).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from avatar.portrait.detect import detect
from avatar.portrait.landmarks import EYE_CORNERS, EYE_CROP, FACE_CROP, Roi, detection_roi, mesh_points, points_roi
from avatar.portrait.models import Model, Models
from scripts.tracking.kept import Kept

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

KEY_EVERY: Final = 12
"""Frames between those that the crops' path goes through."""
LIDS: Final = 16
MIN_PRESENCE: Final = 0.5
_SMOOTH: Final = np.hanning(13)[1:-1] / np.hanning(13)[1:-1].sum()


@dataclass(frozen=True)
class Track(Kept):
    """What was seen in a clip, px of the film, y down, z towards the viewer.

    points_TN3: [T, 468, 3]; lids_T2K2: [T, 2, 16, 2] by the eye model (person's right eye first); iris_T252:
    [T, 2, 5, 2] centre first; presence_T: 0..1.
    """

    points_TN3: F32
    lids_T2K2: F32
    iris_T252: F32
    presence_T: F32


def read_frames(path: Path) -> list[U8]:
    """Every picture of a film, uint8 RGB [H, W, 3]."""
    with av.open(str(path)) as container:
        return [np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in container.decode(video=0)]


def track(models: Models, frames: list[U8]) -> Track | None:
    """Landmarks of the only face in these frames; None when there is none.

    frames: uint8 [H, W, 3] of one size.
    """
    found = next((f for f in (detect(models.detector, frame) for frame in frames[::KEY_EVERY]) if f), None)
    if found is None:
        return None
    keys = sorted({*range(0, len(frames), KEY_EVERY), len(frames) - 1})
    roi = detection_roi(max(found, key=lambda d: d.size))
    path = []
    for key in keys:
        for _ in range(2 if key else 3):
            points, _ = mesh_points(models.landmarks, frames[key], roi)
            roi = face_roi(points)
        path.append(roi)
    rois = between(path, keys, len(frames))

    points_T, presence_T = [], []
    for frame, roi in zip(frames, rois, strict=True):
        looks = [mesh_points(models.landmarks, frame, roi, mirrored) for mirrored in (False, True)]
        points_T.append(np.mean([points for points, _ in looks], axis=0))
        presence_T.append(float(np.mean([presence for _, presence in looks])))
    if float(np.median(presence_T)) < MIN_PRESENCE:
        return None
    points_TN3 = np.stack(points_T)
    eyes = [_eye(models.iris, frames, points_TN3[..., :2], eye) for eye in (0, 1)]
    return Track(
        points_TN3.astype(np.float32),
        np.stack([lids for lids, _ in eyes], 1).astype(np.float32),
        np.stack([iris for _, iris in eyes], 1).astype(np.float32),
        np.array(presence_T, np.float32),
    )


def face_roi(points_N3: F64) -> Roi:
    """The crop of the face that goes with landmarks [468, 3]."""
    return points_roi(points_N3[:, :2], points_N3[33, :2], points_N3[263, :2], FACE_CROP)


def between(rois: list[Roi], keys: list[int], count: int) -> list[Roi]:
    """One crop per frame on a smooth path through those of the key frames; all of one size."""
    rows = np.array([[*r.centre_2, r.angle] for r in rois])
    side = float(np.median([r.side for r in rois]))
    time = np.arange(count)
    path_T3 = np.stack([np.interp(time, keys, rows[:, i]) for i in range(3)], 1)
    path_T3 = smooth(path_T3)
    return [Roi(row[:2], side, float(row[2])) for row in path_T3]


def smooth(values_TX: F64) -> F64:
    """Along time with an 11-frame Hann window; the ends are held."""
    half = len(_SMOOTH) // 2
    padded = np.pad(values_TX, ((half, half), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, _SMOOTH, mode="valid") for column in padded.T], 1)


def _eye(model: Model, frames: list[U8], points_TN2: F64, eye: int) -> tuple[F64, F64]:
    """Lids [T, 16, 2] and iris [T, 5, 2] of one eye; crops follow the eye's smoothed corners."""
    corners_T4 = smooth(points_TN2[:, list(EYE_CORNERS[eye])].reshape(len(frames), 4))
    lids, irises = [], []
    for frame, corners_4 in zip(frames, corners_T4, strict=True):
        corners = corners_4.reshape(2, 2)
        roi = points_roi(corners, corners[0], corners[1], EYE_CROP)
        seen = _eye_look(model, frame, roi, eye)
        lids.append(seen[:LIDS])
        irises.append(seen[-5:])
    return np.stack(lids), np.stack(irises)


def _eye_look(model: Model, frame: U8, roi: Roi, eye: int) -> F64:
    """Contour and iris [76, 2] px in one crop. The model knows the person's right eye; the other is mirrored."""
    crop = roi.crop(frame, model.side)
    outputs: list[Any] = model(crop[:, ::-1] if eye == 1 else crop)
    raw = np.concatenate(outputs).reshape(-1, 3)[:, :2].astype(np.float64) - 0.25  # as in landmarks.py
    if eye == 1:
        raw[:, 0] = model.side - 1 - raw[:, 0]
    M_23 = roi.to_image(model.side)
    return np.asarray(raw @ M_23[:, :2].T + M_23[:, 2])
