"""Hair as curves: brows, lashes and the swept-back hair, grown on the surface of the sculpted head.

A `Strands` holds N curves of P points, kit centimetres; radii in cm. `Surface` answers where a ray meets the skin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from kit import LID_LOWER, LID_UPPER, Floats, Head
from paint import brow_rails, smooth_line

Surface = Callable[[Floats, Floats], Floats | None]
"""(origin [3], direction [3]) -> first hit [3] or None."""


@dataclass
class Strands:
    points_NP3: Floats
    radius_NP: Floats


def taper(count: int, points: int, root: float, tip: float, power: float = 1.0) -> Floats:
    """Radii [count, points] cm from `root` to `tip`."""
    t = np.linspace(0, 1, points) ** power
    return np.broadcast_to(root + (tip - root) * t, (count, points)).copy()


def from_front(surface: Surface, xy: Floats) -> Floats | None:
    """The skin point that is seen from the front at x, y."""
    return surface(np.array([xy[0], xy[1], 40.0]), np.array([0.0, 0.0, -1.0]))


def brows(head: Head, surface: Surface, rng: np.random.Generator, count: int = 260, points: int = 7) -> Strands:
    """Short hairs that lie along the brow: upright at the nose, then outwards, the tail a little downwards."""
    curves = []
    for eye in range(2):
        low, high = brow_rails(head, eye, 100)
        outwards = -1.0 if eye == 0 else 1.0
        for _ in range(count):
            t = rng.beta(1.05, 1.1)
            across = rng.uniform(0.0, 1.0)
            index = int(t * 92)
            root = low[index] + (high[index] - low[index]) * across
            along = high[min(index + 6, 99)] + low[min(index + 6, 99)] - high[index] - low[index]
            along /= np.linalg.norm(along)
            lift = 0.75 * (1 - t) ** 2.0 + 0.35 * (0.45 - across) * (1 - 0.5 * t)
            direction = along + np.array([0.0, 1.0]) * lift + rng.normal(0, 0.10, 2)
            root = root + along * rng.normal(0, 0.08)
            direction[0] = outwards * abs(direction[0])
            direction /= np.linalg.norm(direction)
            length = rng.uniform(0.55, 0.85) * (0.72 if t < 0.12 else 1.0) * (1 - 0.35 * t)
            bend = along - direction
            curve = []
            for s in np.linspace(0, 1, points):
                hit = from_front(surface, root + length * (s * direction + 0.45 * s * s * bend))
                if hit is None:
                    break
                curve.append(hit + np.array([0, 0, 0.02 + 0.05 * np.sin(np.pi * min(s, 0.9))]))
            if len(curve) == points:
                curves.append(curve)
    array = np.array(curves)
    return Strands(array, taper(len(array), points, 0.019, 0.004, 1.3))


def lashes(head: Head, rng: np.random.Generator, points: int = 8) -> Strands:
    """Upper lashes curl out and up and fan to the sides; lower ones are short and sparse."""
    curves, radii = [], []
    for eye in range(2):
        centre = head.eye_centre_23[eye]
        out = -1.0 if eye == 0 else 1.0
        for rows, number, size, up in ((LID_UPPER, 120, 0.37, 1.0), (LID_LOWER, 50, 0.20, -0.8)):
            line = smooth_line(head.marks_N3[rows[eye]], 200)
            for i in range(number):
                t = (i + rng.uniform(0, 1)) / number  # 0 outer corner, 1 inner
                if t > 0.93 or t < 0.01:
                    continue
                root = line[int(t * 199)] + rng.normal(0, 0.015, 3)
                root[1] += 0.02 * up
                radial = (root - centre) / np.linalg.norm(root - centre)
                fan = np.array([out * (0.85 - 1.35 * t), 0.0, 0.0])
                start = radial + 0.45 * fan + rng.normal(0, 0.035, 3)
                start[1] -= 0.10 * up
                start /= np.linalg.norm(start)
                length = size * (0.55 + 0.60 * np.sin(np.pi * (1 - t) ** 0.75) ** 0.8) * rng.uniform(0.75, 1.1)
                lift = np.array([0.25 * fan[0], 1.0 * up, 0.1])
                s = np.linspace(0, 1, points)[:, None]
                curves.append(root + length * (s * start + 0.75 * s**2 * lift))
                radii.append(np.linspace(0.019, 0.004, points) * (1.0 if up > 0 else 0.7))
    return Strands(np.array(curves), np.array(radii))


# Hairline: elevation (degrees above the skull centre's horizon) over azimuth (0 straight ahead, 180 behind).
HAIRLINE_AZIMUTH = np.array([0, 12, 22, 30, 38, 46, 54, 62, 70, 78, 84, 95, 112, 124, 140, 160, 180.0])
HAIRLINE_ELEVATION = np.array([30.5, 30.5, 29.5, 27.5, 23, 16, 9, 2, -8, -14, -3, 5, 4, -16, -34, -42, -44.0])
PART_AZIMUTH = -20.0  # the parting, on the person's right
SKULL_HALF_WIDTH = 7.45  # hair keeps within it, so as not to climb over the ears


def hairline(azimuth: Floats) -> Floats:
    """Degrees of elevation above which hair grows, for azimuths in degrees."""
    return np.asarray(np.interp(np.abs(azimuth), HAIRLINE_AZIMUTH, HAIRLINE_ELEVATION))


def _direction(azimuth_deg: float, elevation_deg: float) -> Floats:
    a, e = np.radians(azimuth_deg), np.radians(elevation_deg)
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])


def hair(surface: Surface, centre: Floats, rng: np.random.Generator, count: int = 16000) -> Strands:
    """Side-parted hair, combed back over the ears' tops and gathered low behind the head."""
    curves: list[Floats] = []
    radii: list[Floats] = []
    while len(curves) < count:
        azimuth = rng.uniform(-165, 165)
        line = float(hairline(np.array(azimuth)))
        # most roots near the visible edge, the rest over the scalp
        elevation = line + (rng.exponential(9.0) if rng.random() < 0.55 else rng.uniform(0, 90 - line))
        edge = elevation - line
        if elevation > 89 or (edge < 2.0 and rng.random() > 0.45 + 0.25 * edge):
            continue
        curve = _strand(surface, centre, rng, _direction(azimuth, elevation), edge)
        if curve is None:
            continue
        curves.append(curve)
        thick = rng.uniform(0.7, 1.15) * (0.45 + 0.55 * min(edge / 5, 1.0))
        radii.append(np.full(len(curve), 0.021 * thick))
    return Strands(np.array(curves), np.array(radii))


