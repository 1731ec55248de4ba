"""What the analysis saw and what it thinks of it, drawn: the picture with its faces and the framing, the framed face
with marks where something is wrong, and the grades in words beside them.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from avatar.portrait.analyse import Face, PortraitAnalysis
from avatar.portrait.frame import outside_distance
from avatar.portrait.grades import Aspect, Grade, PortraitReport
from avatar.portrait.image import PortraitImage
from avatar.portrait.landmarks import FACE_OVAL, LIDS
from avatar.portrait.occlusion import INNER_LIPS, OUTER_LIPS, visibility

U8 = NDArray[np.uint8]

HEIGHT: Final = 720
"""Of the drawing, px."""
_CHOSEN: Final = (64, 220, 120)
_OTHER: Final = (255, 170, 60)
_POINT: Final = (90, 220, 255)
_OUTLINE: Final = (255, 90, 200)
_LIPS: Final = (OUTER_LIPS, INNER_LIPS)
_LID_LOOP: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 14, 13, 12, 11, 10, 9)
PANEL: Final = 560
"""Width of the words beside the pictures, px."""
_GRADES: Final = {Grade.GOOD: (80, 205, 120), Grade.FAIR: (255, 190, 60), Grade.POOR: (255, 90, 80)}
_REFUSED: Final = _GRADES[Grade.POOR]
_PAPER: Final = (24, 26, 30)
_INK: Final = (235, 235, 235)
_FAINT: Final = (165, 168, 175)
_NOSE: Final = (168, 122, 196, 198, 209, 49, 48, 64, 98, 97, 2, 326, 327, 294, 278, 279, 429, 420, 419, 351)
_FINE: Final = 4
"""OpenCV draws at 1/16 px with this shift."""


def draw_preview(
    image: PortraitImage,
    faces: list[Face],
    chosen: int | None,
    analysis: PortraitAnalysis | None,
    report: PortraitReport,
) -> U8:
    """uint8 RGB [720, W, 3]: left the picture (faces numbered, the framing), then the framed face if there is one, with
    what is wrong marked in the colour of its grade, right the report."""
    parts = [_picture(image, faces, chosen, analysis)]
    if analysis is not None:
        parts.append(_marked(_framed(analysis), analysis, report.aspects))
    return np.hstack([*parts, _words(report)])


def _picture(image: PortraitImage, faces: list[Face], chosen: int | None, analysis: PortraitAnalysis | None) -> U8:
    height, width = image.rgb_HW3.shape[:2]
    scale = min(HEIGHT / height, 2 * HEIGHT / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image.rgb_HW3, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    canvas = np.full((HEIGHT, max(size[0], HEIGHT // 3), 3), 24, np.uint8)
    canvas[: size[1], : size[0]] = small
    for number, face in enumerate(faces):
        colour = _CHOSEN if number == chosen else _OTHER
        x0, y0, x1, y1 = (round(float(v) * scale) for v in face.box_4)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, 2, cv2.LINE_AA)
        cv2.putText(canvas, str(number), (x0 + 4, y0 + 24), cv2.FONT_HERSHEY_SIMPLEX, 0.8, colour, 2, cv2.LINE_AA)
    if analysis is not None:
        side = analysis.rgb_HW3.shape[0]
        corners = np.array([[-0.5, -0.5, 1], [side - 0.5, side - 0.5, 1]]) @ analysis.to_source_33.T
        (x0, y0), (x1, y1) = ((round(float(v) * scale) for v in corner[:2]) for corner in corners)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), _POINT, 1, cv2.LINE_AA)
    return canvas


def _framed(analysis: PortraitAnalysis) -> U8:
    size = analysis.rgb_HW3.shape[0]
    scale = HEIGHT / size
    canvas = np.asarray(cv2.resize(analysis.rgb_HW3, (HEIGHT, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)

    def fine(points: NDArray[np.floating]) -> NDArray[np.int32]:
        place = (points[..., :2] + 0.5) * scale - 0.5
        return np.asarray(np.rint(place * 2**_FINE), np.int32)

    mask = (cv2.resize(analysis.matte_HW, (HEIGHT, HEIGHT)) > 0.5).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, _OUTLINE, 1, cv2.LINE_AA)
    plain = canvas.copy()
    for point in fine(analysis.landmarks_N3):
        cv2.circle(canvas, (int(point[0]), int(point[1])), 14, _POINT, -1, cv2.LINE_AA, _FINE)
    for stroke in fine(analysis.glasses_S22):
        cv2.polylines(canvas, [stroke], False, _OTHER, 2, cv2.LINE_AA, _FINE)
    canvas = np.asarray(cv2.addWeighted(canvas, 0.55, plain, 0.45, 0), np.uint8)
    rings = [analysis.landmarks_N3[list(ring)] for ring in _LIPS]
    rings += [analysis.landmarks_N3[[LIDS[eye][i] for i in _LID_LOOP]] for eye in (0, 1)]
    cv2.polylines(canvas, [fine(ring) for ring in rings], True, _CHOSEN, 1, cv2.LINE_AA, _FINE)
    for iris in analysis.iris_2K3:
        radius = float(np.linalg.norm(iris[1:, :2] - iris[0, :2], axis=1).mean()) * scale
        x, y = fine(iris[0])
        cv2.circle(canvas, (int(x), int(y)), round(radius * 2**_FINE), _OTHER, 1, cv2.LINE_AA, _FINE)
    return canvas


def _marked(canvas: U8, analysis: PortraitAnalysis, aspects: list[Aspect]) -> U8:
    """The framed face with a mark, in the grade's colour, where an aspect is not good."""
    scale = HEIGHT / analysis.rgb_HW3.shape[0]
    points_N2 = (analysis.landmarks_N3[:, :2] + 0.5) * scale - 0.5
    for aspect in sorted(aspects, key=lambda aspect: aspect.grade is Grade.POOR):
        if aspect.grade is Grade.GOOD or (aspect.name == "occlusion" and aspect.grade is Grade.FAIR):
            continue  # the latter could not be told
        colour = _GRADES[aspect.grade]
        if aspect.name == "room":
            width, height = analysis.source_size
            size = analysis.rgb_HW3.shape[0]
            beyond = outside_distance(analysis.to_source_33, size, width, height) > 0.5
            _tint(canvas, cv2.resize(beyond.astype(np.uint8), (HEIGHT, HEIGHT)) > 0, colour)
        for ring_N2, filled in _places(aspect.name, analysis, points_N2, scale):
            if filled:
                mask = np.zeros(canvas.shape[:2], np.uint8)
                cv2.fillPoly(mask, [np.rint(ring_N2).astype(np.int32)], 1)
                _tint(canvas, mask > 0, colour)
            cv2.polylines(canvas, [_sixteenths(ring_N2)], True, colour, 3, cv2.LINE_AA, _FINE)
    return canvas


