"""Faces are found wherever they are, each once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from avatar.portrait.detect import Detection, anchors, detect, overlap, suppress
from avatar.portrait.models import load_models
from tests.portrait_pictures import U8, astronaut

CENTRE = np.array([225.0, 125.0])
"""Of the astronaut's face, px."""


def found(rgb_HW3: U8) -> list[Detection]:
    return detect(load_models().detector, np.ascontiguousarray(rgb_HW3))


def middle(detection: Detection) -> np.ndarray:
    return (detection.box_4[:2] + detection.box_4[2:]) / 2


def test_anchors_are_mediapipes() -> None:
    anchors_N2 = anchors()
    assert anchors_N2.shape == (896, 2)
    np.testing.assert_allclose(anchors_N2[:4], [[1 / 32, 1 / 32], [1 / 32, 1 / 32], [3 / 32, 1 / 32], [3 / 32, 1 / 32]])
    np.testing.assert_allclose(anchors_N2[512:519], [[1 / 16, 1 / 16]] * 6 + [[3 / 16, 1 / 16]])


def test_one_face_with_its_points_in_place() -> None:
    (face,) = found(astronaut())
    assert np.linalg.norm(middle(face) - CENTRE) < 12
    right_eye, left_eye, nose, mouth, right_ear, left_ear = face.keypoints_62
    assert right_ear[0] < right_eye[0] < nose[0] < left_eye[0] < left_ear[0]
    assert right_eye[1] < nose[1] < mouth[1]
    assert face.score > 0.8


@pytest.mark.parametrize(("width", "height", "x", "y"), [(4000, 3000, 2500, 1200), (900, 3000, 100, 2300)])
def test_a_small_face_in_a_large_picture(width: int, height: int, x: int, y: int) -> None:
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[y : y + 512, x : x + 512] = astronaut()
    faces = found(picture)
    assert len(faces) == 1
    assert np.linalg.norm(middle(faces[0]) - CENTRE - [x, y]) < 15


def test_a_face_that_fills_the_picture() -> None:
    assert len(found(cv2.resize(astronaut()[60:190, 160:290], (900, 900)))) == 1


def test_faces_on_a_tile_border_are_found_once() -> None:
    for x in range(0, 500, 125):
        picture = np.full((512, 1012, 3), 128, np.uint8)
        picture[:, x : x + 512] = astronaut()
        assert len(found(picture)) == 1, x


def test_nothing_in_flat_colour_or_noise() -> None:
    assert found(np.full((400, 600, 3), 90, np.uint8)) == []
    assert found(np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)) == []


def test_suppression_averages_what_overlaps() -> None:
    def box(x0: float, y0: float, x1: float, y1: float, score: float) -> Detection:
        return Detection(np.array([x0, y0, x1, y1], np.float32), np.zeros((6, 2), np.float32), score)

    merged = suppress([box(0, 0, 10, 10, 0.6), box(2, 0, 12, 10, 0.9), box(50, 50, 60, 60, 0.7)])
    assert [face.score for face in merged] == [0.9, 0.7]
    np.testing.assert_allclose(merged[0].box_4, [1.2, 0, 11.2, 10], rtol=1e-5)
    assert overlap(merged[0].box_4, merged[1].box_4) <= 0