def _strand(surface: Surface, centre: Floats, rng: np.random.Generator, root: Floats, edge: float) -> Floats | None:
    """One hair [24, 3]: a bent great circle over the skull to the knot. `edge`: degrees from the hairline."""
    points = 24
    # the parting runs from the hairline straight back; each side is combed away from it
    line_x = np.sin(np.radians(PART_AZIMUTH))
    side = 1.0 if root[0] > line_x else -1.0
    away = abs(root[0] - line_x)
    front = np.clip(root[2] + 0.25, 0, 1) * np.clip(1.1 - away, 0, 1) * np.clip(root[2] / 0.5, 0, 1)
    bend = root + side * np.array([1.05, -0.15, 0.0]) * front + np.array([0, 0.25, -0.55]) + rng.normal(0, 0.03, 3)
    bend /= np.linalg.norm(bend)
    end = _direction(side * rng.uniform(145, 178), rng.uniform(-30, -16))
    t = np.linspace(0, 1, points)[:, None]
    path = (1 - t) ** 2 * root + 2 * t * (1 - t) * bend + t**2 * end
    path /= np.linalg.norm(path, axis=1, keepdims=True)
    layer = rng.uniform(0.25, 1.0)
    curve = np.empty((points, 3))
    for i in range(points):
        hit = surface(centre + path[i] * 30, -path[i])
        if hit is None:
            return None
        hit = centre + (hit - centre) * min(1.0, SKULL_HALF_WIDTH / max(abs(hit[0]), 1e-6))
        valley = 0.35 + 0.65 * np.clip(abs(path[i, 0] - line_x) / 0.4, 0, 1) ** 0.7
        lift = 0.25 + 0.75 * max(path[i, 1], 0.0) ** 0.8 + 0.70 * abs(path[i, 0]) ** 2
        rise = valley * (1 - np.exp(-14.0 * i / (points - 1))) * lift
        curve[i] = hit + path[i] * (0.03 + rise * layer * np.clip(0.45 + edge / 14, 0, 1))
    ramp = np.linspace(0, 1, points)
    curve[:, 1] += rng.normal(0, 0.06) * np.sin(ramp * rng.uniform(4, 8) + rng.uniform(0, 6)) * ramp
    return curve


KNOT = np.array([4.6, -3.4, -5.2])  # beside the nape, on the person's left: it shows under the ear
KNOT_RADIUS = 3.3


def knot(rng: np.random.Generator, count: int = 5000, points: int = 18) -> Strands:
    """A coiled knot: strands wind round an axis that points at the viewer, a little up and outwards."""
    axis = np.array([0.45, 0.25, 0.86])
    right = np.cross([0.0, 1.0, 0.0], axis)
    right /= np.linalg.norm(right)
    up = np.cross(axis, right)
    curves = np.empty((count, points, 3))
    for k in range(count):
        turns = rng.uniform(0, 2 * np.pi) + np.linspace(0, rng.uniform(1.2, 2.2), points)
        ring = np.sqrt(rng.uniform(0.02, 1.0)) + 0.16 * (np.linspace(0, 1, points) - 0.5)
        coil = 1 - 0.10 * (1 - np.cos((3.0 * ring + turns / (2 * np.pi)) * 2 * np.pi))  # grooves between the turns
        ring = np.clip(ring, 0.03, 1.0)
        depth = np.sqrt(np.clip(1 - ring**2, 0, None)) * 0.72 * coil
        flat = ring[:, None] * (np.cos(turns)[:, None] * right + np.sin(turns)[:, None] * up)
        curves[k] = KNOT + KNOT_RADIUS * rng.uniform(0.93, 1.0) * (flat + depth[:, None] * axis)
    return Strands(curves, taper(count, points, 0.026, 0.018))
