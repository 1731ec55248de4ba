"""The matte is one person with crisp edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from avatar.identity import default_portrait
from avatar.portrait.analyse import PortraitAnalysis, analyse
from avatar.portrait.frame import sample
from avatar.portrait.image import load_image
from avatar.portrait.landmarks import FACE_OVAL
from avatar.portrait.matte import guided_filter, person_matte
from avatar.portrait.models import load_models
from tests.portrait_pictures import astronaut, encoded, portrait

U8 = NDArray[np.uint8]


@pytest.fixture(scope="module")
def analysis() -> PortraitAnalysis:
    return analyse(portrait(astronaut()))


def test_person_in_background_out(analysis: PortraitAnalysis) -> None:
    matte = analysis.matte_HW
    assert matte.dtype == np.float32 and matte.min() >= 0 and matte.max() <= 1
    oval = analysis.landmarks_N3[list(FACE_OVAL), :2]
    inner = (0.8 * (oval - oval.mean(0)) + oval.mean(0)).astype(int)
    assert (matte[inner[:, 1], inner[:, 0]] > 0.99).all()
    assert matte[10:60, 10:60].max() < 0.05 and matte[10:60, 450:500].max() < 0.05
    assert matte[60, 260] > 0.9, "hair belongs to the person"
    assert matte[-10:, 200:320].min() > 0.9, "so do the shoulders"
    assert ((matte > 0.1) & (matte < 0.9)).mean() < 0.06, "the edge is narrow"


def test_a_cut_outs_transparency_is_the_matte(analysis: PortraitAnalysis) -> None:
    """To the pixel, although the network would draw it a little differently."""
    person = cv2.warpAffine(analysis.matte_HW, analysis.to_source_33[:2], (512, 512))
    alpha = np.where(np.roll(person, 4, axis=1) > 0.5, 255, 0).astype(np.uint8)
    cut_out = analyse(load_image(encoded(np.dstack([astronaut(), alpha]))))
    np.testing.assert_array_equal(cut_out.matte_HW, sample(alpha, cut_out.to_source_33, 512).astype(np.float32) / 255)
    assert 0.1 < (cut_out.matte_HW < 0.5).mean() < 0.9


def default_pixels() -> tuple[U8, PortraitAnalysis]:
    rgb_HW3 = load_image(default_portrait()).rgb_HW3
    return rgb_HW3, analyse(portrait(rgb_HW3))


@pytest.mark.parametrize("round_crop", [False, True], ids=["rounded corners", "round crop"])
def test_the_shape_of_the_picture_is_not_the_person(round_crop: bool) -> None:
    rgb_HW3, plain = default_pixels()
    height, width = rgb_HW3.shape[:2]
    opaque = Image.new("L", (width, height), 0)
    radius = min(height, width) // 2 if round_crop else 20
    ImageDraw.Draw(opaque).rounded_rectangle((0, 0, width - 1, height - 1), radius, fill=255)
    found = analyse(load_image(encoded(np.dstack([rgb_HW3, np.asarray(opaque)])))).matte_HW
    inside = sample(np.asarray(opaque), plain.to_source_33, 512) > 250
    assert inside.mean() > 0.5
    assert np.abs(found - plain.matte_HW)[inside].mean() < 0.02
    assert found[inside].mean() < 0.6, "there is background inside the shape"


def test_other_people_do_not_belong(analysis: PortraitAnalysis) -> None:
    """Two people side by side, both small: only the one whose landmarks are given stays."""
    half = analysis.rgb_HW3[:400:2, ::2]
    wall = np.broadcast_to(analysis.rgb_HW3[30, 30], (512, 512, 3)).copy()
    wall[312:, 0:256], wall[312:, 256:512] = half, half
    wall[:, 232:286] = analysis.rgb_HW3[30, 30]  # they do not touch
    landmarks = analysis.landmarks_N3 / 2 + [0, 312, 0]
    matte = person_matte(load_models().person, wall, landmarks.astype(np.float32))
    own, other = (int(v) for v in landmarks[4, :2]), (int(landmarks[4, 0]) + 256, int(landmarks[4, 1]))
    x, y = own
    assert matte[y, x] == 1 and matte[other[1], other[0]] < 0.05


def test_guided_filter_follows_the_guides_edges() -> None:
    guide = np.zeros((64, 64, 3), np.float32)
    guide[:, 32:] = (0.2, 0.7, 0.4)
    soft = np.clip((np.arange(64, dtype=np.float32)[None] - 22) / 20, 0, 1).repeat(64, 0)
    crisp = guided_filter(guide, soft, 8, 1e-4)
    assert np.abs(np.diff(crisp, axis=1))[:, 31].min() > 0.35 > 6 * np.abs(np.diff(soft, axis=1)).max()
    constant = guided_filter(guide, np.full((64, 64), 0.3, np.float32), 8, 1e-4)
    np.testing.assert_allclose(constant, 0.3, atol=1e-4)
