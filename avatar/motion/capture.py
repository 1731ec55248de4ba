"""Recorded motion from a file: Live Link Face CSV as the app or others write it, or our own JSON.

    capture = load_motion(path)
    capture.motion_TD       # float32 [T, 52] at 25 fps, within the ranges of motion/space.py
    capture.report          # what was dropped, clamped, ignored, centred

Column names may be capitalised or not, with Left/Right or _L/_R, in any order; missing ones are 0. Times come from the
timecodes, whose frame rate is found from where their seconds turn; without timecodes, or when they stand still, the
app's 60 fps are assumed. Rows without values, which the app writes when it loses the face, count as dropped.

A capture that is not our own is *centred*: the median pose of the head and of the eyes becomes straight ahead, because
where the phone stood says nothing about where the visitor stands.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS
from avatar.errors import MotionFileError
from avatar.motion import arkit, space
from avatar.motion.resample import to_frames

Doubles = NDArray[np.float64]

MAX_MINUTES: Final = 120
MAX_BYTES: Final = 1 << 29
APP_FPS: Final = 60.0
"""Rate of the app's timecodes unless set otherwise."""
TURNS: Final = ("yaw", "pitch", "roll")
LEAST_SHAPES: Final = 8
"""Fewer known blendshapes than this are some other table."""
_RATES: Final = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 90.0, 100.0, 120.0, 240.0)
_LONG_GAP_S: Final = 0.5
_MOST: Final = 1e6
"""No weight, angle or shift is larger, in whatever unit; sums of such numbers stay finite."""
_NOTABLE: Final = 0.01
"""Share of a channel's range by which it must leave it to be told; less is the noise of a tracker about 0."""
_USED: Final = "Use a CSV of the Live Link Face app, or one that 'visavis render --arkit' wrote."
_DEG: Final = 180.0 / np.pi
_TIMECODE: Final = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})[:;](\d{1,3}(?:[.,]\d+)?)")


@dataclass(frozen=True, slots=True)
class Capture:
    """Recorded motion.

    motion_TD: float32 [T, 52] at 25 fps, clamped. own: written by visavis. warnings: sentences for the user.
    report: rows, fps, frames, dropped_frames, longest_gap_s, clamped {channel: frames}, missing, ignored, centred_deg.
    """

    motion_TD: NDArray[np.float32]
    own: bool
    report: dict[str, Any]
    warnings: list[str] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.motion_TD) / FPS


@dataclass(slots=True)
class _Recording:
    """What a file holds: values by name [S] at time_S (seconds, rising), and remarks."""

    values: dict[str, Doubles]
    time_S: Doubles
    own: bool
    rows: int = 0
    ignored: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def load_motion(path: str | Path, *, centre: bool | None = None, flip: Sequence[str] = ()) -> Capture:
    """Read recorded motion.

    centre: take the median pose of head and eyes as straight ahead; None does so for captures not our own.
    flip: the head's angles (of yaw, pitch, roll) that the capture counts the other way round; CSV only.
    Raises MotionFileError with code not_found, empty, not_motion, not_a_number, duplicate_column, bad_row, bad_time
    or too_long; ValueError for another word in `flip`.
    """
    if not set(flip) <= set(TURNS):
        raise ValueError(f"what can be flipped is {', '.join(TURNS)}, not {', '.join(flip)}.")
    path = Path(path)
    if not path.is_file():
        raise MotionFileError("not_found", f"There is no file {path}.", "Check the path.")
    size = path.stat().st_size
    if size == 0:
        raise MotionFileError("empty", f"{path.name} is an empty file.", "Record or export it again.")
    if size > MAX_BYTES:
        raise MotionFileError("too_long", f"{path.name} has {size / 1e9:.1f} GB.", "Cut it into shorter takes.")
    text = _text(path)
    if text.lstrip()[:1] in ("{", "["):
        motion_SD, time_S = _read_json(path.name, text)
        recording = _Recording({}, time_S, own=True, rows=len(motion_SD))
    else:
        recording = _read_csv(path.name, text)
        for turn in {"head" + turn.capitalize() for turn in flip} & set(recording.values):
            recording.values[turn] = -recording.values[turn]
        motion_SD = arkit.from_arkit(recording.values)
    time_S = recording.time_S
    if time_S[-1] - time_S[0] > MAX_MINUTES * 60:
        raise MotionFileError(
            "too_long",
            f"{path.name} lasts {(time_S[-1] - time_S[0]) / 60:.0f} minutes.",
            f"At most {MAX_MINUTES} are read at once: cut it into shorter takes.",
        )
    centred = _centre(motion_SD, recording) if centre or (centre is None and not recording.own) else {}
    on_grid = np.abs(time_S - time_S[0] - np.arange(len(time_S)) / FPS).max() < 1e-6
    motion_TD = motion_SD if on_grid else to_frames(motion_SD, time_S)
    return _finish(motion_TD, recording, centred)


