"""From one portrait's landmarks to a personal rig.

1. pose, identity and source expression: alternate a weak-perspective pose (Gauss-Newton) with a bounded, ridge
   regularised linear solve for identity (standard deviations) and expression weights (0..1);
2. snap: displace the landmarks' vertices onto the landmarks, spread to the split vertices (snap.py);
3. take the source expression off, close the lips: the neutral face;
4. eyes, mouth's inside, pivot, camera.

Landmark depth from the detector is a weak hint only: the depth of the rig is the model's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, lsq_linear
from scipy.spatial.transform import Rotation

from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.rig import basis as basis_module
from avatar.rig import mesh, snap
from avatar.rig.basis import Basis
from avatar.rig.channels import from_dense
from avatar.rig.eyes import fit_eyes
from avatar.rig.mouth_fit import fit_mouth, lower_teeth_hidden
from avatar.rig.rigid import clear_lids, rigid_weights
from avatar.rig.types import FittedRig

if TYPE_CHECKING:
    from avatar.portrait.analyse import PortraitAnalysis

F64 = NDArray[np.float64]

PIVOT_CM: Final = np.array([0.0, 4.5, -0.5])
"""Where the head turns: the top of the neck, below the ears."""
CAMERA_FACE_WIDTHS: Final = 8.0
"""Distance of the camera: a portrait from about 1.2 m."""
NOISE_CM: Final = 0.12
"""Landmark noise against which identity and expression are weighed."""
DEPTH_WEIGHT: Final = 0.15

SOURCE_PRIOR: Final[dict[str, float]] = {
    "jawOpen": 0.3, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "mouthFrownLeft": 0.15, "mouthFrownRight": 0.15,
    "mouthUpperUpLeft": 0.35, "mouthUpperUpRight": 0.35, "mouthLowerDownLeft": 0.4, "mouthLowerDownRight": 0.4,
    "mouthStretchLeft": 0.15, "mouthStretchRight": 0.15, "mouthPucker": 0.12, "mouthFunnel": 0.12,
    "browInnerUp": 0.08, "browOuterUpLeft": 0.1, "browOuterUpRight": 0.1,
    "browDownLeft": 0.1, "browDownRight": 0.1, "mouthLeft": 0.08, "mouthRight": 0.08,
}  # fmt: skip
"""Channels a portrait may carry, with the size (standard deviation) we expect of them."""
SOURCE_BIAS: Final[dict[str, float]] = {"browInnerUp": 0.2, "mouthFrownLeft": 0.12, "mouthFrownRight": 0.12}
"""What the fit finds in any face (landmarks and kit place brows and corners differently): not an expression."""
OPENERS: Final = (
    "jawOpen", "mouthFunnel", "mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight",
)  # fmt: skip
"""Channels that part the lips: held at 0 when the portrait's lips are closed."""


@dataclass(frozen=True)
class Pose:
    """Weak perspective: image = scale * R @ point + shift (px; z with the same scale)."""

    R_33: F64
    scale: float
    shift_3: F64

    def apply(self, points_N3: NDArray[Any]) -> F64:
        return np.asarray(self.scale * points_N3 @ self.R_33.T + self.shift_3)

    def turn(self, offsets_N3: NDArray[Any]) -> F64:
        """Offsets (no shift)."""
        return np.asarray(self.scale * offsets_N3 @ self.R_33.T)


@dataclass(frozen=True)
class Solution:
    """The model's answer to a portrait: pose, identity [A] and expression [K], residual px [468]."""

    pose: Pose
    identity_A: F64
    expression_K: F64
    residual_468: F64


