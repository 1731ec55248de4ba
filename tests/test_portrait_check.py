"""The report says, in plain words, what is good and bad about a portrait."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from avatar.errors import PortraitError
from avatar.portrait.check import Aspect, Grade, PortraitReport, check_portrait, overall
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
    names = ["size", "sharpness", "light", "balance", "pose", "eyes", "mouth", "glasses", "features", "room"]
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
    assert clean.grade is Grade.GOOD and aspects(picture)["glasses"].grade is Grade.FAIR


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
        assert drawn.format == "PNG" and drawn.size == (1440, 720)
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