def _finish(motion_TD: Doubles, recording: _Recording, centred: dict[str, float]) -> Capture:
    clamped_TD, _ = space.clamp(motion_TD.astype(np.float32))
    over_TD = np.abs(clamped_TD - motion_TD) > _NOTABLE * (space.HIGH_D - space.LOW_D)
    clamped = {space.NAMES[d]: int(over_TD[:, d].sum()) for d in np.flatnonzero(over_TD.any(axis=0))}
    warnings = recording.warnings
    if clamped:
        worst = sorted(clamped, key=lambda name: -clamped[name])[:4]
        warnings.append(
            f"{len(clamped)} channels leave the range that one portrait can show and were held at its edge: "
            + ", ".join(f"{name} in {clamped[name]} frames" for name in worst)
            + (" ..." if len(clamped) > len(worst) else ".")
        )
    step_S = np.diff(recording.time_S)
    usual = float(np.median(step_S)) if len(step_S) else 1.0 / FPS
    lost = int(np.maximum(np.round(step_S / usual) - 1, 0).sum())
    longest = float(step_S.max()) if len(step_S) else 0.0
    if longest > _LONG_GAP_S:
        warnings.append(f"The capture has a gap of {longest:.1f} s: the face glides across it.")
    missing = [] if recording.own else [name for name in arkit.SHAPES if name not in recording.values]
    report = {
        "rows": recording.rows,
        "fps": round(1.0 / usual, 3),
        "frames": len(clamped_TD),
        "dropped_frames": lost,
        "longest_gap_s": round(longest, 3),
        "clamped": clamped,
        "missing": missing,
        "ignored": recording.ignored,
        "centred_deg": {name: round(value, 2) for name, value in centred.items()},
    }
    return Capture(clamped_TD, recording.own, report, warnings)


def _centre(motion_SD: Doubles, recording: _Recording) -> dict[str, float]:
    """Turn the median pose of head and eyes to straight ahead, in place; the angles taken away, in degrees."""
    taken: dict[str, float] = {}
    values = dict(recording.values) or dict(zip(arkit.CHANNELS, arkit.to_arkit(motion_SD).T, strict=True))
    eye_SA = arkit.eyes_in_head(values)
    for axis in ("headYaw", "headPitch", "headRoll"):
        if axis in values:
            middle = float(np.median(values[axis]))
            values[axis] = values[axis] - middle
            taken[axis] = middle * _DEG
    if eye_SA is not None:
        middle_A = np.median(eye_SA, axis=0)
        taken |= {"eyeYaw": -float(middle_A[0]) * _DEG, "eyePitch": -float(middle_A[1]) * _DEG}
        for side in ("left", "right"):
            values[side + "EyeYaw"], values[side + "EyePitch"] = -(eye_SA - middle_A).T
    motion_SD[:] = arkit.from_arkit(values)
    return taken


def _text(path: Path) -> str:
    data = path.read_bytes()
    coding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(coding)
    except UnicodeDecodeError as error:
        raise MotionFileError("not_motion", f"{path.name} is not a text file.", _USED) from error
    if "\0" in text:
        raise MotionFileError("not_motion", f"{path.name} is not a text file.", _USED)
    if not text.strip():
        raise MotionFileError("empty", f"{path.name} is empty.", "Record or export it again.")
    return text


