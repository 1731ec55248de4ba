"""The gallery's checks can fail: each is shown a render that was broken on purpose in the way it looks for."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.portrait.models import load_models
from avatar.quality import shots
from avatar.quality.eyes import check_lid_closure
from avatar.quality.film import Film, grown, polygon
from avatar.quality.likeness import check_landmarks, check_round_trip
from avatar.quality.measures import PSNR_MOST, gradient_deviation, psnr, ssim
from avatar.quality.mouth import check_lip_closure, check_rings, check_teeth
from avatar.quality.report import LIMITS, beyond, check_film, portrait_table, summary_table, unjudged
from avatar.quality.stability import check_background, check_flicker, check_swimming, check_tears
from scripts.gallery import MARKS, portraits_in, renew, tables
from scripts.gallery import main as gallery
from scripts.record_frames import Recorder, record, torn_and_smeared

U8 = NDArray[np.uint8]


@cache
def film() -> Film:
    """The default presenter, recorded as the gallery does."""
    wanted = {n: None if m is None else m.tolist() for n, m in shots.all_shots().items()}
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "film.npz")
        record({"portrait": "default", "shots": wanted, "repaint": shots.repainted_frames(), "out": file}, 384)
        return Film.load(Path(file))


def broken(frames: list[str], change: Callable[[str, U8], U8], *, repainted: bool = False) -> Film:
    """The film with some of its frames changed."""
    known = film()
    pictures = {**known.pictures, **{frame: change(frame, known.pictures[frame].copy()) for frame in frames}}
    out = replace(known, pictures=pictures)
    if repainted:
        out = replace(
            out, repainted={**known.repainted, **{f: change("green", known.repainted[f].copy()) for f in frames}}
        )
    return out


def test_a_ring_around_the_opening() -> None:
    def ring(frame: str, picture: U8) -> U8:
        points = np.rint(film().ring("mouth", frame) * 16).astype(np.int32)
        return np.asarray(cv2.polylines(picture, [points], True, (15, 10, 10), 1, cv2.LINE_AA, 4), np.uint8)

    before, after = check_rings(film()), check_rings(broken(shots.open_frames(), ring))
    assert after["ring"] > before["ring"] + 0.2 and after["ring_depth"] > 2 * before["ring_depth"]
    assert "ring" in beyond(after)


def test_a_wedge_at_the_corners_outside_and_inside() -> None:
    def wedge(frame: str, picture: U8) -> U8:
        ring = film().ring("mouth", frame)
        for corner in (ring[0], ring[len(ring) // 2]):
            cv2.circle(picture, tuple(np.rint(corner).astype(int).tolist()), 4, (30, 15, 15), -1, cv2.LINE_AA)
        return picture

    before, after = check_rings(film()), check_rings(broken(shots.open_frames(), wedge))
    assert before["wedge"] < 0.02 < 0.2 < after["wedge"]
    assert after["corner_black"] > before["corner_black"] + 0.3


def test_lips_that_do_not_meet() -> None:
    def slit(frame: str, picture: U8) -> U8:
        colour = (0, 255, 0) if frame == "green" else (235, 225, 215)
        line = film().ring("upper", "M +0")[8:-8]
        return np.asarray(
            cv2.polylines(picture, [np.rint(line * 16).astype(np.int32)], False, colour, 1, cv2.LINE_AA, 4), np.uint8
        )

    before, after = check_lip_closure(film()), check_lip_closure(broken(["M +0"], slit, repainted=True))
    assert before["lip_paint"] > 100, "the check is blind"
    assert after["lips_open_worst"] > before["lips_open_worst"] + 10
    assert after["lips_bright_line"] > before["lips_bright_line"] + 0.02


def test_a_lid_that_stays_open() -> None:
    left, right = shots.blink_frames()[1]
    known = film()

    def open_eye(frame: str, picture: U8) -> U8:
        box = known.box("eye0", ["neutral"], 0.02)
        picture[box] = known.pictures["gaze left" if frame == left else "gaze right"][box]
        return picture

    before, after = check_lid_closure(known), check_lid_closure(broken([left, right], open_eye))
    assert before["eye_moves"] > 0.5, "the check is blind"
    assert after["lids_open_worst"] > 0.2 > 0.05 > before["lids_open_worst"]


def test_teeth_too_white_in_pieces_with_bars() -> None:
    def denture(frame: str, picture: U8) -> U8:
        inside = polygon(film().ring("mouth", frame), film().size)
        picture[inside] = (255, 255, 252)
        picture[:, ::6][inside[:, ::6]] = (20, 5, 5)
        return picture

    before, after = check_teeth(film()), check_teeth(broken(shots.open_frames(), denture))
    assert after["teeth_white"] > before["teeth_white"] + 0.1
    assert after["teeth_pieces"] > before["teeth_pieces"] + 3
    assert after["teeth_gaps"] > before["teeth_gaps"] + 0.05


def test_another_person_between_brows_and_nose() -> None:
    known = film()
    model = load_models().landmarks

    def blurred(_: str, picture: U8) -> U8:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), 2.0), np.uint8)

    def tinted(_: str, picture: U8) -> U8:
        return np.asarray(np.clip(picture + np.array([14, 0, -14]), 0, 255), np.uint8)

    def longer_nose(frame: str, picture: U8) -> U8:
        rows, columns = np.indices(picture.shape[:2]).astype(np.float32)
        tip = known.skins[frame][known.landmarks_468[1], :2]
        near = np.exp(-((columns - tip[0]) ** 2 + (rows - tip[1]) ** 2) / (2 * 22.0**2))
        moved = (rows - 9 * near).astype(np.float32)
        return np.asarray(cv2.remap(picture, columns, moved, cv2.INTER_LINEAR), np.uint8)

    trips = [*shots.POSES, *(f"{name} +0" for name in shots.OPEN)]
    before = check_round_trip(known)
    for name, change, least in (("drift_gms", blurred, 1.5), ("trip_gms", blurred, 1.5), ("drift_tone", tinted, 2.0)):
        assert check_round_trip(broken(trips, change))[name] > least * before[name], name
    assert check_round_trip(broken(["neutral"], blurred))["neutral_gms"] > 1.5 * before["neutral_gms"]
    own = check_round_trip(broken(["portrait"], blurred))
    assert own["self_psnr"] < before["self_psnr"] - 2 and own["self_gms"] > 2 * before["self_gms"]
    points = check_landmarks(known, model)["drift_points"]
    assert check_landmarks(broken(trips, longer_nose), model)["drift_points"] > points + 0.3


def test_a_background_that_moves() -> None:
    def shifted(_: str, picture: U8) -> U8:
        shift = np.roll(picture, 3, axis=1)
        far = ~grown(film().matte_HW > 0.02, 20)
        picture[far] = shift[far] // 2
        return picture

    before, after = check_background(film()), check_background(broken(["yaw +15"], shifted))
    assert before["background_seen"] > 0.05
    assert before["background"] <= 4 < 20 < after["background"] and after["background_moved"] > 0.5


def test_flicker_and_pops() -> None:
    noise = np.random.default_rng(0)

    def flickering(_: str, picture: U8) -> U8:
        return np.asarray(np.clip(picture.astype(int) + int(noise.integers(-4, 5)), 0, 255), np.uint8)

    def pop(frame: str, picture: U8) -> U8:
        return np.asarray(picture // 2, np.uint8) if frame.endswith("11") else picture

    before = check_flicker(film())
    frames = shots.sweep_frames("head")
    assert check_flicker(broken(frames, flickering))["flicker"] > before["flicker"] + 1.0
    for name in ("jaw", "lids"):
        after = check_flicker(broken(shots.sweep_frames(name), pop))
        assert after[f"pop_{name}"] > before[f"pop_{name}"] + 1.0
        assert f"pop_{name}" in beyond(after)


def test_texture_that_swims() -> None:
    def slipped(_: str, picture: U8) -> U8:
        return np.roll(picture, 2, axis=1)

    before, after = check_swimming(film()), check_swimming(broken(list(shots.POSES), slipped))
    assert after["swim"] > before["swim"] + 0.8


def test_tears_in_the_map_and_in_the_hair() -> None:
    size = 64
    rows, columns = np.indices((size, size)).astype(np.float32)
    decoder = SimpleNamespace(size=size, rig=SimpleNamespace(face_width=30.0, size=size))
    decoder._map_2HW, decoder._depth_HW = np.stack([columns, rows]), np.zeros((size, size), np.float32)
    matte = np.ones((size, size), np.float32)
    assert torn_and_smeared(decoder, matte) == (0.0, 0.0)
    decoder._map_2HW = np.stack([np.where(columns > 30, np.minimum(columns + 20, 63), columns), rows])
    torn, smeared = torn_and_smeared(decoder, matte)
    assert torn > 0.01 and smeared > 0.1
    assert all(np.isnan(torn_and_smeared(SimpleNamespace(size=size), matte)))

    def cuts(frame: str, picture: U8) -> U8:
        picture[::7][(film().matte_HW > 0.5)[::7]] = (255, 0, 255)
        return picture

    before, after = check_tears(film()), check_tears(broken(["roll +10"], cuts))
    assert after["hair_edges"] > 1.5 * before["hair_edges"]
    assert before["torn"] < 2.0


def test_measures_of_equal_and_ever_noisier_pictures() -> None:
    picture = film().portrait_HW3
    mask = film().matte_HW > 0.5
    assert psnr(picture, picture, mask) == PSNR_MOST
    assert ssim(picture, picture, mask) == pytest.approx(1.0)
    assert gradient_deviation(picture, picture, mask) == pytest.approx(0.0)
    noise = np.random.default_rng(1).normal(0, 1, picture.shape)
    scores = [
        (psnr(noisy, picture, mask), ssim(noisy, picture, mask), -gradient_deviation(noisy, picture, mask))
        for noisy in (np.clip(picture + noise * level, 0, 255).astype(np.uint8) for level in (2, 6, 18))
    ]
    for worse, better in zip(scores[1:], scores[:-1], strict=True):
        assert all(w < b for w, b in zip(worse, better, strict=True))
    empty = np.zeros_like(mask)
    assert np.isnan([psnr(picture, picture, empty), ssim(picture, picture, empty)]).all()


@settings(max_examples=10, deadline=None)
@given(st.floats(0.5, 1.5))
def test_gradient_deviation_does_not_mind_light(gain: float) -> None:
    picture = film().portrait_HW3.astype(np.float32) * 0.6
    mask = film().matte_HW > 0.5
    blurred = np.asarray(cv2.GaussianBlur(picture, (0, 0), 2.5))
    assert gradient_deviation(picture * gain, picture, mask) < gradient_deviation(blurred, picture, mask)


def test_the_tables_tell_before_after_and_what_is_beyond() -> None:
    row = check_film(film(), load_models().landmarks)
    assert {limit.name for limit in LIMITS} <= set(row)
    worse = {**row, "ring": 0.9, "background": 80.0}
    assert {"ring", "background"} <= set(beyond(worse))
    text = summary_table({"a": row, "b": worse}, {"a": worse, "b": worse})
    assert "0.900 → " in text and "2/2 → 1/2" in text
    assert "ring" in portrait_table({"a": worse}, None, ["ring"])


def cells(table: str, name: str) -> list[str]:
    """The line of one figure or portrait."""
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_could_not_be_judged_is_neither_within_nor_beyond() -> None:
    names = [limit.name for limit in LIMITS]
    nothing = {name: float("nan") for name in names}
    assert beyond(nothing) == beyond({}) == [] and unjudged(nothing) == unjudged({}) == names
    assert unjudged({**nothing, "ring": 0.1, "swim": float("inf")}) == [n for n in names if n != "ring"]
    rows = {"a": nothing, "b": {**nothing, "ring": 0.5}, "c": {**nothing, "ring": 0.1}, "d": {}}
    assert cells(summary_table(rows, None), "ring")[2:6] == ["0.300", "0.500", "1/2", "2"]
    assert cells(summary_table({"a": nothing}, None), "ring")[2:6] == ["-", "-", "0/0", "1"]
    last = cells(portrait_table(rows, None, ["ring"]), "b")
    assert last[1:3] == ["0.500", "ring"] and "swim" in last[3] and "ring" not in last[3].split(", ")


def test_the_worst_is_the_furthest_outside() -> None:
    """Limits with both sides, one side or none."""

    def worst(name: str, *values: float) -> float:
        rows = {str(k): {name: value} for k, value in enumerate(values)}
        return float(cells(summary_table(rows, None), name)[3])

    assert worst("teeth_white", 0.2, 0.9, 1.1) == 0.2
    assert worst("teeth_white", 0.45, 0.9, 1.3) == 1.3
    assert worst("teeth_white", 0.55, 0.8, 0.9) == 0.55
    assert worst("trip_psnr", 31.0, 40.0, float("nan")) == 31.0
    assert worst("ring", 0.1, 0.4, 0.2) == 0.4
    assert worst("neutral_gms", 0.1, 0.4, 0.2) == 0.4


def test_the_gallery_renders_a_folder_and_never_into_the_repository(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "broken.jpg").write_bytes(b"no picture")
    (pictures / "notes.txt").write_text("no portrait")
    assert [Path(p).stem for p in portraits_in(pictures, [])] == ["default", "broken"]
    inside = Path(__file__).parent / "gallery_out"
    with pytest.raises(SystemExit):
        gallery(["--portraits", str(pictures), "--out", str(inside)])
    assert not inside.exists()
    out = tmp_path / "out"
    page = tmp_path / "page.md"
    page.write_text(f"Above.\n{MARKS[0]}\nold\n{MARKS[1]}\nBelow.\n")
    assert gallery(["--portraits", str(pictures), "--out", str(out), "--figures", str(page)]) == 0
    figures = json.loads((out / "gallery.json").read_text())
    assert list(figures) == ["default"] and figures["default"]["background"] <= 4
    assert {p.name for p in out.glob("*.jpg")} == {f"default_{part}.jpg" for part in ("face", "mouth", "eyes")}
    text = page.read_text()
    assert text.startswith("Above.") and text.endswith("Below.\n") and "old" not in text
    assert "broken could not be rendered" in text
    assert text.count("1 portraits, 1 refused.") == 1
    assert "1 portraits, 0 refused, before → after" in tables(figures, figures, {})
    assert "- new is left out" in tables({**figures, "new": figures["default"]}, figures, {})
    with pytest.raises(SystemExit):
        renew(tmp_path / "pictures" / "notes.txt", "")


def test_a_recorder_that_dies_says_so(tmp_path: Path) -> None:
    with Recorder(tmp_path, 64) as recorder:  # 64 px is too small a frame
        problem = recorder.record("default", {"neutral": shots.motion({})}, [], tmp_path / "film.npz")
        assert problem is not None and "size" in problem
        recorder._process.kill()
        recorder._process.wait()
        problem = recorder.record("default", {}, [], tmp_path / "film.npz")
        assert problem is not None and "ended" in problem
