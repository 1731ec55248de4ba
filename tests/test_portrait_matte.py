"""The matte is one person with crisp edges."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.portrait.analyse import PortraitAnalysis, analyse
from avatar.portrait.image import load_image
from avatar.portrait.landmarks import FACE_OVAL
from avatar.portrait.matte import guided_filter, person_matte
from avatar.portrait.models import load_models
from tests.portrait_pictures import astronaut, encoded, portrait


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


def test_transparency_is_the_matte(analysis: PortraitAnalysis) -> None:
    alpha = np.zeros((512, 512), np.uint8)
    alpha[20:260, 120:340] = 255
    cut_out = analyse(load_image(encoded(np.dstack([astronaut(), alpha]))))
    assert cut_out.matte_HW.min() == 0 and cut_out.matte_HW.max() == 1
    middle = cut_out.to_source_33 @ [256, 256, 1]
    assert cut_out.matte_HW[256, 256] == 1 and 120 < middle[0] < 340
    inside = (np.arange(512) * cut_out.to_source_33[0, 0] + cut_out.to_source_33[0, 2] - 120) * (
        340 - np.arange(512) * cut_out.to_source_33[0, 0] - cut_out.to_source_33[0, 2]
    ) > 400
    np.testing.assert_array_equal(cut_out.matte_HW[256] > 0.5, inside | (cut_out.matte_HW[256] > 0.5))


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
