"""A made-up portrait for rig tests: the basis' own head, posed and posing, with known answers. No model files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.rig import basis as basis_module
from avatar.rig import snap
from avatar.rig.deform import head_pose
from avatar.rig.fit import Pose, fit_rig
from avatar.rig.types import FittedRig

SIZE = 512
PX_PER_CM = 13.6


@dataclass(frozen=True)
class Sample:
    """What the fit reads of a portrait analysis, and the truth it was made from."""

    landmarks_N3: NDArray[np.float32]
    iris_2K3: NDArray[np.float32]
    eye_contour_2K3: NDArray[np.float32]
    pose: Pose
    expression_K: NDArray[np.float64]
    rgb_HW3: NDArray[np.uint8] = field(default_factory=lambda: np.full((SIZE, SIZE, 3), 128, np.uint8))
    glasses_S22: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2, 2), np.float32))
    lenses_2N2: NDArray[np.float32] = field(default_factory=lambda: np.zeros((2, 0, 2), np.float32))
    glasses_radius: float = 0.0


def expression(**channels: float) -> NDArray[np.float64]:
    """Channels by name; a name without a side sets both."""
    out = np.zeros(space.EXPRESSION_DIM)
    for name, value in channels.items():
        for full in [name] if name in space.INDEX else [name + "Left", name + "Right"]:
            out[space.INDEX[full]] = value
    return out


def motion(**channels: float) -> NDArray[np.float32]:
    """A motion vector by channel names; a name without a side sets both."""
    out = space.neutral()
    for name, value in channels.items():
        for full in [name] if name in space.INDEX else [name + "Left", name + "Right"]:
            out[space.INDEX[full]] = value
    return out


def portrait(
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    identity: tuple[float, ...] = (),
    noise_px: float = 0.0,
    seed: int = 0,
    **channels: float,
) -> Sample:
    """Draw the basis' landmarks: degrees, standard deviations of the first identity modes, channels."""
    basis = basis_module.load()
    turn = head_pose(motion(**_radians(yaw, pitch, roll)), 1.0).R_33.astype(np.float64)
    shape = basis.neutral_V3 + np.tensordot(np.array(identity), basis.identity_AV3[: len(identity)], 1)
    weights = expression(**channels)
    shape = shape + np.tensordot(weights, basis.expression_KV3, 1)
    pose = Pose(turn, PX_PER_CM, np.array([SIZE / 2, SIZE / 2 + 10.0, 0.0]))
    vertices = pose.apply(shape)
    landmarks = vertices[:468] + np.random.default_rng(seed).normal(0.0, noise_px, (468, 3))
    contour = np.zeros((2, 71, 3))
    rows = np.array(snap._LID_ROWS)
    for eye, landmark_rows in enumerate((rows, basis.topology.mirror_V[:468][rows])):
        contour[eye, : len(rows)] = landmarks[landmark_rows]
    iris = np.zeros((2, 5, 3))
    for eye in range(2):
        middle = vertices[basis.topology.eye_ring_2E[eye]].mean(0)
        iris[eye] = middle + PX_PER_CM * 0.58 * np.array(
            [[0, 0, 0], [1, 0, 0], [0, -1, 0], [-1, 0, 0], [0, 1, 0]], np.float64
        )  # fmt: skip
    return Sample(landmarks.astype(np.float32), iris.astype(np.float32), contour.astype(np.float32), pose, weights)


def _radians(yaw: float, pitch: float, roll: float) -> dict[str, float]:
    return {
        "headYaw": float(np.radians(yaw)),
        "headPitch": float(np.radians(pitch)),
        "headRoll": float(np.radians(roll)),
    }


@cache
def sample_rig(kind: str = "closed") -> FittedRig:
    """A fitted rig: `closed` lips, `open` smile with parted lips, `turned` by 15 degrees."""
    samples = {
        "closed": lambda: portrait(identity=(0.6, -0.5, 0.4), noise_px=0.5),
        "open": lambda: portrait(
            identity=(-0.5, 0.3), noise_px=0.5, mouthSmile=0.6, jawOpen=0.2, mouthUpperUp=0.3, mouthLowerDown=0.3
        ),
        "turned": lambda: portrait(yaw=15.0, pitch=-5.0, roll=4.0, identity=(0.2, 0.5), noise_px=0.5),
    }
    return fit_rig(samples[kind]())


KINDS = ("closed", "open", "turned")


def source_motion(rig: FittedRig) -> NDArray[np.float32]:
    """The motion that is the portrait itself."""
    out = space.neutral()
    out[: space.EXPRESSION_DIM] = rig.source_expression_K
    out[space.GAZE] = rig.eyes.source_gaze_2
    return out
