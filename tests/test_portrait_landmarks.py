"""Landmarks are where the features are, whatever the picture's scale and the face's place in it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.portrait.analyse import find_faces
from avatar.portrait.detect import Detection
from avatar.portrait.iris import refine_irises
from avatar.portrait.landmarks import (
    LIDS,
    FaceLandmarks,
    Roi,
    WorkingCopy,
    agree_on_lids,
    detection_roi,
    points_roi,
)
from avatar.portrait.mirror import mirror_indices
from avatar.portrait.models import load_models
from avatar.rig import basis
from tests.portrait_pictures import U8, astronaut, placed, portrait


def only_face(rgb_HW3: U8) -> FaceLandmarks:
    (face,) = find_faces(load_models(), portrait(rgb_HW3))
    return face.landmarks


@pytest.fixture(scope="module")
def reference() -> FaceLandmarks:
    return only_face(astronaut())


def test_features_are_in_place(reference: FaceLandmarks) -> None:
    """Against positions read off the picture by eye, px."""
    by_eye = {
        468: (203, 101), 469: (246, 103.2), 61: (202, 139.5), 291: (246.5, 139), 152: (223, 177), 4: (223, 126),
        33: (193, 100), 133: (211.5, 102), 362: (236.5, 104.5), 263: (258, 104),
    }  # fmt: skip
    points = np.vstack([reference.points_N3, reference.iris_2K3[:, 0]])
    for index, place in by_eye.items():
        assert np.linalg.norm(points[index, :2] - place) < 3.0, (index, points[index, :2])
    assert reference.presence > 0.99
    assert 100 < reference.height < 115


def test_depth_points_towards_the_viewer(reference: FaceLandmarks) -> None:
    nose, ears = reference.points_N3[4, 2], reference.points_N3[[234, 454], 2]
    assert nose > 20 and (ears < 10).all() and nose - ears.max() > 40


def test_irises_are_round_and_alike(reference: FaceLandmarks) -> None:
    radii = np.linalg.norm(reference.iris_2K3[:, 1:, :2] - reference.iris_2K3[:, :1, :2], axis=2)
    assert radii.std(1).max() < 0.1 * radii.mean()
    assert abs(radii[0].mean() / radii[1].mean() - 1) < 0.12
    widths = np.linalg.norm(reference.eye_contour_2K3[:, 0, :2] - reference.eye_contour_2K3[:, 8, :2], axis=1)
    assert ((radii.mean(1) / widths > 0.16) & (radii.mean(1) / widths < 0.27)).all()


@settings(max_examples=12, deadline=None)
@given(
    scale=st.floats(0.75, 2.2),
    across=st.floats(0.0, 1.0),
    down=st.floats(0.0, 1.0),
)
def test_landmarks_move_and_grow_with_the_face(
    reference: FaceLandmarks, scale: float, across: float, down: float
) -> None:
    """Invariant: landmarks of a moved and scaled picture are the moved and scaled landmarks (median within 0.4 %, all
    within 1.5 % of the face's height)."""
    left = 110 * scale - 225 * scale + across * (640 - 220 * scale)
    top = 100 * scale - 122 * scale + down * (560 - 200 * scale)
    picture, M_23 = placed(scale, left, top)
    points = only_face(picture)
    expected = reference.points_N3[:, :2] @ M_23[:, :2].T + M_23[:, 2]
    error = np.linalg.norm(points.points_N3[:, :2] - expected, axis=1) / points.height
    assert np.median(error) < 0.004 and error.max() < 0.015
    iris = reference.iris_2K3[:, 0, :2] @ M_23[:, :2].T + M_23[:, 2]
    assert np.linalg.norm(points.iris_2K3[:, 0, :2] - iris, axis=1).max() < 0.006 * points.height


def test_a_mirrored_face_has_mirrored_landmarks(reference: FaceLandmarks) -> None:
    mirrored = only_face(astronaut()[:, ::-1])
    back = mirrored.points_N3[mirror_indices(), :2]
    back[:, 0] = 511 - back[:, 0]
    error = np.linalg.norm(back - reference.points_N3[:, :2], axis=1) / reference.height
    assert np.median(error) < 0.006 and error.max() < 0.03


def test_mirror_table_is_the_faces_symmetry() -> None:
    mirror_N = mirror_indices()
    np.testing.assert_array_equal(mirror_N[mirror_N], np.arange(468))
    neutral = basis.load().neutral_V3[:468]
    reflected = neutral[mirror_N] * [-1, 1, 1]
    assert np.abs(reflected - neutral).max() < 0.02 * np.ptp(neutral[:, 1])
    for one, other in ((33, 263), (61, 291), (159, 386), (80, 310), (88, 318), (13, 13), (14, 14)):
        assert mirror_N[one] == other


@settings(max_examples=50, deadline=None)
@given(
    x=st.floats(60, 140), y=st.floats(60, 140), side=st.floats(20, 70), angle=st.floats(-3, 3), resolution=st.just(64)
)
def test_crops_show_what_their_window_says(x: float, y: float, side: float, angle: float, resolution: int) -> None:
    """On a picture whose colour is its own coordinates, the crop's colours are the window's coordinates."""
    ramp = np.zeros((200, 200, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(200)[None], np.arange(200)[:, None]
    roi = Roi(np.array([x, y]), side, angle)
    crop = roi.crop(ramp, resolution)[..., :2] * 255
    grid = np.stack(np.meshgrid(np.arange(resolution), np.arange(resolution)), -1)
    M_23 = roi.to_image(resolution)
    assert np.abs(crop - (grid @ M_23[:, :2].T + M_23[:, 2])).max() < 0.6
    np.testing.assert_allclose(M_23 @ [31.5, 31.5, 1], [x, y])


def test_rois_turn_with_the_eyes() -> None:
    keypoints = np.array([[40, 50], [60, 70], [0, 0], [0, 0], [0, 0], [0, 0]], np.float32)
    roi = detection_roi(Detection(np.array([10, 20, 110, 120], np.float32), keypoints, 1.0))
    assert np.isclose(roi.angle, np.pi / 4) and np.isclose(roi.side, 150)
    np.testing.assert_allclose(roi.centre_2, [60, 70])
    square = np.array([[0, 0], [10, 0], [10, 4], [0, 4]], float)
    level = points_roi(square, square[0], square[1], 2.0)
    assert np.isclose(level.side, 20) and np.allclose(level.centre_2, [5, 2]) and level.angle == 0


def test_working_copy_keeps_places() -> None:
    ramp = np.zeros((1000, 1200, 3), np.float32)
    ramp[..., 0], ramp[..., 1] = np.arange(1200)[None] / 5, np.arange(1000)[:, None] / 4
    detection = Detection(np.array([300, 200, 900, 800], np.float32), np.zeros((6, 2), np.float32), 1.0)
    copy = WorkingCopy.around(np.rint(ramp).astype(np.uint8), detection)
    assert max(copy.rgb_HW3.shape) < 1000
    place = np.array([[200.0, 150.0, 1.0]])
    x, y, z = copy.enlarge(place)[0]
    colour = copy.rgb_HW3[150, 200].astype(float)
    assert abs(colour[0] * 5 - x) < 5 and abs(colour[1] * 4 - y) < 4 and z > 1
    smaller = copy.shrink(detection).box_4.reshape(2, 2)
    np.testing.assert_allclose(smaller * copy.scale_2 + copy.shift_2, detection.box_4.reshape(2, 2), atol=0.01)


def test_lids_agree_halfway_unless_the_eye_model_is_lost(reference: FaceLandmarks) -> None:
    points = reference.points_N3.astype(float)
    contour = reference.eye_contour_2K3.astype(float)
    lids = points[list(LIDS[0])]
    contour[0, :16, :2] = lids[:, :2] + [0.0, 1.0]
    contour[1, :16, :2] = points[list(LIDS[1]), :2] + [30.0, 0.0]
    moved, agreed = agree_on_lids(points, contour)
    np.testing.assert_allclose(moved[list(LIDS[0]), :2], lids[:, :2] + [0.0, 0.5])
    np.testing.assert_allclose(agreed[0, :16, :2], moved[list(LIDS[0]), :2])
    np.testing.assert_allclose(agreed[1, :16, :2], points[list(LIDS[1]), :2])
    assert np.allclose(moved[152], points[152]), "the chin does not care"


@settings(max_examples=40, deadline=None)
@given(
    dx=st.floats(-0.25, 0.25), radius=st.floats(9, 14), wrong=st.floats(0.88, 1.12), white=st.integers(150, 235),
    dark=st.integers(20, 90),
)  # fmt: skip
def test_iris_snaps_to_the_limbus(dx: float, radius: float, wrong: float, white: int, dark: int) -> None:
    """Two drawn eyes: whatever the model's error (up to a quarter of the radius), the drawn circle is found."""
    picture = np.full((160, 400, 3), 150, np.uint8)
    angles = np.linspace(0, 2 * np.pi, 60)
    lids_2K3 = np.zeros((2, 16, 3))
    iris_2K3 = np.zeros((2, 5, 3))
    truth = np.array([[110.3, 80.0], [290.6, 80.0]])
    for eye, (x, y) in enumerate(truth):
        ring = np.stack([x + 30 * np.cos(angles), y + 13 * np.sin(angles)], 1)
        white_eye = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(white_eye, [np.rint(ring * 16).astype(int)], 255, cv2.LINE_AA, 4)
        disc = np.zeros_like(white_eye)
        cv2.circle(disc, (round(x * 16), round(y * 16)), round(radius * 16), 255, -1, cv2.LINE_AA, 4)
        for mask, colour in ((white_eye, white), (np.minimum(disc, white_eye), dark)):
            blend = mask[..., None] / 255.0
            picture = (picture * (1 - blend) + colour * blend).astype(np.uint8)
        turn = [np.pi - k * np.pi / 8 for k in range(9)] + [np.pi + k * np.pi / 8 for k in range(1, 8)]
        lids_2K3[eye, :, 0] = x + 30 * np.cos(turn)
        lids_2K3[eye, :, 1] = y + 13 * np.sin(turn)
        rim = np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]]) * radius * wrong
        iris_2K3[eye, :, :2] = rim + np.array([x + dx * radius, y])
    refined = refine_irises(cv2.GaussianBlur(picture, (0, 0), 0.7), iris_2K3, lids_2K3)
    found_radius = np.linalg.norm(refined[:, 1:, :2] - refined[:, :1, :2], axis=2).mean(1)
    assert np.abs(refined[:, 0, :2] - truth).max() < 0.12 * radius
    assert np.abs(found_radius / radius - 1).max() < 0.1


