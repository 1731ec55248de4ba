"""What a portrait is judged by: measures, grades and plain words.

Thresholds were set on the shared portraits, their blurred, darkened and shrunken copies, and copies with something
painted in front of the face (docs/face/portrait.md).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.portrait.analyse import GOOD_FACE_PX, GOOD_PITCH, GOOD_YAW, Face, PortraitAnalysis
from avatar.portrait.frame import outside_distance
from avatar.portrait.glasses import PRESENT
from avatar.portrait.grades import Aspect, Grade
from avatar.portrait.image import PortraitImage
from avatar.portrait.landmarks import EYE_CORNERS, FACE_OVAL
from avatar.portrait.occlusion import Visibility, visibility

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_MEASURED_FACE: Final = 256.0
"""Faces are shrunk to this height (px) before sharpness is measured: finer detail is not shown anyway."""
DARK_LENS: Final = -0.9
"""Log lightness of what is behind the lenses against the cheeks, below which they are sunglasses."""
CLOSE_RIM: Final = 0.055
"""Distance of rim and lid / distance of the eyes, below which a blink drags the rim along."""
_UPPER_LIDS: Final = ((160, 159, 158), (387, 386, 385))
_LID_PAIRS: Final = (((159, 145), (158, 153), (160, 144)), ((386, 374), (385, 380), (387, 373)))


def measure(image: PortraitImage, face: Face, analysis: PortraitAnalysis) -> list[Aspect]:
    """Everything that is looked at, in the order in which it matters."""
    crop_HW3, points_N2 = _face_crop(image.rgb_HW3, face)
    seen = visibility(analysis.rgb_HW3, analysis.landmarks_N3)
    sharpness = _sharpness(crop_HW3)
    blurred = sharpness.grade is Grade.POOR
    hidden: tuple[str, ...] = () if blurred else seen.hidden
    return [
        _size(face),
        sharpness,
        *_light(crop_HW3, points_N2),
        _pose(face, analysis),
        _unseen("eyes") if {"eye right", "eye left"} <= set(hidden) else _eyes(points_N2),
        _unseen("mouth") if "mouth" in hidden else _mouth(points_N2),
        _blurred(seen) if blurred and seen.hidden else _occlusion(seen, analysis.lens_contrast),
        _glasses(analysis),
        _certainty(face),
        _room(analysis),
    ]


def _size(face: Face) -> Aspect:
    grade = Grade.GOOD if face.height >= GOOD_FACE_PX else Grade.FAIR if face.height >= 100 else Grade.POOR
    text = {
        Grade.GOOD: "The face is large enough.",
        Grade.FAIR: "The face is small: the avatar will look soft. A closer or larger picture would help.",
        Grade.POOR: "The face is very small: the avatar will look blurred. Use a closer or larger picture.",
    }[grade]
    return Aspect("size", grade, round(face.height, 1), "px", f"{text} ({face.height:.0f} px tall)")


def _sharpness(crop_HW3: U8) -> Aspect:
    """Finest detail (beyond a 1 px blur) as a share of the face's contrast."""
    grey = cv2.cvtColor(crop_HW3, cv2.COLOR_RGB2GRAY).astype(np.float32)
    value = float((grey - cv2.GaussianBlur(grey, (0, 0), 1.0)).std() / max(float(grey.std()), 1.0))
    grade = Grade.GOOD if value >= 0.036 else Grade.FAIR if value >= 0.02 else Grade.POOR
    text = {
        Grade.GOOD: "The face is sharp.",
        Grade.FAIR: "The face is a little soft. A sharper picture would look livelier.",
        Grade.POOR: "The face is blurred: use a picture in focus, without motion blur.",
    }[grade]
    return Aspect("sharpness", grade, round(value, 4), "share", text)


