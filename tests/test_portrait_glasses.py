"""Glasses are noticed by their frame, found where they are, and believed when the user says so."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from avatar.identity import default_portrait
from avatar.portrait.analyse import PortraitAnalysis, analyse
from avatar.portrait.glasses import PRESENT, best_path, find_glasses
from avatar.portrait.image import load_image
from config.settings import AvatarSettings
from tests.portrait_pictures import U8, astronaut, portrait

Colour = tuple[int, int, int]


@cache
def face() -> PortraitAnalysis:
    """The default presenter: large, even, bare-faced."""
    return analyse(load_image(default_portrait()))


def draw(
    rgb_HW3: U8, landmarks_N3: np.ndarray, colour: Colour, width: float = 0.05, shape: float = 2.2, size: float = 0.37
) -> tuple[U8, np.ndarray]:
    """Glasses painted on: thickness and half width as shares of the eyes' distance. Also the rims drawn, [2, N, 2]."""
    picture = rgb_HW3.copy()
    points = landmarks_N3[:, :2].astype(float)
    eyes = [points[[33, 133]].mean(0), points[[362, 263]].mean(0)]
    across = eyes[1] - eyes[0]
    apart = float(np.linalg.norm(across))
    across /= apart
    down = np.array([-across[1], across[0]])
    turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    reach = (np.abs(cos) ** shape + np.abs(sin / 0.72) ** shape) ** (-1 / shape)
    thick = max(1, round(width * apart))
    rims = []
    for eye, side in zip(eyes, (-1, 1), strict=True):
        middle = eye + apart * (0.01 * side * across + 0.08 * down)
        rim = middle + apart * size * (reach * cos)[:, None] * across + apart * size * (reach * sin)[:, None] * down
        cv2.polylines(picture, [np.rint(rim * 16).astype(np.int32)], True, colour, thick, cv2.LINE_AA, 4)
        rims.append(rim)
    inner = [rims[0][np.argmax(rims[0] @ across)], rims[1][np.argmin(rims[1] @ across)]]
    a, b = (np.rint((p - 0.05 * apart * down) * 16).astype(int).tolist() for p in inner)
    cv2.line(picture, a, b, colour, thick, cv2.LINE_AA, 4)
    return picture, np.stack(rims)


FRAMES: list[tuple[Colour, float, float]] = [
    ((15, 15, 15), 0.07, 2.0), ((15, 15, 15), 0.03, 3.5), ((60, 40, 90), 0.05, 2.6),
    ((190, 120, 50), 0.05, 2.2), ((240, 240, 245), 0.04, 2.2), ((120, 20, 30), 0.06, 3.0),
]  # fmt: skip
"""Colour, thickness, shape (2 an ellipse, more = squarer)."""


@pytest.mark.parametrize(("colour", "width", "shape"), FRAMES)
def test_painted_glasses_are_found_where_they_are(colour: Colour, width: float, shape: float) -> None:
    analysis = face()
    picture, rims = draw(analysis.rgb_HW3, analysis.landmarks_N3, colour, width, shape)
    found = find_glasses(picture, analysis.landmarks_N3)
    assert found.present and found.evidence > PRESENT
    apart = float(np.linalg.norm(analysis.landmarks_N3[33] - analysis.landmarks_N3[263])) * 0.7
    for true, seen in zip(rims, found.rims_2N2, strict=True):
        off = np.linalg.norm(true[:, None] - seen[None], axis=2).min(1)
        assert np.median(off) < 0.05 * apart and np.percentile(off, 90) < 0.09 * apart


@pytest.mark.parametrize("degrees", [-12, 15])
def test_tilted_and_grey(degrees: float) -> None:
    analysis = face()
    picture, _ = draw(analysis.rgb_HW3, analysis.landmarks_N3, (40, 30, 30))
    M_23 = cv2.getRotationMatrix2D((256, 256), degrees, 0.9)
    turned = cv2.warpAffine(picture, M_23, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    grey = np.repeat(cv2.cvtColor(turned, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    points = analysis.landmarks_N3.copy()
    points[:, :2] = points[:, :2] @ M_23[:, :2].T + M_23[:, 2]
    assert find_glasses(np.ascontiguousarray(grey), points).present


@pytest.mark.parametrize("level", [0.35, 1.0])
def test_bare_faces_have_none(level: float) -> None:
    for analysis in (face(), analyse(portrait(astronaut()))):
        dark = (analysis.rgb_HW3 * level).astype(np.uint8)
        found = find_glasses(dark, analysis.landmarks_N3)
        assert not found.present and found.evidence < 0.8 * PRESENT and len(found.frame_S22) == 0


def test_the_user_knows_better() -> None:
    bare = analyse(load_image(default_portrait()), settings=AvatarSettings(glasses="yes"))
    assert len(bare.glasses_S22) > 100 and bare.glasses_radius > 2
    middle = bare.landmarks_N3[[33, 263], :2].mean(0)
    width = np.ptp(bare.glasses_S22[..., 0])
    apart = np.linalg.norm(bare.landmarks_N3[33] - bare.landmarks_N3[263])
    assert np.abs(bare.glasses_S22.reshape(-1, 2).mean(0) - middle).max() < 0.25 * apart and 1.2 < width / apart < 2.2
    picture, _ = draw(face().rgb_HW3, face().landmarks_N3, (15, 15, 15))
    assert len(find_glasses(picture, face().landmarks_N3, "no").frame_S22) == 0
    assert len(analyse(portrait(picture), settings=AvatarSettings(glasses="no")).glasses_S22) == 0
    assert len(analyse(portrait(picture)).glasses_S22) > 100


def test_best_path_is_closed_and_follows_the_ridge() -> None:
    wanted = np.rint(15 + 8 * np.sin(np.linspace(0, 2 * np.pi, 72, endpoint=False))).astype(int)
    gain = np.random.default_rng(0).uniform(0, 0.1, (40, 72))
    gain[wanted, np.arange(72)] += 0.3
    path = best_path(gain)
    assert np.abs(path - wanted).max() <= 1 and (path == wanted).mean() > 0.9
    assert np.abs(np.diff(np.r_[path, path[0]])).max() <= 2