def test_a_reflection_at_the_rim_does_not_draw_the_iris_in() -> None:
    """A pale iris beside a bright window: the edge from the pupil to the window is sharper than the limbus."""
    picture, lids_2K3, iris_2K3 = np.full((160, 400, 3), 150, np.uint8), np.zeros((2, 16, 3)), np.zeros((2, 5, 3))
    truth = np.array([[110.0, 80.0], [290.0, 80.0]])
    turn = [np.pi - k * np.pi / 8 for k in range(9)] + [np.pi + k * np.pi / 8 for k in range(1, 8)]
    for eye, (x, y) in enumerate(truth):
        lids_2K3[eye, :, 0], lids_2K3[eye, :, 1] = x + 30 * np.cos(turn), y + 11 * np.sin(turn)
        outline = np.rint((truth[eye] + np.stack([30 * np.cos(turn), 11 * np.sin(turn)], 1)) * 16).astype(int)
        order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 14, 13, 12, 11, 10, 9]
        cv2.fillPoly(picture, [outline[order]], (200, 200, 200), cv2.LINE_AA, 4)
        cv2.circle(picture, (int(x), int(y)), 13, (170, 170, 170), -1, cv2.LINE_AA)
        cv2.circle(picture, (int(x), int(y)), 6, (25, 25, 25), -1, cv2.LINE_AA)
        cv2.rectangle(picture, (int(x) + 5, int(y) - 8), (int(x) + 9, int(y) + 8), (255, 255, 255), -1)
        iris_2K3[eye, :, :2] = np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]]) * 12.3 + [x, y]
    refined = refine_irises(cv2.GaussianBlur(picture, (0, 0), 0.7), iris_2K3, lids_2K3)
    assert np.abs(refined[:, 0, :2] - truth).max() < 0.1 * 13
    radius = np.linalg.norm(refined[:, 1:, :2] - refined[:, :1, :2], axis=2).mean(1)
    assert np.abs(radius / 13 - 1).max() < 0.1


def test_iris_without_an_edge_is_left_alone() -> None:
    iris_2K3 = np.zeros((2, 5, 3))
    iris_2K3[:, :, :2] = np.array([[0, 0], [8, 0], [0, -8], [-8, 0], [0, 8]]) + np.array([[[60, 50]], [[140, 50]]])
    lids = np.zeros((2, 16, 3))
    lids[0, :, 0], lids[1, :, 0], lids[..., 1] = np.linspace(40, 80, 16), np.linspace(120, 160, 16), 50
    flat = np.full((100, 200, 3), 120, np.uint8)
    np.testing.assert_array_equal(refine_irises(flat, iris_2K3, lids), iris_2K3)