def _read_csv(name: str, text: str) -> _Recording:
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise MotionFileError("not_motion", f"{name} is no table ({error}).", _USED) from error
    columns = [_plain(cell) for cell in rows[0]]
    known = {_plain(channel): channel for channel in arkit.CHANNELS}
    shapes = {known[c] for c in columns if c in known} & set(arkit.SHAPES)
    if len(shapes) < LEAST_SHAPES:
        raise MotionFileError("not_motion", f"{name} has no columns of blendshapes such as JawOpen.", _USED)
    twice = sorted({rows[0][i].strip() for i, c in enumerate(columns) if c and c in columns[:i]})
    if twice:
        raise MotionFileError("duplicate_column", f"{name} has the column {twice[0]} twice.", "Remove one of them.")
    body, at = _whole_rows(name, rows, columns)
    used = [i for i, c in enumerate(columns) if c in known]
    values_SC = _numbers(name, [[row[i] for i in used] for row in body], [rows[0][i] for i in used], at, delimiter)
    extra = {_plain(column) for column in arkit.EXTRA}
    own = extra <= set(columns)
    recording = _Recording({known[columns[i]]: values_SC[:, n] for n, i in enumerate(used)}, np.zeros(0), own)
    recording.rows = len(rows) - 1
    recording.ignored = [
        rows[0][i].strip() for i, c in enumerate(columns) if c not in known and c not in {"timecode", "blendshapecount"}
    ]
    codes = [row[columns.index("timecode")] for row in body] if "timecode" in columns else None
    keep_S, recording.time_S = _times(name, codes, at, recording.warnings, own)
    recording.values = {channel: value_S[keep_S] for channel, value_S in recording.values.items()}
    if np.any(recording.values.get("tongueOut", np.zeros(1)) > 0.2):
        recording.warnings.append("The tongue comes out in this capture; the portrait keeps it in.")
    if len(body) < len(rows) - 1:
        recording.warnings.append(f"{len(rows) - 1 - len(body)} rows without a whole face were skipped.")
    return recording


def _plain(column: str) -> str:
    """A column's name without case, blanks and underscores; _L and _R spelt out."""
    column = re.sub(r"_([lr])$", lambda side: "left" if side[1] == "l" else "right", column.strip().lower())
    return re.sub(r"[\s_]", "", column)


def _whole_rows(name: str, rows: list[list[str]], columns: list[str]) -> tuple[list[list[str]], list[int]]:
    """The rows with a face in them, and their line numbers."""
    count = columns.index("blendshapecount") if "blendshapecount" in columns else None
    body, at = [], []
    for line, row in enumerate(rows[1:], start=2):
        if count is not None and len(row) > count and row[count].strip() in ("0", "0.0"):
            continue
        if len(row) <= 2 < len(columns):  # only a time: the app had lost the face
            continue
        if len(row) < len(columns) and line == len(rows):  # the app was stopped while it wrote
            continue
        if len(row) < len(columns) or any(cell.strip() for cell in row[len(columns) :]):
            raise MotionFileError(
                "bad_row",
                f"Row {line} of {name} has {len(row)} cells, the header has {len(columns)}.",
                "The file was cut or edited: export it again, or remove that row.",
            )
        body.append(row)
        at.append(line)
    if not body:
        raise MotionFileError("empty", f"{name} has a header but no frame with a face.", "Record the take again.")
    return body, at


def _numbers(name: str, cells: list[list[str]], titles: list[str], at: list[int], delimiter: str) -> Doubles:
    """Cells as float64 [S, C]; the first that is no number up to _MOST is named."""
    if delimiter == ";":
        cells = [[cell.replace(",", ".") for cell in row] for row in cells]
    try:
        values_SC = np.array(cells, np.float64)
    except ValueError:
        values_SC = np.array([[_number(cell) for cell in row] for row in cells])
    bad = np.argwhere(~(np.abs(values_SC) <= _MOST))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        cell = cells[row][column].strip() or "nothing"
        raise MotionFileError(
            "not_a_number",
            f"Row {at[row]} of {name} has {cell} for {titles[column].strip()}, not a number ({len(bad)} such cells).",
            "Remove those rows: frames left out are bridged.",
        )
    return values_SC


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _times(
    name: str, codes: list[str] | None, at: list[int], warnings: list[str], own: bool
) -> tuple[NDArray[np.intp], Doubles]:
    """Which rows to keep and their times in seconds, strictly rising."""
    rows = 0 if codes is None else len(codes)
    if codes is None or (len(codes) > 1 and len(set(codes)) == 1):
        warnings.append(f"There are no timecodes that run: {APP_FPS:.0f} frames a second are assumed.")
        return np.arange(len(at)), np.arange(len(at)) / APP_FPS
    parts_S4 = np.empty((rows, 4))
    for i, code in enumerate(codes):
        match = _TIMECODE.fullmatch(code.strip())
        if match is None:
            raise MotionFileError(
                "bad_time",
                f"Row {at[i]} of {name} has the timecode '{code.strip()}'.",
                "Timecodes are HH:MM:SS:FF.mmm; without the column 60 frames a second are assumed.",
            )
        parts_S4[i] = [float(part.replace(",", ".")) for part in match.groups()]
    second_S = parts_S4[:, :3] @ (3600.0, 60.0, 1.0)
    rate = float(FPS) if own else _timecode_rate(second_S, parts_S4[:, 3])
    time_S = second_S + parts_S4[:, 3] / rate
    time_S = time_S + 86400.0 * np.cumsum(np.diff(time_S, prepend=time_S[0]) < -43200.0)  # past midnight
    later_S = time_S > np.maximum.accumulate(np.concatenate([[-np.inf], time_S[:-1]])) + 1e-6
    if not later_S.all():
        warnings.append(f"{int((~later_S).sum())} rows whose time does not advance were skipped.")
    keep_S = np.flatnonzero(later_S)
    return keep_S, time_S[keep_S]


