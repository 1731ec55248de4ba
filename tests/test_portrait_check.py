"""The report says, in plain words, what is good and bad about a portrait."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from avatar.errors import PortraitError
from avatar.portrait.check import check_portrait
from avatar.portrait.grades import Aspect, Grade, PortraitReport, overall
from avatar.portrait.preview import PANEL
from config.settings import AvatarSettings
from tests.portrait_pictures import U8, astronaut, encoded


def head(height: int = 300) -> U8:
    """The astronaut's head and shoulders with a face about `height` / 2.4 px tall."""
    close = astronaut()[0:260, 95:355]
    return np.asarray(cv2.resize(close, (height, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def aspects(picture: U8) -> dict[str, Aspect]:
    report = check_portrait(encoded(picture))
    assert report.usable, report.lines
    return {aspect.name: aspect for aspect in report.aspects}


def test_a_fine_portrait() -> None:
    report = check_portrait(encoded(astronaut()))
    assert report.usable and report.grade in {Grade.GOOD, Grade.FAIR}
    names = ["size", "sharpness", "light", "balance", "pose", "eyes", "mouth", "occlusion", "glasses"]
    names += ["features", "room"]
    assert [aspect.name for aspect in report.aspects] == names
    grades = {aspect.name: aspect.grade for aspect in report.aspects}
    assert grades["size"] is Grade.FAIR and grades["mouth"] is Grade.FAIR, "a small face that smiles openly"
    assert all(grade is Grade.GOOD for name, grade in grades.items() if name not in {"size", "mouth"})
    assert len(report.lines) == 1 + len(names) + len(report.warnings)
    again = json.loads(json.dumps(report.as_dict()))
    assert again["usable"] is True and again["grade"] == report.grade.value and again["aspects"][0]["unit"] == "px"


def test_size_follows_the_face() -> None:
    assert aspects(head(700))["size"].grade is Grade.GOOD
    assert aspects(head(215))["size"].grade is Grade.POOR


def test_blur_lowers_sharpness() -> None:
    sharp = [aspects(cv2.GaussianBlur(head(520), (0, 0), sigma))["sharpness"] for sigma in (0.3, 3.0, 7.0)]
    assert sharp[0].value > sharp[1].value > sharp[2].value
    assert sharp[0].grade is not Grade.POOR and sharp[2].grade is Grade.POOR


def test_light_and_shadow() -> None:
    dark = (head(520) * 0.16).astype(np.uint8)
    assert aspects(dark)["light"].grade is not Grade.GOOD
    burnt = np.clip(head(520) * 1.8, 0, 255).astype(np.uint8)
    assert aspects(burnt)["light"].grade is not Grade.GOOD
    shade = np.linspace(0.0, 1.0, 520)[None, :, None] > 0.5
    half = np.where(shade, head(520) * 0.3, head(520)).astype(np.uint8)
    assert aspects(half)["balance"].grade is not Grade.GOOD


def test_drawn_glasses_are_noticed() -> None:
    picture = head(520)
    clean = aspects(picture)["glasses"]
    scale = 520 / 260
    eyes = [(int((x - 95) * scale), int(y * scale)) for x, y in ((203, 101), (246, 103))]
    for eye in eyes:
        cv2.circle(picture, eye, 36, (20, 20, 20), 5, cv2.LINE_AA)
    cv2.line(picture, (eyes[0][0] + 34, eyes[0][1]), (eyes[1][0] - 34, eyes[1][1]), (20, 20, 20), 6, cv2.LINE_AA)
    worn = aspects(picture)["glasses"]
    assert clean.text == "No glasses." and worn.text.startswith("Glasses were found")
    assert worn.value > 3 * clean.value
    told = check_portrait(encoded(picture), settings=AvatarSettings(glasses="no"))
    assert {aspect.name: aspect.text for aspect in told.aspects}["glasses"] == "No glasses."


def covered(what: str, level: float) -> U8:
    """The head with something painted in front of the face; the astronaut's eyes at (203, 101) and (246, 103)."""
    picture = (head(520) * level).astype(np.uint8)

    def place(x: float, y: float) -> list[int]:
        return [round((x - 95) * 2), round(y * 2)]

    if what == "mask":
        outline = [place(*p) for p in ((184, 124), (224, 113), (266, 124), (260, 152), (226, 172), (192, 152))]
        cv2.fillPoly(picture, [np.array(outline)], (150, 190, 215), cv2.LINE_AA)
    elif what == "dark glasses":
        for eye in (place(203, 101), place(246, 103)):
            cv2.ellipse(picture, eye, (38, 28), 0, 0, 360, (18, 18, 20), -1, cv2.LINE_AA)
    elif what == "hair":
        cv2.fillPoly(
            picture, [np.array([place(*p) for p in ((230, 60), (262, 70), (258, 140), (236, 140))])], (40, 28, 20)
        )
    elif what == "cup":
        outline = [place(*p) for p in ((205, 136), (250, 136), (245, 215), (210, 215))]
        cv2.fillPoly(picture, [np.array(outline)], (225, 225, 220))
    return picture


@pytest.mark.parametrize(
    ("what", "level", "words"),
    [
        ("mask", 1.0, "a mask?"),
        ("dark glasses", 0.4, "dark glasses?"),
        ("hair", 0.4, "eye on the picture's right"),
        ("cup", 1.0, "The lips"),
    ],
)
def test_something_in_front_of_the_face(what: str, level: float, words: str) -> None:
    report = check_portrait(encoded(covered(what, level)))
    seen = {aspect.name: aspect for aspect in report.aspects}
    assert report.grade is Grade.POOR and seen["occlusion"].grade is Grade.POOR
    assert words in seen["occlusion"].text and "Use a picture" in seen["occlusion"].text
    if what in {"mask", "cup"}:
        assert seen["mouth"].text == "Cannot be judged: see occlusion."


@pytest.mark.parametrize("level", [0.4, 1.0])
def test_nothing_in_front_of_a_free_face(level: float) -> None:
    grey = cv2.cvtColor(head(520), cv2.COLOR_RGB2GRAY)
    for picture in (covered("nothing", level), np.repeat(grey[..., None], 3, axis=2)):
        assert aspects(picture)["occlusion"].grade is Grade.GOOD


def test_close_crops_lack_room() -> None:
    assert aspects(astronaut()[62:185, 165:288])["room"].grade is Grade.POOR


def test_overall_forgives_one_fair_aspect() -> None:
    def graded(*grades: Grade) -> Grade:
        return overall([Aspect(str(index), grade, 0, "", "") for index, grade in enumerate(grades)])

    good, fair, poor = Grade.GOOD, Grade.FAIR, Grade.POOR
    assert graded(good, good) is good and graded(good, fair) is good
    assert graded(fair, fair) is fair and graded(good, fair, poor) is poor and graded(poor) is poor


@pytest.mark.parametrize(
    ("picture", "code", "faces"),
    [
        (encoded(astronaut()[250:, :250]), "no_face", 0),
        (encoded(np.hstack([astronaut(), astronaut()])), "several_faces", 2),
        (encoded(astronaut()[:, ::-1][115:]), "face_cut_off", 1),
        (encoded(astronaut())[:5000], "truncated", 0),
        (b"no picture", "not_an_image", 0),
    ],
)
def test_refusals_are_reports(picture: bytes, code: str, faces: int) -> None:
    report = check_portrait(picture)
    assert not report.usable and report.code == code and len(report.faces) == faces
    assert report.grade is None and report.message in report.lines[0] and report.lines[1] == report.hint


def test_the_face_can_be_chosen() -> None:
    assert check_portrait(encoded(np.hstack([astronaut(), astronaut()])), face_index=1).usable


def test_preview_shows_the_faces(tmp_path: Path) -> None:
    preview = tmp_path / "made" / "preview.png"
    assert check_portrait(encoded(astronaut()), preview=preview).usable
    with Image.open(preview) as drawn:
        assert drawn.format == "PNG" and drawn.size == (1440 + PANEL, 720)
        left = np.asarray(drawn)[:, :720].astype(int)
    plain = cv2.resize(astronaut(), (720, 720), interpolation=cv2.INTER_CUBIC).astype(int)
    changed = np.abs(left - plain).max(2) > 60
    assert 200 < changed.sum() < 20_000, "boxes and a number, nothing else"
    several = tmp_path / "several.png"
    assert not check_portrait(encoded(np.hstack([astronaut(), astronaut()])), preview=several).usable
    assert several.is_file(), "the drawing helps to choose"
    nothing = tmp_path / "nothing.png"
    check_portrait(b"no picture", preview=nothing)
    assert not nothing.exists()


def test_preview_marks_what_is_wrong_in_the_colour_of_its_grade(tmp_path: Path) -> None:
    def red(picture: U8) -> np.ndarray:
        path = tmp_path / "preview.png"
        check_portrait(encoded(picture), preview=path)
        with Image.open(path) as drawn:
            pixels = np.asarray(drawn).astype(int)
        return np.abs(pixels - [255, 90, 80]).max(2) < 12

    free, masked = red(head(520)), red(covered("mask", 1.0))
    framed, words = slice(720, 1440), slice(1440, None)
    assert not free.any(), "nothing is poor"
    rows = np.flatnonzero(masked[:, framed].any(1))
    assert masked[:, framed].sum() > 500 and 250 < rows.min() < rows.max() < 560, "marks on nose and mouth"
    assert masked[:, words].sum() > 200, "and in words"


def test_an_unwritable_preview_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PortraitError) as caught:
        check_portrait(encoded(astronaut()), preview=tmp_path / "file" / "preview.png")
    assert caught.value.code == "not_writable"


def test_report_of_a_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "me.png"
    path.write_bytes(encoded(astronaut()))
    report: PortraitReport = check_portrait(path)
    assert report.lines[0].startswith(str(path))
    assert check_portrait(tmp_path / "nobody.png").code == "not_found"
