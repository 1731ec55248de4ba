"""The committed face basis: neutral head, identity modes and expression channels on our mesh, in centimetres.

Axes: x image right, y down, z towards the viewer. Made by scripts/fit_basis.py; licences in data/NOTICE.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from avatar.motion.space import EXPRESSION_DIM
from avatar.rig import mesh

F32 = NDArray[np.float32]

PATH: Final = Path(__file__).parent / "data" / "basis.safetensors"


@dataclass(frozen=True)
class Basis:
    """Shapes in cm. A = identity modes, K = 44 channels (the last, tongueHeight, does not move the skin)."""

    neutral_V3: F32
    identity_AV3: F32
    """Offsets of one standard deviation."""
    expression_KV3: F32
    topology: mesh.Topology
    jaw_K6: F32
    """Rigid motion of the lower jaw at 1.0 of a channel: rotation vector about the hinge (radians), shift (cm)."""
    jaw_hinge_3: F32
    eyeball_23: F32
    """Centres of the eyeballs, person's right one first."""


@cache
def load() -> Basis:
    """Read the basis (once per process)."""
    arrays = load_file(PATH)
    topology = mesh.from_arrays(*(arrays[n] for n in ("neutral_V3", "triangles_T3", "parents_V2", "mirror_V")))
    channels = arrays["expression_KV3"].astype(np.float32)
    still = np.zeros((EXPRESSION_DIM - len(channels), *channels.shape[1:]), np.float32)
    return Basis(
        neutral_V3=arrays["neutral_V3"],
        identity_AV3=arrays["identity_AV3"].astype(np.float32),
        expression_KV3=np.concatenate([channels, still]),
        topology=topology,
        jaw_K6=arrays["jaw_K6"],
        jaw_hinge_3=arrays["jaw_hinge_3"],
        eyeball_23=arrays["eyeball_23"],
    )
