"""From a picture to everything that is known about the face in it, or a refusal that says what to do.

Limits (all in the source picture): the face at least 72 px from hairline to chin (160 px looks good); turned at most
35 degrees to the side, 30 up or down, 50 tilted; wholly inside the picture. With several faces, the largest is used
when the next is less than half as tall (with a warning); otherwise the choice is asked for (`face_index`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.errors import PortraitError
from avatar.portrait.detect import Detection, detect
from avatar.portrait.frame import frame_to_source, sample, to_frame
from avatar.portrait.glasses import Told, find_glasses
from avatar.portrait.image import PortraitImage
from avatar.portrait.landmarks import FACE_OVAL, FaceLandmarks, face_landmarks
from avatar.portrait.matte import person_matte
from avatar.portrait.models import Models, load_models
from avatar.portrait.safe import has_long_hair, safe_range
from config.settings import AvatarSettings

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

MIN_FACE_PX: Final = 72.0
GOOD_FACE_PX: Final = 160.0
MAX_YAW: Final = 35.0
MAX_PITCH: Final = 30.0
MAX_ROLL: Final = 50.0
GOOD_YAW: Final = 15.0
GOOD_PITCH: Final = 15.0
SURE_PRESENCE: Final = 0.95
"""The face model says 0.999 and more of real faces (blurred, dark, noisy or cut), 0.5 to 0.85 of folds in cloth."""
MAX_JITTER: Final = 0.02
"""Landmarks of a real face move by up to 1 % of its height between crops, even when blurred, dark or noisy; of things
that merely look like one by 3 % and more."""
LIKELY: Final = 0.7
"""The detector's score from which something that is not confirmed is worth mentioning."""
RIVAL_SHARE: Final = 0.5
"""A second face at least this tall, compared with the first, makes the choice ambiguous."""
MAX_OUTSIDE: Final = 0.02
"""Share of the face (frame heights of the face) that may lie beyond the picture's border."""


_LEVEL_PITCH: Final = -7.0
"""Pitch of the line forehead - chin when the face is level: the median of the shared portraits."""


@dataclass(frozen=True)
class Face:
    """One face of the picture, in source pixels. pose_deg_3: yaw (image right +), pitch (up +), roll (clockwise +)."""

    box_4: F32
    landmarks: FaceLandmarks
    score: float

    @property
    def height(self) -> float:
        return self.landmarks.height

    @property
    def pose_deg_3(self) -> F32:
        return head_pose(self.landmarks.points_N3)

    def describe(self, width: int, height: int) -> str:
        """Where it is and how tall, for messages."""
        x, y = (self.box_4[:2] + self.box_4[2:]) / 2
        across = "left" if x < width / 3 else "right" if x > width * 2 / 3 else "middle"
        down = "top" if y < height / 3 else "bottom" if y > height * 2 / 3 else ""
        place = f"{down} {across}".strip()
        return f"{place} at ({x:.0f}, {y:.0f}), {self.height:.0f} px tall"


@dataclass(frozen=True)
class PortraitAnalysis:
    """A framed portrait and what is in it. Pixels of the frame, centres on integers; z towards the viewer."""

    rgb_HW3: U8
    """Framed square, head and shoulders."""
    landmarks_N3: F32
    """[468, 3] px."""
    iris_2K3: F32
    """[2, 5, 3] px: centre, then four points of the rim; index 0 = the person's right eye (image left)."""
    eye_contour_2K3: F32
    """[2, 71, 3] px; equal indices are equal places of the anatomy in both eyes."""
    matte_HW: F32
    """0..1, 1 = the person."""
    to_source_33: F64
    """Affine: frame px -> original px."""
    face_count: int
    warnings: list[str] = field(default_factory=list)
    score: float = 1.0
    """0..1, how sure the detector is."""
    face_index: int = 0
    pose_deg_3: F32 = field(default_factory=lambda: np.zeros(3, np.float32))
    """Yaw (to image right +), pitch (up +), roll (clockwise +) of the head in the picture, degrees, roughly."""
    face_height_px: float = 0.0
    """Hairline to chin in the original, px."""
    source_size: tuple[int, int] = (0, 0)
    """Width and height of the original, px."""
    glasses_S22: F32 = field(default_factory=lambda: np.zeros((0, 2, 2), np.float32))
    """[S, 2, 2] px: the frame of the glasses as straight strokes (start, end); none without glasses."""
    lenses_2N2: F32 = field(default_factory=lambda: np.zeros((2, 0, 2), np.float32))
    """[2, N, 2] px: what is seen through each lens, as a closed polygon; N = 0 without glasses."""
    glasses_radius: float = 0.0
    """Half the thickness of the strokes, px."""
    glasses_evidence: float = 0.0
    """How much speaks for glasses (glasses.py)."""
    lens_contrast: float = 0.0
    """Log lightness of what the rims surround against the cheeks; dark glasses are below -0.9."""
    long_hair: bool = False
    """Hair or cloth hangs beside the neck."""
    safe_range_23: F32 = field(default_factory=lambda: safe_range(np.zeros(3), False))
    """[2, 3] radians: lowest and highest yaw, pitch, roll relative to the portrait's own pose (safe.py)."""
    timings_ms: dict[str, float] = field(default_factory=dict)

    def pack(self) -> dict[str, NDArray[Any]]:
        """The arrays worth keeping in an Identity."""
        return {
            "rgb_HW3": self.rgb_HW3,
            "landmarks_N3": self.landmarks_N3,
            "iris_2K3": self.iris_2K3,
            "eye_contour_2K3": self.eye_contour_2K3,
            "matte_HW": self.matte_HW,
            "to_source_33": self.to_source_33,
            "pose_deg_3": self.pose_deg_3,
            "safe_range_23": self.safe_range_23,
        }