def _light(crop_HW3: U8, points_N2: F32) -> list[Aspect]:
    """Brightness of the skin, burnt-out and black areas, and the balance of the face's two halves (CIE L*, 0..100)."""
    lightness = cv2.cvtColor(crop_HW3, cv2.COLOR_RGB2LAB)[..., 0].astype(np.float32) / 2.55
    mask = np.zeros(lightness.shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(points_N2[list(FACE_OVAL)]).astype(np.int32)], 1)
    skin = lightness[mask > 0]
    median, burnt = float(np.median(skin)), float((skin > 98).mean())
    if median < 14:
        exposure = Aspect("light", Grade.POOR, round(median, 1), "L*", "The face is nearly black: use more light.")
    elif median < 24:
        exposure = Aspect("light", Grade.FAIR, round(median, 1), "L*", "The face is dark: more light would help.")
    elif burnt > 0.05:
        grade = Grade.POOR if burnt > 0.2 else Grade.FAIR
        exposure = Aspect("light", grade, round(median, 1), "L*", "Parts of the face are burnt out: use softer light.")
    else:
        exposure = Aspect("light", Grade.GOOD, round(median, 1), "L*", "The face is well lit.")
    axis = points_N2[152] - points_N2[10]
    y, x = np.indices(lightness.shape)
    side = (x - points_N2[10, 0]) * axis[1] - (y - points_N2[10, 1]) * axis[0]
    halves = [lightness[(mask > 0) & (side < 0)], lightness[(mask > 0) & (side >= 0)]]
    gap = abs(float(np.median(halves[0])) - float(np.median(halves[1]))) if all(map(len, halves)) else 100.0
    grade = Grade.GOOD if gap < 26 else Grade.FAIR if gap < 45 else Grade.POOR
    text = {
        Grade.GOOD: "Both sides of the face get light.",
        Grade.FAIR: "One side of the face lies in shadow; the shadow will not move when the head turns.",
        Grade.POOR: "One side of the face is lost in shadow: use light from the front.",
    }[grade]
    return [exposure, Aspect("balance", grade, round(gap, 1), "L*", text)]


def _pose(face: Face, analysis: PortraitAnalysis) -> Aspect:
    yaw, pitch, roll = (float(angle) for angle in face.pose_deg_3)
    far = max(abs(yaw) / GOOD_YAW, abs(pitch) / GOOD_PITCH, abs(roll) / 20)
    grade = Grade.GOOD if far <= 1 else Grade.FAIR if far <= 1.7 else Grade.POOR
    text = {
        Grade.GOOD: "The head faces the camera.",
        Grade.FAIR: "The head is turned: it will move less than it could.",
        Grade.POOR: "The head is turned far: use a picture that faces the camera.",
    }[grade]
    low, high = np.degrees(analysis.safe_range_23)
    hair = " (hair hangs beside the neck)" if analysis.long_hair else ""
    angles = (
        f"({yaw:+.0f} degrees to the side, {pitch:+.0f} up, {roll:+.0f} tilted.) "
        f"It may turn {-low[0]:.0f} degrees to the left and {high[0]:.0f} to the right{hair}."
    )
    return Aspect("pose", grade, round(max(abs(yaw), abs(pitch), abs(roll)), 1), "degrees", f"{text} {angles}")


def _eyes(points_N2: F32) -> Aspect:
    """Mean opening / width of the less open eye."""
    openings = [
        float(np.mean([np.linalg.norm(points_N2[a] - points_N2[b]) for a, b in pairs]))
        / max(float(np.linalg.norm(points_N2[corners[0]] - points_N2[corners[1]])), 1e-6)
        for pairs, corners in zip(_LID_PAIRS, EYE_CORNERS, strict=True)
    ]
    value = min(openings)
    grade = Grade.GOOD if value >= 0.2 else Grade.FAIR if value >= 0.14 else Grade.POOR
    text = {
        Grade.GOOD: "Both eyes are open.",
        Grade.FAIR: "The eyes are narrow; wide open eyes blink more convincingly.",
        Grade.POOR: "An eye is (nearly) closed: the avatar could not look at anyone. Use a picture with open eyes.",
    }[grade]
    return Aspect("eyes", grade, round(value, 3), "share", text)


def _mouth(points_N2: F32) -> Aspect:
    """Gap between the lips / width of the mouth."""
    value = float(np.linalg.norm(points_N2[13] - points_N2[14]) / np.linalg.norm(points_N2[61] - points_N2[291]))
    grade = Grade.GOOD if value < 0.12 else Grade.FAIR if value < 0.4 else Grade.POOR
    text = {
        Grade.GOOD: "The lips are closed or nearly so.",
        Grade.FAIR: "The mouth is open; a relaxed, closed mouth animates best.",
        Grade.POOR: "The mouth is wide open: use a picture with a relaxed, closed mouth.",
    }[grade]
    return Aspect("mouth", grade, round(value, 3), "share", text)


def _unseen(name: str) -> Aspect:
    return Aspect(name, Grade.POOR, 0.0, "share", "Cannot be judged: see occlusion.")


def _blurred(seen: Visibility) -> Aspect:
    text = "The face is too blurred to tell whether something is in front of it."
    return Aspect("occlusion", Grade.FAIR, round(seen.least, 2), "share", text)


