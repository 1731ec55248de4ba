"""Checks on the mouth: rings and wedges, lips that meet, teeth.

What is looked for was learned from a spike's failures: a thin dark line that frames an opening (darker than the lip on
one side and the inside on the other), a dark patch at the corner that the portrait does not have there, and an inside
that shows through closed lips.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.quality.film import Film, grown, polygon, shrunk
from avatar.quality.measures import luma
from avatar.quality.shots import closed_frames, open_frames

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

RING_DIP: Final = 0.15
"""Share of the lip's brightness by which a rim must be darker than lip and inside to count as a ring."""
_RIM = np.array([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5], np.float32)
_LIP = np.array([2.5, 3.5, 4.5, 5.5], np.float32)
_INSIDE = np.array([2.5, 3.0, 3.5], np.float32)
"""px across the rim (for frames of 512), lip outwards, inside inwards."""
_SAMPLES: Final = 160
_CORNER: Final = 0.11
"""Radius of a corner's zone / width of the mouth."""
_WEDGE_DARK: Final = 0.78
"""A corner's pixel is a wedge when it has less than this share of the brightness that the portrait has there."""
_BLACK: Final = 0.3
"""Share of the lips' brightness below which an opening's corner counts as black."""
_CHANGED: Final = 10
"""Levels by which a pixel must follow the inside's paint to count as showing it."""


def check_rings(film: Film) -> dict[str, float]:
    """ring: share of the rim that is a dark line between lip and inside; ring_depth: how dark (share of the lip's
    brightness, mean over the rim); wedge: share of the corners' skin darker than the portrait's own; corner_black:
    share of the opening's corners that is nearly black. Means over the open frames; `*_worst` is the worst frame's."""
    rows = [rings_of(film, frame) for frame in open_frames()]
    out: dict[str, float] = {}
    for name in rows[0]:
        values = [row[name] for row in rows if np.isfinite(row[name])]
        out[name] = float(np.mean(values)) if values else float("nan")
    wedges = [row["wedge"] for row in rows]
    out["ring_worst"] = float(np.max([row["ring"] for row in rows]))
    out["wedge_worst"] = float(np.max(wedges))
    return out