def analyse(
    image: PortraitImage,
    *,
    face_index: int | None = None,
    size: int = 512,
    settings: AvatarSettings | None = None,
) -> PortraitAnalysis:
    """Find, measure and frame the face.

    face_index: which face, 0 = the largest; needed only when faces are of similar size.
    size: side of the frame, px. settings: where the model files are (default: the user's cache), and whether there are
    glasses (default: look).
    PortraitError codes: no_face, several_faces, bad_face_index, face_too_small, face_cut_off, extreme_pose,
    models_unavailable, models_corrupt.
    """
    timings: dict[str, float] = {}
    with _Stage(timings, "load_models"):
        models = load_models(settings)
    faces = find_faces(models, image, timings)
    if not faces:
        raise no_face(models, image)
    index, notes = choose(faces, image, face_index)
    notes = [*image.warnings, *notes, *judge(faces[index], image)]
    told = "auto" if settings is None else settings.glasses
    return frame_face(models, image, faces, index, size=size, warnings=notes, timings=timings, glasses=told)


def frame_face(
    models: Models,
    image: PortraitImage,
    faces: list[Face],
    index: int,
    *,
    size: int,
    warnings: list[str],
    timings: dict[str, float],
    glasses: Told = "auto",
) -> PortraitAnalysis:
    """The framed portrait of one of the faces, whatever its quality. glasses: what the user says about them."""
    face = faces[index]
    height, width = image.rgb_HW3.shape[:2]
    with _Stage(timings, "frame"):
        to_source_33 = frame_to_source(face.landmarks.points_N3, size, width, height)
        rgb_HW3 = sample(image.rgb_HW3, to_source_33, size)
        alpha_HW = sample(image.alpha_HW, to_source_33, size) if image.alpha_HW is not None else None
        landmarks_N3 = to_frame(face.landmarks.points_N3, to_source_33)
    with _Stage(timings, "matte"):
        matte_HW = person_matte(models.person, rgb_HW3, landmarks_N3, alpha_HW)
    with _Stage(timings, "glasses"):
        worn = find_glasses(rgb_HW3, landmarks_N3, glasses)
    hair = has_long_hair(matte_HW, landmarks_N3)
    return PortraitAnalysis(
        rgb_HW3=rgb_HW3,
        landmarks_N3=landmarks_N3,
        iris_2K3=to_frame(face.landmarks.iris_2K3, to_source_33),
        eye_contour_2K3=to_frame(face.landmarks.eye_contour_2K3, to_source_33),
        matte_HW=matte_HW,
        to_source_33=to_source_33,
        face_count=len(faces),
        warnings=warnings,
        score=face.score,
        face_index=index,
        pose_deg_3=face.pose_deg_3,
        face_height_px=face.height,
        source_size=(width, height),
        glasses_S22=worn.frame_S22,
        lenses_2N2=worn.lenses_2N2 if worn.present else worn.lenses_2N2[:, :0],
        glasses_radius=worn.radius,
        glasses_evidence=worn.evidence,
        lens_contrast=worn.lens_contrast,
        long_hair=hair,
        safe_range_23=safe_range(face.pose_deg_3, hair),
        timings_ms=timings,
    )


def find_faces(models: Models, image: PortraitImage, timings: dict[str, float] | None = None) -> list[Face]:
    """Every face that the landmark model confirms, and finds in the same place whichever way it is cropped; tallest
    first."""
    timings = {} if timings is None else timings
    with _Stage(timings, "detect"):
        detections = detect(models.detector, image.rgb_HW3)
    with _Stage(timings, "landmarks"):
        return _confirmed(models, image.rgb_HW3, detections)


def _confirmed(models: Models, rgb_HW3: U8, detections: list[Detection]) -> list[Face]:
    """The detections in which the landmark model finds a face, tallest first."""
    faces = []
    for detection in detections:
        landmarks = face_landmarks(models.landmarks, models.iris, rgb_HW3, detection)
        low, high = landmarks.points_N3[:, :2].min(0), landmarks.points_N3[:, :2].max(0)
        face = Face(np.concatenate([low, high]), landmarks, detection.score * landmarks.presence)
        if landmarks.presence >= SURE_PRESENCE and landmarks.jitter <= MAX_JITTER * landmarks.height:
            faces.append(face)
    return sorted(faces, key=lambda face: -face.height)


