"""Whether the painted parts of a stored identity belong to each other and to its rig.

Compiled kernels read these arrays without looking at their bounds, so a damaged file must be refused beforehand.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.render.layers import Layers
from avatar.render.mouth_atlas import ATLAS_SIZE
from avatar.rig.types import FittedRig

LEAST_EYE: Final = 2
"""px: eye pictures are looked up between neighbouring pixels."""


def check_layers(layers: Layers, rig: FittedRig) -> Layers:
    """The layers as they are; ValueError for shapes or types that the rig's frames cannot be drawn from, or NaN."""
    side = max(layers.sclera_2SS3.shape[1:2], default=0)
    ring, lid, eye = len(rig.mouth_ring_M), rig.lid_upper_2L.shape[1], rig.eye_ring_2E.shape[1]
    pictures = {
        "person_HW4": (rig.size, rig.size, 4),
        "plate_HW3": (rig.size, rig.size, 3),
        "mouth_HW3": (*ATLAS_SIZE, 3),
    }
    numbers = {
        "sclera_2SS3": (2, side, side, 3),
        "iris_2SS4": (2, side, side, 4),
        "glint_2SS3": (2, side, side, 3),
        "eye_origin_22": (2, 2),
        "lid_step_2E": (2, eye),
        "lash_24": (2, 4),
        "lid_skin_2L4": (2, lid, 4),
        "lid_soft_2": (2,),
        "lip_M3": (ring, 3),
        "lip_step_M": (ring,),
        "mouth_tone_43": (4, 3),
        "light_4": (4,),
    }
    sound = (
        side >= LEAST_EYE
        and all(_is(getattr(layers, name), shape, np.uint8) for name, shape in pictures.items())
        and all(_is(getattr(layers, name), shape, np.float32) for name, shape in numbers.items())
    )
    if not sound:
        raise ValueError("The layers in this identity are damaged: prepare the portrait again.")
    return layers


def check_range(safe_range_23: NDArray[Any]) -> NDArray[np.float32]:
    """Lowest and highest yaw, pitch, roll in radians, float32 [2, 3]; ValueError for anything else."""
    if safe_range_23.shape != (2, 3) or safe_range_23.dtype.kind != "f" or not np.isfinite(safe_range_23).all():
        raise ValueError("The 'safe_range_23' in this identity is damaged: prepare the portrait again.")
    return safe_range_23.astype(np.float32)


def _is(array: NDArray[Any], shape: tuple[int, ...], kind: type[np.generic]) -> bool:
    return array.shape == shape and array.dtype == kind and (array.dtype.kind != "f" or bool(np.isfinite(array).all()))
