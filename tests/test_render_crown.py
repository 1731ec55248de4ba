"""Hair cut off by the frame gets a round top."""

from __future__ import annotations

import cv2
import numpy as np

from avatar.render.crown import round_off


def cut_off() -> tuple[np.ndarray, np.ndarray]:
    matte = np.zeros((256, 256), np.float32)
    cv2.ellipse(matte, (128, 100), (60, 115), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    rgb = np.where(matte[..., None] > 0.5, np.array([60, 40, 30], np.uint8), np.uint8(200))
    rgb[::4] = rgb[::4] * 0.8
    return rgb.astype(np.uint8), matte


def test_the_crown_ends_round_and_inside() -> None:
    rgb, matte = cut_off()
    assert matte[0].max() == 1.0
    after_rgb, after, beyond = round_off(rgb, matte, 80.0, 110.0)
    assert after[0].max() == 0.0
    top = np.argmax(after > 0.5, axis=0)
    columns = np.flatnonzero(after.max(0) > 0.5)
    middle, side = top[128], top[128 - 30]
    assert 1 <= middle <= 4
    assert side > middle + 3
    assert np.abs(np.diff(top[columns[5:-5]])).max() < 30
    assert np.array_equal(after_rgb[81:], rgb[81:]) and np.array_equal(after[81:], matte[81:])
    assert beyond[0, 128] and not beyond[40:].any()


def test_a_whole_head_stays_as_it_is() -> None:
    rgb, matte = cut_off()
    matte[:6] = 0.0
    after_rgb, after, beyond = round_off(rgb, matte, 80.0, 110.0)
    assert after_rgb is rgb and after is matte and not beyond.any()


def test_a_picture_without_hair_is_left_alone() -> None:
    rgb, matte = cut_off()
    _, after, beyond = round_off(rgb, matte, 10.0, 110.0)  # the forehead itself is cut
    assert after is matte and not beyond.any()
