"""Will this portrait animate well? Measures, grades and plain words; the numbers behind `visavis portrait check`.

Thresholds were set on the shared portraits and their blurred, darkened and shrunken copies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.errors import PortraitError
from avatar.portrait.analyse import (
    GOOD_FACE_PX,
    GOOD_PITCH,
    GOOD_YAW,
    Face,
    PortraitAnalysis,
    choose,
    find_faces,
    frame_face,
    judge,
    no_face,
)
from avatar.portrait.frame import outside_distance
from avatar.portrait.image import PortraitImage, load_image
from avatar.portrait.landmarks import EYE_CORNERS, FACE_OVAL
from avatar.portrait.models import load_models
from avatar.portrait.preview import draw_preview
from config.settings import AvatarSettings

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_MEASURED_FACE: Final = 256.0
"""Faces are shrunk to this height (px) before sharpness is measured: finer detail is not shown anyway."""
_LID_PAIRS: Final = (((159, 145), (158, 153), (160, 144)), ((386, 374), (385, 380), (387, 373)))


class Grade(StrEnum):
    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"


_ORDER: Final = [Grade.GOOD, Grade.FAIR, Grade.POOR]


@dataclass(frozen=True)
class Aspect:
    """One thing that was looked at. value: the measure, in `unit`; text: what it means, for anyone."""

    name: str
    grade: Grade
    value: float
    unit: str
    text: str


@dataclass(frozen=True)
class PortraitReport:
    """usable: the picture can be animated. code, message, hint: why not, when not."""

    source: str
    usable: bool
    grade: Grade | None = None
    aspects: list[Aspect] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faces: list[str] = field(default_factory=list)
    code: str = ""
    message: str = ""
    hint: str = ""
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """The report in plain words, one line each."""
        if not self.usable:
            return [f"{self.source}: cannot be used. {self.message}", *([self.hint] if self.hint else [])]
        words = {Grade.GOOD: "animates well", Grade.FAIR: "can be used", Grade.POOR: "will not look good"}
        assert self.grade is not None
        rows = [f"{self.source}: {self.grade}, {words[self.grade]}."]
        rows += [f"  {aspect.grade:<4}  {aspect.name:<10}  {aspect.text}" for aspect in self.aspects]
        return rows + [f"  note  {note}" for note in self.warnings]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check_portrait(
    source: str | Path | bytes,
    *,
    face_index: int | None = None,
    preview: Path | None = None,
    settings: AvatarSettings | None = None,
) -> PortraitReport:
    """Grade a picture file. A picture that cannot be used gives a report too (`usable` false), not an exception.

    preview: where to write an annotated PNG, whenever there is a picture to show.
    Raises PortraitError only when the models are missing or the preview cannot be written.
    """
    models = load_models(settings)
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        image = load_image(source)
    except PortraitError as error:
        return _refused(name, error, [])
    timings: dict[str, float] = {}
    faces = find_faces(models, image, timings)
    height, width = image.rgb_HW3.shape[:2]
    places = [face.describe(width, height) for face in faces]
    index: int | None = None
    analysis: PortraitAnalysis | None = None
    try:
        if not faces:
            raise no_face(models, image)
        index, notes = choose(faces, image, face_index)
        judge(faces[index], image)  # its warnings are said below, with their measures
        notes = [*image.warnings, *notes]
        analysis = frame_face(models, image, faces, index, size=512, warnings=notes, timings=timings)
        aspects = measure(image, faces[index], analysis)
        report = PortraitReport(
            name, True, overall(aspects), aspects, analysis.warnings, places, timings_ms=analysis.timings_ms
        )
    except PortraitError as error:
        report = _refused(name, error, places)
    if preview is not None:
        _write_png(preview, draw_preview(image, faces, index, analysis))
    return report


def overall(aspects: list[Aspect]) -> Grade:
    """The worst of the aspects, except that a single fair one is forgiven."""
    worst = max(aspects, key=lambda aspect: _ORDER.index(aspect.grade)).grade
    if worst is Grade.FAIR and sum(aspect.grade is Grade.FAIR for aspect in aspects) == 1:
        return Grade.GOOD
    return worst


def measure(image: PortraitImage, face: Face, analysis: PortraitAnalysis) -> list[Aspect]:
    """Everything that is looked at, in the order in which it matters."""
    crop_HW3, points_N2 = _face_crop(image.rgb_HW3, face)
    return [
        _size(face),
        _sharpness(crop_HW3),
        *_light(crop_HW3, points_N2),
        _pose(face),
        _eyes(points_N2),
        _mouth(points_N2),
        _glasses(crop_HW3, points_N2),
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


def _pose(face: Face) -> Aspect:
    yaw, pitch, roll = (float(angle) for angle in face.pose_deg_3)
    far = max(abs(yaw) / GOOD_YAW, abs(pitch) / GOOD_PITCH, abs(roll) / 20)
    grade = Grade.GOOD if far <= 1 else Grade.FAIR if far <= 1.7 else Grade.POOR
    text = {
        Grade.GOOD: "The head faces the camera.",
        Grade.FAIR: "The head is turned: it will move less than it could.",
        Grade.POOR: "The head is turned far: use a picture that faces the camera.",
    }[grade]
    angles = f"({yaw:+.0f} degrees to the side, {pitch:+.0f} up, {roll:+.0f} tilted)"
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


def _glasses(crop_HW3: U8, points_N2: F32) -> Aspect:
    """A bridge of glasses is a horizontal edge across the nose between the eyes, where skin alone has none."""
    right, left = points_N2[133], points_N2[362]
    grey = cv2.GaussianBlur(cv2.cvtColor(crop_HW3, cv2.COLOR_RGB2GRAY), (0, 0), 1.0).astype(np.float32)
    angle = float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
    centre = (points_N2[168] + points_N2[6]) / 2
    zoom = 64.0 / max(float(np.linalg.norm(left - right)), 1.0)
    M_23 = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, zoom)
    M_23[:, 2] += np.array([32, 40]) - centre
    bridge = cv2.warpAffine(grey, M_23, (64, 80), borderMode=cv2.BORDER_REPLICATE)
    value = float(np.abs(np.diff(bridge[:, 20:44].mean(1))).max() / (grey.std() + 1))
    if value < 0.3:
        return Aspect("glasses", Grade.GOOD, round(value, 3), "edge", "No glasses with a strong rim were noticed.")
    return Aspect(
        "glasses", Grade.FAIR, round(value, 3), "edge", "There seem to be glasses: their rims may smear on blinks."
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


def _refused(name: str, error: PortraitError, faces: list[str]) -> PortraitReport:
    return PortraitReport(name, False, faces=faces, code=error.code, message=error.message, hint=error.hint)


def _write_png(path: Path, rgb_HW3: U8) -> None:
    from PIL import Image

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb_HW3).save(path, format="PNG")
    except OSError as error:
        reason = error.strerror or str(error)
        raise PortraitError("not_writable", f"{path} cannot be written: {reason}.", "Choose another place.") from error