def fit_rig(analysis: PortraitAnalysis) -> FittedRig:
    """Fit a personal rig to an analysed portrait.

    Needs landmarks_N3 (px; at least 468), iris_2K3, eye_contour_2K3, rgb_HW3 and the glasses of a framed square
    portrait.
    Takes a few hundred milliseconds. ValueError when the landmarks are not finite.
    """
    basis = basis_module.load()
    landmarks = np.asarray(analysis.landmarks_N3[:468], np.float64)
    if landmarks.shape != (468, 3) or not np.isfinite(landmarks).all():
        raise ValueError("The portrait's landmarks are incomplete: analyse the portrait again.")
    size = int(analysis.rgb_HW3.shape[0])
    observed = snap.observe(analysis.rgb_HW3, landmarks, np.asarray(analysis.eye_contour_2K3, np.float64))
    solution = solve(basis, observed)
    pose = solution.pose

    shape_V3 = basis.neutral_V3 + np.tensordot(solution.identity_A, basis.identity_AV3, 1)
    offset_V3 = np.tensordot(solution.expression_K, basis.expression_KV3, 1)
    pivot = pose.apply(PIVOT_CM[None])[0]
    pose = Pose(pose.R_33, pose.scale, pose.shift_3 - [0.0, 0.0, pivot[2]])
    model_V3 = pose.apply(shape_V3 + offset_V3)
    rest_V3 = snap.snap(basis.topology, model_V3, observed)
    neutral_V3 = snap.close_lips(basis.topology, rest_V3 - pose.turn(offset_V3), observed.down_2)

    basis_KV3 = np.stack([pose.turn(channel) for channel in basis.expression_KV3])
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        basis_KV3[INDEX[name]] = 0.0  # lids are closed by contact, to this portrait's own lower lid
    source_K = solution.expression_K.copy()
    source_K[INDEX["eyeBlinkRight"]], source_K[INDEX["eyeBlinkLeft"]] = observed.blink_2
    neutral_V3 = snap.open_lids(basis.topology, neutral_V3, observed.blink_2)
    topology = basis.topology
    rest_V3, neutral_V3, basis_KV3 = clear_lids(
        rest_V3, neutral_V3, basis_KV3, topology.triangles_T3, topology.eye_ring_2E, analysis.lenses_2N2
    )

    width = float(np.linalg.norm(np.subtract(*shape_V3[list(mesh.CHEEKS)])) * pose.scale)
    after = np.linalg.norm(rest_V3[:468, :2] - observed.landmarks_N3[:, :2], axis=1)
    jaw_K6 = basis.jaw_K6.astype(np.float64).copy()
    jaw_K6[:, :3] = jaw_K6[:, :3] @ pose.R_33.T * np.linalg.det(pose.R_33)
    jaw_K6[:, 3:] = pose.turn(jaw_K6[:, 3:])
    jaw_K6[:, 3:] += np.outer(lower_teeth_hidden(), np.r_[observed.down_2, 0.0]) * width
    snap_shift = neutral_V3 - pose.apply(shape_V3)
    return FittedRig(
        size=size,
        rest_V3=_f32(rest_V3),
        neutral_V3=_f32(neutral_V3),
        triangles_T3=topology.triangles_T3,
        basis=from_dense(basis_KV3, pose.scale * pose.R_33),
        source_expression_K=_f32(source_K),
        pivot_3=_f32([pivot[0], pivot[1], 0.0]),
        camera_distance=CAMERA_FACE_WIDTHS * width,
        R_source_33=_f32(pose.R_33),
        face_width=width,
        mouth_ring_M=topology.mouth_ring_M,
        lip_upper_L=topology.lip_upper_L,
        lip_lower_L=topology.lip_lower_L,
        lip_outer_M=topology.lip_outer_M,
        eye_ring_2E=topology.eye_ring_2E,
        lid_upper_2L=topology.lid_upper_2L,
        lid_lower_2L=topology.lid_lower_2L,
        oval_ring=topology.oval_ring,
        eyes=fit_eyes(basis, pose, snap_shift, np.asarray(analysis.iris_2K3, np.float64)),
        mouth=fit_mouth(pose, neutral_V3, analysis.rgb_HW3, rest_V3[topology.mouth_ring_M, :2], observed.down_2, width),
        landmarks_468=np.arange(468, dtype=np.int32),
        jaw_K6=_f32(jaw_K6),
        jaw_hinge_3=_f32(pose.apply(basis.jaw_hinge_3[None])[0] + _mouth_shift(snap_shift, topology)),
        rigid_V=rigid_weights(
            rest_V3,
            topology.triangles_T3,
            topology.eye_ring_2E,
            analysis.glasses_S22,
            analysis.lenses_2N2,
            analysis.glasses_radius,
            width,
        ),
        fit_report=_f32(np.r_[_spread_of(solution.residual_468), _spread_of(after), pose.scale]),
    )


