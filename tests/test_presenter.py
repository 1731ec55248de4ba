"""The face that everybody gets first: it must be analysed without doubt, look straight out, and be what its card says.

Guards: the committed picture and its card belong together, and the picture is one that animates well.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from avatar.identity import default_portrait
from avatar.portrait.analyse import PortraitAnalysis, analyse
from avatar.portrait.check import check_portrait
from avatar.portrait.grades import Grade
from avatar.portrait.image import load_image

ROOT = Path(__file__).parent.parent
CARD = ROOT / "avatar" / "presenter" / "presenter.md"


@pytest.fixture(scope="module")
def presenter() -> PortraitAnalysis:
    return analyse(load_image(default_portrait()))


def test_file_is_a_small_square_opaque_png() -> None:
    content = default_portrait()
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("PNG", (1024, 1024), "RGB")
    assert len(content) < 1_500_000


def test_card_names_this_very_file_and_its_origin() -> None:
    card = CARD.read_text(encoding="utf-8")
    assert hashlib.sha256(default_portrait()).hexdigest() in card
    for words in ("depicts nobody", "ICT-FaceKit", "USC Institute for Creative Technologies", "make_presenter.py"):
        assert words in card, words


def test_one_face_good_in_every_way() -> None:
    report = check_portrait(default_portrait())
    assert report.usable and report.grade is Grade.GOOD and len(report.faces) == 1
    assert [aspect.name for aspect in report.aspects if aspect.grade is not Grade.GOOD] == []
    assert report.warnings == []


def test_faces_the_visitor(presenter: PortraitAnalysis) -> None:
    yaw, pitch, roll = presenter.pose_deg_3
    assert abs(yaw) < 4 and abs(pitch) < 8 and abs(roll) < 2
    assert presenter.score > 0.85


def test_mouth_is_closed_and_the_lips_are_told_from_the_skin(presenter: PortraitAnalysis) -> None:
    points = presenter.landmarks_N3[:, :2]
    face_height = np.linalg.norm(points[10] - points[152])
    assert np.linalg.norm(points[13] - points[14]) < 0.015 * face_height
    lab = cv2.cvtColor(presenter.rgb_HW3, cv2.COLOR_RGB2LAB).astype(np.float64)

    def colour(at: np.ndarray) -> np.ndarray:
        x, y = np.rint(at).astype(int)
        return np.asarray(lab[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(axis=0))

    lower_lip, chin = colour((points[14] + points[17]) / 2), colour((points[18] + points[200]) / 2)
    assert lower_lip[1] - chin[1] > 8  # redder, on Lab's a axis


def test_irises_are_round_and_sit_in_the_middle_of_open_eyes(presenter: PortraitAnalysis) -> None:
    for eye, (right, left, upper, lower) in enumerate(((33, 133, 159, 145), (362, 263, 386, 374))):
        points = presenter.landmarks_N3[:, :2]
        width = np.linalg.norm(points[right] - points[left])
        iris = presenter.iris_2K3[eye, :, :2]
        radii = np.linalg.norm(iris[1:] - iris[0], axis=1)
        assert np.linalg.norm(iris[0] - (points[right] + points[left]) / 2) < 0.12 * width
        assert 0.17 < radii.mean() / width < 0.26 and np.ptp(radii) < 0.15 * radii.mean()
        assert np.linalg.norm(points[upper] - points[lower]) > 0.26 * width


def test_matte_takes_the_whole_person_without_holes(presenter: PortraitAnalysis) -> None:
    solid = (presenter.matte_HW > 0.9).astype(np.uint8)
    count, labels = cv2.connectedComponents(1 - solid, connectivity=4)
    outside = {int(label) for label in labels[0]}
    holes = [int((labels == i).sum()) for i in range(1, count) if i not in outside]
    assert max(holes, default=0) < 9, holes  # px: specks between single hairs are none
    # everything clearly darker than the pale backdrop is person: hair on both sides of the neck too
    dark = presenter.rgb_HW3.max(axis=2) < 80
    assert (presenter.matte_HW[dark] > 0.8).mean() > 0.97
