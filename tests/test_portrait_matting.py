"""Single strands of hair in the band of the outline."""

from __future__ import annotations

import cv2
import numpy as np

from avatar.portrait.matting import refine_opacity


def strands() -> tuple[np.ndarray, np.ndarray]:
    """True opacity and the picture of a dark head with hair, before a wall that gets lighter."""
    alpha = np.zeros((160, 160), np.float32)
    cv2.circle(alpha, (80, 100), 45, 1.0, -1, cv2.LINE_AA)
    for i in range(9):
        cv2.line(alpha, (50 + 8 * i, 75), (38 + 11 * i, 42), 1.0, 1, cv2.LINE_AA)
    wall = np.linspace(150, 220, 160)[None, :, None] * np.array([1.0, 0.97, 0.9])
    picture = 40 * alpha[..., None] + wall * (1 - alpha[..., None])
    noise = np.random.default_rng(5).normal(0, 1.5, picture.shape)
    return alpha, np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_hair_is_found_in_the_band() -> None:
    truth, picture = strands()
    first = cv2.GaussianBlur((cv2.GaussianBlur(truth, (0, 0), 6) > 0.5).astype(np.float32), (0, 0), 4)
    band = cv2.dilate(((first > 0.05) & (first < 0.95)).astype(np.uint8), np.ones((29, 29), np.uint8)) > 0
    solved = refine_opacity(picture, first, band)
    assert np.abs(solved - truth)[band].mean() < 0.75 * np.abs(first - truth)[band].mean()
    assert np.array_equal(solved[~band], first[~band])
    assert solved.min() >= 0.0 and solved.max() <= 1.0


def test_an_even_picture_keeps_the_first_answer() -> None:
    first = np.clip((np.arange(64, dtype=np.float32) - 24) / 16, 0, 1)[None].repeat(64, 0)
    band = (first > 0) & (first < 1)
    solved = refine_opacity(np.full((64, 64, 3), 90, np.uint8), first, band)
    assert np.abs(solved - first).max() < 0.12


def test_no_band_no_change() -> None:
    first = np.eye(32, dtype=np.float32)
    assert np.array_equal(refine_opacity(np.zeros((32, 32, 3), np.uint8), first, np.zeros((32, 32), bool)), first)
    edge = np.zeros((32, 32), bool)
    edge[0] = edge[:, -1] = True  # only the picture's border: no window fits
    assert np.array_equal(refine_opacity(np.zeros((32, 32, 3), np.uint8), first, edge), first)
