"""Look at a face: fixed poses of one or more portraits, or the frames of a clip, as one labelled picture.

    python scripts/contact_sheet.py PORTRAIT... --out sheet.png [--part face|mouth|eyes] [--size 512]
                                    [--framing square|portrait] [--background photo|transparent|#rrggbb|FILE]
                                    [--before CHECKOUT]
    python scripts/contact_sheet.py --clip CLIP.mp4 --out strip.png [--every 2] [--start 0.0] [--count 24]

A portrait is an image file, a saved identity, or 'default'. The first cell shows the portrait as it was taken. With
--before, every row is drawn twice: above by the decoder of an older checkout, below by this one. What is transparent
is shown over a chequered ground.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.errors import AvatarError
from avatar.identity import load_identity
from avatar.portrait.store import Identity
from avatar.quality.film import Film
from avatar.quality.shots import DEG, both, motion
from avatar.render.decoder import Decoder
from avatar.render.output import FrameFormat, Framing, parse_background
from avatar.rig.types import FittedRig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.record_frames import Recorder

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

POSES: dict[str, dict[str, float]] = {
    "neutral": {},
    "AA": {"jawOpen": 0.42, **both(mouthLowerDown=0.2, mouthUpperUp=0.15)},
    "EE": {"jawOpen": 0.15, **both(mouthStretch=0.4, mouthSmile=0.3, mouthUpperUp=0.25, mouthLowerDown=0.3)},
    "OO": {"jawOpen": 0.2, "mouthPucker": 0.7, "mouthFunnel": 0.4},
    "M": {"jawOpen": 0.05, "mouthClose": 0.05, **both(mouthPress=0.85)},
    "F": {"jawOpen": 0.08, "mouthRollLower": 0.6, **both(mouthUpperUp=0.25)},
    "L": {"jawOpen": 0.25, "tongueHeight": 1.0},
    "smile": {"jawOpen": 0.1, **both(mouthSmile=0.8, mouthUpperUp=0.3, cheekSquint=0.5)},
    "closed smile": both(mouthSmile=0.6, cheekSquint=0.3),
    "blink": both(eyeBlink=1.0),
    "half blink": both(eyeBlink=0.5),
    "gaze left": {"gazeAzimuth": -18 * DEG},
    "gaze right": {"gazeAzimuth": 18 * DEG},
    "gaze up": {"gazeElevation": 11 * DEG},
    "gaze down": {"gazeElevation": -11 * DEG},
    "brows up": {"browInnerUp": 0.8, **both(browOuterUp=0.8)},
    "brows down": both(browDown=0.8),
    "yaw -15": {"headYaw": -15 * DEG},
    "yaw +15": {"headYaw": 15 * DEG},
    "pitch -10": {"headPitch": -10 * DEG},
    "pitch +10": {"headPitch": 10 * DEG},
    "roll": {"headRoll": 9 * DEG},
    "yaw, AA": {"headYaw": 12 * DEG, "jawOpen": 0.4, **both(mouthLowerDown=0.2, mouthUpperUp=0.15)},
}
FACE = ("neutral", "AA", "EE", "OO", "M", "F", "L", "smile", "blink", "gaze left", "gaze right", "gaze up", "gaze down",
        "brows up", "brows down", "yaw -15", "yaw +15", "pitch -10", "pitch +10", "roll", "yaw, AA")  # fmt: skip
MOUTH = ("neutral", "AA", "EE", "OO", "M", "F", "L", "smile", "closed smile", "yaw, AA", "yaw -15")
EYES = ("neutral", "half blink", "blink", "gaze left", "gaze right", "gaze up", "gaze down", "brows up", "brows down",
        "smile", "yaw +15")  # fmt: skip
PARTS = {"face": FACE, "mouth": MOUTH, "eyes": EYES}
COLUMNS = {"face": 8, "mouth": 4, "eyes": 3}
CELL = {"face": (256, 256), "mouth": (300, 220), "eyes": (420, 190)}


def sheet(identity: Identity, part: str, size: int, columns: int, format: FrameFormat | None = None) -> U8:
    """All poses of one portrait; uint8 [H, W, 3]. `format` says more than the size."""
    decoder = Decoder(identity, format=format or FrameFormat(size))
    size, scale = decoder.size, decoder.size / decoder.rig.size
    across = decoder.rig.rest_V3[decoder.rig.oval_ring, 0] * scale
    left = decoder.format.left(float(across.min() + across.max()) / 2)
    taken = np.asarray(cv2.resize(identity.arrays["rgb_HW3"], (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    rest = decoder.rig.rest_V3[:, :2] * scale - np.array([left, 0])
    shape = (decoder.format.width, size)
    box = crop_box(decoder.rig, rest, decoder.rig.face_width * scale, part, shape)
    cells = [cell(taken[:, left : left + shape[0]], box, part, "portrait")]
    cells += [cell(over_chequer(decoder.render(motion(POSES[name]))), box, part, name) for name in PARTS[part]]
    return grid(cells, columns)


def sheet_cells(film: Film, part: str, prefix: str = "") -> list[U8]:
    """Cells of one portrait from recorded frames, whose names are those of the poses behind a prefix."""
    points = np.concatenate([film.ring(n) for n in (("mouth",) if part == "mouth" else ("eye0", "eye1"))])
    box = box_around(points, film.face_width, part, (film.size, film.size))
    cells = [cell(film.portrait_HW3, box, part, "portrait")]
    return cells + [cell(film.pictures[prefix + name], box, part, name) for name in PARTS[part]]


def sheet_of_frames(film: Film, part: str, prefix: str = "", columns: int | None = None) -> U8:
    """The same as one picture."""
    return grid(sheet_cells(film, part, prefix), columns or COLUMNS[part])


def before_and_after(portraits: Sequence[str], checkout: Path, part: str, size: int, columns: int) -> U8:
    """Rows of the older checkout's cells above this one's; ValueError for a portrait that cannot be rendered."""
    shots = {name: motion(POSES[name]) for name in PARTS[part]}
    rows: list[U8] = []
    with tempfile.TemporaryDirectory() as scratch:
        trees = (checkout.resolve(), Path(__file__).resolve().parents[1])
        with Recorder(trees[0], size) as old, Recorder(trees[1], size) as new:
            for portrait in portraits:
                both_cells = []
                for recorder in (old, new):
                    problem = recorder.record(portrait, shots, [], Path(scratch) / "film.npz")
                    if problem:
                        raise ValueError(f"{portrait}: {problem}")
                    both_cells.append(sheet_cells(Film.load(Path(scratch) / "film.npz"), part))
                for start in range(0, len(both_cells[0]), columns):
                    rows += [grid(cells[start : start + columns], columns) for cells in both_cells]
    return np.vstack(rows)


def over_chequer(picture: U8) -> U8:
    """Frames with opacity over grey squares; others as they are."""
    if picture.shape[2] == 3:
        return picture
    rows, across = np.indices(picture.shape[:2]) // 16
    ground = np.where((rows + across) % 2, 200, 150)[..., None]
    share = picture[..., 3:].astype(np.float32) / 255
    return np.asarray(picture[..., :3] * share + ground * (1 - share) + 0.5, np.uint8)


def crop_box(
    rig: FittedRig, rest_V2: F32, face_width: float, part: str, shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    """x, y, width, height in frame px."""
    ring = rig.mouth_ring_M if part == "mouth" else np.concatenate(list(rig.eye_ring_2E))
    return box_around(rest_V2[ring], face_width, part, shape)


def box_around(points_N2: F32, face_width: float, part: str, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """The same around the points of mouth or eyes; the whole frame (width, height) for the face."""
    if part == "face":
        return 0, 0, *shape
    width = face_width * (0.68 if part == "mouth" else 0.86)
    height = width * CELL[part][1] / CELL[part][0]
    x, y = points_N2.mean(0) - np.array([width, height]) / 2
    return max(round(x), 0), max(round(y), 0), round(width), round(height)


def cell(picture: U8, box: tuple[int, int, int, int], part: str, label: str) -> U8:
    """One labelled cell."""
    x, y, width, height = box
    cut = picture[y : y + height, x : x + width]
    size = CELL[part] if part != "face" else (round(CELL[part][1] * width / height), CELL[part][1])
    method = cv2.INTER_AREA if cut.shape[1] > size[0] else cv2.INTER_CUBIC
    return labelled(np.asarray(cv2.resize(cut, size, interpolation=method), np.uint8), label)


def labelled(picture: U8, label: str) -> U8:
    """The picture with a caption in its corner."""
    picture = np.ascontiguousarray(picture)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, label, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness, cv2.LINE_AA)
    return picture


def grid(cells: Sequence[U8], columns: int) -> U8:
    """Cells of one size, row by row; the last row is filled up with black."""
    empty = np.zeros_like(cells[0])
    padded = [*cells, *[empty] * (-len(cells) % columns)]
    return np.vstack([np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)])


def strip(clip: Path, every: int, start_s: float, count: int, columns: int) -> U8:
    """Frames of a clip with their times; ValueError when there are none."""
    cells = []
    for index, picture, time_s in frames(clip):
        if time_s >= start_s and index % every == 0:
            across, down = CELL["face"]
            shape = (round(down * picture.shape[1] / picture.shape[0]), down)
            small = cv2.resize(picture, shape if shape[0] < across else (across, down), interpolation=cv2.INTER_AREA)
            cells.append(labelled(np.asarray(small, np.uint8), f"{time_s:.2f} s"))
        if len(cells) == count:
            break
    if not cells:
        raise ValueError(f"{clip} has no frames from {start_s} s on.")
    return grid(cells, columns)


def frames(clip: Path) -> Iterable[tuple[int, U8, float]]:
    """Index, RGB picture and time of each frame."""
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            yield index, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), float(frame.time or 0.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", nargs="*", help="image files, identities, or 'default'")
    parser.add_argument("--out", type=Path, required=True, help="PNG or JPEG to write")
    parser.add_argument("--part", choices=sorted(PARTS), default="face")
    parser.add_argument("--size", type=int, default=512, help="height of the rendered frames, px")
    parser.add_argument("--framing", choices=[str(f) for f in Framing], default=str(Framing.SQUARE))
    parser.add_argument("--background", default="photo", help="photo, transparent, #rrggbb or an image file")
    parser.add_argument("--before", type=Path, help="an older checkout, drawn above")
    parser.add_argument("--columns", type=int)
    parser.add_argument("--clip", type=Path, help="show the frames of this clip instead")
    parser.add_argument("--every", type=int, default=2, help="every n-th frame of the clip")
    parser.add_argument("--start", type=float, default=0.0, help="seconds into the clip")
    parser.add_argument("--count", type=int, default=24, help="how many frames of the clip")
    options: Any = parser.parse_args(arguments)
    if bool(options.portraits) == (options.clip is not None):
        parser.error("give portraits, or --clip")
    try:
        if options.clip is not None:
            picture = strip(options.clip, options.every, options.start, options.count, options.columns or 8)
        else:
            columns = options.columns or COLUMNS[options.part]
            if options.before is not None:
                picture = before_and_after(options.portraits, options.before, options.part, options.size, columns)
            else:
                form = FrameFormat(options.size, Framing(options.framing), parse_background(options.background))
                identities = [load_identity(portrait) for portrait in options.portraits]
                picture = np.vstack([sheet(i, options.part, options.size, columns, form) for i in identities])
    except (AvatarError, ValueError, OSError, av.error.FFmpegError) as error:
        print(error, file=sys.stderr)
        return 1
    if not cv2.imwrite(str(options.out), picture[..., ::-1]):
        print(f"{options.out} cannot be written.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
