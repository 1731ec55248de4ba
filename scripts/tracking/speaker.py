"""One speaker: their own neutral head, what their eyes and lips look like at rest, and their usual pose.

Shape suffixes: T frames, N = 468 landmarks, C fitted channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.rig import basis as basis_module
from avatar.rig import mesh
from avatar.rig.fit import solve
from avatar.rig.snap import Observed
from scripts.tracking.film import Track
from scripts.tracking.pose import Poses, first_poses, fit_poses
from scripts.tracking.shapes import ShapeFit

F64 = NDArray[np.float64]

NEUTRAL_FRAMES: Final = 12
"""Of each clip, those with the lips nearest to each other and eyes open: they make the neutral face."""
_ROUNDS: Final = 2
STEADY: Final = np.array(
    [
        168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 64, 294, 48, 278, 122, 351, 127, 356, 234, 454, 93, 323, 116, 345, 123,
        352, 33, 133, 362, 263, 151, 109, 338,
    ]
)  # fmt: skip
"""Landmarks that expressions hardly move: nose, temples, cheekbones, eye corners, forehead; they tell the pose."""


def identity_weights() -> F64:
    """Trust in each landmark for the shape of the head [468]: the outline, and the forehead with its hair, least."""
    basis = basis_module.load()
    weight = np.ones(468)
    oval = basis.topology.oval_ring
    weight[oval[oval < 468]] = 0.35
    weight[basis.neutral_V3[:468, 1] < -6.5] *= 0.5
    return weight


@dataclass(frozen=True)
class Speaker:
    """neutral_N3: cm, head axes (x image right, y down, z to the viewer); bias_N: cm, what the models' depth differs
    from it."""

    neutral_N3: F64
    bias_N: F64

    @property
    def face_width(self) -> float:
        """Between the cheeks, cm."""
        return float(np.linalg.norm(np.subtract(*self.neutral_N3[list(mesh.CHEEKS)])))


@dataclass(frozen=True)
class Fit:
    """poses; weights_TC 0..1; offset_TN3: cm, landmarks against neutral in head axes, as seen."""

    poses: Poses
    weights_TC: F64
    offset_TN3: F64


def fit_frames(speaker: Speaker, shapes: ShapeFit, points_TN3: F64) -> Fit:
    """Pose and expression of every frame, by turns: each is fitted with what the other explains taken off."""
    neutral_N3, seen_TN3, even = speaker.neutral_N3[STEADY], points_TN3[:, STEADY], np.ones(len(STEADY))
    poses = first_poses(seen_TN3, neutral_N3 + speaker.bias_N[STEADY, None] * np.array([0, 0, 1.0]), even)
    expression_TN3 = np.zeros_like(points_TN3)
    weights_TC = np.zeros((len(points_TN3), 0))
    offset_TN3 = expression_TN3
    for _ in range(_ROUNDS):
        shape_TN3 = speaker.neutral_N3 + expression_TN3
        poses = fit_poses(seen_TN3, shape_TN3[:, STEADY], speaker.bias_N[STEADY], poses)
        depth_TN = poses.apply(shape_TN3)[..., 2]
        offset_TN3 = poses.undo(points_TN3[..., :2], depth_TN) - speaker.neutral_N3
        weights_TC = shapes.solve(offset_TN3)
        expression_TN3 = shapes.offsets(weights_TC)
    return Fit(poses, weights_TC, offset_TN3)


def neutral_rows(track: Track) -> NDArray[np.int64]:
    """The most neutral frames of a clip: lips nearest, eyes open."""
    points = track.points_TN3.astype(np.float64)
    width_T = np.linalg.norm(points[:, mesh.CHEEKS[0]] - points[:, mesh.CHEEKS[1]], axis=1)
    gap_T = np.linalg.norm(points[:, 14, :2] - points[:, 13, :2], axis=1) / width_T
    open_T = eye_opening(track).mean(1)
    awake = open_T > 0.85 * np.percentile(open_T, 70)
    cost_T = gap_T + np.where(awake, 0.0, 1.0)
    return np.argsort(cost_T, kind="stable")[:NEUTRAL_FRAMES]


def eye_opening(track: Track) -> F64:
    """Distance between the lids / width of the eye [T, 2], by both models."""
    from avatar.portrait.landmarks import LIDS

    out = []
    for eye in (0, 1):
        seen = []
        for lids in (track.lids_T2K2[:, eye], track.points_TN3[:, list(LIDS[eye]), :2]):
            width_T = np.linalg.norm(lids[:, 0] - lids[:, 8], axis=1)
            seen.append(np.linalg.norm(lids[:, 3:6] - lids[:, 11:14], axis=2).mean(1) / width_T)
        out.append(np.mean(seen, axis=0))
    return np.stack(out, 1).astype(np.float64)


def learn_speaker(tracks: Sequence[Track]) -> Speaker:
    """The speaker's neutral head from the neutral frames of clips."""
    basis = basis_module.load()
    points_TN3 = np.concatenate([t.points_TN3[neutral_rows(t)] for t in tracks]).astype(np.float64)
    mean = points_TN3[0]
    for _ in range(3):  # all frames laid on one another, by what does not move
        to = first_poses(points_TN3[:, STEADY], mean[STEADY], np.ones(len(STEADY)))
        away = np.einsum("tji,tnj->tni", to.R_T33, points_TN3 - to.shift_T3[:, None]) / to.scale_T[:, None, None]
        mean = np.median(away, axis=0)
    observed = Observed(mean, identity_weights(), False, np.zeros(2), np.array([0.0, 1.0], np.float32))
    solution = solve(basis, observed)
    shape_N3 = basis.neutral_V3[:468] + np.tensordot(solution.identity_A, basis.identity_AV3[:, :468], 1)
    pose = solution.pose
    depth_N = pose.apply(shape_N3)[:, 2]
    seen = np.concatenate([mean[:, :2], depth_N[:, None]], 1)
    neutral_N3 = ((seen - pose.shift_3) / pose.scale) @ pose.R_33
    turned = neutral_N3 @ pose.R_33.T
    bias_N = (mean[:, 2] - pose.shift_3[2]) / pose.scale - turned[:, 2]
    return Speaker(neutral_N3, bias_N - bias_N[STEADY].mean())
