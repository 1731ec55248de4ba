"""Each part of a face is missed when it is painted over, and only then, in any light and at any tilt."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from avatar.identity import default_portrait
from avatar.portrait.analyse import PortraitAnalysis, analyse
from avatar.portrait.image import load_image
from avatar.portrait.landmarks import LIDS
from avatar.portrait.occlusion import OUTER_LIPS, visibility
from tests.portrait_pictures import U8, astronaut, portrait

PARTS = {
    "eye right": LIDS[0], "eye left": LIDS[1], "mouth": OUTER_LIPS,
    "nose": (98, 327, 4, 2, 49, 279, 64, 294, 97, 326),
}  # fmt: skip


@pytest.fixture(scope="module", params=["photograph", "drawing"])
def face(request: pytest.FixtureRequest) -> PortraitAnalysis:
    return analyse(portrait(astronaut()) if request.param == "photograph" else load_image(default_portrait()))


def painted(face: PortraitAnalysis, part: str) -> U8:
    """The part under a patch in the colour of the cheek, a hand's for example."""
    picture = face.rgb_HW3.copy()
    x, y = (round(float(v)) for v in face.landmarks_N3[50, :2])
    skin = np.median(picture[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3), axis=0)
    ring = cv2.convexHull(np.rint(face.landmarks_N3[list(PARTS[part]), :2]).astype(np.int32))
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [ring], 1)
    grow = {"mouth": 45, "nose": 25}.get(part, 15)
    picture[cv2.dilate(mask, np.ones((grow, grow), np.uint8)) > 0] = skin
    return picture


def test_a_free_face_shows_everything(face: PortraitAnalysis) -> None:
    seen = visibility(face.rgb_HW3, face.landmarks_N3)
    assert seen.hidden == () and seen.least > 1.2


@pytest.mark.parametrize("part", list(PARTS))
def test_what_is_painted_over_is_missed_and_nothing_else(face: PortraitAnalysis, part: str) -> None:
    seen = visibility(painted(face, part), face.landmarks_N3)
    assert seen.hidden == (part,) and seen.least < 0.5


@pytest.mark.parametrize("light", [0.25, 0.5, 1.15])
def test_light_makes_little_difference(face: PortraitAnalysis, light: float) -> None:
    changed = np.clip(face.rgb_HW3 * light, 0, 255).astype(np.uint8)
    assert visibility(changed, face.landmarks_N3).hidden == ()
    covered = np.clip(painted(face, "mouth") * light, 0, 255).astype(np.uint8)
    assert visibility(covered, face.landmarks_N3).hidden == ("mouth",)


def test_tilt_and_size_make_little_difference(face: PortraitAnalysis) -> None:
    plain = visibility(face.rgb_HW3, face.landmarks_N3)
    for degrees, scale in ((25, 0.8), (-40, 1.0), (0, 0.5)):
        M_23 = cv2.getRotationMatrix2D((256, 256), degrees, scale)
        turned = cv2.warpAffine(cv2.GaussianBlur(face.rgb_HW3, (0, 0), 0.5 / scale), M_23, (512, 512))
        points = face.landmarks_N3.copy()
        points[:, :2] = points[:, :2] @ M_23[:, :2].T + M_23[:, 2]
        seen = visibility(np.asarray(turned, np.uint8), points)
        assert seen.hidden == ()
        np.testing.assert_allclose([*seen.eye_2, seen.lips], [*plain.eye_2, plain.lips], rtol=0.35)