def choose(faces: list[Face], image: PortraitImage, face_index: int | None) -> tuple[int, list[str]]:
    """Which of the faces (at least one), and what to tell the user about the choice."""
    height, width = image.rgb_HW3.shape[:2]
    places = "; ".join(f"{i}: {face.describe(width, height)}" for i, face in enumerate(faces[:8]))
    if face_index is not None:
        if not 0 <= face_index < len(faces):
            raise PortraitError(
                "bad_face_index", f"There is no face {face_index} in {image.source}.", f"Found: {places}."
            )
        return face_index, []
    if len(faces) == 1:
        return 0, []
    if faces[1].height >= RIVAL_SHARE * faces[0].height:
        raise PortraitError(
            "several_faces",
            f"{len(faces)} faces were found in {image.source}: {places}.",
            "Choose one by its number (face_index, --face), for example 0 for the largest, or crop the picture.",
        )
    return 0, [f"{len(faces)} faces were found; the largest is used ({places}). Choose another by its number (--face)."]


def no_face(models: Models, image: PortraitImage) -> PortraitError:
    """Why no face was found: the error to raise. Looks once more at the picture upside down, and at what the detector
    took for a face that the landmark model did not confirm."""
    upside_down = np.ascontiguousarray(image.rgb_HW3[::-1, ::-1])
    if _confirmed(models, upside_down, detect(models.detector, upside_down, finest=2)):
        return PortraitError("extreme_pose", f"{image.source} is upside down.", "Turn the picture upright.")
    unsure = [detection for detection in detect(models.detector, image.rgb_HW3, finest=2) if detection.score >= LIKELY]
    if unsure:
        x, y = (float(v) for v in (unsure[0].box_4[:2] + unsure[0].box_4[2:]) / 2)
        return PortraitError(
            "no_face",
            f"There may be a face in {image.source} at ({x:.0f}, {y:.0f}), but it cannot be made out.",
            "Use a picture with nothing in front of the face (hand, mask, hair), in focus and lit from the front.",
        )
    return PortraitError(
        "no_face",
        f"No face was found in {image.source}.",
        "Use a picture of one person who looks at the camera, upright, with the whole face lit and visible.",
    )


def judge(face: Face, image: PortraitImage) -> list[str]:
    """Warnings about a face that can be used; PortraitError when it cannot."""
    height, width = image.rgb_HW3.shape[:2]
    if face.height < MIN_FACE_PX:
        raise PortraitError(
            "face_too_small",
            f"The face is only {face.height:.0f} px tall (at least {MIN_FACE_PX:.0f} px from hairline to chin).",
            f"Use a larger or closer picture; {GOOD_FACE_PX:.0f} px or more looks good.",
        )
    yaw, pitch, roll = (float(angle) for angle in face.pose_deg_3)
    if abs(yaw) > MAX_YAW or abs(pitch) > MAX_PITCH or abs(roll) > MAX_ROLL:
        upright = "Turn the picture upright." if abs(roll) > 60 else ""
        raise PortraitError(
            "extreme_pose",
            f"The head is turned too far (about {abs(yaw):.0f} degrees to the side, {abs(pitch):.0f} up or down, "
            f"{abs(roll):.0f} tilted; limits {MAX_YAW:.0f}, {MAX_PITCH:.0f}, {MAX_ROLL:.0f}).",
            upright or "Use a picture in which the person faces the camera, upright.",
        )
    oval = face.landmarks.points_N3[list(FACE_OVAL), :2]
    beyond = max(-float(oval.min()), float((oval - [width - 1, height - 1]).max()))
    if beyond > MAX_OUTSIDE * face.height:
        raise PortraitError(
            "face_cut_off",
            "Part of the face lies beyond the border of the picture.",
            "Use a picture with the whole head and some space around it.",
        )
    notes = []
    if face.height < GOOD_FACE_PX:
        notes.append(f"The face is small ({face.height:.0f} px tall): the avatar will look soft.")
    if abs(yaw) > GOOD_YAW:
        notes.append(f"The head is turned by about {abs(yaw):.0f} degrees: head turns will be kept small.")
    if abs(pitch) > GOOD_PITCH:
        notes.append(f"The head is {'raised' if pitch > 0 else 'lowered'} by about {abs(pitch):.0f} degrees.")
    return notes


def head_pose(points_N3: F32) -> F32:
    """Yaw, pitch, roll in degrees from the landmarks' own depth: rough (some 5 degrees), enough to judge a picture."""
    points = points_N3.astype(np.float64)
    across = points[454] - points[234]
    along = points[152] - points[10]
    yaw = np.degrees(np.arctan2(-across[2], np.hypot(across[0], across[1])))
    pitch = np.degrees(np.arctan2(along[2], np.hypot(along[0], along[1])))
    roll = np.degrees(np.arctan2(across[1], across[0]))
    return np.array([yaw, pitch - _LEVEL_PITCH, roll], np.float32)


class _Stage:
    """Adds the wall time of a block, in ms, to a dictionary."""

    def __init__(self, timings: dict[str, float], name: str) -> None:
        self._timings, self._name = timings, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timings[self._name] = (time.perf_counter() - self._start) * 1e3