def _timecode_rate(second_S: Doubles, frame_S: Doubles) -> float:
    """Frames per second that the timecodes count: the rate at which steps over a full second are like the others."""
    possible = [rate for rate in _RATES if rate > np.floor(frame_S.max())]
    turns = np.flatnonzero(np.diff(second_S) == 1.0)
    within = np.flatnonzero(np.diff(second_S) == 0.0)
    if len(turns) == 0 or len(within) == 0 or not possible:
        return APP_FPS if frame_S.max() < APP_FPS else max(_RATES)
    step = float(np.median(np.diff(frame_S)[within]))
    seen = float(np.median(frame_S[turns] + step - frame_S[turns + 1]))
    return min(possible, key=lambda rate: abs(rate - seen))


def _is_names(names: object) -> TypeGuard[list[str]]:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _read_json(name: str, text: str) -> tuple[Doubles, Doubles]:
    """Our own JSON: motion [S, 52] and times."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise MotionFileError(
            "not_motion", f"{name} is not whole JSON (line {error.lineno}).", "Export it again."
        ) from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise MotionFileError("not_motion", f"{name} is JSON of some other kind.", "Export it again.") from error
    if not isinstance(data, dict) or data.get("format") != arkit.JSON_FORMAT:
        raise MotionFileError("not_motion", f"{name} is not motion written by visavis.", _USED)
    names, fps, frames = data.get("names"), data.get("fps"), data.get("motion")
    if not _is_names(names) or not isinstance(frames, list) or not isinstance(fps, int | float):
        raise MotionFileError("not_motion", f"{name} lacks names, fps or motion.", "Export it again.")
    if not frames:
        raise MotionFileError("empty", f"{name} has no frames.", "Export it again.")
    if not 1.0 <= fps <= 1000.0:
        raise MotionFileError("bad_time", f"{name} has {fps} frames a second.", "Give 1 to 1000.")
    if len(set(names)) < len(names):
        raise MotionFileError("duplicate_column", f"{name} names a channel twice.", "Export it again.")
    known = [i for i, channel in enumerate(names) if channel in space.INDEX]
    if len(known) < LEAST_SHAPES:
        raise MotionFileError("not_motion", f"{name} names none of our channels.", _USED)
    try:
        values_SN = np.array(frames, np.float64)
    except (ValueError, TypeError, OverflowError):
        values_SN = np.zeros(0)
    if values_SN.ndim != 2 or values_SN.shape[1] != len(names):
        raise MotionFileError("bad_row", f"{name} needs {len(names)} numbers in every frame.", "Export it again.")
    if len(bad := np.argwhere(~(np.abs(values_SN) <= _MOST))):
        raise MotionFileError(
            "not_a_number", f"Frame {bad[0][0]} of {name} holds NaN, infinity or an absurd number.", "Remove it."
        )
    motion_SD = np.zeros((len(values_SN), space.DIM))
    motion_SD[:, [space.INDEX[names[i]] for i in known]] = values_SN[:, known]
    return motion_SD, np.arange(len(motion_SD)) / float(fps)