def rings_of(film: Film, frame: str) -> dict[str, float]:
    """The same for one frame."""
    bright = np.asarray(cv2.GaussianBlur(luma(film.pictures[frame]), (0, 0), 0.5), np.float32)
    ring = film.ring("mouth", frame)
    unit = film.size / 512
    points, normals = walk(ring, _SAMPLES)
    inside = polygon(ring, film.size)
    lip = np.median(sample(bright, points, normals, _LIP * unit), axis=1)
    rim = sample(bright, points, normals, _RIM * unit).min(1)
    deep = sample(bright, points, normals, -_INSIDE * unit)
    legit = sample(inside.astype(np.float32), points, normals, -_INSIDE * unit).min(1) > 0.99
    dip = np.minimum(lip, np.median(deep, axis=1)) - rim
    share = np.where(legit, np.maximum(dip, 0) / np.maximum(lip, 1), 0.0)

    corners = film.ring("mouth", frame)[[0, len(ring) // 2]]
    width = float(np.linalg.norm(corners[1] - corners[0]))
    rows, columns = np.mgrid[: film.size, : film.size]
    zone = np.zeros((film.size, film.size), bool)
    for x, y in corners:
        zone |= (columns - x) ** 2 + (rows - y) ** 2 < (_CORNER * width) ** 2
    expected, there = film.from_portrait(frame)
    outside = zone & there & ~grown(inside, 1)
    wedge = float((bright < _WEDGE_DARK * luma(expected))[outside].mean()) if outside.any() else 0.0
    within = zone & inside
    black = float((bright < _BLACK * np.median(lip))[within].mean()) if within.any() else float("nan")
    return {
        "ring": float((share > RING_DIP).sum() / max(legit.sum(), 1)),
        "ring_depth": float(share.sum() / max(legit.sum(), 1)),
        "wedge": wedge,
        "corner_black": black,
    }


def check_lip_closure(film: Film) -> dict[str, float]:
    """lips_open: px (mean over M, B, P) that show the mouth's inside though the lips are sealed; lips_open_worst.
    lip_paint: px that follow the paint on an open mouth, which tells that the check can see at all."""
    counts = [showing(film, frame) for frame in closed_frames()]
    sees = showing(film, "AA +0")
    bright = [bright_line(film, frame) for frame in closed_frames()]
    return {
        "lips_open": float(np.mean(counts)),
        "lips_open_worst": float(np.max(counts)),
        "lips_bright_line": float(np.mean(bright)),
        "lip_paint": float(sees),
    }


def showing(film: Film, frame: str) -> int:
    """px around the lips that change with the paint of the mouth's inside."""
    box = film.box("lips", [frame], 0.02)
    change = np.abs(film.pictures[frame][box].astype(np.int16) - film.repainted[frame][box]).max(-1)
    return int((change > _CHANGED).sum())


def bright_line(film: Film, frame: str) -> float:
    """Share of the line between sealed lips that is brighter than both lips, as teeth would be."""
    bright = luma(film.pictures[frame])
    upper, lower = film.ring("upper", frame), film.ring("lower", frame)
    line = resample(np.asarray((upper + lower) / 2, np.float32), 64)[6:-6]
    normals = np.column_stack([-np.gradient(line[:, 1]), np.gradient(line[:, 0])])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    unit = film.size / 512
    middle = sample(bright, line, normals, np.array([-1.0, 0.0, 1.0], np.float32) * unit).max(1)
    above = np.median(sample(bright, line, normals, np.array([-4.0, -3.0], np.float32) * unit), axis=1)
    below = np.median(sample(bright, line, normals, np.array([3.0, 4.0], np.float32) * unit), axis=1)
    return float((middle > 1.15 * np.maximum(above, below) + 4).mean())


def check_teeth(film: Film) -> dict[str, float]:
    """Of the frames in which teeth show: teeth_white: their brightness / the brightest skin's (1 = as light as lit
    skin; more is a denture); teeth_pieces: separate bright pieces beyond one row above and one below;
    teeth_gaps: how dark the lines between teeth are (share of the teeth's brightness, mean over the row);
    teeth_evenness: brightness towards the corners / in the middle (1 = even, 0 = black)."""
    names = ("teeth_white", "teeth_pieces", "teeth_gaps", "teeth_evenness")
    rows = [row for row in (teeth_of(film, frame) for frame in open_frames()) if row is not None]
    out: dict[str, float] = {}
    for i, name in enumerate(names):
        values = [row[i] for row in rows if np.isfinite(row[i])]
        out[name] = float(np.mean(values)) if values else float("nan")
    return out


def teeth_of(film: Film, frame: str) -> tuple[float, float, float, float] | None:
    """Whiteness, surplus pieces, gaps and evenness of one frame; None where no teeth show."""
    picture = film.pictures[frame]
    bright = luma(picture)
    inside = shrunk(film.inside("mouth", frame), 1)
    _, skin_there = film.from_portrait(frame)
    skin = float(np.quantile(bright[skin_there & film_cheeks(film, frame)], 0.9))
    red = picture[..., 0].astype(np.float32) - picture[..., 1:].mean(-1)
    teeth = inside & (bright > 0.45 * skin) & (red < 0.3 * bright)
    if teeth.sum() < 0.02 * inside.sum() or teeth.sum() < 12:
        return None
    count, _, stats, _ = cv2.connectedComponentsWithStats(teeth.astype(np.uint8), connectivity=8)
    sizes = stats[1:count, cv2.CC_STAT_AREA]
    pieces = int((sizes >= 3).sum())
    ring = film.ring("mouth", frame)
    left, right = ring[0, 0], ring[len(ring) // 2, 0]
    columns = np.nonzero(teeth)[1]
    share = np.abs((columns - (left + right) / 2) / max(abs(right - left) / 2, 1.0))
    values = bright[teeth]
    middle, side = values[share < 0.33], values[share > 0.5]
    even = float(side.mean() / middle.mean()) if len(middle) > 5 and len(side) > 5 else float("nan")
    level = float(np.quantile(values, 0.9))
    reach = max(3, 2 * round(0.02 * film.face_width) + 1)
    row = cv2.morphologyEx(teeth.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((1, reach), np.uint8)) > 0
    closed = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((1, reach), np.float32))
    gaps = float((closed - bright)[row & inside].mean()) / max(level, 1.0)
    return level / max(skin, 1.0), float(max(pieces - 2, 0)), gaps, even


def film_cheeks(film: Film, frame: str) -> NDArray[np.bool_]:
    """Pixels of the face around the mouth, without it: where the skin's brightness is taken."""
    out = film.inside("oval", frame) & ~grown(film.inside("lips", frame), max(2, round(0.03 * film.face_width)))
    for eye in ("eye0", "eye1"):
        out &= ~grown(film.inside(eye, frame), max(2, round(0.06 * film.face_width)))
    return np.asarray(out)


def walk(ring_N2: F32, count: int) -> tuple[F32, F32]:
    """Evenly spaced points along a closed loop and unit normals that point out of it."""
    closed = np.concatenate([ring_N2, ring_N2[:1]])
    points = resample(closed, count + 1)[:-1]
    tangent = np.roll(points, -2, 0) - np.roll(points, 2, 0)
    normals = np.column_stack([tangent[:, 1], -tangent[:, 0]])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    area = np.sum(points[:, 0] * np.roll(points[:, 1], -1) - points[:, 1] * np.roll(points[:, 0], -1))
    return points, np.asarray(normals * (1.0 if area > 0 else -1.0), np.float32)


def resample(line_N2: F32, count: int) -> F32:
    """Evenly spaced points along a line."""
    steps = np.linalg.norm(np.diff(line_N2, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0, along[-1], count)
    return np.column_stack([np.interp(at, along, line_N2[:, c]) for c in range(2)]).astype(np.float32)


def sample(picture_HW: NDArray[np.float32], points_N2: F32, normals_N2: F32, steps_K: F32) -> F32:
    """Values [N, K] at `steps` px along each point's normal."""
    at = (points_N2[:, None] + normals_N2[:, None] * steps_K[None, :, None]).astype(np.float32)
    return np.asarray(
        cv2.remap(picture_HW, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
    )