def _occlusion(seen: Visibility, lens_contrast: float) -> Aspect:
    """Parts of the face that cannot be made out; the least clear one, 1 = just clear enough."""
    hidden, value = seen.hidden, round(seen.least, 2)
    place = {"eye right": "left", "eye left": "right"}  # the person's right is the picture's left
    eyes = [name for name in hidden if name in place]
    if not hidden:
        return Aspect("occlusion", Grade.GOOD, value, "share", "Eyes, nose and mouth can be seen.")
    if len(eyes) == 2:
        why = "dark glasses?" if lens_contrast < DARK_LENS else "closed, or something is in front of them?"
        text = f"The eyes are hidden ({why}): the avatar could not look at anyone. Use a picture that shows them."
    elif "mouth" in hidden and "nose" in hidden:
        text = "Nose and mouth are hidden (a mask?): the avatar could not speak. Use a picture without it."
    elif "mouth" in hidden:
        text = (
            "The lips cannot be made out (a hand, a cup, a microphone?). Use a picture with nothing before the mouth."
        )
    elif eyes:
        text = (
            f"The eye on the picture's {place[eyes[0]]} is hidden (hair, a hand, deep shadow?). "
            "Use a picture with nothing before the face."
        )
    else:
        text = "Something is in front of the nose. Use a picture with nothing before the face."
    return Aspect("occlusion", Grade.POOR, value, "share", text)


def _glasses(analysis: PortraitAnalysis) -> Aspect:
    """Evidence of glasses (glasses.py)."""
    value = round(analysis.glasses_evidence, 2)
    if len(analysis.glasses_S22) == 0:
        return Aspect("glasses", Grade.GOOD, value, "evidence", "No glasses.")
    if value < PRESENT:
        text = "Glasses are hard to see here; as you say that there are some, what is likely to be their frame is held."
        return Aspect("glasses", Grade.FAIR, value, "evidence", text)
    apart = float(np.linalg.norm(np.subtract(*(analysis.landmarks_N3[list(c), :2].mean(0) for c in EYE_CORNERS))))
    above = min(
        float(np.linalg.norm(lens[:, None] - analysis.landmarks_N3[list(lid), :2], axis=2).min())
        for lens, lid in zip(analysis.lenses_2N2, _UPPER_LIDS, strict=True)
    )
    if above < CLOSE_RIM * apart:
        text = "Glasses were found and stay still; their rims lie on the lids and will smear a little on blinks."
        return Aspect("glasses", Grade.FAIR, value, "evidence", text)
    return Aspect(
        "glasses", Grade.GOOD, value, "evidence", "Glasses were found: their frame moves with the head alone."
    )


def _certainty(face: Face) -> Aspect:
    """How far the landmarks move between slightly different crops, in % of the face's height."""
    value = 100 * face.landmarks.jitter / face.height
    grade = Grade.GOOD if value < 0.65 else Grade.FAIR if value < 1.2 else Grade.POOR
    text = {
        Grade.GOOD: "The features are clear.",
        Grade.FAIR: "Some features are hard to make out (beard, hair, shadow or something in front of the face).",
        Grade.POOR: "The features are hard to make out: is something in front of the face?",
    }[grade]
    return Aspect("features", grade, round(value, 2), "%", text)


def _room(analysis: PortraitAnalysis) -> Aspect:
    """Share of the framed portrait that lies beyond the picture's border."""
    width, height = analysis.source_size
    size = analysis.rgb_HW3.shape[0]
    value = float((outside_distance(analysis.to_source_33, size, width, height) > 0.5).mean())
    grade = Grade.GOOD if value < 0.08 else Grade.FAIR if value < 0.3 else Grade.POOR
    text = {
        Grade.GOOD: "There is enough room around the head.",
        Grade.FAIR: "The picture is cropped close: its border is continued with a blur.",
        Grade.POOR: "The picture is cropped very close: much of the frame had to be made up.",
    }[grade]
    return Aspect("room", grade, round(value, 3), "share", text)


def _face_crop(rgb_HW3: U8, face: Face) -> tuple[U8, F32]:
    """The face's box, at most 256 px from hairline to chin, and the landmarks [468, 2] in it."""
    height, width = rgb_HW3.shape[:2]
    points = face.landmarks.points_N3[:, :2]
    x0, y0 = (int(np.clip(v, 0, limit - 2)) for v, limit in zip(face.box_4[:2], (width, height), strict=True))
    x1, y1 = (int(np.clip(v + 1, 2, limit)) for v, limit in zip(face.box_4[2:], (width, height), strict=True))
    crop = rgb_HW3[y0 : max(y1, y0 + 2), x0 : max(x1, x0 + 2)]
    scale = min(1.0, _MEASURED_FACE / face.height)
    if scale < 1:
        size = (max(2, round(crop.shape[1] * scale)), max(2, round(crop.shape[0] * scale)))
        crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(crop), ((points - [x0, y0]) * scale).astype(np.float32)
