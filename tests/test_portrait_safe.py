"""How far a head may move: never beyond what one picture holds, and the portrait itself is always allowed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar.motion import space
from avatar.portrait.analyse import PortraitAnalysis, analyse
from avatar.portrait.safe import beside_jaw, has_long_hair, safe_range
from tests.portrait_pictures import astronaut, portrait

angle = st.floats(-50, 50)


@pytest.fixture(scope="module")
def analysis() -> PortraitAnalysis:
    return analyse(portrait(astronaut()))


@given(angle, angle, angle, st.booleans())
def test_the_portrait_itself_is_always_inside(yaw: float, pitch: float, roll: float, hair: bool) -> None:
    own = np.array([yaw, pitch, roll])
    low, high = np.degrees(safe_range(own, hair))
    assert (low <= 0).all() and (high >= 0).all()
    head = slice(space.INDEX["headYaw"], space.INDEX["headRoll"] + 1)
    assert (low >= np.degrees(space.LOW_D[head]) - 1e-4).all() and (high <= np.degrees(space.HIGH_D[head]) + 1e-4).all()
    for moved in (own + low, own + high):
        assert (np.abs(moved) <= np.maximum(np.abs(own), [25, 22, 25]) + 1e-4).all(), "never further out than allowed"


def test_figures() -> None:
    front = np.degrees(safe_range(np.zeros(3), False))
    np.testing.assert_allclose(front, [[-15, -10, -10], [15, 10, 10]], atol=1e-4)
    np.testing.assert_allclose(np.degrees(safe_range(np.zeros(3), True))[:, 0], [-10, 10], atol=1e-4)
    np.testing.assert_allclose(np.degrees(safe_range(np.array([12, 0, 0]), False))[:, 0], [-10, 10], atol=1e-4)
    np.testing.assert_allclose(np.degrees(safe_range(np.array([22, 0, 0]), False))[:, 0], [-10, 3], atol=1e-4)
    np.testing.assert_allclose(np.degrees(safe_range(np.array([-30, 0, 0]), False))[:, 0], [0, 10], atol=1e-4)


def test_short_hair_leaves_the_strip_beside_the_jaw_to_the_background(analysis: PortraitAnalysis) -> None:
    assert beside_jaw(analysis.matte_HW, analysis.landmarks_N3).min() < 0.3
    assert not has_long_hair(analysis.matte_HW, analysis.landmarks_N3)


def test_hair_beside_the_jaw_is_noticed_at_any_tilt(analysis: PortraitAnalysis) -> None:
    points, matte = analysis.landmarks_N3, analysis.matte_HW.copy()
    ear, chin = round(float(points[234, 1])), round(float(points[152, 1]))
    left, right = round(float(points[234, 0])), round(float(points[454, 0]))
    matte[ear:chin, left - 60 : left + 10] = 1.0
    assert not has_long_hair(matte, points), "one side alone may be a shoulder or a ponytail"
    matte[ear:chin, right - 10 : right + 60] = 1.0
    assert has_long_hair(matte, points)
    turned = points.copy()
    turned[:, 0], turned[:, 1] = 511 - points[:, 1], points[:, 0]
    assert has_long_hair(np.ascontiguousarray(np.rot90(matte, -1)), turned)


def test_the_analysis_carries_the_range(analysis: PortraitAnalysis) -> None:
    expected = safe_range(analysis.pose_deg_3, False)
    np.testing.assert_array_equal(analysis.safe_range_23, expected)
    np.testing.assert_array_equal(analysis.pack()["safe_range_23"], expected)
