"""Are there glasses, and where is their frame?

The eyes' surroundings are brought to a fixed scale (100 px from eye to eye, level). What is thin and stands out from
skin, in lightness or in colour, lights up in a ridge filter (largest Hessian eigenvalue, two scales; lids and irises
are taken out). Around each eye the closed path of most ridge is found by dynamic programming over ellipse-like polar
coordinates; a path that the other eye's mirror image supports is preferred. Skin below an eye is smooth, so a strong
lower arc, a strong arc beside the nose and an edge across the nose mean glasses.

Evidence and threshold: docs/face/portrait.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from avatar.portrait.landmarks import EYE_CORNERS, LIDS

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Told = Literal["auto", "yes", "no"]

PRESENT: Final = 1.2
"""Evidence from which glasses are believed: bare faces of the shared portraits reach 1.0, glasses begin at 1.5."""
FOLLOW: Final = 0.6
"""When the user says that there are glasses: evidence from which the edges found are followed; below, a usual shape."""
RADIUS: Final = 0.045
"""Half the thickness of a thick frame / distance of the eyes."""

_APART: Final = 100.0
_WIDTH, _HEIGHT, _EYE_Y = 260, 170, 66
_ANGLES: Final = 72
_RADII: Final = np.linspace(0.68, 1.42, 42)
_USUAL: Final = 16
"""Index of the radius of a usual lens."""
_HALF_2: Final = np.array([41.0, 27.0])
"""Half width and height of a usual lens, px of the level picture."""
_POWER: Final = 2.6
"""Of the superellipse: between an oval and a rectangle."""
_DROP: Final = 7.0
"""Centre of a lens below the eye, px."""
_STRONGEST: Final = 0.35
_STEP_COST: Final = 0.05
_MIRROR: Final = 0.3
"""Weight of the other eye's edges."""
_DEGREES: Final = np.arange(_ANGLES) * 360.0 / _ANGLES
"""0 away from the nose, 90 down, 180 towards the nose."""
_INWARDS: Final = np.arange(-10.0, 2.6, 0.5)
"""Where the inner edge is looked for, px beyond the path."""
_BLURRED: Final = 1.0
_LOWER: Final = (_DEGREES > 25) & (_DEGREES < 155)
_INNER: Final = (_DEGREES > 155) & (_DEGREES < 205)
_LIDS: Final = tuple(tuple(lids[i] for i in (0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 14, 13, 12, 11, 10, 9)) for lids in LIDS)
_BROWS: Final = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
_SKIN: Final = (50, 280, 5, 195, 205, 425, 101, 330)
_LIT: Final = 60.0
"""Lightness (CIE L*) of well-lit skin."""
_BROW: Final = 0.6
"""How much of a brow's edges is disregarded: rims may cross brows, but brows alone are no rims."""


@dataclass(frozen=True)
class Glasses:
    """The frame of glasses in the framed portrait.

    evidence: about 0 (smooth skin) .. 7 (a thick dark frame). present: what to believe, or what was told.
    frame_S22: [S, 2, 2] px, straight strokes (start, end): rims, bridge, temples; empty without glasses.
    rims_2N2: [2, N, 2] px, the closed path around each eye (index 0 = the person's right eye), also when absent.
    lenses_2N2: [2, N, 2] px, the inner edge of each rim; what lies within is seen through the lens.
    radius: half the thickness of the strokes, px. lens_contrast: lightness (log) of what is inside the rims against
    the cheeks; sunglasses are far below 0.
    """

    present: bool
    evidence: float
    frame_S22: F32
    rims_2N2: F32
    lenses_2N2: F32
    radius: float
    lens_contrast: float


