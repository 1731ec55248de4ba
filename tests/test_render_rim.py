"""The person's colours at a half transparent rim, known because we made the mixture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from avatar.render.layers import person_layer
from avatar.render.rim import rim_colours

SIDE = 128


def mixture() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth (front, alpha) and the picture of dark hair in front of a bright wall."""
    y, x = np.mgrid[:SIDE, :SIDE]
    front = np.stack([70 + 0.2 * y, 45 + 0.1 * x, 30 + 0 * x], -1)
    back = np.stack([200 + 0 * x, 215 - 0.2 * y, 235 - 0.1 * x], -1)
    alpha = cv2.GaussianBlur((np.hypot(x - 64, y - 64) < 40 + 6 * np.sin(x / 3.0)).astype(np.float32), (0, 0), 3)
    mixed = front * alpha[..., None] + back * (1 - alpha[..., None])
    return front, alpha.astype(np.float32), np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def test_both_colours_are_found() -> None:
    front, alpha, picture = mixture()
    found, wall = rim_colours(picture, alpha)
    rim = (alpha > 0.1) & (alpha < 0.9)
    assert np.abs(found - front)[rim].mean() < 6.0
    again = found * alpha[..., None] + wall * (1 - alpha[..., None])
    assert np.abs(again - picture)[rim].mean() < 4.0


@pytest.mark.parametrize("wall", [(255, 255, 255), (0, 0, 0), (0, 200, 0)])
def test_no_halo_on_any_background(wall: tuple[int, int, int]) -> None:
    front, alpha, picture = mixture()
    layer = person_layer(picture, alpha).astype(float)
    share = layer[..., 3:] / 255
    over = layer[..., :3] * share + np.array(wall) * (1 - share)
    truth = front * alpha[..., None] + np.array(wall) * (1 - alpha[..., None])
    assert np.abs(over - truth).max(-1).mean() < 1.5
    assert np.quantile(np.abs(over - truth).max(-1), 0.995) < 14
    naive = picture * share + np.array(wall) * (1 - share)
    if wall != (255, 255, 255):  # the old wall is nearly white itself
        assert np.abs(naive - truth).max() > 40


def test_what_is_opaque_keeps_its_pixels() -> None:
    _, alpha, picture = mixture()
    layer = person_layer(picture, alpha)
    solid = alpha > 0.995
    assert np.array_equal(layer[solid][:, :3], picture[solid])
