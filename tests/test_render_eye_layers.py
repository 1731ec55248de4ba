"""An eye taken apart: whites go on behind the iris, irises are whole and clean, lids carry no white with them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.render.eye_layers import RIM, complete_iris, lid_softness, outward
from avatar.render.eye_white import DARKEST, complete_white, eye_tone
from avatar.render.images import LUMA, sample
from avatar.render.layers import Layers
from avatar.render.lid_layers import clean_lids, lash_colours
from tests.render_samples import identity, rig

SIDE, RADIUS = 61, 11.0
CENTRE = np.array([30.0, 30.0])
F32 = NDArray[np.float32]


def distance() -> F32:
    yy, xx = np.mgrid[:SIDE, :SIDE]
    return (np.hypot(xx - CENTRE[0], yy - CENTRE[1]) / RADIUS).astype(np.float32)


def eye_opening() -> NDArray[np.bool_]:
    yy, xx = np.mgrid[:SIDE, :SIDE]
    return ((xx - 30) / 26.0) ** 2 + ((yy - 30) / 9.0) ** 2 < 1.0


def drawn_eye(white: float, slope: float, skin: tuple[float, float, float]) -> F32:
    """White that gets darker to one side, a dark iris in front, skin around."""
    patch = np.broadcast_to(np.array(skin, np.float32), (SIDE, SIDE, 3)).copy()
    ramp = white * (1 + slope * (np.arange(SIDE) - 30) / 26.0)
    patch[eye_opening()] = np.repeat(np.broadcast_to(ramp, (SIDE, SIDE))[..., None], 3, -1)[eye_opening()]
    patch[eye_opening() & (distance() < 1.0)] = (70, 45, 30)
    return patch


@settings(max_examples=30, deadline=None)
@given(white=st.floats(120, 230), slope=st.floats(-0.25, 0.25), skin=st.floats(0.4, 1.3))
def test_the_white_goes_on_behind_the_iris(white: float, slope: float, skin: float) -> None:
    patch = np.clip(drawn_eye(white, slope, (200 * skin, 150 * skin, 120 * skin)), 0, 255).astype(np.float32)
    clear = cv2.erode(eye_opening().astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    tone, seen = eye_tone(patch, clear & (distance() > 1.2), eye_opening())
    whole = complete_white(
        patch, clear, eye_opening(), distance(), tone, np.array([56.0, 30.0]), CENTRE, RADIUS, 26.0
    )  # fmt: skip
    assert seen > 50
    assert np.isfinite(whole).all()
    assert whole.min() >= 0
    behind = clear & (distance() < 0.8)
    assert np.abs(whole[behind] @ LUMA - white).max() < 0.22 * white, "no iris, no skin in the white behind the iris"


def test_white_is_never_as_dark_as_lashes() -> None:
    patch = np.full((SIDE, SIDE, 3), 180, np.float32)
    patch[eye_opening()] = 30
    tone, _ = eye_tone(patch, eye_opening() & (distance() > 1.2), eye_opening())
    assert 180 < float(tone @ LUMA) < 256, "not black: a white in the light of the skin around"
    patch[eye_opening()] = 100
    tone, _ = eye_tone(patch, eye_opening() & (distance() > 1.2), eye_opening())
    assert float(tone @ LUMA) >= DARKEST * 180 - 1
    dark = np.full((SIDE, SIDE, 3), 40, np.float32)
    dark[eye_opening()] = 50
    tone, _ = eye_tone(dark, eye_opening() & (distance() > 1.2), eye_opening())
    assert float(tone @ LUMA) == pytest.approx(50, abs=1), "a dark picture's white stays as it is"
    blind, seen = eye_tone(patch, np.zeros((SIDE, SIDE), bool), eye_opening())
    assert seen == 0
    assert np.isfinite(blind).all()


@settings(max_examples=30, deadline=None)
@given(
    iris=st.integers(30, 150), pupil=st.floats(0.2, 0.5), upper=st.floats(-0.8, 0.2), lashes=st.integers(0, 6),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_hidden_iris_is_completed_round_and_clean(
    iris: int, pupil: float, upper: float, lashes: int, seed: int
) -> None:
    """Whatever the upper lid hides, and with dark lashes across: every radius looks as it does where it is seen."""
    rng = np.random.default_rng(seed)
    away = distance()
    patch = np.full((SIDE, SIDE, 3), 220, np.float32)
    patch[away < 1.0] = (iris, iris * 0.8, iris * 0.6)
    patch[away < pupil] = 12
    clear = np.arange(SIDE)[:, None] > CENTRE[1] + upper * RADIUS
    clear = np.broadcast_to(clear, (SIDE, SIDE)).copy()
    shown = patch.copy()
    shown[~clear] = (200, 150, 120)
    for x in rng.integers(20, 42, lashes):
        shown[int(CENTRE[1] + 0.6 * RADIUS) : 45, x] = 0
    whole = complete_iris(shown, clear, CENTRE, RADIUS)
    assert np.isfinite(whole).all()
    ring = (away > pupil + 0.25) & (away < RIM - 0.1)
    off = np.abs(whole[ring] - patch[ring]).max(1)
    assert np.mean(off > 40) < 0.12, "hardly any lid, lash or white left in the iris"


def test_closing_lids_carry_no_white() -> None:
    """Inside the lids and at their edges there is no white or iris left in the person's texture."""
    parts = Layers.unpack(identity().arrays)
    before, after = identity().arrays["rgb_HW3"].astype(np.float32), parts.person_HW4[..., :3].astype(np.float32)
    for eye in range(2):
        ring = rig().rest_V3[rig().eye_ring_2E[eye], :2]
        reach = np.linspace(-0.5, 0.3, 9) * rig().eyes.iris_radius_2[eye]
        at = (ring[:, None] + reach[None, :, None] * outward(ring)[:, None]).reshape(-1, 2)

        def whitish(picture: F32, at: NDArray[np.float32]) -> int:
            colours = sample(picture, at)
            return int(((colours.min(1) > 150) & (np.ptp(colours, axis=1) < 40)).sum())

        assert whitish(before, at) > 30
        assert whitish(after, at) <= 0.1 * whitish(before, at)


def test_clean_lids_touch_only_the_eyes() -> None:
    picture = identity().arrays["rgb_HW3"]
    changed = np.abs(clean_lids(picture, rig(), np.full(3, 200, np.float32)).astype(int) - picture).max(-1) > 0
    assert changed.any()
    for eye in range(2):
        ring = rig().rest_V3[rig().eye_ring_2E[eye], :2]
        margin = 0.8 * rig().eyes.iris_radius_2[eye]
        (x0, y0), (x1, y1) = ring.min(0) - margin, ring.max(0) + margin
        changed[int(y0) : int(y1) + 2, int(x0) : int(x1) + 2] = False
    assert not changed.any()


def test_lashes_are_darker_than_the_lid_and_soft_portraits_are_measured_as_soft() -> None:
    picture, face = identity().arrays["rgb_HW3"], rig()
    parts = Layers.unpack(identity().arrays)
    lashes = lash_colours(picture, face, parts.lid_step_2E)
    assert (lashes[:, :3] @ LUMA < 0.76 * (parts.lid_skin_2L4[..., :3] @ LUMA).mean(1)).all()
    assert (lashes[:, 3] > 5).all()
    sharp = lid_softness(picture, face)
    blurred = lid_softness(cv2.GaussianBlur(picture, (0, 0), 2.0).astype(np.uint8), face)
    assert (sharp < 0.05).all()
    assert (blurred > sharp + 0.08).all()
