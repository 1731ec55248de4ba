"""A damaged identity is refused before compiled kernels read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.render.decoder import Decoder
from avatar.render.layers import PREFIX, Layers
from avatar.render.layers_check import check_layers, check_range
from tests.render_samples import identity, rig

Array = NDArray[Any]
NAMES = [f.name for f in fields(Layers)]


def with_array(name: str, array: Array) -> Decoder:
    return Decoder(replace(identity(), arrays={**identity().arrays, name: array}), size=128)


DAMAGE: dict[str, Callable[[Array], Array]] = {
    "shorter": lambda a: a[:-1],
    "narrower": lambda a: a[..., :-1],
    "one axis more": lambda a: a[None],
    "other type": lambda a: a.astype(np.float64),
    "one number": lambda a: a.ravel()[:1],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", NAMES)
def test_each_array_must_fit_the_rig(name: str, damage: Callable[[Array], Array]) -> None:
    parts = Layers.unpack(identity().arrays)
    assert check_layers(parts, rig()) is parts
    with pytest.raises(ValueError, match="damaged: prepare the portrait again"):
        check_layers(replace(parts, **{name: damage(getattr(parts, name))}), rig())


@pytest.mark.parametrize("name", [n for n in NAMES if not n.endswith(("HW3", "HW4"))])
def test_numbers_are_finite(name: str) -> None:
    parts = Layers.unpack(identity().arrays)
    array = getattr(parts, name).copy()
    array.flat[-1] = np.nan
    with pytest.raises(ValueError, match="layers in this identity are damaged"):
        check_layers(replace(parts, **{name: array}), rig())


@pytest.mark.parametrize("side", [0, 1])
def test_eye_pictures_have_neighbours(side: int) -> None:
    parts = Layers.unpack(identity().arrays)
    small = {n: getattr(parts, n)[:, :side, :side] for n in ("sclera_2SS3", "iris_2SS4", "glint_2SS3")}
    with pytest.raises(ValueError, match="layers in this identity are damaged"):
        check_layers(replace(parts, **small), rig())


def test_the_decoder_refuses_them() -> None:
    lips = identity().arrays[PREFIX + "lip_M3"]
    with pytest.raises(ValueError, match="layers in this identity are damaged"):
        with_array(PREFIX + "lip_M3", lips[:3])
    for damaged in (np.zeros(3, np.float32), np.zeros((3, 2), np.float32), np.full((2, 3), np.nan, np.float32)):
        with pytest.raises(ValueError, match="'safe_range_23' in this identity is damaged"):
            with_array("safe_range_23", damaged)
    assert check_range(np.zeros((2, 3))).dtype == np.float32
