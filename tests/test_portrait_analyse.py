"""One call from picture to analysis, or the refusal that fits."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from avatar.errors import PortraitError
from avatar.portrait.analyse import MIN_FACE_PX, PortraitAnalysis, analyse, find_faces, judge
from avatar.portrait.detect import detect
from avatar.portrait.image import PortraitImage, load_image
from avatar.portrait.models import load_models
from tests.portrait_pictures import U8, astronaut, encoded, placed, portrait


@pytest.fixture(scope="module")
def analysis() -> PortraitAnalysis:
    return analyse(portrait(astronaut()))


def refused(picture: U8 | PortraitImage, face_index: int | None = None) -> PortraitError:
    with pytest.raises(PortraitError) as caught:
        analyse(picture if isinstance(picture, PortraitImage) else portrait(picture), face_index=face_index)
    assert caught.value.hint, "every refusal says what to do"
    return caught.value


def beside(*pictures: U8) -> U8:
    tallest = max(picture.shape[0] for picture in pictures)
    wall = astronaut()[5, 500]
    padded = []
    for picture in pictures:
        column = np.broadcast_to(wall, (tallest, picture.shape[1], 3)).copy()
        column[: picture.shape[0]] = picture
        padded.append(column)
    return np.hstack(padded)


def test_everything_is_there(analysis: PortraitAnalysis) -> None:
    shapes = {name: (array.shape, str(array.dtype)) for name, array in analysis.pack().items()}
    assert shapes == {
        "rgb_HW3": ((512, 512, 3), "uint8"),
        "landmarks_N3": ((468, 3), "float32"),
        "iris_2K3": ((2, 5, 3), "float32"),
        "eye_contour_2K3": ((2, 71, 3), "float32"),
        "matte_HW": ((512, 512), "float32"),
        "to_source_33": ((3, 3), "float64"),
        "pose_deg_3": ((3,), "float32"),
        "safe_range_23": ((2, 3), "float32"),
    }
    assert analysis.face_count == 1 and analysis.face_index == 0 and analysis.source_size == (512, 512)
    assert analysis.score > 0.8
    assert set(analysis.timings_ms) == {"load_models", "detect", "landmarks", "frame", "matte", "glasses"}
    assert np.abs(analysis.pose_deg_3).max() < 8, "she faces the camera"
    assert analysis.iris_2K3[0, 0, 0] < analysis.iris_2K3[1, 0, 0], "eye 0 is the one on the image's left"


def test_landmarks_belong_to_the_framed_pixels(analysis: PortraitAnalysis) -> None:
    """The pupils are the darkest places of the eyes."""
    grey = cv2.GaussianBlur(cv2.cvtColor(analysis.rgb_HW3, cv2.COLOR_RGB2GRAY), (0, 0), 2)
    for iris in analysis.iris_2K3:
        x, y = (round(float(v)) for v in iris[0, :2])
        assert grey[y - 3 : y + 4, x - 3 : x + 4].min() < 75
    mouth = analysis.landmarks_N3[[13, 14], :2].mean(0).astype(int)
    assert grey[mouth[1], mouth[0]] > 120, "teeth"


@pytest.mark.parametrize("size", [256, 768])
def test_other_sizes_are_the_same_picture(analysis: PortraitAnalysis, size: int) -> None:
    other = analyse(portrait(astronaut()), size=size)
    assert other.rgb_HW3.shape == (size, size, 3) and other.matte_HW.shape == (size, size)
    ratio = size / 512
    expected = (analysis.landmarks_N3[:, :2] + 0.5) * ratio - 0.5
    assert np.abs(other.landmarks_N3[:, :2] - expected).max() < 0.1
    assert np.abs(other.landmarks_N3[:, 2] - analysis.landmarks_N3[:, 2] * ratio).max() < 0.1


def test_analysis_is_deterministic(analysis: PortraitAnalysis) -> None:
    again = analyse(portrait(astronaut()))
    for name, array in analysis.pack().items():
        np.testing.assert_array_equal(array, again.pack()[name])


def test_exif_rotation_gives_the_same_analysis(analysis: PortraitAnalysis) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(astronaut()).transpose(Image.Transpose.ROTATE_90)
    turned = analyse(load_image(encoded(lying, "PNG", exif=exif.tobytes())))
    np.testing.assert_array_equal(turned.rgb_HW3, analysis.rgb_HW3)
    np.testing.assert_allclose(turned.landmarks_N3, analysis.landmarks_N3, atol=1e-4)


def test_grey_pictures_work(analysis: PortraitAnalysis) -> None:
    grey = analyse(load_image(encoded(Image.fromarray(astronaut()).convert("L"))))
    source = [a.landmarks_N3[:, :2] @ a.to_source_33[:2, :2].T + a.to_source_33[:2, 2] for a in (grey, analysis)]
    error = np.linalg.norm(source[0] - source[1], axis=1) / analysis.face_height_px
    assert np.median(error) < 0.015
    assert np.ptp(grey.rgb_HW3.astype(int), axis=2).max() <= 2


def test_what_merely_looks_like_a_face_is_none() -> None:
    """The detector takes folds of the space suit in this crop for a second, larger face."""
    scale = 0.7716249723933847
    left = -115 * scale + 0.771484375 * (640 - 220 * scale)
    picture, _ = placed(scale, left, -22 * scale)
    assert len(detect(load_models().detector, picture)) == 2, "the trap is still there"
    assert analyse(portrait(picture)).face_count == 1


def test_no_face() -> None:
    error = refused(astronaut()[250:, :250])
    assert error.code == "no_face"


def test_a_face_that_cannot_be_made_out_is_mentioned() -> None:
    picture = astronaut().copy()
    cv2.fillPoly(
        picture, [np.array([(176, 118), (224, 108), (272, 118), (262, 160), (225, 180), (188, 160)])], (150, 190, 215)
    )
    error = refused(picture)
    assert error.code == "no_face" and "There may be a face" in error.message and "in front of the face" in error.hint


def test_sideways_and_upside_down_are_named() -> None:
    for turns in (1, 2, 3):
        error = refused(np.rot90(astronaut(), turns))
        assert error.code == "extreme_pose" and error.hint == "Turn the picture upright."


def test_tilted_heads_are_refused_or_measured() -> None:
    def tilted(degrees: float) -> U8:
        M_23 = cv2.getRotationMatrix2D((225, 120), degrees, 1)
        return np.asarray(cv2.warpAffine(astronaut(), M_23, (512, 512), borderMode=cv2.BORDER_REPLICATE), np.uint8)

    error = refused(tilted(57))
    assert error.code == "extreme_pose" and "tilted" in error.message and "faces the camera" in error.hint
    assert abs(analyse(portrait(tilted(25))).pose_deg_3[2] + 22) < 5


@pytest.mark.parametrize(("yaw", "pitch"), [(50, 0), (-50, 0), (0, 45), (0, -45), (20, 0), (-20, 0), (0, 20), (0, -20)])
def test_turned_heads_are_refused_or_measured(yaw: float, pitch: float) -> None:
    """The landmarks are turned in space, as a turned head would give them."""
    (face,) = find_faces(load_models(), portrait(astronaut()))
    points = face.landmarks.points_N3.astype(float)
    middle = points.mean(0)
    turn = Rotation.from_euler("yx", [yaw, pitch], degrees=True)  # x right, y down, z to the viewer
    turned = ((points - middle) @ turn.as_matrix().T + middle).astype(np.float32)
    other = replace(face, landmarks=replace(face.landmarks, points_N3=turned))
    change = other.pose_deg_3 - face.pose_deg_3
    assert abs(change[0] - yaw) < 6 and abs(change[1] - pitch) < 6
    if max(abs(yaw), abs(pitch)) > 40:
        with pytest.raises(PortraitError) as caught:
            judge(other, portrait(astronaut()))
        assert caught.value.code == "extreme_pose"
    else:
        assert any("head is" in note for note in judge(other, portrait(astronaut())))


def test_two_alike_must_be_chosen_from() -> None:
    pair = beside(astronaut(), astronaut()[:, ::-1])
    error = refused(pair)
    assert error.code == "several_faces"
    assert "2 faces" in error.message and "(225, 122)" in error.message and "face_index" in error.hint
    chosen = [analyse(portrait(pair), face_index=index) for index in (0, 1)]
    places = sorted(float((a.to_source_33 @ [256, 256, 1])[0]) for a in chosen)
    assert abs(places[0] - 225) < 25 and abs(places[1] - 798) < 25
    assert [a.face_index for a in chosen] == [0, 1] and chosen[0].face_count == 2
    assert refused(pair, face_index=2).code == refused(pair, face_index=-1).code == "bad_face_index"


def test_a_clearly_larger_face_is_used_with_a_warning() -> None:
    large, _ = placed(2.4, -250, -100)
    group = analyse(portrait(beside(large, astronaut())))
    assert group.face_count == 2 and group.face_index == 0 and group.face_height_px > 200
    assert any("largest is used" in note and "px tall" in note and "--face" in note for note in group.warnings)


def test_small_faces_are_refused_at_the_documented_limit() -> None:
    height = analyse(portrait(astronaut())).face_height_px
    for wanted, fine in ((MIN_FACE_PX * 1.06, True), (MIN_FACE_PX * 0.94, False)):
        picture, _ = placed(wanted / height, 100, 80)
        if fine:
            assert any("small" in note for note in analyse(portrait(picture)).warnings)
        else:
            error = refused(picture)
            assert error.code == "face_too_small" and f"{MIN_FACE_PX:.0f} px" in error.message


def test_a_face_cut_by_the_border_is_refused() -> None:
    assert refused(astronaut()[115:]).code == "face_cut_off"
    assert refused(astronaut()[:155]).code == "face_cut_off"


def test_a_close_up_is_completed_around() -> None:
    close = analyse(portrait(astronaut()[55:190, 155:295]))
    assert close.rgb_HW3.shape == (512, 512, 3)
    corner = close.to_source_33 @ [0, 0, 1]
    assert corner[0] < 0 and corner[1] < 0, "the frame is larger than the photo"
    assert close.rgb_HW3[:20].std(axis=(0, 1)).max() < 60
