"""The background goes on behind the person: texture, edges, gradients, grain; and nothing of the person stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.render.images import fill
from avatar.render.patches import continue_texture
from avatar.render.plate import PLAIN, ROUGH, background_plate, continued, grain, roughness, surely_background
from tests.render_samples import identity

U8 = NDArray[np.uint8]
SIDE = 192


def person_shape(side: int = SIDE) -> NDArray[np.float32]:
    """A matte: head, neck and shoulders."""
    matte = np.zeros((side, side), np.float32)
    unit = side / 192
    cv2.ellipse(matte, (int(96 * unit), int(80 * unit)), (int(34 * unit), int(44 * unit)), 0, 0, 360, 1.0, -1)
    cv2.rectangle(matte, (int(80 * unit), int(110 * unit)), (int(112 * unit), int(150 * unit)), 1.0, -1)
    cv2.ellipse(matte, (int(96 * unit), int(192 * unit)), (int(75 * unit), int(50 * unit)), 0, 0, 360, 1.0, -1)
    return matte


def bricks() -> U8:
    y, x = np.mgrid[:SIDE, :SIDE]
    joint = (y % 16 < 3) | ((x + 12 * ((y // 16) % 2)) % 24 < 3)
    wall = np.where(joint, 190, 110).astype(np.float64)
    wall += np.random.default_rng(1).normal(0, 12, wall.shape)
    return np.clip(wall[..., None] * [1.0, 0.75, 0.6], 0, 255).astype(np.uint8)


def behind(picture: U8, matte: NDArray[np.float32]) -> tuple[U8, NDArray[np.bool_]]:
    """The picture with a red person in front, and the ring that a motion may uncover."""
    hidden = np.where(matte[..., None] > 0.5, np.array([250, 20, 20], np.uint8), picture)
    depth = cv2.distanceTransform((~surely_background(matte)).astype(np.uint8), cv2.DIST_L2, 3)
    return hidden, (depth > 0) & (depth < 0.1 * SIDE)


def test_a_brick_wall_goes_on_as_bricks() -> None:
    wall = bricks()
    hidden, ring = behind(wall, person_shape())
    plate = background_plate(hidden, person_shape()).astype(float)
    smooth = fill(hidden.astype(np.float32), surely_background(person_shape()).astype(np.float32))
    off, off_smooth = (np.abs(p - wall)[ring].mean() for p in (plate, smooth))
    assert off < 0.75 * off_smooth
    detail = (plate - cv2.GaussianBlur(plate, (0, 0), 3))[ring].std()
    assert detail > 0.8 * (wall - cv2.GaussianBlur(wall.astype(float), (0, 0), 3))[ring].std()


def test_a_gradient_goes_on_without_a_seam() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    wall = np.clip(90 + 0.4 * y + 0.3 * x, 0, 255)[..., None].repeat(3, -1).astype(np.uint8)
    hidden, ring = behind(wall, person_shape())
    plate = background_plate(hidden, person_shape())
    assert np.abs(plate.astype(int) - wall)[ring].mean() < 4.0
    step = np.abs(np.diff(plate.astype(int), axis=1)).max(-1)[:, :-1][ring[:, 1:-1]]
    assert np.quantile(step, 0.999) <= 6


def test_what_is_known_stays_and_the_answer_is_always_the_same() -> None:
    hidden, _ = behind(bricks(), person_shape())
    known = surely_background(person_shape())
    first, again = background_plate(hidden, person_shape()), background_plate(hidden, person_shape())
    assert np.array_equal(first[known], hidden[known])
    assert np.array_equal(first, again)


def test_nothing_of_the_person_stays() -> None:
    for wall in (bricks(), np.full((SIDE, SIDE, 3), 120, np.uint8)):
        hidden, _ = behind(wall, person_shape())
        plate = background_plate(hidden, person_shape()).astype(int)
        assert (plate[..., 0] - plate[..., 2]).max() < 130  # the person's red is 230 over its blue


def test_loose_hair_is_taken_out_of_a_smooth_background() -> None:
    matte = person_shape(512)
    hidden = np.where(matte[..., None] > 0.5, np.array([250, 20, 20], np.uint8), np.uint8(180))
    cv2.line(hidden, (352, 173), (368, 206), (80, 70, 70), 1, cv2.LINE_AA)
    assert surely_background(matte)[180, 356]
    plate = background_plate(hidden, matte).astype(int)
    assert np.abs(plate[165:215, 345:380] - 180).max() < 30


def test_a_smooth_wall_gets_its_grain_and_a_clean_one_none() -> None:
    noise = np.random.default_rng(3).normal(0, 4, (SIDE, SIDE, 3))
    known = surely_background(person_shape())
    wall = np.clip(np.rint(128 + noise), 0, 255).astype(np.uint8)
    filled = continued(np.where(known[..., None], wall, 0).astype(np.uint8), known).astype(float)
    spread = (filled - cv2.GaussianBlur(filled, (0, 0), 2))[~known].std()
    assert spread == pytest.approx((wall - cv2.GaussianBlur(wall.astype(float), (0, 0), 2))[known].std(), rel=0.5)
    assert np.abs(grain(np.full((SIDE, SIDE, 3), 128, np.float32), known)).max() < 0.1


@pytest.mark.parametrize("spread", [0.5, 4.0, 40.0])
@pytest.mark.parametrize(
    ("gain_3", "shift_3"),
    [((1, 1, 1), (12, 0, -14)), ((1, 1, -1), (0, 0, 255)), ((1, 0, 0), (0, 90, 90)), ((2, 1, 1), (-128, 0, 5))],
    ids=["tinted", "inverted", "one channel", "doubled"],
)
def test_channels_that_depend_on_each_other_get_grain_too(
    gain_3: tuple[int, int, int], shift_3: tuple[int, int, int], spread: float
) -> None:
    """Black-and-white pictures with a tint: the grain keeps to it."""
    grey = 128 + np.random.default_rng(3).normal(0, spread, (SIDE, SIDE, 1))
    wall = (np.rint(grey) * gain_3 + shift_3).astype(np.float32)
    made = grain(wall, np.ones((SIDE, SIDE), np.bool_))
    assert np.isfinite(made).all() and made.std() > 0.1 * min(spread, 4.0)
    most = made.std((0, 1)).max()
    for channel, gain in enumerate(gain_3):
        expected = made[..., 0] * (gain / gain_3[0])
        assert np.abs(made[..., channel] - expected).mean() < 0.05 * most, "off its tint"


def test_smooth_and_textured_are_told_apart() -> None:
    known = surely_background(person_shape())
    assert roughness(bricks().astype(np.float32), known).min() > ROUGH[1]
    y = np.linspace(80, 160, SIDE, dtype=np.float32)
    assert roughness(np.broadcast_to(y[:, None, None], (SIDE, SIDE, 3)).copy(), known).max() < PLAIN


def test_a_cut_out_gets_a_backdrop() -> None:
    matte = person_shape()
    rgb = np.where(matte[..., None] > 0.5, np.array([200, 150, 120], np.uint8), np.uint8(128))
    plate = background_plate(rgb, matte)
    assert len(np.unique(plate.reshape(-1, 3), axis=0)) > 20
    assert np.abs(np.diff(plate.astype(int), axis=0)).max() <= 2
    assert background_plate(rgb, np.ones_like(matte)).shape == rgb.shape


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31), st.integers(8, 90), st.floats(0.0, 1.0))
def test_any_picture_and_hole_is_filled(seed: int, side: int, share: float) -> None:
    random = np.random.default_rng(seed)
    picture = random.uniform(0, 255, (side, side, 3)).astype(np.float32)
    known = cv2.resize(random.random((5, 5)), (side, side)) > share
    filled = continue_texture(picture, known, 20)
    assert np.isfinite(filled).all()
    assert filled.min() >= -0.01 and filled.max() <= 255.01
    assert np.array_equal(filled[known], picture[known])


def test_copies_that_do_not_fit_meet_softly() -> None:
    """A dotted and a finely striped wall, both cut off by the hole: no edge of the original's strength inside."""
    yy, xx = np.mgrid[:SIDE, :SIDE]
    dark = 60 + 20 * np.sin(xx * 0.9) * np.sin(yy * 0.9)
    light = 190 + 20 * np.sin(yy * 0.8)
    picture = np.repeat(np.where(xx < SIDE // 2, dark, light)[..., None], 3, -1).astype(np.float32)
    known = np.abs(xx - SIDE // 2) > SIDE // 8  # nowhere known: how the two meet
    filled = continue_texture(picture, known, SIDE)
    steepest = np.abs(np.diff(filled.mean(-1), axis=1)).max(1)[SIDE // 4 : -SIDE // 4]
    assert np.median(steepest) < 45


def test_the_presenters_plate_is_plain() -> None:
    plate = identity().arrays["render.plate_HW3"].astype(float)
    soft = cv2.GaussianBlur(plate, (0, 0), 20)
    assert np.abs(plate - soft)[60:-60, 60:-60].max() < 16
