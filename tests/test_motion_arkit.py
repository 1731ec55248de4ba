"""Motion goes out as ARKit's 52 and comes back the same; captures of any rate and spelling drive a portrait."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.clock import FPS
from avatar.errors import MotionFileError
from avatar.motion import arkit, space
from avatar.motion.capture import load_motion
from avatar.rig.deform import head_pose
from avatar.rig.eyes import gaze_axis

I = space.INDEX  # noqa: E741
APP_LINE = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,"
    "EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,"
    "EyeWideRight,JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,"
    "MouthSmileLeft,MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,MouthStretchLeft,"
    "MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,MouthShrugUpper,MouthPressLeft,MouthPressRight,"
    "MouthLowerDownLeft,MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,"
    "BrowOuterUpLeft,BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,"
    "TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)
APP_HEADER = next(csv.reader([APP_LINE]))


def some_motion(frames: int, seed: int = 0) -> NDArray[np.float32]:
    """Anything within the ranges, changing smoothly."""
    rng = np.random.default_rng(seed)
    phase_D, rate_D = rng.uniform(0, 6.28, space.DIM), rng.uniform(0.1, 0.6, space.DIM)
    wave_TD = 0.5 + 0.5 * np.sin(np.arange(frames)[:, None] * rate_D + phase_D)
    return (space.LOW_D + wave_TD * (space.HIGH_D - space.LOW_D)).astype(np.float32)


def app_code(seconds: float, rate: float = 60.0, start: float = 13 * 3600 + 59 * 60 + 58.2) -> str:
    """A timecode as the app writes it: frames of the second with thousandths of a frame."""
    total = start + seconds
    whole = int(total + 1e-9)
    return f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{(total - whole) * rate:06.3f}"


def write_app(
    path: Path,
    columns: dict[str, Any],
    seconds: NDArray[np.float64],
    *,
    header: list[str] = APP_HEADER,
    end: str = "\n",
    bom: bool = False,
    rate: float = 60.0,
) -> Path:
    """A CSV as the app writes it: ten decimals, 61 values; `columns` by capitalised name, others 0."""
    lines = [",".join(header)]
    for row, second in enumerate(seconds):
        cells = [app_code(second, rate), "61"]
        for name in header[2:]:
            value = np.broadcast_to(columns.get(name[0].upper() + name[1:], 0.0), len(seconds))[row]
            cells.append(f"{value:.10f}")
        lines.append(",".join(cells))
    text = ("\ufeff" if bom else "") + end.join(lines) + end
    path.write_bytes(text.encode("utf-8"))
    return path


def test_columns_are_the_apps_and_then_ours() -> None:
    assert list(arkit.COLUMNS[:63]) == APP_HEADER
    assert list(arkit.COLUMNS[63:]) == [
        "VisavisTongueHeight", "VisavisHeadX", "VisavisHeadY", "VisavisHeadLogScale",
    ]  # fmt: skip
    assert set(space.ARKIT_NAMES) | {n for n in arkit.SHAPES if n.startswith("eyeLook")} | {"tongueOut"} == set(
        arkit.SHAPES
    )


@pytest.mark.parametrize("ending", [".csv", ".json"])
def test_export_and_import_give_the_same_motion(tmp_path: Path, ending: str) -> None:
    motion_TD = some_motion(137)
    path = tmp_path / f"clip{ending}"
    arkit.write_motion(path, motion_TD)
    back = load_motion(path)
    assert back.own and back.warnings == [] and back.report["centred_deg"] == {}
    assert back.motion_TD.dtype == np.float32
    np.testing.assert_allclose(back.motion_TD, motion_TD, atol=2e-7)


def test_csv_rows_are_as_the_app_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "clip.csv"
    arkit.write_motion(path, some_motion(30))
    rows = list(csv.reader(path.read_text().splitlines()))
    assert rows[26][0] == "00:00:01:00.000" and rows[30][0] == "00:00:01:04.000"
    assert {row[1] for row in rows[1:]} == {"61"}
    weights = np.array([row[2:54] for row in rows[1:]], float)
    assert weights.min() >= 0.0 and weights.max() <= 1.0
    assert (weights[:, arkit.SHAPES.index("tongueOut")] == 0).all()
    assert "-0.0000000000" not in path.read_text()


def test_json_has_both_kinds_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "clip.json"
    arkit.write_motion(path, some_motion(4))
    data = json.loads(path.read_text())
    assert data["fps"] == FPS and data["frames"] == 4
    assert tuple(data["names"]) == space.NAMES and np.shape(data["motion"]) == (4, 52)
    assert data["arkit_names"][:52] == list(arkit.SHAPES) and np.shape(data["arkit"]) == (4, 61)


def look(azimuth_deg: float, elevation_deg: float, yaw_deg: float = 0.0) -> dict[str, float]:
    motion_TD = np.zeros((1, space.DIM))
    motion_TD[0, space.GAZE] = np.deg2rad([azimuth_deg, elevation_deg])
    motion_TD[0, I["headYaw"]] = np.deg2rad(yaw_deg)
    return dict(zip(arkit.CHANNELS, arkit.to_arkit(motion_TD)[0].tolist(), strict=True))


def test_gaze_to_image_right_is_the_left_eye_looking_out() -> None:
    v = look(10.0, 0.0)
    assert v["eyeLookOutLeft"] > 0.2 and v["eyeLookInRight"] > 0.2
    assert v["eyeLookInLeft"] == v["eyeLookOutRight"] == 0.0
    assert v["leftEyeYaw"] == v["rightEyeYaw"] == pytest.approx(-np.deg2rad(10.0))


def test_gaze_up_and_down() -> None:
    up, down = look(0.0, 8.0), look(0.0, -8.0)
    assert up["eyeLookUpLeft"] > 0.2 and up["eyeLookDownLeft"] == 0.0 and up["leftEyePitch"] < 0
    assert down["eyeLookDownRight"] > 0.2 and down["eyeLookUpRight"] == 0.0 and down["rightEyePitch"] > 0


def test_a_turned_head_that_looks_at_the_visitor_has_turned_its_eyes_back() -> None:
    v = look(0.0, 0.0, yaw_deg=12.0)
    assert v["headYaw"] == pytest.approx(-np.deg2rad(12.0))
    assert v["leftEyeYaw"] == pytest.approx(np.deg2rad(12.0))


def test_eyes_in_the_head_are_the_rigs() -> None:
    """The rig draws the gaze relative to the camera and turns it into the head by the same pose."""
    motion_D = some_motion(9, seed=3)[7]
    eye_A = -arkit.to_arkit(motion_D[None])[
        0, [arkit.CHANNELS.index("leftEyeYaw"), arkit.CHANNELS.index("leftEyePitch")]
    ]
    in_head = head_pose(motion_D, 1.0).R_33.T @ gaze_axis(motion_D[space.GAZE])
    np.testing.assert_allclose(gaze_axis(eye_A), in_head, atol=1e-6)


def test_gaze_from_shapes_alone(tmp_path: Path) -> None:
    header = [name for name in APP_HEADER if "Eye" not in name[1:] or name.startswith("Eye")]
    assert len(header) == 57
    seconds = np.arange(50) / 25
    weight = 0.3 * np.sin(np.arange(50) / 8)
    columns = {
        "EyeLookOutLeft": np.maximum(weight, 0), "EyeLookInRight": np.maximum(weight, 0),
        "EyeLookInLeft": np.maximum(-weight, 0), "EyeLookOutRight": np.maximum(-weight, 0),
    }  # fmt: skip
    capture = load_motion(write_app(tmp_path / "a.csv", columns, seconds, header=header, rate=25.0), centre=False)
    expected = weight / arkit.LOOK_PER_RAD["Out"]
    np.testing.assert_allclose(capture.motion_TD[:, I["gazeAzimuth"]], expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=52, max_size=52))
def test_every_pose_survives_the_way_out_and_back(share: list[float]) -> None:
    motion_D = (space.LOW_D + np.array(share) * (space.HIGH_D - space.LOW_D)).astype(np.float32)
    values_C = arkit.to_arkit(motion_D[None]).T
    back_TD = arkit.from_arkit(dict(zip(arkit.CHANNELS, values_C, strict=True)))
    np.testing.assert_allclose(back_TD[0], motion_D, atol=1e-6)


# --- captures as the app and others write them


def test_a_60_fps_capture_becomes_25(tmp_path: Path) -> None:
    seconds = np.arange(301) / 60
    jaw = 0.2 + 0.15 * np.sin(2 * np.pi * 1.5 * seconds)
    capture = load_motion(write_app(tmp_path / "a.csv", {"JawOpen": jaw, "HeadYaw": -0.1 * np.sin(seconds)}, seconds))
    assert not capture.own and capture.report["fps"] == pytest.approx(60, abs=0.1)
    assert len(capture.motion_TD) == 126 and capture.report["dropped_frames"] == 0
    frame_s = np.arange(126) / 25
    expected = 0.2 + 0.15 * np.sin(2 * np.pi * 1.5 * frame_s)
    np.testing.assert_allclose(capture.motion_TD[1:-1, I["jawOpen"]], expected[1:-1], atol=0.004)
    yaw = capture.motion_TD[:, I["headYaw"]]
    assert np.corrcoef(yaw, np.sin(frame_s))[0, 1] > 0.999  # the app's yaw is positive to the other side


@pytest.mark.parametrize("rate", [24.0, 29.97, 30.0, 59.94, 60.0, 120.0])
def test_capture_rates(tmp_path: Path, rate: float) -> None:
    timebase = float(round(rate))
    frames = np.arange(int(4 * rate))
    lines = [",".join(APP_HEADER)]
    for k in frames:
        total = k * timebase / rate if abs(rate - timebase) < 0.01 else float(k)
        whole, part = divmod(total, timebase)
        cells = [f"09:15:{int(whole):02d}:{part:06.3f}", "61"] + ["0.1000000000"] * 61
        lines.append(",".join(cells))
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    capture = load_motion(path)
    assert capture.report["fps"] == pytest.approx(timebase, rel=0.001)
    assert len(capture.motion_TD) == int((len(frames) - 1) / timebase * 25 + 1e-6) + 1


def test_what_is_too_fast_for_25_fps_does_not_alias(tmp_path: Path) -> None:
    seconds = np.arange(480) / 120
    flutter = 0.3 + 0.2 * np.sin(2 * np.pi * 26.0 * seconds)  # would become 1 Hz if frames were picked
    capture = load_motion(write_app(tmp_path / "a.csv", {"BrowInnerUp": flutter}, seconds, rate=120.0))
    brow = capture.motion_TD[2:-2, I["browInnerUp"]]
    assert brow.std() < 0.35 * 0.2 / np.sqrt(2)


def test_short_closures_of_lips_and_lids_stay_closed(tmp_path: Path) -> None:
    seconds = np.arange(240) / 60
    jaw, close, blink, press = np.full(240, 0.3), np.zeros(240), np.zeros(240), np.zeros(240)
    for first in (31, 90, 152):
        close[first : first + 2] = 0.3  # 33 ms: two samples of the app
        blink[first] = 0.95
    press[200] = 0.4
    columns = {"JawOpen": jaw, "MouthClose": close, "EyeBlinkLeft": blink, "MouthPressLeft": press, "MouthPressRight": press}  # fmt: skip  # noqa: E501
    motion_TD = load_motion(write_app(tmp_path / "a.csv", columns, seconds)).motion_TD
    sealed_T = motion_TD[:, I["mouthClose"]] >= 0.9 * np.maximum(motion_TD[:, I["jawOpen"]], 0.03)
    for first in (31, 90, 152):
        around = slice(int(first / 2.4) - 1, int(first / 2.4) + 3)
        assert 1 <= sealed_T[around].sum() <= 2, first
        assert motion_TD[around, I["eyeBlinkLeft"]].max() >= 0.94
    assert 3 <= sealed_T.sum() <= 6
    assert (motion_TD[:, I["mouthPressLeft"]] >= 0.3).sum() == 1


def test_dropped_frames_are_bridged_in_time(tmp_path: Path) -> None:
    seconds = np.delete(np.arange(240) / 60, [40, 41, 42, 100, *range(150, 190)])
    capture = load_motion(write_app(tmp_path / "a.csv", {"JawOpen": 0.1 * seconds}, seconds))
    assert capture.report["dropped_frames"] == 44 and "gap" in " ".join(capture.warnings)
    frame_s = np.arange(len(capture.motion_TD)) / 25
    np.testing.assert_allclose(capture.motion_TD[1:-1, I["jawOpen"]], 0.1 * frame_s[1:-1], atol=1e-4)


def test_rows_without_a_face_and_a_cut_last_row_are_skipped(tmp_path: Path) -> None:
    seconds = np.arange(120) / 60
    path = write_app(tmp_path / "a.csv", {"JawOpen": 0.2}, seconds)
    lines = path.read_text().splitlines()
    lines[30] = ",".join([lines[30].split(",")[0], "0"])
    lines[31] = ",".join([lines[31].split(",")[0], "0", *[""] * 61])
    lines[-1] = lines[-1][:100]
    path.write_text("\n".join(lines))
    capture = load_motion(path)
    assert capture.report["dropped_frames"] == 2 and "3 rows" in " ".join(capture.warnings)
    np.testing.assert_allclose(capture.motion_TD[:, I["jawOpen"]], 0.2, atol=1e-6)


@pytest.mark.parametrize("variant", ["lower", "crlf", "bom", "semicolon", "underscore", "utf16", "shuffled", "spaces"])
def test_spellings_of_the_same_file(tmp_path: Path, variant: str) -> None:
    seconds = np.arange(60) / 60
    columns = {"JawOpen": 0.2, "MouthSmileLeft": 0.5, "EyeBlinkRight": 0.3}
    header = APP_HEADER
    if variant == "lower":
        header = [name[0].lower() + name[1:] for name in header]
    path = write_app(tmp_path / "a.csv", columns, seconds, header=header, end="\r\n" if variant == "crlf" else "\n",
                     bom=variant == "bom")  # fmt: skip
    text = path.read_text(encoding="utf-8")
    if variant == "semicolon":
        text = text.replace(",", ";").replace(".", ",")
    if variant == "underscore":
        text = text.replace("MouthSmileLeft", "mouthSmile_L").replace("EyeBlinkRight", "eyeBlink_R")
    if variant == "shuffled":
        text = "\n".join(",".join(reversed(line.split(","))) for line in text.splitlines())
    if variant == "spaces":
        text = text.replace(",", " , ")
    path.write_bytes(text.encode("utf-16" if variant == "utf16" else "utf-8"))
    motion_TD = load_motion(path).motion_TD
    assert len(motion_TD) == 25
    for name, value in columns.items():
        np.testing.assert_allclose(motion_TD[:, I[name[0].lower() + name[1:]]], value, atol=1e-6)


def test_missing_and_unknown_columns_are_told(tmp_path: Path) -> None:
    header = [n for n in APP_HEADER if n not in ("CheekPuff", "TongueOut")] + ["MyNote"]
    capture = load_motion(write_app(tmp_path / "a.csv", {}, np.arange(60) / 60, header=header))
    assert capture.report["missing"] == ["cheekPuff", "tongueOut"] and capture.report["ignored"] == ["MyNote"]


def test_without_timecodes_the_apps_rate_is_assumed(tmp_path: Path) -> None:
    path = write_app(tmp_path / "a.csv", {"JawOpen": 0.2}, np.arange(120) / 60)
    path.write_text("\n".join(line.split(",", 1)[1] for line in path.read_text().splitlines()))
    capture = load_motion(path)
    assert len(capture.motion_TD) == 50 and "60 frames a second" in " ".join(capture.warnings)


def test_midnight_passes(tmp_path: Path) -> None:
    lines = [",".join(APP_HEADER)]
    lines += [f"23:59:59:{f:02d}.000,61" + ",0.1" * 61 for f in range(30, 60)]
    lines += [f"00:00:00:{f:02d}.000,61" + ",0.1" * 61 for f in range(60)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines))
    capture = load_motion(path)
    assert len(capture.motion_TD) == 38 and capture.report["dropped_frames"] == 0


def test_where_the_phone_stood_is_taken_out(tmp_path: Path) -> None:
    seconds = np.arange(300) / 60
    sway = 0.05 * np.sin(2 * np.pi * seconds)
    columns = {"HeadYaw": 0.3 + sway, "HeadPitch": -0.2, "LeftEyePitch": 0.17, "RightEyePitch": 0.17,
               "LeftEyeYaw": -0.07, "RightEyeYaw": 0.07}  # fmt: skip
    path = write_app(tmp_path / "a.csv", columns, seconds)
    capture = load_motion(path)
    assert abs(np.median(capture.motion_TD[:, I["headYaw"]])) < 0.005
    np.testing.assert_allclose(capture.motion_TD[:, I["headPitch"]], 0, atol=1e-6)
    np.testing.assert_allclose(capture.motion_TD[:, I["gazeElevation"]], 0, atol=0.002)
    assert capture.report["centred_deg"]["headYaw"] == pytest.approx(np.rad2deg(0.3), abs=0.3)
    as_it_is = load_motion(path, centre=False)
    assert as_it_is.report["clamped"]["headYaw"] > 80


def test_a_head_counted_the_other_way_is_flipped(tmp_path: Path) -> None:
    path = write_app(tmp_path / "a.csv", {"HeadYaw": 0.1, "HeadPitch": 0.05, "HeadRoll": 0.02}, np.arange(60) / 60)
    plain_D, flipped_D = (load_motion(path, centre=False, flip=f).motion_TD[0] for f in ((), ("pitch", "roll")))
    turns = [I["headYaw"], I["headPitch"], I["headRoll"]]
    np.testing.assert_allclose(plain_D[turns], [-0.1, -0.05, 0.02], atol=1e-6)
    np.testing.assert_allclose(flipped_D[turns], [-0.1, 0.05, -0.02], atol=1e-6)
    with pytest.raises(ValueError, match="pitch"):
        load_motion(path, flip=["nod"])


def test_what_leaves_the_range_is_held_and_told(tmp_path: Path) -> None:
    seconds = np.arange(120) / 60
    columns = {"JawOpen": np.where(seconds > 1, 0.9, 0.1), "TongueOut": 0.5, "HeadYaw": 0.5 * np.sin(3 * seconds)}
    capture = load_motion(write_app(tmp_path / "a.csv", columns, seconds))
    assert capture.motion_TD.max() <= 1.0 and capture.motion_TD[:, I["jawOpen"]].max() == pytest.approx(0.6)
    assert 24 <= capture.report["clamped"]["jawOpen"] <= 26 and "headYaw" in capture.report["clamped"]
    assert "jawOpen" in " ".join(capture.warnings) and "tongue" in " ".join(capture.warnings)
    clamped, changed = space.clamp(capture.motion_TD)
    assert changed == 0 and np.array_equal(clamped, capture.motion_TD)


def test_a_trackers_noise_about_zero_is_not_told(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.002, 120)
    capture = load_motion(write_app(tmp_path / "a.csv", {"JawOpen": noise}, np.arange(120) / 60))
    assert capture.report["clamped"] == {} and capture.warnings == []
    assert capture.motion_TD.min() >= -1e-6


def broken(tmp_path: Path, what: str) -> Path:
    path = write_app(tmp_path / "a.csv", {"JawOpen": 0.2}, np.arange(60) / 60)
    text = path.read_text()
    lines = text.splitlines()
    match what:
        case "nan" | "word":
            lines[7] = lines[7].replace("0.2000000000", "NaN" if what == "nan" else "wide", 1)
        case "absurd":
            lines[7] = lines[7].replace("0.2000000000", "1e308", 1)
        case "twice":
            lines[0] = lines[0].replace("JawLeft", "jawOpen")
        case "short row":
            lines[20] = lines[20].rsplit(",", 4)[0]
        case "time":
            lines[9] = "noon" + lines[9][15:]
        case "header only":
            lines = lines[:1]
        case "table":
            lines = ["name,age"] + ["Ann,7"] * 9
        case "long":
            lines[-1] = "23" + lines[-1][2:]
    path.write_text("\n".join(lines))
    if what == "empty":
        path.write_bytes(b"")
    if what == "binary":
        path.write_bytes(bytes(range(256)) * 20)
    if what == "json":
        path.write_text('{"frames": [1, 2]}')
    if what == "cut json":
        arkit.write_motion(tmp_path / "a.json", some_motion(5))
        path.write_text((tmp_path / "a.json").read_text()[:-40])
    if what == "json nan":
        data = arkit.as_json(some_motion(5))
        data["motion"][3][7] = float("nan")
        path.write_text(json.dumps(data))
    if what == "json ragged":
        data = arkit.as_json(some_motion(5))
        data["motion"][3].pop()
        path.write_text(json.dumps(data))
    if what == "json deep":
        path.write_text("[" * 200_000)
    if what in ("json digits", "json large", "json absurd"):
        data = arkit.as_json(some_motion(5))
        text = json.dumps(data | {"motion": [[12345.0, *[0.0] * (len(data["names"]) - 1)]]})
        number = {"json digits": "9" * 5000, "json large": "9" * 400, "json absurd": "1e308"}[what]
        path.write_text(text.replace("12345.0", number))
    if what == "missing":
        path.unlink()
    return path


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ("nan", "not_a_number", "Row 8 of a.csv has NaN for JawOpen"),
        ("word", "not_a_number", "wide for JawOpen"),
        ("twice", "duplicate_column", "twice"),
        ("short row", "bad_row", "Row 21"),
        ("time", "bad_time", "Row 10"),
        ("header only", "empty", "no frame"),
        ("table", "not_motion", "no columns of blendshapes"),
        ("long", "too_long", "minutes"),
        ("empty", "empty", "empty"),
        ("binary", "not_motion", "not a text file"),
        ("json", "not_motion", "not motion written by visavis"),
        ("cut json", "not_motion", "not whole JSON"),
        ("json nan", "not_a_number", "Frame 3"),
        ("json ragged", "bad_row", "52 numbers"),
        ("json deep", "not_motion", "some other kind"),
        ("json digits", "not_motion", "some other kind"),
        ("json large", "bad_row", "52 numbers"),
        ("json absurd", "not_a_number", "Frame 0"),
        ("absurd", "not_a_number", "1e308 for JawOpen"),
        ("missing", "not_found", "no file"),
    ],
)
def test_nonsense_is_refused_with_a_reason(tmp_path: Path, what: str, code: str, says: str) -> None:
    with pytest.raises(MotionFileError) as refused:
        load_motion(broken(tmp_path, what))
    assert refused.value.code == code and says in refused.value.message and refused.value.hint


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.csv"):
        arkit.write_motion(tmp_path / "a.fbx", some_motion(2))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, headed: bool) -> None:
    path = tmp_path_factory.mktemp("any") / "a.csv"
    path.write_bytes((",".join(APP_HEADER).encode() + b"\n" if headed else b"") + data)
    try:
        capture = load_motion(path)
    except MotionFileError:
        return
    assert np.isfinite(capture.motion_TD).all()