def solve(basis: Basis, observed: snap.Observed, rounds: int = 8) -> Solution:
    """Pose, identity and source expression for landmarks (see the module's first lines)."""
    names = [n for n in SOURCE_PRIOR if observed.lips_open or n not in OPENERS]
    channels = np.array([INDEX[n] for n in names])
    prior = np.array([SOURCE_PRIOR[n] for n in names])
    neutral = basis.neutral_V3[:468].astype(np.float64)
    modes = np.concatenate([basis.identity_AV3[:, :468], basis.expression_KV3[channels][:, :468]]).astype(np.float64)
    n_identity = len(basis.identity_AV3)
    deviation = np.r_[np.ones(n_identity), prior]
    low = np.r_[np.full(n_identity, -3.0), np.zeros(len(names))]
    high = np.r_[np.full(n_identity, 3.0), np.ones(len(names))]
    high[n_identity:][[n == "jawOpen" for n in names]] = 0.6

    weight = observed.weight_N
    target = observed.landmarks_N3.copy()
    coefficients = np.zeros(len(modes))
    pose = _first_pose(neutral, target)
    for _ in range(rounds):
        shape = neutral + np.tensordot(coefficients, modes, 1)
        pose = _refine_pose(pose, shape, target, weight)
        axes = np.concatenate([modes @ pose.R_33.T], 0)  # [C, 468, 3] in camera axes, cm
        wanted = (target - pose.shift_3) / pose.scale - neutral @ pose.R_33.T
        wanted[:, 2] -= (wanted[:, 2] - np.tensordot(coefficients, axes, 1)[:, 2]).mean()
        per_axis = weight[:, None] * np.array([1.0, 1.0, DEPTH_WEIGHT])
        rows = [(axes * per_axis).reshape(len(modes), -1).T, np.diag(NOISE_CM / deviation)]
        right = [(wanted * per_axis).ravel(), np.zeros(len(modes))]
        upper, lower = list(mesh.LIP_UPPER[1:-1]), list(mesh.LIP_LOWER[1:-1])
        if observed.lips_open:  # explain the opening by expression, not by identity
            rows.append(4.0 * (axes[:, lower, 1] - axes[:, upper, 1]).T)
            right.append(4.0 * (wanted[lower, 1] - wanted[upper, 1]))
        coefficients = _bounded(np.concatenate(rows), np.concatenate(right), low, high)
    shape = neutral + np.tensordot(coefficients, modes, 1)
    residual = np.linalg.norm((pose.apply(shape) - target)[:, :2], axis=1)
    expression = np.zeros(EXPRESSION_DIM)
    expression[channels] = coefficients[n_identity:]
    for name, bias in SOURCE_BIAS.items():
        expression[INDEX[name]] -= bias
    expression[expression < 0.02] = 0.0
    return Solution(pose, coefficients[:n_identity], expression, residual)


def _bounded(left: F64, right: F64, low: F64, high: F64) -> F64:
    """Least squares within bounds, by its small square form (the ridge keeps it well conditioned)."""
    normal = left.T @ left
    factor = np.linalg.cholesky(normal)
    small = np.linalg.solve(factor, left.T @ right)
    return np.asarray(lsq_linear(factor.T, small, bounds=(low, high), tol=1e-8).x)


def _first_pose(shape: F64, target: F64) -> Pose:
    """Similarity (Umeyama 1991) on xy and the detector's depth."""
    a, b = shape - shape.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    fix = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ fix @ vt
    scale = float(np.trace(np.diag(s) @ fix) / (a**2).sum())
    return Pose(rotation, scale, target.mean(0) - scale * rotation @ shape.mean(0))


def _refine_pose(pose: Pose, shape: F64, target: F64, weight: F64) -> Pose:
    """Weighted least squares over rotation, log scale and shift; the depth axis counts DEPTH_WEIGHT."""
    per_axis = weight[:, None] * np.array([1.0, 1.0, DEPTH_WEIGHT]) / pose.scale

    def unpack(x: F64) -> Pose:
        rotation = Rotation.from_rotvec(x[:3]).as_matrix() @ pose.R_33
        return Pose(rotation, pose.scale * float(np.exp(x[3])), pose.shift_3 + x[4:] * pose.scale)

    def residual(x: F64) -> F64:
        return np.asarray(((unpack(x).apply(shape) - target) * per_axis).ravel())

    return unpack(least_squares(residual, np.zeros(7), method="lm", max_nfev=60).x)


def _mouth_shift(snap_shift_V3: F64, topology: mesh.Topology) -> F64:
    return np.asarray(snap_shift_V3[topology.mouth_ring_M].mean(0))


def _spread_of(values: F64) -> F64:
    return np.array([np.median(values), np.percentile(values, 95), values.max()])


def _f32(values: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, np.float32)