def find_glasses(rgb_HW3: U8, landmarks_N3: F32, told: Told = "auto") -> Glasses:
    """Look for glasses around the eyes of an upright face, or believe what the user says.

    rgb_HW3: uint8 RGB; landmarks_N3: [468, 3] px. told: "yes" finds the most likely frame, "no" none.
    """
    points = landmarks_N3[:, :2].astype(np.float64)
    M_23 = _level(points)
    picture = cv2.warpAffine(rgb_HW3, M_23, (_WIDTH, _HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    places = points @ M_23[:, :2].T + M_23[:, 2]
    channels = _channels(np.asarray(picture, np.uint8), places)
    ridge = np.minimum(np.maximum.reduce([_ridge(c, s) for c in channels for s in (1.5, 2.5)]), _STRONGEST)
    edges = _edges(channels) * (1.0 - _area(places, _LIDS, (1.0, 1.1), 0))
    ridge *= (1.0 - _area(places, _LIDS, (1.1, 1.5), 3)) * (1.0 - _BROW * _area(places, _BROWS, (1.0, 1.0), 2))
    maps = [_polar(eye) for eye in (0, 1)]
    unwrapped = [np.asarray(cv2.remap(ridge, x, y, cv2.INTER_LINEAR), np.float32) for x, y in maps]
    rows = [best_path(own + _MIRROR * _spread(other)) for own, other in (unwrapped, unwrapped[::-1])]
    strength_2N = np.stack([own[row, np.arange(_ANGLES)] for own, row in zip(unwrapped, rows, strict=True)])
    bridge, bridge_y = _bridge(channels)
    evidence = float(strength_2N[:, _LOWER].mean() / 0.12 + strength_2N[:, _INNER].mean() / 0.3 + bridge / 0.12)
    present = told == "yes" or (told == "auto" and evidence >= PRESENT)
    if told == "yes" and evidence < FOLLOW:
        rows = [np.full(_ANGLES, _USUAL)] * 2
    columns = np.arange(_ANGLES)
    rims = np.stack([np.stack([x[row, columns], y[row, columns]], 1) for (x, y), row in zip(maps, rows, strict=True)])
    lenses = np.stack([_inner_edge(rim, edges, eye) for eye, rim in enumerate(rims)])
    contrast = _lens_contrast(channels[0], lenses)
    back_23 = cv2.invertAffineTransform(M_23)

    def home(level: NDArray[np.floating]) -> F32:
        return np.asarray(level @ back_23[:, :2].T + back_23[:, 2], np.float32)

    temples = places[[127, 356]]
    frame = home(_strokes(rims, bridge_y, temples)) if present else np.zeros((0, 2, 2), np.float32)
    scale = float(np.sqrt(abs(np.linalg.det(back_23[:, :2]))))
    return Glasses(present, round(evidence, 3), frame, home(rims), home(lenses), RADIUS * _APART * scale, contrast)


def best_path(gain_RN: NDArray[np.floating]) -> NDArray[np.int64]:
    """Radius index [N] of the closed path that gathers the most, moving at most two radii per angle at a cost.

    Dynamic programming over three turns; the middle one has forgotten where it began and where it will end.
    """
    count, angles = gain_RN.shape
    gains = np.concatenate([gain_RN] * 3, axis=1)
    best, origin = gains[:, 0].astype(np.float64), []
    for column in range(1, gains.shape[1]):
        ways = np.full((5, count), -np.inf)
        for way, step in enumerate((0, -1, 1, -2, 2)):
            source = best[max(0, -step) : count - max(0, step)] - _STEP_COST * abs(step)
            ways[way, max(0, step) : count - max(0, -step)] = source
        choice = ways.argmax(0)
        origin.append(np.arange(count) - np.array([0, -1, 1, -2, 2])[choice])
        best = ways.max(0) + gains[:, column]
    path = [int(best.argmax())]
    for row in reversed(origin):
        path.append(int(row[path[-1]]))
    return np.array(path[::-1][angles : 2 * angles])


def _level(points_N2: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2, 3]: picture -> level picture."""
    right, left = (points_N2[list(corners)].mean(0) for corners in EYE_CORNERS)
    across = left - right
    zoom = _APART / max(float(np.hypot(*across)), 1.0)
    middle = (right + left) / 2
    M_23 = cv2.getRotationMatrix2D(
        (float(middle[0]), float(middle[1])), float(np.degrees(np.arctan2(across[1], across[0]))), zoom
    )
    M_23[:, 2] += np.array([_WIDTH / 2, _EYE_Y]) - middle
    return np.asarray(M_23, np.float64)


def _channels(rgb_HW3: U8, points_N2: NDArray[np.float64]) -> list[F32]:
    """Log lightness (equal ratios of light count equally, on dark and light skin) and both colour axes, as shares; dim
    pictures are brought nearer to well-lit cheeks and nose first, so that they show as much."""
    lab = np.asarray(cv2.cvtColor(rgb_HW3.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB), np.float32)
    at = np.rint(points_N2[list(_SKIN)]).astype(int)
    skin = lab[np.clip(at[:, 1], 0, _HEIGHT - 1), np.clip(at[:, 0], 0, _WIDTH - 1), 0]
    lab *= float(np.clip(_LIT / max(float(np.median(skin)), 1.0), 1.0, 4.0) ** 0.6)  # not fully: noise grows as well
    return [np.log(lab[..., 0] + 9.4), lab[..., 1] / 70.0, lab[..., 2] / 70.0]


def _ridge(channel: F32, sigma: float) -> F32:
    """Largest curvature in any direction, scale-normalised (Lindeberg 1998)."""
    smooth = cv2.GaussianBlur(channel, (0, 0), sigma)
    xx, yy, xy = (cv2.Sobel(smooth, cv2.CV_32F, dx, dy, ksize=3) / 4 for dx, dy in ((2, 0), (0, 2), (1, 1)))
    return np.asarray(sigma**2 * (np.abs(xx + yy) / 2 + np.sqrt(((xx - yy) / 2) ** 2 + xy**2)), np.float32)


def _area(
    points_N2: NDArray[np.float64], rings: tuple[tuple[int, ...], ...], stretch: tuple[float, float], grow: int
) -> F32:
    """0..1, 1 = inside one of the rings of landmarks, stretched about its middle and grown by some px."""
    mask = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    for indices in rings:
        ring = points_N2[list(indices)]
        middle = ring.mean(0)
        cv2.fillPoly(mask, [np.rint(middle + (ring - middle) * stretch).astype(np.int32)], 1)
    grown = cv2.dilate(mask, np.ones((2 * grow + 1, 2 * grow + 1), np.uint8)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), 1.5))


def _polar(eye: int) -> tuple[F32, F32]:
    """x and y [R, N] of the polar grid around an eye."""
    side = -1.0 if eye == 0 else 1.0
    cos, sin = np.cos(np.radians(_DEGREES)), np.sin(np.radians(_DEGREES))
    reach = (np.abs(cos / _HALF_2[0]) ** _POWER + np.abs(sin / _HALF_2[1]) ** _POWER) ** (-1 / _POWER)
    x = _WIDTH / 2 + side * (_APART / 2 + 1 + _RADII[:, None] * reach * cos)
    y = _EYE_Y + _DROP + _RADII[:, None] * reach * sin
    return x.astype(np.float32), y.astype(np.float32)


def _spread(gain_RN: NDArray[np.floating]) -> F32:
    """Largest within three radii and one angle: both eyes of a turned head do not mirror each other exactly."""
    return np.asarray(cv2.dilate(gain_RN.astype(np.float32), np.ones((7, 3), np.uint8)))


def _edges(channels: list[F32]) -> F32:
    """Strength of steps in lightness or colour."""
    squares = [
        cv2.Sobel(cv2.GaussianBlur(c, (0, 0), 1.0), cv2.CV_32F, dx, dy, ksize=3) ** 2
        for c in channels
        for dx, dy in ((1, 0), (0, 1))
    ]
    return np.asarray(np.sqrt(np.sum(squares, axis=0)), np.float32)


def _inner_edge(rim_N2: NDArray[np.floating], edges: F32, eye: int) -> NDArray[np.float64]:
    """The inner edge [N, 2] of a rim: the strongest step within a few px of the path, towards the eye rather than not;
    a little of the lens is left to the rim's blurred edge."""
    middle = np.array([_WIDTH / 2 + (-1.0 if eye == 0 else 1.0) * (_APART / 2 + 1), _EYE_Y + _DROP])
    away = rim_N2 - middle
    reach = np.linalg.norm(away, axis=1, keepdims=True)
    places = (middle + (away / reach)[:, None] * (reach + _INWARDS)[..., None]).astype(np.float32)
    steps = cv2.remap(edges, places[..., 0], places[..., 1], cv2.INTER_LINEAR) - 0.01 * np.abs(_INWARDS + 1.0)
    offset = gaussian_filter1d(_INWARDS[best_path(2.0 * steps.T)], 1.0, mode="wrap") - _BLURRED
    return np.asarray(middle + away / reach * (reach + offset[:, None]))


def _bridge(channels: list[F32]) -> tuple[float, float]:
    """The strongest horizontal edge across the nose between the eyes, and its y."""
    top, bottom = _EYE_Y - 26, _EYE_Y + 24
    middle = slice(_WIDTH // 2 - 11, _WIDTH // 2 + 12)
    edges = np.stack(
        [np.abs(np.diff(cv2.GaussianBlur(c, (0, 0), 1.5)[top:bottom, middle].mean(1))) for c in channels]
    ).max(0)
    return float(edges.max()), float(top + edges.argmax())


def _strokes(rims_2N2: NDArray[np.floating], bridge_y: float, temples_22: NDArray[np.floating]) -> F32:
    """Rims, bridge and temples as straight strokes [S, 2, 2]."""
    strokes = [np.stack([rim, np.roll(rim, -1, axis=0)], 1) for rim in rims_2N2]
    inner = np.flatnonzero((_DEGREES > 140) & (_DEGREES < 250))
    ends = [rim[inner[np.abs(rim[inner, 1] - bridge_y).argmin()]] for rim in rims_2N2]
    strokes.append(np.stack(ends)[None])
    outer = int(np.abs(_DEGREES - 335).argmin())
    strokes.append(np.stack([rims_2N2[:, outer], temples_22], 1))
    return np.concatenate(strokes).astype(np.float32)


def _lens_contrast(lightness: F32, rims_2N2: NDArray[np.floating]) -> float:
    """Median log lightness inside the rims less that of the cheeks below them."""
    mask = np.zeros(lightness.shape, np.uint8)
    for rim in rims_2N2:
        middle = rim.mean(0)
        cv2.fillPoly(mask, [np.rint(middle + (rim - middle) * 0.75).astype(np.int32)], 1)
    cheeks = lightness[_EYE_Y + 50 : _EYE_Y + 75, _WIDTH // 2 - 65 : _WIDTH // 2 + 66]
    return float(np.median(lightness[mask > 0]) - np.median(cheeks))