def _places(
    name: str, analysis: PortraitAnalysis, points_N2: NDArray[np.floating], scale: float
) -> list[tuple[NDArray[np.floating], bool]]:
    """Closed lines [N, 2] around what an aspect is about, and whether to fill them."""
    eyes = [_around(points_N2[[LIDS[eye][i] for i in _LID_LOOP]], 1.5, 2.4) for eye in (0, 1)]
    lips, oval = _around(points_N2[list(OUTER_LIPS)], 1.25, 1.5), points_N2[list(FACE_OVAL)]
    if name == "occlusion":
        parts = {"eye right": eyes[0], "eye left": eyes[1], "mouth": lips, "nose": points_N2[list(_NOSE)]}
        hidden = visibility(analysis.rgb_HW3, analysis.landmarks_N3).hidden
        return [(parts[part], True) for part in hidden]
    if name == "balance":
        middle = points_N2[[10, 152]]
        halves = [np.concatenate([side, middle[::-1]]) for side in (oval[:19], np.roll(oval[::-1], 1, axis=0)[:19])]
        grey = cv2.resize(cv2.cvtColor(analysis.rgb_HW3, cv2.COLOR_RGB2GRAY), (HEIGHT, HEIGHT))
        return [(min(halves, key=lambda half: _lightness(np.asarray(grey, np.uint8), half)), True)]
    if name == "eyes":
        return [(eye, False) for eye in eyes]
    if name == "mouth":
        return [(lips, False)]
    if name == "glasses":
        return [((lens + 0.5) * scale - 0.5, False) for lens in analysis.lenses_2N2 if len(lens)]
    return [] if name == "room" else [(oval, False)]  # size, sharpness, light, pose, features: the whole face


def _around(ring_N2: NDArray[np.floating], wider: float, taller: float) -> NDArray[np.floating]:
    """An ellipse [48, 2] about a ring of points."""
    middle, half = (ring_N2.min(0) + ring_N2.max(0)) / 2, np.ptp(ring_N2, axis=0) / 2
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.asarray(middle + half * [wider, taller] * np.stack([np.cos(turn), np.sin(turn)], 1))


def _lightness(grey_HW: U8, ring_N2: NDArray[np.floating]) -> float:
    mask = np.zeros(grey_HW.shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(ring_N2).astype(np.int32)], 1)
    return float(grey_HW[mask > 0].mean()) if mask.any() else 0.0


def _tint(canvas: U8, mask_HW: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    canvas[mask_HW] = (0.6 * canvas[mask_HW] + 0.4 * np.array(colour)).astype(np.uint8)


def _sixteenths(points_N2: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.asarray(np.rint(points_N2 * 2**_FINE), np.int32)


def _words(report: PortraitReport) -> U8:
    """The report as a panel [720, PANEL, 3]: the verdict, then every aspect with a dot in the colour of its grade."""
    panel = Image.new("RGB", (PANEL, HEIGHT), _PAPER)
    pen = ImageDraw.Draw(panel)
    large, bold, small = (ImageFont.load_default(size) for size in (30, 18, 15))
    if report.grade is None:
        pen.text((24, 24), "cannot be used", _REFUSED, large)
        _paragraph(pen, f"{report.message} {report.hint}", (24, 84), bold, _INK, HEIGHT - 40)
        return np.asarray(panel)
    pen.text((24, 24), f"{report.grade}: {report.verdict}", _GRADES[report.grade], large)
    y = 76
    for aspect in sorted(report.aspects, key=lambda aspect: -[*Grade].index(aspect.grade)):
        pen.ellipse((26, y + 3, 40, y + 17), _GRADES[aspect.grade])
        pen.text((52, y), f"{aspect.name}: {aspect.grade}", _INK, bold)
        y = _paragraph(pen, aspect.text, (52, y + 22), small, _FAINT, HEIGHT - 20) + 7
    for note in report.warnings:
        y = _paragraph(pen, f"Note: {note}", (24, y + 4), small, _FAINT, HEIGHT - 20)
    return np.asarray(panel)


def _paragraph(
    pen: ImageDraw.ImageDraw,
    text: str,
    place: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, int, int],
    lowest: int,
) -> int:
    """Words wrapped to the panel's width, down to `lowest`; returns where the next line begins."""
    x, y = place
    step = round(font.getbbox("Ag")[3] * 1.3)
    line = ""
    for word in [*text.split(), ""]:
        longer = f"{line} {word}".strip()
        if word and font.getlength(longer) <= PANEL - x - 20:
            line = longer
            continue
        if y + step > lowest:
            break
        pen.text((x, y), line, colour, font)
        y, line = y + step, word
    return y
